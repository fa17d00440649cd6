//! Putting the columns of sealed events in the order of people.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use rustc_hash::FxHashMap;

use super::super::MessageId;
use super::{Files, NewEvent, numbers};
use crate::clock::Timestamp;
use crate::event::Source;
use crate::identity::{Node, Numbers};
use crate::store::{Db, Watcher};

/// A writer whose sealed events are in the order of their arrival, though two nodes each are one person.
fn scattered(files: &Files, events: u32) -> (Db, Arc<Numbers>) {
    let db = files.writer();
    let source = db.source(&Source::default()).unwrap();
    let name = db.event_name("A").unwrap();
    for number in 0..events {
        let id = format!("id {number}");
        let at = Timestamp::from_micros(number.into());
        let (node, message_id) = (Node(number % 40), &MessageId::new(id));
        let new = NewEvent { node, at, name, source, message_id, json: "{}" };
        db.add_event(new).unwrap();
    }
    db.seal().unwrap();
    db.commit().unwrap();
    db.begin_write().unwrap();
    let people: Vec<Option<u32>> = (0..40).map(|node| Some(node % 20)).collect();
    (db, numbers(&people))
}

/// The events of each node, by their numbers.
fn by_node(db: &Db) -> Vec<Vec<u32>> {
    let own = |node| {
        let mut own: Vec<u32> = db.entries_of(node).unwrap().iter().map(|entry| entry.event).collect();
        own.sort_unstable();
        own
    };
    (0..40).map(own).collect()
}

#[test]
fn an_arranging_that_is_ended_leaves_what_was_there() {
    let files = Files::new(3_000);
    let (db, people) = scattered(&files, 1_500);
    let before = by_node(&db);
    // First it is looked whose events there are, and then all blocks are written anew.
    for most in [1_000, 2_000] {
        let watcher: Watcher = Arc::new(Mutex::new(move |seen| {
            if seen > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }));
        db.watch(Some(&watcher));
        assert!(db.arrange(&people).is_err());
        db.watch(None);
        db.rollback();
        db.begin_write().unwrap();
        assert_eq!(by_node(&db), before);
        assert_eq!(db.faults_of_log().unwrap(), []);
    }
    assert_eq!(db.arrange(&people).unwrap(), 1_500);
    db.commit().unwrap();
    db.begin_write().unwrap();
    assert_eq!(by_node(&db), before);
    assert_eq!(db.arrange(&people).unwrap(), 0, "once is enough");
}

/// Of somebody who was erased it is not even told which numbers were theirs.
#[test]
fn whoever_was_let_go_of_has_no_place_among_others() {
    let files = Files::new(3_000);
    let (db, people) = scattered(&files, 200);
    assert_eq!(db.arrange(&people).unwrap(), 200);
    // What was written as theirs and is another's by now stays.
    db.give_event(3, Some(Node(4))).unwrap();
    let gone: FxHashMap<i64, Option<&str>> = [3, 23]
        .into_iter()
        .flat_map(|node| (node..200).step_by(40))
        .filter(|event| *event != 3)
        .map(|event| (event, None))
        .collect();
    db.edit_events(&gone).unwrap();
    db.forget_ranks(&[Node(3), Node(23), Node(77)]).unwrap();
    db.commit().unwrap();
    drop(db);
    // Nor is it when people are put in order once more.
    for again in [false, true] {
        let db = files.writer();
        if again {
            let others: Vec<Option<u32>> = (0..40).map(|node| Some(node / 2)).collect();
            assert!(db.arrange(&numbers(&others)).unwrap() > 0);
        }
        has_no_place(&db);
    }
}

fn has_no_place(db: &Db) {
    let own = by_node(db);
    assert!(own[4].contains(&3));
    assert!(own.iter().enumerate().all(|(node, own)| own.is_empty() == [3, 23].contains(&node)));
    let order = Arc::clone(&db.log.borrow().order);
    let left: Vec<u32> = order.nodes(0..order.len()).flatten().collect();
    assert_eq!((order.len(), left.len()), (40, 38));
    assert!(!left.contains(&3) && !left.contains(&23));
    assert_eq!(db.faults_of_log().unwrap(), []);
}

/// What is missing, doubled, or says too much of itself is told, and costs no memory.
#[test]
fn ranks_that_are_damaged_are_told() {
    let files = Files::new(3_000);
    let (db, people) = scattered(&files, 200);
    assert_eq!(db.arrange(&people).unwrap(), 200);
    db.commit().unwrap();
    drop(db);
    let crc = |chunk: u32, count: u32, bytes: &[u8]| {
        super::super::read::checksum(&[&chunk.to_le_bytes(), &count.to_le_bytes(), bytes])
    };
    let mut zeros = Vec::new();
    super::super::pack::write([0_u64].into_iter(), &mut zeros);
    let row = |chunk: u32, count: u32| {
        let crc = crc(chunk, count, &zeros);
        format!("INSERT OR REPLACE INTO ranks VALUES ({chunk}, {count}, {crc}, zeroblob({}))", zeros.len())
    };
    for damage in [
        "DELETE FROM ranks".to_owned(),
        "DELETE FROM ranks WHERE chunk = 0".to_owned(),
        "DELETE FROM ranks WHERE chunk = 9".to_owned(),
        "UPDATE ranks SET count = count + 1".to_owned(),
        "UPDATE ranks SET bytes = substr(bytes, 2)".to_owned(),
        "UPDATE ranks SET chunk = chunk + 1 WHERE chunk = 9".to_owned(),
        // With sound checksums: more than there are, another number of them, and the same node in all places.
        row(10, 40),
        row(3, u32::MAX),
        format!("DELETE FROM ranks; {}", row(0, u32::MAX)),
        "UPDATE ranks SET bytes = (SELECT bytes FROM ranks WHERE chunk = 1)".to_owned(),
    ] {
        let db = files.writer();
        db.conn.execute_batch(&damage).unwrap();
        assert!(db.entries_of(0).is_err(), "{damage}");
        assert!(db.faults_of_log().is_err(), "{damage}");
        db.rollback();
    }
}
