//! The order in which columns hold what belongs to nodes: by person, as people were when they were last put in order.
//!
//! Sealed events are sorted by the ranks of their nodes. As a person's nodes arrive far apart (a device today, a user next
//! month), their ranks are made anew now and then, and all blocks with them, so that what a person has done lies together. No
//! answer depends on it: a join or a split since only means that somebody's events lie in several places.

use std::sync::Arc;

use super::block::{Entry, NOBODY, Places};
use super::pack::{self, Column};
use super::read::checksum;
use super::{Log, Place};
use crate::identity::{Node, Numbers, Order};
use crate::store::packed::damaged;
use crate::store::{Db, Result};

/// The counter in the file that says that the order is another.
pub(super) const RANKS: &str = "ranks";

/// So many ranks are a row.
const CHUNK: usize = if cfg!(test) { 4 } else { 1 << 16 };

/// People are put in order anew when what they did lies in so many places too many, as a share of them all.
const SCATTERED: usize = 8;

impl Db {
    /// Puts the columns of all sealed events in the order of people, if too many stand apart. Gives how many events it moved.
    pub(crate) fn arrange(&self, numbers: &Numbers) -> Result<usize> {
        self.catch_up()?;
        let former = Arc::clone(&self.log.borrow().order);
        let is_worth_it = |scattered: usize| scattered * SCATTERED > numbers.roots().len();
        if !is_worth_it(former.scattered(numbers, |_| true)) {
            return Ok(0);
        }
        // Most nodes may have no event.
        let held = self.held_ranks()?;
        if !is_worth_it(former.scattered(numbers, |rank| held.get(rank as usize) == Some(&true))) {
            return Ok(0);
        }
        let mut order = Order::by_person(numbers);
        // Whoever was let go of stays so.
        order.forget((0..).take(former.len()).filter(|node| former.rank(*node).is_none()));
        self.conn.prepare_cached("DELETE FROM ranks")?.execute([])?;
        for chunk in 0..order.len().div_ceil(CHUNK) {
            self.put_ranks(&order, chunk)?;
        }
        self.note_order(Arc::new(order))?;
        let mut seals = std::mem::take(&mut self.log.borrow_mut().seals);
        let mut moved = 0;
        for seal in &mut seals {
            let mut entries = Vec::new();
            for place in &seal.blocks {
                let block = self.block(place)?;
                self.looked_at(block.len())?;
                entries.extend(block.entries().map(|entry| of_node(&former, entry)));
            }
            moved += entries.len();
            self.conn.prepare_cached("DELETE FROM blocks WHERE seal = ?1")?.execute([seal.number])?;
            seal.blocks = self.put_blocks(seal.number, entries)?;
        }
        self.log.borrow_mut().seals = seals;
        self.note_layout()?;
        Ok(moved)
    }

    /// Of each rank, whether its node has a sealed event; of those behind the last none has.
    fn held_ranks(&self) -> Result<Vec<bool>> {
        let (mut held, mut ranks) = (Vec::new(), Vec::new());
        let places: Vec<Place> = self.log.borrow().places().collect();
        for place in places {
            let block = self.block(&place)?;
            self.looked_at(block.len())?;
            for part in block.parts() {
                ranks.clear();
                part.ranks(&Places::All(0..part.len()), &mut ranks, |rank| rank);
                ranks.dedup();
                for rank in ranks.iter().map(|rank| *rank as usize).filter(|rank| *rank != NOBODY as usize) {
                    if held.len() <= rank {
                        held.resize(rank + 1, false);
                    }
                    held[rank] = true;
                }
            }
        }
        Ok(held)
    }

    /// Takes nodes out of the order that were let go of: who stood together there was one person.
    pub(in crate::store) fn forget_ranks(&self, nodes: &[Node]) -> Result<()> {
        self.catch_up()?;
        let mut order = Arc::clone(&self.log.borrow().order);
        let ranks = Arc::make_mut(&mut order).forget(nodes.iter().map(|node| node.0));
        if ranks.is_empty() {
            return Ok(());
        }
        let mut chunks: Vec<usize> = ranks.into_iter().map(|rank| rank as usize / CHUNK).collect();
        chunks.sort_unstable();
        chunks.dedup();
        for chunk in chunks {
            self.put_ranks(&order, chunk)?;
        }
        self.note_order(order)?;
        self.note_layout()
    }

