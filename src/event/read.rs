//! Events as JSON: reading them, member by member.

use std::borrow::Cow;
use std::str::FromStr;
use std::{fmt, mem};

use memchr::memchr;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::check::{check_depth, outside};
use super::contents::Contents;
use super::text::{Piece, Text};
use super::write::{MEMBERS, Member};
use super::{Event, EventKind, Refusal};
use crate::clock::{NotATime, Timestamp};
use crate::id::mask;
use crate::value::{Object, Value, kind_of, write_canonical};

/// The members of an event, sorted into those of the spec (null where absent) and others, but not yet checked.
struct Members {
    known: [Value; MEMBERS],
    other: Object,
}

impl Members {
    fn take(&mut self, member: Member) -> Value {
        mem::take(&mut self.known[member as usize])
    }
}

/// Reads the members of an event in the order in which they come.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members { known: [const { Value::Null }; MEMBERS], other: Object::new() };
        while let Some(Name(name)) = map.next_key()? {
            let value = map.next_value()?;
            match Member::of(&name) {
                Some(member) => members.known[member as usize] = value,
                None => drop(members.other.insert(name.into_owned(), value)),
            }
        }
        Ok(members)
    }
}

/// The same as they are written: those of the spec are found in the text, and not read yet.
struct Raw<'de> {
    known: [Option<&'de RawValue>; MEMBERS],
    other: Object,
}

/// Finds the members of an event, if each is there once.
struct Quick;

impl<'de> Visitor<'de> for Quick {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
        let mut raw = Raw { known: [None; MEMBERS], other: Object::new() };
        while let Some(Name(name)) = map.next_key()? {
            match Member::of(&name) {
                Some(member) => {
                    if raw.known[member as usize].replace(map.next_value()?).is_some() {
                        return Err(A::Error::duplicate_field(member.name()));
                    }
                }
                None => drop(raw.other.insert(name.into_owned(), map.next_value()?)),
            }
        }
        Ok(raw)
    }
}

/// A member's name, borrowed from the text where it has no escapes.
pub(super) struct Name<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.into())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

impl Event {
    /// Reads an event from JSON of any size; ingesting has a limit, see
    /// [`max_event_bytes`](crate::CdpBuilder::max_event_bytes).
    ///
    /// Ids that are numbers become their text; times are RFC 3339 with any offset, or integer milliseconds since
    /// 1970; a member of the spec that is null counts as absent, and an empty array counts as an empty object. Of
    /// members with one name, the last wins.
    ///
    /// ```
    /// use customerdb::Event;
    ///
    /// let event = Event::from_json(r#"{"type":"track","event":"Search","userId":7,"timestamp":1714564800000}"#)?;
    /// assert_eq!(event.name(), "Search");
    /// assert_eq!(event.times().timestamp.unwrap().to_string(), "2024-05-01T12:00:00Z");
    /// assert_eq!(Event::from_json(r#"{"type":"track"}"#).unwrap_err().to_string(), "event: missing");
    /// # Ok::<(), customerdb::Refusal>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The reason to refuse it, which names the member: no JSON object; nested deeper than 64; an unknown
    /// `type`; a track without `event`, a group without `groupId`, an alias without `previousId`; a time that is
    /// none or lies outside the years 1970 to 2100; a member of another type than the spec's.
    pub fn from_json(text: &str) -> Result<Self, Refusal> {
        Self::read(text.to_owned(), usize::MAX).map_err(|(refusal, _)| refusal)
    }

    /// Reads an event from JSON of at most so many bytes, otherwise as [`from_json`](Self::from_json) does, and keeps the text;
    /// with a refusal it comes back. How far ahead it is, is for [`check_time`](Self::check_time) to say.
    pub(crate) fn read(text: String, max_bytes: usize) -> Result<Self, (Refusal, String)> {
        let found = check_text(&text, max_bytes).and_then(|()| match Self::quick(&text) {
            Some(event) => Ok(event),
            None => Self::whole(&text),
        });
        match found {
            Ok(event) => Ok(Self { json: text, ..event }),
            Err(refusal) => Err((refusal, text)),
        }
    }

