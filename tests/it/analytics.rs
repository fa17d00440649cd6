//! Questions about everybody, each option by answers worked by hand.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use customerdb::{
    Attribution, AttributionModel, By, Cdp, ComputedTrait, Error, Event, Funnel, Interval, Lifecycle,
    ManualClock, Measure, Paths, Retention, RetentionMode, Rfm, Rules, Segment, Sessions, Timestamp, Trend,
    Value, Zone, days, did, has_trait, hours, minutes,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{builder, cases, memory};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Noon of the n-th day of April 2024, the first of which is a Monday.
fn day(n: u32) -> Timestamp {
    at("2024-03-31T12:00:00Z").after(days(n))
}

fn event(user: &str, name: &str, at: Timestamp) -> Event {
    Event::track(name).user_id(user).at(at)
}

fn with(events: impl IntoIterator<Item = Event>) -> Cdp {
    let cdp = memory(Rules::default());
    let events: Vec<Event> = events.into_iter().collect();
    let count = events.len() as u64;
    assert_eq!(cdp.ingest(events).unwrap().accepted, count);
    cdp
}

fn zoned(zone: &str, events: impl IntoIterator<Item = Event>) -> Cdp {
    let clock = ManualClock::at(at("2025-06-01T00:00:00Z"));
    let cdp = builder(&clock).zone(zone.parse().unwrap()).in_memory().unwrap();
    cdp.ingest(events).unwrap();
    cdp
}

fn counts(cdp: &Cdp, funnel: &Funnel) -> Vec<u64> {
    cdp.funnel(funnel).unwrap().steps.iter().map(|step| step.count).collect()
}

fn view_and_order() -> Funnel {
    Funnel::new([did("View"), did("Order")])
}

#[test]
fn a_join_made_now_changes_yesterdays_funnel_and_a_split_changes_it_back() {
    let cdp = with([
        Event::track("View").anonymous_id("tablet").at(day(1)),
        event("ann", "Order", day(1).after(hours(1))),
    ]);
    assert_eq!(counts(&cdp, &view_and_order()), [1, 0]);
    cdp.link("anonymous_id:tablet", "user_id:ann").unwrap();
    assert_eq!(counts(&cdp, &view_and_order()), [1, 1]);
    cdp.unlink("anonymous_id:tablet", "user_id:ann").unwrap();
    assert_eq!(counts(&cdp, &view_and_order()), [1, 0]);
    cdp.ingest([Event::identify().user_id("bob").anonymous_id("tablet").at(day(2))]).unwrap();
    cdp.ingest([event("bob", "Order", day(1).after(hours(2)))]).unwrap();
    assert_eq!(counts(&cdp, &view_and_order()), [1, 1], "late, and by another person");
}

#[test]
fn late_events_and_any_order_of_arrival_give_the_same_answer() {
    let events = [event("ann", "View", day(1)), event("ann", "Order", day(2)), event("ann", "View", day(3))];
    let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]];
    let answers = orders.map(|order| {
        let cdp = memory(Rules::default());
        for place in order {
            cdp.ingest([events[place].clone()]).unwrap();
        }
        let report = cdp.funnel(&view_and_order().within(days(1))).unwrap();
        (report.steps[1].count, report.steps[1].median_seconds)
    });
    assert_eq!(answers, [(1, Some(86_400.0)); 3]);
}

#[test]
fn times_between_steps_are_medians_and_ninetieth_percentiles() {
    let users = ["a", "b", "c", "d"];
    let events = users.into_iter().zip([10, 20, 30, 60]).flat_map(|(user, minute)| {
        let order = day(1).after(minutes(minute));
        [
            event(user, "View", day(1)),
            event(user, "Order", order),
            event(user, "Pay", order.after(minutes(1))),
        ]
    });
    let cdp = with(events.chain([event("e", "View", day(1))]));
    let report = cdp.funnel(&Funnel::new([did("View"), did("Order"), did("Pay")])).unwrap();
    let [view, order, pay] = &report.steps[..] else { panic!("three steps") };
    assert_eq!((view.count, view.conversion, view.median_seconds, view.p90_seconds), (5, 1.0, None, None));
    assert_eq!((order.count, order.conversion), (4, 0.8));
    // Of 10, 20, 30 and 60 minutes: between 20 and 30, and 0.7 of the way from 30 to 60.
    assert_eq!((order.median_seconds, order.p90_seconds), (Some(1500.0), Some(3060.0)));
    assert_eq!(order.median_total_seconds, Some(1500.0));
    assert_eq!(
        (pay.median_seconds, pay.p90_seconds, pay.median_total_seconds),
        (Some(60.0), Some(60.0), Some(1560.0))
    );
    let empty = cdp.funnel(&Funnel::new([did("Nothing"), did("View")])).unwrap();
    assert_eq!((empty.steps[0].count, empty.steps[1].count, empty.steps[1].conversion), (0, 0, 0.0));
}

#[test]
fn a_range_leaves_out_what_lies_before_it_and_from_its_end_on() {
    let cdp = with([
        event("ann", "View", day(1)),
        event("ann", "Order", day(2)),
        event("bob", "View", day(2)),
        event("bob", "Order", day(3)),
    ]);
    assert_eq!(counts(&cdp, &view_and_order().since(day(2))), [1, 1]);
    assert_eq!(counts(&cdp, &view_and_order().since(day(1)).until(day(3))), [2, 1]);
    assert_eq!(counts(&cdp, &view_and_order().until(day(2))), [1, 0]);
    assert_eq!(counts(&cdp, &view_and_order().since(day(9))), [0, 0]);
}

#[test]
fn conditions_of_steps_look_at_names_properties_windows_and_first_times() {
    let cdp = with([
        event("ann", "Order A", day(1)).property("price", 5),
        event("ann", "Order B", day(2)).property("price", 50),
        event("bob", "Order A", day(2)).property("price", 50),
        Event::page().named("Home").user_id("bob").at(day(3)),
    ]);
    let funnel =
        |first: customerdb::Condition, then: customerdb::Condition| counts(&cdp, &Funnel::new([first, then]));
    assert_eq!(funnel(did("Order*"), did("Order B")), [2, 1]);
    assert_eq!(funnel(did("Order*").where_property("price").gte(10), did("*")), [2, 1]);
    assert_eq!(funnel(did("Order A"), did("$page").where_property("name").eq("Home")), [2, 1]);
    assert_eq!(funnel(did("*").since(day(2)), did("*")), [2, 1]);
    // The support's now is noon of the first of May.
    assert_eq!(funnel(did("Order*").within(days(29)), did("$page")), [0, 0]);
    assert_eq!(funnel(did("Order*").within(days(30)), did("$page")), [2, 1]);
    // Each person's first order only; Bob's is after Ann's.
    assert_eq!(funnel(did("Order*").first_time(), did("Order*")), [2, 1]);
    let late = Funnel::new([did("Order*").first_time(), did("*")]).since(day(2));
    assert_eq!(counts(&cdp, &late), [1, 1], "Ann's first is before the range");
}

#[test]
fn a_segment_or_a_condition_narrows_down_whom_a_question_is_about() {
    let cdp = with([
        Event::identify().user_id("ann").with_trait("plan", "gold").at(day(1)),
        Event::identify().user_id("bob").with_trait("plan", "free").at(day(1)),
        event("ann", "View", day(2)),
        event("bob", "View", day(2)),
        event("bob", "Order", day(3)),
    ]);
    cdp.define(Segment::new("gold", has_trait("plan").eq("gold"))).unwrap();
    assert_eq!(counts(&cdp, &view_and_order()), [2, 1]);
    assert_eq!(counts(&cdp, &view_and_order().of_segment("gold")), [1, 0]);
    assert_eq!(counts(&cdp, &view_and_order().of_those(did("Order"))), [1, 1]);
    let unknown = cdp.funnel(&view_and_order().of_segment("silver"));
    assert!(matches!(unknown, Err(Error::UnknownSegment(name)) if name == "silver"));
}

