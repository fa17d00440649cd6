//! Consent and the audit log through `cdp run`.

use serde_json::{Value, json};

use super::session::Session;

#[test]
fn consent_is_recorded_shown_and_asked_for() {
    let mut session = Session::with_two_people();
    session.ok(&json!({"do": "define", "segment": {"name": "mail", "condition": {"consent": "marketing"}}}));
    let consent = json!({"do": "consent", "id": "user_id:xm", "purpose": "marketing", "state": "granted",
        "policy_version": "2024-05", "evidence": "box ticked", "at": "2024-05-20T00:00:00Z", "source": "form"});
    assert_eq!(session.ok(&consent), json!({}));
    let profile = session.ok(&json!({"do": "profile", "id": "anonymous_id:d7"}))["profile"].clone();
    let expected = json!({"number": 1, "identifier": "user_id:xm", "purpose": "marketing", "state": "granted",
        "at": "2024-05-20T00:00:00Z", "recorded_at": "2024-06-01T00:00:00Z", "source": "form",
        "policy_version": "2024-05", "evidence": "box ticked", "separate": false, "message_id": null});
    assert_eq!(profile["consents"], json!({"marketing": expected}));
    assert_eq!(session.ok(&json!({"do": "members", "name": "mail"}))["members"], json!(["user_id:xm"]));
    session.ok(&json!({"do": "consent", "id": "user_id:xm", "purpose": "marketing", "state": "withdrawn"}));
    assert_eq!(session.ok(&json!({"do": "members", "name": "mail"}))["count"], 0);
    let at = json!({"do": "members", "name": "mail", "at": "2024-05-21T00:00:00Z"});
    assert_eq!(session.ok(&at)["members"], json!(["user_id:xm"]));
    let changes = session.ok(&json!({"do": "changes"}))["changes"].clone();
    let told: Vec<(&Value, &Value, &Value)> =
        changes.as_array().unwrap().iter().map(|c| (&c["change"], &c["cause"], &c["purpose"])).collect();
    let (consent, marketing) = (json!("consent"), json!("marketing"));
    let (entered, exited) = (json!("entered"), json!("exited"));
    assert_eq!(told, [(&entered, &consent, &marketing), (&exited, &consent, &marketing)]);
    let held = session.ok(&json!({"do": "consents", "id": "user_id:xm"}));
    assert_eq!(held["consents"]["marketing"]["state"], "withdrawn");
    assert_eq!(held["decisions"].as_array().unwrap().len(), 2);
}

#[test]
fn events_of_who_denied_analytics_are_counted_and_not_kept() {
    let mut session = Session::with_two_people();
    session.ok(&json!({"do": "consent", "id": "user_id:xm", "purpose": "analytics", "state": "denied"}));
    let event =
        json!({"type": "page", "anonymousId": "d7", "messageId": "m9", "timestamp": "2024-05-30T00:00:00Z"});
    let report = session.ok(&json!({"do": "ingest", "events": [event]}));
    assert_eq!((&report["accepted"], &report["withheld"]), (&json!(0), &json!(1)));
    assert_eq!(session.ok(&json!({"do": "profile", "id": "user_id:xm"}))["profile"]["events"], 4);
    assert_eq!(session.ok(&json!({"do": "stats"}))["withheld"], 1);
    assert_eq!(session.ok(&json!({"do": "check"})), json!({"problems": []}));
}

#[test]
fn purposes_are_defined_and_decisions_merge_as_is_set() {
    let mut session = Session::with_two_people();
    let purpose =
        json!({"name": "health", "basis": "vital_interests", "separate": true, "categories": ["C9"]});
    assert_eq!(session.ok(&json!({"do": "define_purpose", "purpose": purpose})), json!({}));
    let purposes = session.ok(&json!({"do": "purposes"}))["purposes"].clone();
    assert_eq!(purposes.as_array().unwrap().len(), 5);
    assert!(purposes.as_array().unwrap().contains(&purpose), "{purposes}");
    let grant = |separate: bool| json!({"do": "consent", "id": "user_id:xm", "purpose": "health", "state": "granted", "separate": separate});
    let members = json!({"do": "preview", "condition": {"consent": "health"}});
    session.ok(&grant(false));
    assert_eq!(session.ok(&members)["count"], 0);
    session.ok(&grant(true));
    assert_eq!(session.ok(&members)["count"], 1);
    session.ok(&json!({"do": "consent", "id": "anonymous_id:d7", "purpose": "health", "state": "denied",
        "at": "2024-05-01T00:00:00Z"}));
    assert_eq!(session.ok(&members)["count"], 1);
    assert_eq!(session.ok(&json!({"do": "consent_merge"})), json!({"merge": "latest"}));
    session.ok(&json!({"do": "consent_merge", "merge": "most_restrictive"}));
    assert_eq!(session.ok(&members)["count"], 0);
    session.ok(&json!({"do": "undefine", "purpose": "health"}));
}

