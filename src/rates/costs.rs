//! A cost model in use: its expressions as numbers, with the parameters, the shares and the overrides that are given.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Invalid,
    expression::Expression,
    handler::Pair,
    model::{Cost, Model},
    operation::{Operation, PerOperation},
    parameters::{KindShare, Parameters},
};

/// Shares are given with a few digits: their sum may miss 1 by this much.
const ROUNDING: f64 = 1e-9;

/// Replaces a part of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct CostOverride {
    /// Where it was given, for messages.
    pub field: String,
    /// Handler or route label.
    pub handler: String,
    /// HTTP method.
    pub method: String,
    /// Response code; empty: every code of this handler and method.
    pub code: String,
    /// The kind that is replaced; empty: all kinds.
    pub kind: String,
    /// Statements of one request.
    pub operations: PerOperation<Expression>,
    /// Where the numbers come from.
    pub note: String,
}

/// What requests cost, in numbers.
#[derive(Clone, Debug)]
pub struct Costs {
    is_overridden: bool,
    rows: Vec<Row>,
    /// Places in `rows`.
    by_pair: HashMap<Pair, Vec<usize>>,
}

/// What one request of one kind costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// As in the model: labels, share and the source of the numbers.
    pub cost: Cost,
    /// Top-level statements.
    pub operations: PerOperation<f64>,
    /// Statements inside triggers and foreign-key checks.
    pub nested: PerOperation<f64>,
}

/// A number between those of the cheapest and of the dearest kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    /// Were every request of the cheapest kind.
    pub low: f64,
    /// By the shares.
    pub expected: f64,
    /// Were every request of the dearest kind.
    pub high: f64,
}

/// What one request costs, as far as its labels tell.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestCost {
    /// Top-level statements.
    pub operations: PerOperation<Range>,
    /// Statements inside triggers and foreign-key checks.
    pub nested: PerOperation<Range>,
    /// Whether codes of different costs went into it, by their weights, since the rate does not tell its code.
    pub is_of_several_codes: bool,
}

// === impl CostOverride ===

impl CostOverride {
    /// Whether `model` knows what is replaced: a kind is of some models only, any other pair can be added.
    pub fn fits(&self, model: &Model) -> bool {
        let pair = Pair::new(&self.handler, &self.method);
        let is_meant = |cost: &Cost| {
            cost.kind == self.kind
                && Pair::new(&cost.handler, &cost.method) == pair
                && (self.code.is_empty() || cost.code.is_empty() || cost.code == self.code)
        };
        self.kind.is_empty() || model.costs.iter().any(is_meant)
    }
}

// === impl Costs ===

impl Costs {
    /// The model with these parameters. Overrides come first, in their order; then the shares are settled.
    pub fn new(model: &Model, parameters: &Parameters, overrides: &[CostOverride]) -> Result<Self, Invalid> {
        let keyed = |cost: &Cost| (Pair::new(&cost.handler, &cost.method), cost.clone());
        let mut keyed: Vec<(Pair, Cost)> = model.costs.iter().map(keyed).collect();
        for change in overrides {
            apply(&mut keyed, change)?;
        }
        let mut by_pair: HashMap<Pair, Vec<usize>> = HashMap::new();
        let mut costs = Vec::with_capacity(keyed.len());
        for (index, (pair, cost)) in keyed.into_iter().enumerate() {
            by_pair.entry(pair).or_default().push(index);
            costs.push(cost);
        }
        settle(&mut costs, &by_pair, &parameters.shares)?;
        let rows = costs.into_iter().map(|cost| Row::new(cost, parameters)).collect::<Result<_, _>>()?;
        Ok(Self { is_overridden: !overrides.is_empty(), rows, by_pair })
    }

    /// Whether anything differs from the model.
    pub fn is_overridden(&self) -> bool {
        self.is_overridden
    }

    /// Every kind, in the order of the model.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The cost of a request; `None` when there is none. A rate without a code is taken as one of successes.
    pub fn find(&self, pair: &Pair, code: &str) -> Option<RequestCost> {
        let rows: Vec<&Row> = self.by_pair.get(pair)?.iter().map(|index| &self.rows[*index]).collect();
        let rows = answering(rows, |row| &row.cost, code);
        let weights: BTreeMap<&str, f64> = rows.iter().map(|row| (&*row.cost.code, row.cost.code_weight)).collect();
        let sum: f64 = weights.values().sum();
        let of = |number: &dyn Fn(&Row) -> f64| {
            // A kind that never occurs is neither the cheapest nor the dearest.
            let occurring = || rows.iter().filter(|row| row.cost.share > 0.0).map(|row| number(row));
            let expected = |row: &&Row| row.cost.share * row.cost.code_weight / sum * number(row);
            Range {
                low: occurring().fold(f64::INFINITY, f64::min),
                expected: rows.iter().map(expected).sum(),
                high: occurring().fold(0.0, f64::max),
            }
        };
        let operations = PerOperation::from_fn(|operation| of(&|row| row.operations[operation]));
        let is_of_several_codes = weights.len() > 1 && operations.iter().any(|(_, range)| range.low < range.high);
        let nested = PerOperation::from_fn(|operation| of(&|row| row.nested[operation]));
        (!rows.is_empty()).then_some(RequestCost { operations, nested, is_of_several_codes })
    }
}

