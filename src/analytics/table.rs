//! Answers as people read them: aligned columns.

use std::fmt;

use crate::clock::Timestamp;
use crate::value::Value;

/// Rows of cells, each column as wide as its widest cell. The first column stands to the left, figures to the right.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Table {
    indent: &'static str,
    rows: Vec<Vec<String>>,
    left: usize,
}

impl Table {
    /// A table with that many columns of text before the figures.
    pub(super) fn new(left: usize) -> Self {
        Self { indent: "", rows: Vec::new(), left }
    }

    /// Moves the table to the right.
    pub(super) fn indented(mut self, indent: &'static str) -> Self {
        self.indent = indent;
        self
    }

    pub(super) fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (known, cell) in widths.iter_mut().zip(row) {
                *known = width(cell).max(*known);
            }
        }
        for row in &self.rows {
            let mut line = self.indent.to_owned();
            for (column, (cell, widest)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(widest - width(cell));
                if column > 0 {
                    line.push_str("  ");
                }
                if column < self.left {
                    line.push_str(cell);
                    line.push_str(&padding);
                } else {
                    line.push_str(&padding);
                    line.push_str(cell);
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// How many columns of a terminal a text takes: two for the letters of East Asia and for pictures.
fn width(text: &str) -> usize {
    let wide = |letter: char| {
        matches!(u32::from(letter),
            0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE4F
            | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x1F300..=0x1FAFF | 0x20000..=0x3FFFD)
    };
    text.chars().map(|letter| if wide(letter) { 2 } else { 1 }).sum()
}

/// `text` with control characters escaped: what events bring must not steer the terminal.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { clean.extend(letter.escape_default()) } else { clean.push(letter) }
    }
    clean
}

/// A number in groups of three.
pub(super) fn amount(number: u64) -> String {
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

/// A JSON number, to two places where it is not whole.
pub(super) fn figure(value: &Value) -> String {
    match (value.as_u64(), value.as_f64()) {
        (Some(whole), _) => amount(whole),
        (None, Some(float)) if float.fract() != 0.0 => {
            let text = format!("{:.2}", float.abs());
            let (whole, places) = text.split_once('.').unwrap_or((&text, ""));
            let whole = whole.parse().map_or_else(|_| whole.to_owned(), amount);
            format!("{}{whole}.{places}", if float < 0.0 { "-" } else { "" })
        }
        _ => value.to_string(),
    }
}

/// A part of a whole, as people say it.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A length of time in its largest unit that fits.
pub(super) fn length(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "–".to_owned() };
    for (unit, size) in [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0)] {
        if seconds >= size {
            return format!("{:.1} {unit}", seconds / size);
        }
    }
    format!("{seconds:.1} s")
}

/// The value of a group, as people write it.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An instant at which a period begins: the date alone where that says all.
pub(super) fn start(at: Timestamp) -> String {
    let text = at.to_string();
    text.strip_suffix("T00:00:00Z").map_or(text.clone(), str::to_owned)
}

/// The line above the table of a group.
pub(super) fn heading(f: &mut fmt::Formatter<'_>, of: &Value, other: bool) -> fmt::Result {
    let name = if other { "(other)".to_owned() } else { clean(&value(of)) };
    writeln!(f, "\n{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(1).indented("  ");
        table.push(["武汉".to_owned(), amount(1_234_567)]);
        table.push(["Lima\u{7}".to_owned(), percent(0.125)]);
        let figures = [20_121.094, -0.5, 1e18].map(|float| figure(&Value::from(float)));
        assert_eq!(figures, ["20,121.09", "-0.50", "1e+18"]);
        assert_eq!(table.to_string(), "  武汉       1,234,567\n  Lima\\u{7}     12.5 %\n");
        assert_eq!(
            (length(None), length(Some(5400.0)), length(Some(0.5))),
            ("–".into(), "1.5 h".into(), "0.5 s".into())
        );
    }
}
