use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::block::Blocks;
use super::compare::{Comparer, MISSING, Pattern};
use super::estimate::{Chance, Chances, Dice, Histogram, Seen, Sight, learn};
use super::score::Found;
use super::*;
use crate::clock::days;
use crate::value::{Object, Value};

fn suggested(matching: &Matching, table: &Table) -> Found {
    suggest(matching, table, |_, _| false)
}

fn table(matching: &Matching, people: &[Value]) -> Table {
    let mut table = Table::new(matching);
    for traits in people {
        table.push(traits.as_object().unwrap());
    }
    table
}

fn read(value: &Value) -> Matching {
    Matching::from_value(value).unwrap()
}

/// The levels that hold of the values of two people's trait `t`, by the name of the level.
fn level(levels: &Value, a: &Value, b: &Value) -> String {
    let model = json!({"compare": [{"trait": "t", "levels": levels}], "block": [["k"]], "threshold": 0});
    let found =
        suggested(&read(&model), &table(&read(&model), &[json!({"t": a, "k": 1}), json!({"t": b, "k": 1})]));
    found.candidates[0].rows[0].level.clone()
}

#[test]
fn the_first_level_that_holds_is_the_one() {
    let text = json!([{"exact": true}, {"jaro_winkler": 0.9}, {"damerau_levenshtein": 2}, {"first": 3}]);
    let number = json!([{"exact": true}, {"within": 2}, {"within": 10.5}]);
    let time = json!([{"exact": true}, {"within": "30d"}]);
    for (levels, a, b, expected) in [
        (&text, json!("Ann"), json!(" ANN "), "exact"),
        (&text, json!("e\u{301}va"), json!("ÉVA"), "exact"),
        (&text, json!("martha"), json!("marhta"), "jaro_winkler ≥ 0.9"),
        (&text, json!("ab"), json!("ba"), "damerau_levenshtein ≤ 2"),
        (&text, json!("bob"), json!("b"), "damerau_levenshtein ≤ 2"),
        (&text, json!("日本語の名前"), json!("日本語ではない人"), "first 3"),
        (&text, json!("ann"), json!("zoe and others"), "else"),
        (&text, json!(["ann"]), json!(["ann"]), "exact"),
        (&text, json!(["ann"]), json!(["anna"]), "else"),
        (&text, json!(12345), json!("12345"), "exact"),
        (&text, json!(1.0), json!(1), "exact"),
        (&text, json!("ann"), Value::Null, "missing"),
        (&text, json!("  "), json!("ann"), "missing"),
        (&number, json!(7), json!("9"), "within 2"),
        (&number, json!(7), json!(17.5), "within 10.5"),
        (&number, json!(7), json!(17.6), "else"),
        (&number, json!(7), json!("nine"), "else"),
        (&time, json!("1999-12-31"), json!("2000-01-30"), "within 30d"),
        (&time, json!("1999-12-31"), json!("2000-01-31"), "else"),
        (&time, json!("1856-02-18"), json!("1856-86-18"), "else"),
        (&time, json!("2024-05-01T00:00:00+02:00"), json!("2024-05-01"), "within 30d"),
    ] {
        assert_eq!(level(levels, &a, &b), expected, "{a} {b}");
        assert_eq!(level(levels, &b, &a), expected, "{b} {a}");
    }
}

fn given() -> Value {
    json!({
        "compare": [
            {"trait": "name", "term_frequency": true, "levels": [
                {"exact": true, "m": 0.5, "u": 0.25}, {"jaro_winkler": 0.85, "m": 0.375, "u": 0.125},
                {"else": true, "m": 0.125, "u": 0.625}]},
            {"trait": "born", "levels": [{"exact": true, "m": 0.75, "u": 0.0625}, {"else": true, "m": 0.25, "u": 0.9375}]},
            {"trait": "home.city", "levels": [{"exact": true, "m": 0.5, "u": 0.5}, {"else": true, "m": 0.5, "u": 0.5}]},
        ],
        "block": [["born"], ["name"]],
        "prior": 0.2,
        "threshold": 0.0,
        "largest_block": 1000,
        "seed": 1,
    })
}

