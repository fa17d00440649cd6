//! Taking events out of the log, and writing down for good whose the moved ones are.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::block::Entry;
use super::find::bucket_key;
use super::group::{Draft, Text};
use super::ids::{self, Id};
use super::{Moves, Seal, Tail, number, read};
use crate::store::{Db, Result};

impl Db {
    /// Takes events out of the log for good (their texts, their columns, and the hashes of their message ids), or puts other
    /// JSON in the place of theirs. Only the pieces that hold them are written anew. What was made of them is the caller's
    /// to remake.
    pub(crate) fn edit_events(&self, edits: &FxHashMap<i64, Option<&str>>) -> Result<()> {
        self.catch_up()?;
        self.write_groups()?;
        self.log.borrow_mut().changed = true;
        let edits: FxHashMap<u32, Option<&str>> =
            edits.iter().map(|(event, json)| Ok((number(*event)?, *json))).collect::<Result<_>>()?;
        let gone: FxHashSet<u32> =
            edits.iter().filter(|(_, json)| json.is_none()).map(|(event, _)| *event).collect();
        let mut removed: Vec<(Entry, u64)> = Vec::new();
        self.rewrite_groups(&edits.keys().copied().collect(), |text, draft| {
            match edits.get(&text.entry.event) {
                None => draft.push(text.entry, text.id, text.json),
                Some(Some(json)) => draft.push(text.entry, text.id, json),
                Some(None) => removed.push((text.entry, ids::hash(text.id))),
            }
        })?;
        let mut seals = std::mem::take(&mut self.log.borrow_mut().seals);
        for seal in &mut seals {
            let own: Vec<&(Entry, u64)> =
                removed.iter().filter(|(entry, _)| (seal.first..seal.until).contains(&entry.event)).collect();
            if !own.is_empty() {
                self.remove_columns(seal, own.iter().map(|(entry, _)| entry.node).collect(), &gone)?;
                self.remove_ids(seal, own.iter().map(|(_, hash)| ids::kept(*hash)), &gone)?;
            }
        }
        self.log.borrow_mut().seals = seals;
        for event in &gone {
            for table in ["moved", "assumed_user_ids", "anonymous_events"] {
                let sql = format!("DELETE FROM {table} WHERE event = ?1");
                self.conn.prepare_cached(&sql)?.execute([event])?;
            }
            self.log.borrow_mut().moves.forget(*event);
        }
        self.note_moves()?;
        self.reload_tail()
    }

    /// Writes the groups anew that hold some events: `change` is given each event that they have, and what is to take it.
    fn rewrite_groups(
        &self,
        events: &FxHashSet<u32>,
        mut change: impl FnMut(Text<'_>, &mut Draft),
    ) -> Result<()> {
        let mut sorted: Vec<u32> = events.iter().copied().collect();
        sorted.sort_unstable();
        let mut done = 0;
        for event in sorted {
            if event < done {
                continue;
            }
            let mut select = self.conn.prepare_cached(
                "SELECT first, span, crc, bytes FROM log WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
            )?;
            let mut rows = select.query([event])?;
            let Some(row) = rows.next()? else { continue };
            let (first, span, group) = read::group(row, &mut self.log.borrow_mut().press)?;
            drop(rows);
            self.looked_at(group.iter().count())?;
            done = first.saturating_add(span);
            let mut draft = Draft::default();
            for text in group.iter() {
                change(text, &mut draft);
            }
            let bytes = draft.write(first, &mut self.log.borrow_mut().press);
            self.put_group(first, span, &bytes)?;
        }
        Ok(())
    }

    /// Writes the blocks of a seal anew that have events of some nodes, without some events.
    fn remove_columns(&self, seal: &mut Seal, nodes: FxHashSet<u32>, gone: &FxHashSet<u32>) -> Result<()> {
        let order = Arc::clone(&self.log.borrow().order);
        let ranks: FxHashSet<Option<u32>> = nodes.into_iter().map(|node| order.rank(node)).collect();
        let mut places = Vec::with_capacity(seal.blocks.len());
        for place in &seal.blocks {
            // Of a node that has none any more, events may lie anywhere.
            let within = |rank: u32| (place.ranks.0..=place.ranks.1).contains(&rank);
            if !ranks.iter().any(|rank| rank.is_none_or(within)) {
                places.push(*place);
                continue;
            }
            let block = self.block(place)?;
            let mut staying: Vec<Entry> =
                block.entries().filter(|entry| !gone.contains(&entry.event)).collect();
            staying.sort_unstable();
            if staying.len() == block.len() {
                places.push(*place);
                continue;
            }
            self.conn.prepare_cached("DELETE FROM blocks WHERE block = ?1")?.execute([place.block])?;
            if !staying.is_empty() {
                places.push(self.put_block(seal.number, &staying)?);
            }
        }
        seal.blocks = places;
        Ok(())
    }

    /// Takes the hashes of some message ids out of a seal.
    fn remove_ids(&self, seal: &Seal, kept: impl Iterator<Item = u64>, gone: &FxHashSet<u32>) -> Result<()> {
        let mut buckets: Vec<u64> = kept.map(|kept| ids::bucket(kept, seal.buckets)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        for bucket in buckets {
            let key = bucket_key(seal.number, bucket);
            let staying: Vec<Id> =
                self.ids_in(key)?.into_iter().filter(|(_, event)| !gone.contains(event)).collect();
            self.put_bucket(key, &staying)?;
        }
        Ok(())
    }

    /// Writes into the log and the columns whose the moved events are, so that no question needs to ask for them. Gives how
    /// many there were.
    pub(crate) fn settle_moves(&self) -> Result<usize> {
        self.catch_up()?;
        self.write_groups()?;
        let owners: FxHashMap<u32, u32> =
            self.log.borrow().moves.by_event.iter().map(|(event, moved)| (*event, moved.node)).collect();
        if owners.is_empty() {
            return Ok(0);
        }
        self.log.borrow_mut().changed = true;
        let own = |entry: Entry| match owners.get(&entry.event) {
            Some(node) => Entry { node: *node, ..entry },
            None => entry,
        };
        let events: FxHashSet<u32> = owners.keys().copied().collect();
        self.rewrite_groups(&events, |text, draft| draft.push(own(text.entry), text.id, text.json))?;
        let seals = std::mem::take(&mut self.log.borrow_mut().seals);
        let mut settled = Vec::with_capacity(seals.len());
        for seal in seals {
            if owners.keys().any(|event| (seal.first..seal.until).contains(event)) {
                let range = (seal.level, seal.first, seal.until);
                settled.push(self.reseal(&[seal], range, own)?);
            } else {
                settled.push(seal);
            }
        }
        self.conn.prepare_cached("DELETE FROM moved")?.execute([])?;
        {
            let mut log = self.log.borrow_mut();
            log.seals = settled;
            log.moves = Moves::default();
        }
        self.note_moves()?;
        self.reload_tail()?;
        Ok(owners.len())
    }

    /// Reads what is not sealed anew, and tells every connection to do so.
    fn reload_tail(&self) -> Result<()> {
        self.note_edit()?;
        {
            let mut log = self.log.borrow_mut();
            log.tail = Tail::new(log.tail.from());
            log.groups.clear();
            log.current = false;
        }
        self.catch_up()
    }
}
