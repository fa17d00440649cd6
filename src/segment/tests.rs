//! Tests that go through all of the module.

use proptest::arbitrary::any as arbitrary;
use proptest::prelude::{
    BoxedStrategy, Just, ProptestConfig, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use serde_json::{Value, json};

use super::*;
use crate::{History, Namespace, PastEvent, Timestamp, Verdict, days, hours, seconds};

fn event(name: &str, at: Timestamp, properties: &Value) -> PastEvent {
    let properties = properties.as_object().cloned().unwrap_or_default();
    PastEvent { name: name.into(), at, message_id: String::new(), properties }
}

/// A person with these events, each so many seconds after 1970.
fn person(events: &[(&str, i64, Value)]) -> History {
    let mut events: Vec<_> =
        events.iter().map(|(name, at, properties)| event(name, second(*at), properties)).collect();
    events.sort_by_key(|event| event.at);
    History { events, ..History::default() }
}

fn second(n: i64) -> Timestamp {
    Timestamp::from_millis(n * 1_000)
}

fn holds(condition: &Value, person: &History, now: i64) -> bool {
    let condition = Condition::from_value(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
    evaluate(&condition, person, second(now)).holds
}

#[test]
fn everyone_nobody_and_the_three_connectives() {
    let nobody_known = History::default();
    let (yes, no) = (json!({"all": []}), json!({"any": []}));
    for (condition, expected) in [
        (yes.clone(), true),
        (no.clone(), false),
        (json!({"not": no}), true),
        (json!({"all": [yes, yes]}), true),
        (json!({"all": [yes, no]}), false),
        (json!({"any": [no, yes]}), true),
        (json!({"any": [no, no]}), false),
    ] {
        assert_eq!(holds(&condition, &nobody_known, 0), expected, "{condition}");
    }
}

#[test]
fn identifiers_that_name_a_device_do_not_make_a_person_known() {
    let mut person =
        History { namespaces: vec![Namespace::ANONYMOUS_ID, Namespace::DEVICE_ID], ..History::default() };
    assert!(holds(&json!({"known": false}), &person, 0) && !holds(&json!({"known": true}), &person, 0));
    person.namespaces.push(Namespace::external("crm"));
    assert!(holds(&json!({"known": true}), &person, 0) && !holds(&json!({"known": false}), &person, 0));
    assert!(holds(&json!({"identifier": "external:crm"}), &person, 0));
    assert!(!holds(&json!({"identifier": "email"}), &person, 0));
}

#[test]
fn a_dotted_path_fits_if_any_element_on_its_way_does() {
    let mut person = History::default();
    let traits = json!({
        "address": {"city": "Lima"},
        "pets": [{"kind": "cat", "age": 3}, {"kind": "dog"}, "fish"],
        "none": [],
    });
    person.traits = traits.as_object().cloned().unwrap();
    for (condition, expected) in [
        (json!({"trait": "address.city", "eq": "Lima"}), true),
        (json!({"trait": "address.zip", "exists": true}), false),
        (json!({"trait": "pets.kind", "eq": "dog"}), true),
        (json!({"trait": "pets.kind", "eq": "cow"}), false),
        (json!({"trait": "pets.kind", "ne": "cat"}), true),
        (json!({"trait": "pets.age", "gt": 2}), true),
        (json!({"trait": "pets.age", "exists": false}), true),
        (json!({"trait": "pets", "contains": "fish"}), true),
        (json!({"trait": "pets", "eq": "fish"}), false),
        (json!({"trait": "none.x", "eq": 1}), false),
        (json!({"trait": "none.x", "ne": 1}), true),
        (json!({"trait": "none.x", "exists": false}), true),
        (json!({"trait": "none", "exists": true}), true),
    ] {
        assert_eq!(holds(&condition, &person, 0), expected, "{condition}");
    }
}

#[test]
fn counts_filters_and_elements() {
    let person = person(&[
        ("View", 1, json!({"price": 5, "tags": ["a", "b"]})),
        ("View", 2, json!({"price": 50.5, "lines": [{"sku": "S1", "n": 1}, {"sku": "S2", "n": 2}]})),
        ("View", 3, json!({"price": "70", "lines": {"sku": "S1", "n": 2}})),
        ("Viewed", 4, json!({})),
        ("Cafe\u{301}", 5, json!({"price": null})),
    ]);
    let lines = |sku: &str, n: i64| json!([{"property": "lines", "element": [{"property": "sku", "eq": sku}, {"property": "n", "gte": n}]}]);
    for (condition, expected) in [
        (json!({"event": "View"}), true),
        (json!({"event": "view"}), false),
        (json!({"event": "Café"}), true),
        (json!({"event": "Caf*"}), true),
        (json!({"event": "View", "count": {"eq": 3}}), true),
        (json!({"event": "View*", "count": {"eq": 4}}), true),
        (json!({"event": "*", "count": {"eq": 5}}), true),
        (json!({"event": "View", "count": {"gt": 2}}), true),
        (json!({"event": "View", "count": {"gt": 3}}), false),
        (json!({"event": "View", "count": {"gte": 3}}), true),
        (json!({"event": "View", "count": {"gte": 4}}), false),
        (json!({"event": "View", "count": {"gte": 0}}), true),
        (json!({"event": "View", "count": {"lt": 3}}), false),
        (json!({"event": "View", "count": {"lt": 0}}), false),
        (json!({"event": "View", "count": {"lte": 3.0}}), true),
        (json!({"event": "View", "count": {"between": [3, 5]}}), true),
        (json!({"event": "View", "count": {"eq": 0}}), false),
        (json!({"event": "Buy", "count": {"eq": 0}}), true),
        (json!({"event": "Buy", "count": {"lt": 5}}), true),
        (json!({"event": "Buy"}), false),
        (json!({"event": "View", "where": [{"property": "price", "gte": 50}], "count": {"eq": 1}}), true),
        (
            json!({"event": "View", "where": [{"property": "price", "gte": 50, "as": "number"}], "count": {"eq": 2}}),
            true,
        ),
        (json!({"event": "View", "where": [{"property": "price", "ne": 5}], "count": {"eq": 2}}), true),
        (json!({"event": "*", "where": [{"property": "price", "exists": false}], "count": {"eq": 2}}), true),
        (json!({"event": "View", "where": [{"property": "tags", "contains": "b"}]}), true),
        (
            json!({"event": "View", "where": [{"property": "price", "gt": 1}, {"property": "price", "lt": 9}], "count": {"eq": 1}}),
            true,
        ),
        (json!({"event": "View", "where": [{"property": "lines.sku", "eq": "S2"}]}), true),
        (json!({"event": "View", "where": lines("S1", 1)}), true),
        // No single element fits both; an object on its own is no array of one.
        (json!({"event": "View", "where": lines("S1", 2)}), false),
        (json!({"event": "View", "where": lines("S2", 2)}), true),
    ] {
        assert_eq!(holds(&condition, &person, 9), expected, "{condition}");
    }
}

#[test]
fn aggregates_are_exact_and_pass_over_what_is_not_there() {
    let noon = "2024-05-01T12:00:00Z";
    let person = person(&[
        ("Buy", 1, json!({"sum": 0.1, "mixed": "b", "big": 9_007_199_254_740_993_i64, "text": "10"})),
        ("Buy", 2, json!({"sum": 0.2, "mixed": 7, "big": 2, "text": "9", "at": noon})),
        ("Buy", 3, json!({"sum": null, "mixed": 3, "at": "2024-05-01T14:00:00+02:00"})),
        ("Buy", 4, json!({"mixed": true, "lines": [{"n": 1}, {"n": 2.0}, {"n": 1.0}, {}]})),
    ]);
    for (asked, expected) in [
        (json!({"sum": "sum", "eq": 0.3}), true),
        (json!({"sum": "sum", "gt": 0.3}), false),
        (json!({"sum": "sum", "gte": 0.3}), true),
        (json!({"sum": "sum", "in": [0.2, 0.3]}), true),
        (json!({"sum": "sum", "between": [0.3, 0.3]}), true),
        (json!({"sum": "sum", "lt": 0.300_000_1}), true),
        (json!({"sum": "big", "eq": 9_007_199_254_740_995_i64}), true),
        (json!({"sum": "big", "gt": 9_007_199_254_740_994.0}), true),
        (json!({"sum": "mixed", "eq": 10}), true),
        (json!({"sum": "text", "eq": 0}), true),
        (json!({"sum": "text", "eq": 19, "as": "number"}), true),
        (json!({"sum": "absent", "eq": 0}), true),
        (json!({"sum": "absent", "lt": 5}), true),
        (json!({"sum": "absent", "exists": true}), true),
        (json!({"sum": "lines.n", "eq": 4}), true),
        (json!({"avg": "sum", "eq": 0.15}), true),
        (json!({"avg": "mixed", "eq": 5}), true),
        (json!({"avg": "absent", "lt": 5}), false),
        (json!({"avg": "absent", "ne": 5}), true),
        (json!({"min": "mixed", "eq": 3}), true),
        (json!({"max": "mixed", "eq": 7}), true),
        (json!({"max": "text", "eq": "9"}), true),
        (json!({"max": "text", "eq": 10, "as": "number"}), true),
        (json!({"min": "at", "eq": noon}), true),
        (json!({"max": "absent", "exists": false}), true),
        (json!({"unique": "mixed", "eq": 4}), true),
        (json!({"unique": "at", "eq": 1}), true),
        (json!({"unique": "lines.n", "eq": 2}), true),
        (json!({"unique": "absent", "lt": 5}), false),
        (json!({"unique": "absent", "not_in": [0]}), true),
        (json!({"first": "mixed", "eq": "b"}), true),
        (json!({"last": "mixed", "eq": true}), true),
        (json!({"last": "sum", "eq": 0.2}), true),
        (json!({"first": "at", "eq": noon}), true),
        (json!({"first": "absent", "eq": 1}), false),
        (json!({"sum": "sum", "gte": 0.3, "count": {"gte": 4}}), true),
        (json!({"sum": "sum", "gte": 0.3, "count": {"gte": 5}}), false),
    ] {
        let mut condition = asked;
        condition["event"] = json!("Buy");
        assert_eq!(holds(&condition, &person, 9), expected, "{condition}");
    }
    assert!(holds(&json!({"event": "Nothing", "sum": "x", "eq": 0}), &person, 9));
    assert!(!holds(&json!({"event": "Nothing", "max": "x", "lt": 9}), &person, 9));
}

#[test]
fn windows_leave_out_their_start_and_include_now() {
    let person = person(&[("A", 100, json!({"n": 1}))]);
    let within = json!({"event": "A", "within": "30s"});
    let ending = json!({"event": "A", "within": "30s", "ending": "10s"});
    let fixed = json!({"event": "A", "from": second(100), "until": second(101)});
    for (condition, now, expected) in [
        (&within, 99, false),
        (&within, 100, true),
        (&within, 129, true),
        (&within, 130, false),
        (&ending, 109, false),
        (&ending, 110, true),
        (&ending, 129, true),
        (&ending, 130, false),
        (&fixed, 0, true),
        (&fixed, 1_000, true),
        (&json!({"event": "A"}), 0, true),
        (&json!({"event": "A", "from": second(101)}), 0, false),
        (&json!({"event": "A", "from": second(100)}), 0, true),
        (&json!({"event": "A", "until": second(100)}), 0, false),
    ] {
        assert_eq!(holds(condition, &person, now), expected, "{condition} at {now}");
    }
}

#[test]
fn first_time_looks_at_the_first_that_fits_and_then_at_the_window() {
    let person =
        person(&[("A", 10, json!({"n": 1})), ("A", 50, json!({"n": 2})), ("A", 60, json!({"n": 2}))]);
    let first = json!({"event": "A", "first_time": true, "within": "30s"});
    let first_big =
        json!({"event": "A", "where": [{"property": "n", "eq": 2}], "first_time": true, "within": "30s"});
    let never = json!({"event": "A", "first_time": true, "within": "30s", "count": {"eq": 0}});
    for (condition, now, expected) in [
        (&first, 39, true),
        (&first, 40, false),
        (&first, 60, false),
        (&first_big, 60, true),
        (&first_big, 79, true),
        (&first_big, 80, false),
        (&never, 39, false),
        (&never, 60, true),
        (&json!({"event": "A", "first_time": true, "count": {"eq": 1}}), 0, true),
        (&json!({"event": "A", "first_time": true, "sum": "n", "eq": 1}), 0, true),
        (&json!({"event": "A", "first_time": true, "from": second(11)}), 0, false),
    ] {
        assert_eq!(holds(condition, &person, now), expected, "{condition} at {now}");
    }
}

#[test]
fn answers_say_until_when_they_stand() {
    let person = person(&[("A", 10, json!({})), ("A", 20, json!({})), ("A", 90, json!({}))]);
    let window = |condition: Condition| condition.within(seconds(30));
    for (condition, now, holds, until) in [
        (did("A"), 0, true, None),
        (window(did("A")), 25, true, Some(50)),
        (window(did("A")), 60, false, Some(90)),
        (window(did("A")), 200, false, None),
        (window(did("A").at_least(2)), 25, true, Some(40)),
        (window(did("A").at_least(3)), 25, false, Some(90)),
        (window(did_not("A")), 25, false, Some(50)),
        (window(did("A").at_least(0)), 25, true, None),
        (window(did("A")).ending(seconds(10)), 25, true, Some(40)),
        (all([did("B"), window(did("A"))]), 25, false, None),
        (any([did("A"), window(did("A"))]), 25, true, None),
        (all([window(did("A")), did("A").within(seconds(8))]), 25, true, Some(28)),
        (any([window(did("A")), did("A").within(seconds(8))]), 25, true, Some(50)),
    ] {
        let verdict = evaluate(&condition, &person, second(now));
        assert_eq!(verdict.holds, holds, "{condition:?}");
        assert_eq!(verdict.until, until.map(second), "{condition:?}");
    }
}

#[test]
fn ages_of_traits_change_when_their_span_is_over() {
    let mut person = History::default();
    person.traits.insert("seen".into(), json!("1970-01-01T02:00:00+01:00"));
    person.traits.insert("word".into(), json!("yesterday"));
    let hour = |n: i64| second(n * 3600);
    for (condition, now, holds, until) in [
        (has_trait("seen").within(hours(2)), 0, false, Some(1)),
        (has_trait("seen").within(hours(2)), 1, true, Some(3)),
        (has_trait("seen").within(hours(2)), 3, false, None),
        (has_trait("seen").older_than(hours(2)), 2, false, Some(3)),
        (has_trait("seen").older_than(hours(2)), 3, true, None),
        (has_trait("word").within(hours(2)), 3, false, None),
        (has_trait("word").older_than(hours(2)), 3, false, None),
    ] {
        let verdict = evaluate(&condition, &person, hour(now));
        assert_eq!((verdict.holds, verdict.until), (holds, until.map(hour)), "{condition:?} at {now}");
    }
}

#[test]
fn sequences_worked_by_hand() {
    let cart = |id: i64| json!({"cart": id});
    let person = person(&[
        ("A", 0, cart(1)),
        ("C", 5, cart(2)),
        ("B", 10, cart(1)),
        ("A", 10, cart(2)),
        ("D", 20, cart(2)),
        ("A", 30, cart(3)),
    ]);
    let (a, b, c, d) =
        (json!({"event": "A"}), json!({"event": "B"}), json!({"event": "C"}), json!({"event": "D"}));
    let not = |step: &Value| json!({"not": step});
    for (steps, more, now, expected) in [
        (json!([a, b]), json!({}), 50, true),
        (json!([b, a]), json!({}), 50, true),
        (json!([b, a]), json!({"within": "19s"}), 50, false),
        (json!([b, a]), json!({"within": "20s"}), 50, true),
        (json!([a, b]), json!({"within": "10s"}), 50, true),
        (json!([a, b]), json!({"within": "9s"}), 50, false),
        (json!([a, not(&c), b]), json!({}), 50, false),
        (json!([a, not(&d), b]), json!({}), 50, true),
        // The C is of another cart.
        (json!([a, not(&c), b]), json!({"same": "cart"}), 50, true),
        (json!([a, d]), json!({"same": "cart"}), 50, true),
        (json!([c, b]), json!({"same": "cart"}), 50, false),
        (json!([a, a, a]), json!({}), 50, true),
        (json!([a, a, a, a]), json!({}), 50, false),
        // The last A is followed by no D for 10 seconds, which is known once they are over.
        (json!([a, not(&d)]), json!({"within": "10s", "same": "cart"}), 40, true),
        (json!([d, not(&a)]), json!({"within": "10s"}), 30, false),
        (json!([d, not(&b)]), json!({"within": "10s"}), 30, false),
        (json!([d, not(&b)]), json!({"within": "10s"}), 31, true),
        (json!([a, b, not(&d)]), json!({"within": "15s"}), 50, true),
        (json!([a, b, not(&d)]), json!({"within": "20s"}), 50, false),
        (json!([a, b, not(&c)]), json!({"within": "15s"}), 50, true),
    ] {
        let mut condition = more;
        condition["sequence"] = steps;
        assert_eq!(holds(&condition, &person, now), expected, "{condition} at {now}");
    }
    let waiting = json!({"sequence": [d, not(&b)], "within": "10s"});
    let verdict = evaluate(&Condition::from_value(&waiting).unwrap(), &person, second(25));
    assert_eq!(verdict, Verdict::until(false, Some(second(30).after(crate::Span::from_micros(1)))));
}

#[test]
fn ties_keep_the_order_of_message_ids_where_they_are_allowed() {
    let mut person = person(&[("A", 1, json!({})), ("B", 1, json!({})), ("C", 1, json!({}))]);
    for (place, event) in person.events.iter_mut().enumerate() {
        event.message_id = format!("m{place}");
    }
    let steps = |names: &[&str]| names.iter().map(|name| json!({"event": name})).collect::<Value>();
    for (names, strictly, expected) in [
        (&["A", "B", "C"][..], true, false),
        (&["A", "B", "C"], false, true),
        (&["B", "A"], false, false),
        (&["A", "A"], false, false),
    ] {
        let condition = json!({"sequence": steps(names), "strictly_increasing": strictly});
        assert_eq!(holds(&condition, &person, 9), expected, "{condition}");
    }
}

#[test]
fn periods_are_whole_and_the_last_ones() {
    let day = 86_400;
    // Noon of days 1, 2, 2, 3 and 5 after 1970-01-01, and today, day 8.
    let at = |n: i64| ("A", n * day + day / 2, json!({}));
    let person = person(&[at(1), at(2), at(2), at(3), at(5), at(8)]);
    let noon = 8 * day + day / 2;
    for (periods, now, expected) in [
        (json!({"every": "1d", "of": 7, "gte": 4}), noon, true),
        (json!({"every": "1d", "of": 7, "gte": 5}), noon, false),
        (json!({"every": "1d", "of": 6, "eq": 3}), noon, true),
        (json!({"every": "1d", "of": 3, "gte": 1}), noon, true),
        (json!({"every": "1d", "of": 2, "eq": 0}), noon, true),
        (json!({"every": "1d", "of": 2, "gte": 1, "lt": 2}), 9 * day, true),
        (json!({"every": "1w", "of": 1, "gte": 1}), noon, true),
    ] {
        let condition = json!({"event": "A", "periods": periods});
        assert_eq!(holds(&condition, &person, now), expected, "{condition}");
    }
}

#[test]
fn a_comparison_has_held_since_the_value_that_made_it_so() {
    let mut person = History::default();
    person.traits.insert("status".into(), json!("active"));
    let past = [
        (0, json!("new")),
        (10, json!("active")),
        (20, json!("active")),
        (30, json!(null)),
        (40, json!("active")),
    ];
    person.past.insert("status".into(), past.map(|(at, value)| (second(at), value)).to_vec());
    let active = |span: &str| json!({"trait": "status", "eq": "active", "for": span});
    assert!(!holds(&active("10s"), &person, 49) && holds(&active("10s"), &person, 50));
    assert!(holds(&json!({"trait": "status", "ne": "lost", "for": "90s"}), &person, 50), "it never was");
    assert!(holds(&json!({"trait": "other", "exists": false, "for": "90s"}), &person, 50), "never said");
    assert!(!holds(&json!({"trait": "status", "eq": "new", "for": "1s"}), &person, 50));
    let verdict = evaluate(&Condition::from_value(&active("10s")).unwrap(), &person, second(45));
    assert_eq!(verdict, Verdict::until(false, Some(second(50))));
}

#[test]
fn names_with_dots_go_before_the_paths_that_they_spell() {
    let mut person = History::default();
    person.traits.insert("address.city".into(), json!("Lima"));
    person.traits.insert("address".into(), json!({"city": "Oslo", "zip": "0150"}));
    assert!(holds(&json!({"trait": "address.city", "eq": "Lima"}), &person, 0));
    assert!(holds(&json!({"trait": "address.zip", "eq": "0150"}), &person, 0));
}

#[test]
fn several_operators_are_met_by_one_value() {
    let mut person = person(&[("A", 1, json!({})), ("A", 2, json!({})), ("A", 3, json!({"x": 7}))]);
    person.traits.insert("n".into(), json!([{"x": 0}, {"x": 9}]));
    for (condition, expected) in [
        (json!({"trait": "n.x", "gte": 1, "lt": 5}), false),
        (json!({"trait": "n.x", "gte": 1, "lt": 10}), true),
        (json!({"event": "A", "count": {"gte": 1, "lt": 3}}), false),
        (json!({"event": "A", "count": {"gte": 1, "lt": 4}}), true),
        (json!({"event": "A", "sum": "x", "gt": 6, "lte": 7}), true),
        (json!({"event": "A", "where": [{"property": "x", "gt": 6, "ne": 7}]}), false),
    ] {
        assert_eq!(holds(&condition, &person, 9), expected, "{condition}");
    }
}

#[test]
fn a_mean_that_is_no_decimal_is_the_float_that_it_is_told_as() {
    let person = person(&[("A", 1, json!({"x": 1})), ("A", 2, json!({"x": 2})), ("A", 3, json!({"x": 2}))]);
    let mean = 5.0 / 3.0;
    for (operator, expected) in [("eq", true), ("gte", true), ("lte", true), ("gt", false), ("lt", false)] {
        assert_eq!(
            holds(&json!({"event": "A", "avg": "x", operator: mean}), &person, 9),
            expected,
            "{operator}"
        );
    }
}

#[test]
fn samples_part_everybody_into_ranges() {
    let mut inside = 0;
    for n in 0..1_000_u128 {
        let id = crate::ProfileId::from_uuid(uuid::Uuid::from_u128(n));
        let person = History { profile: Some(id), ..History::default() };
        let within =
            |from: u32, to: u32| holds(&json!({"sample": {"salt": "s", "from": from, "to": to}}), &person, 0);
        assert!(within(0, 100) && within(0, 10) != within(10, 100));
        inside += u32::from(within(0, 10));
    }
    assert!((50..150).contains(&inside), "{inside} of 1,000 in 10 percent");
}

#[test]
fn builders_mean_what_their_json_means() {
    let time = second(1_714_564_800);
    for (built, json) in [
        (did("A").at_most(2), json!({"event": "A", "count": {"lte": 2}})),
        (did("A").times(2).first_time(), json!({"event": "A", "count": {"eq": 2}, "first_time": true})),
        (did("A").ending(days(1)).within(days(7)), json!({"event": "A", "within": "1w", "ending": "1d"})),
        (did("A").until(time).since(second(0)), json!({"event": "A", "from": second(0), "until": time})),
        (did("A").avg("x").number().lt(5), json!({"event": "A", "avg": "x", "lt": 5, "as": "number"})),
        (
            did("A").where_element("x", [property("y").starts_with("z")]),
            json!({"event": "A", "where": [{"property": "x", "element": [{"property": "y", "starts_with": "z"}]}]}),
        ),
        (has_trait("x").between(1, 5), json!({"trait": "x", "between": [1, 5]})),
        (has_trait("x").gt(time), json!({"trait": "x", "gt": time})),
        (has_trait("x").not_in([1, 2]), json!({"trait": "x", "not_in": [1, 2]})),
        (has_trait("x").into(), json!({"trait": "x", "exists": true})),
        (has_trait("x").range(1..), json!({"trait": "x", "gte": 1})),
        (has_trait("x").range(1..=5), json!({"trait": "x", "lte": 5, "gte": 1})),
        (in_segment("vip"), json!({"segment": "vip"})),
        (has_tag("polar"), json!({"tag": "polar"})),
        (
            sequence([did("A").where_property("x").eq(1), did_not("C"), did("B")]).allowing_ties(),
            json!({"sequence": [
                {"event": "A", "where": [{"property": "x", "eq": 1}]}, {"not": {"event": "C"}}, {"event": "B"}
            ], "strictly_increasing": false}),
        ),
        (
            not(any([is_known(), has_identifier("email")])),
            json!({"not": {"any": [{"known": true}, {"identifier": "email"}]}}),
        ),
    ] {
        assert_eq!(built.check(), Ok(()));
        assert_eq!(built, Condition::from_value(&json).unwrap(), "{json}");
    }
}

#[test]
fn what_makes_no_sense_can_be_built_but_not_defined() {
    for (built, reason) in [
        (is_known().within(days(1)), "within: refines what somebody did, begin with did(…)"),
        (all([has_trait("x").eq(1).at_least(2)]), "at_least: refines what somebody did, begin with did(…)"),
        (any([has_trait("x").eq(f64::NAN)]), "any[0].eq: null is no value, ask with \"exists\": false"),
        (is_known().same("x"), "same: refines a sequence"),
        (did("A").held_for(days(1)), "held_for: refines the comparison of a trait"),
        (
            sequence([did("A").at_least(2)]),
            "sequence: a step is an event with a name and properties, or such a one that must not come",
        ),
        (sequence([]), "sequence: must not be empty"),
        (
            has_account(did("A")),
            "account.event: an account has traits only, expected one of all, any, not, trait",
        ),
        (in_sample("x", 5.0, f64::NAN), "sample.to: expected a number, found null"),
        (did("A").in_periods(1, 7, days(0)), "periods.every: must be longer than zero"),
        (did(""), "event: must not be empty"),
        (did("A").within(days(0)), "within: must be longer than zero"),
        (has_identifier(""), "identifier: must not be empty"),
        ((0..10_000).fold(is_known(), |inner, _| not(inner)), "nested deeper than 128 conditions"),
    ] {
        assert_eq!(built.check().unwrap_err().to_string(), reason);
    }
}

#[test]
fn segments_have_a_name_and_read_back_what_they_write() {
    let segment = Segment::new("vip", did("Order Completed").sum("revenue").gte(500));
    let text = serde_json::to_string(&segment).unwrap();
    assert_eq!(text, r#"{"condition":{"event":"Order Completed","gte":500,"sum":"revenue"},"name":"vip"}"#);
    assert_eq!(serde_json::from_str::<Segment>(&text).unwrap(), segment);
    for (value, expected) in [
        (json!({"name": "", "condition": {"all": []}}), "name: must not be empty"),
        (
            json!({"name": "x".repeat(201), "condition": {"all": []}}),
            "name: must not be longer than 200 bytes, found 201",
        ),
        (json!({"name": "x"}), "missing \"condition\""),
        (
            json!({"name": "x", "condition": {"all": [{}]}, "size": 1}),
            "unknown member \"size\", expected one of name, condition, live, members",
        ),
        (
            json!({"name": "x", "condition": {"not": {"known": 1}}}),
            "not.known: expected true or false, found a number",
        ),
    ] {
        assert_eq!(Segment::from_value(&value).unwrap_err().to_string(), expected);
    }
    let error = Segment::new("x", not(did(""))).check().unwrap_err();
    assert_eq!(error.path(), "not.event");
}

// Random conditions over random histories, in whole seconds and few values, so that boundaries meet.

/// An operator for any subject.
#[derive(Debug, Clone)]
enum Op {
    One(u8, Value),
    List(bool, Vec<Value>),
    Between(i32, i32),
    Text(u8, String),
    Exists(bool),
}

fn value() -> BoxedStrategy<Value> {
    prop_oneof![
        4 => (-3..4_i64).prop_map(Value::from),
        1 => prop_oneof![Just(0.1), Just(0.3), Just(1.0), Just(-2.5), Just(1e300), Just(1e-9)].prop_map(Value::from),
        1 => any_number(),
        1 => arbitrary::<bool>().prop_map(Value::from),
        2 => text().prop_map(Value::from),
        1 => (0..5_i64).prop_map(|n| Value::from(second(n))),
        1 => Just(json!(["a", 1, null, {"b": 1.5}])),
        1 => Just(json!({"x": [1]})),
    ]
    .boxed()
}

fn any_number() -> BoxedStrategy<Value> {
    prop_oneof![
        arbitrary::<i64>().prop_map(Value::from),
        arbitrary::<u64>().prop_map(Value::from),
        arbitrary::<f64>().prop_filter("JSON has no others", |float| float.is_finite()).prop_map(Value::from),
    ]
    .boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![Just("a".into()), Just("ab".into()), Just("e\u{301}".into()), Just("5".into()), ".{0,4}"]
        .boxed()
}

fn op() -> BoxedStrategy<Op> {
    let ordered = value().prop_filter("kinds with an order", |value| !value.is_array() && !value.is_object());
    prop_oneof![
        4 => (0..4_u8, ordered).prop_map(|(which, value)| Op::One(which, value)),
        2 => (4..7_u8, value()).prop_map(|(which, value)| Op::One(which, value)),
        1 => (arbitrary::<bool>(), prop::collection::vec(value(), 0..4)).prop_map(|(is_in, list)| Op::List(is_in, list)),
        1 => (-3..2, 0..3).prop_map(|(low, more)| Op::Between(low, low + more)),
        1 => (0..3_u8, text()).prop_map(|(which, text)| Op::Text(which, text)),
        1 => arbitrary::<bool>().prop_map(Op::Exists),
    ]
    .boxed()
}

fn apply<Of, Out>(subject: Subject<Of, Out>, op: Op) -> Out {
    match op {
        Op::One(0, value) => subject.gt(value),
        Op::One(1, value) => subject.gte(value),
        Op::One(2, value) => subject.lt(value),
        Op::One(3, value) => subject.lte(value),
        Op::One(4, value) => subject.eq(value),
        Op::One(5, value) => subject.ne(value),
        Op::One(_, value) => subject.contains(value),
        Op::List(true, values) => subject.is_in(values),
        Op::List(false, values) => subject.not_in(values),
        Op::Between(low, high) => subject.number().between(low, high),
        Op::Text(0, text) => subject.starts_with(&text),
        Op::Text(1, text) => subject.ends_with(&text),
        Op::Text(_, text) => subject.matches(&regex::escape(&text)),
        Op::Exists(true) => subject.exists(),
        Op::Exists(false) => subject.is_missing(),
    }
}

fn path() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("n"), Just("s"), Just("list"), Just("list.n"), Just("t")]
}

fn did_something() -> BoxedStrategy<Condition> {
    let name = prop_oneof![Just("A"), Just("B"), Just("A*"), Just("*")];
    let window = prop_oneof![
        1 => Just((0, 0, 0)),
        4 => (Just(1), 1..40_u32, Just(0)),
        3 => (1..20_u32, 1..20_u32).prop_map(|(ending, more)| (2, ending + more, ending)),
        1 => (0..40_u32, 1..40_u32).prop_map(|(from, more)| (3, from, from + more)),
    ];
    let count = prop_oneof![2 => Just((9, 0)), 3 => (0..4_u8, 0..4_u64)];
    let filter = prop::option::of((path(), op()));
    let element = prop::option::weighted(0.2, op());
    let aggregate = prop::option::weighted(0.5, (0..7_u8, path(), op()));
    (name, window, count, filter, element, aggregate, arbitrary::<bool>())
        .prop_map(|(name, window, count, filter, element, aggregate, first)| {
            let mut condition = match window {
                (1, span, _) => did(name).within(seconds(span)),
                (2, span, ending) => did(name).within(seconds(span)).ending(seconds(ending)),
                (3, from, until) => did(name).since(second(from.into())).until(second(until.into())),
                _ => did(name),
            };
            condition = match count {
                (0, n) => condition.at_least(n),
                (1, n) => condition.at_most(n),
                (2, n) => condition.times(n),
                (3, n) => {
                    let mut value = condition.to_value();
                    value["count"] = json!({"between": [n, n + 1]});
                    Condition::from_value(&value).unwrap()
                }
                _ => condition,
            };
            if let Some((path, op)) = filter {
                condition = apply(condition.where_property(path), op);
            }
            if let Some(op) = element {
                condition = condition.where_element("list", [apply(property("n"), op)]);
            }
            if let Some((which, path, op)) = aggregate {
                let aggregates = [
                    Condition::sum,
                    Condition::avg,
                    Condition::min,
                    Condition::max,
                    Condition::unique,
                    Condition::first,
                    Condition::last,
                ];
                condition = apply(aggregates[usize::from(which)](condition, path), op);
            }
            if first { condition.first_time() } else { condition }
        })
        .boxed()
}

fn condition() -> BoxedStrategy<Condition> {
    let leaf = prop_oneof![
        6 => did_something(),
        2 => (path(), op()).prop_map(|(path, op)| apply(has_trait(path), op)),
        1 => (path(), 1..40_u32).prop_map(|(path, n)| has_trait(path).within(seconds(n))),
        1 => (path(), 1..40_u32).prop_map(|(path, n)| has_trait(path).older_than(seconds(n))),
        1 => arbitrary::<bool>().prop_map(Condition::Known),
        1 => Just(has_identifier("email")),
        2 => (path(), op(), 1..40_u32).prop_map(|(path, op, n)| apply(has_trait(path), op).held_for(seconds(n))),
        1 => (path(), 1..400_u32).prop_map(|(path, n)| has_trait(path).anniversary_within(n)),
        1 => (path(), -3..3_i64, 0..4_i64).prop_map(|(path, n, more)| has_trait(path).range(n..=n + more)),
        3 => sequences(),
        1 => (0..4_u64, 0..4_u64, 1..9_u32).prop_map(|(n, more, every)| did("A").in_periods(n, n + more + 1, seconds(every))),
        1 => prop_oneof![Just("s"), Just("t")].prop_map(in_segment),
        1 => prop_oneof![Just("s"), Just("t")].prop_map(has_tag),
        1 => (path(), op()).prop_map(|(path, op)| has_account(apply(has_trait(path), op))),
        1 => (0..50_u32, 1..50_u32).prop_map(|(from, more)| in_sample("x", from.into(), (from + more).into())),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::Any),
            inner.prop_map(not),
        ]
    })
    .boxed()
}