#[test]
fn weights_are_the_sums_that_a_hand_comes_to() {
    let matching = read(&given());
    let people = [
        json!({"name": "Martha", "born": 1980, "home": {"city": "Lima"}}),
        json!({"name": "Marhta", "born": 1980, "home": {"city": "Oslo"}}),
        json!({"name": "Martha", "born": 1981}),
        json!({"name": "Ann", "born": 1999}),
    ];
    let found = suggested(&matching, &table(&matching, &people));
    assert_eq!((found.compared, found.probable, found.converged), (2, 2, true));
    let [first, second] = &found.candidates[..] else { panic!("two pairs") };
    // log₂(0.2 / 0.8); a name spelled otherwise: log₂(0.375 / 0.125); born: log₂(0.75 / 0.0625); a city: log₂ 1.
    assert_eq!((first.a, first.b, first.prior), (0, 1, -2.0));
    let weights: Vec<f64> = first.rows.iter().map(|row| row.weight).collect();
    assert_eq!(weights, [3.0_f64.log2(), 12.0_f64.log2(), 0.0]);
    assert!((first.weight - (-2.0 + 36.0_f64.log2())).abs() < 1e-12);
    // 2^weight = 9, so 9 to 1.
    assert!((first.probability - 0.9).abs() < 1e-12);
    assert_eq!((&first.rows[2].a, &first.rows[2].b), (&json!("Lima"), &json!("Oslo")));
    // Two of four people have that name, so u is a half: log₂(0.5 / 0.5); born: log₂(0.25 / 0.9375).
    assert_eq!((second.a, second.b), (0, 2));
    assert_eq!(
        (second.rows[0].u, second.rows[0].weight, second.rows[0].similarity),
        (Some(0.5), 0.0, Some(1.0))
    );
    assert!((second.rows[1].weight - (0.25_f64 / 0.9375).log2()).abs() < 1e-12);
    let missing = &second.rows[2];
    assert_eq!((&*missing.level, missing.m, missing.u, missing.weight), ("missing", None, None, 0.0));
    assert_eq!((&missing.a, &missing.b), (&json!("Lima"), &Value::Null));
    for candidate in &found.candidates {
        let sum = candidate.prior + candidate.rows.iter().map(|row| row.weight).sum::<f64>();
        assert!((sum - candidate.weight).abs() < 1e-12);
    }
    // What was given is what is handed back.
    assert_eq!(found.matching, matching);
    assert_eq!(format!("{:?}", first.rows[0]), "name: jaro_winkler ≥ 0.85 +1.58");
}

#[test]
fn the_limit_keeps_the_strongest_and_counts_the_rest() {
    let matching = read(&given()).limit(3);
    let mut people: Vec<Value> =
        (0..3_000).map(|n| json!({"name": format!("n{n}"), "born": n / 3})).collect();
    people.extend((0..4).map(|_| json!({"name": "Dwayne", "born": -1})));
    let found = suggested(&matching, &table(&matching, &people));
    let pairs: Vec<_> = found.candidates.iter().map(|found| (found.a, found.b)).collect();
    assert_eq!(pairs, [(3_000, 3_001), (3_000, 3_002), (3_000, 3_003)]);
    assert_eq!(found.probable, 3_006);
    let threshold = matching.threshold(found.candidates[2].probability * 0.999);
    assert_eq!(suggested(&threshold, &table(&threshold, &people)).probable, 6);
}

#[test]
fn a_block_that_is_too_large_is_skipped_and_told() {
    let matching = read(&given()).largest_block(3);
    let mut people: Vec<Value> =
        (0..4).map(|n| json!({"name": format!("n{n}"), "born": "1900-01-01"})).collect();
    people[3]["name"] = json!("N2");
    let found = suggested(&matching, &table(&matching, &people));
    assert_eq!(found.skipped.len(), 1);
    let skipped = &found.skipped[0];
    assert_eq!((skipped.rule, skipped.people, &skipped.key[..]), (0, 4, &["1900-01-01".to_owned()][..]));
    assert!(!format!("{skipped:?}").contains("1900-01-01"), "{skipped:?}");
    // The other rule still finds what it finds.
    assert_eq!(found.candidates.iter().map(|found| (found.a, found.b)).collect::<Vec<_>>(), [(2, 3)]);
}

