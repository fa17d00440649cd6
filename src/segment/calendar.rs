//! What depends on a calendar: anniversaries, whole days and weeks, as they are in a time zone.

use chrono::{Datelike, Days, NaiveDate};

use crate::clock::{Span, Timestamp, Zone};
use crate::profile::Verdict;
use crate::value::Comparable;

const DAY: i64 = 86_400_000_000;
const WEEK: i64 = 7 * DAY;
/// 1970-01-01 was a Thursday: so many days later a week begins.
const FIRST_MONDAY: i64 = 4;

/// The days since 1970-01-01.
fn days_of(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

fn date_of_day(day: i64) -> NaiveDate {
    let (back, days) = (day < 0, Days::new(day.unsigned_abs()));
    let date = NaiveDate::default();
    let moved = if back { date.checked_sub_days(days) } else { date.checked_add_days(days) };
    moved.unwrap_or(if back { NaiveDate::MIN } else { NaiveDate::MAX })
}

/// Which period of that length an instant lies in: calendar days for whole days, weeks from Monday for whole weeks, and
/// else counted from 1970 on.
pub(super) fn period_of(at: Timestamp, every: Span, zone: &Zone) -> i64 {
    let micros = every.as_micros().max(1);
    if micros % WEEK == 0 {
        return (days_of(zone.date(at)) - FIRST_MONDAY).div_euclid(micros / DAY);
    }
    if micros % DAY == 0 {
        return days_of(zone.date(at)).div_euclid(micros / DAY);
    }
    at.as_micros().div_euclid(micros)
}

/// Whether periods of that length are those of the calendar.
pub(super) fn is_of_calendar(every: Span) -> bool {
    every.as_micros() % DAY == 0
}

/// When a period begins.
pub(super) fn start_of_period(period: i64, every: Span, zone: &Zone) -> Timestamp {
    let micros = every.as_micros().max(1);
    if micros % DAY == 0 {
        let shift = if micros % WEEK == 0 { FIRST_MONDAY } else { 0 };
        return zone.start_of(date_of_day(period.saturating_mul(micros / DAY).saturating_add(shift)));
    }
    Timestamp::from_micros(period.saturating_mul(micros))
}

/// The first instant of the day that is so many whole days, and one more, after that of `at`.
pub(super) fn start_of_day_after(at: Timestamp, days: u64, zone: &Zone) -> Timestamp {
    let day = zone.date(at).checked_add_days(Days::new(days.saturating_add(1)));
    zone.start_of(day.unwrap_or(NaiveDate::MAX))
}

/// The month and day of a value: of an instant in the zone, or of a date as it is written (`1990-05-20`, `--05-20` or
/// `05-20`).
pub(super) fn date_of(value: &Comparable<'_>, zone: &Zone) -> Option<(u32, u32)> {
    let text = match value {
        Comparable::Time(time, _) => {
            let date = zone.date(*time);
            return Some((date.month(), date.day()));
        }
        Comparable::Text(text) => text.trim(),
        _ => return None,
    };
    let short = text.strip_prefix("--").unwrap_or(text);
    let (year, rest) = match short.len() {
        10 => (short.get(..4)?, short.get(4..)?.strip_prefix('-')?),
        5 => ("2000", short),
        _ => return None,
    };
    let (month, day) = rest.split_once('-').filter(|(month, day)| month.len() == 2 && day.len() == 2)?;
    let date = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
    Some((date.month(), date.day()))
}

/// The day of that year on which an anniversary falls; 29 February falls on 28 February in other years.
fn falls_on(year: i32, (month, day): (u32, u32)) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month, day).or_else(|| NaiveDate::from_ymd_opt(year, month, day - 1))
}

