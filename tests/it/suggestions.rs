//! Who may be the same person: asked of a database, and held to truths that are known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use customerdb::{
    Cdp, ComparisonLevel, Error, Event, ManualClock, Matching, Rules, Source, Suggestion, TraitComparison,
    Value, days,
};
use serde_json::json;

use crate::support::{NOW, everybody, memory, place};

/// A model whose probabilities are all given.
fn given() -> Matching {
    let two = |exact: f64, by_chance: f64| {
        let exact_level = ComparisonLevel::exact().m(exact).u(by_chance);
        [exact_level, ComparisonLevel::otherwise().m(1.0 - exact).u(1.0 - by_chance)]
    };
    let [exact, otherwise] = two(0.9, 0.01);
    let name = TraitComparison::of("name").level(exact).level(otherwise);
    let [exact, otherwise] = two(0.95, 0.001);
    let born = TraitComparison::of("born").level(exact).level(otherwise);
    Matching::default().compare(name).compare(born).block(["name"]).block(["born"]).prior(0.01)
}

fn known(user: &str, name: &str, born: &str) -> Event {
    Event::identify()
        .user_id(user)
        .message_id(format!("m-{user}"))
        .at(NOW)
        .with_trait("name", name)
        .with_trait("born", born)
}

fn pairs(found: &[Suggestion]) -> Vec<(&str, &str)> {
    found.iter().map(|pair| (pair.a.name.value(), pair.b.name.value())).collect()
}

#[test]
fn people_who_agree_are_suggested_with_reasons_and_nobody_is_joined() {
    let cdp = memory(Rules::default());
    cdp.ingest([
        known("u3", "Ann", "1980-02-01"),
        known("u1", "Ann", "1980-02-01"),
        known("u2", "Bob", "1980-02-01"),
        known("u4", "Eve", "1999-12-31"),
    ])
    .unwrap();
    let before = everybody(&cdp);
    let found = cdp.suggestions(&given()).unwrap();
    assert_eq!(pairs(&found.suggestions), [("u1", "u3")]);
    assert_eq!((found.probable, found.compared, found.converged, found.skipped.len()), (1, 3, true, 0));
    let pair = &found.suggestions[0];
    assert_eq!(pair.a.id, cdp.profile("user_id:u1").unwrap().unwrap().id);
    let rows: Vec<_> = pair.rows.iter().map(|row| (&*row.path, &*row.level, &row.a, &row.b)).collect();
    let (ann, day) = (json!("Ann"), json!("1980-02-01"));
    assert_eq!(rows, [("name", "exact", &ann, &ann), ("born", "exact", &day, &day)]);
    let weight = (0.01_f64 / 0.99 * 0.9 / 0.01 * 0.95 / 0.001).log2();
    assert!((pair.weight - weight).abs() < 1e-9, "{}", pair.weight);
    assert_eq!(
        pair.to_string(),
        "-6.63 prior, +6.49 name (exact), +9.89 born (exact) = 9.75 bits, probability 0.9988"
    );
    assert_eq!(everybody(&cdp), before);
    // Values are for reviewers, not for logs.
    let log = format!("{found:?}");
    assert!(!log.contains("Ann") && !log.contains("1980"), "{log}");
    // The weaker pairs are there for whoever wants them, ties by name.
    let all = cdp.suggestions(&given().threshold(0.0)).unwrap();
    assert_eq!(pairs(&all.suggestions), [("u1", "u3"), ("u1", "u2"), ("u2", "u3")]);
    assert!((all.suggestions[1].weight - all.suggestions[2].weight).abs() < 1e-12);
    let first = cdp.suggestions(&given().threshold(0.0).limit(1)).unwrap();
    assert_eq!((first.suggestions, first.probable), (all.suggestions[..1].to_vec(), 3));
}