#[test]
fn models_survive_json_and_what_is_learnt_does_too() {
    let matching = Matching::default()
        .compare(
            TraitComparison::of("name")
                .level(ComparisonLevel::exact())
                .level(ComparisonLevel::jaro_winkler(0.9))
                .level(ComparisonLevel::first(2))
                .term_frequency(),
        )
        .compare(
            TraitComparison::of("born")
                .level(ComparisonLevel::damerau_levenshtein(1).m(0.5).u(0.25))
                .level(ComparisonLevel::within_span(days(30)).m(0.25).u(0.25))
                .level(ComparisonLevel::within(3.0).m(0.125).u(0.25))
                .level(ComparisonLevel::otherwise().m(0.125).u(0.25)),
        )
        .block([BlockingKey::of("born").first(4), "name".into()])
        .block(["born"])
        .prior(0.25)
        .threshold(0.75)
        .limit(7)
        .largest_block(8)
        .seed(9);
    assert_eq!(Matching::from_value(&matching.to_value()).unwrap(), matching);
    let text = serde_json::to_string(&matching).unwrap();
    assert_eq!(serde_json::from_str::<Matching>(&text).unwrap(), matching);
    assert!(matching.check().is_ok());
    assert_eq!(matching.traits(), ["born", "name"]);

    let people =
        [json!({"name": "a", "born": 1}), json!({"name": "b", "born": 1}), json!({"name": "b", "born": 2})];
    let learnt = suggested(&matching, &table(&matching, &people)).matching;
    assert_eq!(Matching::from_value(&learnt.to_value()).unwrap(), learnt);
    // With nothing left to learn, the same weights.
    let again = suggested(&learnt, &table(&learnt, &people));
    assert_eq!(again.matching, learnt);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_path() {
    let with = |place: &str, value: Value| {
        let mut model = given();
        *model.pointer_mut(place).unwrap() = value;
        model
    };
    let exact = json!([{"exact": true}]);
    for (model, message) in [
        (json!([]), "expected an object, found an array"),
        (json!({}), "compare: no trait is compared"),
        (json!({"compares": []}), "unknown member \"compares\", expected one of compare, block, prior"),
        (json!({"compare": [{"trait": "a", "levels": exact}]}), "block: no rule says"),
        (with("/block", json!([["born"], []])), "block[1]: a rule without a key"),
        (with("/block", json!([[{"trait": "born", "last": 1}]])), "block[0][0]: unknown member \"last\""),
        (
            with("/block", json!([[{"trait": "born", "first": 0}]])),
            "block[0][0].first: expected a whole number from 1",
        ),
        (with("/block", json!([["a..b"]])), "block[0][0]: a trait without a name"),
        (with("/prior", json!(1)), "prior: expected a probability between 0 and 1, found 1"),
        (with("/threshold", json!(1)), "threshold: expected a probability from 0 on, below 1, found 1"),
        (with("/compare/1/trait", json!("name")), "compare[1].trait: compared twice"),
        (with("/compare/1/levels", json!([{"else": true}])), "compare[1].levels: no level besides"),
        (
            with("/compare/1/levels", json!([{"m": 0.5}])),
            "compare[1].levels[0]: no test, expected one of exact",
        ),
        (with("/compare/1/levels/0", json!({"exact": true, "first": 1})), "compare[1].levels[0]: two tests"),
        (with("/compare/1/levels/0", json!({"exact": false})), "compare[1].levels[0].exact: expected true"),
        (
            with("/compare/0/levels/0", json!({"else": true})),
            "compare[0].levels[0]: \"else\" must be the last",
        ),
        (
            with("/compare/1/levels/0", json!({"exact": true})),
            "compare[1].levels[0]: m is missing: give it to every",
        ),
        (
            with("/compare/1/levels", json!([{"exact": true, "u": 0.5}])),
            "compare[1].levels: u of \"else\" is missing: add that level",
        ),
        (with("/compare/1/levels/0/m", json!(0)), "compare[1].levels[0].m: expected a probability above 0"),
        (
            with("/compare/1/levels/0/exact", json!("x")),
            "compare[1].levels[0].exact: expected true, found a string",
        ),
        (
            with("/compare/0/levels/1/jaro_winkler", json!(1.5)),
            "compare[0].levels[1].jaro_winkler: expected a number above 0, 1 at most, found 1.5",
        ),
        (
            with("/compare/0/levels/1", json!({"within": "3y"})),
            "compare[0].levels[1].within: not a duration: \"3y\"",
        ),
        (
            with("/compare/0/levels/1", json!({"within": -1})),
            "compare[0].levels[1].within: expected a number from 0",
        ),
        (
            with("/compare/0/levels", json!([{"jaro_winkler": 0.9}])),
            "compare[0].term_frequency: counts with an exact level only",
        ),
        (
            json!({"compare": [{"trait": "a", "levels": exact}], "block": [["a"], ["a", "b"]]}),
            "compare[0]: every blocking rule has this trait, so none can tell its m",
        ),
        (
            json!({"compare": [{"trait": "a", "levels": vec![json!({"exact": true}); 15]}], "block": [["b"]]}),
            "compare[0].levels: 15 levels besides \"else\", 14 at most",
        ),
        (with("/seed", json!(-1)), "seed: expected a whole number from 0 on, found -1"),
        (with("/largest_block", json!(1)), "largest_block: expected a whole number from 2 on, found 1"),
    ] {
        let error = Matching::from_value(&model).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}, expected {message}");
    }
    assert!(Matching::from_json("{").unwrap_err().to_string().starts_with("not JSON: "));
    let built =
        Matching::default().compare(TraitComparison::of("a").level(ComparisonLevel::exact())).prior(f64::NAN);
    assert!(built.check().is_err());
}

