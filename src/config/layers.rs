//! What was given, layer over layer: a later one replaces what an earlier one gave under the same path. Whether it
//! makes sense is for `settings` to say.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    kind::Kind,
    load::ServeArgs,
    origin::{Entry, Origin},
    problems::Problem,
    schema::{self, Given, QUERY_KEYS},
    yaml::{self, Node, Value},
};

/// Where OpenTelemetry's SDKs are told the endpoint.
const OTLP_ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Variables with our prefix that are no settings: the client's.
const NOT_SETTINGS: [&str; 1] = ["ROWCOUNT_SERVER"];

/// What was given under the name of a query.
pub struct QueryEntry {
    /// Where the name was given first.
    pub origin: Origin,
    /// Its keys.
    pub keys: BTreeMap<&'static str, Entry>,
}

/// Everything that was given.
#[derive(Default)]
pub struct Layers {
    /// By dotted path.
    pub entries: BTreeMap<String, Entry>,
    /// Lists of records by dotted path, each with where the list was given.
    pub records: BTreeMap<String, (Vec<Node>, Origin)>,
    /// By name.
    pub queries: BTreeMap<String, QueryEntry>,
    /// What is wrong with the layers themselves.
    pub problems: Vec<Problem>,
    /// What is odd, and no reason to refuse.
    pub warnings: Vec<String>,
}

// === impl Layers ===

impl Layers {
    /// Lays our own file over what is there.
    pub fn file(&mut self, path: &Path) {
        let origin = |line| Origin::File { path: path.to_owned(), line };
        let Some(root) = self.read("--config", path) else { return };
        match root.value {
            Value::Null => {}
            Value::Map(entries) => self.section("", entries, &origin),
            Value::Scalar(_) | Value::List(_) => self.problems.push(Problem::at("--config", "want keys", origin(1))),
        }
    }

    /// Lays the environment over what is there. A variable that names no setting is only warned of: Kubernetes makes
    /// such names from the names of Services.
    pub fn environment(&mut self, environment: &BTreeMap<String, String>) {
        let paths: BTreeMap<_, _> = schema::paths().map(|path| (schema::variable("ROWCOUNT", &path), path)).collect();
        for (name, text) in environment {
            let entry = || Entry { text: text.clone(), origin: Origin::Environment(name.clone()) };
            if !name.starts_with("ROWCOUNT_") || NOT_SETTINGS.contains(&name.as_str()) {
                continue;
            }
            if let Some(path) = paths.get(name) {
                let is_records = Given::find(path).is_some_and(|given| matches!(given.setting.kind, Kind::Records));
                if is_records {
                    self.records_text(path, entry());
                } else {
                    self.entries.insert(path.clone(), entry());
                }
            } else if let Some((query, key)) = query_variable(name) {
                self.query(&query, entry().origin).keys.insert(key, entry());
            } else {
                let nearest = schema::most_like(name, paths.keys().cloned());
                self.warnings.push(format!("{name} names no setting and is ignored; the nearest is {nearest}"));
            }
        }
    }

    /// Lays OpenTelemetry's own variables under what comes later; the one for traces before the one for everything.
    pub fn opentelemetry(&mut self, environment: &BTreeMap<String, String>) {
        let given = |name: &&&str| environment.get(**name).is_some_and(|text| !text.is_empty());
        if let Some(name) = OTLP_ENDPOINTS.iter().find(given) {
            let entry = Entry { text: environment[*name].clone(), origin: Origin::Environment((*name).to_owned()) };
            self.entries.insert("tracing.endpoint".to_owned(), entry);
        }
    }

    /// Lays the flags over what is there.
    pub fn flags(&mut self, args: &ServeArgs) {
        let ServeArgs { config: _, registry_config: _, grpc_addr, http_addr, instance_id } = args;
        let flags = [
            ("grpc.addr", "--grpc-addr", grpc_addr),
            ("http.addr", "--http-addr", http_addr),
            ("instanceid", "--instance-id", instance_id),
        ];
        for (path, flag, text) in flags {
            if let Some(text) = text {
                self.entries.insert(path.to_owned(), Entry { text: text.clone(), origin: Origin::Flag(flag) });
            }
        }
    }

