//! Markdown: headings, tables whose numbers stand to the right, lists. What others wrote stays text within a cell.

use crate::cli::text;

/// A document as it grows.
pub struct Document(Vec<String>);

// === impl Document ===

impl Document {
    /// Only the title.
    pub fn new(title: &str) -> Self {
        Self(vec![format!("# {title}")])
    }

    /// Begins a section.
    pub fn heading(&mut self, text: &str) {
        self.0.extend([String::new(), format!("## {text}")]);
    }

    /// Begins a part of a section.
    pub fn subheading(&mut self, text: &str) {
        self.0.extend([String::new(), format!("### {text}")]);
    }

    /// Adds a table: its first `texts` columns are text, the others numbers.
    pub fn table(&mut self, header: &[&str], texts: usize, rows: &[Vec<String>]) {
        let alignment = |column: usize| if column < texts { "---" } else { "---:" };
        let alignments: Vec<&str> = (0..header.len()).map(alignment).collect();
        self.0.extend([String::new(), line(header), format!("|{}|", alignments.join("|"))]);
        self.0.extend(rows.iter().map(|row| line(row)));
    }

    /// Adds a list of names and values; a name of nothing goes on with the one before.
    pub fn list(&mut self, lines: &[(&str, String)]) {
        self.0.push(String::new());
        let item = |(name, value): &(&str, String)| match *name {
            "" => format!("- {}", text::one_line(value)),
            name => format!("- {name}: {}", text::one_line(value)),
        };
        self.0.extend(lines.iter().map(item));
    }

    /// The lines of the whole.
    pub fn into_lines(self) -> Vec<String> {
        self.0
    }
}

fn line<S: AsRef<str>>(cells: &[S]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| text::one_line(cell.as_ref()).replace('|', "\\|")).collect();
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_never_ends_before_its_end() {
        let mut document = Document::new("T");
        document.table(&["Handler", "Number"], 1, &[vec!["a|b\nc".to_owned(), "1".to_owned()]]);
        assert_eq!(document.into_lines(), ["# T", "", "| Handler | Number |", "|---|---:|", "| a\\|b c | 1 |"]);
    }

    #[test]
    fn a_value_without_a_name_is_an_item_too() {
        let mut document = Document::new("T");
        document.list(&[("source", "x.csv".to_owned()), ("", "more".to_owned())]);
        assert_eq!(document.into_lines()[2..], ["- source: x.csv", "- more"]);
    }
}
