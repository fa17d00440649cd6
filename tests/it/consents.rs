//! Consent: what stands after joins and splits, what it lets in, and who is told of it.

use std::collections::BTreeMap;

use customerdb::{
    Cdp, ChangeCause, ConsentDecision, ConsentMerge, ConsentState, Error, Event, ManualClock, Purpose, Rules,
    Segment, SharedDevice, Source, Timestamp, all, consented_to, days, did, hours, not,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{NOW, builder, cases, everybody, memory, names, place, sound, told};

fn granted(purpose: &str, at: Timestamp) -> ConsentDecision {
    ConsentDecision::granted(purpose).at(at)
}

fn denied(purpose: &str, at: Timestamp) -> ConsentDecision {
    ConsentDecision::denied(purpose).at(at)
}

fn state(cdp: &Cdp, id: &str, purpose: &str) -> Option<ConsentState> {
    cdp.consents(id).unwrap().get(purpose).map(|held| held.state)
}

#[test]
fn a_decision_is_kept_with_everything_that_was_said_of_it() {
    let cdp = memory(Rules::default());
    let decision = granted("marketing", NOW.before(days(2)))
        .source("sign-up form")
        .policy_version("2024-04")
        .evidence("box ticked");
    assert_eq!(cdp.record_consent("user_id:u1", decision).unwrap(), Some(ConsentState::Granted));
    assert!(cdp.profile("user_id:u1").unwrap().is_none(), "nobody yet");
    cdp.ingest([Event::page().user_id("u1")]).unwrap();
    let profile = cdp.profile("user_id:u1").unwrap().unwrap();
    let held = &profile.consents["marketing"];
    assert_eq!((held.state, held.at, held.recorded_at), (ConsentState::Granted, NOW.before(days(2)), NOW));
    assert_eq!((held.source.as_str(), held.policy_version.as_deref()), ("sign-up form", Some("2024-04")));
    assert_eq!((held.evidence.as_deref(), held.separate), (Some("box ticked"), false));
    assert_eq!(held.identifier.to_string(), "user_id:u1");
    // The log keeps what no longer stands, and a decision that came late stands where its time is.
    cdp.record_consent(profile.id, ConsentDecision::withdrawn("marketing")).unwrap();
    cdp.record_consent("user_id:u1", denied("marketing", NOW.before(days(1)))).unwrap();
    let history = cdp.consent_history("user_id:u1").unwrap();
    let states: Vec<_> = history.iter().map(|held| held.state.as_str()).collect();
    assert_eq!(states, ["granted", "denied", "withdrawn"]);
    assert_eq!(state(&cdp, "user_id:u1", "marketing"), Some(ConsentState::Withdrawn));
    let then = cdp.profile_at("user_id:u1", NOW.before(hours(36))).unwrap();
    assert!(then.is_none(), "their first event came later");
    sound(&cdp);
}

#[test]
fn what_is_no_decision_is_refused() {
    let cdp = memory(Rules::default());
    for (id, decision, start) in [
        ("user_id:u1", ConsentDecision::granted(""), "purpose: must not be empty"),
        (
            "user_id:u1",
            granted("x", NOW.after(days(2))),
            "at: outside the years 1970 to 2100, or too far ahead",
        ),
        ("user_id:u1", granted("x", Timestamp::from_millis(-1)), "at: outside the years"),
        ("user_id:null", ConsentDecision::granted("x"), "id: "),
    ] {
        let error = cdp.record_consent(id, decision).unwrap_err();
        assert!(matches!(error, Error::Definition(_)), "{error:?}");
        assert!(error.to_string().starts_with(start), "{error}");
    }
    assert!(matches!(cdp.record_consent("u1", ConsentDecision::granted("x")), Err(Error::NotAnId(_))));
    assert!(cdp.audit(0, 10).unwrap().is_empty());
}

#[test]
fn segments_follow_consent_and_say_so() {
    let cdp = memory(Rules::default());
    let buyers = all([consented_to("marketing"), did("Order")]);
    cdp.define(Segment::new("mail", buyers.clone())).unwrap();
    cdp.define(Segment::new("silent", not(consented_to("marketing")))).unwrap();
    cdp.ingest([Event::track("Order").user_id("u1").message_id("m1").at(NOW.before(days(3)))]).unwrap();
    cdp.record_consent("user_id:u1", granted("marketing", NOW.before(days(2)))).unwrap();
    assert_eq!((names(&cdp, "mail").len(), names(&cdp, "silent").len()), (1, 0));
    cdp.record_consent("user_id:u1", ConsentDecision::withdrawn("marketing").at(NOW.before(days(1))))
        .unwrap();
    assert_eq!((names(&cdp, "mail").len(), names(&cdp, "silent").len()), (0, 1));
    let consent = ChangeCause::Consent { purpose: "marketing".into() };
    let entries = told(&cdp);
    let of = |name: &str| -> Vec<(bool, ChangeCause)> {
        let own = entries.iter().filter(|entry| entry.0 == name);
        own.map(|entry| (entry.2, entry.3.clone())).collect()
    };
    assert_eq!(of("mail"), [(true, consent.clone()), (false, consent.clone())]);
    assert_eq!(
        of("silent"),
        [(true, ChangeCause::Event { message_id: "m1".into() }), (false, consent.clone()), (true, consent)]
    );
    // Why, and who it was at an instant.
    let why = cdp.why("mail", "user_id:u1").unwrap().unwrap();
    let seen = &why.conditions["all"][0];
    assert_eq!(
        (&seen["holds"], &seen["seen"], &seen["consent"]),
        (&json!(false), &json!("withdrawn"), &json!("marketing"))
    );
    let none = cdp.why_condition(consented_to("other"), "user_id:u1").unwrap().unwrap();
    assert_eq!((none.member, &none.conditions["seen"]), (false, &json!(null)));
    assert_eq!(cdp.preview_at(buyers.clone(), NOW.before(hours(36))).unwrap().len(), 1);
    assert_eq!(cdp.members_at("mail", NOW.before(hours(60))).unwrap().len(), 0, "before they agreed");
    assert_eq!(cdp.members_at("mail", NOW).unwrap().len(), 0);
    let then = cdp.profile_at("user_id:u1", NOW.before(hours(36))).unwrap().unwrap();
    assert_eq!(then.consents["marketing"].state, ConsentState::Granted);
    assert_eq!(then.segments, ["mail"]);
    everybody(&cdp);
    sound(&cdp);
}

#[test]
fn consents_go_with_their_identifiers_through_joins_and_splits() {
    let cdp = memory(Rules::default());
    cdp.define(Segment::new("mail", consented_to("marketing"))).unwrap();
    cdp.ingest([Event::page().user_id("u1"), Event::page().anonymous_id("a1")]).unwrap();
    cdp.record_consent("user_id:u1", granted("marketing", NOW.before(days(2)))).unwrap();
    cdp.record_consent("anonymous_id:a1", denied("marketing", NOW.before(days(1)))).unwrap();
    assert_eq!(names(&cdp, "mail"), ["user_id:u1"]);
    cdp.link("user_id:u1", "anonymous_id:a1").unwrap();
    assert_eq!(state(&cdp, "user_id:u1", "marketing"), Some(ConsentState::Denied));
    assert!(names(&cdp, "mail").is_empty());
    cdp.split("anonymous_id:a1").unwrap();
    assert_eq!(names(&cdp, "mail"), ["user_id:u1"]);
    assert_eq!(state(&cdp, "anonymous_id:a1", "marketing"), Some(ConsentState::Denied));
    let causes: Vec<_> = told(&cdp).into_iter().map(|(.., cause)| cause).collect();
    let consent = ChangeCause::Consent { purpose: "marketing".into() };
    assert_eq!(causes, [consent, ChangeCause::Merge, ChangeCause::Split]);
    sound(&cdp);
}

#[test]
fn definitions_of_purposes_and_the_merge_hold_for_the_past() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).open(&path).unwrap();
    cdp.define(Segment::new("mail", consented_to("marketing"))).unwrap();
    cdp.ingest([Event::identify().user_id("u1").anonymous_id("a1")]).unwrap();
    cdp.record_consent("anonymous_id:a1", denied("marketing", NOW.before(days(2)))).unwrap();
    cdp.record_consent("user_id:u1", granted("marketing", NOW.before(days(1)))).unwrap();
    assert_eq!(names(&cdp, "mail").len(), 1);
    cdp.set_consent_merge(ConsentMerge::MostRestrictive).unwrap();
    assert_eq!(names(&cdp, "mail").len(), 0);
    cdp.record_consent("anonymous_id:a1", granted("marketing", NOW)).unwrap();
    assert_eq!(names(&cdp, "mail").len(), 1);
    cdp.define_purpose(Purpose::new("marketing").separate()).unwrap();
    assert_eq!(names(&cdp, "mail").len(), 0, "what was given with others does not do");
    drop(cdp);
    let cdp = builder(&clock).open(&path).unwrap();
    assert_eq!(cdp.consent_merge(), ConsentMerge::MostRestrictive);
    assert!(cdp.purposes().contains(&Purpose::new("marketing").separate()));
    assert_eq!(cdp.purposes().len(), 4);
    assert!(cdp.undefine_purpose("marketing").unwrap() && !cdp.undefine_purpose("marketing").unwrap());
    assert_eq!(names(&cdp, "mail").len(), 1);
    let last = told(&cdp).pop().unwrap();
    assert_eq!((last.2, last.3), (true, ChangeCause::Definition));
    everybody(&cdp);
    sound(&cdp);
}

