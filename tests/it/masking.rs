//! Personal values are in answers, for who asks, and never in what goes into logs: `Debug` of answers, and errors.

use std::fmt::Debug;

use customerdb::{
    By, ConsentDecision, Event, History, Identifier, Input, PastEvent, Rfm, Rules, Segment, Trend, Value,
    all, did, has_trait,
};

use crate::support::{NOW, builder, memory};

/// Values of one person, of which no part may show but for what masking leaves.
const PERSONAL: [&str; 9] = [
    "xiaoming@",
    "8613800000002",
    "13800000002",
    "customer-4711",
    "tablet-secret-7",
    "Zhanjiang",
    "Zhang Sanfeng",
    "signed at the desk",
    "passport",
];

/// What was formatted, and what of it.
struct Log(Vec<(&'static str, String)>);

impl Log {
    fn debug(&mut self, what: &'static str, value: &dyn Debug) {
        self.0.push((what, format!("{value:?} {value:#?}")));
    }

    /// As far as an error goes, both of its faces.
    fn error<T: Debug>(&mut self, what: &'static str, result: Result<T, impl Debug + ToString>) {
        let error = result.unwrap_err();
        self.0.push((what, format!("{error:?} {}", error.to_string())));
    }

    fn shows_nothing(&self) {
        let shown: Vec<_> = self
            .0
            .iter()
            .filter_map(|(what, text)| {
                PERSONAL.iter().find(|value| text.contains(*value)).map(|v| (what, v, text))
            })
            .collect();
        assert!(shown.is_empty(), "{shown:#?}");
    }
}

fn login(device: &str) -> Event {
    Event::identify()
        .user_id("customer-4711")
        .anonymous_id(device)
        .with_trait("email", "xiaoming@example.com")
        .with_trait("phone", "+86 138 0000 0002")
        .with_trait("name", "Zhang Sanfeng")
        .with_trait("city", "Zhanjiang")
}

#[test]
fn no_answer_shows_a_personal_value_when_it_is_formatted_for_a_log() {
    let cdp = memory(Rules::default());
    let lives = all([has_trait("city").eq("Zhanjiang"), did("Order")]);
    cdp.define(Segment::new("near", all([has_trait("city").exists(), did("Order")]))).unwrap();
    let mut log = Log(Vec::new());
    let event = login("tablet-secret-7").message_id("m1");
    log.debug("Event", &event);
    log.debug("EventIds", &event.ids());
    log.debug("Input", &Input::from(event.clone()));
    let order =
        Event::track("Order").user_id("customer-4711").property("total", 9).property("to", "Zhanjiang");
    // Another user on the same device and address: refusals that name them.
    let other = login("tablet-secret-7").user_id("customer-47110").message_id("m2");
    let bad = r#"{"type":"track","userId":"customer-4711","event":"","properties":{"n":"Zhang Sanfeng"}}"#;
    let report = cdp.ingest([event.clone(), order.clone(), other]).unwrap();
    log.debug("IngestReport", &report);
    let source = customerdb::Source::new("web");
    let refused =
        cdp.ingest_reader(bad.as_bytes(), &source, |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!(refused.rejected.len(), 1);
    log.debug("Rejected", &refused.rejected);
    log.debug("QuarantineEntry", &cdp.quarantine(9).unwrap());

    let id = "user_id:customer-4711";
    let profile = cdp.profile(id).unwrap().unwrap();
    assert_eq!(profile.value("city"), Some(&"Zhanjiang".into()));
    log.debug("Profile", &profile);
    log.debug("Trait", &profile.traits);
    log.debug("Identifier", &profile.identifiers);
    log.debug("Person", &cdp.profiles().unwrap());
    log.debug("members", &cdp.members("near").unwrap());
    log.debug("EventRecord", &cdp.events(id, 9).unwrap());
    log.debug("trait_history", &cdp.trait_history(id, "city").unwrap());
    let decision = ConsentDecision::granted("marketing").evidence("signed at the desk, passport seen");
    log.debug("ConsentDecision", &decision);
    cdp.record_consent(id, decision).unwrap();
    log.debug("Consent", &cdp.consents(id).unwrap());
    log.debug("consent_history", &cdp.consent_history(id).unwrap());
    log.debug("PersonExport", &cdp.export(id).unwrap());
    cdp.rectify(id, "city", "Zhanjiang").unwrap();
    log.debug("a pinned trait", &cdp.profile(id).unwrap());
    log.debug("SegmentChange", &cdp.changes(0, 99).unwrap());
    assert!(cdp.why("near", id).unwrap().unwrap().member);
    log.debug("Why", &cdp.why("near", id).unwrap());
    log.debug("Why of a condition", &cdp.why_condition(lives, id).unwrap());
    log.debug("Explanation", &cdp.explain(id, "user_id:customer-47110").unwrap());
    log.debug("Explanation of a path", &cdp.explain(id, "email:xiaoming@example.com").unwrap());
    let refusals = cdp.refusals(0, 9).unwrap();
    assert!(!refusals.is_empty());
    log.debug("RefusedIdentifier", &refusals);
    log.debug("DecisionReport", &cdp.never(id, "user_id:customer-47110").unwrap());
    log.debug("a refused link", &cdp.link(id, "user_id:customer-47110").unwrap());
    log.debug("Decision", &cdp.decisions().unwrap());
    let graph = cdp.graph().unwrap();
    log.debug("IdentityGraph", &graph);
    log.debug("Hub", &graph.hubs(9));
    log.debug("Bridge", &graph.bridges(9));
    log.debug("Link", &graph.path(&profile.identifiers[0], &profile.identifiers[1]));
    log.0.push(("Dot", graph.to_dot().to_string()));
    let blocked = Rules::default().block("email", "xiaoming@example.com").total(Some(2));
    log.debug("Rules", &blocked);
    log.debug("RulesReport", &cdp.simulate(blocked).unwrap());
    let rfm = cdp.rfm(&Rfm::new(did("Order"), "total")).unwrap();
    assert!(!rfm.profiles.is_empty());
    log.debug("RfmReport", &rfm);
    log.debug("TrendReport", &cdp.trend(&Trend::of(did("Order"))).unwrap());
    log.debug("AuditEntry", &cdp.audit(0, 99).unwrap());
    log.debug("JournalEntry", &cdp.journal(0, 99).unwrap());
    log.debug("Problem", &cdp.check().unwrap());
    log.debug("Cdp", &cdp);
    log.debug("CdpBuilder", &builder(&customerdb::ManualClock::at(NOW)).hash_key("passport"));
    log.debug("Batch", &cdp.begin().unwrap());
    let city = Value::from("Zhanjiang");
    let properties = [("to".to_owned(), city.clone())].into_iter().collect();
    let past = PastEvent { name: "Order".into(), at: NOW, message_id: "m3".into(), properties };
    let mut history = History { events: vec![past], ..History::default() };
    history.traits.insert("city".into(), city);
    log.debug("History", &history);
    log.debug("Receipt", &cdp.erase(id).unwrap());
    log.shows_nothing();
}

#[test]
fn no_error_shows_a_personal_value() {
    let cdp = memory(Rules::default());
    cdp.ingest([login("tablet-secret-7")]).unwrap();
    let mut log = Log(Vec::new());
    for id in ["xiaoming@example.com", "13800000002", "customer-4711", "Zhang Sanfeng"] {
        log.error("profile", cdp.profile(id));
        log.error("erase", cdp.erase(id));
        log.error("link", cdp.link(id, "user_id:u1"));
        log.error("record_consent", cdp.record_consent(id, ConsentDecision::granted("marketing")));
        log.error("rectify", cdp.rectify(id, "city", "Zhanjiang"));
        log.error("NotAnIdentifier", id.parse::<Identifier>());
    }
    log.error("too many groups", cdp.trend(&Trend::of(did("Order")).by(By::property("Zhanjiang").top(0))));
    // Values where something else belongs. Of times and types, which are nobody's, the offending text is told.
    let bad = [
        r#"{"type":"track","userId":["customer-4711"],"event":"A"}"#,
        r#"{"type":"track","event":"A","properties":{"city":"Zhanjiang"}}"#,
        r#"{"type":"identify","userId":"u1","traits":"Zhang Sanfeng"}"#,
        r#"{"type":"track","userId":"u1","event":{"name":"Zhang Sanfeng"}}"#,
        r#"{"type":"track","userId":"u1","event":"A","city":"Zhanjiang","#,
    ];
    let source = customerdb::Source::new("web");
    let go_on = |_: customerdb::Progress| std::ops::ControlFlow::Continue(());
    let report = cdp.ingest_reader(bad.join("\n").as_bytes(), &source, go_on).unwrap();
    assert_eq!((report.accepted, report.rejected.len()), (0, bad.len()));
    log.debug("Rejected", &report.rejected);
    for rejected in &report.rejected {
        log.0.push(("Rejected", rejected.reason.clone()));
    }
    log.shows_nothing();
}
