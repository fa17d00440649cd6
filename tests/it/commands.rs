//! The example `cdp` through its pipe: what every command is answered with.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod analytics;
mod consent;
mod graph;
mod privacy;
mod segments;
mod session;
mod shell;

use std::io::BufRead;

use serde_json::{Value, json};

use self::session::{Session, cdp};

#[test]
fn ingest_tells_what_came_of_every_event() {
    let mut session = Session::new();
    let events = json!([
        {"type": "track", "event": "A", "userId": "u1", "messageId": "m1", "timestamp": "2024-05-01T00:00:00Z"},
        r#"{"type":"track","event":"A","userId":"u1","messageId":"m1","timestamp":"2024-05-01T00:00:00Z"}"#,
        {"type": "track", "event": "B", "userId": "u1", "messageId": "m1"},
        {"type": "track", "userId": "u1"},
        "no event",
        {"type": "page", "anonymousId": "a1", "messageId": "m2", "timestamp": 1_714_521_600_000_i64},
        7,
    ]);
    let report = session.ok(&json!({"do": "ingest", "events": events, "source": "crm", "party": "second"}));
    assert_eq!(
        (&report["accepted"], &report["duplicates"], &report["conflicts"]),
        (&json!(2), &json!(2), &json!(1))
    );
    assert_eq!((&report["profiles_created"], &report["merges"]), (&json!(2), &json!(0)));
    let rejected = report["rejected"].as_array().unwrap();
    assert_eq!(rejected.iter().map(|event| event["index"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 4, 6]);
    assert_eq!(rejected[0]["reason"], "event: missing");
    assert!(rejected[1]["reason"].as_str().unwrap().starts_with("not JSON"), "{report}");
    assert_eq!(rejected[2], json!({"index": 6, "reason": "not an object: found a number"}));

    let alias = json!({"type": "alias", "userId": "u1", "previousId": "a1", "messageId": "m3"});
    let report = session.ok(&json!({"do": "ingest", "events": [alias]}));
    assert_eq!((&report["profiles_created"], &report["merges"]), (&json!(0), &json!(1)));
}

#[test]
fn events_come_back_to_the_letter_and_the_newest_first() {
    let mut session = Session::new();
    let old = r#"{"type":"track", "event":"A","userId":"u1","timestamp":"2024-05-01T00:00:00Z","properties":{"n":123456789012345678901234567890,"x":1.10,"u":"\u6b66"}}"#;
    let new = r#"{"type":"track","event":"B","userId":"u1","timestamp":"2024-05-02T00:00:00Z"}"#;
    let line = new.replace("\"B\"", "\"C\\n \\\" d\"").replace("02T", "03T").replace(',', ",\n  ");
    let line = json!(line);
    let answer = session.line(&format!(r#"{{"do":"ingest","events":[{old},{new},{line}]}}"#));
    assert!(answer.starts_with(r#"{"ok":{"accepted":3,"#), "{answer}");
    let answer = session.line(r#"{"do":"events","id":"user_id:u1","limit":null}"#);
    let spread = new.replace("\"B\"", "\"C\\n \\\" d\"").replace("02T", "03T");
    assert_eq!(answer, format!("{{\"ok\":{{\"events\":[{spread},{new},{old}]}}}}\n"));
    let answer = session.line(r#"{"do":"events","id":"user_id:u1","limit":1}"#);
    assert_eq!(answer, format!("{{\"ok\":{{\"events\":[{spread}]}}}}\n"));
    assert_eq!(session.ok(&json!({"do": "events", "id": "user_id:nobody"})), json!({"events": []}));
}

#[test]
fn ingest_file_names_the_lines_that_are_refused() {
    let mut session = Session::new();
    let text = "{\"type\":\"page\",\"userId\":\"u1\"}\n\nno event\n{\"type\":\"page\"}\n";
    let path = session.file("events.jsonl", text);
    let request = json!({"do": "ingest_file", "path": path, "source": "crm", "party": "third"});
    let report = session.ok(&request);
    assert_eq!((&report["accepted"], &report["profiles_created"]), (&json!(1), &json!(1)));
    let rejected = report["rejected"].as_array().unwrap();
    assert_eq!(rejected.iter().map(|event| event["line"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 4]);
    assert!(rejected[1]["reason"].as_str().unwrap().starts_with("userId: missing"), "{report}");
    assert_eq!(session.ok(&request)["duplicates"], 1);
    let (kind, message) = session.error(r#"{"do":"ingest_file","path":"/nowhere/events.jsonl"}"#);
    assert_eq!(kind, "io");
    assert!(message.contains("/nowhere/events.jsonl"), "{message}");
}

#[test]
fn a_profile_shows_everything_known_of_a_person() {
    let mut session = Session::with_two_people();
    session.ok(&json!({"do": "define", "segment": {"name": "families", "live": true,
        "condition": {"trait": "children", "gte": 1}}}));
    let profile = session.ok(&json!({"do": "profile", "id": "anonymous_id:d7"}))["profile"].clone();
    let id = profile["id"].as_str().unwrap();
    assert_eq!(id.len(), 36, "{id}");
    let provenance = json!({
        "children": {"at": "2024-05-02T10:00:00Z", "source": "web", "message_id": "m1"},
        "city": {"at": "2024-05-03T10:00:00Z", "source": "web", "message_id": "m2"},
    });
    let expected = json!({
        "id": id, "name": "user_id:xm", "identifiers": ["user_id:xm", "anonymous_id:d7"],
        "traits": {"city": "Wuhan", "children": 1}, "computed": {}, "tags": [], "segments": ["families"],
        "consents": {}, "accounts": [{"id": "acme", "traits": {"plan": "gold"}}],
        "first_seen": "2024-05-01T10:00:00Z", "last_seen": "2024-05-04T10:00:00Z", "events": 4,
        "provenance": provenance,
    });
    assert_eq!(profile, expected);
    assert_eq!(session.ok(&json!({"do": "profile", "id": id}))["profile"], expected);
    assert_eq!(session.ok(&json!({"do": "profile", "id": "user_id:nobody"})), json!({"profile": null}));
    let (kind, _) = session.error(r#"{"do":"profile","id":"nobody"}"#);
    assert_eq!(kind, "not_an_id");
}

#[test]
fn profiles_are_listed_by_name() {
    let mut session = Session::with_two_people();
    let people = session.ok(&json!({"do": "profiles"}))["profiles"].clone();
    let people = people.as_array().unwrap();
    let names: Vec<_> = people.iter().map(|person| person["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["user_id:u2", "user_id:xm"]);
    assert_eq!(people[1]["identifiers"], json!(["user_id:xm", "anonymous_id:d7"]));
    let profile = session.ok(&json!({"do": "profile", "id": "user_id:xm"}));
    assert_eq!(people[1]["id"], profile["profile"]["id"]);
}

#[test]
fn trait_history_tells_each_value_with_where_it_came_from() {
    let mut session = Session::with_two_people();
    let history = session.ok(&json!({"do": "trait_history", "id": "user_id:xm", "trait": "city"}));
    assert_eq!(
        history["values"],
        json!([
            {"value": "Beijing", "at": "2024-05-02T10:00:00Z", "source": "web", "message_id": "m1"},
            {"value": "Wuhan", "at": "2024-05-03T10:00:00Z", "source": "web", "message_id": "m2"},
        ])
    );
}

#[test]
fn explain_gives_the_evidence_or_the_refusal() {
    let mut session = Session::with_two_people();
    let same = session.ok(&json!({"do": "explain", "a": "user_id:xm", "b": "anonymous_id:d7"}));
    assert_eq!(same["same"], true);
    assert_eq!(
        same["path"],
        json!([{"a": "user_id:xm", "b": "anonymous_id:d7", "message_id": "m1", "source": "web",
            "first_seen": "2024-05-02T10:00:00Z", "last_seen": "2024-05-02T10:00:00Z", "count": 1}])
    );
    let apart = session.ok(&json!({"do": "explain", "a": "user_id:u2", "b": "anonymous_id:d7"}));
    assert_eq!(apart["same"], false);
    let refused = apart["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 1, "{apart}");
    assert_eq!(
        (&refused[0]["identifier"], &refused[0]["message_id"]),
        (&json!("anonymous_id:d7"), &json!("m4"))
    );
    assert!(refused[0]["reason"].as_str().unwrap().contains("user_id"), "{apart}");
}

#[test]
fn suggest_gives_pairs_with_their_waterfalls() {
    let mut session = Session::new();
    let known = |user: &str, name: &str| json!({"type": "identify", "userId": user, "traits": {"name": name, "born": 1980}});
    session.ok(&json!({"do": "ingest", "events": [known("u1", "Martha"), known("u2", "Marhta"), known("u3", "Zoe")]}));
    let matching = json!({
        "compare": [{"trait": "name", "levels": [
            {"exact": true, "m": 0.5, "u": 0.25}, {"jaro_winkler": 0.9, "m": 0.375, "u": 0.125},
            {"else": true, "m": 0.125, "u": 0.625}]}],
        "block": [["born"]], "prior": 0.2, "threshold": 0.0,
    });
    let answer = session.ok(&json!({"do": "suggest", "matching": matching, "limit": 1}));
    assert_eq!(
        (&answer["probable"], &answer["compared"], &answer["skipped"]),
        (&json!(3), &json!(3), &json!([]))
    );
    let found = answer["suggestions"].as_array().unwrap();
    assert_eq!(found.len(), 1, "{answer}");
    assert_eq!((&found[0]["a"], &found[0]["b"]), (&json!("user_id:u1"), &json!("user_id:u2")));
    let row = &found[0]["rows"][0];
    assert_eq!((&row["trait"], &row["level"]), (&json!("name"), &json!("jaro_winkler ≥ 0.9")));
    assert_eq!(
        (&row["a"], &row["b"], &row["m"], &row["u"]),
        (&json!("Martha"), &json!("Marhta"), &json!(0.375), &json!(0.125))
    );
    assert_eq!((&found[0]["prior"], &row["weight"]), (&json!(-2.0), &json!(3.0_f64.log2())));
    let probability = found[0]["probability"].as_f64().unwrap();
    assert!((probability - 3.0 / 7.0).abs() < 1e-9, "{probability}");
    let (kind, message) = session.error(r#"{"do":"suggest","matching":{"compare":[]}}"#);
    assert_eq!((kind.as_str(), message.as_str()), ("definition", "compare: no trait is compared"));
}

#[test]
fn new_rules_change_the_past_and_say_how() {
    let mut session = Session::with_two_people();
    let same = session.ok(&json!({"do": "rules", "rules": {}}));
    assert_eq!(
        same,
        json!({
            "profiles_before": 2, "profiles_after": 2, "joined": 0, "split": 0, "changed": 0, "largest": 2,
            "examples": []
        })
    );
    let report = session.ok(&json!({"do": "rules", "rules": {"limits": {"user_id": {"max": null}}}}));
    assert_eq!((&report["profiles_before"], &report["profiles_after"]), (&json!(2), &json!(1)));
    assert_eq!((&report["joined"], &report["split"], &report["largest"]), (&json!(1), &json!(0), &json!(3)));
    assert_eq!(report["examples"].as_array().unwrap().len(), 1, "{report}");
    // Members left out keep their values: what was lifted above stays so.
    let report = session.ok(&json!({"do": "rules", "rules": {"blocked": {"anonymous_id": ["d7"]}}}));
    assert_eq!((&report["profiles_after"], &report["split"]), (&json!(2), &json!(1)));
    let (kind, message) = session.error(r#"{"do":"rules","rules":{"limits":{"email":{"most":1}}}}"#);
    assert_eq!(kind, "definition");
    assert!(message.starts_with("limits.email: unknown member \"most\""), "{message}");
}

#[test]
fn segments_are_defined_listed_read_and_removed() {
    let mut session = Session::with_two_people();
    let families = json!({"trait": "children", "gte": 1});
    let define = |name: &str, condition: &Value| json!({"do": "define", "segment": {"name": name, "condition": condition}});
    assert_eq!(session.ok(&define("families", &families)), json!({"members": 1}));
    assert_eq!(session.ok(&define("all", &json!({"all": []}))), json!({"members": 2}));
    assert_eq!(
        session.ok(&json!({"do": "segments"})),
        json!({"segments": [
            {"name": "all", "condition": {"all": []}, "members": 2},
            {"name": "families", "condition": families, "members": 1},
        ]})
    );
    assert_eq!(
        session.ok(&json!({"do": "members", "name": "all"})),
        json!({"count": 2, "members": ["user_id:u2", "user_id:xm"]})
    );
    let before = json!({"do": "members", "name": "families", "at": "2024-05-02T00:00:00Z"});
    assert_eq!(session.ok(&before), json!({"count": 0, "members": []}));
    assert_eq!(session.ok(&json!({"do": "undefine", "name": "families"})), json!({}));
    for request in [r#"{"do":"members","name":"families"}"#, r#"{"do":"undefine","name":"families"}"#] {
        assert_eq!(session.error(request).0, "unknown_segment", "{request}");
    }
    let wrong = define("wrong", &json!({"all": [{"event": "A"}, {"event": "B", "count": {"gtee": 1}}]}));
    let (kind, message) = session.error(&wrong.to_string());
    assert_eq!(kind, "definition");
    assert!(message.starts_with("all[1].count: unknown operator \"gtee\""), "{message}");
}

#[test]
fn a_preview_counts_and_defines_nothing() {
    let mut session = Session::with_two_people();
    let searched = json!({"event": "Search"});
    let found = json!({"count": 1, "members": ["user_id:xm"]});
    assert_eq!(session.ok(&json!({"do": "preview", "condition": searched})), found);
    let at = "2024-05-01T09:59:59+00:00";
    let before = session.ok(&json!({"do": "preview", "condition": searched, "at": at}));
    assert_eq!(before, json!({"count": 0, "members": []}));
    assert_eq!(session.ok(&json!({"do": "segments"})), json!({"segments": []}));

    let crowd: Vec<Value> =
        (0..1_001).map(|n| json!({"type": "page", "userId": format!("p{n:04}")})).collect();
    session.ok(&json!({"do": "ingest", "events": crowd}));
    let paged = session.ok(&json!({"do": "preview", "condition": {"event": "$page"}}));
    let names = paged["members"].as_array().unwrap();
    assert_eq!((&paged["count"], names.len()), (&json!(1_001), 1_000));
    assert_eq!((&names[0], &names[999]), (&json!("user_id:p0000"), &json!("user_id:p0999")));
}

/// As deep as the library reads them, which is deeper than a reader of JSON goes by itself.
#[test]
fn conditions_may_be_nested_deep_and_too_deep_is_told_as_such() {
    let mut session = Session::with_two_people();
    let nested = |depth: usize| {
        let (open, close) = (r#"{"all":["#.repeat(depth), "]}".repeat(depth));
        format!(r#"{{"do":"preview","condition":{open}{{"event":"Search"}}{close}}}"#)
    };
    let found: Value = serde_json::from_str(&session.line(&nested(120))).unwrap();
    assert_eq!(found["ok"]["count"], 1, "{found}");
    let (kind, message) = session.error(&nested(200));
    assert_eq!(kind, "definition");
    assert!(message.ends_with("nested deeper than 128 conditions"), "{message}");
}

#[test]
fn the_clock_stands_where_it_is_set_and_windows_end_by_it() {
    let mut session = Session::with_two_people();
    let recent = json!({"name": "recent", "condition": {"event": "Search", "within": "30d"}});
    assert_eq!(session.ok(&json!({"do": "define", "segment": recent}))["members"], 0);
    assert_eq!(session.ok(&json!({"do": "now", "at": "2024-05-20T00:00:00Z"})), json!({}));
    assert_eq!(session.ok(&json!({"do": "members", "name": "recent"}))["count"], 1);
    session.ok(&json!({"do": "now", "at": "2024-05-31T12:00:00+02:00"}));
    assert_eq!(session.ok(&json!({"do": "members", "name": "recent"}))["count"], 0);
    // An event that bears no time happened now.
    session.ok(&json!({"do": "ingest", "events": [{"type": "page", "userId": "late"}]}));
    let late = session.ok(&json!({"do": "profile", "id": "user_id:late"}));
    assert_eq!(late["profile"]["first_seen"], "2024-05-31T10:00:00Z");
}

#[test]
fn quarantine_is_listed_replayed_and_purged() {
    let mut session = Session::new();
    session.ok(&json!({"do": "now", "at": "2024-05-01T00:00:00Z"}));
    let early = r#"{"type":"page","userId":"u1","timestamp":"2024-05-03T00:00:00Z"}"#;
    session.ok(&json!({"do": "ingest", "source": "crm", "events": [early, "no event"]}));
    let entries = session.ok(&json!({"do": "quarantine"}))["entries"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 2, "{entries}");
    let reason = entries[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("timestamp: "), "{reason}");
    assert_eq!(
        entries[0],
        json!({"reason": reason, "raw": early, "source": "crm", "at": "2024-05-01T00:00:00Z"})
    );
    let first = session.ok(&json!({"do": "quarantine", "limit": 1, "replay": false}));
    assert_eq!(first, json!({"entries": [entries[0]]}));

    session.ok(&json!({"do": "now", "at": "2024-05-02T12:00:00Z"}));
    let replayed = session.ok(&json!({"do": "quarantine", "replay": true}));
    assert_eq!((&replayed["accepted"], &replayed["rejected"][0]["index"]), (&json!(1), &json!(1)));
    assert_eq!(session.ok(&json!({"do": "quarantine", "purge": true})), json!({"purged": 1}));
    assert_eq!(session.ok(&json!({"do": "quarantine"})), json!({"entries": []}));
}

#[test]
fn stats_count_and_check_finds_nothing_wrong() {
    let mut session = Session::with_two_people();
    let stats = session.ok(&json!({"do": "stats"}));
    for (name, figure) in [
        ("events", 5),
        ("profiles", 2),
        ("identifiers", 3),
        ("links", 1),
        ("segments", 0),
        ("blocks", 0),
        ("tail", 5),
        ("orphans", 0),
        ("refusals", 1),
        ("quarantined", 0),
    ] {
        assert_eq!(stats[name], figure, "{name}");
    }
    assert!(stats["file_bytes"].as_u64().unwrap() > 0 && stats["wal_bytes"].is_u64(), "{stats}");
    assert_eq!(session.ok(&json!({"do": "check"})), json!({"problems": []}));
}

#[test]
fn requests_that_are_not_understood_say_which_member_is_wrong_and_end_nothing() {
    let mut session = Session::new();
    for (request, kind, start) in [
        ("{", "bad_request", "not JSON: "),
        ("[1]", "bad_request", "expected an object, found an array"),
        ("{}", "bad_request", "do: missing"),
        (r#"{"do":1}"#, "bad_request", "do: expected a string, found 1"),
        (r#"{"do":"stats","do":"check"}"#, "bad_request", "do: there twice"),
        (r#"{"do":"dance"}"#, "unknown_command", "do: there is no command \"dance\""),
        (r#"{"do":"stats","deep":1}"#, "bad_request", "deep: unknown member, expected one of do"),
        (r#"{"do":"profile"}"#, "bad_request", "id: missing"),
        (r#"{"do":"profile","id":null}"#, "bad_request", "id: expected a string, found null"),
        (r#"{"do":"now"}"#, "bad_request", "at: missing"),
        (r#"{"do":"now","at":"noon"}"#, "bad_request", "at: not a time: \"noon\""),
        (
            r#"{"do":"events","id":"a:b","limit":-1}"#,
            "bad_request",
            "limit: expected a whole number, found -1",
        ),
        (r#"{"do":"ingest","events":{}}"#, "bad_request", "events: expected an array"),
        (r#"{"do":"ingest","events":[],"party":"fourth"}"#, "bad_request", "party: not a party: \"fourth\""),
        (
            r#"{"do":"ingest","events":[],"source":[]}"#,
            "bad_request",
            "source: expected a string, found an array",
        ),
        (r#"{"do":"quarantine","replay":true,"purge":true}"#, "bad_request", "replay, purge: "),
        (r#"{"do":"quarantine","purge":"yes"}"#, "bad_request", "purge: expected a boolean, found a string"),
        (r#"{"do":"preview"}"#, "bad_request", "condition: missing"),
        (
            r#"{"do":"preview","condition":[]}"#,
            "bad_request",
            "condition: expected an object, found an array",
        ),
        (r#"{"do":"define","segment":"a"}"#, "bad_request", "segment: expected an object, found a string"),
        (r#"{"do":"rules","rules":null}"#, "bad_request", "rules: expected an object, found null"),
        (
            r#"{"do":"define","segment":{"name":"a","condition":5}}"#,
            "definition",
            "condition: expected an object, found a number",
        ),
        (
            r#"{"do":"define_tag","tag":{"name":"a","condition":null}}"#,
            "definition",
            "condition: expected an object, found null",
        ),
        (r#"{"do":"define","segment":{"name":"a","condition":{"all":[]},"live":1}}"#, "definition", "live: "),
        (
            r#"{"do":"define","segment":{"name":"a","members":["u1"]}}"#,
            "not_an_id",
            "not an identifier and not a profile id",
        ),
        (
            r#"{"do":"define","segment":{"name":"a","condition":{"trait":"x","eq":1,"eq":2}}}"#,
            "definition",
            "condition.eq: given twice",
        ),
        (
            r#"{"do":"define","segment":{"name":"a","condition":{"segment":"b"}}}"#,
            "definition",
            "segment: no segment is named \"b\"",
        ),
        (r#"{"do":"why","id":"user_id:u1"}"#, "bad_request", "name, condition: one of them"),
        (r#"{"do":"why","id":"user_id:u1","name":"a"}"#, "unknown_segment", "no segment is named"),
        (r#"{"do":"add","name":"a","ids":["user_id:u1"]}"#, "unknown_segment", "no segment is named"),
        (r#"{"do":"define_trait","trait":{"name":"a","event":"A"}}"#, "definition", "nothing is worked out"),
        (
            r#"{"do":"define_trait","trait":{"name":"a","event":"A","summ":"x"}}"#,
            "definition",
            "unknown member",
        ),
        (r#"{"do":"define_tag","tag":{"name":"a"}}"#, "definition", "missing \"condition\""),
        (r#"{"do":"policy","trait":"a","policy":"lates"}"#, "definition", "policy: unknown policy"),
        (r#"{"do":"undefine","trait":"a"}"#, "bad_request", "no trait is named"),
        (
            r#"{"do":"define","segment":{"name":"a","condition":{"all":[]},"x":1}}"#,
            "definition",
            "unknown member \"x\"",
        ),
        (r#"{"do":"funnel","steps":[],"within":"1d"}"#, "definition", "steps: "),
        (r#"{"do":"consent","id":"user_id:u1"}"#, "bad_request", "purpose: missing"),
        (
            r#"{"do":"consent","id":"user_id:u1","purpose":"x","state":"yes"}"#,
            "bad_request",
            "state: not a state of consent: \"yes\", expected granted",
        ),
        (
            r#"{"do":"consent","id":"user_id:u1","purpose":"","state":"denied"}"#,
            "definition",
            "purpose: must not be empty",
        ),
        (r#"{"do":"define_purpose","purpose":{"name":"x","basis":1}}"#, "definition", "basis: expected"),
        (r#"{"do":"undefine","purpose":"x"}"#, "bad_request", "no purpose is named"),
    ] {
        let (found, message) = session.error(request);
        assert_eq!(found, kind, "{request}: {message}");
        assert!(message.starts_with(start), "{request}: {message}");
    }
    session.write(b"{\"do\":\"\xFF\"}\n");
    assert!(session.read().contains("bad_request"));
    assert_eq!(session.ok(&json!({"do": "profiles"})), json!({"profiles": []}));
}

#[test]
fn answers_keep_the_order_of_the_requests_and_blank_lines_have_none() {
    let mut session = Session::new();
    session.write(b"\n{\"do\":\"profiles\"}\r\n  \n{\"do\":\"dance\"}\n\n{\"do\":\"segments\"}");
    drop(session.requests.take());
    assert_eq!(session.read(), "{\"ok\":{\"profiles\":[]}}\n");
    assert!(session.read().starts_with("{\"error\":{\"kind\":\"unknown_command\","));
    assert_eq!(session.read(), "{\"ok\":{\"segments\":[]}}\n");
    let mut rest = String::new();
    assert_eq!(session.answers.read_line(&mut rest).unwrap(), 0, "{rest}");
}