#[test]
fn who_was_kept_apart_by_hand_is_not_suggested_again() {
    let cdp = memory(Rules::default());
    cdp.ingest([known("u1", "Ann Miller", "1980-02-01"), known("u2", "Ann Miller", "1980-02-01")]).unwrap();
    assert_eq!(cdp.suggestions(&given()).unwrap().suggestions.len(), 1);
    cdp.never("user_id:u2", "user_id:u1").unwrap();
    assert_eq!(cdp.suggestions(&given()).unwrap().suggestions.len(), 0);
    let decision = cdp.decisions().unwrap()[0].number;
    cdp.take_back(decision).unwrap();
    assert_eq!(cdp.suggestions(&given()).unwrap().suggestions.len(), 1);
}

#[test]
fn what_stands_is_compared_and_what_is_missing_weighs_nothing() {
    let cdp = memory(Rules::default());
    cdp.ingest([
        known("u1", "Ann", "1980-02-01"),
        known("u2", "Zoe", "1980-02-01"),
        // A later value, one that is taken back, and one of another profile of the same person.
        Event::identify().user_id("u2").at(NOW.after(days(1))).with_trait("name", "Ann"),
        known("u3", "Ann", "1980-02-01"),
        Event::identify().user_id("u3").at(NOW.after(days(1))).with_trait("name", Value::Null),
        Event::identify().anonymous_id("d4").at(NOW).with_trait("name", "Ann"),
        Event::identify().anonymous_id("d4").user_id("u4").at(NOW).with_trait("born", "1980-02-01"),
    ])
    .unwrap();
    let found = cdp.suggestions(&given().threshold(0.0)).unwrap();
    let exact: Vec<_> =
        found.suggestions.iter().filter(|pair| pair.rows.iter().all(|row| row.level == "exact")).collect();
    assert_eq!(exact.len(), 3, "{found:?}");
    let with_u3: Vec<_> = found
        .suggestions
        .iter()
        .filter(|pair| pair.b.name.value() == "u3" || pair.a.name.value() == "u3")
        .collect();
    assert_eq!(with_u3.len(), 3, "{found:?}");
    for pair in with_u3 {
        let name = &pair.rows[0];
        assert_eq!((&*name.level, name.weight, name.m, name.similarity), ("missing", 0.0, None, None));
        assert!(name.a.is_null() != name.b.is_null());
        assert!((pair.weight - pair.prior - pair.rows[1].weight).abs() < 1e-12);
    }
}