fn sequences() -> BoxedStrategy<Condition> {
    let step = || {
        let filter = prop::option::weighted(0.2, op());
        (prop_oneof![Just("A"), Just("B"), Just("AB"), Just("A*")], filter).prop_map(|(name, filter)| {
            match filter {
                Some(op) => apply(did(name).where_property("n"), op),
                None => did(name),
            }
        })
    };
    let steps = prop::collection::vec((step(), prop::bool::weighted(0.3)), 1..5);
    (steps, prop::option::of(1..40_u32), arbitrary::<bool>(), arbitrary::<bool>())
        .prop_map(|(steps, within, same, ties)| {
            let mut first = true;
            let steps: Vec<Condition> = steps
                .into_iter()
                .map(
                    |(step, forbidden)| {
                        if forbidden && !std::mem::take(&mut first) { not(step) } else { step }
                    },
                )
                .collect();
            let open_end = matches!(steps.last(), Some(Condition::Not(_)));
            let mut built = sequence(steps);
            if let Some(span) = within.or(open_end.then_some(9)) {
                built = built.within(seconds(span));
            }
            built = if same { built.same("s") } else { built };
            if ties { built.allowing_ties() } else { built }
        })
        .boxed()
}

/// Whether a sequence has come about, found by trying every choice of events.
fn naive_sequence(condition: &SequenceCondition, events: &[PastEvent], now: Timestamp) -> bool {
    fn choose(
        condition: &SequenceCondition,
        events: &[PastEvent],
        now: Timestamp,
        chosen: &mut Vec<usize>,
    ) -> bool {
        let positive: Vec<usize> =
            (0..condition.steps.len()).filter(|n| !condition.steps[*n].forbidden).collect();
        let key = |place: usize| {
            let path = condition.same.as_ref()?;
            let mut found = None;
            path.any(&events[place].properties, |value| {
                found = value.filter(|value| !value.is_null()).cloned();
                true
            });
            found
        };
        let alike = |a: usize, b: usize| {
            condition.same.is_none()
                || key(a).zip(key(b)).is_some_and(|(a, b)| {
                    let a = crate::value::Comparable::of(&a, false).unwrap();
                    a.order(&crate::value::Comparable::of(&b, false).unwrap()).is_eq()
                })
        };
        // Whether one event is after another, as far as the sequence is concerned.
        let after = |a: usize, b: usize| {
            if condition.strictly_increasing { events[b].at > events[a].at } else { b > a }
        };
        let Some(&step) = positive.get(chosen.len()) else {
            let (first, last) = (chosen[0], chosen[chosen.len() - 1]);
            let trailing = &condition.steps[positive[positive.len() - 1] + 1..];
            let Some(within) = condition.within.filter(|_| !trailing.is_empty()) else { return true };
            let end = events[first].at.after(within);
            let undone = (0..events.len()).any(|place| {
                after(last, place)
                    && events[place].at <= end
                    && alike(first, place)
                    && trailing.iter().any(|step| step.event.fits(&events[place]))
            });
            return !undone && end < now;
        };
        (0..events.len()).any(|place| {
            let fits = condition.steps[step].event.fits(&events[place])
                && (condition.same.is_none() || key(place).is_some());
            let fits = fits
                && match chosen[..] {
                    [] => true,
                    [first] | [first, ..] => {
                        let last = chosen[chosen.len() - 1];
                        let previous = positive[chosen.len() - 1];
                        let between = &condition.steps[previous + 1..step];
                        let forbidden = (0..events.len()).any(|other| {
                            after(last, other)
                                && after(other, place)
                                && alike(first, other)
                                && between.iter().any(|step| step.event.fits(&events[other]))
                        });
                        after(last, place)
                            && alike(first, place)
                            && !forbidden
                            && condition
                                .within
                                .is_none_or(|within| events[place].at <= events[first].at.after(within))
                    }
                };
            fits && {
                chosen.push(place);
                let found = choose(condition, events, now, chosen);
                chosen.pop();
                found
            }
        })
    }
    choose(condition, events, now, &mut Vec::new())
}

