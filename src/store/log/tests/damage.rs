//! Pieces of the log whose bytes are others than those that were written.

use super::super::{Look, MessageId};
use super::{Files, NewEvent};
use crate::clock::Timestamp;
use crate::event::Source;
use crate::identity::Node;

/// A byte that flips in any piece is found, and told with where it is.
#[test]
fn damage_is_told_with_its_place() {
    let files = Files::new(10);
    let db = files.writer();
    let source = db.source(&Source::default()).unwrap();
    let name = db.event_name("A").unwrap();
    for number in 0..25 {
        let (id, json) = (format!("id {number}"), format!("{{\"n\":{number}}}"));
        let (node, at) = (Node(number % 3), Timestamp::EARLIEST);
        db.add_event(NewEvent { node, at, name, source, message_id: &MessageId::new(id), json: &json })
            .unwrap();
    }
    db.commit().unwrap();
    drop(db);
    let damages = [("log", "bytes"), ("blocks", "bytes"), ("message_ids", "bytes"), ("log", "span")];
    for (table, column) in damages {
        let db = files.writer();
        let change = match column {
            "span" => {
                format!("UPDATE {table} SET span = span + 1 WHERE rowid = (SELECT min(rowid) FROM {table})")
            }
            _ => format!(
                "UPDATE {table} SET {column} = CAST(substr({column}, 1, length({column}) - 1)
                 || CASE substr({column}, -1) WHEN x'00' THEN x'01' ELSE x'00' END AS BLOB)
                 WHERE rowid = (SELECT min(rowid) FROM {table})"
            ),
        };
        assert_eq!(db.conn.execute(&change, []).unwrap(), 1);
        let faults = db.faults_of_log().unwrap();
        assert!(faults.iter().any(|(where_, _)| *where_ == table), "{table}.{column}: {faults:?}");
        let asked = [
            db.event(0).map(|_| ()),
            db.events_of(
                &[Node(0)],
                &Look { wanted: &|_| true, opened: &|_| true, known: &|_| false },
                |_| {},
            ),
            db.event_with_id(&MessageId::new("id 0")).map(|_| ()),
            db.event_with_id(&MessageId::new("id 1")).map(|_| ()),
        ];
        assert!(asked.iter().any(Result::is_err) || table == "message_ids", "{table}.{column}");
        db.rollback();
    }
}
