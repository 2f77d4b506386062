//! The own ports: where they listen, and whose files make them safe.

use std::net::SocketAddr;

use crate::credentials::{
    AllowedNames, Credentials, Fault, Port, Role, Source, Sources, TlsSource, TlsVersion, TokenSource,
};

use super::{
    address,
    layers::Layers,
    origin::Origin,
    problems::Problem,
    records::{Record, Records},
    schema::TOKEN_KEYS,
    settings::Settings,
    yaml::Node,
};

const TOKENS: Records = Records { path: "auth.tokens", noun: "token", keys: TOKEN_KEYS };

/// Both ports.
pub struct Surface {
    /// Where gRPC listens.
    pub grpc: SocketAddr,
    /// Where the ops port listens.
    pub http: SocketAddr,
    /// The files of both.
    pub sources: Sources,
    /// What those files hold; the default where one of them is wrong.
    pub credentials: Credentials,
}

/// The ports, with what is wrong with them, with their settings and with the files that those name.
pub fn build(settings: &Settings, layers: &mut Layers) -> Surface {
    let Layers { entries: _, records, queries: _, problems, warnings } = layers;
    let [grpc_tls, http_tls] = Port::ALL.map(|port| tls(port, settings, problems, warnings));
    let given = records.get(TOKENS.path);
    let sources = Sources { grpc: grpc_tls, http: http_tls, tokens: tokens(given, problems) };
    let credentials = Credentials::new(&sources, &sources.read()).unwrap_or_else(|faults| {
        problems.extend(faults.into_iter().map(|fault| problem(fault, settings, given)));
        Credentials::default()
    });
    warnings.extend(credentials.warnings.iter().cloned());
    let [grpc, http] = Port::ALL.map(|port| listener(port, settings, problems, warnings));
    if grpc == http && grpc.port() != 0 {
        let (http, grpc) = (settings.valued("http.addr"), settings.valued("grpc.addr"));
        problems
            .push(Problem::of("http.addr", format!("{http} is also grpc.addr, {grpc}; give each a port of its own")));
    }
    Surface { grpc, http, sources, credentials }
}

/// Where a port listens: in plaintext only where nobody else hears it, or where that is wanted.
fn listener(port: Port, settings: &Settings, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) -> SocketAddr {
    let (path, certificate) = (&*format!("{}.addr", port.as_str()), key(port, "certificate"));
    let addr = address::listen(settings.text(path)).expect("an address was checked against its kind");
    if addr.ip().to_canonical().is_loopback() || !settings.text(&certificate).is_empty() {
        return addr;
    }
    if settings.is_on("insecure") {
        if !settings.text(TOKENS.path).is_empty() {
            warnings
                .push(format!("{path} has no TLS: whoever listens on the way learns the tokens that are sent there"));
        }
    } else if settings.are_sound(&["insecure"]) {
        let text = settings.text(path);
        let message = format!(
            "{text} is not loopback and has no TLS; set {certificate} and {}, or insecure: true to allow plaintext there",
            key(port, "key")
        );
        problems.push(Problem::at(path, message, settings.origin(path)));
    }
    addr
}

fn tls(port: Port, settings: &Settings, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) -> Option<TlsSource> {
    let [certificate, own_key, client_cas, names, minimum] =
        ["certificate", "key", "clientcas", "allowednames", "minimumtls"].map(|name| key(port, name));
    settings.need_both(&certificate, &own_key, problems);
    for (path, needed) in [(&client_cas, &certificate), (&names, &client_cas)] {
        if !settings.list(path).is_empty() && settings.text(needed).is_empty() {
            let message = format!("{} needs {needed}, which is not set", settings.valued(path));
            problems.push(Problem::of(path, message));
        }
    }
    let source = |setting: &str, path: String| Source { setting: setting.to_owned(), path: path.into() };
    let file = |setting: &str| settings.non_empty(setting).map(|path| source(setting, path));
    let (Some(certificate), Some(own_key)) = (file(&certificate), file(&own_key)) else {
        if settings.text(&minimum) != "tls1.2" && settings.set(&[&certificate, &own_key]).is_empty() {
            warnings.push(format!("no {certificate}: {minimum} is ignored"));
        }
        return None;
    };
    Some(TlsSource {
        certificate,
        key: own_key,
        client_cas: settings.list(&client_cas).into_iter().map(|path| source(&client_cas, path)).collect(),
        allowed_names: AllowedNames(settings.list(&names)),
        minimum: if settings.text(&minimum) == "tls1.3" { TlsVersion::Tls13 } else { TlsVersion::Tls12 },
    })
}

fn tokens(given: Option<&(Vec<Node>, Origin)>, problems: &mut Vec<Problem>) -> Vec<TokenSource> {
    let Some((nodes, origin)) = given else { return Vec::new() };
    let mut tokens: Vec<TokenSource> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let Some(mut record) = TOKENS.read(index, node, origin, problems) else { continue };
        let Some(token) = token(&mut record) else { continue };
        if tokens.iter().any(|other| other.name == token.name) {
            record.refuse("name", &format!("the name {} is given twice", token.name));
        }
        tokens.push(token);
    }
    tokens
}

fn token(record: &mut Record<'_>) -> Option<TokenSource> {
    let before = record.problems();
    let [name, path, role] = ["name", "tokenfile", "role"].map(|key| record.wanted(key));
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        record.refuse("name", &format!("{name:?} is no name; want letters, digits, ., _ and -"));
    }
    let role = match &*role {
        "" | "read" => Role::Read,
        "operate" => Role::Operate,
        other => {
            record.refuse("role", &format!("{other:?} is not one of read, operate"));
            Role::Read
        }
    };
    let file = Source { setting: format!("{}.tokenfile", record.path), path: path.into() };
    (record.problems() == before).then_some(TokenSource { name, role, file })
}

/// What is wrong with a file, with where its setting was given: of a record's, where the list was.
fn problem(Fault { setting, message }: Fault, settings: &Settings, tokens: Option<&(Vec<Node>, Origin)>) -> Problem {
    let index = setting.strip_prefix("auth.tokens[").and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
    let origin = match (index, tokens) {
        (Some(index), Some((nodes, origin))) => origin.at_line(nodes.get(index).map_or(0, |node| node.line)),
        _ => settings.origin(&setting),
    };
    Problem::at(setting, message, origin)
}

fn key(port: Port, name: &str) -> String {
    format!("{}.tls.{name}", port.as_str())
}
