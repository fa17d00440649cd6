//! What is refused, and why.

use std::borrow::Cow;
use std::fmt;

use super::write::Member;
use super::{Event, EventKind, TimeFrom};
use crate::clock::{Span, Timestamp, hours};
use crate::value::{Value, kind_of};

/// Why an event was refused, and which member of it.
///
/// No personal value stands in it.
///
/// ```
/// use customerdb::Event;
///
/// let refusal = Event::from_json(r#"{"type":"page","timestamp":"yesterday"}"#).unwrap_err();
/// assert_eq!(refusal.to_string(), "timestamp: not a time: \"yesterday\"");
/// assert_eq!((refusal.member(), refusal.reason()), ("timestamp", "not a time: \"yesterday\""));
///
/// let refusal = Event::from_json("[1]").unwrap_err();
/// assert_eq!((refusal.member(), refusal.reason()), ("", "not an object: found an array"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    member: Cow<'static, str>,
    reason: String,
}

impl Refusal {
    pub(crate) fn new(member: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self { member: member.into(), reason: reason.into() }
    }

    pub(crate) fn whole(reason: impl Into<String>) -> Self {
        Self::new("", reason)
    }

    /// The member at fault: `timestamp`, `context.traits`. Empty for the whole event.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// What is wrong with it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.member.is_empty() {
            write!(f, "{}: ", self.member)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

/// How large an event may be, and how far ahead of the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventLimits {
    /// How many bytes of JSON an event may take. By default 1 MiB.
    pub(crate) max_bytes: usize,
    /// How far ahead of the clock an event's time may be; `None` for any. By default 24 hours.
    pub(crate) max_ahead: Option<Span>,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_ahead: Some(hours(24)) }
    }
}

/// How deep arrays and objects may nest; the event itself is the first level.
const MAX_DEPTH: usize = 64;

fn too_deep() -> Refusal {
    Refusal::whole(format!("nesting: deeper than {MAX_DEPTH}"))
}