#[test]
fn a_breakdown_shows_the_largest_groups_and_the_rest_as_other() {
    let view = |user: &str, channel: Option<&str>| {
        let view = event(user, "View", day(2));
        channel.map_or(view.clone(), |channel| view.property("channel", channel))
    };
    let city = |user: &str, city: &str| Event::identify().user_id(user).with_trait("city", city).at(day(1));
    let cdp = with([
        view("a", Some("ads")),
        view("b", Some("ads")),
        view("c", Some("mail")),
        view("d", Some("blog")),
        view("e", None),
        event("a", "Order", day(3)).property("channel", "mail"),
        event("e", "Order", day(3)),
        city("a", "Lima"),
        city("b", "Lima"),
        city("c", "Wuhan"),
    ]);
    let groups = |by: By| {
        let report = cdp.funnel(&view_and_order().by(by)).unwrap();
        let groups = report.groups.unwrap().into_iter();
        let told: Vec<(Value, bool, u64, u64)> =
            groups.map(|g| (g.value, g.other, g.steps[0].count, g.steps[1].count)).collect();
        assert_eq!(told.iter().map(|(_, _, views, _)| views).sum::<u64>(), report.steps[0].count);
        json!(told)
    };
    assert_eq!(
        groups(By::property("channel")),
        json!([["ads", false, 2, 1], ["blog", false, 1, 0], ["mail", false, 1, 0], [null, false, 1, 1]]),
        "by the property of the first step, ties by value"
    );
    assert_eq!(groups(By::property("channel").top(1)), json!([["ads", false, 2, 1], ["other", true, 3, 1]]));
    assert_eq!(
        groups(By::with_trait("city")),
        json!([["Lima", false, 2, 1], [null, false, 2, 1], ["Wuhan", false, 1, 0]])
    );
    for (by, expected) in [
        (By::property("chanel"), "by.property: none of the events that this is about has \"chanel\""),
        (By::with_trait("town"), "by.trait: none of the people that this is about has \"town\""),
        (By::property("channel").top(1_000_000), "by.top: expected 1 to 1000 groups, found 1000000"),
        (By::property("a..b"), "by.property: a name between two dots must not be empty"),
    ] {
        assert_eq!(cdp.funnel(&view_and_order().by(by)).unwrap_err().to_string(), expected);
    }
}

#[test]
fn what_nobody_has_in_a_range_or_a_segment_is_no_mistake() {
    let cdp = with([
        event("ann", "Order", day(1)),
        event("ann", "Order", day(2)).property("revenue", 5).property("channel", "ads"),
        event("bob", "Order", day(1)),
        event("bob", "Order", day(1).after(hours(1))),
        Event::identify().user_id("ann").with_trait("city", "Lima").at(day(2)),
    ]);
    cdp.define(Segment::new("homeless", has_trait("city").is_missing())).unwrap();
    let trend = || Trend::of(did("Order")).measure(Measure::Sum("revenue".into()));
    let early = cdp.trend(&trend().until(day(2)).by(By::property("channel"))).unwrap();
    assert!(early.series.iter().all(|period| period.value == json!(0)), "{early:?}");
    assert_eq!(early.groups.unwrap()[0].value, Value::Null);
    let bobs = cdp.trend(&trend().of_segment("homeless").by(By::with_trait("city"))).unwrap();
    assert_eq!(bobs.groups.unwrap()[0].value, Value::Null);
    let first = cdp.rfm(&Rfm::new(did("Order"), "revenue").until(day(2))).unwrap();
    assert_eq!(first.profiles[0].monetary, json!(0));
    let direct = Attribution::of(did("Order")).touches(did("Order"), "channel").until(day(2));
    assert_credits(&credits(&cdp, &direct), &[("direct", 3.0)]);
}

#[test]
fn too_many_groups_are_an_error_and_not_a_memory_of_all() {
    let events =
        (0..=100_000).map(|n| event("ann", "View", day(1)).property("id", n).message_id(format!("m{n}")));
    let cdp = with(events);
    let error = cdp.trend(&Trend::of(did("View")).by(By::property("id"))).unwrap_err();
    assert_eq!(error.to_string(), "by.property: more than 100000 different values");
}

fn visits(visits: &[(&str, u32)]) -> Vec<Event> {
    let visit = |(place, (user, n)): (usize, &(&str, u32))| {
        event(user, "Visit", day(*n)).message_id(format!("visit-{place}"))
    };
    visits.iter().enumerate().map(visit).collect()
}

fn triangle(cdp: &Cdp, retention: &Retention) -> Vec<(String, Vec<u64>)> {
    let cohorts = cdp.retention(retention).unwrap().cohorts.into_iter();
    cohorts
        .map(|cohort| {
            assert_eq!(cohort.size, cohort.values[0]);
            (cohort.start.to_string()[..10].to_owned(), cohort.values)
        })
        .collect()
}

fn cohort(start: &str, values: &[u64]) -> (String, Vec<u64>) {
    (start.to_owned(), values.to_vec())
}

#[test]
fn retention_counts_a_cohort_by_first_or_by_any_start() {
    let cdp = with(visits(&[("a", 1), ("a", 2), ("a", 4), ("b", 1), ("b", 4), ("c", 2), ("c", 2)]));
    let visit = || Retention::new(did("Visit"), did("Visit"));
    let first = [cohort("2024-04-01", &[2, 1, 0, 2]), cohort("2024-04-02", &[1, 0, 0, 0])];
    assert_eq!(triangle(&cdp, &visit().first_time().periods(3)), first);
    let any = [
        cohort("2024-04-01", &[2, 1, 0, 2]),
        cohort("2024-04-02", &[2, 0, 1, 0]),
        cohort("2024-04-04", &[2, 0, 0, 0]),
    ];
    assert_eq!(triangle(&cdp, &visit().periods(3)), any);
    let on_or_after = [cohort("2024-04-01", &[2, 2, 2, 2]), cohort("2024-04-02", &[1, 0, 0, 0])];
    assert_eq!(triangle(&cdp, &visit().first_time().periods(3).mode(RetentionMode::OnOrAfter)), on_or_after);
    assert_eq!(triangle(&cdp, &visit().first_time()), first, "as many periods as there are days");
    let ranged = [cohort("2024-04-02", &[1, 0])];
    assert_eq!(
        triangle(&cdp, &visit().first_time().since(day(2)).periods(1)),
        ranged,
        "a and b started before it"
    );
    assert_eq!(cdp.retention(&visit().periods(1)).unwrap().cohorts.len(), 3);
}

#[test]
fn retention_by_week_begins_on_monday_and_by_month_on_its_first() {
    // The seventh of April 2024 is a Sunday.
    let cdp = with(visits(&[("a", 7), ("a", 8), ("b", 1), ("b", 15), ("a", 30), ("a", 31)]));
    let weekly = Retention::new(did("Visit"), did("Visit")).every(Interval::Week).first_time().periods(2);
    assert_eq!(triangle(&cdp, &weekly), [cohort("2024-04-01", &[2, 1, 1])]);
    let monthly = Retention::new(did("Visit"), did("Visit")).every(Interval::Month).first_time().periods(2);
    assert_eq!(triangle(&cdp, &monthly), [cohort("2024-04-01", &[2, 1, 0])]);
    let zone = zoned("Pacific/Auckland", visits(&[("a", 7), ("a", 8)]));
    // Noon of Sunday is Monday's midnight in Auckland.
    assert_eq!(triangle(&zone, &weekly), [("2024-04-07".to_owned(), vec![1, 0, 0])]);
}

