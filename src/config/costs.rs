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
    records::{Record, Records},
    schema::COST_KEYS,
    yaml::Node,
};

const RECORDS: Records = Records { path: "rates.costs", noun: "cost", keys: COST_KEYS };

/// The overrides, with what is wrong with them.
pub fn build(given: Option<&(Vec<Node>, Origin)>, problems: &mut Vec<Problem>) -> Vec<CostOverride> {
    let Some((nodes, origin)) = given else { return Vec::new() };
    let mut overrides: Vec<CostOverride> = Vec::new();
    let before = problems.len();
    for (index, node) in nodes.iter().enumerate() {
        let Some(mut record) = RECORDS.read(index, node, origin, problems) else { continue };
        let Some(change) = cost(&mut record) else { continue };
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

/// The override; `None` when something is wrong with it.
fn cost(record: &mut Record<'_>) -> Option<CostOverride> {
    let before = record.problems();
    let [method, handler] = ["method", "handler"].map(|key| record.wanted(key));
    let [code, kind] = ["code", "kind"].map(|key| record.text(key));
    if let Err(Invalid { field: _, problem }) = check_code(&code) {
        record.refuse("code", &problem);
    }
    if Operation::ALL.iter().all(|operation| record.text(operation.as_str()).is_empty()) {
        record.refuse("", "has none of select, insert, update and delete; write select: 0 when it costs nothing");
    }
    let operations = PerOperation::from_fn(|operation| count(record, operation.as_str()));
    let (field, note) = (record.path.clone(), "configuration".to_owned());
    let is_sound = record.problems() == before;
    is_sound.then_some(CostOverride { field, handler, method, code, kind, operations, note })
}

fn count(record: &mut Record<'_>, key: &'static str) -> Expression {
    let text = record.text(key);
    if text.is_empty() {
        return Expression::default();
    }
    let expression = text.parse::<Expression>().unwrap_or_else(|error| {
        record.refuse(key, &error.to_string());
        Expression::default()
    });
    // Whatever sizes a request gives: it must not fail for what stands here.
    if !expression.is_never_negative() {
        record.refuse(key, &format!("{text} is below 0 for some sizes"));
    }
    expression
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
