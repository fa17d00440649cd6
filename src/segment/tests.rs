//! Tests that go through all of the module.

use serde_json::{Value, json};

use super::*;
use crate::{History, Namespace, PastEvent, Timestamp, Verdict, days, hours, seconds};

mod random;
mod zones;

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