#[test]
fn cohorts_have_a_value_too_and_may_be_broken_down() {
    let order = |user: &str, n: u32, revenue: f64| event(user, "Order", day(n)).property("revenue", revenue);
    let cdp = with([
        order("a", 1, 0.1),
        order("a", 1, 0.2).message_id("x"),
        order("b", 1, 5.0),
        order("a", 2, 7.5),
    ]);
    let question = Retention::new(did("Order"), did("Order")).first_time().periods(1).value("revenue");
    let cohort = cdp.retention(&question).unwrap().cohorts.remove(0);
    assert_eq!((cohort.values, cohort.amounts), (vec![2, 1], vec![json!(5.3), json!(7.5)]));
    let missing = cdp.retention(&question.clone().value("price")).unwrap_err();
    assert_eq!(missing.to_string(), "value: none of the events that this is about has \"price\"");
    cdp.ingest([Event::identify().user_id("a").with_trait("city", "Lima").at(day(1))]).unwrap();
    let groups = cdp.retention(&question.by(By::with_trait("city"))).unwrap().groups.unwrap();
    let told: Vec<(Value, Vec<u64>)> =
        groups.into_iter().map(|group| (group.value, group.cohorts[0].values.clone())).collect();
    assert_eq!(told, [(json!("Lima"), vec![1, 1]), (Value::Null, vec![1, 0])]);
}

#[test]
fn a_property_of_another_event_is_found_after_that_of_the_first_was_asked_for() {
    let cdp = with([
        event("u", "Order", day(1)).property("total", 1),
        event("u", "Refund", day(1)).property("total", 20),
        event("v", "Refund", day(2)).property("total", 300),
    ]);
    let sum = |name: &str| {
        let points = series(&cdp, &Trend::of(did(name)).measure(Measure::Sum("total".into()))).into_iter();
        points.filter_map(|(_, sum)| sum.as_u64()).sum::<u64>()
    };
    assert_eq!([sum("Order"), sum("Refund"), sum("*"), sum("Order")], [1, 320, 321, 1]);
}

