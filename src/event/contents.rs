//! The objects of an event that are seldom looked into: found sound when it is read, and read when they are asked for.

use std::fmt;
use std::sync::OnceLock;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::read::Name;
use crate::value::{Object, Value};

/// The members of `context` that mean something to every event that is taken in: whether it has none of them is told
/// without reading it.
const TELLING: [&str; 4] = ["traits", "externalIds", "device", "consent"];

/// A JSON object.
///
/// Reading it costs an allocation for each of its members, which most events are kept and sorted without: so of text there
/// is at first only known that [`Object`] can be read from it.
#[derive(Clone, Default)]
pub(super) struct Contents {
    /// What it is read from, until it is.
    text: Option<Box<str>>,
    /// Whether the text has none of the members that are [`TELLING`].
    plain: bool,
    object: OnceLock<Object>,
}

impl Contents {
    /// The object that `text` holds, `None` if it holds another value, or none that can be read.
    pub(super) fn sound(text: &str) -> Option<Self> {
        let mut found = Found::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(&mut found).and_then(|()| deserializer.end()).ok()?;
        if found.members == 0 {
            return Some(Self::default());
        }
        Some(Self { text: Some(text.into()), plain: !found.telling, object: OnceLock::new() })
    }

    /// The object itself.
    pub(super) fn object(&self) -> &Object {
        // It was found sound, and an object that is made of nothing is empty.
        let read = |text: &str| serde_json::from_str(text).unwrap_or_default();
        self.object.get_or_init(|| self.text.as_deref().map(read).unwrap_or_default())
    }

    /// Changes the object.
    pub(super) fn change<R>(&mut self, change: impl FnOnce(&mut Object) -> R) -> R {
        let mut object = Object::from(std::mem::take(self));
        let result = change(&mut object);
        *self = object.into();
        result
    }

    /// One of its members.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        if self.plain && TELLING.contains(&name) { None } else { self.object().get(name) }
    }
}

impl From<Object> for Contents {
    fn from(object: Object) -> Self {
        Self { text: None, plain: false, object: object.into() }
    }
}

impl From<Contents> for Object {
    fn from(contents: Contents) -> Self {
        contents.object();
        contents.object.into_inner().unwrap_or_default()
    }
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        self.object() == other.object()
    }
}

/// What was found of an object in passing.
#[derive(Default)]
struct Found {
    members: usize,
    telling: bool,
}

impl<'de> Visitor<'de> for &mut Found {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            self.members += 1;
            self.telling |= TELLING.contains(&&*name);
            map.next_value_seed(Passing)?;
        }
        Ok(())
    }
}

/// Reads a value as [`Value`] does, and keeps nothing: what can be passed so can be read.
struct Passing;

impl<'de> DeserializeSeed<'de> for Passing {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Passing {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(_)) = map.next_key()? {
            map.next_value_seed(Self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Event;

    #[test]
    fn what_is_found_sound_reads_as_it_would_at_once() {
        for text in [
            "{}",
            " { } ",
            r#"{"a":{"b":[1,-2,1.5,1e3,true,null,"\u00e9\ud83d\ude00"]},"a":2,"\u0061":3}"#,
            r#"{"traits":{},"x":"\"traits\""}"#,
        ] {
            let contents = Contents::sound(text).unwrap();
            assert_eq!(*contents.object(), serde_json::from_str::<Object>(text).unwrap());
        }
        for text in [
            "",
            "null",
            "[]",
            "7",
            "{",
            r#"{"a":1e309}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\ud800":1}"#,
            r#"{"a":01}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1} {}"#,
        ] {
            assert!(Contents::sound(text).is_none(), "{text}");
            assert!(serde_json::from_str::<Object>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn members_that_tell_are_found_however_they_are_written() {
        for (context, traits) in [
            (r#"{"traits":{"a":1}}"#, true),
            (r#"{"trait\u0073":{"a":1}}"#, true),
            (r#"{"x":{"traits":{"a":1}}}"#, false),
            (r#"{"x":"traits"}"#, false),
            (r#"{"traits":{"b":1},"traits":{"a":1}}"#, true),
        ] {
            let event = Event::from_json(&format!(r#"{{"type":"page","context":{context}}}"#)).unwrap();
            assert_eq!(
                event.context_traits().is_some_and(|traits| traits.contains_key("a")),
                traits,
                "{context}"
            );
            assert_eq!(event.whole_context().contains_key("traits"), traits);
        }
        let event = Event::from_json(r#"{"type":"page","context":{"ip":"1"}}"#).unwrap();
        assert!(event.clone().context_trait("a", 1).context_traits().is_some());
    }

    proptest! {
        #[test]
        fn any_text_is_sound_if_and_only_if_it_can_be_read(text in r#"\{"[a\\u]{0,3}":([0-9]{1,3}|"(\\u[d0][89c][0-9]{2}|a){0,3}"|[0-9]e[0-9]{1,3}|\[1?,?\]|null|-)\}?"#) {
            let read = serde_json::from_str::<Object>(&text);
            let found = Contents::sound(&text);
            prop_assert_eq!(read.is_ok(), found.is_some());
            if let (Ok(read), Some(found)) = (read, found) {
                prop_assert_eq!(&read, found.object());
            }
        }
    }
}
