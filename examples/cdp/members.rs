//! The members of a JSON object, taken out one by one, so that whatever is left over is known to be a mistake.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::failure::Failure;

/// The members of an object that are not taken yet, each as the text it has in the object.
#[derive(Debug)]
pub(crate) struct Members<'t> {
    left: BTreeMap<String, &'t RawValue>,
    /// The names that were asked for, to be told to whoever used another.
    known: Vec<&'static str>,
}

impl<'t> Members<'t> {
    /// Reads an object.
    pub(crate) fn read(text: &'t str) -> Result<Self, Failure> {
        let read: Result<Pairs<'t>, _> = serde_json::from_str(text);
        match read {
            Ok(Pairs(left)) => Ok(Self { left, known: Vec::new() }),
            Err(error) if error.classify() != Category::Data => {
                Err(Failure::bad_request(format!("not JSON: {error}")))
            }
            Err(error) if text.trim_start().starts_with('{') => Err(Failure::bad_request(error.to_string())),
            Err(_) => Err(Failure::bad_request(format!("expected an object, found {}", kind_of(text)))),
        }
    }

    /// The text of a member, `None` if it is left out.
    pub(crate) fn raw(&mut self, name: &'static str) -> Option<&'t str> {
        self.known.push(name);
        self.left.remove(name).map(RawValue::get)
    }

    /// A member that may be left out; null is the same.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, Failure> {
        match self.raw(name) {
            None | Some("null") => Ok(None),
            Some(text) => typed(name, text, expected).map(Some),
        }
    }

    /// A member that must be there.
    pub(crate) fn required<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<T, Failure> {
        typed(name, self.text_of(name)?, expected)
    }

    /// The text of a member that must be there.
    pub(crate) fn text_of(&mut self, name: &'static str) -> Result<&'t str, Failure> {
        self.raw(name).ok_or_else(|| Failure::bad_request(format!("{name}: missing")))
    }

    /// The text of a definition that must be there.
    pub(crate) fn object(&mut self, name: &'static str) -> Result<&'t str, Failure> {
        object(name, self.text_of(name)?)
    }

    /// A member of any kind that must be there.
    pub(crate) fn value(&mut self, name: &'static str) -> Result<Value, Failure> {
        let text = self.text_of(name)?;
        serde_json::from_str(text).map_err(|error| Failure::bad_request(format!("{name}: {error}")))
    }

    /// A string that must be there.
    pub(crate) fn string(&mut self, name: &'static str) -> Result<String, Failure> {
        self.required(name, "a string")
    }

    /// A string that may be left out, and that says something else.
    pub(crate) fn parsed<T>(&mut self, name: &'static str) -> Result<Option<T>, Failure>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let text: Option<String> = self.optional(name, "a string")?;
        let parsed = text.map(|text| text.parse()).transpose();
        parsed.map_err(|error| Failure::bad_request(format!("{name}: {error}")))
    }

    /// Refuses what nobody asked for.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => {
                let known = self.known.join(", ");
                Err(Failure::bad_request(format!("{name}: unknown member, expected one of {known}")))
            }
        }
    }
}

fn typed<T: DeserializeOwned>(name: &str, text: &str, expected: &str) -> Result<T, Failure> {
    serde_json::from_str(text)
        .map_err(|_| Failure::bad_request(format!("{name}: expected {expected}, found {}", kind_of(text))))
}

/// The text of a definition, whose own errors name places within it only.
pub(crate) fn object<'t>(name: &str, text: &'t str) -> Result<&'t str, Failure> {
    match kind_of(text) {
        "an object" => Ok(text),
        other => Err(Failure::bad_request(format!("{name}: expected an object, found {other}"))),
    }
}

/// What a JSON text is, for a sentence. Numbers are shown; strings may be personal.
fn kind_of(text: &str) -> &str {
    match text.trim_start().chars().next() {
        Some('{') => "an object",
        Some('[') => "an array",
        Some('"') => "a string",
        Some('t' | 'f') => "a boolean",
        Some('n') => "null",
        _ => text,
    }
}

/// An object's members; a name that is there twice is an error, since one of the two would be lost.
struct Pairs<'t>(BTreeMap<String, &'t RawValue>);

impl<'de> de::Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if pairs.contains_key(&name) {
                        return Err(de::Error::custom(format_args!("{name}: there twice")));
                    }
                    pairs.insert(name, value);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
