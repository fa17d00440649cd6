//! The questions about everybody, in the words of the contract.

use serde_json::{Value, json};

use super::session::{Session, cdp};

fn shop() -> Session {
    let mut session = Session::new();
    session.ok(&json!({"do": "now", "at": "2024-06-01T00:00:00Z"}));
    let event = |user: &str, name: &str, at: &str, properties: Value| json!({"type": "track", "event": name, "userId": user, "timestamp": at, "properties": properties});
    let report = session.ok(&json!({"do": "ingest", "events": [
        event("ann", "View", "2024-05-06T10:00:00Z", json!({"channel": "ads"})),
        event("ann", "Order", "2024-05-06T10:30:00Z", json!({"revenue": 0.1})),
        event("ann", "Order", "2024-05-13T10:30:00Z", json!({"revenue": 0.2})),
        event("bob", "View", "2024-05-06T10:00:00Z", json!({"channel": "mail"})),
        {"type": "identify", "userId": "ann", "timestamp": "2024-05-06T10:31:00Z", "traits": {"city": "Lima"}},
    ]}));
    assert_eq!(report["accepted"], 5, "{report}");
    session
}

#[test]
fn every_question_is_answered_with_the_members_of_the_contract() {
    let mut session = shop();
    let funnel = session.ok(&json!({"do": "funnel", "steps": [{"event": "View"}, "Order"], "within": "1d"}));
    let first = json!({"count": 2, "conversion": 1.0, "median_seconds": null, "p90_seconds": null,
                       "median_total_seconds": null});
    let second = json!({"count": 1, "conversion": 0.5, "median_seconds": 1800.0, "p90_seconds": 1800.0,
                        "median_total_seconds": 1800.0});
    assert_eq!(funnel, json!({"steps": [first, second]}));
    let by = session.ok(
        &json!({"do": "funnel", "steps": ["View", "Order"], "by": {"trait": "city"}, "mode": "any_order"}),
    );
    let groups: Vec<_> =
        by["groups"].as_array().unwrap().iter().map(|g| (&g["value"], &g["steps"][1]["count"])).collect();
    assert_eq!(groups, [(&json!("Lima"), &json!(1)), (&Value::Null, &json!(0))]);
    assert_eq!(
        session
            .ok(&json!({"do": "retention", "start": "View", "return": {"event": "Order"}, "period": "week",
                           "periods": 1, "mode": "on_or_after", "first_time": true})),
        json!({"cohorts": [{"start": "2024-05-06T00:00:00Z", "size": 2, "values": [2, 1]}]})
    );
    assert_eq!(
        session.ok(
            &json!({"do": "trend", "event": "Order", "interval": "month", "measure": {"sum": "revenue"}})
        ),
        json!({"series": [{"start": "2024-05-01T00:00:00Z", "value": 0.3}]})
    );
    assert_eq!(
        session.ok(&json!({"do": "lifecycle", "event": "Order", "interval": "week"})),
        json!({"periods": [
            {"start": "2024-05-06T00:00:00Z", "new": 1, "returning": 0, "resurrecting": 0, "dormant": 0},
            {"start": "2024-05-13T00:00:00Z", "new": 0, "returning": 1, "resurrecting": 0, "dormant": 0},
        ]})
    );
    let sessions = session.ok(&json!({"do": "sessions", "gap": "30m", "until": "2024-05-07T00:00:00Z"}));
    assert_eq!((&sessions["sessions"], &sessions["median_seconds"]), (&json!(2), &json!(930.0)));
    assert_eq!((&sessions["events_per_session"], &sessions["entries"]), (&json!(2.0), &json!({"View": 2})));
    assert_eq!(sessions["exits"], json!({"$identify": 1, "View": 1}));
    let paths = session.ok(&json!({"do": "paths", "from_event": "View", "depth": 2, "top": 1}));
    assert_eq!(paths["transitions"], json!([{"step": 1, "from": "View", "to": "Order", "count": 1}]));
    let credit = session
        .ok(&json!({"do": "attribution", "conversion": "Order", "touch": "View", "channel": "channel",
                                    "model": "markov", "lookback": "7d"}));
    assert_eq!((&credit["conversions"], &credit["attributed"]), (&json!(2), &json!(1)));
    assert_eq!(credit["channels"], json!({"ads": 1.0, "mail": 0.0}));
    assert_eq!(
        session.ok(&json!({"do": "rfm", "event": "Order", "value": "revenue", "at": "2024-05-20T00:00:00Z"})),
        json!({"profiles": [{"name": "user_id:ann", "recency_days": 7, "frequency": 2, "monetary": 0.3,
                             "r": 1, "f": 1, "m": 1, "group": "hibernating"}]})
    );
}

#[test]
fn a_segment_a_range_and_a_second_time_are_taken_by_every_question() {
    let mut session = shop();
    session.ok(
        &json!({"do": "define", "segment": {"name": "lima", "condition": {"trait": "city", "eq": "Lima"}}}),
    );
    let range = json!({"from": "2024-05-06T00:00:00Z", "until": "2024-05-13T00:00:00Z", "segment": "lima",
                       "compare": {"from": "2024-05-13T00:00:00Z", "until": "2024-05-20T00:00:00Z"}});
    for question in [
        json!({"do": "funnel", "steps": ["*", "*"]}),
        json!({"do": "retention", "start": "*", "return": "*"}),
        json!({"do": "trend", "event": "*"}),
        json!({"do": "lifecycle", "event": "*"}),
        json!({"do": "sessions"}),
        json!({"do": "paths"}),
        json!({"do": "attribution", "conversion": "Order", "channel": "revenue"}),
        json!({"do": "rfm", "event": "Order", "value": "revenue"}),
    ] {
        let mut asked = question.clone();
        asked.as_object_mut().unwrap().extend(range.as_object().unwrap().clone());
        let answer = session.ok(&asked);
        assert!(answer["compared"].is_object(), "{question}: {answer}");
        asked["until"] = json!("2024-05-06T00:00:00Z");
        let (kind, message) = session.error(&asked.to_string());
        assert_eq!((kind.as_str(), message.as_str()), ("definition", "until: must be later than \"from\""));
        asked["until"] = Value::Null;
        asked["segment"] = json!("nobody");
        assert_eq!(session.error(&asked.to_string()).0, "unknown_segment");
        asked["segments"] = json!("lima");
        let (kind, message) = session.error(&asked.to_string());
        assert!(kind == "definition" && message.starts_with("unknown member \"segments\""), "{message}");
    }
}

#[test]
fn the_zone_of_the_configuration_says_when_days_begin_and_people_get_a_table() {
    let session = shop();
    let config = session.file("config.json", r#"{"zone": "Asia/Shanghai"}"#);
    let spec = session.file("spec.json", r#"{"event": "Order", "interval": "month"}"#);
    let folder = session.folder.path().to_owned();
    let told = |arguments: &[&str]| {
        let mut command = cdp();
        command
            .arg("--db")
            .arg(folder.join("test.db"))
            .arg("--config")
            .arg(&config)
            .args(arguments)
            .arg(&spec);
        let output = command.output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (json, _) = told(&["--json", "trend"]);
    assert_eq!(json, "{\"series\":[{\"start\":\"2024-04-30T16:00:00Z\",\"value\":2}]}\n");
    assert_eq!(told(&["trend"]).0, "from                  all\n2024-04-30T16:00:00Z    2\n");
    std::fs::write(&config, r#"{"zone": "Mars/Olympus"}"#).unwrap();
    assert!(told(&["trend"]).1.contains("zone: not a time zone: \"Mars/Olympus\""));
}