/// Pairs drawn from a model: of `count` pairs, a share of `prior` is of one person.
fn drawn(chances: &Chances, prior: f64, count: u64, dice: &mut Dice) -> Histogram {
    const FINE: u32 = 1 << 30;
    let mut uniform = || f64::from(u32::try_from(dice.below(FINE.into())).unwrap()) / f64::from(FINE);
    let mut counts: BTreeMap<Pattern, f64> = BTreeMap::new();
    for _ in 0..count {
        let one = uniform() < prior;
        let mut pattern = Pattern::default();
        for (index, levels) in chances.levels.iter().enumerate() {
            let mut left = uniform();
            let level = levels.iter().position(|chance| {
                left -= if one { chance.m } else { chance.u };
                left < 0.0
            });
            // One value in ten is missing.
            let level = if uniform() < 0.1 { MISSING } else { level.unwrap_or(levels.len() - 1) };
            pattern = pattern.with(index, level);
        }
        *counts.entry(pattern).or_default() += 1.0;
    }
    counts.into_iter().collect()
}

#[test]
fn what_pairs_were_drawn_by_is_learnt_from_them() {
    let levels = |of: &[(f64, f64)]| of.iter().map(|(m, u)| Chance { m: *m, u: *u }).collect();
    let truth = Chances {
        levels: vec![
            levels(&[(0.7, 0.01), (0.2, 0.04), (0.1, 0.95)]),
            levels(&[(0.9, 0.05), (0.1, 0.95)]),
            levels(&[(0.6, 0.002), (0.25, 0.098), (0.15, 0.9)]),
            levels(&[(0.8, 0.1), (0.2, 0.9)]),
        ],
        prior: 0.001,
    };
    let two = json!([{"exact": true}]);
    let three = json!([{"exact": true}, {"jaro_winkler": 0.9}]);
    let matching = read(&json!({
        "compare": [
            {"trait": "a", "levels": three}, {"trait": "b", "levels": two},
            {"trait": "c", "levels": three}, {"trait": "d", "levels": two},
        ],
        "block": [["a"], ["b"]],
    }));
    let mut dice = Dice(7);
    let mut sight = |prior, tells: [bool; 4]| {
        // What a rule blocks on agrees in all of its pairs, whatever is drawn.
        let histogram = drawn(&truth, prior, 100_000, &mut dice);
        Sight { histogram, tells: tells.to_vec() }
    };
    let sights = vec![sight(0.3, [false, true, true, true]), sight(0.2, [true, false, true, true])];
    let mut dice = Dice(8);
    let random = drawn(&truth, truth.prior, 1_000_000, &mut dice);
    // Blocking found everybody: the random pairs are all there are.
    let seen = Seen { blocked: random.clone(), random, sights, pairs: 1_000_000.0 };
    let (learnt, converged) = learn(&matching, &seen);
    assert!(converged);
    assert!((learnt.prior / truth.prior - 1.0).abs() < 0.1, "{learnt:?}");
    for (found, expected) in learnt.levels.iter().flatten().zip(truth.levels.iter().flatten()) {
        assert!((found.m - expected.m).abs() < 0.02, "{found:?}, drawn by {expected:?}");
        assert!((found.u / expected.u - 1.0).abs() < 0.05, "{found:?}, drawn by {expected:?}");
    }
    // What is given is taken as given.
    let mut model = matching.to_value();
    model["compare"][1]["levels"] =
        json!([{"exact": true, "m": 0.8, "u": 0.2}, {"else": true, "m": 0.2, "u": 0.8}]);
    let (learnt, _) = learn(&read(&model), &seen);
    assert_eq!(learnt.levels[1], [Chance { m: 0.8, u: 0.2 }, Chance { m: 0.2, u: 0.8 }]);
}

