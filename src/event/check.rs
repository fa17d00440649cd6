//! What is refused, and why.

use std::borrow::Cow;
use std::{fmt, io};

use super::write::Member;
use super::{Event, EventKind, TimeFrom};
use crate::clock::{Span, Timestamp, hours};
use crate::value::{Object, Value, kind_of};

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
///
/// ```
/// use customerdb::{Event, EventLimits, Timestamp, days, hours};
///
/// let now: Timestamp = "2024-05-01T12:00:00Z".parse()?;
/// let ahead = Event::page().at(now.after(days(2)));
/// assert_eq!(
///     ahead.check(now, &EventLimits::default()).unwrap_err().to_string(),
///     "timestamp: 2024-05-03T12:00:00Z is more than 24h ahead of the clock"
/// );
/// assert_eq!(ahead.check(now, &EventLimits::default().max_ahead(None)), Ok(()));
/// # Ok::<(), customerdb::NotATime>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLimits {
    /// How many bytes of JSON an event may take. By default 1 MiB.
    pub max_bytes: usize,
    /// How far ahead of the clock an event's time may be; `None` for any. By default 24 hours.
    pub max_ahead: Option<Span>,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_ahead: Some(hours(24)) }
    }
}

impl EventLimits {
    /// The same limits with `bytes` as the largest size of an event's JSON.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The same limits with `span` as the farthest that an event may be ahead of the clock, `None` for any.
    #[must_use]
    pub fn max_ahead(mut self, span: impl Into<Option<Span>>) -> Self {
        self.max_ahead = span.into();
        self
    }