fn members() -> BoxedStrategy<Value> {
    let list = prop::collection::vec(prop_oneof![value(), value().prop_map(|n| json!({"n": n}))], 0..3);
    (prop::option::of(value()), text(), list, 0..60_i64)
        .prop_map(|(n, s, list, t)| json!({"n": n, "s": s, "list": list, "t": second(t)}))
        .boxed()
}

fn history() -> BoxedStrategy<History> {
    let name = prop_oneof![Just("A"), Just("B"), Just("AB")];
    let events = prop::collection::vec((name, 0..60_i64, members()), 0..12);
    let verdict = || (arbitrary::<bool>(), prop::option::of(100..200_i64));
    let past = prop::collection::vec((0..60_i64, value()), 0..4);
    (events, members(), arbitrary::<bool>(), (verdict(), verdict()), past, members())
        .prop_map(|(events, traits, email, (member, tagged), mut past, account)| {
            let mut person = person(&events);
            person.traits = traits.as_object().cloned().unwrap_or_default();
            past.sort_by_key(|(at, _)| *at);
            past.dedup_by_key(|(at, _)| *at);
            let mut past: Vec<_> = past.into_iter().map(|(at, value)| (second(at), value)).collect();
            // What stands last is what stands.
            past.push((second(60), person.traits["n"].clone()));
            person.past.insert("n".into(), past);
            let verdict = |(holds, until): (bool, Option<i64>)| Verdict::until(holds, until.map(second));
            person.segments.insert("s".into(), verdict(member));
            person.tags.insert("t".into(), verdict(tagged));
            let traits = account.as_object().cloned().unwrap_or_default();
            person.accounts = vec![History { traits, ..History::default() }];
            person.profile = Some(crate::ProfileId::from_uuid(uuid::Uuid::from_u128(7)));
            person.namespaces = if email { vec![Namespace::EMAIL] } else { vec![Namespace::DEVICE_ID] };
            person
        })
        .boxed()
}

