//! What a question wants of events: which, and what of each.

use rustc_hash::FxHashMap;

use super::counter::Counted;
use super::timeline::Mask;
use crate::error::DefinitionError;
use crate::segment::EventCondition;
use crate::value::{DottedPath, Members, Num, Sum, Value, nfc, write_canonical};

/// The events that a question wants, and what of them.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for on its own")]
pub struct Wanted {
    /// An event bears a bit for each of these that it meets, the first the lowest.
    pub(crate) conditions: Vec<EventCondition>,
    /// Events that meet none are wanted too.
    pub(crate) all_events: bool,
    /// Events before the range are wanted too.
    pub(crate) history: bool,
    /// It matters which of two events of one instant comes first.
    pub(crate) ordered: bool,
    /// It does not matter in which order a person's events are.
    pub(crate) unsorted: bool,
    /// Nothing but this is wanted of the events: they can be counted as they are read.
    pub(crate) counted: Option<Counted>,
    /// The names of events are wanted.
    pub(crate) names: bool,
    /// The names of people are wanted.
    pub(crate) people: bool,
    /// Values of events are wanted that tell them apart.
    pub(crate) labels: Vec<Place>,
    /// A property of events is wanted that is added up.
    pub(crate) amount: Option<Place>,
}

impl Wanted {
    /// Whether it matters which of two events of one instant comes first: to the question, or to a condition of which only
    /// the first event counts.
    pub(crate) fn is_ordered(&self) -> bool {
        self.ordered || self.has_first_only()
    }

    /// Whether of the events that meet one of the conditions only the first of each person counts.
    pub(crate) fn has_first_only(&self) -> bool {
        self.conditions.iter().any(EventCondition::is_first_only)
    }

    /// The most conditions that a question may have.
    pub(crate) const MOST: usize = Mask::BITS as usize;
}

/// Where in an event a value stands, and which member of the question says so.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    path: DottedPath,
    /// Whether it stands in `context`, not in `properties`.
    in_context: bool,
    pub(crate) member: &'static str,
}

impl Place {
    /// `context.…`, or else a path within the properties.
    pub(crate) fn new(text: &str, member: &'static str) -> Self {
        let inner = text.strip_prefix("context.");
        Self { path: DottedPath::new(inner.unwrap_or(text)), in_context: inner.is_some(), member }
    }

    /// The same, if no name between two dots is empty.
    pub(crate) fn checked(text: &str, member: &'static str) -> std::result::Result<Self, DefinitionError> {
        Self::new(text, member).check()
    }

    pub(crate) fn check(self) -> std::result::Result<Self, DefinitionError> {
        if self.path.is_valid() {
            return Ok(self);
        }
        Err(DefinitionError::new(self.member, "a name between two dots must not be empty"))
    }

    pub(crate) fn in_context(&self) -> bool {
        self.in_context
    }

    pub(crate) fn path(&self) -> &DottedPath {
        &self.path
    }

    /// The first value there that is neither missing nor null.
    pub(crate) fn find<'v>(
        &self,
        properties: &impl Members<'v>,
        context: &impl Members<'v>,
    ) -> Option<&'v Value> {
        if self.in_context { self.path.first(context) } else { self.path.first(properties) }
    }

    /// All numbers there, added up.
    pub(crate) fn add_up<'v>(&self, properties: &impl Members<'v>, context: &impl Members<'v>) -> Amount {
        let mut sum = None;
        let add = |value: Option<&'v Value>| {
            if let Some(number) = value.and_then(Value::as_number).and_then(Num::of) {
                sum.get_or_insert_with(Sum::default).add_number(number);
            }
            false
        };
        if self.in_context {
            self.path.any_among(context, add)
        } else {
            self.path.any_among(properties, add)
        };
        sum.map_or(Amount::Missing, |sum| Amount::of(sum.number()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.in_context { "context." } else { "" }, self.path)
    }
}

/// A number of an event, in little space.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Amount {
    Missing,
    Millionths(i64),
    /// Whatever is no whole number of millionths, or too large.
    Other(Box<Num>),
}

impl Amount {
    pub(crate) fn of(number: Num) -> Self {
        let millionths = match number {
            Num::Mean { millionths, over: 1 } => i64::try_from(millionths).ok(),
            _ => None,
        };
        millionths.map_or_else(|| Self::Other(Box::new(number)), Self::Millionths)
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// Adds the number to a sum.
    pub(crate) fn add_to(&self, sum: &mut Sum) {
        match self {
            Self::Missing => {}
            Self::Millionths(millionths) => {
                sum.add_number(Num::Mean { millionths: (*millionths).into(), over: 1 });
            }
            Self::Other(number) => sum.add_number(**number),
        }
    }
}

/// Different values, numbered from 1; 0 is none.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    values: Vec<Value>,
    numbers: FxHashMap<String, u32>,
    key: String,
}

impl Default for Labels {
    fn default() -> Self {
        Self { values: vec![Value::Null], numbers: FxHashMap::default(), key: String::new() }
    }
}

impl Labels {
    /// How many different values are told apart.
    pub(crate) const MOST: usize = 100_000;

    /// The number of a value; `None` if there are too many.
    pub(crate) fn number(&mut self, value: &Value) -> Option<u32> {
        let normal = match value {
            Value::String(text) if !text.is_ascii() => Some(Value::String(nfc(text).into_owned())),
            _ => None,
        };
        let value = normal.as_ref().unwrap_or(value);
        self.key.clear();
        write_canonical(value, &mut self.key);
        if let Some(number) = self.numbers.get(&self.key) {
            return Some(*number);
        }
        if self.values.len() > Self::MOST {
            return None;
        }
        let number = u32::try_from(self.values.len()).ok()?;
        self.numbers.insert(self.key.clone(), number);
        self.values.push(value.clone());
        Some(number)
    }

    /// The values by their numbers, null for 0.
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.len() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_apart_by_value_and_normal_form() {
        let mut labels = Labels::default();
        for (value, number) in [
            (Value::from("é"), 1),
            (Value::from("e\u{301}"), 1),
            (Value::from(1), 2),
            (Value::from(1.0), 2),
            (Value::from("1"), 3),
        ] {
            assert_eq!(labels.number(&value), Some(number), "{value}");
        }
        assert_eq!(labels.values()[2], 1);
    }
}
