//! The example `cdp`: the graph of identities, for programs and for people.

use serde_json::json;

use super::{Session, cdp};

/// Two people of two identifiers each, and a third who stands alone.
fn session() -> Session {
    let mut session = Session::with_two_people();
    session.ok(&json!({"do": "ingest", "source": "app", "events": [
        {"type": "page", "userId": "xm", "anonymousId": "d7", "messageId": "m5",
         "timestamp": "2024-05-01T09:00:00Z"},
        {"type": "page", "userId": "u3", "anonymousId": "d8", "messageId": "m6",
         "timestamp": "2024-05-06T10:00:00Z"},
    ]}));
    session
}

#[test]
fn the_graph_of_everyone_is_told_by_its_shape() {
    let mut session = session();
    let graph = session.ok(&json!({"do": "graph", "limit": 1}));
    let evidence = |source: &str, id: &str, at: &str| {
        json!({"a": "user_id:xm", "b": "anonymous_id:d7", "message_id": id, "source": source,
            "first_seen": at, "last_seen": at, "count": 1})
    };
    let expected = json!({
        "identifiers": 5, "links": 3, "components": 3, "sizes": [2],
        "hubs": [{"identifier": "user_id:u3", "degree": 1, "outlier": false, "pairs": 0, "parts": 1, "sizes": [1]}],
        "bridges": [{"a": "user_id:u3", "b": "anonymous_id:d8", "sizes": [1, 1], "links": graph["bridges"][0]["links"]}],
    });
    assert_eq!(graph, expected);
    let bridges = session.ok(&json!({"do": "graph"}))["bridges"].clone();
    assert_eq!(
        bridges[1]["links"],
        json!([evidence("app", "m5", "2024-05-01T09:00:00Z"), evidence("web", "m1", "2024-05-02T10:00:00Z")])
    );
}

#[test]
fn the_graph_of_a_person_is_told_whole_and_drawn() {
    let mut session = session();
    let graph = session.ok(&json!({"do": "graph", "id": "anonymous_id:d7"}));
    assert_eq!(graph["nodes"], json!(["user_id:xm", "anonymous_id:d7"]));
    assert_eq!(
        (&graph["identifiers"], &graph["links"], &graph["components"]),
        (&json!(2), &json!(2), &json!(1))
    );
    assert_eq!(graph["edges"].as_array().unwrap().len(), 2);
    let dot = graph["dot"].as_str().unwrap();
    assert!(dot.contains("[label=\"user_id\\n***\"]") && dot.contains("app ×1\\n2024-05-01"), "{dot}");
    let clear = session.ok(&json!({"do": "graph", "id": "anonymous_id:d7", "unmasked": true}))["dot"].clone();
    assert_eq!(clear, dot.replacen("***", "xm", 1).replacen("***", "d7", 1));
    let nobody = session.ok(&json!({"do": "graph", "id": "user_id:u9"}));
    assert_eq!((&nobody["nodes"], &nobody["sizes"]), (&json!([]), &json!([])));
    assert_eq!(session.error(r#"{"do":"graph","id":"u9"}"#).0, "not_an_id");
}

#[test]
fn people_read_the_shape_or_pipe_the_picture() {
    let session = session();
    let print = |arguments: &[&str]| {
        let mut command = cdp();
        command.current_dir(session.folder.path()).args(["--db", "test.db", "graph"]).args(arguments);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, shape) = print(&["--limit", "2"]);
    assert_eq!(status, Some(0));
    assert!(
        shape.starts_with("identifiers  5\nlinks        3\ncomponents   3\nthe largest  2 2\n"),
        "{shape}"
    );
    assert!(shape.contains("  user_id:u3  –  anonymous_id:d8  1 and 1  the first m6\n"), "{shape}");
    let (_, person) = print(&["user_id:xm"]);
    assert!(person.contains("1 of web  from 2024-05-02T10:00:00Z\n"), "{person}");
    let (_, dot) = print(&["user_id:xm", "--dot"]);
    assert!(dot.starts_with("graph identity {\n") && dot.ends_with("}\n") && !dot.contains("xm"), "{dot}");
    assert!(print(&["user_id:xm", "--dot", "--unmasked"]).1.contains("user_id\\nxm"));
    assert_eq!(print(&["--unmasked"]).0, Some(2), "nothing else is masked");
}
