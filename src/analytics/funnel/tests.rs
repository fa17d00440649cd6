use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::{hours, minutes};
use crate::segment::did;

const A: Mask = 1;
const B: Mask = 2;
const C: Mask = 4;
/// The first exclusion of a funnel of three steps.
const X: Mask = 8;

fn rules(steps: usize, within: i64) -> Rules {
    Rules {
        steps,
        mode: FunnelMode::Ordered,
        within: Some(within),
        strictly_increasing: true,
        exclude: Vec::new(),
    }
}

/// How many steps one person gets through, and when each was reached.
fn best(rules: &Rules, events: &[(i64, Mask)]) -> Vec<i64> {
    let rows: Vec<Row> = events.iter().map(|(at, mask)| Row { who: 0, at: *at, mask: *mask }).collect();
    let mut finder = Finder::default();
    let best = rules.best(&rows, &mut finder).map(|_| finder.times().to_vec()).unwrap_or_default();
    // A history of many events is looked through in another way, and says the same: here it has begun long before, with
    // events that are no step.
    let before = Row { who: 0, at: i64::MIN, mask: 0 };
    let long: Vec<Row> = std::iter::repeat_n(before, 100).chain(rows).collect();
    let again = rules.best(&long, &mut finder).map(|_| finder.times().to_vec()).unwrap_or_default();
    assert_eq!(best, again);
    best
}

#[test]
fn steps_count_in_order_and_within_the_window_that_begins_with_the_first() {
    let three = rules(3, 10);
    assert!(best(&three, &[]).is_empty());
    assert!(best(&three, &[(0, B), (1, C)]).is_empty());
    assert_eq!(
        best(&three, &[(0, A), (3, B), (10, C)]),
        [0, 3, 10],
        "the last instant of the window is in it"
    );
    assert_eq!(best(&three, &[(0, A), (3, B), (11, C)]), [0, 3]);
    assert_eq!(best(&three, &[(0, A), (1, C), (2, B)]), [0, 2]);
    assert_eq!(
        best(&three, &[(0, A), (6, B), (8, A), (9, B), (14, C)]),
        [8, 9, 14],
        "a later attempt gets further"
    );
    assert_eq!(best(&three, &[(0, A), (1, A), (2, B), (3, C)]), [0, 2, 3], "of attempts as far the earliest");
    assert_eq!(best(&three, &[(0, A), (2, B), (5, A), (6, B)]), [0, 2]);
    let unlimited = Rules { within: None, ..three };
    assert_eq!(best(&unlimited, &[(0, A), (1, B), (i64::MAX, C)]), [0, 1, i64::MAX]);
}

#[test]
fn events_of_one_instant_are_steps_after_each_other_only_where_that_is_allowed() {
    let strictly = rules(3, 10);
    assert_eq!(best(&strictly, &[(0, A), (0, B), (1, C)]), [0]);
    assert_eq!(best(&strictly, &[(0, A), (0, B), (1, B), (2, C)]), [0, 1, 2]);
    let loosely = Rules { strictly_increasing: false, ..rules(3, 10) };
    assert_eq!(best(&loosely, &[(0, A), (0, B), (1, C)]), [0, 0, 1]);
    assert_eq!(best(&loosely, &[(0, B), (0, A), (1, C)]), [0], "they keep the order of their message ids");
    assert_eq!(best(&loosely, &[(0, A | B), (1, C)]), [0], "one event is one step");
    assert_eq!(best(&loosely, &[(0, A | B), (0, A | B), (1, C)]), [0, 0, 1]);
}

#[test]
fn a_step_that_is_repeated_takes_an_event_of_its_own() {
    // View, view, order: the first two steps are met by the same events.
    let twice = rules(3, 10);
    assert_eq!(best(&twice, &[(0, A | B), (5, C)]), [0]);
    assert_eq!(best(&twice, &[(0, A | B), (4, A | B), (5, C)]), [0, 4, 5]);
    let any = Rules { mode: FunnelMode::AnyOrder, ..twice };
    assert_eq!(best(&any, &[(0, A | B), (5, C)]), [0, 5]);
    assert_eq!(best(&any, &[(0, C), (4, A | B), (5, A | B)]), [0, 4, 5]);
}