// === impl Range ===

impl Range {
    /// So many times as much.
    pub fn times(self, factor: f64) -> Self {
        Self { low: self.low * factor, expected: self.expected * factor, high: self.high * factor }
    }
}

// === impl Row ===

impl Row {
    fn new(cost: Cost, parameters: &Parameters) -> Result<Self, Invalid> {
        let number = |name: &str, expression: Expression| {
            let number = expression.at(parameters.sizes);
            if number.is_finite() && number >= 0.0 {
                return Ok(number);
            }
            let Cost { method, handler, kind, .. } = &cost;
            let problem = format!("{expression} of {method} {handler} {kind} is {number} with the sizes given");
            Err(Invalid::new(format!("cost_overrides.{name}_count"), problem))
        };
        let mut operations = PerOperation::default();
        let mut nested = PerOperation::default();
        for operation in Operation::ALL {
            let warm = operation == Operation::Select && parameters.warm_cache;
            let expression = if warm { cost.select_warm } else { cost.operations[operation] };
            operations[operation] = number(operation.as_str(), expression)?;
            nested[operation] = number(operation.as_str(), cost.nested[operation])?;
        }
        Ok(Self { cost, operations, nested })
    }
}

/// Those of `items` whose cost is that of a request with `code`: those of this code, else those of any. Without a code,
/// those of successes, else those of any.
fn answering<'a, T>(items: Vec<T>, cost: impl Fn(&T) -> &'a Cost, code: &str) -> Vec<T> {
    let is_exact = |item: &T| {
        let own = &cost(item).code;
        if code.is_empty() { own.starts_with('2') } else { own == code }
    };
    let has_exact = items.iter().any(is_exact);
    let answers = |item: &T| if has_exact { is_exact(item) } else { cost(item).code.is_empty() };
    items.into_iter().filter(answers).collect()
}

/// Puts one override in the place of what it replaces: one kind, all kinds of one code, or all of a handler and method.
fn apply(costs: &mut Vec<(Pair, Cost)>, change: &CostOverride) -> Result<(), Invalid> {
    let CostOverride { field, handler, method, code, kind, operations, note } = change;
    let pair = Pair::new(handler, method);
    if !code.is_empty() && !kind.is_empty() {
        split_off(costs, &pair, code);
    }
    let is_meant = |(of, cost): &(Pair, Cost)| *of == pair && (code.is_empty() || cost.code == *code);
    if !kind.is_empty() {
        let kinds = known_kinds(costs.iter().filter(|cost| is_meant(cost)).map(|(_, cost)| cost));
        let named: Vec<_> = costs.iter_mut().filter(|cost| is_meant(cost) && cost.1.kind == *kind).collect();
        if named.is_empty() {
            let problem = format!("no kind of {method} {handler} {code} is {kind:?}; there are: {kinds}");
            return Err(Invalid::new(format!("{field}.kind"), problem));
        }
        for (_, cost) in named {
            replace(cost, operations, note);
        }
        return Ok(());
    }
    let place = costs.iter().position(|(of, _)| *of == pair).unwrap_or(costs.len());
    costs.retain(|cost| !is_meant(cost));
    let (select_warm, nested) = (Expression::default(), PerOperation::default());
    let mut cost = Cost {
        handler: handler.clone(),
        method: method.clone(),
        code: code.clone(),
        code_weight: 1.0,
        kind: "any".to_owned(),
        share: 1.0,
        operations: *operations,
        select_warm,
        nested,
        note: String::new(),
    };
    replace(&mut cost, operations, note);
    costs.insert(place, (pair, cost));
    Ok(())
}

/// Gives `code` kinds of its own where the model has only those of any code, so that one of them can be replaced and the
/// other codes stay as they are.
fn split_off(costs: &mut Vec<(Pair, Cost)>, pair: &Pair, code: &str) {
    let of_pair = costs.iter().filter(|(of, _)| of == pair);
    let of_any = of_pair.clone().filter(|(_, cost)| cost.code.is_empty());
    if of_pair.clone().any(|(_, cost)| cost.code == code) {
        return;
    }
    let own: Vec<_> = of_any.cloned().map(|(of, cost)| (of, Cost { code: code.to_owned(), ..cost })).collect();
    costs.extend(own);
}

