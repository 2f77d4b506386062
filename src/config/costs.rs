//! `rates.costs`: what the user knows better than the models. Each record is checked by itself and against the models
//! here, so that no request fails for what the configuration says.

use std::collections::BTreeMap;

use crate::rates::{
    Invalid,
    costs::{CostOverride, Costs},
    expression::Expression,
    handler::Pair,
    model::ModelName,
    operation::{Operation, PerOperation},
    parameters::Parameters,
    request::check_code,
};

use super::{
    origin::Origin,
    problems::Problem,
    schema::{self, COST_KEYS},
    yaml::{Node, Value},
};

const PATH: &str = "rates.costs";

/// One record with its place.
struct Record<'a> {
    path: String,
    /// Of the list; each line of it is a place of its own.
    origin: &'a Origin,
    line: u64,
    /// With their lines.
    texts: BTreeMap<&'static str, (String, u64)>,
    problems: &'a mut Vec<Problem>,
}

/// The overrides, with what is wrong with them.
pub fn build(given: Option<&(Vec<Node>, Origin)>, problems: &mut Vec<Problem>) -> Vec<CostOverride> {
    let Some((nodes, origin)) = given else { return Vec::new() };
    let mut overrides: Vec<CostOverride> = Vec::new();
    let before = problems.len();
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("{PATH}[{index}]");
        let mut record = Record { path, origin, line: node.line, texts: BTreeMap::new(), problems };
        let Some(change) = record.read(node).and_then(|()| record.cost()) else { continue };
        match overrides.iter().find(|earlier| is_same(earlier, &change)) {
            Some(earlier) => record.refuse("", &format!("is of the same requests as {}", earlier.field)),
            None => overrides.push(change),
        }
    }
    if problems.len() == before {
        check(&overrides, nodes, origin, problems);
    }
    overrides
}

// === impl Record ===

impl Record<'_> {
    /// Takes the keys that are known; `None` when there are no keys at all.
    fn read(&mut self, node: &Node) -> Option<()> {
        let Value::Map(entries) = &node.value else {
            self.refuse("", "want keys, not a value");
            return None;
        };
        for (key, line, node) in entries {
            let Some(known) = COST_KEYS.iter().find(|known| known.key == key) else {
                let nearest = schema::most_like(key, COST_KEYS.iter().map(|known| known.key.to_owned()));
                self.refuse_at(*line, key, &format!("no such key of a cost; the nearest is {nearest}"));
                continue;
            };
            match &node.value {
                Value::Null => {}
                Value::Scalar(text) => drop(self.texts.insert(known.key, (text.trim().to_owned(), *line))),
                Value::List(_) | Value::Map(_) => self.refuse_at(*line, key, "want one value"),
            }
        }
        Some(())
    }

    /// The override; `None` when something is wrong with it.
    fn cost(&mut self) -> Option<CostOverride> {
        let before = self.problems.len();
        for key in ["method", "handler"] {
            if self.text(key).is_empty() {
                self.refuse(key, "is not set");
            }
        }
        let code = self.text("code");
        if let Err(Invalid { field: _, problem }) = check_code(&code) {
            self.refuse("code", &problem);
        }
        if Operation::ALL.iter().all(|operation| self.text(operation.as_str()).is_empty()) {
            self.refuse("", "has none of select, insert, update and delete; write select: 0 when it costs nothing");
        }
        let operations = PerOperation::from_fn(|operation| self.count(operation.as_str()));
        let (handler, method, kind) = (self.text("handler"), self.text("method"), self.text("kind"));
        let (field, note) = (self.path.clone(), "configuration".to_owned());
        let is_sound = self.problems.len() == before;
        is_sound.then_some(CostOverride { field, handler, method, code, kind, operations, note })
    }

    fn count(&mut self, key: &'static str) -> Expression {
        let text = self.text(key);
        if text.is_empty() {
            return Expression::default();
        }
        let expression = text.parse::<Expression>().unwrap_or_else(|error| {
            self.refuse(key, &error.to_string());
            Expression::default()
        });
        // Whatever sizes a request gives: it must not fail for what stands here.
        if !expression.is_never_negative() {
            self.refuse(key, &format!("{text} is below 0 for some sizes"));
        }
        expression
    }

    fn text(&self, key: &str) -> String {
        self.texts.get(key).map(|(text, _)| text.clone()).unwrap_or_default()
    }

    fn refuse(&mut self, key: &str, message: &str) {
        self.refuse_at(self.texts.get(key).map_or(self.line, |(_, line)| *line), key, message);
    }

    fn refuse_at(&mut self, line: u64, key: &str, message: &str) {
        let path = if key.is_empty() { self.path.clone() } else { format!("{}.{key}", self.path) };
        self.problems.push(Problem::at(path, message, self.origin.at_line(line)));
    }
}

fn is_same(one: &CostOverride, other: &CostOverride) -> bool {
    let key =
        |change: &CostOverride| (Pair::new(&change.handler, &change.method), change.code.clone(), change.kind.clone());
    key(one) == key(other)
}

/// Each must fit a model, and each model must take all that fit it.
fn check(overrides: &[CostOverride], nodes: &[Node], origin: &Origin, problems: &mut Vec<Problem>) {
    let costs = |model: ModelName, overrides: &[CostOverride]| {
        Costs::new(model.model(), &Parameters::default(), overrides).err()
    };
    let mut wrong = BTreeMap::new();
    for change in overrides {
        let one = std::slice::from_ref(change);
        let is_known = ModelName::ALL.into_iter().any(|model| change.fits(model.model()));
        if let Some(Invalid { field, problem }) = costs(ModelName::default(), one).filter(|_| !is_known) {
            wrong.insert(field, problem);
        }
    }
    for model in ModelName::ALL {
        let fitting: Vec<_> = overrides.iter().filter(|change| change.fits(model.model())).cloned().collect();
        if let Some(Invalid { field, problem }) = costs(model, &fitting) {
            wrong.entry(field).or_insert_with(|| format!("{problem} (in {})", model.as_str()));
        }
    }
    for (field, problem) in wrong {
        let place = overrides.iter().position(|change| field.starts_with(&change.field));
        let line = place.and_then(|place| nodes.get(place)).map(|node| node.line);
        problems.push(Problem::at(field, problem, line.map_or_else(|| origin.clone(), |line| origin.at_line(line))));
    }
}
