//! The rates of requests, wherever they come from.

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