    /// The event whose text is `text`, if that is written in none but the usual ways: its texts and contents are pieces of it,
    /// in which they are found when it has that. What is wrong is for [`whole`](Self::whole) to say.
    fn quick(text: &str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let mut raw = deserializer.deserialize_map(Quick).ok()?;
        deserializer.end().ok()?;
        let kind = plain(raw.known[Member::Type as usize]?)?;
        let mut event = Self::blank(EventKind::named(kind)?);
        event.other = mem::take(&mut raw.other);
        for member in &Member::ALL[1..] {
            if let Some(raw) = raw.known[*member as usize] {
                event.assign_raw(*member, raw, text)?;
            }
        }
        event.check_members_in(text).ok()?;
        Some(event)
    }

    /// Takes what is written in `text` as that member, if [`assign`](Self::assign) would.
    fn assign_raw(&mut self, member: Member, raw: &RawValue, text: &str) -> Option<()> {
        let piece = plain(raw).and_then(|plain| Piece::of(plain, text)).map(Text::Piece);
        match (member, piece) {
            (Member::MessageId, Some(id)) => {
                self.message_id = Some(id).filter(|id| !id.within(text).is_empty());
            }
            (Member::Event, Some(name)) => self.track_name = Some(name),
            (Member::Name, Some(name)) => self.name = Some(name),
            (Member::Category, Some(category)) => self.category = Some(category),
            (Member::UserId, Some(id)) => self.user_id = Some(id),
            (Member::AnonymousId, Some(id)) => self.anonymous_id = Some(id),
            (Member::PreviousId, Some(id)) => self.previous_id = Some(id),
            (Member::GroupId, Some(id)) => self.group_id = Some(id),
            (Member::Timestamp, Some(time)) => {
                let time: Timestamp = time.within(text).parse().ok()?;
                self.times.timestamp = Some(time.is_plausible().then_some(time)?);
            }
            (Member::Properties | Member::Context, None) => {
                let contents = Contents::sound(raw, text);
                let slot = if member == Member::Context { &mut self.context } else { &mut self.properties };
                match contents {
                    Some(contents) => *slot = contents,
                    None => self.assign(member, serde_json::from_str(raw.get()).ok()?).ok()?,
                }
            }
            _ => self.assign(member, serde_json::from_str(raw.get()).ok()?).ok()?,
        }
        Some(())
    }

    /// The event of a text, member by member, or what is wrong with it.
    fn whole(text: &str) -> Result<Self, Refusal> {
        if text.bytes().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) != Some(b'{') {
            let other: Value = serde_json::from_str(text).map_err(|error| not_json(&error))?;
            return Err(not_an_object(&other));
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer.deserialize_map(Whole);
        let read = read.and_then(|members| deserializer.end().map(|()| members));
        let mut members = read.map_err(|error| not_json(&error))?;
        let mut event = Self::blank(kind(&members.take(Member::Type))?);
        event.other = mem::take(&mut members.other);
        for member in &Member::ALL[1..] {
            match members.take(*member) {
                Value::Null => {}
                value => event.assign(*member, value)?,
            }
        }
        event.check_members_in(text)?;
        Ok(event)
    }