/// Refuses JSON text that nests too deep, before anything recurses into it.
pub(super) fn check_depth(text: &str) -> Result<(), Refusal> {
    // Most texts have too few brackets for that, whatever they mean.
    // In pieces whose counts fit a byte: the compiler counts those many at a time.
    let opened = |piece: &[u8]| piece.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    if text.as_bytes().chunks(255).map(|piece| usize::from(opened(piece))).sum::<usize>() <= MAX_DEPTH {
        return Ok(());
    }
    let (mut depth, mut in_string) = (0_usize, false);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => drop(bytes.next()),
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(too_deep());
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

impl Event {
    /// Refuses an event of that text without what its kind requires, or with a malformed `context.traits`.
    pub(super) fn check_members_in(&self, json: &str) -> Result<(), Refusal> {
        match self.kind {
            EventKind::Track => match self.track_name.as_ref().map(|name| name.within(json)) {
                None => return Err(Refusal::new("event", "missing")),
                Some(name) if name.trim().is_empty() => return Err(Refusal::new("event", "empty")),
                Some(_) => {}
            },
            EventKind::Group if self.group_id.is_none() => return Err(Refusal::new("groupId", "missing")),
            EventKind::Alias if self.previous_id.is_none() => {
                return Err(Refusal::new("previousId", "missing"));
            }
            _ => {}
        }
        match self.context.get("traits", json) {
            None | Some(Value::Object(_) | Value::Null) => Ok(()),
            Some(Value::Array(items)) if items.is_empty() => Ok(()),
            Some(other) => {
                Err(Refusal::new("context.traits", format!("expected an object, found {}", kind_of(other))))
            }
        }
    }

    /// Refuses an event whose time, by the rule of [`time`](Self::time), lies too far ahead of `now`, or outside the
    /// years that events may bear. Whether it can be taken otherwise, reading it has told.
    pub(crate) fn check_time(&self, now: Timestamp, limits: &EventLimits) -> Result<(), Refusal> {
        let (time, from) = self.times().resolve(now);
        let (member, how) = match from {
            TimeFrom::Clock => return Ok(()),
            TimeFrom::Timestamp => (Member::Timestamp, ""),
            TimeFrom::Skew => (Member::OriginalTimestamp, " (corrected by sentAt and receivedAt)"),
            TimeFrom::Original => (Member::OriginalTimestamp, ""),
            TimeFrom::Received => (Member::ReceivedAt, ""),
        };
        if !time.is_plausible() {
            return Err(outside(member, format_args!("{time}{how}")));
        }
        match limits.max_ahead {
            Some(span) if time > now.after(span) => Err(Refusal::new(
                member.name(),
                format!("{time}{how} is more than {} ahead of the clock", in_hours(span)),
            )),
            _ => Ok(()),
        }
    }
}

/// The refusal of a time outside the years that events may bear.
pub(super) fn outside(member: Member, time: impl fmt::Display) -> Refusal {
    Refusal::new(member.name(), format!("outside the years 1970 to 2100: {time}"))
}

/// A span in hours, as the limit is stated, where it is a whole number of them.
fn in_hours(span: Span) -> String {
    let hour = hours(1).as_micros();
    if span.as_micros() % hour == 0 { format!("{}h", span.as_micros() / hour) } else { span.to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::{days, millis, minutes};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2024-05-01T12:00:00Z")
    }

    /// What ingesting does: reads the event from its JSON, and looks at its time.
    fn take(event: &Event, limits: EventLimits) -> Result<(), Refusal> {
        let read = Event::read(event.to_json(), limits.max_bytes);
        read.map_err(|(refusal, _)| refusal)?.check_time(now(), &limits)
    }

    fn ahead(max_ahead: impl Into<Option<Span>>) -> EventLimits {
        EventLimits { max_ahead: max_ahead.into(), ..EventLimits::default() }
    }

    fn reason(event: &Event) -> String {
        take(event, EventLimits::default()).unwrap_err().to_string()
    }

    /// A value of `depth` nested arrays.
    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::Null, |inner, _| json!([inner]))
    }

    #[test]
    fn a_time_up_to_a_day_ahead_is_taken() {
        let limit = now().after(hours(24));
        let late = limit.after(Span::from_micros(1));
        for event in [Event::page().at(limit), Event::page().original_timestamp(limit), Event::page()] {
            assert_eq!(take(&event, EventLimits::default()), Ok(()));
        }
        for (event, expected) in [
            (Event::page().at(late), "timestamp: 2024-05-02T12:00:00.000001Z is"),
            (Event::page().original_timestamp(late), "originalTimestamp: 2024-05-02T12:00:00.000001Z is"),
            (Event::page().received_at(late), "receivedAt: 2024-05-02T12:00:00.000001Z is"),
            (
                Event::page().original_timestamp(now()).sent_at(now()).received_at(late),
                "originalTimestamp: 2024-05-02T12:00:00.000001Z (corrected by sentAt and receivedAt) is",
            ),
        ] {
            assert_eq!(reason(&event), format!("{expected} more than 24h ahead of the clock"));
            assert_eq!(take(&event, ahead(None)), Ok(()));
            assert_eq!(take(&event, ahead(days(2))), Ok(()));
        }
        let event = Event::page().at(now().after(days(365 * 7)));
        let refusal = take(&event, ahead(minutes(90))).unwrap_err();
        assert_eq!(refusal.reason(), "2031-04-30T12:00:00Z is more than 90m ahead of the clock");
    }

    #[test]
    fn a_time_that_the_skew_rule_puts_outside_the_years_is_refused() {
        let event = Event::page().received_at(at("1970-01-01T00:00:00Z")).sent_at(now());
        assert_eq!(
            reason(&event.original_timestamp(now().before(millis(1)))),
            "originalTimestamp: outside the years 1970 to 2100: 1969-12-31T23:59:59.999Z (corrected by sentAt and \
             receivedAt)"
        );
    }

    #[test]
    fn events_made_by_code_are_held_to_the_same_as_those_read() {
        for (event, expected) in [
            (Event::track(""), "event: empty"),
            (Event::track(" \t"), "event: empty"),
            (
                Event::page().sent_at(Timestamp::from_micros(-1)),
                "sentAt: outside the years 1970 to 2100: \"1969-12-31T23:59:59.999999Z\"",
            ),
            (Event::page().context("traits", "x"), "context.traits: expected an object, found a string"),
            (Event::page().property("deep", nested(63)), "nesting: deeper than 64"),
            (Event::page().member("deep", nested(64)), "nesting: deeper than 64"),
            (
                Event::page().property("deep", (0..63).fold(json!(1), |inner, _| json!({"a": inner}))),
                "nesting: deeper than 64",
            ),
        ] {
            assert_eq!(reason(&event), expected);
        }
        for event in [
            Event::group(""),
            Event::alias("null"),
            Event::page().property("deep", nested(62)),
            Event::page().member("deep", nested(63)),
            Event::page().context("traits", json!([])),
        ] {
            assert_eq!(take(&event, EventLimits::default()), Ok(()));
            assert_eq!(Event::from_json(&event.to_json()).as_ref(), Ok(&event));
        }
    }

    #[test]
    fn the_size_is_that_of_the_json_to_the_byte() {
        let event = Event::track("A")
            .property("text", "\u{1}".repeat(500))
            .user_id("u")
            .member("n", json!([1, null]));
        let bytes = event.to_json().len();
        let largest = |max_bytes| EventLimits { max_bytes, ..EventLimits::default() };
        assert_eq!(take(&event, largest(bytes)), Ok(()));
        let refusal = take(&event, largest(bytes - 1)).unwrap_err();
        assert_eq!(refusal.to_string(), format!("payload: {bytes} bytes, at most {} allowed", bytes - 1));
    }

    #[test]
    fn brackets_inside_strings_do_not_nest() {
        let brackets = "[{".repeat(100);
        for inside in [brackets.clone(), format!("\\\"{brackets}"), format!("{brackets}\\\\")] {
            assert_eq!(check_depth(&format!(r#"{{"a":"{inside}"}}"#)), Ok(()), "{inside}");
        }
        assert!(check_depth(&format!(r#"{{"a":"\\"{brackets}}}"#)).is_err(), "the string ends before them");
        assert_eq!(check_depth(&format!("[{}]", "{},[],".repeat(100))), Ok(()), "side by side");
        assert_eq!(check_depth(&"]".repeat(100)), Ok(()));
        assert_eq!(check_depth(&"[".repeat(65)), Err(too_deep()));
    }
}
