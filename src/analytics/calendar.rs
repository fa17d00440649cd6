//! Periods on the calendar: hours, days, weeks and months in a zone.

use std::ops::Range;

use chrono::{Datelike, Days, Months, NaiveDate};

use super::read::{Result, word, word_of};
use super::scope::Scope;
use crate::clock::{Span, Timestamp, Zone};
use crate::error::DefinitionError;
use crate::value::Value;

/// How long a period is.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interval {
    /// An hour on the wall clock.
    Hour,
    /// A day of the calendar, which has 23 or 25 hours where the clocks change.
    Day,
    /// A week from Monday to Sunday.
    Week,
    /// A month of the calendar.
    Month,
}

const WORDS: [(&str, Interval); 4] =
    [("hour", Interval::Hour), ("day", Interval::Day), ("week", Interval::Week), ("month", Interval::Month)];

impl Interval {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        word_of(&self, &WORDS)
    }

    pub(super) fn read(value: &Value, path: &str) -> Result<Self> {
        word(value, path, &WORDS)
    }

    /// Days, weeks and months.
    pub(super) fn read_days(value: &Value, path: &str) -> Result<Self> {
        word(value, path, &WORDS[1..])
    }

    /// The first instant of the period in which `at` lies.
    pub(super) fn start(self, at: Timestamp, zone: &Zone) -> Timestamp {
        match self {
            Self::Hour => zone.start_of_hour(at),
            _ => zone.start_of(self.first_day(zone.date(at))),
        }
    }

    /// The first instant of the period after that one which begins at `start`.
    fn next(self, start: Timestamp, zone: &Zone) -> Timestamp {
        if self == Self::Hour {
            let hour = Span::from_micros(3_600_000_000);
            let next = zone.start_of_hour(start.after(hour));
            return if next > start { next } else { start.after(hour) };
        }
        // The day that begins then: where days are left out, none of those.
        let first = self.first_day(zone.date(start));
        let later = match self {
            Self::Hour | Self::Day => first.checked_add_days(Days::new(1)),
            Self::Week => first.checked_add_days(Days::new(7)),
            Self::Month => first.checked_add_months(Months::new(1)),
        };
        zone.start_of(later.unwrap_or(NaiveDate::MAX))
    }

    /// The first day of the period in which a day lies.
    fn first_day(self, date: NaiveDate) -> NaiveDate {
        let back = match self {
            Self::Hour | Self::Day => 0,
            Self::Week => date.weekday().num_days_from_monday(),
            Self::Month => date.day0(),
        };
        date.checked_sub_days(Days::new(back.into())).unwrap_or(NaiveDate::MIN)
    }
}

/// Periods one after the other, without a gap.
#[derive(Debug, Clone)]
pub(super) struct Periods {
    /// The first instant of each, and of the one after the last.
    edges: Vec<i64>,
    /// How many of them 2⁶⁴ microseconds are, about.
    each: u64,
}

impl Periods {
    /// How many there may be.
    pub(super) const MOST: usize = 100_000;

    /// Those in which the instants from `first` to `last` lie, both included; none if there are no instants.
    pub(super) fn covering(
        interval: Interval,
        zone: &Zone,
        span: Option<(i64, i64)>,
        member: &str,
    ) -> Result<Self> {
        let Some((first, last)) = span else { return Ok(Self { edges: Vec::new(), each: 0 }) };
        let mut edge = interval.start(Timestamp::from_micros(first), zone);
        let mut edges = vec![edge.as_micros()];
        while edge.as_micros() <= last {
            if edges.len() > Self::MOST {
                let reason = format!(
                    "more than {} periods of one {} in the range, say \"from\" and \"until\" or take longer ones",
                    Self::MOST,
                    interval.as_str()
                );
                return Err(DefinitionError::new(member, reason));
            }
            edge = interval.next(edge, zone);
            edges.push(edge.as_micros());
        }
        let whole = edges.last().map_or(0, |end| end.saturating_sub(edges[0])).max(1);
        let each = ((edges.len() - 1) as u128) << u64::BITS;
        let each = u64::try_from(each / u128::from(whole.unsigned_abs())).unwrap_or(u64::MAX);
        Ok(Self { edges, each })
    }

    /// Those of the range of a question; where it has no end, up to the last instant of `span`, and likewise for its
    /// beginning.
    pub(super) fn asked(
        interval: Interval,
        zone: &Zone,
        scope: &Scope,
        span: Option<(i64, i64)>,
    ) -> Result<Self> {
        let from = scope.from.map(Timestamp::as_micros);
        let last = scope.until.map(|until| until.as_micros() - 1);
        let whole = match (from.or(span.map(|(first, _)| first)), last.or(span.map(|(_, last)| last))) {
            (Some(first), Some(last)) if first <= last => Some((first, last)),
            _ => None,
        };
        Self::covering(interval, zone, whole, "interval")
    }

