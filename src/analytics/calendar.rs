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

/// From the first of the instants that either lies between to the last.
pub(super) fn wider(own: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (own, other) {
        (Some((low, high)), Some((first, last))) => Some((low.min(first), high.max(last))),
        (own, other) => own.or(other),
    }
}

/// What the last of periods ends before.
const NEVER: i64 = i64::MAX;

/// Periods one after the other, without a gap.
#[derive(Debug, Clone)]
pub(super) struct Periods {
    /// The first instant of each, and of the one after the last.
    edges: Vec<i64>,
    /// Of each the first instant of the next; of the last, one that never comes.
    next: Vec<i64>,
    /// Stretches that are 2 to the power of `shift` long: no longer than a period where all are of about one length, so that
    /// each reaches into one more at most.
    stretches: Vec<Stretch>,
    shift: u32,
    /// Whether that is so of all.
    are_short: bool,
}

/// Periods at hand for finding those of many instants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finder<'p> {
    first: i64,
    next: &'p [i64],
    stretches: &'p [Stretch],
    shift: u32,
    are_short: bool,
}

impl Finder<'_> {
    /// Which period an instant lies in.
    #[inline]
    pub(super) fn of(&self, at: i64) -> usize {
        let Some(last) = self.stretches.len().checked_sub(1) else { return 0 };
        let since = at.saturating_sub(self.first).max(0) >> self.shift;
        let stretch = self.stretches[usize::try_from(since).map_or(last, |stretch| stretch.min(last))];
        // The next at most, where all are of about one length: that is added, and need not be guessed.
        let at = at.min(NEVER - 1);
        let mut period = stretch.period as usize + usize::from(stretch.next <= at);
        if !self.are_short {
            while self.next[period] <= at {
                period += 1;
            }
        }
        period
    }
}

/// The period in which a stretch of time begins, and the first instant of the next one.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    next: i64,
    period: u32,
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
        let Some((first, last)) = span else { return Ok(Self::between(Vec::new())) };
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
        Ok(Self::between(edges))
    }

    /// Those between instants that follow each other.
    fn between(edges: Vec<i64>) -> Self {
        let lengths = edges.windows(2).map(|edges| edges[1].saturating_sub(edges[0]).max(1));
        let whole = edges.last().map_or(0, |end| end.saturating_sub(edges[0])).unsigned_abs();
        let few = (whole / (4 * edges.len().max(1) as u64)).next_power_of_two().ilog2();
        let shift = lengths.min().map_or(0, i64::ilog2).max(few);
        let mut next = edges.get(1..).unwrap_or_default().to_vec();
        next.last_mut().into_iter().for_each(|last| *last = NEVER);
        let (mut found, mut period, mut are_short) = (Vec::new(), 0, true);
        if let [first, .., end] = edges[..] {
            let stretches = (0..=end.saturating_sub(first) >> shift).map(|stretch| stretch << shift);
            for start in stretches.map(|since| first.saturating_add(since).min(NEVER - 1)) {
                let before = period;
                while next[period as usize] <= start {
                    period += 1;
                }
                are_short &= period - before <= 1;
                found.push(Stretch { next: next[period as usize], period });
            }
        }
        are_short &= found.last().is_none_or(|last| last.period as usize + 2 >= next.len());
        Self { edges, next, stretches: found, shift, are_short }
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
        let last = scope.until.map(|until| until.as_micros().saturating_sub(1));
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
        Self::between(edges.unwrap_or_default().to_vec())
    }

    pub(super) fn len(&self) -> usize {
        self.edges.len().saturating_sub(1)
    }

    /// Which one an instant lies in; of one before all of them the first, of one after them the last.
    #[inline]
    pub(super) fn of(&self, at: i64) -> usize {
        self.finder().of(at)
    }

    /// The same at hand for many instants.
    #[inline]
    pub(super) fn finder(&self) -> Finder<'_> {
        let Self { edges, next, stretches, shift, are_short } = self;
        let first = edges.first().copied().unwrap_or_default();
        Finder { first, next, stretches, shift: *shift, are_short: *are_short }
    }

    /// The first instant of each, and of the one after the last.
    pub(super) fn edges(&self) -> &[i64] {
        &self.edges
    }

    pub(super) fn start(&self, period: usize) -> Timestamp {
        Timestamp::from_micros(self.edges[period])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However long they are.
        #[test]
        fn every_instant_lies_in_one_period(
            first in prop_oneof![Just(i64::MIN), -100_i64..100, Just(i64::MAX - 1_000), Just(i64::MAX - 5)],
            lengths in prop::collection::vec(prop_oneof![1_i64..10, 1_000_i64..2_000, any::<u64>().prop_map(|n| (n >> 3).cast_signed())], 0..30),
            at in any::<prop::sample::Index>(),
            beside in -2_i64..3,
        ) {
            let mut edges = vec![first];
            for length in lengths {
                edges.extend(edges[edges.len() - 1].checked_add(length.max(1)));
            }
            let at = edges[at.index(edges.len())].saturating_add(beside);
            let periods = Periods::between(edges.clone());
            let later = edges.partition_point(|edge| *edge <= at);
            prop_assert_eq!(periods.of(at), later.saturating_sub(1).min(periods.len().saturating_sub(1)));
            prop_assert!(periods.stretches.len() <= 8 * edges.len() + 1);
        }
    }

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