/// What came of each event: kept, withheld.
fn counts(cdp: &Cdp, events: impl IntoIterator<Item = Event>) -> (u64, u64) {
    let report = cdp.ingest(events).unwrap();
    assert_eq!(report.rejected, []);
    (report.accepted, report.withheld)
}

#[test]
fn events_of_somebody_who_denied_analytics_are_counted_and_leave_nothing() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).open(&path).unwrap();
    cdp.record_consent("user_id:u1", ConsentDecision::denied("analytics")).unwrap();
    let secret = Event::identify().user_id("u1").with_trait("email", "secret-address@example.com");
    let view = Event::page().user_id("u1").anonymous_id("secret-device").message_id("secret-message");
    assert_eq!(counts(&cdp, [secret, view.clone(), Event::page().user_id("u2")]), (1, 2));
    assert_eq!(counts(&cdp, [view.clone()]), (0, 1), "nothing of it is kept, so it is no duplicate");
    let stats = cdp.stats().unwrap();
    assert_eq!((stats.events, stats.withheld, stats.identifiers, stats.profiles), (1, 3, 1, 1));
    sound(&cdp);
    drop(cdp);
    let bytes = std::fs::read(&path).unwrap();
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!holds(&bytes, "secret") && holds(&bytes, "u2"));
    // They change their mind, and the same event is welcome.
    let cdp = builder(&clock).open(&path).unwrap();
    assert_eq!(counts(&cdp, [view.clone()]), (0, 1), "after opening, too");
    cdp.record_consent("user_id:u1", ConsentDecision::granted("analytics")).unwrap();
    assert_eq!(counts(&cdp, [view.clone()]), (1, 0));
    // What was kept before stays, and stays known.
    cdp.record_consent("user_id:u1", ConsentDecision::withdrawn("analytics")).unwrap();
    let report = cdp.ingest([view]).unwrap();
    assert_eq!((report.duplicates, report.withheld), (1, 0));
    assert_eq!(cdp.stats().unwrap().withheld, 4);
    sound(&cdp);
}

