//! A table of text: no borders, two spaces between columns, one line a row, so that a row keeps its colour and `grep`
//! finds the whole of it.

use clap::builder::styling::Style;
use comfy_table::{CellAlignment, presets};

use super::text;

/// Rows under a header.
pub struct Table {
    inner: comfy_table::Table,
    /// One for each row.
    styles: Vec<Style>,
}

/// Lines of a name and a value.
#[derive(Default)]
pub struct Pairs(Vec<(&'static str, String)>);

// === impl Table ===

impl Table {
    /// Only the header; a name in `right` is aligned to the right.
    pub fn new(header: &[&str], right: &[&str]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING).set_header(header.to_vec());
        for (column, name) in inner.column_iter_mut().zip(header) {
            column.set_padding((0, 2));
            if right.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { inner, styles: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, style: Style, cells: Vec<String>) {
        self.styles.push(style);
        self.inner.add_row(cells.iter().map(|cell| text::one_line(cell)).collect::<Vec<_>>());
    }

    /// The header, then the rows; styled.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let styles = std::iter::once(Style::new().bold()).chain(self.styles.iter().copied());
        self.inner.lines().zip(styles).map(|(line, style)| format!("{style}{}{style:#}", line.trim_end()))
    }
}

// === impl Pairs ===

impl Pairs {
    /// Adds a line, unless there is no value.
    pub fn add(&mut self, name: &'static str, value: impl Into<Option<String>>) {
        if let Some(value) = value.into().filter(|value| !value.is_empty()) {
            self.0.push((name, text::one_line(&value)));
        }
    }

    /// The lines, values under each other.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        self.0.iter().map(move |(name, value)| format!("{name:width$}  {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lines: impl Iterator<Item = String>) -> Vec<String> {
        lines.map(|line| anstream::adapter::strip_str(&line).to_string()).collect()
    }

    #[test]
    fn numbers_stand_under_each_other_and_a_row_is_one_line() {
        let mut table = Table::new(&["QUERY", "ROWS", "ERROR"], &["ROWS"]);
        table.row(Style::new(), vec!["blobs".into(), "12,345".into(), String::new()]);
        table.row(Style::new(), vec!["tags".into(), "7".into(), "two\nlines".into()]);
        assert_eq!(plain(table.lines()), ["QUERY    ROWS  ERROR", "blobs  12,345", "tags        7  two lines"]);
    }

    #[test]
    fn a_pair_without_a_value_is_left_out() {
        let mut pairs = Pairs::default();
        pairs.add("state", "held".to_owned());
        pairs.add("address", String::new());
        pairs.add("error", None);
        pairs.add("expires in", Some("27s".to_owned()));
        assert_eq!(pairs.lines().collect::<Vec<_>>(), ["state       held", "expires in  27s"]);
    }
}
