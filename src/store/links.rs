//! The evidence between identifiers: `links`, by its ends, and `fresh_links`, in the order in which it came.
//!
//! Most evidence is of a link that is known, of anybody: a row that is brought up to date is a page of the file written
//! anew, and then once more when the write-ahead log comes home. So what comes in is appended to `fresh_links`, and once
//! that has grown long it is brought into `links` all at once, in the order of the rows there. Whoever reads, adds both up.

use std::collections::BTreeMap;

use rusqlite::Row;
use rusqlite::types::ValueRef;
use rustc_hash::FxHashSet;

use super::fresh::Waiting;
use super::rows::insert_rows;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::{Draft, Evidence, LinkKey, Node};

/// Fresh links are brought home once they are one to so many identifiers: nearly every page of `links` is then written anew,
/// and that must not become more of the work the more links there are.
const SHARE: u64 = 4;

const COLUMNS: &str = "a, b, source, first_seen, last_seen, count, message_id";

/// Fresh links, from both of their ends: the other end, and the number of the row.
const WAITING: Waiting = Waiting {
    counter: "links",
    later: "SELECT number, a, b FROM fresh_links WHERE number > ?1 ORDER BY number",
    places: |row, places| {
        let (number, a, b): (i64, u32, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        places.extend([(a, b.into(), number), (b, a.into(), number)]);
        Ok(())
    },
};

/// The row of a link: its two nodes, the source, the times of the first and the last event, how many, and the first one's
/// message id.
fn link_row<'e>(((a, b, source), seen): (&LinkKey, &'e Evidence)) -> [ValueRef<'e>; 7] {
    let number = |number: u32| ValueRef::Integer(number.into());
    let [first, last] = [seen.first_seen, seen.last_seen].map(|at| ValueRef::Integer(at.as_micros()));
    let count = ValueRef::Integer(seen.count.cast_signed());
    [number(a.0), number(b.0), number(*source), first, last, count, seen.message_id.as_str().into()]
}

/// A link, as a row has it.
fn link(row: &Row<'_>) -> rusqlite::Result<(LinkKey, Evidence)> {
    let key = (Node(row.get(0)?), Node(row.get(1)?), row.get(2)?);
    let [first_seen, last_seen] = [3, 4].map(|place| row.get(place).map(Timestamp::from_micros));
    let (first_seen, last_seen) = (first_seen?, last_seen?);
    Ok((key, Evidence { first_seen, last_seen, count: row.get(5)?, message_id: row.get(6)? }))
}

/// With whom a fresh link links the node that it was found by.
fn other((other, _): (i64, i64)) -> Option<Node> {
    u32::try_from(other).ok().map(Node)
}

/// Adds evidence to what there is.
fn add(links: &mut BTreeMap<LinkKey, Evidence>, (key, seen): (LinkKey, Evidence)) {
    match links.get_mut(&key) {
        Some(known) => known.join(&seen),
        None => drop(links.insert(key, seen)),
    }
}

impl Db {
    /// Writes the evidence of a draft, beside what is there.
    pub(crate) fn write_links(&self, draft: &Draft) -> Result<()> {
        if draft.pending.links.is_empty() {
            return Ok(());
        }
        self.fresh_links.borrow_mut().appended();
        let mut links: Vec<_> = draft.pending.links.iter().collect();
        links.sort_unstable_by_key(|(link, _)| **link);
        insert_rows(&self.conn, &format!("fresh_links ({COLUMNS})"), links.into_iter().map(link_row))?;
        let fresh = self.conn.last_insert_rowid().cast_unsigned();
        let enough = (self.log.borrow().shared.seal_every as u64).saturating_mul(2);
        if fresh >= enough && fresh >= self.numbered_identifiers()? / SHARE {
            self.bring_links_home()?;
        }
        Ok(())
    }

    /// How many identifiers have a number: about so many links there are.
    fn numbered_identifiers(&self) -> Result<u64> {
        let mut last = self.conn.prepare_cached("SELECT coalesce(max(node) + 1, 0) FROM identifiers")?;
        Ok(last.query_row([], |row| row.get(0))?)
    }

    /// Brings what is in `fresh_links` into `links`. False if nothing is.
    pub(crate) fn bring_links_home(&self) -> Result<bool> {
        let sql = format!(
            "INSERT INTO links SELECT {COLUMNS} FROM fresh_links WHERE true ORDER BY a, b, source, number
             ON CONFLICT DO UPDATE SET
                 message_id = iif((excluded.first_seen, excluded.message_id) < (first_seen, message_id),
                                  excluded.message_id, message_id),
                 first_seen = min(first_seen, excluded.first_seen),
                 last_seen = max(last_seen, excluded.last_seen),
                 count = count + excluded.count"
        );
        if self.conn.prepare_cached(&sql)?.execute([])? == 0 {
            return Ok(false);
        }
        self.forget_fresh_links()?;
        Ok(true)
    }