#[test]
fn whose_an_event_would_be_decides_over_joins_and_limits() {
    let cdp = memory(Rules::default());
    let page = Event::page;
    cdp.ingest([page().user_id("u1").anonymous_id("d1"), page().user_id("u2").anonymous_id("d2")]).unwrap();
    // It holds for all of their identifiers.
    cdp.record_consent("user_id:u1", ConsentDecision::denied("analytics")).unwrap();
    assert_eq!(counts(&cdp, [page().anonymous_id("d1").message_id("m1")]), (0, 1));
    // A user whom a limit keeps apart from them is somebody else, known or not.
    assert_eq!(counts(&cdp, [page().user_id("u2").anonymous_id("d1").message_id("m2")]), (1, 0));
    assert_eq!(counts(&cdp, [page().user_id("u3").anonymous_id("d1").message_id("m3")]), (1, 0));
    // An event that would make two people one is theirs who are that one.
    cdp.record_consent("anonymous_id:d4", ConsentDecision::denied("analytics")).unwrap();
    let joins = page().user_id("u4").anonymous_id("d4").message_id("m4");
    assert_eq!(counts(&cdp, [joins.clone()]), (0, 1));
    assert!(cdp.profile("user_id:u4").unwrap().is_none(), "no link is left behind");
    cdp.record_consent("user_id:u4", ConsentDecision::granted("analytics")).unwrap();
    assert_eq!(counts(&cdp, [joins.clone()]), (1, 0), "the latest decision of the two stands");
    cdp.set_consent_merge(ConsentMerge::MostRestrictive).unwrap();
    assert_eq!(counts(&cdp, [joins.message_id("m5")]), (0, 1));
    // An alias is an explicit join, and the same holds for it.
    cdp.ingest([page().anonymous_id("d9")]).unwrap();
    cdp.record_consent("anonymous_id:d9", ConsentDecision::denied("analytics")).unwrap();
    assert_eq!(counts(&cdp, [Event::alias("d9").user_id("u5").message_id("m6")]), (0, 1));
    assert_eq!(counts(&cdp, [Event::alias("d4").user_id("u5").message_id("m6")]), (1, 0), "that is u4's");
    // Where a hand or a cut keeps them apart, they are two.
    cdp.never("user_id:u6", "anonymous_id:d9").unwrap();
    assert_eq!(counts(&cdp, [page().user_id("u6").anonymous_id("d9").message_id("m7")]), (1, 0));
    cdp.split_source("kiosk").unwrap();
    let kiosk = Source::new("kiosk");
    let report = cdp.ingest_from(&kiosk, [page().user_id("u7").anonymous_id("d9").message_id("m8")]).unwrap();
    assert_eq!((report.accepted, report.withheld), (1, 0));
    sound(&cdp);
}

