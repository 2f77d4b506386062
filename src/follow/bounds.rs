//! A number of rows with what it may be off by.

use std::{iter::Sum, ops::Add};

/// At least, most likely, at most. Of a leaf as of a set of transactions; or a change of those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// At least so many.
    pub lower: i64,
    /// The best guess; never outside the other two.
    pub value: i64,
    /// At most so many.
    pub upper: i64,
}

// === impl Bounds ===

impl Bounds {
    /// So many, for sure.
    pub fn exactly(rows: i64) -> Self {
        Self { lower: rows, value: rows, upper: rows }
    }

    /// How far apart the bounds are.
    pub fn width(self) -> i64 {
        self.upper.saturating_sub(self.lower)
    }

    /// What both allow; `None` when they exclude each other. The guess is that of the narrower one.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (lower, upper) = (self.lower.max(other.lower), self.upper.min(other.upper));
        let guess = if other.width() < self.width() { other.value } else { self.value };
        (lower <= upper).then(|| Self { lower, value: guess.clamp(lower, upper), upper })
    }

    /// As told to others: no table has fewer rows than none.
    pub fn published(self) -> Self {
        Self { lower: self.lower.max(0), value: self.value.max(0), upper: self.upper.max(0) }
    }
}

impl Add for Bounds {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lower: self.lower.saturating_add(other.lower),
            value: self.value.saturating_add(other.value),
            upper: self.upper.saturating_add(other.upper),
        }
    }
}

impl Sum for Bounds {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(lower: i64, value: i64, upper: i64) -> Bounds {
        Bounds { lower, value, upper }
    }

    #[test]
    fn an_intersection_is_what_both_allow() {
        assert_eq!(bounds(0, 4, 9).intersection(bounds(3, 5, 6)), Some(bounds(3, 5, 6)));
        assert_eq!(bounds(3, 5, 6).intersection(bounds(0, 9, 9)), Some(bounds(3, 5, 6)), "the narrower one guesses");
        assert_eq!(bounds(0, 0, 5).intersection(bounds(4, 9, 10)), Some(bounds(4, 4, 5)), "within the bounds");
        assert_eq!(bounds(0, 0, 4).intersection(bounds(4, 9, 10)), Some(bounds(4, 4, 4)));
        assert_eq!(bounds(0, 1, 3).intersection(bounds(4, 4, 4)), None);
    }

    #[test]
    fn only_what_is_published_is_cut_at_zero() {
        let sum: Bounds = [bounds(-3, -1, 2), bounds(1, 2, 3)].into_iter().sum();
        assert_eq!(sum, bounds(-2, 1, 5));
        assert_eq!(sum.published(), bounds(0, 1, 5));
    }
}