#[test]
fn an_excluded_event_between_two_steps_ends_the_attempt_at_the_step_reached() {
    let between = |after, before| Rules { exclude: vec![(after, before)], ..rules(3, 10) };
    let whole = between(1, 3);
    assert_eq!(best(&whole, &[(0, A), (1, X), (2, B), (3, C)]), [0]);
    assert_eq!(best(&whole, &[(0, A), (1, B), (2, X), (3, C)]), [0, 1]);
    assert_eq!(
        best(&whole, &[(0, X), (1, A), (2, B), (3, C), (4, X)]),
        [1, 2, 3],
        "before and after is not between"
    );
    assert_eq!(
        best(&whole, &[(0, A), (1, X), (2, A), (3, B), (4, C)]),
        [2, 3, 4],
        "the next attempt is free"
    );
    assert_eq!(best(&whole, &[(0, A), (0, X), (2, B), (3, C), (3, X)]), [0, 2, 3], "strictly between");
    assert_eq!(
        best(&whole, &[(0, A), (2, B), (2, X), (3, C)]),
        [0, 2],
        "the instant of a step between counts"
    );
    assert_eq!(best(&between(1, 2), &[(0, A), (1, B), (2, X), (3, C)]), [0, 1, 3]);
    assert_eq!(best(&between(1, 2), &[(0, A), (1, X), (2, B), (3, C)]), [0]);
    assert_eq!(best(&between(2, 3), &[(0, A), (1, X), (2, B), (3, C)]), [0, 2, 3]);
    assert_eq!(best(&between(2, 3), &[(0, A), (1, B), (2, X), (3, C)]), [0, 1]);
}

#[test]
fn strict_steps_are_the_very_next_events() {
    let strict = Rules { mode: FunnelMode::Strict, ..rules(3, 10) };
    assert_eq!(best(&strict, &[(0, A), (1, B), (2, C)]), [0, 1, 2]);
    assert_eq!(best(&strict, &[(0, A), (1, 0), (2, B), (3, C)]), [0]);
    assert_eq!(best(&strict, &[(0, A), (1, A), (2, B), (3, C)]), [1, 2, 3]);
    assert_eq!(best(&strict, &[(0, A), (0, B), (1, C)]), [0]);
    assert_eq!(best(&strict, &[(0, A), (1, B), (12, C)]), [0, 1]);
    let loosely = Rules { strictly_increasing: false, ..strict };
    assert_eq!(best(&loosely, &[(0, A), (0, B), (1, C)]), [0, 0, 1]);
}

#[test]
fn in_any_order_a_window_counts_what_is_done_in_it() {
    let any = Rules { mode: FunnelMode::AnyOrder, ..rules(3, 10) };
    assert_eq!(best(&any, &[(0, C), (3, A), (10, B)]), [0, 3, 10]);
    assert_eq!(best(&any, &[(0, C), (3, A), (11, B)]), [0, 3]);
    assert_eq!(best(&any, &[(0, C), (20, B), (21, A), (25, C)]), [20, 21, 25]);
    assert_eq!(best(&any, &[(0, B), (1, B)]), [0]);
    // The first event could be either, and has to be A for the second to be B.
    assert_eq!(best(&any, &[(0, A | B), (1, B)]), [0, 1]);
}

/// The definition, spelled out: every attempt, event by event.
fn naive(rules: &Rules, events: &[(i64, Mask)]) -> usize {
    let attempt = |first: usize| {
        let (start, mut reached, mut last) = (events[first].0, 1, first);
        for (place, (at, mask)) in events.iter().enumerate().skip(first + 1) {
            if reached == rules.steps || rules.within.is_some_and(|within| at - start > within) {
                break;
            }
            let later = *at > events[last].0 || !rules.strictly_increasing;
            if later && mask & (1 << reached) != 0 {
                (reached, last) = (reached + 1, place);
            } else if rules.mode == FunnelMode::Strict {
                break;
            } else if rules.exclude.iter().enumerate().any(|(number, (after, before))| {
                later && *after <= reached && reached < *before && mask & (1 << (rules.steps + number)) != 0
            }) {
                // At the instant of the next step it is not between, if that step is done then.
                let next = events[place..].iter().find(|(other, mask)| {
                    rules.strictly_increasing && other == at && mask & (1 << reached) != 0
                });
                if next.is_none() {
                    break;
                }
            }
        }
        reached
    };
    (0..events.len()).filter(|first| events[*first].1 & 1 != 0).map(attempt).max().unwrap_or(0)
}