#[test]
fn joins_within_one_batch_are_seen() {
    let cdp = memory(Rules::default());
    cdp.record_consent("user_id:u1", ConsentDecision::denied("analytics")).unwrap();
    cdp.record_consent("user_id:u1", ConsentDecision::granted("analytics")).unwrap();
    let id = |n: &str| Event::page().message_id(n);
    // The device and the address become u1's in this batch; the denial of another address makes them all refuse.
    cdp.record_consent("email:x@b.example", ConsentDecision::denied("analytics")).unwrap();
    cdp.set_consent_merge(ConsentMerge::MostRestrictive).unwrap();
    let mut batch = cdp.begin().unwrap();
    batch
        .ingest([id("1").user_id("u1").anonymous_id("d1"), id("2").anonymous_id("d1").anonymous_id("d2")])
        .unwrap();
    batch.ingest([id("3").anonymous_id("d1").context_trait("email", "x@b.example")]).unwrap();
    batch
        .ingest([
            id("4").anonymous_id("d3").context_trait("email", "x@b.example"),
            id("5").anonymous_id("d3"),
        ])
        .unwrap();
    let report = batch.commit().unwrap();
    assert_eq!((report.accepted, report.withheld), (3, 2));
    assert!(cdp.profile("email:x@b.example").unwrap().is_none());
    sound(&cdp);
}

