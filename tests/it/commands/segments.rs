//! Segments, computed traits, tags and policies by command.

use serde_json::{Value, json};

use super::session::Session;

fn day(n: u32) -> String {
    format!("2024-05-{n:02}T10:00:00Z")
}

/// Three customers: Ann orders on days 1, 5 and 20, Bob fills a cart on day 20, Eve is known by name only.
fn shop() -> Session {
    let mut session = Session::new();
    session.ok(&json!({"do": "now", "at": day(21)}));
    let order = |n: u32, total: f64, sku: &str| {
        json!({"type": "track", "event": "Order", "userId": "ann", "messageId": format!("o{n}"), "timestamp": day(n),
            "properties": {"total": total, "sku": sku}})
    };
    let report = session.ok(&json!({"do": "ingest", "events": [
        order(1, 10.1, "a"), order(5, 20.2, "b"), order(20, 0.3, "a"),
        {"type": "track", "event": "Cart Filled", "userId": "bob", "messageId": "c1", "timestamp": day(20),
            "properties": {"cart": 7}},
        {"type": "identify", "userId": "eve", "messageId": "e1", "timestamp": day(2), "traits": {"plan": "gold"}},
    ]}));
    assert_eq!(report["accepted"], 5);
    session
}

#[test]
fn lists_are_kept_by_hand_and_journalled() {
    let mut session = shop();
    let list = json!({"name": "testers", "members": ["user_id:ann", "user_id:nobody-yet"]});
    assert_eq!(session.ok(&json!({"do": "define", "segment": list})), json!({"members": 1}));
    let add = json!({"do": "add", "name": "testers", "ids": ["user_id:eve"]});
    assert_eq!(session.ok(&add), json!({"members": 2}));
    let remove = json!({"do": "remove", "name": "testers", "ids": ["user_id:ann"]});
    assert_eq!(session.ok(&remove), json!({"members": 1}));
    session.ok(&json!({"do": "ingest", "events": [
        {"type": "page", "userId": "nobody-yet", "messageId": "p1", "timestamp": day(21)}
    ]}));
    let members = session.ok(&json!({"do": "members", "name": "testers"}));
    assert_eq!(members, json!({"count": 2, "members": ["user_id:eve", "user_id:nobody-yet"]}));
    let answer = session.ok(&json!({"do": "changes", "after": 0}));
    let told: Vec<Value> = answer["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| json!([change["member"], change["change"], change["cause"]]))
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["user_id:ann", "entered", "definition"],
            ["user_id:eve", "entered", "hand"],
            ["user_id:ann", "exited", "hand"],
            ["user_id:nobody-yet", "entered", "event"],
        ])
    );
    let rest = json!({"do": "changes", "after": answer["cursor"], "limit": 5});
    assert_eq!(session.ok(&rest), json!({"changes": [], "cursor": answer["cursor"]}));
    let (kind, message) =
        session.error(r#"{"do":"define","segment":{"name":"x","members":[],"live":false}}"#);
    assert_eq!((kind.as_str(), message.as_str()), ("definition", "live: a list is always live"));
}

