//! JSON text, read so that no member is lost: one that is given twice is an error, and depth is none.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::at::{At, Result};
use super::condition::MAX_DEPTH;
use super::read::too_deep;
use crate::value::Object;

/// How deep the JSON of a definition may be nested, whatever it holds: two levels a condition, and some for values.
const DEEPEST: usize = 2 * MAX_DEPTH + 64;

/// The value that `text` is.
pub(super) fn json(text: &str) -> Result<Value> {
    let no_json = |error: serde_json::Error| At::ROOT.error(format!("not JSON: {error}"));
    // Checked as a whole first, so that what is no JSON is told with its line and column; this descends into nothing.
    let raw: &RawValue = serde_json::from_str(text).map_err(no_json)?;
    value(raw, &At::ROOT, 0)
}

fn value(raw: &RawValue, at: &At<'_>, depth: usize) -> Result<Value> {
    if depth > DEEPEST {
        return Err(too_deep(&At::ROOT));
    }
    let text = raw.get();
    let no_json = |error: serde_json::Error| at.error(format!("not JSON: {error}"));
    match text.trim_start().as_bytes().first() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(text).map_err(no_json)?;
            let mut seen = BTreeSet::new();
            if let Some((twice, _)) = pairs.iter().find(|(name, _)| !seen.insert(name)) {
                return Err(at.member(twice).error("given twice"));
            }
            let read = |(name, raw): (String, &RawValue)| {
                let inner = value(raw, &at.member(&name), depth + 1)?;
                Ok((name, inner))
            };
            pairs.into_iter().map(read).collect::<Result<Object>>().map(Value::from)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(no_json)?;
            let read = |(index, raw)| value(raw, &at.index(index), depth + 1);
            items.into_iter().enumerate().map(read).collect::<Result<Vec<_>>>().map(Value::from)
        }
        _ => serde_json::from_str(text).map_err(no_json),
    }
}

/// The members of an object, in order.
struct Pairs<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_that_is_given_twice_is_an_error_with_its_path() {
        for (text, expected) in [
            (r#"{"trait":"a","eq":1,"eq":2}"#, "eq: given twice"),
            (
                r#"{"all":[{"known":true},{"event":"A","count":{"gte":1,"gte":2}}]}"#,
                "all[1].count.gte: given twice",
            ),
            (r#"{"trait":"a","eq":{"b":1,"\u0062":2}}"#, "eq.b: given twice"),
        ] {
            assert_eq!(json(text).unwrap_err().to_string(), expected);
        }
        let text = r#"{"a":[1,2.50,"x\n",null,{"b":{}}],"c":true}"#;
        assert_eq!(json(text).unwrap(), json!({"a": [1, 2.5, "x\n", null, {"b": {}}], "c": true}));
        assert!(json("{\"a\":1} x").unwrap_err().to_string().starts_with("not JSON: trailing"), "the rest");
    }
}
