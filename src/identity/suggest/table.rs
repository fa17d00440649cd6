//! Everybody's values of the traits that are looked at, each different value held once.

use rustc_hash::FxHashMap;

use super::matching::Matching;
use crate::clock::Timestamp;
use crate::identity::normalise::folded;
use crate::value::{DottedPath, Num, Object, Value, write_canonical};

/// The number of no value, and of no block.
pub(super) const NONE: u32 = u32::MAX;

/// The people by number, in the order in which they were put in, and their values.
pub(crate) struct Table {
    columns: Vec<Column>,
    people: usize,
}

impl Table {
    /// A table of nobody, with a column for each path of a model.
    pub(crate) fn new(matching: &Matching) -> Self {
        let column = |path: &str| Column {
            path: DottedPath::new(path),
            cells: Vec::new(),
            values: Vec::new(),
            spelled: FxHashMap::default(),
            equal: FxHashMap::default(),
            counts: Vec::new(),
            present: 0,
        };
        Self { columns: matching.paths().into_iter().map(column).collect(), people: 0 }
    }

    /// Adds a person with these traits.
    pub(crate) fn push(&mut self, traits: &Object) {
        self.people += 1;
        for column in &mut self.columns {
            column.push(traits);
        }
    }

    /// How many people there are.
    pub(crate) fn people(&self) -> usize {
        self.people
    }

    /// The column of a path of the model that the table was made for.
    pub(super) fn column(&self, path: &str) -> &Column {
        let path = DottedPath::new(path);
        let own = self.columns.iter().find(|column| column.path == path);
        own.unwrap_or(&self.columns[0])
    }
}

/// One trait of everybody.
pub(super) struct Column {
    path: DottedPath,
    /// The number of each person's value, [`NONE`] without one.
    cells: Vec<u32>,
    values: Vec<Held>,
    /// The number of each value, by its JSON.
    spelled: FxHashMap<String, u32>,
    /// The number of equal values, by their text.
    equal: FxHashMap<String, u32>,
    /// How many people have each of the equal values.
    counts: Vec<u32>,
    present: u32,
}

/// A value, and what comparisons see of it.
pub(super) struct Held {
    pub(super) value: Value,
    /// Text folded; anything else as JSON.
    pub(super) text: String,
    /// How many characters the text has.
    pub(super) characters: usize,
    /// Which characters it has, a bit each; some share a bit.
    pub(super) letters: u64,
    /// Whether the text may be looked into; arrays and objects are equal or not.
    pub(super) is_text: bool,
    /// Values of one number are equal.
    pub(super) equal: u32,
    pub(super) number: Option<f64>,
    pub(super) time: Option<Timestamp>,
}

impl Column {
    fn push(&mut self, traits: &Object) {
        let mut found = None;
        self.path.any(traits, |value| {
            found = value.filter(|value| is_value(value));
            found.is_some()
        });
        let cell = found.map_or(NONE, |value| self.number_of(value));
        self.cells.push(cell);
        if let Some(held) = self.values.get(cell as usize) {
            self.counts[held.equal as usize] += 1;
            self.present += 1;
        }
    }

    fn number_of(&mut self, value: &Value) -> u32 {
        let mut json = String::new();
        write_canonical(value, &mut json);
        if let Some(number) = self.spelled.get(&json) {
            return *number;
        }
        let text = value.as_str().map_or_else(|| json.clone(), |text| folded(text).into_owned());
        let next = next(self.equal.len());
        let equal = *self.equal.entry(text.clone()).or_insert(next);
        if equal == next {
            self.counts.push(0);
        }
        let number = match value {
            Value::Number(number) => Num::of(number),
            Value::String(_) => Num::of_text(&text),
            _ => None,
        };
        let is_text = !matches!(value, Value::Array(_) | Value::Object(_));
        let (number, time) = (number.map(Num::as_f64), time(&text));
        let place = self::next(self.values.len());
        let characters = text.chars().count();
        let letters = text.chars().fold(0, |letters, letter| letters | 1 << (u32::from(letter) % 64));
        self.values.push(Held {
            value: value.clone(),
            text,
            characters,
            letters,
            is_text,
            equal,
            number,
            time,
        });
        self.spelled.insert(json, place);
        place
    }

    /// The number of a person's value, `None` without one.
    pub(super) fn cell(&self, person: u32) -> Option<u32> {
        self.cells.get(person as usize).copied().filter(|cell| *cell != NONE)
    }

    /// The value of that number.
    pub(super) fn held(&self, cell: u32) -> &Held {
        &self.values[cell as usize]
    }

    /// All different values, by number.
    pub(super) fn values(&self) -> &[Held] {
        &self.values
    }

    /// The share of the people who have a value equal to this one, among those who have any.
    pub(super) fn share(&self, held: &Held) -> f64 {
        f64::from(self.counts[held.equal as usize]) / f64::from(self.present)
    }
}

/// Whether there is something to compare: not null, and not blank.
fn is_value(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !folded(text).is_empty(),
        _ => true,
    }
}

/// The day, or the instant, that a text is. A day counts from its start in UTC.
fn time(text: &str) -> Option<Timestamp> {
    if text.len() == 10 { format!("{text}T00:00:00Z").parse() } else { text.parse() }.ok()
}

/// The number after so many. People are numbered by 32 bits, and have at most one value each.
pub(super) fn next(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(NONE)
}
