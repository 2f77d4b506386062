//! What the reader of an estimate should know, each thing once, and not more than anybody reads.

/// Things that are told at most; a Prometheus can warn of every series.
const MOST: usize = 20;

/// Warnings in the order in which they came up.
#[derive(Debug, Default)]
pub struct Notes {
    told: Vec<String>,
    left_out: usize,
}

// === impl Notes ===

impl Notes {
    /// Adds one, unless it is known.
    pub fn add(&mut self, note: String) {
        if self.told.contains(&note) {
            return;
        }
        if self.told.len() < MOST {
            self.told.push(note);
        } else {
            self.left_out += 1;
        }
    }

    /// Adds each.
    pub fn extend(&mut self, notes: impl IntoIterator<Item = String>) {
        notes.into_iter().for_each(|note| self.add(note));
    }

    /// All of them, and how many were left out.
    pub fn into_vec(mut self) -> Vec<String> {
        if self.left_out > 0 {
            self.told.push(format!("{} more warnings were left out", self.left_out));
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_told_once_and_a_flood_is_counted() {
        let mut notes = Notes::default();
        notes.extend((0..25).map(|n| format!("{}", n % 23)));
        let told = notes.into_vec();
        assert_eq!((told.len(), told[20].as_str()), (21, "3 more warnings were left out"));
    }
}
