//! Shares of kinds that the labels do not tell apart. Those that are given stand; the rest of their pair is scaled, so
//! that a pair always sums to 1.

use std::{fmt, str::FromStr};

use super::mix::{Mix, Pair};

/// How much of the requests with these labels is of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    pub method: String,
    /// Handler or route.
    pub handler: String,
    pub code: String,
    pub kind: String,
    /// From 0 to 1.
    pub share: f64,
}

/// Why shares cannot be played.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ShareError {
    /// It is not written as a share.
    #[error("a share is written as in 'put /v2/{{name}}/manifests/{{reference}} 201 new image by tag=0.7'")]
    Syntax,
    /// It is not a part of a whole.
    #[error("the share of {0} is not from 0 to 1")]
    Range(String),
    /// The mix has no such kind.
    #[error("the mix has no requests of {0}")]
    Unknown(String),
    /// The kinds of one pair do not make a whole.
    #[error("the shares of {pair} sum to {sum}, which is {}", if *.sum > 1.0 { "more than 1" } else { "less than 1, and no other kind can take the rest" })]
    Sum {
        /// Its labels.
        pair: String,
        /// Of those that are given.
        sum: f64,
    },
}

/// More than the error of a sum of a few decimals.
const TOLERANCE: f64 = 1e-9;

// === impl Share ===

impl Share {
    fn is_of(&self, pair: &Pair) -> bool {
        self.method.eq_ignore_ascii_case(pair.method) && self.handler == pair.handler && self.code == pair.code
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, handler, code, kind, share: _ } = self;
        write!(f, "{method} {handler} {code} {kind}")
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (what, share) = text.rsplit_once('=').ok_or(ShareError::Syntax)?;
        let mut words = what.trim().splitn(4, ' ').map(str::to_owned);
        let mut word = || words.next().ok_or(ShareError::Syntax);
        let (method, handler, code, kind) = (word()?, word()?, word()?, word()?);
        let share = share.trim().parse().map_err(|_| ShareError::Syntax)?;
        Ok(Self { method, handler, code, kind, share })
    }
}

/// The shares of every kind of a mix, in the order of its pairs and their kinds.
pub(super) fn apply(mix: Mix, given: &[Share]) -> Result<Vec<Vec<f64>>, ShareError> {
    for share in given {
        if !(0.0..=1.0).contains(&share.share) {
            return Err(ShareError::Range(share.to_string()));
        }
        let mut kinds = mix.pairs().iter().filter(|pair| share.is_of(pair)).flat_map(|pair| pair.kinds);
        if !kinds.any(|part| part.name == share.kind) {
            return Err(ShareError::Unknown(share.to_string()));
        }
    }
    mix.pairs().iter().map(|pair| of_pair(pair, given)).collect()
}

fn of_pair(pair: &Pair, given: &[Share]) -> Result<Vec<f64>, ShareError> {
    // The last one that is given of a kind stands.
    let of_kind = |name| given.iter().rfind(|share| share.is_of(pair) && share.kind == name).map(|share| share.share);
    let fixed: Vec<Option<f64>> = pair.kinds.iter().map(|part| of_kind(part.name)).collect();
    if fixed.iter().all(Option::is_none) {
        return Ok(pair.kinds.iter().map(|part| part.share).collect());
    }
    let sum: f64 = fixed.iter().flatten().sum();
    let others: f64 =
        pair.kinds.iter().zip(&fixed).filter(|(_, fixed)| fixed.is_none()).map(|(part, _)| part.share).sum();
    let rest = 1.0 - sum;
    if rest < -TOLERANCE || (rest > TOLERANCE && others == 0.0) {
        let pair = format!("{} {} {}", pair.method, pair.handler, pair.code);
        return Err(ShareError::Sum { pair, sum });
    }
    let scale = if others == 0.0 { 0.0 } else { rest.max(0.0) / others };
    Ok(pair.kinds.iter().zip(fixed).map(|(part, fixed)| fixed.unwrap_or(part.share * scale)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: &str = "put /v2/{name}/manifests/{reference} 201";

    fn shares(given: &[String]) -> Result<Vec<f64>, ShareError> {
        let given: Vec<Share> = given.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let at = Mix::Registry432.pairs().iter().position(|pair| pair.kinds[0].name == "new image by tag").unwrap();
        Ok(apply(Mix::Registry432, &given)?.swap_remove(at))
    }

    #[test]
    fn given_shares_stand_and_the_others_keep_their_proportions() {
        let scaled = shares(&[format!("{PUSH} new image by tag=0.75")]).unwrap();
        let expected = [0.75, 0.05, 0.1, 0.025, 0.05, 0.0, 0.025];
        assert!(scaled.iter().zip(expected).all(|(share, expected)| (share - expected).abs() < 1e-12), "{scaled:?}");
    }

    #[test]
    fn one_kind_can_be_all() {
        let scaled = shares(&[format!("{} new index by digest=1", PUSH.replace("put", "PUT"))]).unwrap();
        assert_eq!(scaled, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn shares_that_make_no_whole_are_refused_with_their_labels() {
        let too_much = [format!("{PUSH} new image by tag=0.7"), format!("{PUSH} new index by tag=0.5")];
        let message = shares(&too_much).unwrap_err().to_string();
        assert_eq!(message, format!("the shares of {PUSH} sum to 1.2, which is more than 1"));
        let alone = ["get /v2/ 200 ping=0.5".to_owned()];
        assert!(shares(&alone).unwrap_err().to_string().contains("no other kind can take the rest"));
        for share in ["-0.1", "1.1", "NaN", "inf"] {
            let given = format!("{PUSH} new image by tag={share}");
            assert!(matches!(shares(&[given]), Err(ShareError::Range(_))), "{share}");
        }
    }

    #[test]
    fn what_is_no_kind_of_the_mix_is_refused_by_its_name() {
        let error = shares(&[format!("{PUSH} new imgae by tag=0.5")]).unwrap_err();
        assert_eq!(error, ShareError::Unknown(format!("{PUSH} new imgae by tag")));
        for text in ["", "put=0.5", "put x 201=0.5", "put x 201 new", "put x 201 new=many"] {
            assert_eq!(text.parse::<Share>(), Err(ShareError::Syntax), "{text}");
        }
    }
}
