//! Real event files and the answers that an independent program gave: set `CUSTOMERDB_DATA` to their folder.
#![cfg(feature = "compression")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::path::PathBuf;

use customerdb::{
    Cdp, Event, Funnel, Interval, ManualClock, Retention, Rfm, Rules, Segment, Sessions, Source, Timestamp,
    Value, all, days, did, did_not, has_identifier, has_trait, is_known, not,
};

use crate::support::{builder, define, everybody, ids, partition, place, sound};

fn folder() -> PathBuf {
    std::env::var_os("CUSTOMERDB_DATA").expect("CUSTOMERDB_DATA names the folder of the data").into()
}

fn file(name: &str) -> PathBuf {
    folder().join("events").join(format!("{name}.jsonl.gz"))
}

fn expected(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[name].clone()
}

fn lines(name: &str) -> Vec<String> {
    let mut text = String::new();
    let packed = std::fs::File::open(file(name)).unwrap();
    flate2::read::MultiGzDecoder::new(packed).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// After everything in the data.
fn clock() -> ManualClock {
    ManualClock::at("2024-06-01T00:00:00Z".parse::<Timestamp>().unwrap())
}

/// A shuffle that is the same everywhere (xorshift64).
fn shuffled(lines: &[String], seed: u64) -> Vec<String> {
    let mut lines = lines.to_vec();
    let mut state = seed | 1;
    for place in (1..lines.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        lines.swap(place, usize::try_from(state % (place as u64 + 1)).unwrap());
    }
    lines
}

/// The components of what lines bear, by union-find: `bears` gives the identifiers of an event.
fn components(lines: &[String], bears: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    fn root(parents: &[usize], mut at: usize) -> usize {
        while parents[at] != at {
            at = parents[at];
        }
        at
    }
    let (mut numbers, mut parents): (HashMap<String, usize>, Vec<usize>) = (HashMap::new(), Vec::new());
    let mut told = BTreeSet::new();
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap();
        if !told.insert(event["messageId"].as_str().unwrap().to_owned()) {
            continue;
        }
        let nodes: Vec<usize> = bears(&event)
            .into_iter()
            .map(|id| {
                *numbers.entry(id).or_insert_with(|| {
                    parents.push(parents.len());
                    parents.len() - 1
                })
            })
            .collect();
        for pair in nodes.windows(2) {
            let (a, b) = (root(&parents, pair[0]), root(&parents, pair[1]));
            parents[a] = b;
        }
    }
    let mut sets: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (id, node) in numbers {
        sets.entry(root(&parents, node)).or_default().push(id);
    }
    let mut sets: Vec<Vec<String>> = sets.into_values().collect();
    for set in &mut sets {
        set.sort();
    }
    sets.sort();
    sets
}

/// The identifiers at these members of an event, as `namespace:value`.
fn borne(event: &Value, members: &[(&str, &str)]) -> Vec<String> {
    let text = |path: &str| event.pointer(path)?.as_str().map(|value| value.trim().to_owned());
    let found = members.iter().filter_map(|(namespace, path)| {
        let value = text(path)?;
        let value = if *namespace == "email" { value.to_lowercase() } else { value };
        Some(format!("{namespace}:{value}"))
    });
    found.collect()
}

fn retail_segments() -> [Segment; 6] {
    [
        Segment::new("big", did("Order Line").sum("revenue_milli").gte(1_000_000)),
        Segment::new("returns", did("Order Line Cancelled").at_least(3)),
        Segment::new("abroad", all([has_trait("country").ne("United Kingdom"), has_identifier("user_id")])),
        Segment::new("passers-by", not(is_known())),
        // Counted from the clock's now: the last half year of the data.
        Segment::new("late", did("Order Line*").within(days(4_650))),
        Segment::new("gone", all([did("Order Line"), did_not("Order Line").within(days(4_700))])),
    ]
}

fn retail(cdp: &Cdp) -> customerdb::IngestReport {
    cdp.ingest_file(file("online_retail"), &Source::default()).unwrap()
}

