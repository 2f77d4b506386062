//! One record of a list, read key by key: each problem with it has its own path and line.

use std::collections::BTreeMap;

use super::{
    origin::Origin,
    problems::Problem,
    schema::{self, QueryKey},
    yaml::{Node, Value},
};

/// What the records of a list are called, and the keys that they have.
#[derive(Clone, Copy)]
pub struct Records {
    /// The dotted path of the list.
    pub path: &'static str,
    /// One of them, for messages.
    pub noun: &'static str,
    /// Every key.
    pub keys: &'static [QueryKey],
}

/// One record with its place.
pub struct Record<'a> {
    /// Of the record.
    pub path: String,
    /// Of the list; each line of it is a place of its own.
    origin: &'a Origin,
    line: u64,
    /// With their lines.
    texts: BTreeMap<&'static str, (String, u64)>,
    problems: &'a mut Vec<Problem>,
}

// === impl Records ===

impl Records {
    /// The record at `index`, with what is wrong with its keys; `None` when it has none at all.
    pub fn read<'a>(
        self,
        index: usize,
        node: &Node,
        origin: &'a Origin,
        problems: &'a mut Vec<Problem>,
    ) -> Option<Record<'a>> {
        let path = format!("{}[{index}]", self.path);
        let mut record = Record { path, origin, line: node.line, texts: BTreeMap::new(), problems };
        let Value::Map(entries) = &node.value else {
            record.refuse("", "want keys, not a value");
            return None;
        };
        for (key, line, node) in entries {
            let Some(known) = self.keys.iter().find(|known| known.key == key) else {
                let nearest = schema::most_like(key, self.keys.iter().map(|known| known.key.to_owned()));
                record.refuse_at(*line, key, &format!("no such key of a {}; the nearest is {nearest}", self.noun));
                continue;
            };
            match &node.value {
                Value::Null => {}
                Value::Scalar(text) => drop(record.texts.insert(known.key, (text.trim().to_owned(), *line))),
                Value::List(_) | Value::Map(_) => record.refuse_at(*line, key, "want one value"),
            }
        }
        Some(record)
    }
}

// === impl Record ===

impl Record<'_> {
    /// What stands at a key, or nothing.
    pub fn text(&self, key: &str) -> String {
        self.texts.get(key).map(|(text, _)| text.clone()).unwrap_or_default()
    }

    /// What stands at a key that must be set.
    pub fn wanted(&mut self, key: &str) -> String {
        let text = self.text(key);
        if text.is_empty() {
            self.refuse(key, "is not set");
        }
        text
    }

    /// How many problems there are, with this record and before it.
    pub fn problems(&self) -> usize {
        self.problems.len()
    }

    /// Says what is wrong with a key, or with the record when it is empty.
    pub fn refuse(&mut self, key: &str, message: &str) {
        self.refuse_at(self.texts.get(key).map_or(self.line, |(_, line)| *line), key, message);
    }

    fn refuse_at(&mut self, line: u64, key: &str, message: &str) {
        let path = if key.is_empty() { self.path.clone() } else { format!("{}.{key}", self.path) };
        self.problems.push(Problem::at(path, message, self.origin.at_line(line)));
    }
}
