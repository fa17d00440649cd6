//! Two doors to one house: what the suppression list keeps out, and what people who refuse `analytics` do, leaves no trace,
//! whichever of both an event meets, and whatever else is wrong with it.

use std::fs;
use std::path::Path;

use customerdb::{
    Cdp, ConsentDecision, Event, IngestReport, ManualClock, Party, Purpose, RetentionRule, Rules, Segment,
    SharedDevice, Source, consented_to, days,
};
use serde_json::json;

use crate::support::{NOW, builder, define, everybody, ids, memory, partition, place, sound};

/// Somebody who was erased (`ann`, with `ann-phone`), and somebody who refuses (`ben`, with `ben-phone`).
fn open(path: &Path) -> Cdp {
    let cdp = builder(&ManualClock::at(NOW)).open(path).unwrap();
    cdp.define_purpose(Purpose::new("advertising").category("Advertising")).unwrap();
    for name in ["ann", "ben"] {
        let login = Event::page().user_id(name).anonymous_id(format!("{name}-phone"));
        cdp.ingest([login.at(NOW.before(days(3))).message_id(format!("{name}-login"))]).unwrap();
    }
    cdp.erase("user_id:ann").unwrap();
    cdp.record_consent("user_id:ben", ConsentDecision::denied("analytics")).unwrap();
    cdp
}

/// What came of an event: accepted, duplicates, rejected, withheld.
fn counts(report: &IngestReport) -> (u64, u64, usize, u64) {
    (report.accepted, report.duplicates, report.rejected.len(), report.withheld)
}

fn says(event: Event) -> Event {
    event
        .context("consent", json!({"categoryPreferences": {"Advertising": false}}))
        .property("told", "secret")
        .message_id("secret-id")
}

