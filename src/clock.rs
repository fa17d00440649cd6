//! Instants, durations, and where "now" comes from.
//!
//! This is the only module that reads the system clock. Everything that depends on "now" asks a [`Clock`], so a
//! test or a replay can set it.

mod zone;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::zone::{NotAZone, Zone};

/// An instant in UTC with microsecond precision.
///
/// It is written and read as RFC 3339; any offset is accepted and converted to UTC. Digits beyond the
/// microsecond are cut off.
///
/// ```
/// use customerdb::Timestamp;
///
/// let noon: Timestamp = "2024-05-01T14:00:00+02:00".parse()?;
/// assert_eq!(noon.to_string(), "2024-05-01T12:00:00Z");
/// assert_eq!(noon, Timestamp::from_millis(1_714_564_800_000));
/// # Ok::<(), customerdb::NotATime>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first instant that an event may bear: 1970-01-01T00:00:00Z.
    pub const EARLIEST: Self = Self(0);
    /// The first instant after those that an event may bear: 2101-01-01T00:00:00Z.
    pub const END: Self = Self(4_133_980_800_000_000);

    /// The instant `micros` microseconds after 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The instant `millis` milliseconds after 1970-01-01T00:00:00Z, or the nearest that can be represented.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whether the instant lies in the years 1970 to 2100, the range that events may bear.
    pub fn is_plausible(self) -> bool {
        (Self::EARLIEST..Self::END).contains(&self)
    }

    /// The instant `span` later, or the last that can be represented.
    #[must_use]
    pub const fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The instant `span` earlier, or the first that can be represented.
    #[must_use]
    pub const fn before(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

impl From<Timestamp> for DateTime<Utc> {
    /// Instants that `chrono` cannot represent (beyond the year 262,000) become its last or first one.
    fn from(time: Timestamp) -> Self {
        let clamped = time
            .0
            .clamp(DateTime::<Utc>::MIN_UTC.timestamp_micros(), DateTime::<Utc>::MAX_UTC.timestamp_micros());
        Utc.timestamp_micros(clamped).single().unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&DateTime::<Utc>::from(*self).to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error of reading a [`Timestamp`] from text that is not RFC 3339 with an offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time: {0:?}")]
pub struct NotATime(String);

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        match DateTime::parse_from_rfc3339(text.trim()) {
            Ok(time) => Ok(Self(time.timestamp_micros())),
            Err(_) => Err(NotATime(text.chars().take(64).collect())),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A length of time in whole microseconds, written as in definitions: `500ms`, `30s`, `5m`, `12h`, `30d`, `2w`.
///
/// A day is 24 hours and a week seven days; calendar periods are something else and named as such where they
/// occur.
///
/// ```
/// use customerdb::{Span, days};
///
/// assert_eq!("30d".parse::<Span>()?, days(30));
/// assert_eq!(days(14).to_string(), "2w");
/// assert!("-1d".parse::<Span>().is_err());
/// # Ok::<(), customerdb::NotASpan>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// Unit letters and their microseconds, longest first.
const UNITS: [(&str, i64); 6] = [
    ("w", 604_800_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
];

impl Span {
    /// A length of `micros` microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The length in microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

/// A span of `n` milliseconds.
pub const fn millis(n: u32) -> Span {
    Span(n as i64 * 1_000)
}

/// A span of `n` seconds.
pub const fn seconds(n: u32) -> Span {
    Span(n as i64 * 1_000_000)
}

/// A span of `n` minutes.
pub const fn minutes(n: u32) -> Span {
    Span(n as i64 * 60_000_000)
}

/// A span of `n` hours.
pub const fn hours(n: u32) -> Span {
    Span(n as i64 * 3_600_000_000)
}

/// A span of `n` days of 24 hours.
pub const fn days(n: u32) -> Span {
    Span(n as i64 * 86_400_000_000)
}

/// A span of `n` weeks of seven days.
pub const fn weeks(n: u32) -> Span {
    Span(n as i64 * 604_800_000_000)
}

/// The error of reading a [`Span`]: what was found instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: {0:?}, expected a whole number and one of ms, s, m, h, d, w (\"30d\")")]
pub struct NotASpan(String);

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let error = || NotASpan(text.chars().take(64).collect());
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let (_, micros) = UNITS.iter().find(|(letters, _)| *letters == unit).ok_or_else(error)?;
        let number: i64 = number.parse().map_err(|_| error())?;
        number.checked_mul(*micros).map(Span).ok_or_else(error)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, micros)| self.0 != 0 && self.0 % micros == 0) {
            Some((unit, micros)) => write!(f, "{}{unit}", self.0 / micros),
            None if self.0 == 0 => f.write_str("0s"),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where "now" comes from.
///
/// The crate has two: [`SystemClock`], the default, and [`ManualClock`], for tests and replays. An application
/// may bring its own.
pub trait Clock: Send + Sync + 'static {
    /// The instant that counts as now.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Utc::now().into()
    }
}

/// A clock that stands still until it is set; clones show the same time.
///
/// ```
/// use customerdb::{Cdp, ManualClock, Timestamp, hours};
///
/// let clock = ManualClock::at("2024-05-01T12:00:00Z".parse::<Timestamp>()?);
/// let cdp = Cdp::builder().clock(clock.clone()).in_memory()?;
/// clock.set(cdp.now().after(hours(1)));
/// assert_eq!(cdp.now().to_string(), "2024-05-01T13:00:00Z");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: impl Into<Timestamp>) -> Self {
        Self(Arc::new(AtomicI64::new(now.into().as_micros())))
    }

    /// Makes this clock and its clones show `now`.
    pub fn set(&self, now: impl Into<Timestamp>) {
        self.0.store(now.into().as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_any_offset_and_cut_to_the_microsecond() {
        let time: Timestamp = "2024-02-29T23:59:59.123456789-05:30".parse().unwrap();
        assert_eq!(time.to_string(), "2024-03-01T05:29:59.123456Z");
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2024-03-01T05:29:59.123456Z\"");
        for bad in
            ["yesterday", "2024-02-30T00:00:00Z", "2024-01-01", "2024-01-01T00:00:00", "", "1714564800000"]
        {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn plausible_times_are_those_of_the_years_1970_to_2100() {
        for (text, plausible) in [
            ("1969-12-31T23:59:59.999999Z", false),
            ("1970-01-01T00:00:00Z", true),
            ("2100-12-31T23:59:59.999999Z", true),
            ("2101-01-01T00:00:00Z", false),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().is_plausible(), plausible, "{text}");
        }
    }

    #[test]
    fn spans_read_back_what_they_write() {
        for span in [millis(5), seconds(90), minutes(60), hours(25), days(30), weeks(2), seconds(0)] {
            assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        for bad in ["30", "d", "1.5d", "-1d", "30 d", "1y", "99999999999999999w", ""] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