    /// Writes a chunk of an order in the place of the one there is.
    fn put_ranks(&self, order: &Order, chunk: usize) -> Result<()> {
        let ranks = chunk * CHUNK..order.len().min((chunk + 1) * CHUNK);
        let mut bytes = Vec::new();
        pack::write(order.nodes(ranks).map(|node| node.map_or(0, |node| u64::from(node) + 1)), &mut bytes);
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (chunk, count) = (number(chunk), number(order.len()));
        let mut insert = self.conn.prepare_cached("INSERT OR REPLACE INTO ranks VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute((chunk, count, order_checksum(chunk, count, &bytes), bytes))?;
        Ok(())
    }

    /// From now on this is the order.
    fn note_order(&self, order: Arc<Order>) -> Result<()> {
        let mut log = self.log.borrow_mut();
        let number = log.arranged.unwrap_or(0) + 1;
        log.arranged = Some(number);
        log.order = order;
        log.changed = true;
        drop(log);
        self.set(RANKS, number)
    }

    /// The order of that number, as the file has it.
    pub(super) fn order(&self, number: i64) -> Result<Arc<Order>> {
        let shared = {
            let log = self.log.borrow();
            if log.arranged == Some(number) {
                return Ok(Arc::clone(&log.order));
            }
            Arc::clone(&log.shared)
        };
        if let Some(order) = shared.order(number) {
            return Ok(order);
        }
        let mut select =
            self.conn.prepare_cached("SELECT chunk, count, crc, bytes FROM ranks ORDER BY chunk")?;
        let mut rows = select.query([])?;
        let mut by_rank: Vec<u32> = Vec::new();
        let mut all = None;
        for place in 0_u32.. {
            let Some(row) = rows.next()? else { break };
            let (chunk, count, crc): (u32, u32, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let bytes = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
            let own = (count as usize).saturating_sub(by_rank.len()).min(CHUNK);
            let column = Column::read(bytes, &mut 0, own);
            let is_whole = chunk == place && crc == order_checksum(chunk, count, bytes);
            let fits = is_whole && own > 0 && *all.get_or_insert(count) == count;
            let column = column.filter(|_| fits).ok_or_else(|| {
                damaged(format!("the chunk {place} of the ranks of nodes contradicts its checksum"))
            })?;
            column.of(bytes).read(0..own, &mut by_rank, |node| u32::try_from(node).unwrap_or(u32::MAX));
        }
        // Whoever was in an order once has made another since, and never none.
        if all.map_or(number > 0, |all| by_rank.len() != all as usize) {
            return Err(damaged("a part of the ranks of nodes is missing"));
        }
        let order = Order::new(by_rank.into_iter().map(|node| node.checked_sub(1)));
        let order = Arc::new(order.ok_or_else(|| damaged("the ranks of nodes are no order of them"))?);
        shared.keep_order(number, &order);
        Ok(order)
    }
}

impl Log {
    /// An event as a block holds it. If it was written as one of a node that was let go of since, it has moved to another, and
    /// is nobody's there.
    pub(super) fn ranked(&self, entry: Entry) -> Entry {
        Entry { node: self.order.rank(entry.node).unwrap_or(NOBODY), ..entry }
    }

    /// An event of a block as it is.
    pub(super) fn unranked(&self, entry: Entry) -> Entry {
        of_node(&self.order, entry)
    }
}

/// An event of a block that has ranks, with its node.
fn of_node(order: &Order, entry: Entry) -> Entry {
    Entry { node: order.node(entry.node), ..entry }
}

fn order_checksum(chunk: u32, count: u32, bytes: &[u8]) -> u32 {
    checksum(&[&chunk.to_le_bytes(), &count.to_le_bytes(), bytes])
}