#[test]
fn scores_are_a_trait_into_which_conditions_reach() {
    let mut session = shop();
    let rfm = json!({"name": "rfm", "event": "Order", "rfm": {"value": "total", "frequency": [4, 3, 2, 1], "monetary": [50, 40, 30.6, 1]}});
    session.ok(&json!({"do": "define_trait", "trait": rfm}));
    let ann =
        session.ok(&json!({"do": "profile", "id": "user_id:ann"}))["profile"]["computed"]["rfm"].clone();
    let expected = json!({"recency_days": 1, "frequency": 3, "monetary": 30.6, "r": 5, "f": 4, "m": 3, "group": "champions"});
    assert_eq!(ann, expected);
    let bob = session.ok(&json!({"do": "profile", "id": "user_id:bob"}));
    assert!(bob["profile"]["computed"].get("rfm").is_none(), "no purchase, no score");
    let condition =
        json!({"all": [{"trait": "rfm.group", "eq": "champions"}, {"trait": "rfm.m", "between": [2, 3]}]});
    let preview = session.ok(&json!({"do": "preview", "condition": condition}));
    assert_eq!(preview, json!({"count": 1, "members": ["user_id:ann"]}));
    let why =
        session.ok(&json!({"do": "why", "condition": {"trait": "rfm.m", "gte": 4}, "id": "user_id:ann"}));
    assert_eq!((&why["member"], &why["conditions"]["seen"]), (&json!(false), &json!(3)));
    let (kind, message) = session.error(&json!({"do": "define_trait", "trait": {"name": "x", "event": "Order", "rfm": {"value": "total", "frequency": [1]}}}).to_string());
    assert_eq!(kind, "definition");
    assert!(
        message.starts_with("rfm.frequency: expected the bounds for the scores 5, 4, 3 and 2"),
        "{message}"
    );
}

#[test]
fn birthdays_and_days_are_those_of_the_zone_of_the_configuration() {
    let mut session = Session::configured(r#"{"zone": "Europe/Berlin"}"#);
    // In Berlin it is 23:59 on the 26th of October, a Saturday; the day after has 25 hours.
    session.ok(&json!({"do": "now", "at": "2024-10-26T21:59:00Z"}));
    let birthday = json!({"name": "birthday", "condition": {"trait": "born", "anniversary_within": "1d"}});
    session.ok(&json!({"do": "define", "segment": birthday}));
    let daily = json!({"event": "Visit", "periods": {"every": "1d", "of": 2, "gte": 2}});
    session.ok(&json!({"do": "define", "segment": {"name": "daily", "condition": daily}}));
    session.ok(&json!({"do": "define", "segment": {"name": "asked", "condition": daily, "live": false}}));
    let visit = |n: u32, at: &str| json!({"type": "track", "event": "Visit", "userId": "u1", "messageId": format!("v{n}"), "timestamp": at});
    session.ok(&json!({"do": "ingest", "events": [
        {"type": "identify", "userId": "u1", "messageId": "i1", "timestamp": "2024-10-20T00:00:00Z", "traits": {"born": "1990-10-27"}},
        visit(1, "2024-10-25T21:30:00Z"), visit(2, "2024-10-25T22:30:00Z"),
    ]}));
    let mut members = |at: &str| {
        session.ok(&json!({"do": "now", "at": at}));
        let mut count = |name: &str| session.ok(&json!({"do": "members", "name": name}))["count"].clone();
        json!([count("birthday"), count("daily"), count("asked")])
    };
    // The visits are of the 25th at 23:30 and the 26th at 0:30: one day in UTC, two in Berlin.
    assert_eq!(members("2024-10-26T21:59:59Z"), json!([0, 0, 0]));
    assert_eq!(members("2024-10-26T22:00:00Z"), json!([1, 1, 1]));
    assert_eq!(members("2024-10-27T22:59:59Z"), json!([1, 1, 1]));
    assert_eq!(members("2024-10-27T23:00:00Z"), json!([0, 0, 0]));
    let changes = session.ok(&json!({"do": "changes", "after": 0}))["changes"].clone();
    let told: Vec<Value> =
        changes.as_array().unwrap().iter().map(|change| json!([change["change"], change["at"]])).collect();
    let (entered, exited) =
        (json!(["entered", "2024-10-26T22:00:00Z"]), json!(["exited", "2024-10-27T23:00:00Z"]));
    assert_eq!(told, [entered.clone(), entered, exited.clone(), exited]);
}

#[test]
fn changes_tell_causes_and_the_instant_at_which_time_did_it() {
    let mut session = shop();
    let recent = json!({"name": "recent", "condition": {"event": "Order", "within": "7d"}});
    assert_eq!(session.ok(&json!({"do": "define", "segment": recent}))["members"], 1);
    let gold = json!({"name": "gold", "condition": {"trait": "plan", "eq": "gold"}});
    session.ok(&json!({"do": "define", "segment": gold}));
    session.ok(&json!({"do": "now", "at": "2024-06-01T00:00:00Z"}));
    session.ok(&json!({"do": "ingest", "events": [
        {"type": "identify", "userId": "eve", "messageId": "e2", "traits": {"plan": null}}
    ]}));
    let changes = session.ok(&json!({"do": "changes", "after": 2}))["changes"].clone();
    let told: Vec<Value> = changes
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            json!([change["segment"], change["member"], change["change"], change["at"], change["cause"]])
        })
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["recent", "user_id:ann", "exited", "2024-05-27T10:00:00Z", "time"],
            ["gold", "user_id:eve", "exited", "2024-06-01T00:00:00Z", "trait"],
        ])
    );
    assert_eq!((&changes[1]["trait"], &changes[1]["message_id"]), (&json!("plan"), &json!("e2")));
}

