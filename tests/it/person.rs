//! What a person may ask for: everything that is held of them, and to have it set right.

use customerdb::{
    By, Cdp, ChangeCause, ConsentDecision, Error, Event, Interval, ManualClock, Policy, Rules, Segment,
    Source, TagRule, Timestamp, Trend, Value, days, did, has_trait, hours,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{NOW, builder, cases, everybody, memory, names, place, sound};

fn city(user: &str, city: &str, at: Timestamp) -> Event {
    Event::identify().user_id(user).with_trait("city", city).at(at)
}

fn value(cdp: &Cdp, id: &str) -> Option<Value> {
    cdp.profile(id).unwrap().unwrap().value("city").cloned()
}

#[test]
fn a_trait_that_was_set_right_stands_whatever_events_and_policies_say() {
    let clock = ManualClock::at(NOW.before(days(9)));
    let cdp = builder(&clock).in_memory().unwrap();
    cdp.define(Segment::new("wuhan", has_trait("city").eq("Wuhan"))).unwrap();
    cdp.define(Segment::new("settled", has_trait("city").eq("Wuhan").held_for(days(3)))).unwrap();
    cdp.ingest([city("u1", "Oslo", NOW.before(days(9)))]).unwrap();
    clock.set(NOW.before(days(8)));
    cdp.rectify("user_id:u1", "city", "Wuhan").unwrap();
    assert_eq!(names(&cdp, "wuhan"), ["user_id:u1"]);
    let cause = ChangeCause::Trait { name: "city".into(), message_id: "rectify:1".into() };
    assert_eq!(cdp.changes(0, 9).unwrap()[0].cause, cause);
    clock.set(NOW);
    // Later and earlier events, and null, change nothing; nor does a policy.
    cdp.ingest([
        city("u1", "Lima", NOW),
        city("u1", "Rome", NOW.before(days(20))),
        Event::identify().user_id("u1").with_trait("city", Value::Null).at(NOW),
    ])
    .unwrap();
    for policy in [Policy::First, Policy::Max, Policy::Union, Policy::Latest] {
        cdp.set_policy("city", policy).unwrap();
        assert_eq!(value(&cdp, "user_id:u1"), Some(json!("Wuhan")));
        assert_eq!((names(&cdp, "wuhan").len(), names(&cdp, "settled").len()), (1, 1));
    }
    // Where it comes from shows, and what events said is still there.
    let history = cdp.trait_history("user_id:u1", "city").unwrap();
    let told: Vec<_> =
        history.iter().map(|said| (said.value.clone(), said.source.as_str(), said.pinned)).collect();
    assert_eq!(told.len(), 5);
    assert_eq!(told[2], (json!("Wuhan"), "rectification", true));
    let held = cdp.profile("user_id:u1").unwrap().unwrap().traits["city"].clone();
    assert_eq!((held.message_id.as_str(), held.at, held.pinned), ("rectify:1", NOW.before(days(8)), true));
    // Of an instant before, it is what was known then.
    let then = cdp.profile_at("user_id:u1", NOW.before(hours(200))).unwrap().unwrap();
    assert_eq!(then.value("city"), Some(&json!("Oslo")));
    assert_eq!(cdp.profile_at("user_id:u1", NOW).unwrap().unwrap().value("city"), Some(&json!("Wuhan")));
    assert!(cdp.members_at("wuhan", NOW.before(hours(200))).unwrap().is_empty());
    // Questions about everybody see it too.
    let trend = Trend::of(did("$identify")).every(Interval::Month).by(By::with_trait("city"));
    let shown = cdp.trend(&trend).unwrap().to_string();
    assert!(shown.contains("Wuhan") && !shown.contains("Lima"), "{shown}");
    everybody(&cdp);
    sound(&cdp);
    // Set right once more, to be missing; and taken back.
    cdp.rectify("user_id:u1", "city", Value::Null).unwrap();
    assert_eq!((value(&cdp, "user_id:u1"), names(&cdp, "wuhan").len()), (None, 0));
    assert!(cdp.unpin("user_id:u1", "city").unwrap() && !cdp.unpin("user_id:u1", "city").unwrap());
    cdp.ingest([city("u1", "Cairo", NOW.after(hours(1)))]).unwrap();
    assert_eq!(value(&cdp, "user_id:u1"), Some(json!("Cairo")));
    assert_eq!(cdp.trait_history("user_id:u1", "city").unwrap().len(), 5);
    let actions: Vec<_> = cdp.audit(0, 99).unwrap().into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions.iter().filter(|action| **action == "rectify").count(), 2);
    assert_eq!(actions.last().unwrap(), "unpin");
    sound(&cdp);
}

