//! Which events asserted something of a node: the table `traits_by_node`, and what waits to be brought into it.
//!
//! Rows of `traits` come in the order of events, of anybody. An index by whose they are would cost nearly each of them a page, of
//! which there are thousands once many people have said something: half of what a commit wrote at ten million events. So the
//! index is a table of its own, into which rows are brought many at once.

use std::ops::ControlFlow;

use rusqlite::OptionalExtension;

use super::fresh::{Place, Waiting};
use super::packed::damaged;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::Node;

/// The setting that says from which event on rows wait.
const HOME: &str = "traits_home";

/// Rows are brought home once they are one to so many that are: nearly every page of the index is then written anew, and that
/// must not become more of the work the more of them there are.
const SHARE: u64 = 16;

/// Or once they are so many: whoever reads keeps their places in memory. Nor are more of them sorted at once.
const MOST: u64 = 1 << 18;

/// The setting that says how many rows were brought home, whether they are there still or not.
const INDEXED: &str = "traits_indexed";

/// Rows that wait, by node and time.
const WAITING: Waiting = Waiting {
    counter: "traits_moved",
    later: "SELECT event, node, at FROM traits WHERE event > ?1 ORDER BY event",
    places: |row, places| {
        places.push((row.get(1)?, row.get(2)?, row.get(0)?));
        Ok(())
    },
};

/// What the writer knows of rows that wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unindexed {
    /// The number of the first event whose row waits, or may.
    home: i64,
    /// No event from here on has a row, or had one that anybody may know.
    next: i64,
    /// How many rows wait, about, and at how many they are brought home.
    rows: u64,
    enough: u64,
}

