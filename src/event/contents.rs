//! The objects of an event that are seldom looked into: found sound when it is read, and read when they are asked for.

use std::fmt;
use std::sync::{LazyLock, OnceLock};

use memchr::memchr;
use memchr::memmem::Finder;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::read::Name;
use super::text::Piece;
use crate::value::{Members, Object, Value, pick};

/// The members of `context` that mean something to every event that is taken in: that it has none of them can be told
/// without reading it.
const TELLING: [&str; 4] = ["traits", "externalIds", "device", "consent"];

/// Finds each of them in a text.
static TOLD: LazyLock<[Finder<'static>; 4]> = LazyLock::new(|| TELLING.map(Finder::new));

/// A JSON object.
///
/// Reading it costs an allocation for each of its members, which most events are kept and sorted without: so of the event's JSON
/// there is at first only known where it stands in it, and that [`Object`] can be read from that.
#[derive(Clone, Default)]
pub(super) struct Contents {
    /// What it is read from, until it is.
    piece: Option<Piece>,
    /// Whether the text has none of the members that are [`TELLING`].
    plain: bool,
    object: OnceLock<Object>,
}

impl Contents {
    /// The object that is written so in `json`. `None` if it is another value, or what the grammar allows and nobody can read:
    /// half a character, a number that is too large.
    pub(super) fn sound(raw: &RawValue, json: &str) -> Option<Self> {
        let text = raw.get();
        let inside = text.trim_ascii().strip_prefix('{')?.strip_suffix('}')?;
        if inside.trim_ascii().is_empty() {
            return Some(Self::default());
        }
        let escapes = memchr(b'\\', text.as_bytes()).is_some();
        if escapes || may_have_large_numbers(text.as_bytes()) {
            serde_json::from_str::<Passing>(text).ok()?;
        }
        let plain = !escapes && !TOLD.iter().any(|name| name.find(text.as_bytes()).is_some());
        Some(Self { piece: Some(Piece::of(text, json)?), plain, object: OnceLock::new() })
    }

    /// The object itself, of an event that was read from `json`.
    pub(super) fn object(&self, json: &str) -> &Object {
        // It was found sound, and an object that is made of nothing is empty.
        let read = |piece: Piece| serde_json::from_str(piece.within(json)).unwrap_or_default();
        self.object.get_or_init(|| self.piece.map(read).unwrap_or_default())
    }

    /// Those of its members that have one of these names, each with the name's place. The others are not read, if that can
    /// be.
    pub(super) fn some(&self, names: &[&str], json: &str) -> Vec<(usize, Value)> {
        let mut found: Vec<(usize, Value)> = Vec::new();
        // Other names may be written in several forms.
        let can_pick = self.object.get().is_none() && names.iter().all(|name| name.is_ascii());
        if let Some(piece) = self.piece.filter(|_| can_pick) {
            let picked = pick(piece.within(json), names, |place, text| {
                // Of two members of one name the last is the one.
                found.retain(|(other, _)| *other != place);
                found.extend(serde_json::from_str(text).ok().map(|value| (place, value)));
            });
            debug_assert!(picked.is_ok(), "it was found sound");
        } else {
            let own = names.iter().map(|name| self.object(json).member(name));
            found.extend((0..).zip(own).filter_map(|(place, value)| Some((place, value?.clone()))));
        }
        found
    }

    /// Changes the object.
    pub(super) fn change<R>(&mut self, json: &str, change: impl FnOnce(&mut Object) -> R) -> R {
        self.object(json);
        let mut object = std::mem::take(self).object.into_inner().unwrap_or_default();
        let result = change(&mut object);
        *self = object.into();
        result
    }

    /// One of its members.
    pub(super) fn get(&self, name: &str, json: &str) -> Option<&Value> {
        if self.plain && TELLING.contains(&name) { None } else { self.object(json).get(name) }
    }
}

impl From<Object> for Contents {
    fn from(object: Object) -> Self {
        Self { piece: None, plain: false, object: object.into() }
    }
}

/// Whether a text may have numbers that are too large to be read: such have an exponent, or very many digits.
fn may_have_large_numbers(text: &[u8]) -> bool {
    /// The largest number has a digit more.
    const DIGITS: usize = 308;
    // All pairs are looked at, and many of them at a time.
    let exponent = |digit: &u8, e: &u8| u8::from(digit.is_ascii_digit()) & u8::from(e | 0x20 == b'e');
    let exponents = text.iter().zip(&text[1..]).fold(0, |any, (a, b)| any | exponent(a, b)) != 0;
    exponents
        || text.len() > DIGITS
            && text.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()).any(|run| run.len() > DIGITS)
}

/// Reads a value as [`Value`] does, and keeps nothing: what can be passed so can be read.
struct Passing;

impl<'de> Deserialize<'de> for Passing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Passing {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(Self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while let Some(Name(_)) = map.next_key()? {
            map.next_value::<Self>()?;
        }
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Event;

    fn sound(text: &str) -> Option<Contents> {
        Contents::sound(serde_json::from_str(text).ok()?, text)
    }

    #[test]
    fn what_is_found_sound_reads_as_it_would_at_once() {
        for text in [
            "{}",
            " { } ",
            r#"{"a":{"b":[1,-2,1.5,1e3,true,null,"\u00e9\ud83d\ude00"]},"a":2,"\u0061":3}"#,
            r#"{"traits":{},"x":"\"traits\""}"#,
            &format!(r#"{{"a":[1,{}]}}"#, "9".repeat(308)),
        ] {
            let contents = sound(text).unwrap();
            assert_eq!(*contents.object(text), serde_json::from_str::<Object>(text).unwrap());
        }
        for text in [
            "",
            "null",
            "[]",
            "7",
            "{",
            r#"{"a":1e309}"#,
            &format!(r#"{{"a":[1,{}]}}"#, "9".repeat(310)),
            r#"{"a":"\ud800"}"#,
            r#"{"\ud800":1}"#,
            r#"{"a":01}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1} {}"#,
        ] {
            assert!(sound(text).is_none(), "{text}");
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

    #[test]
    fn some_members_are_those_of_the_object() {
        let text = r#"{"a":1,"b":{"a":[2,"}"]},"\u0063":"d","a":"last","é":5,"e\u0301":6,"n":null}"#;
        let names = ["n", "a", "c", "x", "b"];
        for names in [&names[..], &["é", "a"], &[]] {
            let contents = sound(text).unwrap();
            let (mut some, object) = (contents.some(names, text), contents.object(text));
            some.sort_by_key(|(place, _)| *place);
            let whole =
                (0..).zip(names).filter_map(|(place, name)| Some((place, object.member(name)?.clone())));
            assert_eq!(some, whole.collect::<Vec<_>>());
            let mut again = contents.some(names, text);
            again.sort_by_key(|(place, _)| *place);
            assert_eq!(again, some, "read from the object");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_sound_if_and_only_if_it_can_be_read(text in r#"\{"[a\\u]{0,3}":([0-9]{1,3}|"(\\u[d0][89c][0-9]{2}|a){0,3}"|[0-9]e[0-9]{1,3}|\[1?,?\]|null|-)\}?"#) {
            let read = serde_json::from_str::<Object>(&text);
            let found = sound(&text);
            prop_assert_eq!(read.is_ok(), found.is_some());
            if let (Ok(read), Some(found)) = (read, found) {
                prop_assert_eq!(&read, found.object(&text));
            }
        }
    }
}
