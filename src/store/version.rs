//! Which commit a file is at, for handles in other processes to tell that there was another.

use rusqlite::OptionalExtension;

use super::{Db, Result};

/// The counter of commits that appended no event.
const VERSION: &str = "version";

/// A commit. One that appends events is told by where the log ends, which never goes back: to count it as well would cost each
/// a page of the file more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Version {
    counted: i64,
    end: i64,
}

impl Db {
    /// The commit that the transaction under way sees.
    pub(crate) fn version(&self) -> Result<Version> {
        let sql = "SELECT first + span FROM log ORDER BY first DESC LIMIT 1";
        let end: Option<i64> = self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
        Ok(Version { counted: self.counter(VERSION)?, end: end.unwrap_or(0) })
    }

    /// The commit that the transaction under way is going to be, after another.
    pub(crate) fn next_version(&self, before: Version) -> Result<Version> {
        if let Some(end) = self.log.borrow().appended() {
            return Ok(Version { end, ..before });
        }
        let counted = before.counted + 1;
        self.set(VERSION, counted)?;
        Ok(Version { counted, ..before })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::event::Source;
    use crate::identity::Node;
    use crate::store::{Access, MessageId, NewEvent, Place, Shared};

    #[test]
    fn every_commit_is_another_and_events_are_not_counted() {
        let shared = Arc::new(Shared::new(1_000, 0));
        let db = Db::open(&Place::Memory, Access::Write { full: false, max_bytes: None }, &shared).unwrap();
        db.begin_write().unwrap();
        let mut before = db.version().unwrap();
        assert_eq!(before, Version::default());
        for (step, events) in [0_u32, 1, 3, 0, 0, 40, 1].into_iter().enumerate() {
            let source = db.source(&Source::default()).unwrap();
            let name = db.event_name("A").unwrap();
            for number in 0..events {
                let message_id = &MessageId::new(format!("{step}-{number}"));
                let (node, at) = (Node(0), Timestamp::EARLIEST);
                db.add_event(NewEvent { node, at, name, source, message_id, json: "{}" }).unwrap();
            }
            let next = db.next_version(before).unwrap();
            assert_eq!(next.counted - before.counted, i64::from(events == 0), "{step}");
            db.commit().unwrap();
            db.begin_write().unwrap();
            assert_eq!(db.version().unwrap(), next, "{step}");
            assert_ne!(next, before, "{step}");
            before = next;
        }
        // What was taken back was no commit.
        let (source, name) = (db.source(&Source::default()).unwrap(), db.event_name("A").unwrap());
        let (node, at, message_id) = (Node(0), Timestamp::EARLIEST, &MessageId::new("gone"));
        db.add_event(NewEvent { node, at, name, source, message_id, json: "{}" }).unwrap();
        db.rollback();
        db.begin_write().unwrap();
        assert_eq!(db.version().unwrap(), before);
        assert_eq!(db.next_version(before).unwrap(), Version { counted: before.counted + 1, ..before });
    }
}
