//! Aligned text.

use std::fmt;

use customerdb::Value;
use unicode_width::UnicodeWidthStr;

/// Rows of cells, each column as wide as its widest cell.
#[derive(Debug)]
#[must_use]
pub(crate) struct Table {
    indent: &'static str,
    rows: Vec<Vec<String>>,
    figures: bool,
}

impl Table {
    pub(crate) fn new(indent: &'static str) -> Self {
        Self { indent, rows: Vec::new(), figures: false }
    }

    pub(crate) fn row<const N: usize>(mut self, cells: [&str; N]) -> Self {
        self.rows.push(cells.map(clean).into());
        self
    }

    /// Puts the last column to the right, as figures stand.
    pub(crate) fn figures(mut self) -> Self {
        self.figures = true;
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        for row in &self.rows {
            let mut line = self.indent.to_owned();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.width());
                if column > 0 {
                    line.push_str("  ");
                }
                let last = column + 1 == row.len();
                if last && self.figures {
                    line.push_str(&padding);
                }
                line.push_str(cell);
                if !last {
                    line.push_str(&padding);
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `text` with control characters escaped: what events bring must not steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            clean.extend(letter.escape_default());
        } else {
            clean.push(letter);
        }
    }
    clean
}

/// A value as people write it: text without quotes, anything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A number in groups of three.
pub(crate) fn amount(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
