//! Response codes that are left out.

use std::{fmt, str::FromStr};

/// A response code, `500`, or a class of them, `5xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExcludedCode {
    /// This one.
    Code(u16),
    /// Every one that begins with this digit.
    Class(u8),
}

/// A text that is neither a code nor a class.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no response code; want three digits like 500, or a class like 5xx")]
pub struct ExcludedCodeError(String);

// === impl ExcludedCode ===

impl FromStr for ExcludedCode {
    type Err = ExcludedCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ExcludedCodeError(text.chars().take(20).collect());
        let &[first @ b'1'..=b'5', second, third] = text.as_bytes() else { return Err(error()) };
        match [second, third] {
            [b'x' | b'X', b'x' | b'X'] => Ok(Self::Class(first - b'0')),
            [b'0'..=b'9', b'0'..=b'9'] => text.parse().map(Self::Code).map_err(|_| error()),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for ExcludedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Class(digit) => write!(f, "{digit}xx"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_three_digits_or_a_class() {
        for (text, want) in [("500", "500"), ("401", "401"), ("5xx", "5xx"), ("4XX", "4xx")] {
            assert_eq!(text.parse::<ExcludedCode>().map(|code| code.to_string()), Ok(want.to_owned()));
        }
        for bad in ["", "50", "5000", "600", "099", "5x0", "xxx", "+50", "50\"", "5é", " 500"] {
            assert_eq!(bad.parse::<ExcludedCode>(), Err(ExcludedCodeError(bad.to_owned())), "{bad}");
        }
    }
}