#[test]
fn why_shows_the_tree_with_what_each_condition_saw() {
    let mut session = shop();
    session.ok(&json!({"do": "define", "segment": {"name": "buyers", "condition": {"event": "Order"}}}));
    let condition = json!({"all": [
        {"segment": "buyers"},
        {"event": "Order", "sum": "total", "gte": 100},
        {"not": {"trait": "plan", "eq": "gold"}},
    ]});
    let why = session.ok(&json!({"do": "why", "condition": condition, "id": "user_id:ann"}));
    assert_eq!(
        why,
        json!({"member": false, "conditions": {"holds": false, "seen": null, "all": [
            {"segment": "buyers", "holds": true, "seen": true, "conditions": {"event": "Order", "holds": true, "seen": 3}},
            {"event": "Order", "sum": "total", "gte": 100, "holds": false, "seen": 30.6},
            {"holds": true, "seen": null, "not": {"trait": "plan", "eq": "gold", "holds": false, "seen": null}},
        ]}})
    );
    let why = session.ok(&json!({"do": "why", "name": "buyers", "id": "user_id:ann"}));
    assert_eq!(why, json!({"member": true, "conditions": {"event": "Order", "holds": true, "seen": 3}}));
    let nobody = session.ok(&json!({"do": "why", "name": "buyers", "id": "user_id:nobody"}));
    assert_eq!(nobody, json!({"member": false, "conditions": null}));
}

#[test]
fn computed_traits_of_every_kind() {
    let mut session = shop();
    for (kind, expected) in [
        (json!({"count": true}), json!(3)),
        (json!({"count": true, "within": "7d"}), json!(1)),
        (json!({"count": true, "where": [{"property": "sku", "eq": "a"}]}), json!(2)),
        (json!({"sum": "total"}), json!(30.6)),
        (json!({"avg": "total"}), json!(10.2)),
        (json!({"min": "total"}), json!(0.3)),
        (json!({"max": "total"}), json!(20.2)),
        (json!({"first": "sku"}), json!("a")),
        (json!({"last": "total"}), json!(0.3)),
        (json!({"most_frequent": "sku"}), json!("a")),
        (json!({"unique_count": "sku"}), json!(2)),
        (json!({"unique_list": "sku"}), json!(["a", "b"])),
        (json!({"days_since_first": true}), json!(20)),
        (json!({"days_since_last": true}), json!(1)),
        (json!({"lifecycle": true}), json!("new")),
        (
            json!({"lifecycle": {"new": "1d", "active": "1h", "at_risk": "2d", "dormant": "9d"}}),
            json!("at_risk"),
        ),
    ] {
        let mut computed = kind.clone();
        computed["name"] = json!("x");
        computed["event"] = json!("Order");
        assert_eq!(session.ok(&json!({"do": "define_trait", "trait": computed})), json!({}));
        let profile = session.ok(&json!({"do": "profile", "id": "user_id:ann"}))["profile"].clone();
        assert_eq!(profile["computed"], json!({"x": expected}), "{kind}");
        let found = session.ok(&json!({"do": "preview", "condition": {"trait": "x", "eq": expected}}));
        assert_eq!(found["members"], json!(["user_id:ann"]), "{kind}");
    }
    session.ok(&json!({"do": "undefine", "trait": "x"}));
    assert_eq!(session.ok(&json!({"do": "profile", "id": "user_id:ann"}))["profile"]["computed"], json!({}));
}