#[test]
#[ignore = "needs CUSTOMERDB_DATA"]
fn real_data_online_retail_has_its_customers_and_the_five_largest() {
    let expected = expected("online_retail_lines_30k");
    let cdp = builder(&clock()).in_memory().unwrap();
    let report = retail(&cdp);
    let lines = expected["lines"].as_u64().unwrap() + expected["customers"].as_u64().unwrap();
    assert_eq!((report.accepted, report.duplicates, report.rejected.len()), (lines, 0, 0));

    let customers = cdp.preview(has_identifier("user_id")).unwrap();
    assert_eq!(customers.len() as u64, expected["customers"].as_u64().unwrap());
    assert_eq!(customers.len(), 3_569);
    let mut spent: Vec<(i64, String, usize, usize)> = Vec::new();
    let (mut cancelled, mut invoices) = (0, BTreeSet::new());
    for person in &customers {
        let (mut milli, mut count, mut orders) = (0, 0, BTreeSet::new());
        for record in cdp.events(person.id, usize::MAX).unwrap() {
            let event: Value = serde_json::from_str(&record.json).unwrap();
            if let Some(revenue) = event["properties"]["revenue_milli"].as_i64() {
                milli += revenue;
                count += 1;
                cancelled += usize::from(record.name == "Order Line Cancelled");
                orders.insert(event["properties"]["order_id"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(cdp.profile(person.id).unwrap().unwrap().events, count as u64 + 1);
        spent.push((milli, person.name.value().to_owned(), count, orders.len()));
        invoices.append(&mut orders);
    }
    assert_eq!(
        Value::from(spent.iter().map(|spent| spent.0).sum::<i64>()),
        expected["net_milli_known_customers"]
    );
    spent.sort_by(|a, b| b.cmp(a));
    let five: Vec<Value> = spent[..5]
        .iter()
        .map(|(milli, id, lines, orders)| {
            serde_json::json!([id.parse::<u64>().unwrap(), milli, lines, orders])
        })
        .collect();
    assert_eq!(Value::from(five), expected["top5_customers_by_milli"]);

    // The language of segments comes to the same sums.
    let least = spent[4].0;
    let largest =
        cdp.preview(all([has_identifier("user_id"), did("Order Line*").sum("revenue_milli").gte(least)]));
    let largest: BTreeSet<String> = largest.unwrap().into_iter().map(|p| p.name.value().to_owned()).collect();
    assert_eq!(largest, spent[..5].iter().map(|spent| spent.1.clone()).collect());
    // Those without a customer are one for each invoice.
    let raw = self::lines("online_retail");
    let own =
        components(&raw, |event| borne(event, &[("user_id", "/userId"), ("anonymous_id", "/anonymousId")]));
    assert_eq!(partition(&cdp), own);
    assert!(
        cancelled > 0 && invoices.len() <= usize::try_from(expected["invoices"].as_u64().unwrap()).unwrap()
    );
    sound(&cdp);
}

#[test]
#[ignore = "needs CUSTOMERDB_DATA"]
fn real_data_online_retail_taken_in_twice_is_all_duplicates_and_no_change() {
    let (_folder, path) = place();
    let cdp = builder(&clock()).open(&path).unwrap();
    define(&cdp, &retail_segments());
    let first = retail(&cdp);
    let (people, given, stats) = (everybody(&cdp), ids(&cdp), cdp.stats().unwrap());
    let again = retail(&cdp);
    assert_eq!((again.accepted, again.duplicates, again.conflicts), (0, first.accepted, 0));
    assert_eq!((again.profiles_created, again.merges, again.rejected.len()), (0, 0, 0));
    assert_eq!(everybody(&cdp), people);
    assert_eq!(ids(&cdp), given);
    let after = cdp.stats().unwrap();
    assert_eq!((after.events, after.links, after.profiles), (stats.events, stats.links, stats.profiles));
    sound(&cdp);
    drop(cdp);
    let cdp = builder(&clock()).open(&path).unwrap();
    assert_eq!(ids(&cdp), given);
    assert_eq!(everybody(&cdp), people);
}

#[test]
#[ignore = "needs CUSTOMERDB_DATA"]
fn real_data_online_retail_is_the_same_in_whatever_order_its_lines_come() {
    let cdp = builder(&clock()).in_memory().unwrap();
    define(&cdp, &retail_segments());
    retail(&cdp);
    let people = everybody(&cdp);
    let sizes: Vec<usize> = cdp.segments().unwrap().into_iter().map(|found| found.members).collect();
    assert!(
        sizes.iter().all(|size| (1..people.len()).contains(size)),
        "segments that tell little: {sizes:?}"
    );
    let raw = lines("online_retail");
    for (seed, batch) in [(1, 33_569), (20_240_501, 4_001), (0xDEAD_BEEF, 997)] {
        let cdp = builder(&clock()).in_memory().unwrap();
        define(&cdp, &retail_segments());
        for lines in shuffled(&raw, seed).chunks(batch) {
            assert_eq!(cdp.ingest(lines.iter().map(String::as_str)).unwrap().accepted, lines.len() as u64);
        }
        assert!(everybody(&cdp) == people, "seed {seed}");
        sound(&cdp);
    }
}

#[test]
#[ignore = "needs CUSTOMERDB_DATA"]
fn real_data_fake_1000_has_the_components_of_its_addresses() {
    let expected = expected("fake_1000");
    let expected =
        expected.as_array().unwrap().iter().find(|found| found["keys"] == serde_json::json!([["email"]]));
    let expected = expected.unwrap()["components"].as_u64().unwrap();
    let own = components(&lines("fake_1000"), |event| {
        borne(event, &[("anonymous_id", "/anonymousId"), ("email", "/traits/email")])
    });
    assert_eq!(own.len() as u64, expected);
    for rules in [Rules::default(), Rules::unlimited()] {
        let cdp = builder(&clock()).rules(rules).in_memory().unwrap();
        let report = cdp.ingest_file(file("fake_1000"), &Source::default()).unwrap();
        // Some of the addresses have errors in them, to the point of being none.
        assert_eq!((report.accepted, report.rejected.len(), report.refusals), (1_000, 0, 28));
        assert_eq!(cdp.profiles().unwrap().len() as u64, expected);
        let records = |sets: Vec<Vec<String>>| -> BTreeSet<Vec<String>> {
            let of =
                |set: Vec<String>| set.into_iter().filter(|id| id.starts_with("anonymous_id:")).collect();
            sets.into_iter().map(of).collect()
        };
        assert_eq!(records(partition(&cdp)), records(own.clone()));
        assert_eq!(cdp.graph().unwrap().components().len() as u64, expected);
        sound(&cdp);
    }
}

#[test]
#[ignore = "needs CUSTOMERDB_DATA"]
fn real_data_snowplow_web_has_the_components_of_all_its_ids() {
    let expected = expected("snowplow_web");
    let raw = lines("snowplow_web");
    let own = components(&raw, |event| {
        let ids = [
            ("user_id", "/userId"),
            ("anonymous_id", "/anonymousId"),
            ("external:network_userid", "/context/externalIds/0/id"),
        ];
        borne(event, &ids)
    });
    for seed in 0..6 {
        let cdp = builder(&clock()).rules(Rules::unlimited()).in_memory().unwrap();
        let report = cdp.ingest(shuffled(&raw, seed).iter().map(String::as_str)).unwrap();
        assert_eq!(Value::from(report.accepted), expected["distinct_event_ids"]);
        assert_eq!(report.accepted + report.duplicates, 160);
        assert_eq!(Value::from(cdp.profiles().unwrap().len()), expected["components_all_ids_linked"]);
        assert_eq!(
            Value::from(cdp.graph().unwrap().components().len()),
            expected["components_all_ids_linked"]
        );
        let nodes: u64 = ["user_id", "domain_userid", "network_userid"]
            .map(|name| expected["nodes"][name].as_u64().unwrap())
            .iter()
            .sum();
        assert_eq!(cdp.stats().unwrap().identifiers, nodes);
        if seed == 0 {
            // Which of two events with one id comes first may matter; here it does not.
            assert_eq!(partition(&cdp), own);
        }
        sound(&cdp);
    }
}

#[test]
#[ignore = "needs CUSTOMERDB_DATA"]
fn real_data_a_clickstream_has_its_funnel_its_sessions_and_its_returning_days() {
    let expected = expected("ecom_clickstream_synthetic");
    let clock = ManualClock::at("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let cdp = builder(&clock).in_memory().unwrap();
    let report = cdp.ingest_file(file("ecom_clickstream"), &Source::default()).unwrap();
    assert_eq!(report.accepted, expected["events"]);

    let steps = ["product_view", "add_to_cart", "shipping_details", "payment_details", "purchase"];
    let funnel = cdp.funnel(&Funnel::new(steps.map(did)).within(customerdb::hours(1))).unwrap();
    let reached = &expected["funnel_1h_any_start_strictly_increasing"];
    for (name, step) in steps.iter().zip(&funnel.steps) {
        assert_eq!(step.count, reached[*name], "{name}");
    }
    let sessions = cdp.sessions(&Sessions::default()).unwrap();
    assert_eq!(sessions.sessions, expected["sessions_30min_gap_strict_per_user"]);
    assert_eq!((sessions.people, sessions.events), (600, 31_106));

    let daily = cdp.retention(&Retention::new(did("*"), did("*")).first_time().periods(30)).unwrap();
    for (day, people) in expected["day_n_retention"].as_object().unwrap() {
        let day: usize = day.parse().unwrap();
        let found: u64 = daily.cohorts.iter().map(|cohort| cohort.values[day]).sum();
        assert_eq!(found, *people, "day {day}");
    }
}

#[test]
#[ignore = "needs CUSTOMERDB_DATA"]
fn real_data_invoices_have_their_monthly_cohorts() {
    let text = std::fs::read_to_string(folder().join("online_retail_invoices_26k.csv")).unwrap();
    let mut lines =
        text.lines().map(|line| line.split(',').map(|cell| cell.trim_matches('"')).collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let column =
        |name: &str| head.iter().position(|cell| cell.trim_start_matches('\u{feff}') == name).unwrap();
    let (invoice, date, customer) = (column("InvoiceNo"), column("InvoiceDate"), column("CustomerID"));
    let events = lines.enumerate().filter_map(|(number, row)| {
        if row[customer] == "(blank)" || row[invoice].starts_with('C') {
            return None;
        }
        let mut parts = row[date].split(['/', ' ', ':']).map(|part| part.parse::<u32>().unwrap());
        let mut next = || parts.next().unwrap();
        let (month, day, year, hour, minute) = (next(), next(), next(), next(), next());
        let at: Timestamp = format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z").parse().unwrap();
        Some(Event::track("Invoice").user_id(row[customer]).at(at).message_id(format!("row-{number}")))
    });
    let cdp = builder(&clock()).in_memory().unwrap();
    cdp.ingest(events).unwrap();
    let expected = expected("online_retail_invoices_26k");
    assert_eq!(cdp.stats().unwrap().profiles, expected["customers_with_non_cancelled_invoice"]);

    let question =
        Retention::new(did("Invoice"), did("Invoice")).every(Interval::Month).first_time().periods(12);
    let report = cdp.retention(&question).unwrap();
    let cohorts = expected["monthly_cohorts_active_customers"].as_object().unwrap();
    assert_eq!(report.cohorts.len(), cohorts.len());
    for cohort in &report.cohorts {
        let counts = &cohorts[&cohort.start.to_string()[..7]];
        for (month, count) in cohort.values.iter().enumerate() {
            assert_eq!(*count, counts[month.to_string()].as_u64().unwrap_or(0), "{} + {month}", cohort.start);
        }
    }
}

#[test]
#[ignore = "needs CUSTOMERDB_DATA"]
fn real_data_online_retail_has_its_best_customers_in_the_best_groups() {
    let expected = expected("online_retail_lines_30k");
    let cdp = builder(&clock()).in_memory().unwrap();
    retail(&cdp);
    let question = Rfm::new(did("Order Line*"), "revenue_milli")
        .at("2011-12-10T00:00:00Z".parse::<Timestamp>().unwrap())
        .of_those(has_identifier("user_id"));
    let report = cdp.rfm(&question).unwrap();
    assert_eq!(report.profiles.len() as u64, expected["customers"].as_u64().unwrap());
    let milli: i64 = report.profiles.iter().map(|profile| profile.monetary.as_i64().unwrap()).sum();
    assert_eq!(milli, expected["net_milli_known_customers"]);
    for row in expected["top5_customers_by_milli"].as_array().unwrap() {
        let name = format!("user_id:{}", row[0]);
        let profile = report.profiles.iter().find(|profile| profile.name == name).unwrap();
        assert_eq!((&profile.monetary, &Value::from(profile.frequency), profile.m), (&row[1], &row[2], 5));
    }
    // The scores by their definition, over everyone.
    let total = report.profiles.len();
    for profile in report.profiles.iter().step_by(97) {
        let worse = |fits: &dyn Fn(&customerdb::RfmProfile) -> bool| {
            1 + 5 * report.profiles.iter().filter(|other| fits(other)).count() / total
        };
        assert_eq!(usize::from(profile.r), worse(&|other| other.recency_days > profile.recency_days));
        assert_eq!(usize::from(profile.f), worse(&|other| other.frequency < profile.frequency));
        assert_eq!(
            usize::from(profile.m),
            worse(&|other| other.monetary.as_i64() < profile.monetary.as_i64())
        );
    }
}

#[test]
#[ignore = "needs CUSTOMERDB_DATA"]
fn real_data_snowplow_has_sessions_of_all_its_events() {
    let cdp = builder(&clock()).in_memory().unwrap();
    let report = cdp.ingest_file(file("snowplow_web"), &Source::default()).unwrap();
    let sessions = cdp.sessions(&Sessions::default()).unwrap();
    assert_eq!((sessions.events, sessions.people), (report.accepted, cdp.stats().unwrap().profiles));
    // Cut anew from what each person did.
    let mut cuts = 0;
    for person in cdp.profiles().unwrap() {
        let times: Vec<i64> =
            cdp.events(person.id, usize::MAX).unwrap().iter().map(|e| e.at.as_micros()).collect();
        cuts += 1 + times.windows(2).filter(|pair| pair[0] - pair[1] > 1_800_000_000).count() as u64;
    }
    assert_eq!(sessions.sessions, cuts);
    let named: u64 = expected("snowplow_web")["event_names"]["page_view"].as_u64().unwrap();
    assert!(sessions.entries["$page"] <= named);
}
