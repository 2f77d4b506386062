//! Counts that depend on the image: `9+4*L`, with L layers, M children of an index and T tags. Only sums are meant, so
//! an expression is a linear form and one that multiplies two letters is refused.

use std::{fmt, str::FromStr};

use super::parameters::Sizes;

/// So many statements, given the sizes of what is pushed or deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expression {
    constant: f64,
    layers: f64,
    children: f64,
    tags: f64,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else stands there.
    #[error("{0:?} is not an expression: want numbers, L, M, T, +, -, * and parentheses, like 9+4*L")]
    Malformed(String),
    /// A product of two letters.
    #[error("{0:?} multiplies two of L, M and T: only sums of them are meant, like 9+4*L")]
    NotLinear(String),
}

/// What is left of the text.
struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
    depth: u8,
}

/// Parentheses in parentheses; more are no expression that anybody means.
const MAX_DEPTH: u8 = 16;

// === impl Expression ===

impl Expression {
    /// A number that depends on nothing.
    pub fn constant(number: f64) -> Self {
        Self { constant: number, ..Self::default() }
    }

    /// The number for these sizes.
    pub fn at(&self, sizes: Sizes) -> f64 {
        self.constant + self.layers * sizes.layers + self.children * sizes.children + self.tags * sizes.tags
    }

    /// Whether it depends on no size.
    pub fn is_constant(&self) -> bool {
        *self == Self::constant(self.constant)
    }

    /// Whether it is a number of 0 or more for all sizes.
    pub fn is_never_negative(&self) -> bool {
        [self.constant, self.layers, self.children, self.tags].iter().all(|part| part.is_finite() && *part >= 0.0)
    }

    fn times(self, factor: f64) -> Self {
        let Self { constant, layers, children, tags } = self;
        Self { constant: constant * factor, layers: layers * factor, children: children * factor, tags: tags * factor }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            constant: self.constant + other.constant,
            layers: self.layers + other.layers,
            children: self.children + other.children,
            tags: self.tags + other.tags,
        }
    }
}

impl FromStr for Expression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { whole: text, rest: text.trim_start(), depth: 0 };
        let sum = parser.sum()?;
        if parser.rest.is_empty() { Ok(sum) } else { Err(parser.malformed()) }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.layers, "L"), (self.children, "M"), (self.tags, "T")];
        let mut text = String::new();
        if self.constant != 0.0 || self.is_constant() {
            text += &self.constant.to_string();
        }
        for (factor, letter) in letters.into_iter().filter(|(factor, _)| *factor != 0.0) {
            let sign = if factor > 0.0 && !text.is_empty() { "+" } else { "" };
            match factor {
                1.0 => text += &format!("{sign}{letter}"),
                _ => text += &format!("{sign}{factor}*{letter}"),
            }
        }
        f.write_str(&text)
    }
}

// === impl Parser ===

impl Parser<'_> {
    fn sum(&mut self) -> Result<Expression, Error> {
        let sign = if self.takes('-') { -1.0 } else { 1.0 };
        let mut sum = self.product()?.times(sign);
        loop {
            let sign = match () {
                () if self.takes('+') => 1.0,
                () if self.takes('-') => -1.0,
                () => return Ok(sum),
            };
            sum = sum.plus(self.product()?.times(sign));
        }
    }

    fn product(&mut self) -> Result<Expression, Error> {
        let mut product = self.factor()?;
        while self.takes('*') {
            let factor = self.factor()?;
            product = match (product.is_constant(), factor.is_constant()) {
                (_, true) => product.times(factor.constant),
                (true, _) => factor.times(product.constant),
                _ => return Err(Error::NotLinear(self.whole.to_owned())),
            };
        }
        Ok(product)
    }

    fn factor(&mut self) -> Result<Expression, Error> {
        for (letter, of) in [
            ('L', Expression { layers: 1.0, ..Expression::default() }),
            ('M', Expression { children: 1.0, ..Expression::default() }),
            ('T', Expression { tags: 1.0, ..Expression::default() }),
        ] {
            if self.takes(letter) {
                return Ok(of);
            }
        }
        if self.takes('(') {
            self.depth += 1;
            let inner = if self.depth > MAX_DEPTH { Err(self.malformed()) } else { self.sum() }?;
            self.depth -= 1;
            return if self.takes(')') { Ok(inner) } else { Err(self.malformed()) };
        }
        let length = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.rest.len());
        let number = self.rest[..length].parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| self.malformed())?;
        self.rest = self.rest[length..].trim_start();
        Ok(Expression::constant(number))
    }

    fn takes(&mut self, wanted: char) -> bool {
        let Some(rest) = self.rest.strip_prefix(wanted) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn malformed(&self) -> Error {
        Error::Malformed(self.whole.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { layers: 10.0, children: 2.0, tags: 1.0 };

    #[test]
    fn sums_of_the_letters_are_numbers_for_given_sizes() {
        for (text, number) in [
            ("0", 0.0),
            ("9+4*L", 49.0),
            (" 6 + 4*L + T ", 47.0),
            ("2*(L-M)*0.5", 8.0),
            ("L*2", 20.0),
            ("-M+3", 1.0),
            ("1.5", 1.5),
        ] {
            assert_eq!(text.parse::<Expression>().unwrap().at(SIZES), number, "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_as_the_same() {
        for text in ["9+4*L", "L", "2+M", "6+4*L+T", "0", "-2*M", "1.5"] {
            assert_eq!(text.parse::<Expression>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "L M", "4L", "2**3", "(L", "L)", "x", "1/2", "1e3", "nan", "+", "."] {
            assert!(matches!(text.parse::<Expression>(), Err(Error::Malformed(_))), "{text}");
        }
        assert!(matches!(&*"(".repeat(5_000), deep if deep.parse::<Expression>().is_err()));
        assert_eq!("L*(1+M)".parse::<Expression>(), Err(Error::NotLinear("L*(1+M)".to_owned())));
    }
}