    /// Forgets the evidence of some nodes that is not in its place yet. Of few nodes that is less than to bring all home,
    /// and it takes no room in a file that is full.
    pub(super) fn forget_fresh_links_of(&self, nodes: &[Node]) -> Result<()> {
        self.catch_up_on_links()?;
        let gone: FxHashSet<i64> = {
            let fresh = self.fresh_links.borrow();
            nodes.iter().flat_map(|node| fresh.of(*node)).map(|(_, number)| number).collect()
        };
        if gone.is_empty() {
            return Ok(());
        }
        let mut delete = self.conn.prepare_cached("DELETE FROM fresh_links WHERE number = ?1")?;
        for number in &gone {
            delete.execute([number])?;
        }
        // The highest numbers may come again.
        let mut last = self.conn.prepare_cached("SELECT coalesce(max(number), 0) FROM fresh_links")?;
        let last = last.query_row([], |row| row.get(0))?;
        self.note_departure(&self.fresh_links, &WAITING, last, |(.., number)| !gone.contains(number))
    }

    /// Forgets all evidence that is not in its place yet.
    pub(super) fn forget_fresh_links(&self) -> Result<()> {
        self.conn.execute("DELETE FROM fresh_links", [])?;
        self.note_departure(&self.fresh_links, &WAITING, 0, |_| false)
    }

    /// Learns which fresh links there are by now.
    fn catch_up_on_links(&self) -> Result<()> {
        self.catch_up_on(&self.fresh_links, &WAITING, |_| Ok(0))
    }

    /// The nodes that are linked with a node.
    pub(crate) fn linked_with(&self, node: Node) -> Result<Vec<Node>> {
        let sql = "SELECT b FROM links WHERE a = ?1 UNION ALL SELECT a FROM links WHERE b = ?1";
        let mut select = self.conn.prepare_cached(sql)?;
        let mut others: Vec<Node> =
            select.query_map([node.0], |row| row.get(0).map(Node))?.collect::<rusqlite::Result<_>>()?;
        self.catch_up_on_links()?;
        others.extend(self.fresh_links.borrow().of(node).filter_map(other));
        others.sort_unstable();
        others.dedup();
        Ok(others)
    }

    /// The links of a node with such as have a higher number: with all of them, or with one.
    pub(super) fn links_up(&self, a: Node, b: Option<Node>) -> Result<BTreeMap<LinkKey, Evidence>> {
        let mut links = BTreeMap::new();
        let (lowest, highest) = b.map_or((0, u32::MAX), |b| (b.0, b.0));
        let sql = format!("SELECT {COLUMNS} FROM links WHERE a = ?1 AND b BETWEEN ?2 AND ?3");
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut rows = select.query((a.0, lowest, highest))?;
        while let Some(row) = rows.next()? {
            add(&mut links, link(row)?);
        }
        self.catch_up_on_links()?;
        let fresh = self.fresh_links.borrow();
        let sql = format!("SELECT {COLUMNS} FROM fresh_links WHERE number = ?1");
        let mut select = self.conn.prepare_cached(&sql)?;
        let is_asked = |other: Node| a < other && b.is_none_or(|b| other == b);
        for (_, number) in fresh.of(a).filter(|place| other(*place).is_some_and(is_asked)) {
            add(&mut links, select.query_row([number], link)?);
        }
        Ok(links)
    }

    /// Calls `each` with every link there is, in order.
    pub(super) fn each_link(&self, mut each: impl FnMut(LinkKey, Evidence)) -> Result<()> {
        let mut fresh = BTreeMap::new();
        let mut select = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM fresh_links"))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            add(&mut fresh, link(row)?);
        }
        let sql = format!("SELECT {COLUMNS} FROM links ORDER BY a, b, source");
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (key, mut seen) = link(row)?;
            while let Some(before) = fresh.first_entry().filter(|first| *first.key() < key) {
                let (key, seen) = before.remove_entry();
                each(key, seen);
            }
            if let Some(more) = fresh.remove(&key) {
                seen.join(&more);
            }
            each(key, seen);
        }
        for (key, seen) in fresh {
            each(key, seen);
        }
        Ok(())
    }

    /// The ends of all links that events of a source bear witness to.
    pub(crate) fn linked_by(&self, source: &str) -> Result<Vec<(Node, Node)>> {
        let mut select = self.conn.prepare(
            "SELECT DISTINCT a, b FROM (SELECT a, b, source FROM links UNION ALL SELECT a, b, source FROM fresh_links)
             JOIN sources s USING (source) WHERE s.name = ?1",
        )?;
        let rows = select.query_map([source], |row| Ok((Node(row.get(0)?), Node(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// How many links there are.
    pub(super) fn count_links(&self) -> Result<u64> {
        let home: u64 =
            self.conn.prepare_cached("SELECT count(*) FROM links")?.query_row([], |row| row.get(0))?;
        self.catch_up_on_links()?;
        // From the lower end, so that each pair is one run of them.
        let fresh = self.fresh_links.borrow();
        let places: Vec<_> = fresh.places().filter(|(a, b, _)| i64::from(*a) < *b).collect();
        let mut sources = self.conn.prepare_cached("SELECT source FROM fresh_links WHERE number = ?1")?;
        let mut known =
            self.conn.prepare_cached("SELECT 1 FROM links WHERE a = ?1 AND b = ?2 AND source = ?3")?;
        let mut new = 0;
        for pair in places.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
            let (a, b, _) = pair[0];
            let mut seen: Vec<u32> = Vec::new();
            for (.., number) in pair {
                let source = sources.query_row([number], |row| row.get(0))?;
                if !seen.contains(&source) {
                    new += u64::from(!known.exists((a, b, source))?);
                    seen.push(source);
                }
            }
        }
        Ok(home + new)
    }
}