    /// Takes `value` as that member, with the check that belongs to it.
    pub(super) fn assign(&mut self, member: Member, value: Value) -> Result<(), Refusal> {
        match member {
            Member::Type if value.as_str() == Some(self.kind.as_str()) => {}
            Member::Type => {
                let reason = format!("expected {:?}, as the event was made", self.kind.as_str());
                return Err(Refusal::new(member.name(), reason));
            }
            Member::MessageId => {
                self.message_id = id(member, value)?.filter(|id| !id.within(&self.json).is_empty());
            }
            Member::Timestamp => self.times.timestamp = time(member, &value)?,
            Member::OriginalTimestamp => self.times.original_timestamp = time(member, &value)?,
            Member::SentAt => self.times.sent_at = time(member, &value)?,
            Member::ReceivedAt => self.times.received_at = time(member, &value)?,
            Member::Event | Member::Name | Member::Category => self.assign_text(member, value)?,
            Member::UserId => self.user_id = id(member, value)?,
            Member::AnonymousId => self.anonymous_id = id(member, value)?,
            Member::PreviousId => self.previous_id = id(member, value)?,
            Member::GroupId => self.group_id = id(member, value)?,
            Member::Properties => self.properties = object(member, value)?.into(),
            Member::Traits => self.traits = object(member, value)?,
            Member::Context => self.context = object(member, value)?.into(),
        }
        Ok(())
    }

    /// Of another kind of event than the spec gives it to, such a member is not the spec's, and may be anything.
    fn assign_text(&mut self, member: Member, value: Value) -> Result<(), Refusal> {
        let (slot, expected) = match (member, self.kind) {
            (Member::Event, kind) => (&mut self.track_name, kind == EventKind::Track),
            (Member::Name, kind) => (&mut self.name, matches!(kind, EventKind::Page | EventKind::Screen)),
            (_, kind) => (&mut self.category, matches!(kind, EventKind::Page | EventKind::Screen)),
        };
        match value {
            Value::Null => *slot = None,
            Value::String(text) => *slot = Some(text.into()),
            other if expected => return Err(wrong_type(member, "a string", &other)),
            other => drop(self.other.insert(member.name().into(), other)),
        }
        Ok(())
    }
}

impl TryFrom<Value> for Event {
    type Error = Refusal;

    /// Reads an event as [`from_json`](Event::from_json) does.
    fn try_from(value: Value) -> Result<Self, Refusal> {
        Self::from_json(&value.to_string())
    }
}

impl FromStr for Event {
    type Err = Refusal;

    /// Reads an event as [`from_json`](Event::from_json) does.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        Self::from_json(text)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Refuses a text that is too large, or nests too deep.
fn check_text(text: &str, max_bytes: usize) -> Result<(), Refusal> {
    if text.len() > max_bytes {
        let reason = format!("payload: {} bytes, at most {max_bytes} allowed", text.len());
        return Err(Refusal::whole(reason));
    }
    check_depth(text)
}

/// The text of a string that is written without escapes.
fn plain(raw: &RawValue) -> Option<&str> {
    let inside = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    memchr(b'\\', inside.as_bytes()).is_none().then_some(inside)
}

/// What the parser says, without the line where there is but one.
fn not_json(error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(what) if line == 1 => Refusal::whole(format!("not JSON: {what} at column {column}")),
        _ => Refusal::whole(format!("not JSON: {text}")),
    }
}

fn not_an_object(value: &Value) -> Refusal {
    Refusal::whole(format!("not an object: found {}", kind_of(value)))
}

fn wrong_type(member: Member, expected: &str, found: &Value) -> Refusal {
    Refusal::new(member.name(), format!("expected {expected}, found {}", kind_of(found)))
}

/// The beginning of a text, in quotes; masked if it has the shape of an e-mail address or a phone number, which a file
/// whose columns have shifted brings anywhere.
fn quoted(text: &str) -> String {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let dialled = |byte: u8| byte.is_ascii_digit() || b" +-.()".contains(&byte);
    // Without a country code only by the length of mobile numbers that neither a date nor seconds or milliseconds have.
    let phone =
        text.bytes().all(dialled) && (digits == 11 || digits >= 7 && text.trim_start().starts_with('+'));
    let shown = if phone || text.contains('@') { mask(text) } else { text.chars().take(64).collect() };
    format!("{shown:?}")
}

