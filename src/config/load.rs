//! From flags, environment and files to a `Config`, or to everything that is wrong with them. Only here is the
//! process's environment read.

use std::{collections::BTreeMap, env, fmt::Write as _, path::PathBuf};

use crate::credentials::Credentials;

use super::{
    Config, build,
    kind::Kind,
    layers::{Layers, QueryEntry},
    origin::{Entry, Origin},
    problems::Problems,
    registry,
    schema::{self, Given, SETTINGS},
    settings::Settings,
    yaml,
};

const REDACTED: &str = "[redacted]";

/// Where the settings are, and the few that have a flag.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Configuration file, YAML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A registry's config.yml: database, redis and log are read from it, below our own file
    #[arg(long, value_name = "FILE")]
    pub registry_config: Option<PathBuf>,
    /// Where gRPC listens (grpc.addr)
    #[arg(long, value_name = "ADDR")]
    pub grpc_addr: Option<String>,
    /// Where the ops port listens (http.addr)
    #[arg(long, value_name = "ADDR")]
    pub http_addr: Option<String>,
    /// Name of this instance, unique in the fleet (instanceid)
    #[arg(long, value_name = "ID")]
    pub instance_id: Option<String>,
}

/// A configuration to run with, and how it came to be.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What the files of the own ports hold.
    pub credentials: Credentials,
    /// What is odd, for the log: one line each.
    pub warnings: Vec<String>,
    /// Every setting that can be given, in the order of the table, then the queries' keys.
    pub effective: Vec<Effective>,
    /// Whether colour is welcome on a terminal: NO_COLOR is not set.
    pub colour: bool,
}

/// A setting as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The dotted path of its key.
    pub path: String,
    /// Its value; of a secret, only whether there is one.
    pub shown: String,
    /// Where it came from.
    pub origin: Origin,
}

// === impl Loaded ===

impl Loaded {
    /// The settings as YAML, each with where it came from as a comment; secrets are redacted.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut open: Vec<&str> = Vec::new();
        for Effective { path, shown, origin } in &self.effective {
            let mut sections: Vec<&str> = path.split('.').collect();
            let key = sections.pop().unwrap_or_default();
            let common = open.iter().zip(&sections).take_while(|(a, b)| a == b).count();
            for (depth, section) in sections.iter().enumerate().skip(common) {
                let _ = writeln!(text, "{:indent$}{section}:", "", indent = 2 * depth);
            }
            let is_yaml = Given::find(path).is_some_and(|given| matches!(given.setting.kind, Kind::Records));
            let value = match (is_yaml, &**shown) {
                (true, "") => "[]".to_owned(),
                (true, records) => records.to_owned(),
                (false, text) => yaml::scalar(text),
            };
            let line = format!("{:indent$}{key}: {value}", "", indent = 2 * sections.len());
            let _ = writeln!(text, "{line:<42}  # {origin}");
            open = sections;
        }
        text
    }
}

/// The process's environment; what is not Unicode is made so, and then refused by whatever reads it.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    env::vars_os().map(|(name, text)| (name.to_string_lossy().into_owned(), text.to_string_lossy().into_owned()))
}

/// Reads every layer and checks it all; the error lists every problem.
pub fn load(args: &ServeArgs, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, Problems> {
    let environment: BTreeMap<String, String> = env.collect();
    let mut layers = Layers::default();
    layers.opentelemetry(&environment);
    if let Some(path) = &args.registry_config {
        registry::lay(&mut layers, path, &environment);
    }
    if let Some(path) = &args.config {
        layers.file(path);
    }
    layers.environment(&environment);
    layers.flags(args);
    if layers.entries.get("instanceid").is_none_or(|entry| entry.text.is_empty()) {
        let entry = Entry { text: instance_id(), origin: Origin::Default };
        layers.entries.insert("instanceid".to_owned(), entry);
    }
    let settings = Settings::new(layers.entries.clone(), &mut layers.problems);
    let (config, credentials) = build::build(&settings, &mut layers);
    if !layers.problems.is_empty() {
        return Err(Problems(layers.problems));
    }
    let effective = effective(&layers.entries, &layers.queries);
    let colour = environment.get("NO_COLOR").is_none_or(String::is_empty);
    Ok(Loaded { config, credentials, warnings: layers.warnings, effective, colour })
}

/// The host's name and a random suffix, so two instances on one host differ, and so does an instance from itself before
/// a restart.
fn instance_id() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let host: String = host.chars().filter(char::is_ascii_graphic).take(100).collect();
    let suffix: String = (0..6).map(|_| fastrand::char('a'..='z')).collect();
    format!("{host}-{suffix}")
}

fn effective(entries: &BTreeMap<String, Entry>, queries: &BTreeMap<String, QueryEntry>) -> Vec<Effective> {
    let line = |path: &str, is_secret: bool, default: &str| {
        let (text, origin) = match entries.get(path) {
            Some(Entry { text, origin }) => (text.as_str(), origin.clone()),
            None => (default, Origin::Default),
        };
        let shown = if is_secret && !text.is_empty() { REDACTED } else { text };
        Effective { path: path.to_owned(), shown: shown.to_owned(), origin }
    };
    let mut effective = Vec::new();
    for setting in SETTINGS {
        effective.push(line(setting.path, setting.kind.is_secret(), setting.default));
        let file = format!("{}file", setting.path);
        if setting.kind.is_secret() && entries.contains_key(&file) {
            effective.push(line(&file, false, ""));
        }
    }
    for (name, query) in queries {
        for known in schema::QUERY_KEYS {
            if let Some(Entry { text, origin }) = query.keys.get(known.key) {
                let path = format!("queries.{name}.{}", known.key);
                effective.push(Effective { path, shown: text.clone(), origin: origin.clone() });
            }
        }
    }
    effective
}
