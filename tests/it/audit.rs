//! The audit log: what is in it, and what shows when somebody changes it.

use std::path::Path;

use customerdb::{Cdp, ConsentDecision, Event, Policy, Purpose, Rules, Segment, has_trait};

use crate::support::{NOW, memory, place, sound};

/// A file with five entries.
fn audited(path: &Path) -> Cdp {
    let cdp = Cdp::open(path).unwrap();
    cdp.ingest([Event::identify().user_id("u1").with_trait("email", "ann@b.example")]).unwrap();
    cdp.record_consent("email:ann@b.example", ConsentDecision::granted("marketing").evidence("by Ann"))
        .unwrap();
    cdp.set_rules(Rules::default().block("email", "info@b.example")).unwrap();
    cdp.define(Segment::new("anns", has_trait("email").eq("ann@b.example"))).unwrap();
    cdp.never("user_id:u1", "user_id:u2").unwrap();
    cdp.undefine("anns").unwrap();
    cdp
}

#[test]
fn every_change_that_one_may_have_to_account_for_is_there_and_nobody_is_named() {
    let cdp = memory(Rules::default());
    cdp.ingest([Event::identify().user_id("u1").anonymous_id("d1")]).unwrap();
    assert!(cdp.audit(0, 10).unwrap().is_empty(), "events are no such change");
    cdp.record_consent("user_id:u1", ConsentDecision::denied("marketing")).unwrap();
    cdp.define_purpose(Purpose::new("health").separate()).unwrap();
    cdp.set_policy("city", Policy::First).unwrap();
    cdp.set_policy("city", Policy::Latest).unwrap();
    cdp.define(Segment::list("testers", ["user_id:u1"])).unwrap();
    cdp.link("user_id:u1", "email:a@b.example").unwrap();
    cdp.force_link("user_id:u1", "email:a@b.example").unwrap();
    cdp.unlink("user_id:u1", "email:a@b.example").unwrap();
    cdp.split("anonymous_id:d1").unwrap();
    cdp.split_source("kiosk").unwrap();
    cdp.take_back(cdp.decisions().unwrap()[0].number).unwrap();
    // What fails leaves no entry.
    assert!(cdp.link("user_id:u1", "email:nonsense").is_err());
    let entries = cdp.audit(0, 100).unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "consent",
            "define",
            "define",
            "undefine",
            "define",
            "link",
            "force",
            "unlink",
            "split",
            "split",
            "take_back"
        ]
    );
    assert!(entries.iter().zip(1..).all(|(entry, place)| entry.cursor == place && entry.at == NOW));
    let about = |place: usize| entries[place].details["about"].as_array().unwrap().clone();
    let name = |id: &str| cdp.audit_name(&id.parse().unwrap()).unwrap();
    assert_eq!(about(0), [name("user_id:u1")]);
    assert_eq!(about(5), [name("user_id:u1"), name(" email:A@B.example ".trim())]);
    assert_ne!(name("user_id:u1"), name("user_id:u2"));
    assert_eq!(entries[9].details["source"], "kiosk");
    sound(&cdp);
}

#[expect(clippy::disallowed_methods, reason = "this is the hand of somebody who is not us")]
fn tamper(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_chain_shows_what_was_changed_removed_or_cut_off() {
    let (_folder, path) = place();
    let entries = audited(&path).audit(0, 100).unwrap();
    assert_eq!(entries.len(), 5);
    let problems = |sql: &str| -> Vec<String> {
        let (_folder, copy) = place();
        std::fs::copy(&path, &copy).unwrap();
        tamper(&copy, sql);
        let cdp = Cdp::open(&copy).unwrap();
        cdp.check()
            .unwrap()
            .into_iter()
            .map(|problem| format!("{}: {}", problem.table, problem.what))
            .collect()
    };
    assert_eq!(problems("SELECT 1"), [""; 0]);
    let contradicts =
        |entry| format!("audit: entry {entry} is not the one that was chained to the entries before it");
    for sql in [
        "UPDATE audit SET details = replace(details, 'granted', 'denied') WHERE entry = 1",
        "UPDATE audit SET at = at + 1 WHERE entry = 1",
        "UPDATE audit SET action = 'export' WHERE entry = 1",
    ] {
        assert_eq!(problems(sql), [contradicts(1)], "{sql}");
    }
    // A hash that was made to fit no longer fits what follows.
    assert_eq!(
        problems("UPDATE audit SET hash = zeroblob(32) WHERE entry = 2"),
        [contradicts(2), contradicts(3)]
    );
    assert_eq!(problems("DELETE FROM audit WHERE entry = 3"), ["audit: entries are missing before entry 4"]);
    assert_eq!(problems("DELETE FROM audit WHERE entry > 3"), ["audit: entries are missing after entry 3"]);
    assert_eq!(problems("DELETE FROM audit"), ["audit: entries are missing after entry 0"]);
}

#[test]
fn the_log_goes_on_after_reopening_and_holds_no_personal_value() {
    let (_folder, path) = place();
    let before = audited(&path).audit(0, 100).unwrap();
    let cdp = Cdp::open(&path).unwrap();
    cdp.record_consent("email:ann@b.example", ConsentDecision::withdrawn("marketing")).unwrap();
    let after = cdp.audit(0, 100).unwrap();
    assert_eq!(after[..5], before[..]);
    assert_eq!(after[5].details["about"], before[0].details["about"], "the key is the file's");
    assert_eq!(cdp.audit(5, 100).unwrap(), after[5..]);
    assert_eq!(cdp.audit(2, 2).unwrap(), after[2..4]);
    let text = format!("{:?} {}", after, serde_json::to_string(&after).unwrap());
    for personal in ["ann", "Ann", "b.example", "u1"] {
        let harmless = text.replace("\"name\":\"anns\"", "");
        assert!(!harmless.contains(personal), "{personal}: {text}");
    }
    sound(&cdp);
    drop(cdp);
    let reader = Cdp::open_read_only(&path).unwrap();
    let name = reader.audit_name(&"email:ann@b.example".parse().unwrap()).unwrap();
    assert_eq!(reader.audit(0, 1).unwrap()[0].details["about"][0], name);
}