#[test]
fn what_was_set_right_goes_with_its_identifier_through_joins_splits_and_replays() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).open(&path).unwrap();
    cdp.ingest([city("u1", "Oslo", NOW), Event::page().anonymous_id("a1").context_trait("city", "Lima")])
        .unwrap();
    cdp.rectify("anonymous_id:a1", "city", "Rome").unwrap();
    clock.set(NOW.after(hours(1)));
    let id = cdp.profile("user_id:u1").unwrap().unwrap().id;
    cdp.rectify(id, "city", "Wuhan").unwrap();
    cdp.link("user_id:u1", "anonymous_id:a1").unwrap();
    assert_eq!(value(&cdp, "anonymous_id:a1"), Some(json!("Wuhan")), "the latest of the two");
    drop(cdp);
    let cdp = builder(&clock).open(&path).unwrap();
    cdp.restitch().unwrap();
    cdp.set_rules(Rules::default().limit("email", Some(7))).unwrap();
    assert_eq!(value(&cdp, "anonymous_id:a1"), Some(json!("Wuhan")));
    cdp.split("anonymous_id:a1").unwrap();
    assert_eq!(
        (value(&cdp, "user_id:u1"), value(&cdp, "anonymous_id:a1")),
        (Some(json!("Wuhan")), Some(json!("Rome")))
    );
    sound(&cdp);
}

#[test]
fn a_trait_that_one_event_says_twice_under_one_name_stands_once() {
    let cdp = memory(Rules::default());
    let event =
        Event::identify().user_id("u1").with_trait("e\u{301}t\u{e9}", 1).with_trait("\u{e9}t\u{e9}", 2);
    cdp.ingest([event.at(NOW)]).unwrap();
    let profile = cdp.profile("user_id:u1").unwrap().unwrap();
    assert_eq!(profile.value("\u{e9}t\u{e9}"), Some(&json!(2)), "the last of its members");
    assert_eq!(cdp.trait_history("user_id:u1", "\u{e9}t\u{e9}").unwrap().len(), 1);
    sound(&cdp);
}

#[test]
fn what_cannot_be_set_right_is_told() {
    let cdp = memory(Rules::default());
    cdp.ingest([Event::page().user_id("u1")]).unwrap();
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    for (id, name, value, start) in [
        ("user_id:u2", "city", json!("x"), "id: nobody goes by it"),
        ("user_id:u1", "", json!("x"), "trait: must not be empty"),
        ("user_id:u1", "city", deep, "value: recursion limit exceeded"),
    ] {
        let error = cdp.rectify(id, name, value).unwrap_err();
        assert!(matches!(error, Error::Definition(_)), "{error:?}");
        assert!(error.to_string().starts_with(start), "{error}");
    }
    assert!(matches!(cdp.rectify("u1", "city", 1), Err(Error::NotAnId(_))));
    assert!(!cdp.unpin("user_id:u2", "city").unwrap());
    assert!(cdp.audit(0, 9).unwrap().is_empty());
}