#[test]
fn a_shared_device_does_what_its_last_user_agreed_to() {
    let cdp = memory(Rules::default().shared_device(SharedDevice::Last));
    let at = |n: u32| NOW.before(days(10)).after(hours(n));
    let login = |user: &str, n: u32| Event::page().user_id(user).anonymous_id("tv").at(at(n));
    cdp.ingest([login("u1", 1), login("u2", 5)]).unwrap();
    cdp.record_consent("user_id:u2", ConsentDecision::denied("analytics")).unwrap();
    let view = |n: u32| Event::track("View").anonymous_id("tv").at(at(n));
    assert_eq!(counts(&cdp, [view(2), view(6)]), (1, 1));
    cdp.record_consent("user_id:u1", ConsentDecision::denied("analytics")).unwrap();
    cdp.record_consent("user_id:u2", ConsentDecision::granted("analytics")).unwrap();
    assert_eq!(counts(&cdp, [view(3), view(7)]), (1, 1));
    sound(&cdp);
}

#[test]
fn quarantine_keeps_nothing_of_who_denied_analytics() {
    let cdp = memory(Rules::default());
    let late = r#"{"type":"page","userId":"u1","timestamp":"2031-01-01T00:00:00Z"}"#;
    let unnamed = r#"{"type":"track","userId":"u1","traits":7}"#;
    assert_eq!(cdp.ingest([late, unnamed]).unwrap().rejected.len(), 2);
    cdp.record_consent("user_id:u1", ConsentDecision::denied("analytics")).unwrap();
    let again = cdp.ingest([late, unnamed, r#"{"type":"track","userId":"u2"}"#, "no event"]).unwrap();
    assert_eq!((again.withheld, again.rejected.len()), (2, 2));
    assert_eq!(cdp.quarantine(10).unwrap().len(), 4);
    // Replayed, what is theirs goes.
    let report = cdp.replay_quarantine().unwrap();
    assert_eq!((report.withheld, report.rejected.len(), report.events()), (2, 2, 4));
    let left: Vec<_> = cdp.quarantine(10).unwrap().into_iter().map(|entry| entry.raw).collect();
    assert_eq!(left, [r#"{"type":"track","userId":"u2"}"#, "no event"]);
    sound(&cdp);
}

#[test]
fn events_say_what_was_decided_where_a_purpose_listens() {
    let cdp = memory(Rules::default());
    let event = |n: u32, preferences: serde_json::Value| {
        let at = NOW.before(days(5)).after(hours(n));
        let consent = json!({"categoryPreferences": preferences});
        Event::page().user_id("u1").message_id(format!("m{n}")).at(at).context("consent", consent)
    };
    assert_eq!(counts(&cdp, [event(1, json!({"Advertising": true}))]), (1, 0));
    assert!(cdp.consents("user_id:u1").unwrap().is_empty(), "nobody listens");
    cdp.define(Segment::new("ads", consented_to("advertising"))).unwrap();
    cdp.define_purpose(Purpose::new("advertising").category("Advertising")).unwrap();
    cdp.define_purpose(Purpose::new("analytics").category("Analytics").category("Measurement")).unwrap();
    // The event that denies it is the first that is not kept, and is known by what it said.
    let denies = event(3, json!({"Analytics": true, "Measurement": false, "Advertising": true}));
    assert_eq!(
        counts(&cdp, [denies.clone(), event(2, json!({"Advertising": false, "Analytics": true}))]),
        (0, 2)
    );
    assert_eq!(counts(&cdp, [denies]), (0, 1));
    let history = cdp.consent_history("user_id:u1").unwrap();
    let seen: Vec<_> = history
        .iter()
        .map(|held| (held.purpose.as_str(), held.state.as_str(), held.message_id.as_deref().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("advertising", "denied", "m2"),
            ("analytics", "granted", "m2"),
            ("advertising", "granted", "m3"),
            ("analytics", "denied", "m3")
        ]
    );
    let cause = ChangeCause::Consent { purpose: "advertising".into() };
    assert_eq!(told(&cdp), [("ads".into(), "user_id:u1".into(), true, cause)]);
    // The event that agrees again is kept.
    assert_eq!(counts(&cdp, [event(4, json!({"Analytics": true, "Advertising": "yes"}))]), (1, 0));
    assert_eq!(cdp.consents("user_id:u1").unwrap()["analytics"].message_id.as_deref(), Some("m4"));
    // What is said again and again is kept, and accounted for once.
    counts(&cdp, [event(5, json!({"Analytics": true})), event(6, json!({"Analytics": true}))]);
    assert_eq!(cdp.consent_history("user_id:u1").unwrap().len(), 7);
    let audited = cdp.audit(0, 100).unwrap();
    assert_eq!(audited.iter().filter(|entry| entry.action == "consent").count(), 5);
    everybody(&cdp);
    sound(&cdp);
}

/// Something that happens in a random story.
#[derive(Debug, Clone)]
enum Act {
    Decide { id: usize, purpose: usize, state: usize, hour: u32 },
    Meet { a: usize, b: usize },
    Link { a: usize, b: usize },
    Split { id: usize },
    Unlink { a: usize, b: usize },
    Never { a: usize, b: usize },
    Merge { restrictive: bool },
    Separate { purpose: usize, separate: bool },
    Restitch,
    Reopen,
}

const IDS: [&str; 7] = [
    "user_id:u1",
    "user_id:u2",
    "email:a@b.example",
    "email:c@d.example",
    "anonymous_id:d1",
    "anonymous_id:d2",
    "anonymous_id:d3",
];
const PURPOSES: [&str; 2] = ["marketing", "health"];
const STATES: [ConsentState; 3] = [ConsentState::Granted, ConsentState::Denied, ConsentState::Withdrawn];

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let id = || 0..IDS.len();
    let act = prop_oneof![
        6 => (id(), 0..PURPOSES.len(), 0..STATES.len(), 0..50_u32)
            .prop_map(|(id, purpose, state, hour)| Act::Decide { id, purpose, state, hour }),
        4 => (id(), id()).prop_map(|(a, b)| Act::Meet { a, b }),
        1 => (id(), id()).prop_map(|(a, b)| Act::Link { a, b }),
        1 => id().prop_map(|id| Act::Split { id }),
        1 => (id(), id()).prop_map(|(a, b)| Act::Unlink { a, b }),
        1 => (id(), id()).prop_map(|(a, b)| Act::Never { a, b }),
        1 => any::<bool>().prop_map(|restrictive| Act::Merge { restrictive }),
        1 => (0..PURPOSES.len(), any::<bool>()).prop_map(|(purpose, separate)| Act::Separate { purpose, separate }),
        1 => Just(Act::Restitch),
        1 => Just(Act::Reopen),
    ];
    prop::collection::vec(act, 1..40)
}

/// An event that bears two identifiers.
fn meeting(a: &str, b: &str, n: usize) -> Event {
    let mut event = Event::identify().message_id(format!("m{n}")).at(NOW.before(days(9)));
    for id in [a, b] {
        let (namespace, value) = id.split_once(':').unwrap();
        event = match namespace {
            "user_id" => event.user_id(value),
            "email" => event.context_trait("email", value),
            _ => event.anonymous_id(value),
        };
    }
    event
}

/// What the log of decisions should say stands, worked out the long way: identifier, purpose, state, hour, separate.
#[derive(Default)]
struct Naive {
    log: Vec<(String, String, ConsentState, u32, bool)>,
    restrictive: bool,
    separate: BTreeMap<String, bool>,
}

impl Naive {
    fn standing(&self, identifiers: &[String], purpose: &str) -> Option<ConsentState> {
        let counts = |entry: &&(String, String, ConsentState, u32, bool)| {
            entry.1 == purpose
                && (entry.2 != ConsentState::Granted || entry.4 || self.separate.get(purpose) != Some(&true))
        };
        // Stable: of one hour, the one that was recorded last is the last.
        let of = |id: &String| {
            let mut own: Vec<_> = self.log.iter().filter(counts).filter(|entry| entry.0 == *id).collect();
            own.sort_by_key(|entry| entry.3);
            own.last().copied()
        };
        if self.restrictive {
            let latest: Vec<_> = identifiers.iter().filter_map(of).collect();
            let place = |entry: &&(String, String, ConsentState, u32, bool)| {
                let number = self.log.iter().position(|other| std::ptr::eq(other, *entry)).unwrap();
                (entry.3, number)
            };
            let mut refused: Vec<_> =
                latest.iter().filter(|entry| entry.2 != ConsentState::Granted).copied().collect();
            refused.sort_by_key(|entry| place(entry));
            return refused.last().or(latest.first()).map(|entry| entry.2);
        }
        let mut all: Vec<_> =
            self.log.iter().filter(counts).filter(|entry| identifiers.contains(&entry.0)).collect();
        all.sort_by_key(|entry| entry.3);
        all.last().map(|entry| entry.2)
    }
}

fn holds_to_the_log(cdp: &Cdp, naive: &Naive) {
    let mut members: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for person in cdp.profiles().unwrap() {
        let ids: Vec<String> = person.identifiers.iter().map(ToString::to_string).collect();
        let shown = cdp.profile(person.id).unwrap().unwrap().consents;
        for purpose in PURPOSES {
            let expected = naive.standing(&ids, purpose);
            assert_eq!(shown.get(purpose).map(|held| held.state), expected, "{purpose} of {ids:?}");
            if expected == Some(ConsentState::Granted) {
                members.entry(purpose).or_default().push(person.name.to_string());
            }
        }
    }
    for purpose in PURPOSES {
        assert_eq!(names(cdp, purpose), members.remove(purpose).unwrap_or_default(), "members for {purpose}");
    }
    for id in IDS {
        if cdp.profile(id).unwrap().is_none() {
            let alone = [id.to_owned()];
            assert_eq!(state(cdp, id, PURPOSES[0]), naive.standing(&alone, PURPOSES[0]), "{id}");
        }
    }
    everybody(cdp);
    sound(cdp);
}

proptest! {
    #![proptest_config(cases(48))]

    /// Whatever joins and splits do, what stands is what the log of decisions says of the identifiers that a person holds.
    #[test]
    fn standing_consents_equal_a_naive_recomputation_from_the_log(acts in acts()) {
        let (_folder, path) = place();
        let clock = ManualClock::at(NOW);
        let mut cdp = builder(&clock).open(&path).unwrap();
        for purpose in PURPOSES {
            cdp.define(Segment::new(purpose, consented_to(purpose))).unwrap();
        }
        let mut naive = Naive::default();
        for (n, act) in acts.into_iter().enumerate() {
            match act {
                Act::Decide { id, purpose, state, hour } => {
                    let mut decision = ConsentDecision::new(PURPOSES[purpose], STATES[state])
                        .at(NOW.before(days(5)).after(hours(hour)));
                    let separate = hour % 2 == 0;
                    if separate {
                        decision = decision.separate();
                    }
                    let stands = cdp.record_consent(IDS[id], decision).unwrap();
                    naive.log.push((IDS[id].into(), PURPOSES[purpose].into(), STATES[state], hour, separate));
                    let held = cdp.profile(IDS[id]).unwrap().map_or_else(
                        || vec![IDS[id].to_owned()],
                        |profile| profile.identifiers.iter().map(ToString::to_string).collect(),
                    );
                    prop_assert_eq!(stands, naive.standing(&held, PURPOSES[purpose]));
                }
                Act::Meet { a, b } => drop(cdp.ingest([meeting(IDS[a], IDS[b], n)]).unwrap()),
                Act::Link { a, b } if a != b => drop(cdp.link(IDS[a], IDS[b]).unwrap()),
                Act::Split { id } => drop(cdp.split(IDS[id]).unwrap()),
                Act::Unlink { a, b } if a != b => drop(cdp.unlink(IDS[a], IDS[b]).unwrap()),
                Act::Never { a, b } if a != b => drop(cdp.never(IDS[a], IDS[b]).unwrap()),
                Act::Link { .. } | Act::Unlink { .. } | Act::Never { .. } => {}
                Act::Merge { restrictive } => {
                    let merge = if restrictive { ConsentMerge::MostRestrictive } else { ConsentMerge::Latest };
                    cdp.set_consent_merge(merge).unwrap();
                    naive.restrictive = restrictive;
                }
                Act::Separate { purpose, separate } => {
                    let name = PURPOSES[purpose];
                    let defined = Purpose::new(name);
                    cdp.define_purpose(if separate { defined.separate() } else { defined }).unwrap();
                    naive.separate.insert(name.into(), separate);
                }
                Act::Restitch => drop(cdp.restitch().unwrap()),
                Act::Reopen => {
                    drop(cdp);
                    cdp = builder(&clock).open(&path).unwrap();
                }
            }
            if n % 5 == 0 {
                holds_to_the_log(&cdp, &naive);
            }
        }
        holds_to_the_log(&cdp, &naive);
    }

    /// Whoever agrees and refuses when, nothing is kept of an event of somebody who refuses at that moment.
    #[test]
    fn nothing_is_kept_of_who_refuses(acts in acts()) {
        let cdp = memory(Rules::default());
        let mut withheld = 0;
        for (n, act) in acts.into_iter().enumerate() {
            match act {
                Act::Decide { id, state, hour, .. } => {
                    let decision = ConsentDecision::new("analytics", STATES[state])
                        .at(NOW.before(days(5)).after(hours(hour)));
                    cdp.record_consent(IDS[id], decision).unwrap();
                }
                Act::Meet { a, b } | Act::Link { a, b } => {
                    let before = (cdp.profiles().unwrap(), cdp.stats().unwrap());
                    let refused = |id| state(&cdp, id, "analytics").is_some_and(|held| held != ConsentState::Granted);
                    let refusing = (refused(IDS[a]), refused(IDS[b]));
                    let report = cdp.ingest([meeting(IDS[a], IDS[b], n)]).unwrap();
                    withheld += report.withheld;
                    if report.withheld > 0 {
                        prop_assert!(refusing.0 || refusing.1);
                        let after = cdp.stats().unwrap();
                        prop_assert_eq!((before.1.events, before.1.identifiers), (after.events, after.identifiers));
                        prop_assert_eq!(before.0, cdp.profiles().unwrap());
                    } else {
                        // It is kept, so whose it is now does not refuse.
                        let owner = cdp.profiles().unwrap().into_iter().find(|person| {
                            let records = cdp.events(person.id, usize::MAX).unwrap();
                            records.iter().any(|record| record.message_id == format!("m{n}"))
                        });
                        let owner = owner.unwrap();
                        let held = cdp.profile(owner.id).unwrap().unwrap().consents;
                        prop_assert!(held.get("analytics").is_none_or(|held| held.state == ConsentState::Granted));
                    }
                }
                Act::Split { id } => drop(cdp.split(IDS[id]).unwrap()),
                Act::Never { a, b } if a != b => drop(cdp.never(IDS[a], IDS[b]).unwrap()),
                _ => {}
            }
        }
        prop_assert_eq!(cdp.stats().unwrap().withheld, withheld);
        sound(&cdp);
    }
}