#[test]
fn tags_policies_and_segments_that_are_not_live() {
    let mut session = shop();
    let tag =
        json!({"name": "big", "condition": {"event": "Order", "max": "total", "gte": 20}, "half_life": "1d"});
    assert_eq!(session.ok(&json!({"do": "define_tag", "tag": tag})), json!({}));
    session.ok(&json!({"do": "tag", "id": "user_id:eve", "tag": "vip", "expires": day(25)}));
    let tagged =
        json!({"name": "tagged", "live": false, "condition": {"any": [{"tag": "big"}, {"tag": "vip"}]}});
    assert_eq!(session.ok(&json!({"do": "define", "segment": tagged})), json!({"members": 2}));
    let profile = session.ok(&json!({"do": "profile", "id": "user_id:ann"}))["profile"].clone();
    assert_eq!((&profile["tags"], &profile["segments"]), (&json!(["big"]), &json!(["tagged"])));
    assert_eq!(profile["tag_weights"], json!([{"name": "big", "weight": 0.5, "expires": null}]));
    session.ok(&json!({"do": "now", "at": day(26)}));
    assert_eq!(session.ok(&json!({"do": "members", "name": "tagged"}))["members"], json!(["user_id:ann"]));
    assert_eq!(session.ok(&json!({"do": "changes"}))["changes"], json!([]), "not live, so not journalled");

    let at = |n: u32, value: Value| {
        json!({"type": "identify", "userId": "eve", "timestamp": day(n),
        "traits": {"score": value}})
    };
    session.ok(&json!({"do": "ingest", "source": "crm", "events": [at(10, json!(5))]}));
    session.ok(&json!({"do": "ingest", "source": "web", "events": [at(12, json!(9)), at(14, json!(7))]}));
    for (policy, expected) in [
        (json!("latest"), json!(7)),
        (json!("first"), json!(5)),
        (json!("max"), json!(9)),
        (json!("min"), json!(5)),
        (json!("union"), json!([5, 7, 9])),
        (json!({"source_order": ["crm", "web"]}), json!(5)),
    ] {
        session.ok(&json!({"do": "policy", "trait": "score", "policy": policy}));
        let profile = session.ok(&json!({"do": "profile", "id": "user_id:eve"}))["profile"].clone();
        assert_eq!(profile["traits"]["score"], expected, "{policy}");
        let found = session.ok(&json!({"do": "preview", "condition": {"trait": "score", "eq": expected}}));
        assert_eq!(found["count"], 1, "{policy}");
    }
}

#[test]
fn abandoned_carts_are_told_once_the_window_is_over() {
    let mut session = shop();
    let condition =
        json!({"sequence": [{"event": "Cart Filled"}, {"not": {"event": "Order"}}], "within": "1d"});
    session.ok(&json!({"do": "define", "segment": {"name": "abandoned", "condition": condition}}));
    assert_eq!(session.ok(&json!({"do": "members", "name": "abandoned"}))["count"], 0);
    session.ok(&json!({"do": "now", "at": "2024-05-21T10:00:00.000001Z"}));
    assert_eq!(session.ok(&json!({"do": "members", "name": "abandoned"}))["members"], json!(["user_id:bob"]));
    let before = json!({"do": "members", "name": "abandoned", "at": day(21)});
    assert_eq!(session.ok(&before)["count"], 0);
    // A late event that lies in the window undoes it.
    session.ok(&json!({"do": "ingest", "events": [
        {"type": "track", "event": "Order", "userId": "bob", "messageId": "late", "timestamp": "2024-05-20T12:00:00Z"}
    ]}));
    assert_eq!(session.ok(&json!({"do": "members", "name": "abandoned"}))["count"], 0);
}