/// The cache is the override's matter then, and what triggers do is not known of it.
fn replace(cost: &mut Cost, operations: &PerOperation<Expression>, note: &str) {
    cost.operations = *operations;
    cost.select_warm = operations[Operation::Select];
    cost.nested = PerOperation::default();
    cost.note = if note.is_empty() { "given".to_owned() } else { note.to_owned() };
}

/// Gives each kind its share: those that are given are kept, the others of their handler, method and code are scaled.
fn settle(costs: &mut [Cost], by_pair: &HashMap<Pair, Vec<usize>>, given: &[KindShare]) -> Result<(), Invalid> {
    // By the place of the kind in the model.
    let mut settled: HashMap<usize, &KindShare> = HashMap::new();
    for share in given {
        let rows = by_pair.get(&share.pair).map_or(&[][..], Vec::as_slice);
        let rows = answering(rows.to_vec(), |row| &costs[*row], &share.code);
        let named = rows.iter().copied().filter(|row| costs[*row].kind == share.kind);
        let [row] = named.collect::<Vec<_>>()[..] else {
            let kinds = known_kinds(rows.iter().map(|row| &costs[*row]));
            let problem = format!("no kind of that handler, method and code is {:?}; there are: {kinds}", share.kind);
            return Err(Invalid::new(format!("{}.kind", share.field), problem));
        };
        if let Some(other) = settled.insert(row, share) {
            let problem = format!("{:?} has a share already, by {}", share.kind, other.field);
            return Err(Invalid::new(format!("{}.kind", share.field), problem));
        }
    }
    for rows in by_pair.values() {
        let codes: BTreeSet<String> = rows.iter().map(|row| costs[*row].code.clone()).collect();
        for code in codes {
            let rows: Vec<usize> = rows.iter().copied().filter(|row| costs[*row].code == code).collect();
            let (known, rest): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| settled.contains_key(row));
            let Some(share) = known.last().map(|row| settled[row]) else { continue };
            let (sum, left): (f64, f64) =
                (known.iter().map(|row| settled[row].share).sum(), rest.iter().map(|row| costs[*row].share).sum());
            let fail = |problem: String| Err(Invalid::new(format!("{}.share", share.field), problem));
            if sum > 1.0 + ROUNDING {
                return fail(format!("the shares of this handler, method and code sum to {sum}, which is more than 1"));
            }
            let missing = (1.0 - sum).max(0.0);
            if left == 0.0 && missing > ROUNDING {
                let kinds = known_kinds(rows.iter().map(|row| &costs[*row]));
                return fail(format!("the shares sum to {sum} and no other kind has one; there are: {kinds}"));
            }
            for row in known {
                costs[row].share = settled[&row].share;
            }
            for row in rest {
                costs[row].share *= if left == 0.0 { 0.0 } else { missing / left };
            }
        }
    }
    Ok(())
}

