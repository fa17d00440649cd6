//! JSON values: canonical text, dotted paths, comparing, adding up, picking members.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::clock::Timestamp;

mod compare;
mod number;
mod path;
mod pick;
mod sum;

pub(crate) use compare::Comparable;
pub(crate) use number::Num;
pub(crate) use path::{DottedPath, Members};
pub(crate) use pick::pick;
pub use sum::Sum;

/// A JSON value, as traits and properties hold it.
pub type Value = serde_json::Value;

/// A JSON object.
pub type Object = serde_json::Map<String, Value>;

impl From<Timestamp> for Value {
    /// The time as events and definitions hold it: an RFC 3339 string.
    fn from(time: Timestamp) -> Self {
        Self::String(time.to_string())
    }
}

/// `text` in Unicode normal form C, which all comparisons of strings are on.
pub(crate) fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

/// Writes `value` in the one form that equal values share: members sorted by their names' bytes, no white space,
/// numbers that are whole written as integers (`1.0` as `1`), as RFC 8785 does; and texts in normal form C.
pub(crate) fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53, so the cast is exact")]
            Some(float)
                if number.is_f64() && float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 =>
            {
                let _ = write!(out, "{}", float as i64);
            }
            _ => {
                let _ = write!(out, "{number}");
            }
        },
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(object) => write_canonical_object(object, out),
        Value::String(text) => write_text(&nfc(text), out),
        Value::Null | Value::Bool(_) => {
            let _ = write!(out, "{value}");
        }
    }
}

/// Writes `object` as [`write_canonical`] does.
pub(crate) fn write_canonical_object(object: &Object, out: &mut String) {
    // `serde_json::Map` may be ordered by insertion: any crate of the application can switch that on.
    let mut members: Vec<_> = object.iter().map(|(name, value)| (nfc(name), value)).collect();
    members.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    out.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(&name, out);
        out.push(':');
        write_canonical(value, out);
    }
    out.push('}');
}

/// Writes `text` as a JSON string.
pub(crate) fn write_text(text: &str, out: &mut String) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        let _ = write!(out, "{}", Value::from(text));
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// The value at a dotted path within `object`. A member whose own name has dots is found under that name.
pub(crate) fn descend<'a>(object: &'a Object, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let (name, rest) = path.split_once('.')?;
    descend(object.get(name)?.as_object()?, rest)
}

/// What kind of JSON value it is, for messages: `a string`, `an object`, …
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_have_one_canonical_text() {
        let mut text = String::new();
        write_canonical(&json!({"b": [1.0, -0.0, 0.1, 1e300], "a": {"é": null, "z": "\n\""}}), &mut text);
        assert_eq!(text, r#"{"a":{"z":"\n\"","é":null},"b":[1,0,0.1,1e+300]}"#);
    }

    #[test]
    fn text_is_written_as_serde_json_writes_it() {
        for text in ["", "plain", "é 😀", "\"", "\\", "\0", "\u{1f}", "\u{7f}", "a\nb", "\u{2028}"] {
            let mut out = String::new();
            write_text(text, &mut out);
            assert_eq!(out, serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn a_dotted_path_reaches_in_and_names_with_dots_are_found_too() {
        let value = json!({"a": {"b": {"c": 1}, "b.d": 2}, "e.f": 3, "g": [4]});
        let object = value.as_object().unwrap();
        for (path, expected) in [
            ("a.b.c", Some(1)),
            ("a.b.d", Some(2)),
            ("e.f", Some(3)),
            ("a.x", None),
            ("g.0", None),
            ("", None),
        ] {
            assert_eq!(descend(object, path).and_then(Value::as_i64), expected, "{path}");
        }
    }

    #[test]
    fn text_is_compared_in_normal_form_c() {
        assert_eq!(nfc("e\u{301}"), "é");
        assert!(matches!(nfc("é"), Cow::Borrowed(_)));
    }
}