#[test]
fn neither_who_was_erased_nor_who_refuses_leaves_a_trace_at_either_door() {
    let (_folder, path) = place();
    let cdp = open(&path);
    let before = (everybody(&cdp), ids(&cdp), cdp.audit(0, 99).unwrap(), cdp.stats().unwrap().withheld);
    let refused = (0, 0, 1, 0);
    let let_go = (0, 0, 0, 1);
    let late = NOW.after(days(9));
    for (event, expected) in [
        // The strongest identifier says whose an event is: of who was erased, not even a decision is heard.
        (says(Event::page().user_id("ann")), refused),
        (says(Event::page().user_id("ann").anonymous_id("ben-phone")), refused),
        // Something else is wrong with it as well.
        (says(Event::page().user_id("ann")).at(late), refused),
        (Event::page().user_id("ben").anonymous_id("ann-phone").property("told", "secret"), let_go),
        (Event::page().user_id("ben").property("told", "secret").message_id("secret-id").at(late), let_go),
        (Event::page().anonymous_id("ben-phone").user_id("ben").message_id("secret-id"), let_go),
    ] {
        for _ in 0..2 {
            assert_eq!(counts(&cdp.ingest([event.clone()]).unwrap()), expected, "{event:?}");
        }
    }
    for (text, expected) in [
        (r#"{"type":"track","userId":"ben","properties":{"told":"secret"}}"#, let_go),
        (r#"{"type":"track","userId":"ann","properties":{"told":"secret"}}"#, refused),
        (r#"{"type":"track","userId":"ben","anonymousId":"ann-phone","told":"secret"}"#, let_go),
        (r#"{"type":"track","userId":"ann","anonymousId":"ben-phone","told":"secret"}"#, refused),
        (r#"{"type":"track","userId":"ann","told":"secret""#, refused),
    ] {
        assert_eq!(counts(&cdp.ingest([text]).unwrap()), expected, "{text}");
    }
    let after = (everybody(&cdp), ids(&cdp), cdp.audit(0, 99).unwrap(), cdp.stats().unwrap().withheld - 8);
    assert_eq!(after, before);
    assert_eq!(cdp.quarantine(9).unwrap(), []);
    sound(&cdp);
    cdp.maintain().unwrap();
    drop(cdp);
    let bytes = fs::read(&path).unwrap();
    for gone in ["secret", "ann"] {
        assert!(!bytes.windows(gone.len()).any(|window| window == gone.as_bytes()), "{gone}");
    }
}

#[test]
fn what_is_known_stays_a_duplicate_and_is_not_heard_again() {
    let (_folder, path) = place();
    let cdp = open(&path);
    let login = |name: &str| {
        says(Event::page().user_id(name).anonymous_id(format!("{name}-phone")))
            .message_id(format!("{name}-login"))
    };
    let report = cdp.ingest([login("ben"), login("ann")]).unwrap();
    assert_eq!(counts(&report), (0, 1, 1, 0));
    assert_eq!(cdp.consents("user_id:ben").unwrap().len(), 1);

    // Nor where it was dropped for its age.
    let ads = Source::new("ads").party(Party::Third);
    let old = says(Event::page().user_id("cat")).at(NOW.before(days(99)));
    cdp.ingest_from(&ads, [old.clone()]).unwrap();
    cdp.retain(RetentionRule::new("ads", days(90)).party(Party::Third)).unwrap();
    assert_eq!(cdp.maintain().unwrap().retained, 1);
    let decided = cdp.consents("user_id:cat").unwrap();
    assert_eq!(decided["advertising"].message_id.as_deref(), Some("secret-id"), "age undoes no decision");
    assert_eq!(counts(&cdp.ingest_from(&ads, [old]).unwrap()), (0, 1, 0, 0));
    assert_eq!(cdp.consent_history("user_id:cat").unwrap().len(), 1);
    let last = cdp.audit(0, 99).unwrap();
    let last: Vec<&str> = last.iter().rev().take(2).map(|entry| entry.action.as_str()).collect();
    assert_eq!(last, ["retain", "define"]);
    assert!(
        cdp.maintain().unwrap().retained == 0 && cdp.audit(0, 99).unwrap().last().unwrap().action == "retain"
    );
    sound(&cdp);
}

/// Another's event loses the identifiers of who was erased, and what it says of consent is the other's.
#[test]
fn a_decision_beside_an_erased_name_is_of_whose_the_event_is() {
    let (_folder, path) = place();
    let cdp = open(&path);
    let report = cdp.ingest([says(Event::page().user_id("cat").anonymous_id("ann-phone"))]).unwrap();
    assert_eq!(counts(&report), (1, 0, 0, 0));
    assert_eq!(cdp.consents("user_id:cat").unwrap()["advertising"].identifier.to_string(), "user_id:cat");
    // Nothing of theirs comes in by a hand, either.
    for refused in [
        cdp.record_consent("user_id:ann", ConsentDecision::granted("marketing")).unwrap_err(),
        cdp.rectify("user_id:ann", "city", "Lima").unwrap_err(),
    ] {
        assert_eq!(refused.kind(), "definition", "{refused}");
    }
    sound(&cdp);
}

#[test]
fn an_identifier_of_which_there_are_decisions_only_can_be_erased() {
    let cdp = memory(Rules::default());
    let dan = "email:dan@example.com";
    cdp.record_consent(dan, ConsentDecision::denied("analytics").evidence("a letter")).unwrap();
    cdp.record_consent(dan, ConsentDecision::denied("marketing")).unwrap();
    cdp.ingest([Event::page().user_id("u1")]).unwrap();
    let receipt = cdp.erase(dan).unwrap();
    assert_eq!((receipt.identifiers, receipt.consents, receipt.events), (1, 2, 0));
    assert!(cdp.consents(dan).unwrap().is_empty() && cdp.export(dan).unwrap().is_none());
    assert_eq!(partition(&cdp), vec![vec!["user_id:u1".to_owned()]]);
    assert!(cdp.lift_suppression(dan).unwrap());
    let back = Event::identify().user_id("u2").with_trait("email", "dan@example.com");
    assert_eq!(cdp.ingest([back]).unwrap().accepted, 1, "that he refused is known no more");
    sound(&cdp);
}

/// Who was last seen on a shared device has decided there, for the device's next events too. Once they are erased they have
/// not: segments and the gate forget it with them.
#[test]
fn what_somebody_erased_has_decided_on_a_shared_device_falls_away() {
    let cdp = memory(Rules::default().shared_device(SharedDevice::Last));
    cdp.define_purpose(Purpose::new("analytics").category("Analytics")).unwrap();
    define(&cdp, &[Segment::new("measured", consented_to("analytics"))]);
    let on_device = |user: &str, before: u32| {
        Event::page().user_id(user).anonymous_id("kiosk").at(NOW.before(days(before))).message_id(user)
    };
    cdp.ingest([on_device("ann", 9), on_device("ben", 5)]).unwrap();
    let say = |preference: bool, id: &str| {
        let consent = json!({"categoryPreferences": {"Analytics": preference}});
        Event::page().anonymous_id("kiosk").context("consent", consent).at(NOW.before(days(4))).message_id(id)
    };
    cdp.ingest([say(true, "yes")]).unwrap();
    assert_eq!(cdp.events("user_id:ben", 9).unwrap().len(), 2, "it is of whom was last seen");
    assert_eq!(cdp.members("measured").unwrap()[0].name.to_string(), "user_id:ann");
    assert_eq!(cdp.erase("user_id:ben").unwrap().consents, 0, "it was said for the device, which is hers");
    assert_eq!(cdp.consent_history("anonymous_id:kiosk").unwrap(), []);
    assert_eq!(cdp.members("measured").unwrap(), []);
    sound(&cdp);

    // What is refused there is refused no more, and what is hers is kept.
    cdp.record_consent("anonymous_id:kiosk", ConsentDecision::denied("analytics")).unwrap();
    assert_eq!(cdp.ingest([Event::page().user_id("ann")]).unwrap().withheld, 1);
    cdp.erase("user_id:ann").unwrap();
    assert_eq!(cdp.profiles().unwrap(), []);
    sound(&cdp);
    assert!(cdp.lift_suppression("user_id:ann").unwrap());
    assert_eq!(cdp.audit(0, 99).unwrap().last().unwrap().action, "lift_suppression");
    let entries = cdp.audit(0, 99).unwrap().len();
    assert!(!cdp.lift_suppression("user_id:ann").unwrap());
    assert_eq!(cdp.audit(0, 99).unwrap().len(), entries, "nothing was lifted");
    assert_eq!(cdp.ingest([Event::page().user_id("ann").message_id("back")]).unwrap().accepted, 1);
    assert_eq!(partition(&cdp), vec![vec!["user_id:ann".to_owned()]]);
    sound(&cdp);
}