#[test]
fn nobody_and_a_person_alone_give_nothing() {
    let matching = read(&json!({"compare": [{"trait": "a", "levels": [{"exact": true}]}], "block": [["b"]]}));
    for people in [&[][..], &[json!({"a": 1, "b": 1})], &[json!({}), json!({"b": null}), json!({"a": 1})]] {
        let found = suggested(&matching, &table(&matching, people));
        assert_eq!((found.candidates.len(), found.compared), (0, 0));
        assert!(found.matching.check().is_ok(), "{:?}", found.matching);
    }
}

/// The pairs that have equal keys by some rule whose block is not too large, by comparing everybody with everybody.
fn naive(people: &[Object], rules: &[Vec<(&str, usize)>], largest: usize) -> BTreeSet<(u32, u32)> {
    let key = |person: &Object, rule: &[(&str, usize)]| -> Option<Vec<String>> {
        let part = |(name, first): &(&str, usize)| {
            let text = person.get(*name)?.as_str()?.trim().to_lowercase();
            (!text.is_empty()).then(|| text.chars().take(*first).collect())
        };
        rule.iter().map(part).collect()
    };
    let mut pairs = BTreeSet::new();
    for rule in rules {
        let keys: Vec<_> = people.iter().map(|person| key(person, rule)).collect();
        for (a, one) in (0..).zip(&keys) {
            let block = keys.iter().filter(|other| *other == one).count();
            for (b, other) in (0..).zip(&keys).skip(a as usize + 1) {
                if one.is_some() && one == other && block <= largest {
                    pairs.insert((a, b));
                }
            }
        }
    }
    pairs
}

proptest! {
    #[test]
    fn short_cuts_find_the_levels_that_the_whole_way_finds(
        a in "[a-eé1-3 日]{1,9}", b in "[a-eé1-3 日]{1,9}", least in 0.3_f64..1.0, edits in 1_u32..5,
    ) {
        prop_assume!(!a.trim().is_empty() && !b.trim().is_empty());
        let levels = json!([{"jaro_winkler": least}, {"damerau_levenshtein": edits}]);
        let (x, y) = (a.trim(), b.trim());
        let expected = if strsim::jaro_winkler(x, y) >= least {
            "jaro"
        } else if strsim::damerau_levenshtein(x, y) <= edits as usize {
            "damerau"
        } else {
            "else"
        };
        let found = level(&levels, &json!(a), &json!(b));
        prop_assert!(found.starts_with(expected), "{}: {} and {}", found, a, b);
    }

    #[test]
    fn blocks_find_the_pairs_that_comparing_everybody_finds_and_each_once(
        people in prop::collection::vec(
            prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), "[xyX ü]{0,3}", 0..=3),
            0..40,
        ),
        largest in 2_usize..12,
    ) {
        let people: Vec<Object> = people
            .into_iter()
            .map(|person| person.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
            .collect();
        let rules = [vec![("a", 9)], vec![("b", 1), ("c", 9)], vec![("a", 2), ("b", 2)], vec![("c", 1)]];
        let mut matching = Matching::default()
            .compare(TraitComparison::of("a").level(ComparisonLevel::exact()))
            .largest_block(largest);
        for rule in &rules {
            let keys = rule.iter().map(|(name, first)| BlockingKey::of(*name).first(u32::try_from(*first).unwrap()));
            matching = matching.block(keys);
        }
        let mut table = Table::new(&matching);
        for person in &people {
            table.push(person);
        }
        let blocks = Blocks::new(&matching, &table);
        let mut pairs = Vec::new();
        for rule in 0..blocks.rules() {
            blocks.pairs(rule, |a, b| if blocks.is_first(rule, a, b) { pairs.push((a, b)) });
        }
        let found: BTreeSet<_> = pairs.iter().copied().collect();
        prop_assert_eq!(found.len(), pairs.len());
        prop_assert_eq!(found, naive(&people, &rules, largest));
        // What is remembered of pairs of values changes nothing.
        let mut comparer = Comparer::new(&matching, &table);
        for (a, b) in &pairs {
            prop_assert_eq!(comparer.pattern(*a, *b), Comparer::new(&matching, &table).pattern(*b, *a));
        }
    }
}