    /// Where others are among these, if they are, one after the other.
    pub(super) fn find(&self, others: &Self) -> Option<Range<usize>> {
        let Some(first) = others.edges.first() else { return Some(0..0) };
        let start = self.edges.binary_search(first).ok()?;
        let found = self.edges.get(start..start + others.edges.len())?;
        (found == others.edges).then_some(start..start + others.len())
    }

    /// Some of these.
    pub(super) fn some(&self, which: Range<usize>) -> Self {
        let edges = self.edges.get(which.start..=which.end).filter(|_| !which.is_empty());
        Self { edges: edges.unwrap_or_default().to_vec(), each: self.each }
    }

    pub(super) fn len(&self) -> usize {
        self.edges.len().saturating_sub(1)
    }

    /// Which one an instant lies in, of those that are covered.
    #[expect(clippy::cast_possible_truncation, reason = "the upper half of a product fits")]
    pub(super) fn of(&self, at: i64) -> usize {
        let Some(first) = self.edges.first() else { return 0 };
        let last = self.len().saturating_sub(1);
        // Periods are of about one length, so the first guess is right or next to it.
        let since = u128::from(at.saturating_sub(*first).max(0).unsigned_abs());
        let guess = (since * u128::from(self.each)) >> u64::BITS;
        let mut found = (guess as usize).min(last);
        while found > 0 && self.edges[found] > at {
            found -= 1;
        }
        while found < last && self.edges[found + 1] <= at {
            found += 1;
        }
        found
    }

    pub(super) fn start(&self, period: usize) -> Timestamp {
        Timestamp::from_micros(self.edges[period])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn periods(interval: Interval, zone: &str, first: &str, last: &str) -> Vec<String> {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_micros();
        let zone = zone.parse().unwrap();
        let periods = Periods::covering(interval, &zone, Some((at(first), at(last))), "interval").unwrap();
        for (period, edges) in periods.edges.windows(2).enumerate() {
            assert_eq!((periods.of(edges[0]), periods.of(edges[1] - 1)), (period, period));
        }
        (0..periods.len()).map(|period| periods.start(period).to_string()).collect()
    }

    #[test]
    fn weeks_start_on_monday_and_months_on_their_first() {
        assert_eq!(
            periods(Interval::Week, "UTC", "2024-12-29T12:00:00Z", "2025-01-06T00:00:00Z"),
            ["2024-12-23T00:00:00Z", "2024-12-30T00:00:00Z", "2025-01-06T00:00:00Z"]
        );
        assert_eq!(
            periods(Interval::Month, "UTC", "2024-01-31T23:59:59Z", "2024-03-01T00:00:00Z"),
            ["2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"]
        );
        assert_eq!(
            periods(Interval::Month, "Asia/Shanghai", "2024-01-31T16:00:00Z", "2024-02-01T00:00:00Z"),
            ["2024-01-31T16:00:00Z"]
        );
    }

    #[test]
    fn days_and_hours_follow_the_wall_clock_through_its_changes() {
        let days = periods(Interval::Day, "Europe/Berlin", "2024-03-30T12:00:00Z", "2024-04-01T12:00:00Z");
        assert_eq!(days, ["2024-03-29T23:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"]);
        let hours = |zone, first, last| periods(Interval::Hour, zone, first, last).len();
        assert_eq!(hours("Europe/Berlin", "2024-03-30T23:00:00Z", "2024-03-31T21:59:59Z"), 23);
        assert_eq!(hours("Europe/Berlin", "2024-10-26T22:00:00Z", "2024-10-27T22:59:59Z"), 25);
        assert_eq!(
            periods(Interval::Hour, "Asia/Kolkata", "2024-01-01T00:00:00Z", "2024-01-01T00:30:00Z"),
            ["2023-12-31T23:30:00Z", "2024-01-01T00:30:00Z"]
        );
        // A day that a zone leaves out is no period.
        let days = periods(Interval::Day, "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z");
        assert_eq!(days, ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"]);
    }

    #[test]
    fn too_many_periods_are_refused() {
        let error =
            Periods::covering(Interval::Hour, &Zone::UTC, Some((0, i64::MAX / 4)), "interval").unwrap_err();
        assert!(error.to_string().starts_with("interval: more than 100000 periods of one hour"), "{error}");
    }
}
