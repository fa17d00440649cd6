//! Time zones: what the clock on the wall shows.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tz::{TimeZone, TimeZoneRef};

use super::Timestamp;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// A time zone, in which days, weeks and months begin: UTC, a fixed offset, or one by its IANA name.
///
/// ```
/// use customerdb::Zone;
///
/// let berlin: Zone = "Europe/Berlin".parse()?;
/// assert_eq!(berlin.to_string(), "Europe/Berlin");
/// assert_eq!("+05:30".parse::<Zone>()?.to_string(), "+05:30");
/// assert_eq!(Zone::default(), Zone::UTC);
/// assert!("Europe/Atlantis".parse::<Zone>().is_err());
/// # Ok::<(), customerdb::NotAZone>(())
/// ```
#[derive(Clone, Default)]
pub struct Zone(Kind);

#[derive(Clone, Default)]
enum Kind {
    #[default]
    Utc,
    /// Seconds east of Greenwich.
    Fixed(i32),
    Named(Arc<str>, Rules),
}

/// The history and the future of a zone's offsets.
#[derive(Clone)]
enum Rules {
    #[cfg(feature = "zones")]
    Shipped(&'static TimeZoneRef<'static>),
    System(Arc<TimeZone>),
}

impl Rules {
    fn find(name: &str) -> Option<Self> {
        #[cfg(feature = "zones")]
        if let Some(found) = tzdb_data::find_tz(name.as_bytes()) {
            return Some(Self::Shipped(found));
        }
        TimeZone::from_posix_tz(name).ok().map(|found| Self::System(Arc::new(found)))
    }

    fn offset(&self, second: i64) -> i32 {
        let zone: TimeZoneRef<'_> = match self {
            #[cfg(feature = "zones")]
            Self::Shipped(zone) => **zone,
            Self::System(zone) => TimeZone::as_ref(zone),
        };
        // An error is an instant far beyond those that events may bear.
        zone.find_local_time_type(second).map_or(0, tz::LocalTimeType::ut_offset)
    }
}

impl Zone {
    /// Coordinated universal time, the default.
    pub const UTC: Self = Self(Kind::Utc);

    /// Seconds east of Greenwich at an instant.
    fn offset(&self, second: i64) -> i64 {
        match &self.0 {
            Kind::Utc => 0,
            Kind::Fixed(offset) => (*offset).into(),
            Kind::Named(_, rules) => rules.offset(second).into(),
        }
    }

    /// The date on the calendar at an instant: that of the day that began last, also where the clocks go back to the
    /// evening before.
    pub(crate) fn date(&self, at: Timestamp) -> NaiveDate {
        let second = at.as_micros().div_euclid(SECOND);
        let offset = self.offset(second);
        let local = second.saturating_add(offset);
        let out_of_range = if local < 0 { NaiveDate::MIN } else { NaiveDate::MAX };
        let mut date = DateTime::from_timestamp(local, 0).map_or(out_of_range, |time| time.date_naive());
        if self.offset(second.saturating_sub(DAY)) > offset {
            while let Some(next) = date.succ_opt().filter(|next| self.start_of(*next) <= at) {
                date = next;
            }
        }
        date
    }

    /// The first instant of a day: midnight, the earlier one where it comes twice, or where it is left out the instant
    /// at which the clocks go forward.
    pub(crate) fn start_of(&self, date: NaiveDate) -> Timestamp {
        let local = date.and_time(NaiveTime::MIN).and_utc().timestamp();
        let (before, after) = (self.offset(local - DAY), self.offset(local + DAY));
        let sound = |offset: &i64| self.offset(local - offset) == *offset;
        let second = match [before, after].iter().filter(|offset| sound(offset)).max() {
            Some(offset) => local - offset,
            None => self.change(local - before.max(after) - 1, local - before.min(after) + 1),
        };
        Timestamp::from_micros(second * SECOND)
    }

    /// The first instant of the hour on the wall clock.
    pub(crate) fn start_of_hour(&self, at: Timestamp) -> Timestamp {
        let second = at.as_micros().div_euclid(SECOND);
        let into = (second + self.offset(second)).rem_euclid(3_600);
        Timestamp::from_micros((second - into).saturating_mul(SECOND))
    }

    /// The second from which on the offset is another than at `low`, between `low` and `high`.
    fn change(&self, mut low: i64, mut high: i64) -> i64 {
        let old = self.offset(low);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.offset(middle) == old { low = middle } else { high = middle }
        }
        high
    }

    /// Whether the clocks show as much more than UTC at the one instant as at the other.
    pub(crate) fn is_steady(&self, from: Timestamp, until: Timestamp) -> bool {
        let offset = |at: Timestamp| self.offset(at.as_micros().div_euclid(SECOND));
        offset(from) == offset(until)
    }

    /// Whole days from one instant's date to another's.
    pub(crate) fn days_between(&self, earlier: Timestamp, later: Timestamp) -> i64 {
        self.date(later).signed_duration_since(self.date(earlier)).num_days()
    }
}

/// The error of reading a [`Zone`]: what was found instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time zone: {0:?}, expected UTC, an offset (\"+08:00\") or an IANA name (\"Europe/Berlin\")")]
pub struct NotAZone(String);

