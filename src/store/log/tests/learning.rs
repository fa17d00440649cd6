//! The log once it has learned what its events have in common.

use super::super::MessageId;
use super::{Access, Files, NewEvent};
use crate::clock::Timestamp;
use crate::event::Source;
use crate::identity::Node;
use crate::store::Db;

/// Once there are events to learn from, single ones are small; whoever reads them has the dictionary, too.
#[test]
fn a_log_that_has_learned_is_read_by_everyone() {
    let files = Files::new(2_500);
    let db = files.writer();
    let source = db.source(&Source::default()).unwrap();
    let name = db.event_name("A").unwrap();
    let json = |number: u32| {
        let user = number % 700;
        format!(
            r#"{{"type":"track","event":"Product Viewed","userId":"u{user}","properties":{{"n":{number}}}}}"#
        )
    };
    let add = |db: &Db, number: u32| {
        let (id, json) = (format!("id {number}"), json(number));
        let at = Timestamp::from_micros(number.into());
        let (node, message_id) = (Node(number % 700), &MessageId::new(id));
        let new = NewEvent { node, at, name, source, message_id, json: &json };
        db.add_event(new).unwrap();
    };
    let ways = |db: &Db| -> Vec<(u8, u32)> {
        let mut select = db.conn.prepare("SELECT substr(bytes, 1, 1), span FROM log ORDER BY first").unwrap();
        let rows = select.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?[0], row.get(1)?))).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    };
    (0..1_000).for_each(|number| add(&db, number));
    db.commit().unwrap();
    assert!(ways(&db).iter().all(|way| way.0 != 2), "{:?}", ways(&db));
    let reader = files.open(Access::Read);
    reader.begin_read().unwrap();
    assert_eq!(reader.event(7).unwrap().json, json(7));
    reader.rollback();
    db.begin_write().unwrap();
    (1_000..3_000).for_each(|number| add(&db, number));
    db.rollback();
    db.begin_write().unwrap();
    assert_eq!(db.dictionary().unwrap(), None, "what was taken back is not learned");
    assert!(db.log.borrow().training.is_none(), "nor is it later");
    (1_000..3_000).for_each(|number| add(&db, number));
    db.commit().unwrap();
    // It is made beside what is written, and there is one with the first event after that.
    let mut last = 3_000;
    while db.dictionary().unwrap().is_none() {
        assert!(last < 6_000, "it is not made");
        std::thread::sleep(std::time::Duration::from_millis(5));
        db.begin_write().unwrap();
        add(&db, last);
        db.commit().unwrap();
        last += 1;
    }
    db.begin_write().unwrap();
    add(&db, last);
    db.commit().unwrap();
    assert_eq!(ways(&db).last(), Some(&(2, 1)), "a single event, with the dictionary");
    reader.begin_read().unwrap();
    for db in [&reader, &files.writer()] {
        for number in [0, 999, 1_000, 2_400, 2_600, 2_999, 3_000, last] {
            assert_eq!(db.event(number.into()).unwrap().json, json(number));
        }
        assert_eq!(db.faults_of_log().unwrap(), []);
    }
}

/// Whoever writes and is gone at once leaves it to the next one to learn, who does so before anything else.
#[test]
fn short_lived_writers_learn_too() {
    let files = Files::new(10_000);
    let add = |numbers: std::ops::Range<u32>| {
        let db = files.writer();
        let source = db.source(&Source::default()).unwrap();
        let name = db.event_name("A").unwrap();
        for number in numbers {
            let (id, json) =
                (format!("id {number}"), format!(r#"{{"event":"Product Viewed","n":{number}}}"#));
            let at = Timestamp::from_micros(number.into());
            let (node, message_id) = (Node(number % 700), &MessageId::new(id));
            let new = NewEvent { node, at, name, source, message_id, json: &json };
            db.add_event(new).unwrap();
        }
        db.commit().unwrap();
        db.dictionary().unwrap().is_some()
    };
    add(0..2_050);
    assert!(add(2_050..2_051));
}