/// Somebody of whom everything is held, and somebody else.
fn known(cdp: &Cdp) {
    let at = |n: u32| NOW.before(days(9)).after(hours(n));
    cdp.define(Segment::new("wuhan", has_trait("city").eq("Wuhan"))).unwrap();
    cdp.define(Segment::list("testers", ["user_id:u1", "user_id:u2"])).unwrap();
    cdp.define_tag(TagRule::new("home", has_trait("city").exists())).unwrap();
    let crm = Source::new("crm");
    let letter = r#"{"type":"track","event":"Order","userId":"u1","messageId":"m3","timestamp":"2024-04-23T00:00:00Z",
        "properties":{"n":123456789012345678901234567890, "x":1.10}}"#;
    cdp.ingest_from(&crm, [letter]).unwrap();
    cdp.ingest([Event::page().anonymous_id("device-1").at(at(1)).message_id("m1")]).unwrap();
    cdp.ingest([
        city("u1", "Oslo", at(2)).anonymous_id("device-1").message_id("m2"),
        Event::group("acme").user_id("u1").with_trait("plan", "gold").at(at(4)).message_id("m4"),
        city("u2", "Secret", at(5)).anonymous_id("device-1").message_id("m5"),
    ])
    .unwrap();
    cdp.tag("user_id:u1", "vip", NOW.after(days(3))).unwrap();
    cdp.rectify("user_id:u1", "city", "Wuhan").unwrap();
    cdp.record_consent("user_id:u1", ConsentDecision::granted("marketing").evidence("box ticked")).unwrap();
    cdp.record_consent("user_id:u2", ConsentDecision::denied("marketing").evidence("Secret")).unwrap();
    cdp.never("user_id:u1", "user_id:another-secret").unwrap();
    let refused = [
        r#"{"type":"track","userId":"u1"}"#,
        r#"{"type":"track","userId":"u2"}"#,
        r#"{"type":"dance","properties":{"note":"u1"}}"#,
        "{\"userId\": \"device-1\", broken",
        "{\"userId\": \"device-12\", broken",
    ];
    assert_eq!(cdp.ingest(refused).unwrap().rejected.len(), 5);
}

