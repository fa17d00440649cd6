//! Suggestions of who may be one person, held to a known truth, beside plainer ways to find pairs.
//!
//! The data are 50,578 records of 5,156 historical persons with errors put in (`historical_figures` of Splink's data
//! sets), from the folder that `CUSTOMERDB_DATA` names, `../shared/data` if none; without it, people of our own
//! making, who are easier. Every record is a profile of its own. Precision is the share of the pairs found that are
//! one person, recall the share of all such pairs that were found.
//!
//! The references: joining records that agree in every field, joining those that agree in name and birth, and comparing
//! all pairs of a sample with one Jaro-Winkler similarity, which takes four times as long for twice the people.

mod common;

use std::collections::HashMap;
use std::path::PathBuf;

use common::{Dice, Outcome, Way, now, print, size, timed};
use customerdb::{Cdp, Event, ManualClock, Matching};

const FIELDS: [&str; 6] = ["first_name", "surname", "dob", "birth_place", "postcode_fake", "occupation"];

/// A profile, and whose it is.
struct Record {
    id: String,
    person: String,
    fields: [String; 6],
}

fn main() -> Outcome {
    let (most, rounds) = (size(usize::MAX, 10_000), size(3, 1));
    let folder = std::env::var_os("CUSTOMERDB_DATA").map_or_else(|| "../shared/data".into(), PathBuf::from);
    let file = folder.join("historical_figures_50k.csv");
    let (records, of) = match std::fs::read_to_string(&file) {
        Ok(text) => (text.lines().skip(1).take(most).map(record).collect(), "historical_figures"),
        Err(error) => {
            println!("suggest: {}: {error}; people of our own making instead", file.display());
            (made(size(50_000, 10_000)), "made up")
        }
    };
    println!("suggest: {} records ({of}), {rounds} rounds, medians", records.len());
    let cdp = Cdp::builder().clock(ManualClock::at(now())).in_memory()?;
    cdp.ingest(records.iter().map(event))?;
    accuracy(&cdp, &records)?;
    speed(&cdp, &records, rounds)
}

fn model() -> Result<Matching, customerdb::DefinitionError> {
    Matching::from_json(
        r#"{"compare": [
                {"trait": "first_name", "levels": [{"exact": true}, {"jaro_winkler": 0.92}, {"jaro_winkler": 0.8}], "term_frequency": true},
                {"trait": "surname", "levels": [{"exact": true}, {"jaro_winkler": 0.92}, {"jaro_winkler": 0.8}], "term_frequency": true},
                {"trait": "dob", "levels": [{"exact": true}, {"damerau_levenshtein": 1}, {"damerau_levenshtein": 2}]},
                {"trait": "postcode_fake", "levels": [{"exact": true}, {"damerau_levenshtein": 1}, {"first": 4}, {"first": 2}]},
                {"trait": "birth_place", "levels": [{"exact": true}, {"jaro_winkler": 0.8}], "term_frequency": true},
                {"trait": "occupation", "levels": [{"exact": true}], "term_frequency": true}
            ],
            "block": [
                ["surname"],
                [{"trait": "first_name", "first": 1}, {"trait": "surname", "first": 3}],
                ["first_name", "dob"],
                ["postcode_fake"],
                ["birth_place", {"trait": "dob", "first": 4}],
                [{"trait": "postcode_fake", "first": 4}, "occupation"],
                ["birth_place", "occupation"],
                ["dob", {"trait": "postcode_fake", "first": 3}]
            ]}"#,
    )
}

/// Prints how many of the pairs are right, and how many of the right ones are found.
#[expect(clippy::cast_precision_loss, reason = "figures for reading")]
fn accuracy(cdp: &Cdp, records: &[Record]) -> Outcome {
    let person: HashMap<&str, &str> = records.iter().map(|r| (r.id.as_str(), r.person.as_str())).collect();
    let truth = pairs_of(records.iter().map(|record| Some(record.person.clone())));
    let line = |name: &str, found: usize, right: usize| {
        let (precision, recall) = (right as f64 / found.max(1) as f64, right as f64 / truth as f64);
        println!("  {name:<58}{found:>12}{precision:>12.4}{recall:>9.4}");
    };
    println!(
        "\nPairs of {truth} that are one person\n  {:<58}{:>12}{:>12}{:>9}",
        "", "found", "precision", "recall"
    );
    for (name, fields) in
        [("agreeing in every field", &FIELDS[..]), ("agreeing in name and birth", &FIELDS[..3])]
    {
        let key = |record: &Record| key(record, fields.len());
        let found = pairs_of(records.iter().map(key));
        let right = records.iter().map(|record| key(record).map(|key| format!("{key}|{}", record.person)));
        line(name, found, pairs_of(right));
    }
    let found = cdp.suggestions(&model()?.limit(usize::MAX).threshold(0.01))?;
    for threshold in [0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999] {
        let probable = found.suggestions.iter().filter(|pair| pair.probability >= threshold);
        let right =
            |pair: &&customerdb::Suggestion| person[pair.a.name.value()] == person[pair.b.name.value()];
        let (all, right) = (probable.clone().count(), probable.filter(right).count());
        line(&format!("customerdb: suggestions, probability ≥ {threshold}"), all, right);
    }
    println!("  {} pairs compared, {} blocks skipped", found.compared, found.skipped.len());
    Ok(())
}