impl Db {
    /// From which event on rows wait, and how many do. Asked before a row is added or taken away.
    pub(super) fn unindexed(&self) -> Result<Unindexed> {
        if let Some(known) = self.unindexed.get() {
            return Ok(known);
        }
        let home = self.counter(HOME)?;
        let mut count = self
            .conn
            .prepare_cached("SELECT count(*), coalesce(max(event), -1) FROM traits WHERE event >= ?1")?;
        let (rows, highest): (u64, i64) = count.query_row([home], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let indexed = u64::try_from(self.counter(INDEXED)?).unwrap_or(0);
        let least = self.log.borrow().shared.seal_every as u64 / SHARE;
        let enough = least.max(indexed / SHARE).clamp(1, MOST);
        let unindexed = Unindexed { home, next: home.max(highest.saturating_add(1)), rows, enough };
        self.unindexed.set(Some(unindexed));
        Ok(unindexed)
    }

    /// Notes that an event has a row in `traits`, of which it was `known` before what waits.
    pub(super) fn index_assertion(
        &self,
        known: Unindexed,
        (node, at, event): (Node, Timestamp, i64),
    ) -> Result<()> {
        if event < known.home {
            return self.put_in_index(node, at.as_micros(), event);
        }
        let next = known.next.max(event.saturating_add(1));
        self.unindexed.set(Some(Unindexed { rows: known.rows + 1, next, ..known }));
        self.fresh_traits.borrow_mut().appended();
        if event >= known.next {
            return Ok(());
        }
        // An event that is told anew: nobody who knows the rows up to some later one would come upon it.
        self.wait_anew((node.0, at.as_micros(), event))
    }

    fn put_in_index(&self, node: Node, at: i64, event: i64) -> Result<()> {
        let mut insert =
            self.conn.prepare_cached("INSERT OR IGNORE INTO traits_by_node VALUES (?1, ?2, ?3)")?;
        insert.execute((node.0, at, event))?;
        Ok(())
    }

    /// Notes a row that waits where it was not looked for until now.
    fn wait_anew(&self, place: Place) -> Result<()> {
        {
            let mut fresh = self.fresh_traits.borrow_mut();
            if fresh.is_past(place.2) {
                fresh.put(place);
            }
        }
        self.note_change(&self.fresh_traits, &WAITING)
    }

    /// Gives what an event asserted, if it did, to another node.
    pub(super) fn move_assertion(&self, event: i64, to: Node) -> Result<()> {
        let mut select = self.conn.prepare_cached("SELECT node, at FROM traits WHERE event = ?1")?;
        let found = select.query_row([event], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((from, at)): Option<(u32, i64)> = found else { return Ok(()) };
        let mut update = self.conn.prepare_cached("UPDATE traits SET node = ?1 WHERE event = ?2")?;
        update.execute((to.0, event))?;
        if event < self.unindexed()?.home {
            let sql = "DELETE FROM traits_by_node WHERE (node, at, event) = (?1, ?2, ?3)";
            self.conn.prepare_cached(sql)?.execute((from, at, event))?;
            return self.put_in_index(to, at, event);
        }
        self.fresh_traits.borrow_mut().remove((from, at, event));
        self.wait_anew((to.0, at, event))
    }

    /// Forgets what was asserted of some nodes.
    pub(super) fn forget_traits_of(&self, nodes: &[Node]) -> Result<()> {
        self.catch_up_on_traits()?;
        let known = self.unindexed()?;
        let mut select = self.conn.prepare_cached("SELECT event FROM traits_by_node WHERE node = ?1")?;
        let mut unlist = self.conn.prepare_cached("DELETE FROM traits_by_node WHERE node = ?1")?;
        let mut delete = self.conn.prepare_cached("DELETE FROM traits WHERE event = ?1")?;
        let mut fresh = Vec::new();
        for node in nodes {
            let home: Vec<i64> =
                select.query_map([node.0], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            unlist.execute([node.0])?;
            let waiting = self.fresh_traits.borrow();
            let before = fresh.len();
            fresh.extend(waiting.of(*node).map(|(at, event)| (node.0, at, event)));
            for event in home.iter().chain(fresh[before..].iter().map(|(.., event)| event)) {
                delete.execute([event])?;
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.unindexed.set(Some(Unindexed { rows: known.rows.saturating_sub(fresh.len() as u64), ..known }));
        for place in fresh {
            self.fresh_traits.borrow_mut().remove(place);
        }
        self.note_change(&self.fresh_traits, &WAITING)
    }

    /// Forgets everything that was asserted.
    pub(super) fn forget_traits(&self) -> Result<()> {
        self.conn.execute("DELETE FROM traits", [])?;
        self.conn.execute("DELETE FROM traits_by_node", [])?;
        self.set(INDEXED, 0)?;
        self.set_home(0)
    }

    /// Notes that no row waits, until an event from `home` on has one.
    fn set_home(&self, home: i64) -> Result<()> {
        self.set(HOME, home)?;
        self.unindexed.set(None);
        self.note_departure(&self.fresh_traits, &WAITING, home.saturating_sub(1), |_| false)
    }

    /// Brings rows into the index if many wait.
    pub(crate) fn bring_many_traits_home(&self) -> Result<()> {
        let Unindexed { rows, enough, .. } = self.unindexed()?;
        if rows >= enough {
            self.bring_traits_home()?;
        }
        Ok(())
    }

    /// Brings rows into the index. False if none wait.
    pub(crate) fn bring_traits_home(&self) -> Result<bool> {
        let start = self.unindexed()?.home;
        let mut last = self.conn.prepare_cached(
            "SELECT max(event) FROM (SELECT event FROM traits WHERE event >= ?1 ORDER BY event LIMIT ?2)",
        )?;
        let mut insert = self.conn.prepare_cached(
            "INSERT OR IGNORE INTO traits_by_node
             SELECT node, at, event FROM traits WHERE event BETWEEN ?1 AND ?2 ORDER BY node, at, event",
        )?;
        let (mut home, mut indexed) = (start, self.counter(INDEXED)?);
        while let Some(last) = last.query_row((home, MOST), |row| row.get::<_, Option<i64>>(0))? {
            let brought = insert.execute((home, last))?;
            indexed = indexed.saturating_add(i64::try_from(brought).unwrap_or(0));
            home = last.saturating_add(1);
        }
        if home == start {
            return Ok(false);
        }
        self.set(INDEXED, indexed)?;
        self.set_home(home)?;
        Ok(true)
    }

    /// Learns which rows wait by now.
    fn catch_up_on_traits(&self) -> Result<()> {
        self.catch_up_on(&self.fresh_traits, &WAITING, |db| Ok(db.counter(HOME)?.saturating_sub(1)))
    }

    /// Calls `each` with the events that asserted something of a node, and their times, the latest first, until it has seen
    /// enough.
    pub(super) fn each_assertion_of(
        &self,
        node: Node,
        mut each: impl FnMut(i64, i64) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.catch_up_on_traits()?;
        let waiting = self.fresh_traits.borrow();
        let mut waiting = waiting.of(node).rev().peekable();
        let mut select = self.conn.prepare_cached(
            "SELECT at, event FROM traits_by_node WHERE node = ?1 ORDER BY at DESC, event DESC",
        )?;
        let mut rows = select.query_map([node.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut home: Option<(i64, i64)> = rows.next().transpose()?;
        loop {
            // Only damage makes a row wait that is home.
            while waiting.next_if(|fresh| home == Some(*fresh)).is_some() {}
            let fresh = waiting.next_if(|fresh| home.is_none_or(|home| home < *fresh));
            let Some((at, event)) = fresh.or(home) else { return Ok(()) };
            if fresh.is_none() {
                home = rows.next().transpose()?;
            }
            if each(at, event)?.is_break() {
                return Ok(());
            }
        }
    }

    /// The failure of an index that names an event which asserted nothing.
    pub(super) fn asserted_nothing(event: i64) -> super::Failure {
        damaged(format!("traits_by_node: the event {event} is not in traits"))
    }
}