#[test]
fn a_model_that_makes_no_sense_is_refused_with_its_place() {
    let cdp = memory(Rules::default());
    let name = TraitComparison::of("name").level(ComparisonLevel::exact());
    for (matching, path) in [
        (Matching::default(), "compare"),
        (Matching::default().compare(name.clone()), "block"),
        (Matching::default().compare(name.clone()).block(["name"]), "compare[0]"),
        (given().compare(name.clone()), "compare[2].trait"),
        (given().prior(1.5), "prior"),
        (
            given().compare(TraitComparison::of("x").level(ComparisonLevel::jaro_winkler(9.0))),
            "compare[2].levels[0].jaro_winkler",
        ),
    ] {
        match cdp.suggestions(&matching) {
            Err(Error::Definition(error)) => assert_eq!(error.path(), path, "{error}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}

/// 200 people of whom every fourth has a second profile with a slip in its name.
fn crowd() -> Vec<Event> {
    let syllables = ["ka", "lo", "mi", "ne", "ru", "sa", "ti", "vo"];
    let name = |n: usize| format!("{}{}{}", syllables[n % 8], syllables[n / 8 % 8], syllables[n / 64 % 8]);
    let mut events = Vec::new();
    for n in 0..200 {
        let born = format!("19{:02}-0{}-1{}", n % 90 + 10, n % 9 + 1, n % 7);
        let city = ["Lima", "Oslo", "Wuhan", "Leipzig", "Ushuaia"][n * 7 % 5];
        let event = |user: String, name: &str| known(&user, name, &born).with_trait("city", city);
        events.push(event(format!("u{n}"), &name(n * 11)));
        if n % 4 == 0 {
            events.push(event(
                format!("v{n}"),
                &if n % 8 == 0 { format!("{}h", name(n * 11)) } else { name(n * 11) },
            ));
        }
    }
    events
}

fn estimated() -> Matching {
    Matching::from_json(
        r#"{"compare": [
                {"trait": "name", "levels": [{"exact": true}, {"jaro_winkler": 0.9}], "term_frequency": true},
                {"trait": "born", "levels": [{"exact": true}, {"damerau_levenshtein": 2}]},
                {"trait": "city", "levels": [{"exact": true}]}
            ],
            "block": [["born"], [{"trait": "name", "first": 4}], ["city", {"trait": "born", "first": 4}]]}"#,
    )
    .unwrap()
}

#[test]
fn the_same_people_give_the_same_suggestions_whatever_the_order_they_came_in_and_wherever_they_are_kept() {
    let cdp = memory(Rules::default());
    cdp.ingest(crowd()).unwrap();
    let found = cdp.suggestions(&estimated()).unwrap();
    let own: BTreeSet<_> = pairs(&found.suggestions).into_iter().filter(|(a, b)| a[1..] == b[1..]).collect();
    assert_eq!((own.len(), found.suggestions.len()), (50, 50));
    assert_eq!(cdp.suggestions(&estimated()).unwrap(), found);

    let (_folder, path) = place();
    let other = Cdp::builder().clock(ManualClock::at(NOW)).open(&path).unwrap();
    let mut events = crowd();
    events.reverse();
    other.ingest(events).unwrap();
    let found_there = other.suggestions(&estimated()).unwrap();
    assert_eq!(found_there.matching, found.matching);
    let told = |found: &[Suggestion]| -> Vec<_> {
        let tell =
            |pair: &Suggestion| (pair.a.name.clone(), pair.b.name.clone(), pair.rows.clone(), pair.weight);
        found.iter().map(tell).collect()
    };
    assert_eq!(told(&found_there.suggestions), told(&found.suggestions));
    // A model that was learnt weighs the same when it is given.
    assert_eq!(cdp.suggestions(&found.matching).unwrap(), found);
    // Other random pairs hardly change what is suggested; here all pairs are taken, so not at all.
    assert_eq!(cdp.suggestions(&estimated().seed(99)).unwrap().suggestions, found.suggestions);
}

#[cfg(feature = "compression")]
mod real {
    use super::*;

    fn folder() -> PathBuf {
        std::env::var_os("CUSTOMERDB_DATA").expect("CUSTOMERDB_DATA names the folder of the data").into()
    }

    /// Whose each record of a file is, by the name of its profile: what that column says.
    fn truth(file: &str, prefix: &str, column: usize) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(folder().join(file)).unwrap();
        let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        rows.map(|row| (format!("{prefix}-{}", row[0]), row[column].to_owned())).collect()
    }

    /// Precision and recall of what is at least so probable.
    #[expect(clippy::cast_precision_loss, reason = "figures to compare")]
    fn accuracy(found: &[Suggestion], truth: &BTreeMap<String, String>, threshold: f64) -> (f64, f64) {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for whose in truth.values() {
            *sizes.entry(whose).or_default() += 1;
        }
        let all: usize = sizes.values().map(|size| size * (size - 1) / 2).sum();
        let probable: Vec<_> = found.iter().filter(|pair| pair.probability >= threshold).collect();
        let right =
            probable.iter().filter(|pair| truth[pair.a.name.value()] == truth[pair.b.name.value()]).count();
        (right as f64 / probable.len() as f64, right as f64 / all as f64)
    }

    fn ingested(name: &str) -> Cdp {
        // Addresses join nobody here, so that every record is a profile.
        let rules = Rules::default().block_pattern("email", ".").unwrap();
        let cdp = memory(rules);
        cdp.ingest_file(folder().join("events").join(format!("{name}.jsonl.gz")), &Source::default())
            .unwrap();
        cdp
    }

    #[test]
    #[ignore = "needs CUSTOMERDB_DATA"]
    fn real_data_fake_1000_is_suggested_with_few_mistakes() {
        let cdp = ingested("fake_1000");
        assert_eq!(cdp.profiles().unwrap().len(), 1_000);
        let matching = Matching::from_json(
            r#"{"compare": [
                    {"trait": "first_name", "levels": [{"exact": true}, {"jaro_winkler": 0.9}, {"jaro_winkler": 0.7}], "term_frequency": true},
                    {"trait": "surname", "levels": [{"exact": true}, {"jaro_winkler": 0.9}, {"jaro_winkler": 0.7}], "term_frequency": true},
                    {"trait": "dob", "levels": [{"exact": true}, {"damerau_levenshtein": 1}, {"damerau_levenshtein": 2}]},
                    {"trait": "city", "levels": [{"exact": true}, {"jaro_winkler": 0.8}], "term_frequency": true},
                    {"trait": "email", "levels": [{"exact": true}, {"jaro_winkler": 0.88}]}
                ],
                "block": [["surname"], ["first_name"], ["dob"], ["email"], ["city", {"trait": "dob", "first": 4}]],
                "limit": 100000}"#,
        )
        .unwrap();
        let found = cdp.suggestions(&matching).unwrap();
        let truth = truth("fake_1000.csv", "fake", 6);
        let (precision, recall) = accuracy(&found.suggestions, &truth, 0.5);
        println!("fake_1000: precision {precision:.3}, recall {recall:.3}, {} compared", found.compared);
        assert!(precision > 0.98 && recall > 0.78, "{precision} {recall}");
        assert!(found.converged);
    }

    #[test]
    #[ignore = "needs CUSTOMERDB_DATA"]
    fn real_data_historical_figures_are_suggested_with_few_mistakes() {
        let cdp = ingested("historical_figures");
        let matching = Matching::from_json(
            r#"{"compare": [
                    {"trait": "first_name", "levels": [{"exact": true}, {"jaro_winkler": 0.92}, {"jaro_winkler": 0.8}], "term_frequency": true},
                    {"trait": "surname", "levels": [{"exact": true}, {"jaro_winkler": 0.92}, {"jaro_winkler": 0.8}], "term_frequency": true},
                    {"trait": "dob", "levels": [{"exact": true}, {"damerau_levenshtein": 1}, {"damerau_levenshtein": 2}]},
                    {"trait": "postcode_fake", "levels": [{"exact": true}, {"damerau_levenshtein": 1}, {"first": 4}, {"first": 2}]},
                    {"trait": "birth_place", "levels": [{"exact": true}, {"jaro_winkler": 0.8}], "term_frequency": true},
                    {"trait": "occupation", "levels": [{"exact": true}], "term_frequency": true}
                ],
                "block": [["surname"], [{"trait": "first_name", "first": 1}, {"trait": "surname", "first": 3}],
                    ["first_name", "dob"], ["postcode_fake"], ["birth_place", {"trait": "dob", "first": 4}],
                    [{"trait": "postcode_fake", "first": 4}, "occupation"], ["birth_place", "occupation"],
                    ["dob", {"trait": "postcode_fake", "first": 3}]],
                "limit": 500000}"#,
        )
        .unwrap();
        let found = cdp.suggestions(&matching).unwrap();
        let truth = truth("historical_figures_50k.csv", "hist", 1);
        for (threshold, least_precision, least_recall) in [(0.5, 0.94, 0.78), (0.99, 0.99, 0.67)] {
            let (precision, recall) = accuracy(&found.suggestions, &truth, threshold);
            println!(
                "historical_figures at {threshold}: precision {precision:.4}, recall {recall:.4}, {} compared",
                found.compared
            );
            assert!(
                precision > least_precision && recall > least_recall,
                "{threshold}: {precision} {recall}"
            );
        }
        assert!(found.converged);
    }
}
