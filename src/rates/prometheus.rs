//! Placeholder of the merge.

use std::time::{Duration, SystemTime};

use super::request::RequestRate;
use crate::config::PrometheusConfig;

#[derive(Clone, Debug)]
pub struct Prometheus {
    config: PrometheusConfig,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub window: Duration,
    pub times: Vec<SystemTime>,
    pub excluded_codes: Vec<ExcludedCode>,
}

/// Three digits, or a class such as 5xx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludedCode(String);

#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub rates: Vec<RequestRate>,
    pub promql: String,
    pub window: Duration,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Statements {
    pub per_second: f64,
    pub background_per_second: f64,
    pub warnings: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not merged yet")]
    Placeholder,
}

impl Prometheus {
    pub fn new(config: PrometheusConfig) -> Result<Self, Error> {
        Ok(Self { config })
    }
    pub async fn request_rates(&self, _query: &Query) -> Result<Observed, Error> {
        let _ = &self.config;
        Err(Error::Placeholder)
    }
    pub async fn registry_statements(&self, _window: Duration, _at: SystemTime) -> Result<Statements, Error> {
        Err(Error::Placeholder)
    }
}

impl std::str::FromStr for ExcludedCode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for ExcludedCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