/// The most steps in any window, by trying every way to give steps to events.
fn naive_any(rules: &Rules, events: &[(i64, Mask)]) -> usize {
    fn most(step: usize, steps: usize, events: &[(i64, Mask)], taken: &mut Vec<usize>) -> usize {
        if step == steps {
            return taken.len();
        }
        let mut best = most(step + 1, steps, events, taken);
        for (place, (_, mask)) in events.iter().enumerate() {
            if mask & (1 << step) != 0 && !taken.contains(&place) {
                taken.push(place);
                best = best.max(most(step + 1, steps, events, taken));
                taken.pop();
            }
        }
        best
    }
    let window = |first: usize| {
        let inside =
            |(at, _): &&(i64, Mask)| rules.within.is_none_or(|within| at - events[first].0 <= within);
        let window: Vec<(i64, Mask)> = events[first..].iter().take_while(inside).copied().collect();
        most(0, rules.steps, &window, &mut Vec::new())
    };
    (0..events.len()).map(window).max().unwrap_or(0)
}

/// Events in order, many of them at one instant, up to two steps each.
fn some_events(bits: u32) -> impl Strategy<Value = Vec<(i64, Mask)>> {
    let event = (0_i64..4, 0..bits, 0..bits, any::<bool>());
    prop::collection::vec(event, 0..14).prop_map(|events| {
        let mut at = 0;
        events
            .into_iter()
            .map(|(pause, one, two, both)| {
                at += pause;
                (at, 1 << one | if both { 1 << two } else { 0 })
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ordered_and_strict_funnels_are_those_of_the_definition(
        events in some_events(4), within in 1_i64..12, strictly in any::<bool>(), strict in any::<bool>(),
    ) {
        let mode = if strict { FunnelMode::Strict } else { FunnelMode::Ordered };
        let rules = Rules { mode, strictly_increasing: strictly, ..rules(3, within) };
        prop_assert_eq!(best(&rules, &events).len(), naive(&rules, &events));
    }

    #[test]
    fn of_attempts_that_get_as_far_the_earliest_counts(
        events in some_events(4), within in 1_i64..12, strictly in any::<bool>(), exclude in any::<bool>(),
    ) {
        let exclude = if exclude { vec![(1, 3)] } else { Vec::new() };
        let rules = Rules { strictly_increasing: strictly, exclude, ..rules(3, within) };
        // Each attempt by itself: all other events begin none.
        let alone = |first: usize| {
            let rest = events.iter().enumerate().skip(first);
            let own = rest.map(|(place, (at, mask))| (*at, if place == first { *mask } else { mask & !A }));
            best(&rules, &own.collect::<Vec<_>>())
        };
        let attempts: Vec<Vec<i64>> = (0..events.len()).map(alone).collect();
        let furthest = attempts.iter().map(Vec::len).max().unwrap_or(0);
        let earliest = attempts.into_iter().find(|times| times.len() == furthest).unwrap_or_default();
        prop_assert_eq!(best(&rules, &events), earliest);
    }

    #[test]
    fn exclusions_are_those_of_the_definition(
        events in some_events(4), within in 1_i64..12, after in 1_usize..3,
    ) {
        // In the order of message ids, where between is told by place.
        let rules = Rules { strictly_increasing: false, exclude: vec![(after, 3)], ..rules(3, within) };
        let alone: Vec<(i64, Mask)> =
            events.into_iter().map(|(at, mask)| (at, if mask & X != 0 { X } else { mask })).collect();
        prop_assert_eq!(best(&rules, &alone).len(), naive(&rules, &alone));
        // And where no two are of one instant, by time.
        let apart: Vec<(i64, Mask)> = alone.iter().zip(0..).map(|((at, mask), place)| (at * 20 + place, *mask)).collect();
        let strictly = Rules { strictly_increasing: true, within: Some(within * 20), ..rules };
        prop_assert_eq!(best(&strictly, &apart).len(), naive(&strictly, &apart));
    }

    #[test]
    fn funnels_in_any_order_are_those_of_the_definition(events in some_events(3), within in 1_i64..12) {
        let rules = Rules { mode: FunnelMode::AnyOrder, ..rules(3, within) };
        let times = best(&rules, &events);
        prop_assert_eq!(times.len(), naive_any(&rules, &events));
        prop_assert!(times.is_sorted() && times.last().is_none_or(|last| last - times[0] <= within));
    }
}

#[test]
fn a_funnel_reads_back_what_it_writes() {
    let funnel = Funnel::new([did("View").where_property("price").gte(5), did("Cart"), did("Order*")])
        .within(hours(1))
        .mode(FunnelMode::Strict)
        .same_instant()
        .exclude(did("Refund"))
        .exclude_between(did("Call"), 1, 2)
        .of_segment("vip")
        .by(crate::By::property("channel").top(3));
    assert_eq!(Funnel::from_json(&funnel.to_value().to_string()).unwrap(), funnel);
    let short =
        Funnel::from_json(r#"{"steps": ["View", {"event": "Order"}], "within": "30m", "mode": null}"#)
            .unwrap();
    assert_eq!(short, Funnel::new([did("View"), did("Order")]).within(minutes(30)));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    for (spec, expected) in [
        (json!({}), "steps: missing"),
        (json!({"steps": []}), "steps: a funnel has at least two steps, found 0"),
        (json!({"steps": ["A"]}), "steps: a funnel has at least two steps, found 1"),
        (json!({"steps": "A"}), "steps: expected an array of event conditions, found a string"),
        (json!({"steps": ["A", ""]}), "steps[1].event: must not be empty"),
        (json!({"steps": ["A", {"event": "B", "wher": []}]}), "steps[1]: unknown member \"wher\""),
        (
            json!({"steps": ["A", {"event": "B", "where": [{"property": "x", "like": 1}]}]}),
            "steps[1].where[0]: unknown",
        ),
        (json!({"steps": ["A", {"trait": "x", "eq": 1}]}), "steps[1]: expected an event's name"),
        (
            json!({"steps": ["A", {"event": "B", "count": {"gte": 2}}]}),
            "steps[1]: \"count\" asks something of a person",
        ),
        (json!({"steps": ["A", {"event": "B", "sum": "x", "gte": 2}]}), "steps[1]: an aggregate asks"),
        (json!({"steps": ["A", "B"], "within": "0d"}), "within: must be longer than zero"),
        (json!({"steps": ["A", "B"], "within": "soon"}), "within: not a duration"),
        (
            json!({"steps": ["A", "B"], "mode": "loose"}),
            "mode: unknown \"loose\", expected one of ordered, any_order",
        ),
        (
            json!({"steps": ["A", "B"], "exclude": [{"event": "C", "after": 2, "before": 2}]}),
            "exclude[0]: expected steps",
        ),
        (
            json!({"steps": ["A", "B"], "exclude": [{"event": "C", "before": 3}]}),
            "exclude[0]: expected steps from 1 to 2",
        ),
        (json!({"steps": ["A", "B"], "exclude": ["C"], "mode": "any_order"}), "exclude[0]: has no meaning"),
        (
            json!({"steps": ["A", "B"], "from": "2024-02-01T00:00:00Z", "until": "2024-02-01T00:00:00Z"}),
            "until: must be later",
        ),
        (json!({"steps": ["A", "B"], "from": "yesterday"}), "from: not a time"),
        (json!({"steps": ["A", "B"], "segment": {"trait": "x"}}), "segment: missing operator"),
        (
            json!({"steps": ["A", "B"], "window": "1d"}),
            "unknown member \"window\", expected one of steps, within",
        ),
        (json!({"steps": vec!["A"; 33]}), "steps: at most 32 steps and exclusions"),
        (json!([]), "expected an object, found an array"),
    ] {
        let error = Funnel::from_value(&spec).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{spec}: {error}");
    }
}

#[test]
fn a_report_prints_as_a_table() {
    let step = |count, median_seconds| FunnelStep {
        count,
        conversion: share(count, 1200),
        median_seconds,
        p90_seconds: median_seconds,
        median_total_seconds: median_seconds,
    };
    let report = FunnelReport { steps: vec![step(1200, None), step(300, Some(5400.0))], groups: None };
    assert_eq!(
        report.to_string(),
        "step  people  of the first  median    p90  since the first\n\
         1      1,200       100.0 %       –      –                –\n\
         2        300        25.0 %   1.5 h  1.5 h            1.5 h\n"
    );
}
