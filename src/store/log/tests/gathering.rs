//! The log of somebody who commits each event by itself.

use rustc_hash::FxHashMap;

use super::super::MessageId;
use super::{Access, Files, NewEvent};
use crate::clock::Timestamp;
use crate::event::Source;
use crate::identity::Node;
use crate::store::Db;

fn json(number: u32) -> String {
    format!(r#"{{"type":"track","event":"A","userId":"u{}","properties":{{"n":{number}}}}}"#, number % 7)
}

/// Commits events, so many at a time.
fn add(db: &Db, numbers: std::ops::Range<u32>, at_once: usize) {
    let (source, name) = (db.source(&Source::default()).unwrap(), db.event_name("A").unwrap());
    for some in numbers.collect::<Vec<_>>().chunks(at_once) {
        for number in some {
            let (message_id, json) = (&MessageId::new(format!("id {number}")), json(*number));
            let (node, at) = (Node(number % 7), Timestamp::from_micros(i64::from(*number)));
            db.add_event(NewEvent { node, at, name, source, message_id, json: &json }).unwrap();
        }
        db.commit().unwrap();
        db.begin_write().unwrap();
    }
}

/// The ranges of numbers that the rows of the log cover.
fn rows(db: &Db) -> Vec<(u32, u32)> {
    let mut select = db.conn.prepare("SELECT first, first + span FROM log ORDER BY first").unwrap();
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

fn gather(db: &Db) -> u64 {
    std::iter::from_fn(|| db.gather().unwrap()).sum()
}

#[test]
fn what_came_one_by_one_lies_together_once_it_is_sealed() {
    let files = Files::new(100);
    let db = files.writer();
    // No more than a row has without a dictionary, ten of which are rewritten at once.
    add(&db, 0..130, 1);
    let (sealed, single): (Vec<_>, Vec<_>) = rows(&db).into_iter().partition(|row| row.1 <= 100);
    assert_eq!((sealed.len(), single.len()), (100, 30));
    let reader = files.open(Access::Read);
    let look = |number: u32| {
        reader.begin_read().unwrap();
        assert_eq!(reader.event(number.into()).unwrap().json, json(number));
        reader.rollback();
    };
    (0..130).step_by(3).for_each(look);
    assert_eq!(gather(&db), 100);
    assert_eq!(
        rows(&db)[..11],
        [
            (0, 10),
            (10, 20),
            (20, 30),
            (30, 40),
            (40, 50),
            (50, 60),
            (60, 70),
            (70, 80),
            (80, 90),
            (90, 100),
            (100, 101)
        ]
    );
    db.commit().unwrap();
    (0..130).for_each(look);
    db.begin_write().unwrap();
    // What was looked at is left alone, and so is what is not sealed.
    let before = rows(&db);
    assert_eq!((gather(&db), rows(&db)), (0, before));
    // Those that came together are as they are to be.
    add(&db, 130..160, 5);
    db.seal().unwrap();
    let before = rows(&db);
    assert_eq!(gather(&db), 30);
    assert_eq!(rows(&db)[..10], before[..10]);
    assert_eq!(rows(&db)[10..13], [(100, 110), (110, 120), (120, 130)]);
    assert_eq!(rows(&db)[13..], before[40..]);
    (0..160).for_each(|number| assert_eq!(db.event(number.into()).unwrap().json, json(number)));
    assert_eq!(db.faults_of_log().unwrap(), []);
}

#[test]
fn numbers_of_events_that_are_gone_stay_covered() {
    let files = Files::new(1_000);
    let db = files.writer();
    add(&db, 0..40, 1);
    let gone = [0, 1, 2, 9, 10, 19, 33, 38, 39];
    db.edit_events(&gone.into_iter().map(|number| (number, None)).collect::<FxHashMap<i64, Option<&str>>>())
        .unwrap();
    db.seal().unwrap();
    assert_eq!(gather(&db), 40);
    assert_eq!(rows(&db), [(0, 10), (10, 20), (20, 30), (30, 40)]);
    for number in 0..40_u32 {
        let found = db.event_with_id(&MessageId::new(format!("id {number}"))).unwrap();
        assert_eq!(found, Some(number).filter(|number| !gone.contains(&i64::from(*number))));
    }
    // All of a row's.
    let all = (0..40).filter(|number| !gone.contains(number)).map(|number| (number, None));
    db.edit_events(&all.collect::<FxHashMap<i64, Option<&str>>>()).unwrap();
    assert_eq!(rows(&db).last(), Some(&(30, 40)));
    add(&db, 40..43, 1);
    assert_eq!(db.event(42).unwrap().json, json(42));
    assert_eq!(db.faults_of_log().unwrap(), []);
}

/// What does not compress, and what is large, is no better off with others.
#[test]
fn large_events_stay_alone() {
    let files = Files::new(1_000);
    let db = files.writer();
    let (source, name) = (db.source(&Source::default()).unwrap(), db.event_name("A").unwrap());
    for number in 0..4_u32 {
        let (message_id, json) = (&MessageId::new(format!("id {number}")), "x".repeat(1_500));
        let (node, at) = (Node(0), Timestamp::from_micros(i64::from(number)));
        db.add_event(NewEvent { node, at, name, source, message_id, json: &json }).unwrap();
        db.commit().unwrap();
        db.begin_write().unwrap();
    }
    db.seal().unwrap();
    assert_eq!((gather(&db), rows(&db).len()), (0, 4));
}

/// Whoever reads a damaged row is told; that is no reason to leave the others as they are.
#[test]
fn a_damaged_row_is_left_and_the_others_are_gathered() {
    let files = Files::new(1_000);
    let db = files.writer();
    add(&db, 0..40, 1);
    db.seal().unwrap();
    db.conn.execute("UPDATE log SET crc = crc + 1 WHERE first = 15", []).unwrap();
    assert_eq!(gather(&db), 30);
    assert_eq!(rows(&db).len(), 3 + 10);
    assert_ne!(db.faults_of_log().unwrap(), []);
    assert_eq!(db.event(16).unwrap().json, json(16));
    assert!(db.event(15).is_err());
}
