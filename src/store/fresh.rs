//! Rows that were appended to a table in the order in which they came, and are not yet where they are looked for.
//!
//! To bring each row to its place when it comes would cost nearly each a page of the file, and more pages the more is held.
//! So they are brought home many at once, in the order of the places; until then each connection keeps in memory where those
//! are that it has to look at as well.

use std::cell::RefCell;
use std::collections::BTreeSet;

use rusqlite::Row;

use super::{Db, Result};
use crate::identity::Node;

/// A row that is not home: the node under which it is looked for, what it is looked for in the order of, and its number.
pub(super) type Place = (u32, i64, i64);

/// Which rows wait: the counter that rises when some of those that a connection may know are others now, are home or gone; what
/// gives the rows that came after a number, the number first; and where each is looked for.
pub(super) struct Waiting {
    pub(super) counter: &'static str,
    /// In order of their numbers.
    pub(super) later: &'static str,
    pub(super) places: fn(&Row<'_>, &mut Vec<Place>) -> rusqlite::Result<()>,
}

/// The rows of one table that are not home, as far as a connection knows of them.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// What the counter said.
    departures: i64,
    /// The last row that is known, or is home. `None` before any is.
    last: Option<i64>,
    places: BTreeSet<Place>,
    /// Whether all that there is in the transaction under way is known.
    current: bool,
    /// Whether the transaction under way has changed anything, so that what is known is worth nothing if it is taken back.
    changed: bool,
    /// Whether it has told the others so, by the counter.
    told: bool,
}

impl Fresh {
    /// The rows of a node, in order: by what, and the number.
    pub(super) fn of(&self, node: Node) -> impl DoubleEndedIterator<Item = (i64, i64)> + '_ {
        let own = self.places.range((node.0, i64::MIN, i64::MIN)..=(node.0, i64::MAX, i64::MAX));
        own.map(|(_, by, number)| (*by, *number))
    }

    /// All rows, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> + Clone {
        self.places.iter()
    }

    /// Whether a row with such a number may be among those that were looked at already.
    pub(super) fn is_past(&self, number: i64) -> bool {
        self.last.is_some_and(|last| number <= last)
    }

    /// Puts a row where it belongs among those that were looked at already.
    pub(super) fn put(&mut self, place: Place) {
        self.places.insert(place);
    }

    /// Takes a row away.
    pub(super) fn remove(&mut self, place: Place) {
        self.places.remove(&place);
    }

    /// The transaction has appended rows.
    pub(super) fn appended(&mut self) {
        (self.current, self.changed) = (false, true);
    }

    /// A transaction begins: another connection may have written in between.
    pub(super) fn look_again(&mut self) {
        self.current = false;
    }

    /// The transaction is committed.
    pub(super) fn committed(&mut self) {
        (self.changed, self.told) = (false, false);
    }

    /// The transaction is taken back. Gives whether it had changed anything.
    pub(super) fn rolled_back(&mut self) -> bool {
        let changed = self.changed;
        if changed {
            *self = Self::default();
        }
        self.look_again();
        changed
    }

    fn learn(&mut self, new: Vec<Place>) {
        if new.len() > self.places.len() / 8 {
            self.places.append(&mut new.into_iter().collect());
        } else {
            self.places.extend(new);
        }
    }
}

impl Db {
    /// Learns which rows wait by now: if nothing is known yet, or not any more, those after the last one that is `home`.
    pub(super) fn catch_up_on(
        &self,
        fresh: &RefCell<Fresh>,
        waiting: &Waiting,
        home: impl Fn(&Self) -> Result<i64>,
    ) -> Result<()> {
        let mut fresh = fresh.borrow_mut();
        if fresh.current {
            return Ok(());
        }
        let departures = self.counter(waiting.counter)?;
        let mut last = match fresh.last {
            Some(last) if fresh.departures == departures => last,
            _ => {
                *fresh = Fresh { departures, changed: fresh.changed, told: fresh.told, ..Fresh::default() };
                home(self)?
            }
        };
        let mut select = self.conn.prepare_cached(waiting.later)?;
        let mut rows = select.query([last])?;
        let mut new = Vec::new();
        while let Some(row) = rows.next()? {
            (waiting.places)(row, &mut new)?;
            last = row.get(0)?;
        }
        fresh.learn(new);
        fresh.last = Some(last);
        fresh.current = self.is_writing();
        Ok(())
    }

    /// Tells every other connection that rows which it may know are not what they were. What is known here is right already.
    pub(super) fn note_change(&self, fresh: &RefCell<Fresh>, waiting: &Waiting) -> Result<()> {
        if fresh.borrow().told {
            return Ok(());
        }
        let departures = self.counter(waiting.counter)?.wrapping_add(1);
        self.set(waiting.counter, departures)?;
        let mut fresh = fresh.borrow_mut();
        (fresh.departures, fresh.changed, fresh.told) = (departures, true, true);
        Ok(())
    }

    /// The same, and that of the rows up to the `last` only those wait still that are known here and of which `stays` says so.
    pub(super) fn note_departure(
        &self,
        fresh: &RefCell<Fresh>,
        waiting: &Waiting,
        last: i64,
        stays: impl FnMut(&Place) -> bool,
    ) -> Result<()> {
        self.note_change(fresh, waiting)?;
        let mut fresh = fresh.borrow_mut();
        fresh.last = Some(last);
        fresh.places.retain(stays);
        Ok(())
    }
}
