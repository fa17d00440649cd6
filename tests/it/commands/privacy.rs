//! Erasure, retention and maintenance through the pipe.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Session, cdp};

fn maintained(retained: u64, identifiers: u64) -> Value {
    json!({"retained": retained, "identifiers": identifiers, "erasures": 0, "waiting": 0, "pages_freed": 0})
}

#[test]
fn erase_leaves_a_receipt_and_nobody() {
    let mut session = Session::with_two_people();
    session.ok(&json!({"do": "define", "segment": {"name": "families", "condition": {"trait": "children", "gte": 1}}}));
    session.ok(&json!({"do": "ingest", "events": ["{\"type\":\"track\",\"userId\":\"xm\"}"]}));
    let receipt = session.ok(&json!({"do": "erase", "id": "anonymous_id:d7"}));
    assert_eq!(
        receipt,
        json!({"receipt": {"identifiers": 2, "events": 4, "traits": 3, "memberships": 1, "deliveries": 0,
            "consents": 0, "quarantined": 1, "redacted": 1, "definitions": 0, "complete": true}})
    );
    for id in ["user_id:xm", "anonymous_id:d7"] {
        assert_eq!(session.ok(&json!({"do": "profile", "id": id})), json!({"profile": null}));
    }
    let people = session.ok(&json!({"do": "profiles"}))["profiles"].clone();
    assert_eq!(people.as_array().unwrap().len(), 1);
    assert_eq!(people[0]["identifiers"], json!(["user_id:u2"]));
    let events = session.ok(&json!({"do": "events", "id": "user_id:u2"}));
    assert_eq!(events["events"][0].get("anonymousId"), None);
    let change = session.ok(&json!({"do": "changes"}))["changes"][0].clone();
    assert_eq!((&change["cause"], &change["change"]), (&json!("erasure"), &json!("exited")));

    // A later import does not bring them back, nor into quarantine.
    let again = json!({"do": "ingest", "events": [
        {"type": "track", "event": "A", "userId": "xm"}, {"type": "page", "anonymousId": "d7"},
        {"type": "page", "anonymousId": "d7", "userId": "u2"}, "{\"type\":\"track\",\"userId\":\"xm\"}",
    ]});
    let report = session.ok(&again);
    assert_eq!((&report["accepted"], report["rejected"].as_array().unwrap().len()), (&json!(1), 3));
    assert!(
        report["rejected"][0]["reason"].as_str().unwrap().starts_with("user_id: suppressed: "),
        "{report}"
    );
    assert_eq!(session.ok(&json!({"do": "quarantine"})), json!({"entries": []}));
    assert_eq!(session.ok(&json!({"do": "stats"}))["suppressed"], 2);
    assert_eq!(session.ok(&json!({"do": "check"})), json!({"problems": []}));

    // Unless somebody says so.
    let lift = json!({"do": "lift_suppression", "id": "user_id:xm"});
    assert_eq!(session.ok(&lift), json!({"lifted": true}));
    assert_eq!(session.ok(&lift), json!({"lifted": false}));
    assert_eq!(session.ok(&again)["accepted"], 1);
    assert_eq!(session.error(r#"{"do":"erase"}"#).0, "bad_request");
    assert_eq!(session.error(r#"{"do":"erase","id":"xm"}"#).0, "not_an_id");
    assert_eq!(session.error(r#"{"do":"erase","id":"user_id:u2","all":true}"#).0, "bad_request");
}

#[test]
fn retention_rules_are_applied_by_maintain() {
    let mut session = Session::new();
    session.ok(&json!({"do": "now", "at": "2024-05-01T12:00:00Z"}));
    let events = json!([
        {"type": "page", "anonymousId": "a1", "timestamp": "2024-05-01T10:00:00Z"},
        {"type": "track", "event": "Ad Seen", "anonymousId": "a2", "timestamp": "2024-05-01T10:00:00Z"},
        {"type": "page", "anonymousId": "a3", "userId": "u3", "timestamp": "2024-05-01T10:00:00Z"},
    ]);
    session.ok(&json!({"do": "ingest", "events": events, "source": "ads", "party": "third"}));
    let rule = |members: Value| {
        let mut rule = json!({"do": "retention_rule", "name": "bought", "older_than": "90d"});
        rule.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        rule
    };
    assert_eq!(session.ok(&rule(json!({"party": "third", "event": "Ad *"}))), json!({}));
    let mut done = session.ok(&json!({"do": "maintain"}));
    assert!(done.as_object_mut().unwrap().remove("wal_bytes").unwrap().as_u64().unwrap() > 0);
    assert_eq!(done.as_object_mut().unwrap().remove("sealed"), Some(json!(3)));
    assert_eq!(done.as_object_mut().unwrap().remove("settled"), Some(json!(0)));
    assert_eq!(done.as_object_mut().unwrap().remove("arranged"), Some(json!(0)));
    assert_eq!(done.as_object_mut().unwrap().remove("gathered"), Some(json!(0)));
    assert_eq!(done, maintained(0, 0));
    session.ok(&json!({"do": "now", "at": "2024-08-01T12:00:00Z"}));
    assert_eq!(session.ok(&json!({"do": "maintain"}))["retained"], 1);
    assert_eq!(session.ok(&json!({"do": "stats"}))["profiles"], 2);
    assert_eq!(session.ok(&rule(json!({"party": "third", "anonymous": true}))), json!({}));
    assert_eq!(
        session.ok(&json!({"do": "retention_rules"})),
        json!({"rules": [{"name": "bought", "party": "third", "anonymous": true, "older_than": "90d"}]})
    );
    assert_eq!(session.ok(&json!({"do": "maintain"}))["identifiers"], 1);
    let people = session.ok(&json!({"do": "profiles"}))["profiles"].clone();
    assert_eq!((people.as_array().unwrap().len(), &people[0]["name"]), (1, &json!("user_id:u3")));
    // What was dropped stays known.
    let report = session.ok(&json!({"do": "ingest", "events": events, "source": "ads", "party": "third"}));
    assert_eq!((&report["accepted"], &report["duplicates"]), (&json!(0), &json!(3)));
    assert_eq!(session.ok(&rule(json!({"older_than": null}))), json!({"lifted": true}));
    assert_eq!(session.ok(&json!({"do": "retention_rules"})), json!({"rules": []}));
    for (request, kind, message) in [
        (json!({"do": "retention_rule", "name": "r"}), "bad_request", "older_than: missing"),
        (
            json!({"do": "retention_rule", "name": "r", "older_than": "soon"}),
            "definition",
            "older_than: not a duration",
        ),
        (rule(json!({"party": "fourth"})), "definition", "party: not a party"),
        (rule(json!({"evnet": "A"})), "bad_request", "evnet: unknown member"),
    ] {
        let (found, told) = session.error(&request.to_string());
        assert_eq!(found, kind, "{told}");
        assert!(told.starts_with(message), "{told}");
    }
}

#[test]
fn erasure_and_maintenance_are_printed_for_reading() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("events.jsonl");
    std::fs::write(&file, "{\"type\":\"page\",\"userId\":\"u1\"}\n{\"type\":\"page\",\"userId\":\"u2\"}\n")
        .unwrap();
    let run = |arguments: &[&str]| {
        let mut command = cdp();
        command.current_dir(folder.path()).args(["--db", "test.db"]).args(arguments);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    run(&["ingest", "--party", "third", "events.jsonl"]);
    let (status, told) = run(&["erase", "user_id:u1"]);
    assert_eq!(status, Some(0));
    assert!(
        told.starts_with("identifiers") && told.ends_with("complete: no file holds anything of them\n"),
        "{told}"
    );
    assert_eq!(run(&["lift_suppression", "user_id:u1"]).1, "lifted\n");
    assert_eq!(run(&["lift_suppression", "user_id:u1"]).1, "there was nothing to lift\n");
    assert_eq!(run(&["retention_rules"]).1, "everything is kept\n");
    assert_eq!(run(&["retention_rule", "all", "--party", "third", "--older_than", "0s"]).1, "done\n");
    assert_eq!(run(&["retention_rules"]).1, "{\"name\":\"all\",\"older_than\":\"0s\",\"party\":\"third\"}\n");
    let (status, told) = run(&["maintain"]);
    assert_eq!(status, Some(0));
    assert_eq!(
        told.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["events", "dropped", "1"]
    );
    assert_eq!(run(&["retention_rule", "all", "--lift"]).1, "lifted\n");
    assert_eq!(run(&["retention_rule", "all"]).0, Some(2));
    assert_eq!(run(&["profiles"]).1, "0 people\n");

    // A reader of what was there is told of by the exit status.
    run(&["ingest", "events.jsonl"]);
    run(&["lift_suppression", "user_id:u1"]);
    run(&["ingest", "events.jsonl"]);
    #[expect(clippy::disallowed_methods, reason = "another program, which reads as long as it likes")]
    let reader = rusqlite::Connection::open(folder.path().join("test.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM identifiers").unwrap();
    let (status, told) = run(&["erase", "user_id:u1"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("not complete yet"), "{told}");
}
