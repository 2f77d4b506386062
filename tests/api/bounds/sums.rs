//! The sums that can come about when of several sets of numbers one is taken of each.

use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    least: i64,
    /// Bit n: `least + n` is one.
    bits: Vec<u64>,
}

// === impl Sums ===

impl Sums {
    /// This one alone.
    pub fn of(number: i64) -> Self {
        Self { least: number, bits: vec![1] }
    }

    /// With one of these added to each.
    pub fn add_one_of(&mut self, numbers: impl IntoIterator<Item = i64>) {
        let numbers: BTreeSet<i64> = numbers.into_iter().collect();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return };
        let words = usize::try_from(last - first).unwrap() / 64 + 2;
        let mut bits = vec![0; self.bits.len() + words];
        for number in &numbers {
            let shift = usize::try_from(number - first).unwrap();
            for (index, word) in self.bits.iter().enumerate() {
                let at = index + shift / 64;
                bits[at] |= word << (shift % 64);
                bits[at + 1] |= word.checked_shr(64 - u32::try_from(shift % 64).unwrap()).unwrap_or(0);
            }
        }
        while bits.last() == Some(&0) {
            bits.pop();
        }
        (self.least, self.bits) = (self.least + first, bits);
    }

    /// Whether one is at least `lower` and at most `upper`.
    pub fn has_within(&self, lower: i64, upper: i64) -> bool {
        self.all().any(|sum| (lower..=upper).contains(&sum))
    }

    pub fn least(&self) -> i64 {
        self.least
    }

    pub fn most(&self) -> i64 {
        self.all().last().expect("there is always one")
    }

    fn all(&self) -> impl Iterator<Item = i64> {
        let bits = self.bits.iter().enumerate();
        bits.flat_map(|(index, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * 64 + bit))
            .map(|bit| self.least + i64::try_from(bit).unwrap())
    }
}

#[test]
fn every_sum_and_no_other_is_found() {
    let sets: [&[i64]; 4] = [&[0, 3], &[-130, 70], &[5], &[0, 1, 64, 128]];
    let mut sums = Sums::of(0);
    let mut wanted = BTreeSet::from([0]);
    for set in sets {
        sums.add_one_of(set.iter().copied());
        wanted = wanted.iter().flat_map(|sum| set.iter().map(move |number| sum + number)).collect();
        assert_eq!(sums.all().collect::<BTreeSet<_>>(), wanted);
    }
    assert!(sums.has_within(76, 77) && !sums.has_within(80, 130) && sums.has_within(-500, -125));
}