fn known_kinds<'a>(costs: impl Iterator<Item = &'a Cost>) -> String {
    let kinds: Vec<&str> = costs.map(|cost| &*cost.kind).collect();
    if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::model::ModelName;

    fn costs(parameters: &Parameters) -> Costs {
        Costs::new(ModelName::Registry432.model(), parameters, &[]).unwrap()
    }

    fn share(kind: &str, share: f64) -> KindShare {
        let (pair, code) = (Pair::new("manifest", "PUT"), "201".to_owned());
        KindShare { field: format!("kind_shares[{kind}]"), pair, code, kind: kind.to_owned(), share }
    }

    fn with(shares: &[KindShare]) -> Result<Costs, Invalid> {
        let parameters = Parameters { shares: shares.to_vec(), ..Parameters::default() };
        Costs::new(ModelName::Registry432.model(), &parameters, &[])
    }

    fn select(costs: &Costs, handler: &str, method: &str, code: &str) -> Range {
        costs.find(&Pair::new(handler, method), code).unwrap().operations[Operation::Select]
    }

    fn shares(costs: &Costs) -> Vec<(&str, f64)> {
        let rows = costs.rows().iter().filter(|row| row.cost.method == "put" && row.cost.code == "201");
        rows.map(|row| (&*row.cost.kind, row.cost.share)).collect()
    }

    fn change(code: &str, kind: &str, select: &str) -> CostOverride {
        let mut operations = PerOperation::default();
        operations[Operation::Select] = select.parse().unwrap();
        CostOverride {
            field: "cost_overrides[0]".to_owned(),
            handler: "manifest".to_owned(),
            method: "PUT".to_owned(),
            code: code.to_owned(),
            kind: kind.to_owned(),
            operations,
            note: String::new(),
        }
    }

    #[test]
    fn a_put_costs_what_its_kinds_cost_by_their_shares() {
        let range = select(&costs(&Parameters::default()), "manifest", "PUT", "201");
        let expected = 0.5 * 49.0 + 0.1 * 46.0 + 0.2 * 17.0 + 0.05 * 14.0 + 0.1 * 11.0 + 0.05 * 7.0;
        assert_eq!((range.low, range.high), (7.0, 49.0));
        assert!((range.expected - expected).abs() < 1e-9, "{range:?}");
    }

    #[test]
    fn a_warm_cache_saves_selects() {
        let warm = costs(&Parameters { warm_cache: true, ..Parameters::default() });
        assert_eq!(select(&warm, "manifest", "GET", "200").expected, 1.0);
        assert_eq!(select(&costs(&Parameters::default()), "manifest", "GET", "200").expected, 2.0);
    }

    #[test]
    fn a_rate_without_a_code_is_one_of_successes() {
        let costs = costs(&Parameters::default());
        assert_eq!(select(&costs, "tags", "GET", "").expected, 3.0);
        assert_eq!(select(&costs, "tags", "GET", "404").expected, 1.0);
        let start_or_mount = costs.find(&Pair::new("blob_upload", "POST"), "").unwrap();
        assert_eq!(start_or_mount.operations[Operation::Select].expected, 0.5, "a tenth of them mounts");
        assert!(start_or_mount.is_of_several_codes);
        assert!(!costs.find(&Pair::new("blob", "GET"), "").unwrap().is_of_several_codes, "200 and 206 cost the same");
        assert_eq!(costs.find(&Pair::new("manifest", "GET"), "503"), None);
        assert_eq!(costs.find(&Pair::new("import", "PUT"), ""), None);
    }

    #[test]
    fn given_shares_are_kept_and_the_others_scaled() {
        let costs = with(&[share("new image by tag", 0.75)]).unwrap();
        let sum: f64 = shares(&costs).iter().filter(|(kind, _)| !kind.contains("blob")).map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        assert_eq!(shares(&costs)[0], ("new image by tag", 0.75));
        let (kind, scaled) = shares(&costs)[2];
        assert!(kind == "same image and tag again" && (scaled - 0.1).abs() < 1e-12, "{kind} {scaled}");
        let known = select(&with(&[share("new image by tag", 1.0)]).unwrap(), "manifest", "PUT", "201");
        assert_eq!(known, Range { low: 49.0, expected: 49.0, high: 49.0 });
    }

    #[test]
    fn shares_that_cannot_be_are_refused() {
        let told = |shares: &[KindShare]| with(shares).unwrap_err().to_string();
        let too_much = told(&[share("new image by tag", 0.7), share("same image and tag again", 0.4)]);
        assert!(too_much.ends_with("sum to 1.1, which is more than 1"), "{too_much}");
        assert!(told(&[share("new", 0.7)]).contains("there are: new image by tag, new image by digest,"));
        let twice = told(&[share("new image by tag", 0.1), share("new image by tag", 0.2)]);
        assert!(twice.contains("has a share already"), "{twice}");
        let all = ["new image by tag", "new image by digest", "same image and tag again"];
        let all = all.into_iter().chain(["same image by digest again", "new index by tag", "same index and tag again"]);
        let too_little = told(&all.map(|kind| share(kind, 0.1)).collect::<Vec<_>>());
        assert!(too_little.contains("no other kind has one"), "{too_little}");
    }

    #[test]
    fn an_override_replaces_one_kind_or_all_of_them() {
        let model = ModelName::Registry432.model();
        let of = |change| Costs::new(model, &Parameters::default(), &[change]);
        let one = of(change("201", "new image by tag", "1+L")).unwrap();
        assert_eq!(select(&one, "manifest", "PUT", "201").high, 46.0);
        let all = of(change("", "", "3")).unwrap();
        assert_eq!(select(&all, "manifest", "PUT", "400"), Range { low: 3.0, expected: 3.0, high: 3.0 });
        let published =
            |change| Costs::new(ModelName::Published2020.model(), &Parameters::default(), &[change]).unwrap();
        for kind in ["", "any"] {
            let one = published(change("404", kind, "7"));
            let of = |code| select(&one, "manifest", "PUT", code).expected;
            assert_eq!([of("404"), of("201"), of("")], [7.0, 1.0, 1.0], "{kind:?} of one code leaves the others");
        }
        let error = of(change("201", "new", "1")).unwrap_err();
        assert_eq!(error.field, "cost_overrides[0].kind");
        let fits = |kind, name: ModelName| change("201", kind, "1").fits(name.model());
        assert!(fits("", ModelName::Published2020) && fits("new image by tag", ModelName::Registry432));
        assert!(!fits("new image by tag", ModelName::Published2020) && !fits("new", ModelName::Registry432));
        let error = of(change("201", "", "L-11")).unwrap_err().to_string();
        assert!(error.contains("-11+L of PUT manifest any is -1"), "{error}");
    }
}
