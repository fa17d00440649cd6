//! What a JSON value is to a comparison, and how two compare.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::{Num, Object, nfc};
use crate::clock::Timestamp;

/// A value that is there (not null), by the kind that it compares as. Values of two kinds do not compare.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Comparable<'a> {
    /// A boolean; false is less than true.
    Bool(bool),
    /// A number, or one in a string where the definition says so.
    Number(Num),
    /// A string that is an RFC 3339 time, and its text.
    Time(Timestamp, Cow<'a, str>),
    /// Any other string, in normal form C; by code points.
    Text(Cow<'a, str>),
    /// An array or an object, which is equal to another or not; null in a definition.
    Structure(Cow<'a, Value>),
}

impl<'a> Comparable<'a> {
    /// What `value` compares as; `None` for null, which counts as missing. With `as_number`, a string that spells
    /// a number is that number.
    pub(crate) fn of(value: &'a Value, as_number: bool) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Number(number) => Self::Number(Num::of(number)?),
            Value::String(text) => Self::of_text(text, as_number),
            Value::Array(_) | Value::Object(_) => Self::Structure(Cow::Borrowed(value)),
        })
    }

    fn of_text(text: &'a str, as_number: bool) -> Self {
        let number = if as_number { Num::of_text(text) } else { None };
        match (number, time(text)) {
            (Some(number), _) => Self::Number(number),
            (None, Some(time)) => Self::Time(time, Cow::Borrowed(text)),
            (None, None) => Self::Text(nfc(text)),
        }
    }

    /// The same, with nothing borrowed.
    pub(crate) fn into_owned(self) -> Comparable<'static> {
        match self {
            Self::Bool(bool) => Comparable::Bool(bool),
            Self::Number(number) => Comparable::Number(number),
            Self::Time(time, text) => Comparable::Time(time, Cow::Owned(text.into_owned())),
            Self::Text(text) => Comparable::Text(Cow::Owned(text.into_owned())),
            Self::Structure(value) => Comparable::Structure(Cow::Owned(value.into_owned())),
        }
    }

    /// The value as JSON.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Number(number) => number.to_value(),
            Self::Time(_, text) | Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::Structure(value) => value.clone().into_owned(),
        }
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Time(_, text) | Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Number(_) | Self::Structure(_) => None,
        }
    }

    /// Whether the kinds are the same, so that the values can be equal.
    pub(crate) fn is_like(&self, other: &Comparable<'_>) -> bool {
        self.rank() == other.rank()
    }

    /// How the two compare; `None` across kinds, and for arrays and objects that are not equal.
    pub(crate) fn compare(&self, other: &Comparable<'_>) -> Option<Ordering> {
        if !self.is_like(other) {
            return None;
        }
        match (self.order(other), self) {
            (Ordering::Less | Ordering::Greater, Self::Structure(_)) => None,
            (order, _) => Some(order),
        }
    }

    /// A total order of all values, in which those that [`compare`](Self::compare) says are equal are equal:
    /// booleans, numbers, times, texts, arrays, objects.
    pub(crate) fn order(&self, other: &Comparable<'_>) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Comparable::Bool(b)) => a.cmp(b),
            (Self::Number(a), Comparable::Number(b)) => a.order(*b),
            (Self::Time(a, _), Comparable::Time(b, _)) => a.cmp(b),
            // The order of UTF-8 bytes is that of code points.
            (Self::Text(a), Comparable::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Structure(a), Comparable::Structure(b)) => order_structures(a, b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// The place of the kind among kinds: where values of several meet, the smallest is looked at.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Time(..) => 1,
            Self::Text(_) => 2,
            Self::Bool(_) => 3,
            Self::Structure(_) => 4,
        }
    }
}

/// The instant that `text` is, if all of it is an RFC 3339 time.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    // Most strings are no times, and this tells before the parser is asked.
    let shaped = bytes.len() >= 20
        && bytes[0].is_ascii_digit()
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[13] == b':'
        && !bytes[bytes.len() - 1].is_ascii_whitespace();
    if shaped { text.parse().ok() } else { None }
}

/// A total order of what may stand in arrays and objects, null included.
fn order_structures(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            let differing = a.iter().zip(b).map(|(a, b)| order_structures(a, b)).find(|order| order.is_ne());
            differing.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let (a, b) = (sorted(a), sorted(b));
            let differing = a
                .iter()
                .zip(&b)
                .map(|((a, x), (b, y))| a.cmp(b).then_with(|| order_structures(x, y)))
                .find(|order| order.is_ne());
            differing.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Array(_), Value::Object(_)) => Ordering::Less,
        (Value::Object(_), Value::Array(_)) => Ordering::Greater,
        _ => match (Comparable::of(a, false), Comparable::of(b, false)) {
            (Some(a), Some(b)) => a.order(&b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        },
    }
}

/// The members by name.
fn sorted(object: &Object) -> Vec<(Cow<'_, str>, &Value)> {
    let mut members: Vec<_> = object.iter().map(|(name, value)| (nfc(name), value)).collect();
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    members
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compare(a: &Value, b: &Value) -> Option<Ordering> {
        Comparable::of(a, false)?.compare(&Comparable::of(b, false)?)
    }

    #[test]
    fn values_compare_within_their_kind_only() {
        use Ordering::{Equal, Greater, Less};
        for (a, b, expected) in [
            (json!(1), json!(1.0), Some(Equal)),
            (json!(u64::MAX), json!(i64::MAX), Some(Greater)),
            (json!(1), json!("1"), None),
            (json!(1), json!(true), None),
            (json!(false), json!(true), Some(Less)),
            (json!("a"), json!("b"), Some(Less)),
            (json!("e\u{301}"), json!("é"), Some(Equal)),
            (json!("\u{ffff}"), json!("\u{10000}"), Some(Less)),
            (json!("2024-05-01T12:00:00Z"), json!("2024-05-01T14:00:00+02:00"), Some(Equal)),
            (json!("2024-05-01T12:00:00Z"), json!("2024-05-01"), None),
            (json!("2024-05-02"), json!("2024-05-01"), Some(Greater)),
            (json!(null), json!(null), None),
            (json!([1, {"a": "é"}]), json!([1.0, {"a": "e\u{301}"}]), Some(Equal)),
            (json!({"a": 1, "b": null}), json!({"b": null, "a": 1}), Some(Equal)),
            (json!([1]), json!([2]), None),
            (json!([]), json!({}), None),
            (json!([1]), json!(1), None),
        ] {
            assert_eq!(compare(&a, &b), expected, "{a} {b}");
            assert_eq!(compare(&b, &a), expected.map(Ordering::reverse), "{b} {a}");
        }
    }

    #[test]
    fn a_time_is_a_time_from_its_first_byte_to_its_last() {
        for text in ["2024-05-01T12:00:00Z", "2024-05-01t12:00:00.123456789z", "2024-05-01T12:00:00-05:30"] {
            assert!(time(text).is_some(), "{text}");
        }
        for text in
            [" 2024-05-01T12:00:00Z", "2024-05-01T12:00:00Z ", "2024-05-01T12:00:00", "2024-13-01T12:00:00Z"]
        {
            assert!(time(text).is_none(), "{text}");
        }
    }
}