/// Whether an anniversary falls on one of so many days, beginning with today.
pub(super) fn anniversary(date: (u32, u32), days: u32, now: Timestamp, zone: &Zone) -> Verdict {
    let today = zone.date(now);
    let next = [today.year(), today.year() + 1].into_iter().filter_map(|year| falls_on(year, date));
    let Some(next) = next.filter(|next| *next >= today).min() else { return Verdict::always(false) };
    let (today, next) = (days_of(today), days_of(next));
    let days = i64::from(days);
    let holds = next - today < days;
    let change = if holds { next + 1 } else { next - days + 1 };
    Verdict::until(holds, Some(zone.start_of(date_of_day(change))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{days, hours, weeks};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_anniversary_is_near_from_so_many_days_before_until_its_day_is_over() {
        let may_20 = (5, 20);
        for (now, days, holds, until) in [
            ("2024-05-20T00:00:00Z", 1, true, "2024-05-21T00:00:00Z"),
            ("2024-05-20T23:59:59Z", 1, true, "2024-05-21T00:00:00Z"),
            ("2024-05-21T00:00:00Z", 1, false, "2025-05-20T00:00:00Z"),
            ("2024-05-14T12:00:00Z", 7, true, "2024-05-21T00:00:00Z"),
            ("2024-05-13T23:59:59Z", 7, false, "2024-05-14T00:00:00Z"),
            ("2024-12-31T12:00:00Z", 7, false, "2025-05-14T00:00:00Z"),
        ] {
            assert_eq!(
                anniversary(may_20, days, at(now), &Zone::UTC),
                Verdict::until(holds, Some(at(until))),
                "{now}"
            );
        }
        let new_year = (1, 1);
        assert!(
            anniversary(new_year, 2, at("2023-12-31T10:00:00Z"), &Zone::UTC).holds,
            "over the end of the year"
        );
    }

    #[test]
    fn the_29th_of_february_falls_on_the_28th_in_other_years() {
        let leap = (2, 29);
        for (now, holds) in [
            ("2023-02-28T10:00:00Z", true),
            ("2023-03-01T10:00:00Z", false),
            ("2024-02-28T10:00:00Z", false),
            ("2024-02-29T10:00:00Z", true),
            ("2100-02-28T10:00:00Z", true),
        ] {
            assert_eq!(anniversary(leap, 1, at(now), &Zone::UTC).holds, holds, "{now}");
        }
    }

    #[test]
    fn dates_are_read_as_they_are_written_and_instants_in_the_zone() {
        let within = |text: &str, zone: &Zone| date_of(&Comparable::of(&text.into(), false).unwrap(), zone);
        let read = |text: &str| within(text, &Zone::UTC);
        for text in [
            "1990-05-20",
            " 1990-05-20",
            "--05-20",
            "05-20",
            "1990-05-20T23:00:00Z",
            "1990-05-21T01:00:00+02:00",
        ] {
            assert_eq!(read(text), Some((5, 20)), "{text}");
        }
        assert_eq!(read("02-29"), Some((2, 29)));
        let far_east = "+14:00".parse().unwrap();
        assert_eq!(within("1990-05-20T23:00:00Z", &far_east), Some((5, 21)));
        assert_eq!(within("1990-05-20", &far_east), Some((5, 20)));
        for text in ["1990-02-30", "1990-5-20", "20.05.1990", "", "yesterday", "1990-05-20x", "é990-05-20"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn periods_are_days_of_the_calendar_and_weeks_from_monday() {
        for (instant, every, start) in [
            ("2024-05-01T12:34:56Z", days(1), "2024-05-01T00:00:00Z"),
            ("2024-05-01T12:34:56Z", weeks(1), "2024-04-29T00:00:00Z"),
            ("2024-04-29T00:00:00Z", weeks(1), "2024-04-29T00:00:00Z"),
            ("1970-01-01T00:00:00Z", weeks(1), "1969-12-29T00:00:00Z"),
            ("2024-05-01T12:34:56Z", hours(6), "2024-05-01T12:00:00Z"),
        ] {
            let start_of = |zone: &Zone| start_of_period(period_of(at(instant), every, zone), every, zone);
            assert_eq!(start_of(&Zone::UTC), at(start), "{instant}");
        }
    }
}
