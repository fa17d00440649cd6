//! The order in which columns hold what belongs to nodes: by person, as people were when they were last put in order.
//!
//! Sealed events are sorted by the ranks of their nodes. As a person's nodes arrive far apart (a device today, a user next
//! month), their ranks are made anew now and then, and all blocks with them, so that what a person has done lies together. No
//! answer depends on it: a join or a split since only means that somebody's events lie in several places.

use std::sync::Arc;

use super::Log;
use super::block::Entry;
use super::pack::{self, Column};
use super::read::checksum;
use crate::identity::{Numbers, Order};
use crate::store::packed::damaged;
use crate::store::{Db, Result};

/// The counter in the file that says that the order is another.
pub(super) const RANKS: &str = "ranks";

/// So many ranks are a row.
const CHUNK: usize = if cfg!(test) { 4 } else { 1 << 16 };

/// People are put in order anew when they stand in so many places too many, as a share of them all.
const SCATTERED: usize = 8;

impl Db {
    /// Puts the columns of all sealed events in the order of people, if too many stand apart. Gives how many events it moved.
    pub(crate) fn arrange(&self, numbers: &Numbers) -> Result<usize> {
        self.catch_up()?;
        let former = {
            let log = self.log.borrow();
            if log.seals.is_empty() || log.order.scattered(numbers) * SCATTERED <= numbers.roots().len() {
                return Ok(0);
            }
            Arc::clone(&log.order)
        };
        let order = Arc::new(Order::by_person(numbers));
        self.put_order(&order)?;
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

    /// Writes an order in the place of the one there is.
    fn put_order(&self, order: &Arc<Order>) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM ranks")?.execute([])?;
        let mut insert = self.conn.prepare_cached("INSERT INTO ranks VALUES (?1, ?2, ?3, ?4)")?;
        for (chunk, nodes) in (0_u32..).zip(order.nodes().chunks(CHUNK)) {
            let mut bytes = Vec::new();
            pack::write(nodes.iter().map(|node| u64::from(*node)), &mut bytes);
            let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
            insert.execute((chunk, count, order_checksum(chunk, count, &bytes), bytes))?;
        }
        let mut log = self.log.borrow_mut();
        let number = log.arranged.unwrap_or(0) + 1;
        log.arranged = Some(number);
        log.order = Arc::clone(order);
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
        let mut nodes: Vec<u32> = Vec::new();
        for place in 0_u32.. {
            let Some(row) = rows.next()? else { break };
            let (chunk, count, crc): (u32, u32, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let bytes = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
            let column = Column::read(bytes, &mut 0, count as usize);
            let column = column.filter(|_| chunk == place && crc == order_checksum(chunk, count, bytes));
            let column = column.ok_or_else(|| {
                damaged(format!("the chunk {place} of the ranks of nodes contradicts its checksum"))
            })?;
            let node = |node: u64| u32::try_from(node).unwrap_or(u32::MAX);
            column.of(bytes).read(0..count as usize, &mut nodes, node);
        }
        let order = Order::new(nodes).ok_or_else(|| damaged("the ranks of nodes are no order of them"))?;
        let order = Arc::new(order);
        shared.keep_order(number, &order);
        Ok(order)
    }
}

impl Log {
    /// An event as a block holds it, and of a block as it is.
    pub(super) fn ranked(&self, entry: Entry) -> Entry {
        Entry { node: self.order.rank(entry.node), ..entry }
    }

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