    /// The tree of a file that `flag` names; `None` with a problem said.
    pub fn read(&mut self, flag: &str, path: &Path) -> Option<Node> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.problems.push(Problem::of(flag, format!("cannot read {}: {error}", path.display())));
                return None;
            }
        };
        yaml::parse(&text)
            .map_err(|yaml::Error { line, message }| {
                self.problems.push(Problem::of(flag, format!("{}:{line}: {message}", path.display())));
            })
            .ok()
    }

    /// Takes the text that stands at a known path.
    pub fn value(&mut self, path: &str, kind: Kind, node: Node, origin: Origin) -> Option<Entry> {
        let message = match node.value {
            Value::Null => return None,
            Value::Scalar(text) => return Some(Entry { text, origin }),
            Value::List(items) if items.is_empty() => return None,
            // One blank item, joined, would be no item.
            Value::List(items) if kind.takes_list() && items.iter().any(is_blank) => "has a blank item",
            Value::List(items) if kind.takes_list() => match joined(items) {
                Some(text) => return Some(Entry { text, origin }),
                None => "want a list of single values",
            },
            Value::List(_) => "want one value, not a list",
            Value::Map(_) => "want one value, not keys",
        };
        self.problems.push(Problem::at(path, message, origin));
        None
    }

    fn section(&mut self, parent: &str, entries: Vec<(String, u64, Node)>, origin: &dyn Fn(u64) -> Origin) {
        for (key, line, node) in entries {
            let path = if parent.is_empty() { key } else { format!("{parent}.{key}") };
            if path == "queries" {
                self.queries(node, origin);
            } else if let Some(Given { setting, is_file }) = Given::find(&path) {
                let kind = if is_file { Kind::Text } else { setting.kind };
                if matches!(kind, Kind::Records) {
                    self.records(&path, node, origin(line));
                } else if let Some(entry) = self.value(&path, kind, node, origin(line)) {
                    self.entries.insert(path, entry);
                }
            } else if schema::is_section(&path) {
                match node.value {
                    Value::Null => {}
                    Value::Map(entries) => self.section(&path, entries, origin),
                    Value::Scalar(_) | Value::List(_) => {
                        self.problems.push(Problem::at(path, "want keys, not a value", origin(line)));
                    }
                }
            } else {
                let message = format!("no such setting; the nearest is {}", schema::nearest(&path));
                self.problems.push(Problem::at(path, message, origin(line)));
            }
        }
    }

    /// Takes the records that a variable holds, as YAML or JSON; an empty text takes back those of a lower layer.
    fn records_text(&mut self, path: &str, Entry { text, origin }: Entry) {
        match yaml::parse(&text) {
            Ok(node) if node.value == Value::Null => {
                self.records.remove(path);
                self.entries.insert(path.to_owned(), Entry { text: String::new(), origin });
            }
            Ok(node) => self.records(path, node, origin),
            Err(yaml::Error { message, .. }) => {
                self.problems.push(Problem::at(path, format!("is neither YAML nor JSON: {message}"), origin));
            }
        }
    }

    fn records(&mut self, path: &str, node: Node, origin: Origin) {
        let text = yaml::flow(&node);
        match node.value {
            Value::Null => {}
            Value::Scalar(text) if text.is_empty() => {
                self.records.remove(path);
                self.entries.insert(path.to_owned(), Entry { text, origin });
            }
            Value::List(items) => {
                let text = if items.is_empty() { String::new() } else { text };
                self.entries.insert(path.to_owned(), Entry { text, origin: origin.clone() });
                self.records.insert(path.to_owned(), (items, origin));
            }
            Value::Scalar(_) | Value::Map(_) => self.problems.push(Problem::at(path, "want a list of records", origin)),
        }
    }

    fn queries(&mut self, node: Node, origin: &dyn Fn(u64) -> Origin) {
        for (name, line, node) in self.keys("queries", node, origin) {
            self.query(&name, origin(line));
            let path = format!("queries.{name}");
            for (key, line, node) in self.keys(&path, node, origin) {
                let path = format!("{path}.{key}");
                let Some(known) = QUERY_KEYS.iter().find(|known| known.key == key) else {
                    let nearest = schema::most_like(&key, QUERY_KEYS.iter().map(|known| known.key.to_owned()));
                    let message = format!("no such key of a query; the nearest is {nearest}");
                    self.problems.push(Problem::at(path, message, origin(line)));
                    continue;
                };
                if let Some(entry) = self.value(&path, known.kind, node, origin(line)) {
                    self.query(&name, origin(line)).keys.insert(known.key, entry);
                }
            }
        }
    }

    fn keys(&mut self, path: &str, node: Node, origin: &dyn Fn(u64) -> Origin) -> Vec<(String, u64, Node)> {
        match node.value {
            Value::Null => Vec::new(),
            Value::Map(entries) => entries,
            Value::Scalar(_) | Value::List(_) => {
                self.problems.push(Problem::at(path, "want keys, not a value", origin(node.line)));
                Vec::new()
            }
        }
    }

    fn query(&mut self, name: &str, origin: Origin) -> &mut QueryEntry {
        self.queries.entry(name.to_owned()).or_insert_with(|| QueryEntry { origin, keys: BTreeMap::new() })
    }
}

/// The query and the key that a variable names. No key has a `_`, so the last one parts them.
fn query_variable(variable: &str) -> Option<(String, &'static str)> {
    let (name, key) = variable.strip_prefix("ROWCOUNT_QUERIES_")?.rsplit_once('_')?;
    let known = QUERY_KEYS.iter().find(|known| known.key.to_uppercase() == key)?;
    Some((name.to_lowercase(), known.key))
}

fn is_blank(item: &Node) -> bool {
    matches!(&item.value, Value::Scalar(text) if text.trim().is_empty())
}

fn joined(items: Vec<Node>) -> Option<String> {
    let texts: Option<Vec<String>> = items
        .into_iter()
        .map(|item| match item.value {
            Value::Scalar(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        })
        .collect();
    texts.map(|texts| texts.join(","))
}