#[test]
fn whoever_is_asked_about_is_found_within_hearing_of_who_asks() {
    let views =
        (0..400).map(|n| event(&format!("u{}", n % 9), "View", day(1).after(minutes(n))).property("n", n));
    let cdp = with(views);
    let ends = |question: &Trend, after: u32, heard: &mut u32| {
        cdp.analyse(question, |_| {
            *heard += 1;
            if *heard > after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    let mut alone = 0;
    ends(&Trend::of(did("Order")), u32::MAX, &mut alone).unwrap();
    // Nobody has done the least, so that only going through the events takes time.
    for condition in [did("View").at_least(999), did("View").where_property("n").gte(0).at_least(999)] {
        let question = Trend::of(did("Order")).of_those(condition);
        let (mut heard, mut until) = (0, 0);
        ends(&question, u32::MAX, &mut heard).unwrap();
        // Once for each job at least, whoever does it.
        assert!(
            heard > alone + 3,
            "told {heard} times while 400 events were looked at, {alone} without them"
        );
        let error = ends(&question, 3, &mut until).unwrap_err();
        assert!(matches!(error, Error::Cancelled) && until == 4, "{error} after {until}");
    }
}

#[test]
fn of_events_of_one_instant_the_one_whose_message_id_comes_first_is_the_first_time() {
    let first = Trend::of(did("Order").first_time()).measure(Measure::Sum("total".into()));
    for ids in [["a", "b"], ["b", "a"]] {
        // One is of the device, the other of the user, who are one person.
        let orders =
            ids.map(|id| event("u", "Order", day(1)).message_id(id).property("total", u8::from(id == "a")));
        let [one, other] = orders;
        let login = Event::identify().user_id("u").anonymous_id("d").at(day(2));
        let cdp = with([one.anonymous_id("d"), other, login]);
        assert_eq!(series(&cdp, &first).iter().map(|(_, sum)| sum.clone()).collect::<Vec<_>>(), [json!(1)]);
    }
}

fn series(cdp: &Cdp, trend: &Trend) -> Vec<(String, Value)> {
    let series = cdp.trend(trend).unwrap().series.into_iter();
    series.map(|point| (point.start.to_string(), point.value)).collect()
}

#[test]
fn where_nobody_is_a_range_is_all_zeros() {
    let cdp = with([]);
    for measure in [Measure::Total, Measure::Unique, Measure::Sum("n".into())] {
        let trend = Trend::of(did("A")).since(day(1)).until(day(3)).measure(measure);
        assert_eq!(
            series(&cdp, &trend).into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
            [json!(0), json!(0), json!(0)]
        );
        assert_eq!(series(&cdp, &Trend::of(did("A"))), []);
    }
}

#[test]
fn hours_begin_where_they_begin_for_what_is_asked() {
    // At three in the morning of that day clocks go back by half an hour.
    let visit = at("2024-04-06T15:15:00Z");
    let cdp = zoned(
        "Australia/Lord_Howe",
        [event("ann", "Other", at("2024-04-06T12:00:00Z")), event("ann", "Visit", visit)],
    );
    cdp.ingest([Event::identify().user_id("ann").with_trait("city", "Lima").at(visit)]).unwrap();
    let trend = Trend::of(did("Visit")).every(Interval::Hour);
    let counted = cdp.trend(&trend).unwrap().series;
    let told: Vec<(String, Value)> =
        counted.iter().map(|point| (point.start.to_string(), point.value.clone())).collect();
    assert_eq!(told, [("2024-04-06T14:30:00Z".to_owned(), json!(1))]);
    assert_eq!(counted, cdp.trend(&trend.by(By::with_trait("city"))).unwrap().series);
}

#[test]
fn ranges_may_end_before_all_time() {
    let cdp = with([event("ann", "Visit", day(1))]);
    let never = Timestamp::from_micros(i64::MIN);
    let visits = || Retention::new(did("Visit"), did("Visit"));
    assert!(cdp.retention(&visits().until(never)).unwrap().cohorts.is_empty());
    assert!(cdp.lifecycle(&Lifecycle::of(did("Visit")).until(never)).unwrap().periods.is_empty());
    assert!(cdp.trend(&Trend::of(did("Visit")).until(never)).unwrap().series.is_empty());
}

#[test]
fn events_are_counted_by_their_properties_wherever_they_lie() {
    let visit = |n: u32| event("ann", "Visit", day(1).after(minutes(n))).property("n", n);
    let cdp = with((0..40).map(visit));
    for (below, expected) in [(0, None), (7, Some(7)), (40, Some(40))] {
        let trend = Trend::of(did("Visit").where_property("n").lt(below));
        let series = cdp.trend(&trend).unwrap().series;
        assert_eq!(series.first().and_then(|point| point.value.as_u64()), expected, "{below}");
    }
}

#[test]
fn the_largest_groups_are_those_with_the_most_events() {
    let visit = |n: u32, path: &str| event("ann", "Visit", day(n)).property("path", path);
    let cdp = with([
        visit(1, "/a"),
        visit(1, "/b"),
        visit(2, "/b"),
        visit(3, "/c"),
        visit(4, "/c"),
        visit(5, "/c"),
    ]);
    let groups = cdp.trend(&Trend::of(did("Visit")).by(By::property("path").top(2))).unwrap().groups.unwrap();
    let told: Vec<(Value, u64)> = groups
        .into_iter()
        .map(|group| (group.value, group.series.iter().filter_map(|point| point.value.as_u64()).sum()))
        .collect();
    assert_eq!(told, [(json!("/c"), 3), (json!("/b"), 2), (json!("other"), 1)]);
}

#[test]
fn trends_count_events_people_and_sums_and_leave_no_period_out() {
    let order =
        |user: &str, n: u32, revenue: Value| event(user, "Order", day(n)).property("revenue", revenue);
    let cdp = with([
        order("a", 1, json!(0.1)),
        order("a", 1, json!(0.2)).message_id("x"),
        order("b", 1, json!("free")),
        order("b", 3, json!(9_007_199_254_740_993_i64)),
        order("a", 3, json!(1)),
    ]);
    let values = |trend: &Trend| series(&cdp, trend).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    let trend = || Trend::of(did("Order"));
    assert_eq!(values(&trend()), [3, 0, 2]);
    assert_eq!(values(&trend().measure(Measure::Unique)), [2, 0, 2]);
    let sums = [json!(0.3), json!(0), json!(9_007_199_254_740_994_i64)];
    assert_eq!(values(&trend().measure(Measure::Sum("revenue".into()))), sums);
    assert_eq!(values(&trend().every(Interval::Week).measure(Measure::Unique)), [2]);
    let ranged = trend().since(at("2024-03-31T00:00:00Z")).until(at("2024-04-02T00:00:00Z"));
    assert_eq!(values(&ranged), [0, 3], "a range has all its days");
    let told = cdp.trend(&trend().measure(Measure::Unique).by(By::property("revenue").top(1))).unwrap();
    assert_eq!(told.groups.unwrap().len(), 2);
    let error = cdp.trend(&trend().every(Interval::Hour).since(at("1971-01-01T00:00:00Z"))).unwrap_err();
    assert!(error.to_string().starts_with("interval: more than 100000 periods of one hour"), "{error}");
}

#[test]
fn days_are_those_of_the_zone_through_the_change_of_its_clocks() {
    let instants =
        ["2024-03-30T22:59:59Z", "2024-03-30T23:00:00Z", "2024-03-31T21:59:59Z", "2024-03-31T22:00:00Z"];
    let cdp = zoned("Europe/Berlin", instants.map(|instant| event("a", "Visit", at(instant))));
    let point = |start: &str, value: u64| (start.to_owned(), json!(value));
    assert_eq!(
        series(&cdp, &Trend::of(did("Visit"))),
        [
            point("2024-03-29T23:00:00Z", 1),
            point("2024-03-30T23:00:00Z", 2),
            point("2024-03-31T22:00:00Z", 1)
        ]
    );
    assert_eq!(cdp.zone(), &"Europe/Berlin".parse::<Zone>().unwrap());
    // A month of that zone begins an hour or two before UTC's.
    let cdp = zoned(
        "Europe/Berlin",
        ["2024-01-31T22:59:59Z", "2024-01-31T23:00:00Z"].map(|t| event("a", "V", at(t))),
    );
    let months = series(&cdp, &Trend::of(did("V")).every(Interval::Month));
    assert_eq!(months, [point("2023-12-31T23:00:00Z", 1), point("2024-01-31T23:00:00Z", 1)]);
}

#[test]
fn a_lifecycle_knows_what_was_before_the_range() {
    let cdp = with(visits(&[("a", 1), ("a", 2), ("a", 4), ("b", 1), ("b", 3), ("c", 3), ("c", 4)]));
    let told = |lifecycle: &Lifecycle| -> Vec<[u64; 4]> {
        let periods = cdp.lifecycle(lifecycle).unwrap().periods.into_iter();
        periods.map(|p| [p.new, p.returning, p.resurrecting, p.dormant]).collect()
    };
    let all = [[2, 0, 0, 0], [0, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 1]];
    let lifecycle = || Lifecycle::of(did("Visit"));
    assert_eq!(told(&lifecycle()), all);
    assert_eq!(told(&lifecycle().since(day(3))), all[2..]);
    assert_eq!(
        told(&lifecycle().since(day(2)).until(day(3))),
        all[1..2].iter().copied().chain([[0, 0, 0, 1]]).collect::<Vec<_>>()
    );
    let later = told(&lifecycle().until(at("2024-04-07T00:00:00Z")));
    assert_eq!(later, [&all[..], &[[0, 0, 0, 2], [0, 0, 0, 0]]].concat());
    let months = cdp.lifecycle(&lifecycle().every(Interval::Month)).unwrap().periods;
    assert_eq!((months.len(), months[0].new), (1, 3));
}

#[test]
fn sessions_end_with_a_pause_longer_than_the_gap() {
    let events = [("Home", 0), ("View", 30), ("Buy", 61), ("Home", 100)];
    let minute = |n: u32| day(1).after(minutes(n));
    let own = events.map(|(name, n)| event("a", name, minute(n)));
    let cdp = with(own.into_iter().chain([event("b", "Home", minute(5))]));
    let report = cdp.sessions(&Sessions::default()).unwrap();
    assert_eq!((report.sessions, report.people, report.events), (4, 2, 5));
    assert_eq!(
        (report.median_seconds, report.mean_seconds, report.events_per_session),
        (Some(0.0), Some(450.0), 1.25)
    );
    assert_eq!(json!(report.entries), json!({"Home": 3, "Buy": 1}));
    assert_eq!(json!(report.exits), json!({"View": 1, "Buy": 1, "Home": 2}));
    let report = cdp.sessions(&Sessions::default().gap(minutes(39))).unwrap();
    assert_eq!((report.sessions, report.median_seconds), (2, Some(3000.0)));
    let report = cdp.sessions(&Sessions::default().of(did("Home"))).unwrap();
    assert_eq!((report.sessions, report.events), (3, 3));
    let none = cdp.sessions(&Sessions::default().since(day(9))).unwrap();
    assert_eq!((none.sessions, none.median_seconds, none.events_per_session), (0, None, 0.0));
}

#[test]
fn paths_count_what_follows_the_first_event_that_is_meant() {
    let minute = |n: u32| day(1).after(minutes(n));
    let cdp = with([
        event("a", "Home", minute(0)),
        event("a", "Search", minute(1)),
        event("a", "View", minute(2)),
        event("a", "View", minute(3)),
        event("b", "Search", minute(0)),
        event("b", "View", minute(1)),
        event("b", "Search", minute(500)),
        event("b", "Buy", minute(501)),
    ]);
    let told = |paths: &Paths| -> (u64, Vec<String>) {
        let report = cdp.paths(paths).unwrap();
        let told = report.transitions.iter().map(|t| format!("{}:{}>{}={}", t.step, t.from, t.to, t.count));
        (report.paths, told.collect())
    };
    let search = || Paths::from_event(did("Search")).depth(2);
    let expected = ["1:Search>View=2", "2:View>Search=1", "2:View>View=1"].map(str::to_owned);
    assert_eq!(told(&search()), (2, expected.to_vec()));
    assert_eq!(told(&search().top(1)), (2, expected[..1].to_vec()));
    let cut = ["1:Search>View=2", "1:Search>Buy=1", "2:View>View=1"].map(str::to_owned);
    assert_eq!(told(&search().gap(minutes(30))), (3, cut.to_vec()));
    let (paths, transitions) = told(&Paths::default().depth(1));
    assert_eq!((paths, transitions.len()), (2, 2));
    for (paths, expected) in [
        (search().depth(0), "depth: expected 1 to 100, found 0"),
        (search().top(0), "top: expected 1 to 10000, found 0"),
        (search().gap(minutes(0)), "gap: must be longer than zero"),
    ] {
        assert_eq!(cdp.paths(&paths).unwrap_err().to_string(), expected);
    }
}

fn touch(user: &str, channel: &str, at: Timestamp) -> Event {
    event(user, "Visit", at).property("channel", channel)
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn credits(cdp: &Cdp, question: &Attribution) -> BTreeMap<String, f64> {
    let report = cdp.attribution(question).unwrap();
    let total: f64 = report.channels.values().sum();
    assert!((total - report.attributed as f64).abs() < 1e-9, "{total} of {}", report.attributed);
    report.channels
}

#[track_caller]
fn assert_credits(found: &BTreeMap<String, f64>, expected: &[(&str, f64)]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (channel, credit) in expected {
        assert!((found[*channel] - credit).abs() < 1e-9, "{channel}: {found:?}");
    }
}

#[test]
fn every_model_shares_a_conversion_out_as_it_says() {
    let cdp = with([
        touch("a", "ads", day(1)),
        touch("a", "mail", day(8)),
        touch("a", "ads", day(8).after(hours(1))),
        event("a", "Visit", day(15)),
        event("a", "Order", day(15)),
        event("b", "Order", day(1)),
        touch("c", "blog", day(1)),
    ]);
    let question = |model| Attribution::of(did("Order")).touches(did("Visit"), "channel").model(model);
    let none = ("blog", 0.0);
    let (a, b) = (0.5_f64.powi(2), 0.5);
    let c = 0.5_f64.powf(1.0 - 1.0 / 24.0 / 7.0);
    let all = a + b + c + 1.0;
    for (model, expected) in [
        (AttributionModel::First, vec![("ads", 1.0), ("mail", 0.0), ("direct", 0.0), none]),
        (AttributionModel::Last, vec![("ads", 0.0), ("mail", 0.0), ("direct", 1.0), none]),
        (AttributionModel::LastNonDirect, vec![("ads", 1.0), ("mail", 0.0), ("direct", 0.0), none]),
        (AttributionModel::Linear, vec![("ads", 0.5), ("mail", 0.25), ("direct", 0.25), none]),
        (AttributionModel::Position, vec![("ads", 0.5), ("mail", 0.1), ("direct", 0.4), none]),
        (
            AttributionModel::TimeDecay,
            vec![("ads", (a + c) / all), ("mail", b / all), ("direct", 1.0 / all), none],
        ),
        (
            AttributionModel::Shapley,
            vec![("ads", 1.0 / 3.0), ("mail", 1.0 / 3.0), ("direct", 1.0 / 3.0), none],
        ),
        // From ads every other walk goes on to mail: without mail half is lost, without one of the others all.
        (AttributionModel::Markov, vec![("ads", 0.4), ("mail", 0.2), ("direct", 0.4), none]),
    ] {
        assert_credits(&credits(&cdp, &question(model)), &expected);
        let report = cdp.attribution(&question(model)).unwrap();
        assert_eq!((report.conversions, report.attributed), (2, 1), "b's order had no touch");
    }
}

#[test]
fn a_path_begins_after_the_conversion_before_and_within_the_look_back() {
    let cdp = with([
        touch("a", "ads", day(1)),
        event("a", "Order", day(2)),
        touch("a", "mail", day(3)),
        touch("a", "blog", day(5)),
        event("a", "Order", day(8)),
    ]);
    let last =
        || Attribution::of(did("Order")).touches(did("Visit"), "channel").model(AttributionModel::Linear);
    assert_credits(&credits(&cdp, &last()), &[("ads", 1.0), ("mail", 0.5), ("blog", 0.5)]);
    assert_credits(&credits(&cdp, &last().lookback(days(5))), &[("ads", 1.0), ("mail", 0.5), ("blog", 0.5)]);
    assert_credits(&credits(&cdp, &last().lookback(days(4))), &[("ads", 1.0), ("blog", 1.0)]);
    assert_credits(&credits(&cdp, &last().lookback(hours(23))), &[]);
    let wrong = cdp.attribution(&last().channel("chanel")).unwrap_err();
    assert_eq!(wrong.to_string(), "channel: none of the events that this is about has \"chanel\"");
    // Where nobody has come by a campaign, and nobody said where the channel stands, no conversion is owed to any, or all are direct.
    let report = cdp.attribution(&Attribution::of(did("Order"))).unwrap();
    assert_eq!((report.conversions, report.attributed, report.channels.len()), (2, 0, 0));
    let visits = Attribution::of(did("Order")).touches(did("Visit"), "context.campaign.source");
    assert_credits(&credits(&cdp, &visits), &[("direct", 2.0)]);
}

#[test]
fn the_channel_may_stand_in_the_context_and_its_bearers_be_the_touches() {
    let visit = |user: &str, source: &str, at| {
        Event::page().user_id(user).context("campaign", json!({"source": source})).at(at)
    };
    let cdp = with([
        visit("a", "news", day(1)),
        Event::page().user_id("a").at(day(2)),
        event("a", "Order", day(3)).context("campaign", json!({"source": "mail"})),
    ]);
    // The order bears a source itself: the last touch of its own path.
    assert_credits(&credits(&cdp, &Attribution::of(did("Order"))), &[("news", 0.0), ("mail", 1.0)]);
    let pages = Attribution::of(did("Order")).touches(did("$page"), "context.campaign.source");
    assert_credits(&credits(&cdp, &pages), &[("news", 0.0), ("direct", 1.0)]);
    let named = pages.model(AttributionModel::LastNonDirect);
    assert_credits(&credits(&cdp, &named), &[("news", 1.0), ("direct", 0.0)]);
}

#[test]
fn markov_credit_is_in_proportion_to_what_would_be_lost() {
    // ads → mail → order twice, ads alone lost, mail → order once, mail lost once: half of all conversions is lost
    // without ads, all without mail.
    let cdp = with([
        touch("a", "ads", day(1)),
        touch("a", "mail", day(2)),
        event("a", "Order", day(3)),
        touch("b", "ads", day(1)),
        touch("b", "mail", day(2)),
        event("b", "Order", day(3)),
        touch("c", "ads", day(1)),
        touch("d", "mail", day(1)),
        event("d", "Order", day(2)),
        touch("e", "mail", day(1)),
    ]);
    let markov =
        Attribution::of(did("Order")).touches(did("Visit"), "channel").model(AttributionModel::Markov);
    assert_credits(&credits(&cdp, &markov), &[("ads", 1.0), ("mail", 2.0)]);
    let shapley = markov.model(AttributionModel::Shapley);
    assert_credits(&credits(&cdp, &shapley), &[("ads", 1.0), ("mail", 2.0)]);
}

/// Shapley's value by its definition: the mean over all orders of the channels of what each adds when it comes.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn shapley(paths: &[Vec<usize>], channels: usize) -> Vec<f64> {
    let worth =
        |set: usize| paths.iter().filter(|path| path.iter().all(|c| set & (1 << c) != 0)).count() as f64;
    let factorial = |n: usize| (1..=n).product::<usize>() as f64;
    let value = |channel: usize| -> f64 {
        let others = (0..1_usize << channels).filter(|set| set & (1 << channel) == 0);
        others
            .map(|set| {
                let size = set.count_ones() as usize;
                let weight = factorial(size) * factorial(channels - size - 1) / factorial(channels);
                weight * (worth(set | 1 << channel) - worth(set))
            })
            .sum()
    };
    (0..channels).map(value).collect()
}

/// Of events of one instant their message ids say which comes first, whatever the order of arrival, and wherever they lie.
#[test]
fn what_is_excluded_at_the_instant_of_a_step_ends_an_attempt_in_any_order_of_arrival() {
    let hour = |n: u32| day(1).after(hours(n));
    let events = [("AB", 0), ("A", 2), ("AB", 2), ("C", 3)];
    let funnel = Funnel::new([did("AB"), did("A*"), did("C")]).exclude(did("AB"));
    for order in 0..24_usize {
        let mut left: Vec<usize> = (0..4).collect();
        let order = [order / 6, order / 2 % 3, order % 2, 0].map(|place| left.remove(place));
        for sealed in 0..=4 {
            let cdp = memory(Rules::default());
            for (arrived, n) in order.iter().enumerate() {
                if arrived == sealed {
                    cdp.maintain().unwrap();
                }
                let (name, at) = events[*n];
                cdp.ingest([event("ann", name, hour(at)).message_id(format!("m{n}"))]).unwrap();
            }
            let steps = cdp.funnel(&funnel).unwrap().steps;
            let counts: Vec<u64> = steps.iter().map(|step| step.count).collect();
            assert_eq!(counts, [1, 1, 0], "{order:?}, {sealed} of them sealed");
        }
    }
}

/// A name is one however its letters are put together.
#[test]
fn an_event_has_one_name_in_all_its_spellings() {
    let visit = |user: &str, name: &str, minute: u32| event(user, name, day(1).after(minutes(minute)));
    let cdp = with([
        visit("ann", "A", 0),
        visit("ann", "Cafe\u{301}", 1),
        visit("bob", "A", 0),
        visit("bob", "Caf\u{e9}", 1),
    ]);
    assert_eq!(
        cdp.sessions(&Sessions::default()).unwrap().exits,
        BTreeMap::from([("Caf\u{e9}".to_owned(), 2)])
    );
    let paths = cdp.paths(&Paths::default()).unwrap().transitions;
    assert_eq!(paths.iter().map(|path| (&*path.to, path.count)).collect::<Vec<_>>(), [("Caf\u{e9}", 2)]);
    // And what was said stays as it was said.
    assert!(cdp.events("user_id:ann", 1).unwrap()[0].json.contains("Cafe\u{301}"));
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn shapley_credit_is_the_value_by_its_definition(
        paths in prop::collection::vec(prop::collection::vec(0_usize..4, 1..6), 1..12)
    ) {
        let mut events = Vec::new();
        for (number, path) in paths.iter().enumerate() {
            let user = format!("u{number}");
            for (place, channel) in path.iter().enumerate() {
                let at = day(1).after(minutes(u32::try_from(place).unwrap()));
                events.push(touch(&user, &format!("c{channel}"), at));
            }
            events.push(event(&user, "Order", day(2)));
        }
        let question = Attribution::of(did("Order")).touches(did("Visit"), "channel");
        let found = credits(&with(events), &question.model(AttributionModel::Shapley));
        for (channel, expected) in shapley(&paths, 4).into_iter().enumerate() {
            let credit = found.get(&format!("c{channel}")).copied().unwrap_or(0.0);
            prop_assert!((credit - expected).abs() < 1e-9, "{channel}: {credit} {expected}");
        }
    }

    /// Who did something in which period is noted while events are read; where there is a breakdown, events are kept. Both
    /// find the same of everybody.
    #[test]
    fn what_is_noted_by_period_is_what_events_say(
        events in prop::collection::vec((0_u32..6, 0_u32..1_200, any::<bool>(), 0..3), 1..60),
        weekly in any::<bool>(),
        first in any::<bool>(),
        later in any::<bool>(),
        same in any::<bool>(),
        periods in prop::option::of(1_u32..6),
        since in prop::option::of(0_u32..900),
        until in prop::option::of(900_u32..1_300),
    ) {
        let hour = |n: u32| at("2024-03-31T22:00:00Z").after(hours(n));
        let all = events.iter().enumerate().map(|(n, (user, h, visit, kind))| {
            let name = if *visit { "Visit" } else { "Start" };
            event(&format!("u{user}"), name, hour(*h)).message_id(format!("m{n}")).property("kind", *kind)
        });
        let cdp = zoned("America/Santiago", all);
        let back = if same { did("Start").where_property("kind").lt(2) } else { did("*") };
        let mut retention = Retention::new(did("Start").where_property("kind").lt(2), back);
        retention = if weekly { retention.every(Interval::Week) } else { retention };
        retention = if first { retention.first_time() } else { retention };
        retention = if later { retention.mode(RetentionMode::OnOrAfter) } else { retention };
        retention = periods.into_iter().fold(retention, Retention::periods);
        let every = if weekly { Interval::Week } else { Interval::Day };
        let mut lifecycle = Lifecycle::of(did("Start")).every(every);
        if let Some(since) = since {
            retention = retention.since(hour(since));
            lifecycle = lifecycle.since(hour(since));
        }
        if let Some(until) = until {
            retention = retention.until(hour(until));
            lifecycle = lifecycle.until(hour(until));
        }
        let noted = cdp.retention(&retention).unwrap().cohorts;
        prop_assert_eq!(noted, cdp.retention(&retention.by(By::property("kind"))).unwrap().cohorts);
        let noted = cdp.lifecycle(&lifecycle).unwrap().periods;
        match cdp.lifecycle(&lifecycle.by(By::property("kind"))) {
            Ok(kept) => prop_assert_eq!(noted, kept.periods),
            Err(error) => prop_assert!(error.to_string().starts_with("by.property: none of the events")),
        }
    }

    /// How many events there are is counted without a look at each where nothing else of them matters; with a breakdown each is
    /// looked at. Both find as many from period to period as are somebody's, also if they were nobody's for a while.
    #[test]
    fn what_is_counted_by_period_is_what_events_say(
        events in prop::collection::vec((0_u32..6, 0_i64..1_000, any::<bool>()), 1..150),
        unit in prop::sample::select(vec![1_i64, 1_000, 1_000_000]),
        interval in prop::sample::select(vec![Interval::Hour, Interval::Day, Interval::Week, Interval::Month]),
        since in prop::option::of(0_i64..1_000),
        until in prop::option::of(0_i64..1_000),
        only in any::<bool>(),
        (seal_every, block, maintain, unblock) in (2_usize..90, any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        // A name that few have shares a part of a block with others.
        let events: Vec<(u32, i64, bool)> = events.into_iter().map(|(user, h, visit)| (user, h, visit || only)).collect();
        // The clocks go forward in the second week. What lies beside an hour does so by a few units.
        let hour = |n: i64| at("2024-08-28T00:00:00Z").as_micros() + n / 3 * 3_600_000_000 + (n % 3 - 1) * unit;
        let hour = |n: i64| Timestamp::from_micros(hour(n));
        let clock = ManualClock::at(at("2025-06-01T00:00:00Z"));
        let zone = "America/Santiago".parse().unwrap();
        let cdp = builder(&clock).zone(zone).seal_every(seal_every).in_memory().unwrap();
        let all = events.iter().enumerate().map(|(n, (user, h, visit))| {
            let name = if *visit { "Visit" } else { "Start" };
            event(&format!("u{user}"), name, hour(*h)).message_id(format!("m{n}")).property("kind", user % 3)
        });
        let mut early: Vec<Event> = all.collect();
        let late = early.split_off(events.len() / 2);
        cdp.ingest(early).unwrap();
        if block {
            cdp.set_rules(Rules::default().block("user_id", "u1")).unwrap();
        }
        if maintain {
            cdp.maintain().unwrap();
        }
        if unblock {
            cdp.set_rules(Rules::default()).unwrap();
        }
        cdp.ingest(late).unwrap();
        let is_held = |user: u32| user != 1 || !block || unblock;
        let mut trend = Trend::of(did("Visit")).every(interval);
        trend = since.into_iter().fold(trend, |trend, since| trend.since(hour(since)));
        trend = until.into_iter().fold(trend, |trend, until| trend.until(hour(until)));
        if until.zip(since).is_some_and(|(until, since)| hour(until) <= hour(since)) {
            return Ok(());
        }
        let series = cdp.trend(&trend).unwrap().series;
        let from = since.map_or(Timestamp::from_micros(i64::MIN), hour);
        let end = until.map_or(Timestamp::from_micros(i64::MAX), hour);
        let times = events.iter().filter(|event| event.2 && is_held(event.0)).map(|event| hour(event.1));
        let times: Vec<Timestamp> = times.filter(|at| *at >= from && *at < end).collect();
        let mut counted = 0;
        for (place, point) in series.iter().enumerate() {
            let next = series.get(place + 1).map_or(end, |next| next.start);
            let count = times.iter().filter(|at| (point.start..next).contains(at)).count();
            prop_assert_eq!(&point.value, &json!(count));
            counted += count;
        }
        prop_assert_eq!(counted, times.len());
        if !times.is_empty() {
            prop_assert_eq!(cdp.trend(&trend.by(By::property("kind"))).unwrap().series, series);
        }
    }

    /// Who did which step when is noted in words while events are read; where there is a breakdown, or something is excluded,
    /// events are kept. Both find the same of everybody.
    #[test]
    fn what_is_noted_of_a_funnel_is_what_events_say(
        events in prop::collection::vec((0_u32..8, 0_u32..600, 0_usize..4, 0..3), 1..120),
        joined in prop::collection::vec((0_u32..8, 0_u32..8), 0..3),
        same in any::<bool>(),
        within in prop::option::of(1_u32..200),
        since in prop::option::of(0_u32..300),
        of_some in any::<bool>(),
    ) {
        let minute = |n: u32| day(1).after(minutes(n));
        let all = events.iter().enumerate().map(|(n, (user, m, name, kind))| {
            let name = ["View", "Add", "Order", "Call"][*name];
            let event = Event::track(name).anonymous_id(format!("a{user}")).at(minute(*m));
            event.message_id(format!("m{n}")).property("kind", *kind)
        });
        let cdp = with(all);
        cdp.ingest(joined.iter().enumerate().map(|(n, (one, other))| {
            let alias = Event::identify().anonymous_id(format!("a{one}")).user_id(format!("u{other}"));
            alias.at(day(9)).message_id(format!("j{n}"))
        }))
        .unwrap();
        let first = if same { did("View") } else { did("View").where_property("kind").lt(2) };
        let mut funnel = Funnel::new([first, did("Add"), did(if same { "View" } else { "Order" })]);
        if let Some(within) = within {
            funnel = funnel.within(minutes(within));
        }
        if let Some(since) = since {
            funnel = funnel.since(minute(since));
        }
        if of_some {
            funnel = funnel.of_those(did("Call"));
        }
        let noted = cdp.funnel(&funnel).unwrap().steps;
        let kept = cdp.funnel(&funnel.clone().exclude(did("Nothing"))).unwrap().steps;
        prop_assert_eq!(&noted, &kept);
        if let Ok(kept) = cdp.funnel(&funnel.by(By::property("kind"))) {
            prop_assert_eq!(noted, kept.steps);
        }
    }

    /// Retention, trends and the lifecycle, against sets of days.
    #[test]
    fn what_is_counted_by_day_is_what_sets_of_days_say(
        events in prop::collection::vec((0_usize..5, 0_u32..8, any::<bool>()), 1..40)
    ) {
        let names = ["a", "b", "c", "d", "e"];
        let all = events.iter().enumerate().map(|(n, (user, d, start))| {
            let name = if *start { "Start" } else { "Visit" };
            event(names[*user], name, day(*d + 1)).message_id(format!("m{n}"))
        });
        let cdp = with(all);
        let days_of = |user: usize, starts: bool| -> Vec<u32> {
            let own = events.iter().filter(|(other, _, start)| *other == user && (*start || !starts));
            let mut days: Vec<u32> = own.map(|(_, day, _)| *day).collect();
            days.sort_unstable();
            days.dedup();
            days
        };
        for first in [true, false] {
            let question = Retention::new(did("Start"), did("*")).periods(8);
            let report = cdp.retention(&if first { question.first_time() } else { question }).unwrap();
            let mut naive: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
            for user in 0..5 {
                let starts = days_of(user, true);
                for start in starts.iter().take(if first { 1 } else { 99 }) {
                    let row = naive.entry(*start).or_insert_with(|| vec![0; 9]);
                    row[0] += 1;
                    for back in days_of(user, false).iter().filter(|back| *back > start) {
                        row[(back - start) as usize] += 1;
                    }
                }
            }
            let found: Vec<Vec<u64>> = report.cohorts.into_iter().map(|cohort| cohort.values).collect();
            prop_assert_eq!(found, naive.into_values().collect::<Vec<_>>());
        }
        let (first, last) = (events.iter().map(|e| e.1).min().unwrap(), events.iter().map(|e| e.1).max().unwrap());
        let unique = cdp.trend(&Trend::of(did("*")).measure(Measure::Unique)).unwrap().series;
        let total = cdp.trend(&Trend::of(did("*"))).unwrap().series;
        let lifecycle = cdp.lifecycle(&Lifecycle::of(did("*"))).unwrap().periods;
        prop_assert_eq!(unique.len(), (last - first + 1) as usize);
        for (place, day) in (first..=last).enumerate() {
            let active = |user: &usize, day: u32| days_of(*user, false).contains(&day);
            let before = |user: &usize, day: u32| days_of(*user, false).iter().any(|other| *other < day);
            let yesterday = |user: &usize| day > 0 && active(user, day - 1);
            let count = |fits: &dyn Fn(&usize) -> bool| (0..5).filter(|user| fits(user)).count() as u64;
            prop_assert_eq!(&unique[place].value, &json!(count(&|u| active(u, day))));
            prop_assert_eq!(&total[place].value, &json!(events.iter().filter(|e| e.1 == day).count()));
            let found = &lifecycle[place];
            prop_assert_eq!(found.new, count(&|u| active(u, day) && !before(u, day)));
            prop_assert_eq!(found.returning, count(&|u| active(u, day) && yesterday(u)));
            prop_assert_eq!(found.resurrecting, count(&|u| active(u, day) && before(u, day) && !yesterday(u)));
            prop_assert_eq!(found.dormant, count(&|u| !active(u, day) && yesterday(u)));
        }
    }
}

#[test]
fn scores_are_quintiles_in_which_equals_share() {
    let order =
        |user: &str, n: u32, revenue: Value| event(user, "Order", day(n)).property("revenue", revenue);
    let cdp = with([
        order("a", 1, json!(10)),
        order("b", 1, json!(10)),
        order("c", 5, json!(20)),
        order("d", 9, json!(30)),
        order("e", 10, json!(0.1)),
        order("e", 11, json!(0.2)),
        order("e", 30, json!(1000)),
    ]);
    let rfm = Rfm::new(did("Order"), "revenue").at(at("2024-04-12T00:00:00Z"));
    let told: Vec<_> = cdp
        .rfm(&rfm)
        .unwrap()
        .profiles
        .into_iter()
        .map(|p| (p.name, p.recency_days, p.frequency, p.monetary, [p.r, p.f, p.m], p.group))
        .collect();
    let expected = [
        ("user_id:a", 11, 1, json!(10), [1, 1, 2], "hibernating"),
        ("user_id:b", 11, 1, json!(10), [1, 1, 2], "hibernating"),
        ("user_id:c", 7, 1, json!(20), [3, 1, 4], "about_to_sleep"),
        ("user_id:d", 3, 1, json!(30), [4, 1, 5], "promising"),
        ("user_id:e", 1, 2, json!(0.3), [5, 5, 1], "champions"),
    ];
    assert_eq!(
        told,
        expected.map(|(name, r, f, m, scores, group)| (name.to_owned(), r, f, m, scores, group))
    );
    assert_eq!(cdp.rfm(&rfm.clone().since(day(9))).unwrap().profiles.len(), 2);
    let grouped = rfm.clone().by(By::property("revenue").top(1));
    let (named, counted) = (cdp.rfm(&grouped).unwrap(), cdp.rfm(&grouped.without_profiles()).unwrap());
    let cells: Vec<_> = counted
        .cells
        .iter()
        .flatten()
        .map(|c| (c.people, c.recency_days, c.frequency, c.monetary.clone(), [c.r, c.f, c.m], c.group))
        .collect();
    let expected = [
        (2, 22, 2, json!(20), [1, 1, 2], "hibernating"),
        (1, 7, 1, json!(20), [3, 1, 4], "about_to_sleep"),
        (1, 3, 1, json!(30), [4, 1, 5], "promising"),
        (1, 1, 2, json!(0.3), [5, 5, 1], "champions"),
    ];
    assert_eq!(cells, expected);
    assert!(named.cells.is_none() && counted.profiles.is_empty());
    assert_eq!(named.to_string(), counted.to_string(), "they print as the same table");
    let people: Vec<u64> = counted
        .groups
        .unwrap()
        .iter()
        .map(|group| {
            assert!(group.profiles.is_empty());
            group.cells.iter().flatten().map(|cell| cell.people).sum()
        })
        .collect();
    assert_eq!(people, [2, 3], "the largest group, and the rest");
    let error = cdp.rfm(&Rfm::new(did("Order"), "price")).unwrap_err();
    assert_eq!(error.to_string(), "value: none of the events that this is about has \"price\"");
    // The first of April ends at 16:00 UTC in Shanghai.
    let cdp = zoned("Asia/Shanghai", [order("a", 1, json!(1))]);
    let days = |at: &str| {
        cdp.rfm(&Rfm::new(did("Order"), "revenue").at(self::at(at))).unwrap().profiles[0].recency_days
    };
    assert_eq!((days("2024-04-01T15:59:59Z"), days("2024-04-01T16:00:00Z")), (0, 1));
}

proptest! {
    #![proptest_config(cases(32))]

    /// Bounds taken from quintiles give everybody their quintiles, and figures and groups are those of the question.
    #[test]
    fn scores_as_a_trait_are_those_of_the_question(
        orders in prop::collection::vec((0..6_u8, 0..480_i64, prop_oneof![(0..9_i64).prop_map(Value::from), (0..99_i32).prop_map(|n| json!(0.1 * f64::from(n))), Just(json!("x"))]), 1..30),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kathmandu", "-11:30"]),
        ask in 0..500_i64,
    ) {
        let now = at("2024-03-20T00:00:00Z");
        let hour = |n: i64| Timestamp::from_micros(now.as_micros() + n * 3_600_000_000);
        let clock = ManualClock::at(hour(480));
        let cdp = builder(&clock).zone(zone.parse().unwrap()).in_memory().unwrap();
        let events = orders.iter().map(|(who, at, total)| {
            event(&format!("u{who}"), "Order", hour(*at)).property("total", total.clone())
        });
        // A question about a property that no event has as a number is refused.
        let first = event("u9", "Order", now).property("total", 3);
        cdp.ingest(events.chain([first])).unwrap();
        clock.set(hour(ask));
        let report = cdp.rfm(&Rfm::new(did("Order"), "total")).unwrap();
        cdp.define_trait(ComputedTrait::rfm("rfm", did("Order"), "total", report.bounds())).unwrap();
        let scored: Vec<Value> = cdp.profiles().unwrap().iter().filter_map(|person| {
            let mut rfm = cdp.profile(person.id).unwrap().unwrap().computed.remove("rfm")?;
            rfm["name"] = person.name.to_string().into();
            Some(rfm)
        }).collect();
        prop_assert_eq!(json!(scored), json!(report.profiles));
        for score in 1..=5_u8 {
            let best = cdp.preview(has_trait("rfm.m").eq(score)).unwrap().len();
            prop_assert_eq!(best, report.profiles.iter().filter(|profile| profile.m == score).count());
        }
    }
}

#[test]
fn a_question_may_be_asked_of_two_times() {
    let cdp = with(visits(&[("a", 1), ("b", 1), ("a", 8)]));
    let monday = |n: u32| at("2024-04-01T00:00:00Z").after(days(n * 7));
    let trend = Trend::of(did("Visit")).every(Interval::Week).since(monday(1)).until(monday(2));
    let both = cdp.compare(&trend, monday(0), monday(1)).unwrap();
    assert_eq!((&both.report.series[0].value, &both.compared.series[0].value), (&json!(1), &json!(2)));
    assert!(both.to_string().contains("compared with"));
    assert!(matches!(cdp.compare(&trend, monday(1), monday(1)), Err(Error::Definition(_))));
}

#[test]
fn a_question_that_is_not_wanted_any_more_is_not_answered() {
    let cdp = with((0..5_000).map(|n| event("a", "Visit", day(1)).message_id(format!("m{n}"))));
    for stop_at in 0..4 {
        let mut heard = 0;
        let answer = cdp.analyse(&Sessions::default(), |_| {
            heard += 1;
            if heard > stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(answer, Err(Error::Cancelled)), "after {stop_at}");
    }
    assert_eq!(cdp.sessions(&Sessions::default()).unwrap().events, 5_000);
}

#[test]
fn questions_read_back_what_they_write() {
    macro_rules! round_trip {
        ($($question:expr),* $(,)?) => {$({
            let question = $question.since(day(1)).until(day(2)).of_segment("s").by(By::with_trait("city"));
            let text = serde_json::to_string(&question).unwrap();
            assert_eq!(serde_json::from_str(&text).map(|read| question == read).ok(), Some(true), "{text}");
        })*};
    }
    round_trip![
        Retention::new(did("A"), did("B")).every(Interval::Month).periods(3).first_time().value("x"),
        Retention::new(did("A"), did("B")).mode(RetentionMode::OnOrAfter),
        Trend::of(did("A*")).every(Interval::Hour).measure(Measure::Sum("x.y".into())),
        Trend::of(did("A")).measure(Measure::Unique),
        Lifecycle::of(did("A")).every(Interval::Week),
        Sessions::default().gap(minutes(5)).of(did("A")),
        Paths::from_event(did("A")).depth(3).top(7).gap(hours(1)),
        Attribution::of(did("A")).touches(did("B"), "c").model(AttributionModel::Markov).lookback(days(3)),
        Attribution::of(did("A")),
        Rfm::new(did("A"), "x").at(day(3)),
        Rfm::new(did("A"), "x").without_profiles(),
    ];
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    fn error<T: std::fmt::Debug>(read: Result<T, customerdb::DefinitionError>) -> String {
        read.unwrap_err().to_string()
    }
    for (found, expected) in [
        (error(Retention::from_json(r#"{"start": "A"}"#)), "return: missing"),
        (
            error(Retention::from_json(r#"{"start": "A", "return": "B", "periods": 0}"#)),
            "periods: must be at least 1",
        ),
        (
            error(Retention::from_json(r#"{"start": "A", "return": "B", "periods": -1}"#)),
            "periods: expected a whole",
        ),
        (
            error(Retention::from_json(r#"{"start": "A", "return": "B", "period": "hour"}"#)),
            "period: unknown \"hour\"",
        ),
        (
            error(Trend::from_json(r#"{"event": "A", "measure": "mean"}"#)),
            "measure: expected \"total\", \"unique\"",
        ),
        (
            error(Trend::from_json(r#"{"event": "A", "measure": {"sum": ""}}"#)),
            "measure.sum: must not be empty",
        ),
        (
            error(Trend::from_json(r#"{"event": "A", "interval": "year"}"#)),
            "interval: unknown \"year\", expected",
        ),
        (error(Lifecycle::from_json("{}")), "event: missing"),
        (error(Sessions::from_json(r#"{"gap": "0s"}"#)), "gap: must be longer than zero"),
        (error(Paths::from_json(r#"{"depth": 0}"#)), "depth: must be at least 1"),
        (
            error(Attribution::from_json(r#"{"conversion": "A", "model": "magic"}"#)),
            "model: unknown \"magic\"",
        ),
        (
            error(Attribution::from_json(r#"{"conversion": "A", "channel": "a..b"}"#)),
            "channel: a name between",
        ),
        (error(Rfm::from_json(r#"{"event": "A"}"#)), "value: missing"),
        (error(Rfm::from_json("[")), "not JSON"),
    ] {
        assert!(found.starts_with(expected), "{found}");
    }
    let cdp = with([]);
    let hourly = Retention::new(did("A"), did("B")).every(Interval::Hour);
    assert!(matches!(cdp.retention(&hourly), Err(Error::Definition(error)) if error.path() == "period"));
    assert!(
        matches!(cdp.funnel(&Funnel::new([did("A")])), Err(Error::Definition(error)) if error.path() == "steps")
    );
}
