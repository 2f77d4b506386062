//! The queries that `catalog` and `queries` come to: a name of the catalogue changes that built-in, any other makes a
//! query of the user's.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    catalog::{self, Catalog},
    query::{Method, Query, QueryName, Source},
};

use super::{duration, layers::QueryEntry, origin::Entry, problems::Problem, schema::QUERY_KEYS, sql};

/// What a query has when it says nothing.
pub struct Defaults {
    /// Which built-ins are on.
    pub catalog: Catalog,
    /// `database.metrics.interval`.
    pub interval: Duration,
    /// `collection.timeout`.
    pub timeout: Duration,
}

/// The keys of one query, with the problems that they have.
struct Keys<'a> {
    name: &'a str,
    entry: &'a QueryEntry,
    problems: &'a mut Vec<Problem>,
}

/// The queries that are on, ordered by name.
pub fn build(
    given: &BTreeMap<String, QueryEntry>,
    defaults: &Defaults,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Vec<Query> {
    let Defaults { catalog, interval, timeout } = *defaults;
    let builtins = catalog::queries(catalog, interval, timeout);
    let mut on: BTreeMap<QueryName, Query> = builtins.into_iter().map(|query| (query.name.clone(), query)).collect();
    for (text, entry) in given {
        let name = match text.parse::<QueryName>() {
            Ok(name) => name,
            Err(error) => {
                problems.push(Problem::at(format!("queries.{text}"), error.to_string(), entry.origin.clone()));
                continue;
            }
        };
        let mut keys = Keys { name: text, entry, problems };
        keys.check();
        let builtin = catalog::builtin(&name, interval, timeout);
        let is_on_by_default = builtin.is_none() || on.contains_key(&name);
        let query = match builtin {
            Some(builtin) => keys.changed(builtin),
            None => keys.made(name.clone(), defaults),
        };
        let enabled = entry.keys.get("enabled").map(|entry| entry.text == "true");
        on.remove(&name);
        match query {
            Some(query) if enabled.unwrap_or(is_on_by_default) => drop(on.insert(name, query)),
            Some(_) if enabled.is_none() => {
                warnings.push(format!(
                    "queries.{name}: the catalog leaves it off; queries.{name}.enabled: true switches it on"
                ));
            }
            _ => {}
        }
    }
    on.into_values().collect()
}

// === impl Keys ===

impl<'a> Keys<'a> {
    /// Checks each key by itself.
    fn check(&mut self) {
        for known in QUERY_KEYS {
            if let Some(message) = self.get(known.key).and_then(|entry| known.kind.check(&entry.text).err()) {
                self.refuse(known.key, &message);
            }
        }
    }

    /// The built-in with what was given changed. What it counts is fixed: its name is a promise.
    fn changed(&mut self, builtin: Query) -> Option<Query> {
        for key in ["sql", "table"] {
            if self.get(key).is_some() {
                self.refuse(key, "what a built-in counts is fixed; give your query a name of its own");
            }
        }
        Some(self.filled(builtin))
    }

    /// The user's query; `None` when it does not say what to count.
    fn made(&mut self, name: QueryName, defaults: &Defaults) -> Option<Query> {
        let source = match (self.get("sql"), self.get("table")) {
            (Some(entry), None) => self.taken("sql", sql::statement(&entry.text)).map(|sql| {
                let sql = sql.to_owned();
                Source::Statement { sql, table: None }
            }),
            (None, Some(entry)) => {
                self.taken("table", sql::table(&entry.text)).map(|table| Source::Table(table.to_owned()))
            }
            (sql, _) => {
                let message = match sql {
                    Some(_) => "has both sql and table; give one of them",
                    None => "is no built-in and has neither sql nor table; give one of them",
                };
                let origin = self.entry.origin.clone();
                self.problems.push(Problem::at(format!("queries.{}", self.name), message, origin));
                None
            }
        }?;
        let method = if matches!(source, Source::Table(_)) { Method::Auto } else { Method::Exact };
        let Defaults { catalog: _, interval, timeout } = *defaults;
        let description = String::new();
        Some(self.filled(Query { name, description, source, method, cap: None, interval, timeout, builtin: false }))
    }

    fn filled(&mut self, query: Query) -> Query {
        let length = |entry: Option<&Entry>, default| {
            entry.and_then(|entry| duration::parse(&entry.text).ok()).unwrap_or(default)
        };
        let method = self.method(&query.source).unwrap_or(query.method);
        Query {
            description: self.get("description").map_or(query.description, |entry| entry.text.clone()),
            interval: length(self.get("interval"), query.interval),
            timeout: length(self.get("timeout"), query.timeout),
            cap: self.cap(method),
            method,
            ..query
        }
    }

    /// A statement can only be run, so `auto` of one is `exact`.
    fn method(&mut self, source: &Source) -> Option<Method> {
        let is_table = matches!(source, Source::Table(_));
        let method = match self.get("method")?.text.as_str() {
            "auto" if !is_table => Method::Exact,
            "auto" => Method::Auto,
            "exact" => Method::Exact,
            "exactcapped" => Method::ExactCapped,
            "followed" => Method::Followed,
            "estimated" => Method::Estimated,
            // Refused already.
            _ => return None,
        };
        if !is_table && method != Method::Exact {
            self.refuse("method", "only all rows of a table can be counted like that; use exact");
            return None;
        }
        Some(method)
    }

    fn cap(&mut self, method: Method) -> Option<i64> {
        let cap = self.get("cap").map(|entry| entry.text.parse().ok());
        match (method, cap) {
            (Method::ExactCapped, None) => self.refuse("cap", "must say how many rows are counted at most"),
            (Method::ExactCapped, Some(cap)) => return cap,
            (_, Some(_)) => self.refuse("cap", "means something with method: exactcapped only"),
            (_, None) => {}
        }
        None
    }

    fn get(&self, key: &str) -> Option<&'a Entry> {
        self.entry.keys.get(key)
    }

    fn refuse(&mut self, key: &str, message: &str) {
        let origin = self.entry.keys.get(key).map(|entry| entry.origin.clone());
        self.problems.push(Problem {
            path: format!("queries.{}.{key}", self.name),
            message: message.to_owned(),
            origin,
        });
    }

    fn taken<T>(&mut self, key: &str, result: Result<T, sql::Error>) -> Option<T> {
        result.map_err(|error| self.refuse(key, &error.to_string())).ok()
    }
}