#[test]
fn an_export_holds_everything_of_the_person_and_nothing_of_others() {
    let cdp = memory(Rules::default());
    known(&cdp);
    let export = cdp.export("anonymous_id:device-1").unwrap().unwrap();
    let document: Value = serde_json::from_str(export.as_json()).unwrap();
    let members: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "accounts",
            "as_of",
            "computed",
            "consent_history",
            "consents",
            "decisions",
            "events",
            "first_seen",
            "format",
            "former_ids",
            "given_tags",
            "id",
            "identifiers",
            "journal",
            "last_seen",
            "links",
            "lists",
            "quarantine",
            "refusals",
            "segment_changes",
            "segments",
            "tags",
            "trait_history",
            "traits"
        ]
    );
    assert_eq!(document["identifiers"], json!(["user_id:u1", "anonymous_id:device-1"]));
    let ids: Vec<_> =
        document["events"].as_array().unwrap().iter().map(|event| event["message_id"].clone()).collect();
    assert_eq!(ids, ["m1", "m2", "m4", "m3"].map(|id| json!(id)).to_vec());
    assert_eq!(
        (&document["events"][3]["source"], &document["events"][3]["party"]),
        (&json!("crm"), &json!("first"))
    );
    assert!(export.as_json().contains(r#""properties":{"n":123456789012345678901234567890, "x":1.10}"#));
    assert_eq!(document["traits"]["city"]["value"], "Wuhan");
    assert_eq!(document["trait_history"]["city"].as_array().unwrap().len(), 2);
    assert_eq!(document["tags"].as_array().unwrap().len(), 2);
    assert_eq!(document["given_tags"][0]["tag"], "vip");
    assert_eq!(document["lists"][0]["list"], "testers");
    assert_eq!(document["segments"], json!(["testers", "wuhan"]));
    assert_eq!(document["segment_changes"].as_array().unwrap().len(), 2);
    assert_eq!(document["consents"]["marketing"]["evidence"], "box ticked");
    assert_eq!(document["consent_history"].as_array().unwrap().len(), 1);
    assert_eq!(document["accounts"][0]["id"], "acme");
    assert_eq!(document["links"][0]["message_id"], "m2");
    // The other's login on the device is known by what kept it apart, and not by whose it is.
    assert_eq!(document["refusals"][0]["message_id"], "m5");
    assert_eq!(document["refusals"][0]["from"], "user_id:***");
    assert_eq!(
        (&document["decisions"][0]["a"], &document["decisions"][0]["kind"]),
        (&json!("user_id:u1"), &json!("never"))
    );
    assert_eq!(document["journal"].as_array().unwrap().len(), 1);
    assert_eq!(document["former_ids"].as_array().unwrap().len(), 1);
    let raw: Vec<_> = document["quarantine"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["raw"].as_str().unwrap())
        .collect();
    assert_eq!(raw, [r#"{"type":"track","userId":"u1"}"#, "{\"userId\": \"device-1\", broken"]);
    for other in ["user_id:u2", "Secret", "another-secret"] {
        assert!(!export.as_json().contains(other), "{other}: {export}");
    }
    // The same state gives the same document, and only the audit log knows.
    assert_eq!(cdp.export("user_id:u1").unwrap().unwrap(), export);
    let audited = cdp.audit(0, 99).unwrap();
    assert_eq!(audited.iter().filter(|entry| entry.action == "export").count(), 2);
    assert_eq!(audited.last().unwrap().details["events"], 4);
    assert!(!format!("{export:?}").contains("Wuhan"));
    assert_eq!(serde_json::to_string(&export).unwrap(), export.as_json());
    sound(&cdp);
}

#[test]
fn who_is_known_by_little_is_told_that_and_nobody_is_told_nothing() {
    let (_folder, path) = place();
    let cdp = builder(&ManualClock::at(NOW)).open(&path).unwrap();
    known(&cdp);
    let document =
        |id: &str| -> Value { serde_json::from_str(cdp.export(id).unwrap().unwrap().as_json()).unwrap() };
    // A decision, and no event yet.
    cdp.record_consent("email:new@b.example", ConsentDecision::denied("analytics")).unwrap();
    let new = document("email:New@b.example");
    assert_eq!((&new["id"], &new["identifiers"]), (&json!(null), &json!(["email:new@b.example"])));
    assert_eq!(new["consents"]["analytics"]["state"], "denied");
    // Refused events only.
    cdp.ingest([r#"{"type":"track","traits":{"email":"Stray@b.example"}}"#]).unwrap();
    let stray = document("email:stray@b.example");
    assert_eq!(stray["quarantine"].as_array().unwrap().len(), 1);
    let before = cdp.audit(0, 99).unwrap();
    assert!(cdp.export("user_id:nobody").unwrap().is_none());
    assert!(cdp.export("user_id:null").unwrap().is_none());
    let strangers = uuid(&cdp);
    assert!(cdp.export(strangers).unwrap().is_none());
    assert_eq!(cdp.audit(0, 99).unwrap(), before);
    assert!(matches!(cdp.export("nobody"), Err(Error::NotAnId(_))));
    drop(cdp);
    let reader = Cdp::open_read_only(&path).unwrap();
    assert!(matches!(reader.export("user_id:u1"), Err(Error::ReadOnly)));
    assert!(matches!(reader.rectify("user_id:u1", "city", 1), Err(Error::ReadOnly)));
}

/// A profile id that is nobody's here.
fn uuid(cdp: &Cdp) -> String {
    let other = memory(Rules::default());
    other.ingest([Event::page().user_id("u1")]).unwrap();
    let id = other.profile("user_id:u1").unwrap().unwrap().id;
    assert!(cdp.profile(id).unwrap().is_none());
    id.to_string()
}

/// Something that happens in a random story of traits.
#[derive(Debug, Clone)]
enum Act {
    Say { id: usize, value: u8, hour: u32 },
    Rectify { id: usize, value: Option<u8> },
    Unpin { id: usize },
    Link { a: usize, b: usize },
    Split { id: usize },
    Restitch,
    Policy { first: bool },
    Reopen,
}

const IDS: [&str; 5] = ["user_id:u1", "user_id:u2", "anonymous_id:d1", "anonymous_id:d2", "anonymous_id:d3"];

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let id = || 0..IDS.len();
    let act = prop_oneof![
        4 => (id(), 0..4_u8, 0..40_u32).prop_map(|(id, value, hour)| Act::Say { id, value, hour }),
        3 => (id(), prop::option::of(0..4_u8)).prop_map(|(id, value)| Act::Rectify { id, value }),
        1 => id().prop_map(|id| Act::Unpin { id }),
        2 => (id(), id()).prop_map(|(a, b)| Act::Link { a, b }),
        1 => id().prop_map(|id| Act::Split { id }),
        1 => Just(Act::Restitch),
        1 => any::<bool>().prop_map(|first| Act::Policy { first }),
        1 => Just(Act::Reopen),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(cases(48))]

    /// Whatever joins, splits and replays do: of the pins of a person's identifiers the latest stands, else what events say.
    #[test]
    fn pins_stand_before_events_in_any_story(acts in acts()) {
        let (_folder, path) = place();
        let clock = ManualClock::at(NOW);
        let mut cdp = builder(&clock).open(&path).unwrap();
        for value in 0..4 {
            cdp.define(Segment::new(format!("s{value}"), has_trait("x").eq(value))).unwrap();
        }
        // (identifier, value) in the order in which they were pinned; (hour, message id, identifier, value) of events.
        let mut pins: Vec<(String, Option<u8>)> = Vec::new();
        let mut said: Vec<(u32, String, String, u8)> = Vec::new();
        let mut first_stands = false;
        for (n, act) in acts.into_iter().enumerate() {
            match act {
                Act::Say { id, value, hour } => {
                    let at = NOW.before(days(5)).after(hours(hour));
                    let message_id = format!("m{n:03}");
                    let event = Event::identify().with_trait("x", value).at(at).message_id(message_id.clone());
                    let (namespace, name) = IDS[id].split_once(':').unwrap();
                    let event = if namespace == "user_id" { event.user_id(name) } else { event.anonymous_id(name) };
                    cdp.ingest([event]).unwrap();
                    said.push((hour, message_id, IDS[id].into(), value));
                }
                Act::Rectify { id, value } => {
                    if cdp.rectify(IDS[id], "x", value.map_or(Value::Null, Value::from)).is_ok() {
                        pins.push((IDS[id].into(), value));
                    }
                }
                Act::Unpin { id } => {
                    let held = cdp.profile(IDS[id]).unwrap().map(|profile| profile.identifiers).unwrap_or_default();
                    let held: Vec<String> = held.iter().map(ToString::to_string).collect();
                    let before = pins.len();
                    pins.retain(|(pinned, _)| !held.contains(pinned));
                    prop_assert_eq!(cdp.unpin(IDS[id], "x").unwrap(), pins.len() < before);
                }
                Act::Link { a, b } if a != b => drop(cdp.link(IDS[a], IDS[b]).unwrap()),
                Act::Link { .. } => {}
                Act::Split { id } => drop(cdp.split(IDS[id]).unwrap()),
                Act::Restitch => drop(cdp.restitch().unwrap()),
                Act::Policy { first } => {
                    cdp.set_policy("x", if first { Policy::First } else { Policy::Latest }).unwrap();
                    first_stands = first;
                }
                Act::Reopen => {
                    drop(cdp);
                    cdp = builder(&clock).open(&path).unwrap();
                }
            }
            if n % 4 == 0 {
                said.sort();
                for person in cdp.profiles().unwrap() {
                    let held: Vec<String> = person.identifiers.iter().map(ToString::to_string).collect();
                    let pin = pins.iter().rfind(|(pinned, _)| held.contains(pinned));
                    let mut own = said.iter().filter(|(_, _, id, _)| held.contains(id));
                    let event = if first_stands { own.next() } else { own.next_back() };
                    let expected = match pin {
                        Some((_, value)) => *value,
                        None => event.map(|(.., value)| *value),
                    };
                    let profile = cdp.profile(person.id).unwrap().unwrap();
                    prop_assert_eq!(profile.value("x").cloned(), expected.map(Value::from), "{:?}", held);
                }
                everybody(&cdp);
                sound(&cdp);
            }
        }
    }
}
