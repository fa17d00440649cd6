//! What is done now and then: events dropped that were kept long enough, and files put in order.

use super::Cdp;
use crate::error::{Error, Result};
use crate::pipeline::retain::{retain, rules};
use crate::privacy::{Maintenance, RetentionRule};
use crate::store::{self, Db, Place};
use crate::value::nfc;

/// The file is written anew if this share of it is free pages, and so many bytes at least.
const FREE_SHARE: u64 = 4;
const FREE_BYTES: u64 = 1 << 20;

impl Cdp {
    /// Puts a rule in force that says how long events are kept, in place of one of that name.
    /// [`maintain`](Self::maintain) applies it.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if it makes no sense, or what the storage says.
    pub fn retain(&self, rule: RetentionRule) -> Result<()> {
        rule.check()?;
        self.change(|definer| Ok((Some(definer.retention(&rule)?), ())))
    }

    /// Lifts a rule that says how long events are kept. False if there is none of that name.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn lift_retention(&self, name: &str) -> Result<bool> {
        let name = nfc(name);
        self.change(|definer| {
            let change = definer.lift_retention(&name)?;
            let found = change.is_some();
            Ok((change, found))
        })
    }

    /// The rules that say how long events are kept, by name.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn retention_rules(&self) -> Result<Vec<RetentionRule>> {
        self.read(|db, _| rules(db))
    }

    /// Does what is to be done now and then, once a day say: moves those out of segments whose time is up, drops events that
    /// were kept as long as they may be, seals into columns what waits for it, puts together in the log what came a few events
    /// at a time, puts the columns in the order of people where many have joined since that was last done, brings evidence to
    /// its place, completes erasures, writes the file anew if a quarter of it is free, and empties the write-ahead log.
    ///
    /// What a retention rule drops leaves everything as if it had never come: identifiers that no other event bears, traits,
    /// joins and memberships go with it. Only its message id stays known, as a keyed hash: an import that is done again
    /// does not bring it back. Decisions on consent stay, and so does whatever a hand has named.
    ///
    /// # Errors
    ///
    /// What the storage says. What was done before stays.
    pub fn maintain(&self) -> Result<Maintenance> {
        let mut done = Maintenance::default();
        self.apply_retention(&mut done)?;
        self.seal(&mut done)?;
        self.gather(&mut done)?;
        self.arrange(&mut done)?;
        self.bring_home(Db::bring_links_home)?;
        self.bring_home(Db::bring_traits_home)?;
        self.tidy(&mut done)?;
        Ok(done)
    }

    fn apply_retention(&self, done: &mut Maintenance) -> Result<()> {
        let mut turn = self.turn()?;
        let new_id = || self.new_profile_id();
        let (change, pruned) = {
            let (db, state) = (turn.db(), self.state());
            retain(db, &state, &rules(db)?, self.now(), &new_id)?
        };
        turn.clear_desk();
        turn.publish(|state| state.apply(change))?;
        (done.retained, done.identifiers) = (pruned.dropped.len() as u64, pruned.forgotten);
        Ok(())
    }

    /// Seals what is not sealed, and writes down for good whose the events are that have moved.
    fn seal(&self, done: &mut Maintenance) -> Result<()> {
        let turn = self.turn()?;
        done.settled = turn.db().settle_moves()? as u64;
        done.sealed = turn.db().seal()? as u64;
        turn.publish(|_| {})
    }

    /// Puts together what came a few events at a time, unless there is no room to do it in: it can wait.
    fn gather(&self, done: &mut Maintenance) -> Result<()> {
        loop {
            let turn = self.turn()?;
            let gather = || -> Result<Option<u64>> {
                let gathered = turn.db().gather()?;
                if gathered.is_some() {
                    turn.publish(|_| {})?;
                }
                Ok(gathered)
            };
            match unless_full(gather())?.flatten() {
                Some(gathered) => done.gathered += gathered,
                None => return Ok(()),
            }
        }
    }

    /// Puts sealed events in the order of people, unless there is no room to do it in: it can wait.
    fn arrange(&self, done: &mut Maintenance) -> Result<()> {
        let turn = self.turn()?;
        let numbers = self.state().identities.partition.numbers(&mut || Ok::<_, Error>(()))?;
        let arrange = || -> Result<u64> {
            let arranged = turn.db().arrange(&numbers)?;
            if arranged > 0 {
                turn.publish(|_| {})?;
            }
            Ok(arranged as u64)
        };
        done.arranged = unless_full(arrange())?.unwrap_or(0);
        Ok(())
    }

    /// Brings rows to where they are looked for, unless there is no room to do it in: it can wait.
    fn bring_home(&self, rows: impl FnOnce(&Db) -> store::Result<bool>) -> Result<()> {
        let turn = self.turn()?;
        let bring = || if rows(turn.db())? { turn.publish(|_| {}) } else { Ok(()) };
        unless_full(bring()).map(drop)
    }

    /// Puts the files in order.
    fn tidy(&self, done: &mut Maintenance) -> Result<()> {
        let turn = self.next_turn()?;
        let db = turn.db();
        let (before, free) = db.bytes_and_free()?;
        let waiting = db.erasures_waiting()?;
        done.wal_bytes = self.wal_bytes();
        if self.complete(db)? {
            done.erasures = waiting;
        } else {
            done.waiting = waiting;
        }
        if let Place::File(..) = self.inner.place {
            let is_loose = free >= FREE_BYTES && free >= before / FREE_SHARE;
            if is_loose && waiting == 0 && db.truncate_wal()? {
                db.rewrite()?;
            }
            db.truncate_wal()?;
        }
        done.wal_bytes -= done.wal_bytes.min(self.wal_bytes());
        done.pages_freed = before.saturating_sub(db.bytes_and_free()?.0) / db.page_size()?;
        Ok(())
    }
}

/// Nothing, where there was no room to do what can wait.
fn unless_full<T>(done: Result<T>) -> Result<Option<T>> {
    match done {
        Err(Error::Full) => Ok(None),
        done => done.map(Some),
    }
}