fn kind(value: &Value) -> Result<EventKind, Refusal> {
    let name = match value {
        Value::Null => return Err(Refusal::new("type", "missing")),
        Value::String(name) => name,
        other => return Err(wrong_type(Member::Type, "a string", other)),
    };
    EventKind::named(name).ok_or_else(|| {
        let known = EventKind::ALL.map(EventKind::as_str).join(", ");
        Refusal::new("type", format!("unknown type {}, expected one of {known}", quoted(name)))
    })
}

/// The text of an id that is given as a string, a number or a boolean. Null, other types, and numbers that were too
/// large to be read digit by digit, under which different ids would become one, have none.
pub(crate) fn as_id(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Number(number) => {
            let exact = !number.is_f64()
                || number.as_f64().is_some_and(|float| float.abs() < 9_007_199_254_740_992.0);
            exact.then(|| {
                let mut text = String::new();
                write_canonical(value, &mut text);
                Cow::Owned(text)
            })
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn id(member: Member, value: Value) -> Result<Option<Text>, Refusal> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.into())),
        other => match as_id(&other) {
            Some(text) => Ok(Some(text.into_owned().into())),
            None if other.is_number() => {
                Err(Refusal::new(member.name(), "expected a string, found a number too large to be exact"))
            }
            None => Err(wrong_type(member, "a string", &other)),
        },
    }
}

fn time(member: Member, value: &Value) -> Result<Option<Timestamp>, Refusal> {
    let time = match value {
        Value::Null => return Ok(None),
        Value::String(text) => {
            let refusal = |_: NotATime| Refusal::new(member.name(), format!("not a time: {}", quoted(text)));
            text.parse().map_err(refusal)?
        }
        Value::Number(number) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "what does not fit is outside the years anyway"
            )]
            let whole = number
                .as_i64()
                .or_else(|| number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float as i64));
            let millis = whole.ok_or_else(|| Refusal::new(member.name(), format!("not a time: {number}")))?;
            Timestamp::from_millis(millis)
        }
        other => return Err(wrong_type(member, "a time", other)),
    };
    match value {
        _ if time.is_plausible() => Ok(Some(time)),
        Value::String(text) => Err(outside(member, quoted(text))),
        other => Err(outside(member, other)),
    }
}