fn speed(cdp: &Cdp, records: &[Record], rounds: usize) -> Outcome {
    let sample: Vec<String> =
        records.iter().take(size(1_500, 1_000)).map(|record| record.fields.join(" ")).collect();
    let mut ways = [
        Way::new(format!("Jaro-Winkler of all pairs of {} records", sample.len()), sample.len()),
        Way::new("a HashMap of name and birth", records.len()),
        Way::new("customerdb: suggestions, all probabilities estimated", records.len()),
        Way::new("customerdb: suggestions, all probabilities given", records.len()),
    ];
    let estimated = model()?;
    let given = cdp.suggestions(&estimated)?.matching;
    for _ in 0..rounds {
        let (time, found) = timed(|| alike(&sample));
        ways[0].add(time);
        assert!(found < sample.len() * sample.len());
        let (time, found) = timed(|| pairs_of(records.iter().map(|record| key(record, 3))));
        ways[1].add(time);
        assert!(found < records.len() * records.len());
        for (way, matching) in ways[2..].iter_mut().zip([&estimated, &given]) {
            let (time, found) = timed(|| cdp.suggestions(matching));
            found?;
            way.add(time);
        }
    }
    print("Finding the pairs of everybody", "records", &ways);
    Ok(())
}

/// How many pairs of texts are alike.
fn alike(texts: &[String]) -> usize {
    let pairs = texts.iter().enumerate().flat_map(|(n, a)| texts[..n].iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| strsim::jaro_winkler(a, b) >= 0.9).count()
}

/// How many pairs have equal keys.
fn pairs_of(keys: impl Iterator<Item = Option<String>>) -> usize {
    let mut sizes: HashMap<String, usize> = HashMap::new();
    for key in keys.flatten() {
        *sizes.entry(key).or_default() += 1;
    }
    sizes.values().map(|size| size * (size - 1) / 2).sum()
}

/// The first fields as one, none if one of them is missing.
fn key(record: &Record, fields: usize) -> Option<String> {
    let fields = &record.fields[..fields];
    fields.iter().all(|field| !field.is_empty()).then(|| fields.join("|"))
}

fn event(record: &Record) -> Event {
    let event = Event::identify().user_id(record.id.as_str()).at(now());
    let given = FIELDS.iter().zip(&record.fields).filter(|(_, value)| !value.is_empty());
    given.fold(event, |event, (name, value)| event.with_trait(*name, value.as_str()))
}

/// A record of a line of CSV whose quoted fields have no quotes in them.
fn record(line: &str) -> Record {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            letter => cells.last_mut().into_iter().for_each(|cell| cell.push(letter)),
        }
    }
    let mut cell = |place: usize| cells.get_mut(place).map(std::mem::take).unwrap_or_default();
    let (id, person) = (cell(0), cell(1));
    // The columns: first name, surname, birth, place, postcode, gender, occupation.
    Record { id, person, fields: [2, 3, 4, 5, 6, 8].map(cell) }
}

/// People with up to nine records each, of whose fields one in ten is missing and one in ten has a slip.
fn made(records: usize) -> Vec<Record> {
    let syllables =
        ["ka", "lo", "mi", "ne", "ru", "sa", "ti", "vo", "wen", "yar", "zim", "bel", "dor", "fin"];
    let mut dice = Dice::new(11);
    let mut made = Vec::new();
    for person in 0.. {
        let mut word = |parts: u64| (0..parts).map(|_| dice.pick(&syllables)).collect::<String>();
        let (first_name, surname, place, trade) = (word(2), word(3), word(2), word(1));
        let dob = format!("{}-{:02}-{:02}", 1_700 + dice.below(200), 1 + dice.below(12), 1 + dice.below(28));
        let postcode = format!("{}{} {}", dice.pick(&syllables), dice.below(20), dice.below(1_000));
        let whole = [first_name, surname, dob, place, postcode, trade];
        for number in 0..=dice.below(9) {
            if made.len() == records {
                return made;
            }
            let fields = whole.clone().map(|field| slipped(&mut dice, field));
            made.push(Record { id: format!("{person}-{number}"), person: person.to_string(), fields });
        }
    }
    made
}

fn slipped(dice: &mut Dice, field: String) -> String {
    match dice.below(10) {
        0 => String::new(),
        1 => {
            let place = usize::try_from(dice.below(field.len() as u64)).unwrap_or(0);
            field.chars().enumerate().map(|(n, letter)| if n == place { 'q' } else { letter }).collect()
        }
        _ => field,
    }
}