    pub(super) fn allow(self, bytes: usize) -> Result<(), Refusal> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        Err(Refusal::whole(format!("payload: {bytes} bytes, at most {} allowed", self.max_bytes)))
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
    if text.bytes().filter(|byte| byte | 0x20 == b'{').count() <= MAX_DEPTH {
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

/// Goes through values once, for how deep they nest and for a size that their JSON does not exceed.
#[derive(Default)]
struct Measure {
    bytes: usize,
}

impl Measure {
    /// Six for each byte, as `\u001f` takes, and quotes, a colon and a comma.
    fn text(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(text.len().saturating_mul(6).saturating_add(4));
    }

    fn object(&mut self, object: &Object, level: usize) -> Result<(), Refusal> {
        if level > MAX_DEPTH {
            return Err(too_deep());
        }
        self.bytes = self.bytes.saturating_add(3);
        for (name, value) in object {
            self.text(name);
            self.value(value, level + 1)?;
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, level: usize) -> Result<(), Refusal> {
        match value {
            Value::String(text) => self.text(text),
            Value::Object(object) => self.object(object, level)?,
            Value::Array(_) if level > MAX_DEPTH => return Err(too_deep()),
            Value::Array(items) => {
                self.bytes = self.bytes.saturating_add(3);
                for item in items {
                    self.value(item, level + 1)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => self.bytes = self.bytes.saturating_add(32),
        }
        Ok(())
    }
}

/// Refuses members that nest too deep.
pub(super) fn check_depth_of(members: &Object) -> Result<(), Refusal> {
    Measure::default().object(members, 1)
}

/// Counts what is written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Event {
    /// Whether the event can be taken at the instant `now`. Ingesting asks it of every event; one that was made by
    /// code has not been checked before.
    ///
    /// It does not ask for an identifier: which members hold one is a matter of the rules.
    ///
    /// # Errors
    ///
    /// The reason to refuse it: what [`from_json`](Self::from_json) would refuse, its size, or a time that is more
    /// than [`max_ahead`](EventLimits::max_ahead) ahead of `now`, or that the rule of [`time`](Self::time) puts
    /// outside the years 1970 to 2100.
    pub fn check(&self, now: Timestamp, limits: &EventLimits) -> Result<(), Refusal> {
        for (name, value) in &self.other {
            if let Some(member) = Member::of(name) {
                Self::blank(self.kind).assign(member, value.clone())?;
            }
        }
        self.check_members()?;
        self.check_size(limits)?;
        self.check_time(now, limits)
    }

    /// Refuses an event without what its kind requires, or with a malformed `context.traits`.
    pub(super) fn check_members(&self) -> Result<(), Refusal> {
        match self.kind {
            EventKind::Track => match self.track_name.as_deref() {
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
        match self.context.get("traits") {
            None | Some(Value::Object(_) | Value::Null) => Ok(()),
            Some(Value::Array(items)) if items.is_empty() => Ok(()),
            Some(other) => {
                Err(Refusal::new("context.traits", format!("expected an object, found {}", kind_of(other))))
            }
        }
    }

    fn check_size(&self, limits: &EventLimits) -> Result<(), Refusal> {
        // The names of the members of the spec, the kind, and the times, together take less.
        let mut measure = Measure { bytes: 512 };
        for object in [&self.properties, &self.traits, &self.context] {
            measure.object(object, 2)?;
        }
        measure.object(&self.other, 1)?;
        for text in [
            &self.track_name,
            &self.name,
            &self.category,
            &self.message_id,
            &self.user_id,
            &self.anonymous_id,
            &self.previous_id,
            &self.group_id,
        ] {
            measure.text(text.as_deref().unwrap_or_default());
        }
        if measure.bytes <= limits.max_bytes {
            return Ok(());
        }
        let mut counter = Counter(0);
        match serde_json::to_writer(&mut counter, self) {
            Ok(()) => limits.allow(counter.0),
            Err(error) => Err(Refusal::whole(format!("not JSON: {error}"))),
        }
    }

    fn check_time(&self, now: Timestamp, limits: &EventLimits) -> Result<(), Refusal> {
        let times = self.times();
        for (member, time) in [
            (Member::Timestamp, times.timestamp),
            (Member::OriginalTimestamp, times.original_timestamp),
            (Member::SentAt, times.sent_at),
            (Member::ReceivedAt, times.received_at),
        ] {
            if let Some(time) = time.filter(|time| !time.is_plausible()) {
                return Err(outside(member, time));
            }
        }
        let (time, from) = times.resolve(now);
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

    fn reason(event: &Event) -> String {
        event.check(now(), &EventLimits::default()).unwrap_err().to_string()
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
            assert_eq!(event.check(now(), &EventLimits::default()), Ok(()));
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
            assert_eq!(event.check(now(), &EventLimits::default().max_ahead(None)), Ok(()));
            assert_eq!(event.check(now(), &EventLimits::default().max_ahead(days(2))), Ok(()));
        }
        let event = Event::page().at(now().after(days(365 * 7)));
        let refusal = event.check(now(), &EventLimits::default().max_ahead(minutes(90))).unwrap_err();
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
                "sentAt: outside the years 1970 to 2100: 1969-12-31T23:59:59.999999Z",
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
            assert_eq!(event.check(now(), &EventLimits::default()), Ok(()));
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
        assert_eq!(event.check(now(), &EventLimits::default().max_bytes(bytes)), Ok(()));
        let refusal = event.check(now(), &EventLimits::default().max_bytes(bytes - 1)).unwrap_err();
        assert_eq!(refusal.to_string(), format!("payload: {bytes} bytes, at most {} allowed", bytes - 1));
    }

    #[test]
    fn the_bound_on_the_size_is_never_below_the_size() {
        let control = "\u{1f}".repeat(9);
        let times = Timestamp::from_micros(4_133_980_799_999_999);
        let full = Event { track_name: Some(control.clone()), ..Event::screen() }
            .named(control.as_str())
            .category(control.as_str())
            .message_id(control.as_str())
            .user_id(control.as_str())
            .anonymous_id(control.as_str())
            .at(times)
            .original_timestamp(times)
            .sent_at(times)
            .received_at(times)
            .property(control.as_str(), json!([f64::MIN_POSITIVE, i64::MIN, false, null, {}, [], ""]));
        let full = Event { previous_id: Some(control.clone()), group_id: Some(control), ..full };
        // Below what a full event takes beside its own texts, the bound must not say that it fits.
        for max_bytes in 0..full.to_json().len() {
            assert!(full.check(now(), &EventLimits::default().max_bytes(max_bytes)).is_err(), "{max_bytes}");
        }
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
