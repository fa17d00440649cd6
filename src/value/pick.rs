//! Single members of an object, without reading the others.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Calls `each` with the members of an object that have one of some names: with the place of the name, and the JSON of the
/// value as it is written in `object`. Of two members of one name both are told, in their order.
///
/// # Errors
///
/// It is no object that can be read.
pub(crate) fn pick<'j>(
    object: &'j str,
    names: &[impl AsRef<str>],
    each: impl FnMut(usize, &'j str),
) -> serde_json::Result<()> {
    serde_json::Deserializer::from_str(object).deserialize_map(Picked { names, each })
}

struct Picked<'n, N, F> {
    names: &'n [N],
    each: F,
}

impl<'j, N: AsRef<str>, F: FnMut(usize, &'j str)> Visitor<'j> for Picked<'_, N, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(name)) = map.next_key()? {
            match self.names.iter().position(|wanted| wanted.as_ref() == name) {
                Some(place) => (self.each)(place, map.next_value::<&RawValue>()?.get()),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The name of a member, borrowed if it can be.
#[derive(serde::Deserialize)]
struct Key<'j>(#[serde(borrow)] Cow<'j, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_however_they_are_written() {
        let object = r#" {"a":1, "b" : {"a":[2, "}"]},"\u0063":"d","a":null} "#;
        let mut found = Vec::new();
        pick(object, &["a", "b", "c", "e"], |place, text| found.push((place, text))).unwrap();
        assert_eq!(found, [(0, "1"), (1, r#"{"a":[2, "}"]}"#), (2, r#""d""#), (0, "null")]);
        for bad in ["", "[]", "7", r#"{"a":}"#, r#"{"a":1"#] {
            assert!(pick(bad, &["a"], |_, _| {}).is_err(), "{bad}");
        }
    }
}