/// The number of events that count, found by looking at each on its own.
fn naive_count(condition: &EventCondition, person: &History, now: Timestamp) -> u64 {
    use super::condition::{CountTest, Window};
    let fits = |event: &&PastEvent| {
        let alone = EventCondition {
            window: Window::Ever,
            first_time: false,
            count: vec![CountTest::Eq(1)],
            aggregate: None,
            ..condition.clone()
        };
        let person = History { events: vec![(*event).clone()], ..History::default() };
        evaluate(&Condition::Event(Box::new(alone)), &person, now).holds
    };
    let inside = |event: &&PastEvent| match condition.window {
        Window::Ever => true,
        Window::Within { span, ending } => {
            event.at.after(span) > now && ending.map_or(event.at, |ending| event.at.after(ending)) <= now
        }
        Window::Fixed { from, until } => {
            from.is_none_or(|from| event.at >= from) && until.is_none_or(|until| event.at < until)
        }
    };
    let candidates: Vec<_> = person.events.iter().filter(fits).collect();
    let limit = if condition.first_time { 1 } else { candidates.len() };
    candidates.into_iter().take(limit).filter(inside).count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn every_condition_reads_back_what_it_writes(condition in condition()) {
        prop_assert_eq!(condition.check(), Ok(()));
        let text = condition.to_value().to_string();
        prop_assert_eq!(&Condition::from_json(&text).unwrap(), &condition);
        prop_assert_eq!(&serde_json::from_str::<Condition>(&text).unwrap(), &condition);
        prop_assert_eq!(serde_json::to_string(&condition).unwrap(), text);
    }

    #[test]
    fn no_answer_changes_before_it_says(condition in condition(), person in history(), now in 0..100_i64) {
        let verdict = evaluate(&condition, &person, second(now));
        let end = verdict.until.unwrap_or(second(now + 120));
        prop_assert!(end > second(now));
        let rests = condition.needs().segments().chain(condition.needs().tags()).count() > 0;
        prop_assert!(verdict.until.is_none() || condition.needs().time() || rests);
        // A year of seconds is too many.
        let instants = (now..now + 150).map(second).take_while(|at| *at < end);
        // The standings to others that are given here stand until 100 at least.
        let end = if rests { end.min(second(100)) } else { end };
        let instants = instants.take_while(|at| *at < end);
        for at in instants.chain([Timestamp::from_micros(end.as_micros() - 1)]) {
            prop_assert_eq!(evaluate(&condition, &person, at).holds, verdict.holds, "at {}", at);
        }
    }

    #[test]
    fn counting_backwards_or_with_shortcuts_is_counting(
        condition in did_something(),
        person in history(),
        now in 0..100_i64,
    ) {
        let Condition::Event(mut event) = condition else { unreachable!() };
        event.aggregate = None;
        let count = naive_count(&event, &person, second(now));
        let expected = if event.count.is_empty() { count > 0 } else { event.count.iter().all(|test| test.fits(count)) };
        let verdict = evaluate(&Condition::Event(event), &person, second(now));
        prop_assert_eq!(verdict.holds, expected, "{} events", count);
    }

    #[test]
    fn a_sequence_is_found_if_any_choice_of_events_makes_one(
        condition in sequences(),
        person in history(),
        now in 0..100_i64,
    ) {
        let Condition::Sequence(sequence) = &condition else { unreachable!() };
        let expected = naive_sequence(sequence, &person.events, second(now));
        prop_assert_eq!(evaluate(&condition, &person, second(now)).holds, expected);
    }

    #[test]
    fn nothing_that_is_not_needed_is_looked_at(condition in condition(), person in history(), now in 0..100_i64) {
        let needs = condition.needs();
        let mut less = person.clone();
        less.events.retain(|event| needs.wants_event(&event.name));
        less.traits = less.traits.into_iter().filter(|(name, _)| needs.wants_trait(name)).collect();
        less.past.retain(|name, _| needs.wants_past(name));
        less.segments.retain(|name, _| needs.segments().any(|other| other == name));
        less.tags.retain(|name, _| needs.tags().any(|other| other == name));
        if !needs.accounts() {
            less.accounts.clear();
        }
        for account in &mut less.accounts {
            account.traits = std::mem::take(&mut account.traits)
                .into_iter()
                .filter(|(name, _)| needs.wants_account_trait(name))
                .collect();
        }
        if !needs.profile() {
            less.profile = None;
        }
        if !needs.identifiers() {
            less.namespaces.clear();
        }
        if !needs.properties() {
            less.events.iter_mut().for_each(|event| event.properties.clear());
        }
        let now = second(now);
        prop_assert_eq!(evaluate(&condition, &less, now), evaluate(&condition, &person, now));
    }
}