impl FromStr for Zone {
    type Err = NotAZone;

    fn from_str(text: &str) -> Result<Self, NotAZone> {
        if ["UTC", "Z"].contains(&text) {
            return Ok(Self::UTC);
        }
        let found = if text.starts_with(['+', '-']) { fixed(text).map(Kind::Fixed) } else { named(text) };
        found.map(Self).ok_or_else(|| NotAZone(text.chars().take(64).collect()))
    }
}

/// `+08:00` in seconds.
fn fixed(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes[at].is_ascii_digit().then(|| i32::from(bytes[at] - b'0'));
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let (hours, minutes) = (digit(1)? * 10 + digit(2)?, digit(4)? * 10 + digit(5)?);
    let seconds = (hours * 60 + minutes) * 60;
    (hours < 24 && minutes < 60).then_some(if bytes[0] == b'-' { -seconds } else { seconds })
}

fn named(name: &str) -> Option<Kind> {
    // What is looked up is a file's name on most systems.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'/');
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(plain);
    if !is_name || name.len() > 64 || name == "localtime" {
        return None;
    }
    Rules::find(name).map(|rules| Kind::Named(name.into(), rules))
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Utc, Kind::Utc) => true,
            (Kind::Fixed(a), Kind::Fixed(b)) => a == b,
            (Kind::Named(a, _), Kind::Named(b, _)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Utc => f.write_str("UTC"),
            Kind::Fixed(seconds) => {
                let (sign, minutes) = (if *seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            Kind::Named(name, _) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    fn start(zone: &str, date: &str) -> String {
        self::zone(zone).start_of(date.parse().unwrap()).to_string()
    }

    #[test]
    fn days_begin_at_midnight_on_the_wall_clock() {
        for (zone, date, expected) in [
            ("UTC", "2024-03-31", "2024-03-31T00:00:00Z"),
            ("+05:30", "2024-03-31", "2024-03-30T18:30:00Z"),
            ("-03:30", "2024-03-31", "2024-03-31T03:30:00Z"),
            // Clocks go forward on the 31st and back on the 27th, both at one o'clock UTC.
            ("Europe/Berlin", "2024-03-31", "2024-03-30T23:00:00Z"),
            ("Europe/Berlin", "2024-04-01", "2024-03-31T22:00:00Z"),
            ("Europe/Berlin", "2024-10-27", "2024-10-26T22:00:00Z"),
            ("Europe/Berlin", "2024-10-28", "2024-10-27T23:00:00Z"),
            // Midnight is left out: the clocks go from 24:00 to 1:00.
            ("America/Santiago", "2024-09-08", "2024-09-08T04:00:00Z"),
            ("Asia/Beirut", "2022-03-27", "2022-03-26T22:00:00Z"),
            // Midnight comes twice: the clocks go from 24:00 back to 23:00, and from 1:00 back to 0:00.
            ("America/Santiago", "2024-04-07", "2024-04-07T04:00:00Z"),
            ("America/Havana", "2024-11-03", "2024-11-03T04:00:00Z"),
            // A whole day is left out.
            ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(start(zone, date), expected, "{date} in {zone}");
        }
    }

    #[test]
    fn every_instant_lies_in_the_day_that_it_has_a_date_of() {
        for name in
            ["UTC", "Europe/Berlin", "America/Santiago", "America/Havana", "Australia/Lord_Howe", "+14:00"]
        {
            each_instant_in_its_day(name, "2023-12-25T00:00:00Z", 18_000);
        }
        // Where the clocks went back from 0:01 to 23:01, and where a day was left out.
        each_instant_in_its_day("America/St_Johns", "2006-10-01T00:00:00Z", 2_000);
        each_instant_in_its_day("Pacific/Apia", "2011-12-20T00:00:00Z", 1_000);
    }

    fn each_instant_in_its_day(name: &str, first: &str, count: i64) {
        let (zone, first): (_, Timestamp) = (zone(name), first.parse().unwrap());
        for half_hours in 0..count {
            let at = Timestamp::from_micros(first.as_micros() + half_hours * 1_800 * SECOND);
            let date = zone.date(at);
            let (start, end) = (zone.start_of(date), zone.start_of(date.succ_opt().unwrap()));
            assert!(start <= at && at < end, "{at} in {name}: {date} from {start} to {end}");
            let hour = zone.start_of_hour(at);
            assert!(hour <= at && at.as_micros() - hour.as_micros() < 3_600 * SECOND);
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for bad in
            ["", "Europe/Atlantis", "../../etc/passwd", "/etc/localtime", "localtime", "+8", "+24:00", "8"]
        {
            let error = bad.parse::<Zone>().unwrap_err().to_string();
            assert!(error.starts_with("not a time zone"), "{bad}: {error}");
        }
    }

    #[test]
    fn zones_read_back_what_they_write() {
        for name in ["UTC", "+05:30", "-03:30", "Europe/Berlin"] {
            let written = serde_json::to_string(&zone(name)).unwrap();
            assert_eq!(written, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Zone>(&written).unwrap(), zone(name));
        }
    }
}