#[test]
fn the_audit_log_tells_what_was_done_and_names_nobody() {
    let mut session = Session::with_two_people();
    session.ok(&json!({"do": "consent", "id": "user_id:xm", "purpose": "marketing", "state": "granted",
        "evidence": "signed by Xiaoming"}));
    session.ok(&json!({"do": "link", "a": "user_id:xm", "b": "email:xm@b.example"}));
    session.ok(&json!({"do": "rules", "rules": {"blocked": {"email": ["shop@b.example"]}}}));
    session.ok(&json!({"do": "define", "segment": {"name": "x", "condition": {"trait": "email", "eq": "xm@b.example"}}}));
    let answer = session.ok(&json!({"do": "audit", "after": 0, "limit": 3}));
    let rest = session.ok(&json!({"do": "audit", "after": answer["cursor"]}));
    let mut entries = answer["entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 3);
    entries.extend(rest["entries"].as_array().unwrap().clone());
    let actions: Vec<&str> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["consent", "link", "rules", "define"]);
    let text = json!(entries).to_string();
    for personal in ["xm", "Xiaoming", "b.example"] {
        assert!(!text.contains(personal), "{personal}: {text}");
    }
    assert_eq!(entries[0]["details"]["about"][0], entries[1]["details"]["about"][0]);
}

#[test]
fn a_trait_is_set_right_and_taken_back() {
    let mut session = Session::with_two_people();
    let city = |session: &mut Session| {
        session.ok(&json!({"do": "profile", "id": "user_id:xm"}))["profile"]["traits"]["city"].clone()
    };
    session.ok(&json!({"do": "rectify", "id": "anonymous_id:d7", "trait": "city", "value": "Lima"}));
    session.ok(
        &json!({"do": "ingest", "events": [{"type": "identify", "userId": "xm", "traits": {"city": "Oslo"},
        "timestamp": "2024-05-31T00:00:00Z"}]}),
    );
    assert_eq!(city(&mut session), "Lima");
    let history = session.ok(&json!({"do": "trait_history", "id": "user_id:xm", "trait": "city"}));
    let pinned = json!({"value": "Lima", "at": "2024-06-01T00:00:00Z", "source": "rectification",
        "message_id": "rectify:1", "pinned": true});
    assert_eq!(history["values"].as_array().unwrap().last().unwrap(), &pinned);
    session.ok(&json!({"do": "unpin", "id": "user_id:xm", "trait": "city"}));
    assert_eq!(city(&mut session), "Oslo");
    let (kind, message) = session.error(r#"{"do":"unpin","id":"user_id:xm","trait":"city"}"#);
    assert_eq!(
        (kind.as_str(), message.as_str()),
        ("bad_request", "no trait that was set right is named \"city\"")
    );
    let (kind, _) = session.error(r#"{"do":"rectify","id":"user_id:nobody","trait":"city","value":1}"#);
    assert_eq!(kind, "definition");
}

#[test]
fn an_export_is_one_document_on_one_line() {
    let mut session = Session::with_two_people();
    let spread = json!("{\"type\":\"page\",\n  \"userId\":\"xm\",\"timestamp\":\"2024-05-31T00:00:00Z\"}");
    session.ok(&json!({"do": "ingest", "events": [spread]}));
    let answer = session.ok(&json!({"do": "export", "id": "user_id:xm"}));
    let export = &answer["export"];
    assert_eq!(export["identifiers"], json!(["user_id:xm", "anonymous_id:d7"]));
    assert_eq!(export["events"].as_array().unwrap().len(), 5);
    assert_eq!(export["events"][0]["event"]["properties"]["query"], "Antarctica");
    assert_eq!(session.ok(&json!({"do": "export", "id": "user_id:xm"})), answer);
    assert_eq!(session.ok(&json!({"do": "export", "id": "user_id:nobody"})), json!({"export": null}));
    let audit = session.ok(&json!({"do": "audit"}));
    assert_eq!(audit["entries"].as_array().unwrap().len(), 2);
}
