//! The cost models that are built in: what one request of each kind costs, and where the numbers come from.

use std::{str::FromStr, sync::LazyLock};

use super::{Invalid, expression::Expression, operation::PerOperation};

/// A built-in cost model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelName {
    /// Measured on a running registry.
    #[default]
    Registry432,
    /// The table published in 2020: it reproduces the published document, and is wrong on a registry of today.
    Published2020,
    /// After the registry's documentation of its queries, of 2020.
    Parametric2020,
}

/// What requests cost.
#[derive(Debug)]
pub struct Model {
    /// Tells these numbers from those of other models and of other revisions of this one.
    pub version: &'static str,
    /// In the order in which they are listed; the shares of a handler, method and code sum to 1.
    pub costs: Vec<Cost>,
}

/// What one request of one kind costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Handler or route, as the model spells it.
    pub handler: String,
    /// HTTP method.
    pub method: String,
    /// Response code; empty: any.
    pub code: String,
    /// Weight of this code among the successes of its handler and method, for rates that do not tell their code.
    pub code_weight: f64,
    /// What the labels do not tell apart.
    pub kind: String,
    /// Share of this kind among its handler, method and code.
    pub share: f64,
    /// Top-level statements, with a cold cache.
    pub operations: PerOperation<Expression>,
    /// SELECTs with a warm cache.
    pub select_warm: Expression,
    /// Statements inside triggers and foreign-key checks.
    pub nested: PerOperation<Expression>,
    /// Where the numbers come from, where that is not as for the whole model.
    pub note: String,
}

static REGISTRY_4_32: LazyLock<Model> =
    LazyLock::new(|| Model::parse("registry-4.32.0-1", include_str!("model/registry-4.32.csv")));
static PUBLISHED_2020: LazyLock<Model> =
    LazyLock::new(|| Model::parse("published-2020-1", include_str!("model/published-2020.csv")));
static PARAMETRIC_2020: LazyLock<Model> =
    LazyLock::new(|| Model::parse("parametric-2020-1", include_str!("model/parametric-2020.csv")));

// === impl ModelName ===

impl ModelName {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::Registry432, Self::Published2020, Self::Parametric2020];

    /// Its name in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registry432 => "registry-4.32",
            Self::Published2020 => "published-2020",
            Self::Parametric2020 => "parametric-2020",
        }
    }

    /// The model.
    pub fn model(self) -> &'static Model {
        match self {
            Self::Registry432 => &REGISTRY_4_32,
            Self::Published2020 => &PUBLISHED_2020,
            Self::Parametric2020 => &PARAMETRIC_2020,
        }
    }
}

impl FromStr for ModelName {
    type Err = Invalid;

    /// Empty means the default.
    fn from_str(name: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|model| model.as_str() == name);
        found.or(name.is_empty().then(Self::default)).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Invalid::new("cost_model", format!("{name:?} is not one of {known}"))
        })
    }
}

// === impl Model ===

impl Model {
    fn parse(version: &'static str, table: &'static str) -> Self {
        let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(table.as_bytes());
        let costs = reader.records().map(|row| cost(&row.expect("a test reads every table that is built in")));
        Self { version, costs: costs.collect() }
    }
}

/// A row of a built-in table. Its columns: method, handler, code, code_weight, kind, share, select, select_warm, insert, update,
/// delete, nested_select, nested_insert, nested_update, nested_delete, note.
fn cost(row: &csv::StringRecord) -> Cost {
    let text = |column: usize| row[column].to_owned();
    let number = |column: usize| -> Expression { row[column].parse().expect("a test reads every table") };
    let of = |columns: [usize; 4]| {
        let mut columns = columns.into_iter();
        PerOperation::from_fn(|_| columns.next().map(number).unwrap_or_default())
    };
    let real = |column: usize| -> f64 { row[column].parse().expect("a test reads every table") };
    Cost {
        method: text(0),
        handler: text(1),
        code: text(2),
        code_weight: real(3),
        kind: text(4),
        share: real(5),
        operations: of([6, 8, 9, 10]),
        select_warm: number(7),
        nested: of([11, 12, 13, 14]),
        note: text(15),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rates::{handler::Pair, operation::Operation, parameters::Sizes};

    #[test]
    fn the_shares_of_every_handler_method_and_code_sum_to_one() {
        for name in ModelName::ALL {
            let mut sums: BTreeMap<(&str, &str, &str), f64> = BTreeMap::new();
            for cost in &name.model().costs {
                *sums.entry((&cost.handler, &cost.method, &cost.code)).or_default() += cost.share;
            }
            assert!(sums.len() >= 13, "{}: {sums:?}", name.as_str());
            assert!(sums.values().all(|sum| (sum - 1.0).abs() < 1e-12), "{}: {sums:?}", name.as_str());
        }
    }

    #[test]
    fn every_kind_is_there_once_and_none_costs_less_with_a_cold_cache() {
        for name in ModelName::ALL {
            let mut kinds = BTreeMap::new();
            for cost in &name.model().costs {
                let key = (format!("{:?}", Pair::new(&cost.handler, &cost.method)), &cost.code, &cost.kind);
                assert_eq!(kinds.insert(key, ()), None, "{cost:?}");
                let [cold, warm] = [cost.operations[Operation::Select], cost.select_warm];
                assert!(cold.at(Sizes::default()) >= warm.at(Sizes::default()), "{cost:?}");
                assert!(!cost.kind.is_empty(), "{cost:?}");
            }
        }
    }

    #[test]
    fn a_name_that_no_model_has_is_told_with_those_there_are() {
        assert_eq!("".parse(), Ok(ModelName::Registry432));
        let error = "registry-5".parse::<ModelName>().unwrap_err().to_string();
        assert_eq!(error, r#"cost_model: "registry-5" is not one of registry-4.32, published-2020, parametric-2020"#);
    }
}
