//! How many identifiers a profile may hold, and whose a shared device is.

use std::fmt;

use chrono::{Datelike, Days, NaiveDate};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::error::DefinitionError;
use crate::id::Namespace;

/// The period of event time that a limit on identifiers is for: calendar periods in UTC, weeks from Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// All identifiers of the profile, whenever they were first seen.
    #[default]
    Ever,
    /// Those that were first seen on one day.
    Day,
    /// Those that were first seen in one week.
    Week,
    /// Those that were first seen in one month.
    Month,
    /// Those that were first seen in one year.
    Year,
}

/// Whose the anonymous events of a device are that several users share: those that bear no identifier but
/// `anonymous_id`, `device_id` or `advertising_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedDevice {
    /// The one's with whom the identity graph holds the device: the first who was seen on it.
    #[default]
    First,
    /// The one's who was last seen on it before the event's time, whenever the events that say so arrive.
    Last,
    /// Nobody's: the device gets a profile of its own once a second user shows.
    None,
}

/// How many identifiers of a namespace a profile may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) max: u32,
    pub(crate) per: Period,
}

/// How many identifiers of `to` a profile may hold that holds any of `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PairLimit {
    pub(crate) from: Namespace,
    pub(crate) to: Namespace,
    pub(crate) max: u32,
}

/// A day of event time: days since 1970-01-01, which reach until 2149. Events end in 2100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Day(pub(crate) u16);

impl Day {
    /// Later than every event.
    pub(crate) const NEVER: Self = Self(u16::MAX);

    /// The day of an instant, in UTC.
    pub(crate) fn of(at: Timestamp) -> Self {
        const DAY: i64 = 86_400_000_000;
        Self(u16::try_from(at.as_micros().div_euclid(DAY)).unwrap_or(if at.as_micros() < 0 {
            0
        } else {
            u16::MAX
        }))
    }
}

impl Period {
    /// The number of the period that a day falls in: two days of one period have the same.
    pub(crate) fn of(self, day: Day) -> u32 {
        let date = || NaiveDate::default().checked_add_days(Days::new(u64::from(day.0))).unwrap_or_default();
        match self {
            Self::Ever => 0,
            Self::Day => u32::from(day.0),
            // 1970-01-01 was a Thursday.
            Self::Week => (u32::from(day.0) + 3) / 7,
            Self::Month => date().year().unsigned_abs() * 12 + date().month0(),
            Self::Year => date().year().unsigned_abs(),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ever => "ever",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    pub(super) fn read(path: &str, text: &str) -> Result<Self, DefinitionError> {
        let all = [Self::Ever, Self::Day, Self::Week, Self::Month, Self::Year];
        all.into_iter().find(|period| period.as_str() == text).ok_or_else(|| {
            let reason = format!("unknown period {text:?}, expected ever, day, week, month or year");
            DefinitionError::new(path, reason)
        })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SharedDevice {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
            Self::None => "none",
        }
    }

    pub(super) fn read(text: &str) -> Result<Self, DefinitionError> {
        let found = [Self::First, Self::Last, Self::None].into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| {
            let reason = format!("expected first, last or none, found {text:?}");
            DefinitionError::new("shared_device", reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::of(text.parse().unwrap())
    }

    #[test]
    fn periods_are_those_of_the_calendar() {
        let same = |period: Period, a: &str, b: &str| {
            let at = |date: &str| period.of(day(&format!("{date}T12:00:00Z")));
            at(a) == at(b)
        };
        assert!(same(Period::Ever, "1970-01-01", "2099-12-31"));
        assert!(!same(Period::Day, "2024-02-28", "2024-02-29"));
        // A Monday and the Sunday after it; the first of January may be of the week of last year.
        assert!(same(Period::Week, "2024-12-30", "2025-01-05"));
        assert!(!same(Period::Week, "2025-01-05", "2025-01-06"));
        assert!(same(Period::Week, "1970-01-01", "1970-01-04"));
        assert!(!same(Period::Week, "1970-01-04", "1970-01-05"));
        assert!(same(Period::Month, "2024-02-01", "2024-02-29"));
        assert!(!same(Period::Month, "2024-02-29", "2024-03-01"));
        assert!(!same(Period::Month, "2023-02-01", "2024-02-01"));
        assert!(same(Period::Year, "2024-01-01", "2024-12-31"));
        assert!(!same(Period::Year, "2023-12-31", "2024-01-01"));
    }

    #[test]
    fn every_instant_of_an_event_has_a_day_of_its_own() {
        assert_eq!(day("1970-01-01T23:59:59Z"), Day(0));
        assert_eq!(day("1970-01-02T00:00:00Z"), Day(1));
        assert!(Day::of(Timestamp::END) < Day::NEVER);
    }
}
