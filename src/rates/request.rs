//! The request rates that an estimate begins with, and what they may be.

use std::collections::HashMap;

use super::{Invalid, handler::Pair, non_negative};

/// The rate of the requests of one handler, method and response code.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRate {
    /// Handler or route label, as its source spells it.
    pub handler: String,
    /// HTTP method, as its source spells it.
    pub method: String,
    /// Response code; empty: all that were not left out.
    pub code: String,
    /// Requests a second.
    pub per_second: f64,
    /// In the busiest five minutes of the window, where that is known.
    pub peak_per_second: Option<f64>,
}

/// The rates that were given so far: none may be given twice.
#[derive(Debug, Default)]
pub struct Seen(HashMap<Pair, Vec<Given>>);

/// A rate that was given before, for the same requests or some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its response code; empty: every code.
    pub code: String,
    /// Where it was given: a line, or a place in a list.
    pub place: usize,
}

/// Labels of a registry are shorter by far.
const LONGEST_LABEL: usize = 256;

// === impl RequestRate ===

impl RequestRate {
    /// A rate that can be; the fields of the error are those of a request. A peak of zero is none.
    pub fn new(handler: &str, method: &str, code: &str, per_second: f64, peak: f64) -> Result<Self, Invalid> {
        check_labels(handler, method, code)?;
        let peak = non_negative("peak_requests_per_second", peak)?;
        Ok(Self {
            handler: handler.to_owned(),
            method: method.to_owned(),
            code: code.to_owned(),
            per_second: non_negative("requests_per_second", per_second)?,
            peak_per_second: Some(peak).filter(|peak| *peak > 0.0),
        })
    }
}

// === impl Seen ===

impl Seen {
    /// Notes a rate; the earlier one when there was one already, for the same code or for all of them.
    pub fn add(&mut self, rate: &RequestRate, place: usize) -> Result<(), Given> {
        let earlier = self.0.entry(Pair::new(&rate.handler, &rate.method)).or_default();
        let is_same = |given: &&Given| given.code == rate.code || given.code.is_empty() || rate.code.is_empty();
        match earlier.iter().find(is_same) {
            Some(given) => Err(given.clone()),
            None => {
                earlier.push(Given { code: rate.code.clone(), place });
                Ok(())
            }
        }
    }
}

/// Refuses labels that no request has. An empty code stands for all.
pub fn check_labels(handler: &str, method: &str, code: &str) -> Result<(), Invalid> {
    for (field, text) in [("handler", handler), ("method", method)] {
        if text.trim().is_empty() {
            return Err(Invalid::new(field, "is empty"));
        }
        if text.len() > LONGEST_LABEL {
            return Err(Invalid::new(field, format!("is longer than {LONGEST_LABEL} bytes")));
        }
    }
    check_code(code)
}

/// Refuses what is no response code; an empty one stands for all.
pub fn check_code(code: &str) -> Result<(), Invalid> {
    if code.is_empty() || is_code(code) {
        return Ok(());
    }
    let code: String = code.chars().take(LONGEST_LABEL).collect();
    Err(Invalid::new("code", format!("{code:?} is not a response code of three digits")))
}

/// Whether `text` is a response code.
pub fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit())
}
