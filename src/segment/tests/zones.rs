//! Birthdays and whole periods in zones whose clocks change, against offsets written down by hand.

use chrono::{DateTime, Datelike, Days, NaiveDate};
use proptest::prelude::{
    BoxedStrategy, Just, ProptestConfig, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use serde_json::{Value, json};

use super::*;
use crate::{Zone, weeks};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// A change of the clocks: the zone, when, and the minutes east of Greenwich before and after.
type Change = (&'static str, &'static str, i64, i64);

const CHANGES: [Change; 9] = [
    ("UTC", "2024-03-01T00:00:00Z", 0, 0),
    ("Asia/Kathmandu", "2024-03-01T00:00:00Z", 345, 345),
    // From 2:00 to 3:00, and from 3:00 to 2:00: days of 23 and of 25 hours.
    ("Europe/Berlin", "2024-03-31T01:00:00Z", 60, 120),
    ("Europe/Berlin", "2024-10-27T01:00:00Z", 120, 60),
    // From 0:00 to 1:00: a day that does not begin at midnight; and from 24:00 to 23:00.
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z", -180, -120),
    ("America/Sao_Paulo", "2019-02-17T02:00:00Z", -120, -180),
    // From 0:00 to 0:15, on New Year's Day.
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z", 330, 345),
    // From 0:01 on a Sunday to 23:01 on the Saturday.
    ("America/St_Johns", "2006-10-29T02:31:00Z", -150, -210),
    // From 24:00 on a Thursday to 0:00 on the Saturday: there was no Friday, 30 December.
    ("Pacific/Apia", "2011-12-30T10:00:00Z", -600, 840),
];

fn micros(change: Change) -> i64 {
    change.1.parse::<Timestamp>().unwrap().as_micros()
}

/// What the clock on the wall shows, counted in days.
fn wall(at: i64, offset: i64) -> NaiveDate {
    DateTime::from_timestamp_micros(at + offset * MINUTE).unwrap().date_naive()
}

/// The day that an instant belongs to: the latest that the clock on the wall has shown.
fn naive_day(change: Change, at: i64) -> NaiveDate {
    let (changed, (.., before, after)) = (micros(change), change);
    if at < changed { wall(at, before) } else { wall(changed - 1, before).max(wall(at, after)) }
}

fn naive_anniversary(change: Change, (month, day): (u32, u32), days: u32, now: i64) -> bool {
    let today = naive_day(change, now);
    (0..days).map(|n| today + Days::new(n.into())).any(|date| {
        let is_leap_day_moved = (month, day) == (2, 29) && !date.leap_year();
        (date.month(), date.day()) == if is_leap_day_moved { (2, 28) } else { (month, day) }
    })
}

/// In how many of the `of` whole periods of so many days before the present one there are events. Weeks begin on Mondays.
fn naive_periods(change: Change, events: &[i64], (days, of): (i64, i64), now: i64) -> usize {
    let monday = if days % 7 == 0 { 4 } else { 0 };
    let period = |at| {
        let date = naive_day(change, at);
        (date.signed_duration_since(NaiveDate::default()).num_days() - monday).div_euclid(days)
    };
    let now = period(now);
    let mut periods: Vec<i64> = events.iter().map(|at| period(*at)).collect();
    periods.sort_unstable();
    periods.dedup();
    periods.into_iter().filter(|period| (now - of..now).contains(period)).count()
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// An instant around the change: up to so many days away, or just at midnight or the change.
fn around(days: i64) -> BoxedStrategy<i64> {
    let any = -days * 1_440..days * 1_440;
    prop_oneof![3 => any.prop_map(|minutes| minutes * MINUTE), 1 => (-1..2_i64, -3..3_i64).prop_map(|(micro, hours)| micro + hours * 30 * MINUTE)]
        .boxed()
}

/// A birthday near the change, as a date or as an instant.
fn birthday() -> BoxedStrategy<(i64, bool)> {
    (-12..12_i64, prop_oneof![Just(true), Just(false)]).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_birthday_is_near_as_long_as_the_calendar_of_the_zone_says(
        change in prop::sample::select(CHANGES.to_vec()),
        (days_off, as_instant) in birthday(),
        hour in 0..24_i64,
        days in 1..10_u32,
        now in around(12),
    ) {
        let (zone, changed) = (change.0.parse::<Zone>().unwrap(), micros(change));
        let born = changed + days_off * DAY + hour * 60 * MINUTE;
        let date = if as_instant { naive_day(change, born) } else { wall(born, change.2) };
        let value = if as_instant { Value::from(at(born)) } else { json!(date.to_string()) };
        let person = History { traits: json!({"b": value}).as_object().cloned().unwrap(), zone, ..History::default() };
        let condition = crate::has_trait("b").anniversary_within(days);
        let naive = |now| naive_anniversary(change, (date.month(), date.day()), days, now);
        let now = changed + now;
        let verdict = evaluate(&condition, &person, at(now));
        prop_assert_eq!(verdict.holds, naive(now));
        let until = verdict.until.unwrap().as_micros();
        prop_assert!(until > now);
        // Beyond that the offsets written down are not those of the zone.
        let last = until.min(changed + 40 * DAY);
        let steps = (now..last).step_by(usize::try_from(60 * MINUTE).unwrap());
        for later in steps.chain([last - 1]) {
            prop_assert_eq!(naive(later), verdict.holds, "at {}", at(later));
        }
        let is_left_out = change.0 == "Pacific/Apia" && (date.month(), date.day()) == (12, 30);
        if until == last && !is_left_out {
            prop_assert_eq!(naive(until), !verdict.holds, "nobody is woken in vain");
        }
        let account = crate::has_account(crate::has_trait("b").anniversary_within(days));
        let member = History { accounts: vec![History { zone: Zone::UTC, ..person.clone() }], ..person };
        prop_assert_eq!(evaluate(&account, &member, at(now)), verdict, "an account's calendar is its person's");
    }

    #[test]
    fn whole_periods_are_those_of_the_calendar_of_the_zone(
        change in prop::sample::select(CHANGES.to_vec()),
        events in prop::collection::vec(around(9), 0..8),
        every in 1..4_u32,
        is_weeks in prop_oneof![3 => Just(false), 1 => Just(true)],
        of in 1..8_u64,
        wanted in 1..4_u64,
        now in around(9),
    ) {
        let (zone, changed) = (change.0.parse::<Zone>().unwrap(), micros(change));
        let (events, now): (Vec<i64>, i64) = (events.iter().map(|at| changed + at).collect(), changed + now);
        let mut past: Vec<PastEvent> = events.iter().map(|micros| event("A", at(*micros), &json!({}))).collect();
        past.sort_by_key(|event| event.at);
        let person = History { events: past, zone, ..History::default() };
        let span = if is_weeks { weeks(every) } else { days(every) };
        let length = i64::from(every) * if is_weeks { 7 } else { 1 };
        let condition = crate::did("A").in_periods(wanted, of, span);
        let naive = |now| naive_periods(change, &events, (length, i64::try_from(of).unwrap()), now) as u64 >= wanted;
        let verdict = evaluate(&condition, &person, at(now));
        prop_assert_eq!(verdict.holds, naive(now));
        let until = verdict.until.map_or(i64::MAX, Timestamp::as_micros);
        prop_assert!(until > now);
        let last = until.min(changed + 30 * DAY);
        let steps = (now..last).step_by(usize::try_from(60 * MINUTE).unwrap());
        for later in steps.chain([last - 1]) {
            prop_assert_eq!(naive(later), verdict.holds, "at {}", at(later));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn scores_and_each_part_of_them_stand_as_long_as_they_say(
        change in prop::sample::select(CHANGES.to_vec()),
        events in prop::collection::vec((around(9), 1..50_i64), 0..8),
        within in prop::option::of(1..9_u32),
        now in around(9),
    ) {
        let (zone, changed) = (change.0.parse::<Zone>().unwrap(), micros(change));
        let now = changed + now;
        let mut past: Vec<PastEvent> =
            events.iter().map(|(micros, n)| event("A", at(changed + micros), &json!({"n": n}))).collect();
        past.sort_by_key(|event| event.at);
        let events = within.map_or(crate::did("A"), |n| crate::did("A").within(days(n)));
        let bounds = RfmBounds::default().recency_days([0, 1, 3, 5]).frequency([4, 3, 2, 1]).monetary([90, 50, 30, 10]);
        let rfm = ComputedTrait::rfm("rfm", events, "n", bounds);
        let compute = |now| rfm.compute(&past, at(now), &zone);
        let found = compute(now);
        // What the calendar written down says.
        let begin = within.map_or(i64::MIN, |n| now - i64::from(n) * DAY);
        let counted: Vec<_> = past.iter().filter(|event| event.at.as_micros() > begin && event.at.as_micros() <= now).collect();
        let expected = counted.last().map(|last| {
            let ago = naive_day(change, now).signed_duration_since(naive_day(change, last.at.as_micros())).num_days();
            let sum: i64 = counted.iter().filter_map(|event| event.properties["n"].as_i64()).sum();
            let score = |met: [bool; 4]| met.iter().position(|met| *met).map_or(1, |place| 5 - place);
            json!([ago, counted.len(), sum, score([0, 1, 3, 5].map(|most| ago <= most)),
                score([4, 3, 2, 1].map(|least| counted.len() >= least)), score([90, 50, 30, 10].map(|least| sum >= least))])
        });
        let figures = |value: &Value| json!(["recency_days", "frequency", "monetary", "r", "f", "m"].map(|name| &value[name]));
        prop_assert_eq!(found.value.as_ref().map(figures), expected);
        let steps = (now..changed + 20 * DAY).step_by(usize::try_from(60 * MINUTE).unwrap());
        let before = |until: Option<Timestamp>| until.map(|until| until.as_micros() - 1);
        for later in steps.chain(before(found.until)).chain(found.parts.values().copied().filter_map(before)) {
            let stands = |until: Option<Timestamp>| until.is_none_or(|until| later < until.as_micros());
            let then = compute(later).value;
            if stands(found.until) {
                prop_assert_eq!(&then, &found.value, "at {}", at(later));
            }
            for (name, until) in found.parts.iter().filter(|(_, until)| stands(**until)) {
                prop_assert!(*until >= found.until || until.is_none());
                let part = |value: &Option<Value>| value.as_ref().map(|value| value[name].clone());
                prop_assert_eq!(part(&then), part(&found.value), "{} at {}", name, at(later));
            }
        }
        prop_assert!(found.until.is_none_or(|until| until > at(now)));
    }
}

#[test]
fn a_day_that_the_calendar_leaves_out_is_nobodys_birthday() {
    let person = |zone: &str| History {
        traits: json!({"b": "1990-12-30"}).as_object().cloned().unwrap(),
        zone: zone.parse().unwrap(),
        ..History::default()
    };
    let today = crate::has_trait("b").anniversary_within(1);
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let verdict = evaluate(&today, &person("Pacific/Apia"), time("2011-12-30T09:00:00Z"));
    assert_eq!(verdict, Verdict::until(false, Some(time("2011-12-30T10:00:00Z"))));
    let verdict = evaluate(&today, &person("Pacific/Apia"), time("2011-12-30T10:00:00Z"));
    assert_eq!(verdict, Verdict::until(false, Some(time("2012-12-29T10:00:00Z"))));
    let verdict = evaluate(&today, &person("UTC"), time("2011-12-30T10:00:00Z"));
    assert_eq!(verdict, Verdict::until(true, Some(time("2011-12-31T00:00:00Z"))));
}