fn object(member: Member, value: Value) -> Result<Object, Refusal> {
    match value {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Object::new()),
        // PHP writes an empty array so, whatever it stands for.
        Value::Array(items) if items.is_empty() => Ok(Object::new()),
        other => Err(wrong_type(member, "an object", &other)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refusal(text: &str) -> String {
        Event::from_json(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_member_and_its_reason() {
        for (text, expected) in [
            // No JSON.
            ("", "not JSON: EOF while parsing a value at column 0"),
            ("nonsense", "not JSON: expected ident at column 2"),
            ("  }", "not JSON: expected value at column 3"),
            (r#"{"type":"page""#, "not JSON: EOF while parsing an object at column 14"),
            (r#"{"type":"page"} {}"#, "not JSON: trailing characters at column 17"),
            (r#"{"type":"page",}"#, "not JSON: trailing comma at column 16"),
            (r#"{type:"page"}"#, "not JSON: key must be a string at column 2"),
            ("{\n\"type\":}", "not JSON: expected value at line 2 column 8"),
            (r#"{"type":"page","x":1e309}"#, "not JSON: number out of range at column 24"),
            (r#"{"type":"page","x":NaN}"#, "not JSON: expected value at column 20"),
            (r#"{"type":"page","x":"\ud800"}"#, "not JSON: unexpected end of hex escape at column 27"),
            (
                r#"{"type":"page","x":"\udc00x"}"#,
                "not JSON: lone leading surrogate in hex escape at column 26",
            ),
            (r#"{"type":"page","\ud800":1}"#, "not JSON: unexpected end of hex escape at column 23"),
            (
                "{\"type\":\"page\",\"x\":\"\u{0}\"}",
                "not JSON: control character (\\u0000-\\u001F) found while parsing a string at column 21",
            ),
            // No object.
            ("[]", "not an object: found an array"),
            (" \"x@example.com\"", "not an object: found a string"),
            ("null", "not an object: found null"),
            ("5", "not an object: found a number"),
            ("true", "not an object: found a boolean"),
            // The kind, and what it requires.
            ("{}", "type: missing"),
            (r#"{"type":null}"#, "type: missing"),
            (r#"{"type":["page"]}"#, "type: expected a string, found an array"),
            (
                r#"{"type":"Purchase"}"#,
                "type: unknown type \"Purchase\", expected one of track, identify, page, screen, group, alias",
            ),
            (r#"{"type":"track"}"#, "event: missing"),
            (r#"{"type":"track","event":null}"#, "event: missing"),
            (r#"{"type":"track","event":""}"#, "event: empty"),
            (r#"{"type":"track","event":7}"#, "event: expected a string, found a number"),
            (r#"{"type":"group"}"#, "groupId: missing"),
            (r#"{"type":"group","groupId":null}"#, "groupId: missing"),
            (r#"{"type":"alias","userId":"u1"}"#, "previousId: missing"),
            (r#"{"type":"alias","previousId":null}"#, "previousId: missing"),
            (r#"{"type":"page","name":["a"]}"#, "name: expected a string, found an array"),
            (r#"{"type":"screen","category":1}"#, "category: expected a string, found a number"),
            // Ids.
            (r#"{"type":"page","userId":{}}"#, "userId: expected a string, found an object"),
            (r#"{"type":"page","anonymousId":[]}"#, "anonymousId: expected a string, found an array"),
            (r#"{"type":"alias","previousId":["x"]}"#, "previousId: expected a string, found an array"),
            (r#"{"type":"group","groupId":{}}"#, "groupId: expected a string, found an object"),
            (r#"{"type":"page","messageId":{}}"#, "messageId: expected a string, found an object"),
            (
                r#"{"type":"page","userId":12345678901234567890123}"#,
                "userId: expected a string, found a number too large to be exact",
            ),
            // Objects.
            (r#"{"type":"page","properties":"x"}"#, "properties: expected an object, found a string"),
            (r#"{"type":"page","properties":[1]}"#, "properties: expected an object, found an array"),
            (r#"{"type":"page","traits":5}"#, "traits: expected an object, found a number"),
            (r#"{"type":"page","context":false}"#, "context: expected an object, found a boolean"),
            (
                r#"{"type":"page","context":{"traits":"x"}}"#,
                "context.traits: expected an object, found a string",
            ),
            (
                r#"{"type":"page","context":{"traits":[1]}}"#,
                "context.traits: expected an object, found an array",
            ),
        ] {
            assert_eq!(refusal(text), expected, "{text}");
        }
    }

    #[test]
    fn a_time_that_is_none_or_outside_the_years_is_refused_whichever_member_it_is() {
        for (value, expected) in [
            (r#""yesterday""#, "not a time: \"yesterday\""),
            (r#""""#, "not a time: \"\""),
            (r#""2024-05-01""#, "not a time: \"2024-05-01\""),
            (r#""2023-02-29T00:00:00Z""#, "not a time: \"2023-02-29T00:00:00Z\""),
            (r#""1714564800000""#, "not a time: \"1714564800000\""),
            ("1714564800000.5", "not a time: 1714564800000.5"),
            ("true", "expected a time, found a boolean"),
            ("{}", "expected a time, found an object"),
            (r#""1969-12-31T23:59:59Z""#, "outside the years 1970 to 2100: \"1969-12-31T23:59:59Z\""),
            (
                r#""1970-01-01T00:00:00+00:01""#,
                "outside the years 1970 to 2100: \"1970-01-01T00:00:00+00:01\"",
            ),
            (r#""2101-01-01T00:00:00Z""#, "outside the years 1970 to 2100: \"2101-01-01T00:00:00Z\""),
            ("-1", "outside the years 1970 to 2100: -1"),
            ("4133980800000", "outside the years 1970 to 2100: 4133980800000"),
            ("18446744073709551615", "outside the years 1970 to 2100: 18446744073709551615"),
            ("-9223372036854775808", "outside the years 1970 to 2100: -9223372036854775808"),
            ("1e300", "outside the years 1970 to 2100: 1e+300"),
        ] {
            for member in ["timestamp", "originalTimestamp", "sentAt", "receivedAt"] {
                let text = format!(r#"{{"type":"page","{member}":{value}}}"#);
                assert_eq!(refusal(&text), format!("{member}: {expected}"));
            }
        }
        for (text, masked) in [
            ("ann@example.com", "a***@example.com"),
            ("13800000002", "1380****002"),
            (" +86 138-0000-0002", " +86****002"),
        ] {
            let time = format!(r#"{{"type":"page","timestamp":"{text}"}}"#);
            assert_eq!(refusal(&time), format!("timestamp: not a time: {masked:?}"));
            let kind = refusal(&format!(r#"{{"type":"{text}"}}"#));
            assert!(kind.starts_with(&format!("type: unknown type {masked:?}, ")), "{kind}");
        }
        let long = format!(r#"{{"type":"page","timestamp":"{}"}}"#, "x".repeat(1_000));
        assert_eq!(refusal(&long), format!("timestamp: not a time: \"{}\"", "x".repeat(64)));
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(1_000));
        assert!(refusal(&long).len() < 160);
    }

    #[test]
    fn times_are_rfc_3339_or_milliseconds() {
        for (value, expected) in [
            (r#""2024-05-01T14:00:00.5+02:00""#, "2024-05-01T12:00:00.500Z"),
            (r#"" 2024-05-01T12:00:00.123456789Z ""#, "2024-05-01T12:00:00.123456Z"),
            ("1714564800123", "2024-05-01T12:00:00.123Z"),
            ("1714564800123.0", "2024-05-01T12:00:00.123Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("4133980799999", "2100-12-31T23:59:59.999Z"),
        ] {
            let event = Event::from_json(&format!(r#"{{"type":"page","sentAt":{value}}}"#)).unwrap();
            assert_eq!(event.times().sent_at.unwrap().to_string(), expected);
        }
    }

    #[test]
    fn the_same_fault_is_told_whatever_the_order_of_members() {
        assert_eq!(refusal(r#"{"userId":{},"timestamp":"x","type":"nope"}"#).split(':').next(), Some("type"));
        assert_eq!(
            refusal(r#"{"userId":{},"timestamp":"x","type":"track"}"#),
            "timestamp: not a time: \"x\""
        );
    }

    #[test]
    fn ids_may_be_numbers_or_booleans_and_null_is_none() {
        for (value, expected) in [
            (r#""u1""#, Some("u1")),
            (r#""""#, Some("")),
            ("123", Some("123")),
            ("123.0", Some("123")),
            ("-1", Some("-1")),
            ("0.5", Some("0.5")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("true", Some("true")),
            ("false", Some("false")),
            ("null", None),
        ] {
            for member in ["userId", "anonymousId", "previousId", "groupId"] {
                let event = Event::from_json(&format!(r#"{{"type":"page","{member}":{value}}}"#)).unwrap();
                assert_eq!(
                    event.lookup(member).as_deref().and_then(Value::as_str),
                    expected,
                    "{member}: {value}"
                );
            }
        }
        for (value, expected) in [("7", Some("7")), (r#""m""#, Some("m")), (r#""""#, None), ("null", None)] {
            let event = Event::from_json(&format!(r#"{{"type":"page","messageId":{value}}}"#)).unwrap();
            assert_eq!(event.ids().message_id, expected);
        }
    }

    #[test]
    fn an_alias_or_a_group_whose_id_is_blocked_is_taken() {
        for value in [r#""""#, r#""null""#, "0", "false"] {
            assert!(
                Event::from_json(&format!(r#"{{"type":"alias","userId":"u","previousId":{value}}}"#)).is_ok()
            );
            assert!(
                Event::from_json(&format!(r#"{{"type":"group","userId":"u","groupId":{value}}}"#)).is_ok()
            );
        }
    }

    #[test]
    fn empty_arrays_from_php_and_nulls_are_empty_objects() {
        for empty in ["[]", "{}", "null"] {
            let text = format!(
                r#"{{"type":"identify","userId":"u","properties":{empty},"traits":{empty},"context":{empty}}}"#
            );
            assert_eq!(Event::from_json(&text), Ok(Event::identify().user_id("u")));
            let text = format!(r#"{{"type":"page","context":{{"traits":{empty}}}}}"#);
            let event = Event::from_json(&text).unwrap();
            assert!(event.all_traits().is_empty());
            assert_eq!(Event::from_json(&event.to_json()), Ok(event));
        }
    }

    #[test]
    fn members_that_the_spec_gives_to_other_kinds_are_unknown_members() {
        let event =
            Event::from_json(r#"{"type":"identify","event":5,"name":{"a":1},"category":"c"}"#).unwrap();
        assert_eq!(json!(event.other_members()), json!({"event": 5, "name": {"a": 1}}));
        assert_eq!(*event.lookup("name.a").unwrap(), 1);
        assert_eq!(Event::from_json(&event.to_json()), Ok(event));
    }

    #[test]
    fn of_members_with_one_name_the_last_wins() {
        let text = r#"{"type":5,"userId":{},"x":1,"userId":"u","x":2,"type":"page"}"#;
        assert_eq!(Event::from_json(text), Ok(Event::page().user_id("u").member("x", 2)));
        assert_eq!(Event::from_json(r#"{"type":"page","userId":"u","userId":null}"#), Ok(Event::page()));
    }

    #[test]
    fn escaped_names_are_the_names_they_stand_for() {
        let event = Event::from_json(r#"{"\u0074ype":"page","user\u0049d":"u","\ud83d\ude00":1}"#).unwrap();
        assert_eq!(event, Event::page().user_id("u").member("😀", 1));
    }

    #[test]
    fn nesting_of_64_is_taken_and_of_65_refused() {
        let arrays = |depth: usize| {
            format!(r#"{{"type":"page","properties":{{"a":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        let objects = |depth: usize| {
            format!(r#"{{"type":"page","x":{}1{}}}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth))
        };
        for taken in [arrays(62), objects(63)] {
            let event = Event::from_json(&taken).unwrap();
            assert_eq!(Event::try_from(serde_json::from_str::<Value>(&taken).unwrap()).as_ref(), Ok(&event));
            assert_eq!(Event::from_json(&event.to_json()), Ok(event));
        }
        for refused in [arrays(63), objects(64)] {
            assert_eq!(refusal(&refused), "nesting: deeper than 64");
            let value: Value = serde_json::from_str(&refused).unwrap();
            assert_eq!(Event::try_from(value).unwrap_err().to_string(), "nesting: deeper than 64");
        }
        assert_eq!(refusal(&arrays(100_000)), "nesting: deeper than 64");
        let text = format!(r#"{{"type":"page","x":"{}"}}"#, r#"[{\"[{\\"#.repeat(100));
        assert_eq!(Event::from_json(&text).unwrap().other_members()["x"].as_str().unwrap().len(), 600);
    }

    #[test]
    fn what_is_written_in_the_usual_ways_is_read_quickly_and_only_that() {
        let quick = |text: &str| Event::quick(text).map(|event| Event { json: text.to_owned(), ..event });
        for text in [
            r#"{"type":"track","event":"Search","messageId":"m","userId":"é","properties":{"a":[1]},"x":{"y":"\u00e9"}}"#,
            r#" {"type" : "page", "anonymousId": "a", "timestamp": "2024-05-01T12:00:00+02:00", "userId": null} "#,
            r#"{"type":"identify","userId":7,"traits":{"email":"a\tb"},"context":null,"messageId":""}"#,
            r#"{"type":"group","groupId":"a\"b","traits":[],"name":5,"sentAt":1714564800000}"#,
        ] {
            assert_eq!(quick(text), Some(Event::whole(text).unwrap()), "{text}");
        }
        for text in [
            r#"{"type":"p\u0061ge"}"#,
            r#"{"type":"page","userId":"a","userId":"b"}"#,
            r#"{"type":"page","timestamp":"2024-05-01T12:00:00Z"} 1"#,
        ] {
            assert_eq!(quick(text), None, "{text}");
        }
    }

    proptest! {
        /// Members of every kind, well-formed and not, once and twice.
        #[test]
        fn both_ways_of_reading_tell_the_same(
            members in prop::collection::vec((prop::sample::select(&Member::ALL[..]), prop::sample::select(&[
                r#""page""#, r#""track""#, r#""alias""#, r#""a b""#, r#""\u0061""#, r#""\ud800""#, r#""""#, "null", "7", "1e309", "true",
                r#""2024-05-01T12:00:00Z""#, r#""1960-05-01T12:00:00Z""#, "1714564800000", "{}", "[]", r#"{"a":1e309}"#,
                r#"{"traits":{"a":"\u0062"},"b":"c"}"#, r#"{"traits":7}"#, r#"{"a":"\ud800"}"#, "[1", "",
            ][..])), 0..6),
            kind in prop::sample::select(&["page", "track", "identify", "group", "alias", "dance"][..]),
        ) {
            let members = members.iter().map(|(member, value)| format!(r#","{}":{value}"#, member.name()));
            let text = format!(r#"{{"type":"{kind}"{}}}"#, members.collect::<String>());
            if let Some(event) = Event::quick(&text) {
                prop_assert_eq!(Ok(Event { json: text.clone(), ..event }), Event::whole(&text));
            }
        }
    }

    #[test]
    fn a_payload_over_the_limit_is_refused_before_it_is_read() {
        let text = format!(r#"{{"type":"page","x":"{}"}}"#, " ".repeat((1 << 20) - 22));
        assert_eq!(text.len(), 1 << 20);
        assert!(Event::read(text.clone(), 1 << 20).is_ok());
        let text = format!("{text} ");
        let (refusal, back) = Event::read(text.clone(), 1 << 20).unwrap_err();
        assert_eq!(back, text);
        assert_eq!(refusal.to_string(), "payload: 1048577 bytes, at most 1048576 allowed");
        assert!(Event::from_json(&text).is_ok(), "the limit is the ingest's");
    }

    #[test]
    fn serde_reads_the_same_with_the_same_reasons() {
        let text = r#"{"type":"page","userId":7,"properties":[]}"#;
        assert_eq!(serde_json::from_str::<Event>(text).unwrap(), Event::from_json(text).unwrap());
        assert_eq!(text.parse::<Event>(), Event::from_json(text));
        let error = serde_json::from_str::<Event>(r#""x@example.com""#).unwrap_err();
        assert_eq!(error.to_string(), "not an object: found a string");
        assert_eq!(serde_json::from_value::<Event>(json!({})).unwrap_err().to_string(), "type: missing");
    }

    #[test]
    fn no_personal_value_stands_in_a_refusal() {
        for member in
            ["userId", "anonymousId", "event", "name", "properties", "traits", "context", "messageId"]
        {
            for value in [r#"["x@example.com"]"#, r#"{"x@example.com":"x@example.com"}"#, r#""x@example.com"#]
            {
                for kind in ["track", "page"] {
                    let text = format!(r#"{{"type":"{kind}","{member}":{value}}}"#);
                    if let Err(refusal) = Event::from_json(&text) {
                        assert!(!format!("{refusal} {refusal:?}").contains("example"), "{refusal}");
                    }
                }
            }
        }
    }
}
