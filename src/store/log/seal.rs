//! Sealing: the end of the log becomes columns, and many small seals become a large one.

use super::block::{self, Entry};
use super::find::{bucket_checksum, bucket_key};
use super::ids::{self, Bloom, Id};
use super::read::{block_checksum, checksum};
use super::{LAYOUT, Place, Seal, Tail};
use crate::store::{Db, Result};

/// As many events are a block. Unit tests cut so fine that seals have several.
const BLOCK: usize = if cfg!(test) { 7 } else { 1 << 13 };

/// As many seals of a size become one of the next.
const MERGED: usize = if cfg!(test) { 3 } else { 8 };

/// The largest seals are merged so often: they hold four million events, and a merge is over in a second.
const LEVELS: u32 = 2;

/// Sorts what is, where seals are merged, the sorted content of each: the stable sort finds that out, and is through in a third of
/// the time, with memory for half as much again.
fn sort<T: Ord>(all: &mut [T]) {
    all.sort();
}

impl Db {
    /// Seals whatever is not sealed yet, and merges seals where there are many of a size. Gives how many events it sealed.
    pub(crate) fn seal(&self) -> Result<usize> {
        self.catch_up()?;
        self.write_groups()?;
        let (from, until, entries, ids) = {
            let log = self.log.borrow();
            let tail = &log.tail;
            let ids: Vec<Id> = tail.hashes().map(|(hash, event)| (ids::kept(hash), event)).collect();
            (tail.from(), tail.until(), tail.entries().to_vec(), ids)
        };
        if until == from {
            return Ok(0);
        }
        let sealed = entries.len();
        self.log.borrow_mut().changed = true;
        let seal = self.put_seal((0, from, until), entries, ids)?;
        {
            let mut log = self.log.borrow_mut();
            log.seals.push(seal);
            log.tail = Tail::new(until);
            log.groups.clear();
        }
        while self.merge()? {}
        self.note_layout()?;
        Ok(sealed)
    }

    /// Tells every connection that seals are others now.
    pub(super) fn note_layout(&self) -> Result<()> {
        self.set_layout(1)
    }

    /// The same, and that events of the log were edited.
    pub(super) fn note_edit(&self) -> Result<()> {
        self.log.borrow().shared.forget_values();
        self.set_layout(1 << 32)
    }

    fn set_layout(&self, step: i64) -> Result<()> {
        let mut log = self.log.borrow_mut();
        let layout = log.layout.unwrap_or(0) + step;
        log.layout = Some(layout);
        log.edits = layout >> 32;
        log.changed = true;
        drop(log);
        self.set(LAYOUT, layout)
    }

    /// Writes a seal of a range.
    fn put_seal(
        &self,
        (level, first, until): (u32, u32, u32),
        entries: Vec<Entry>,
        mut ids: Vec<Id>,
    ) -> Result<Seal> {
        sort(&mut ids);
        let mut bloom = Bloom::new(ids.len());
        for (kept, _) in &ids {
            bloom.add(*kept);
        }
        let (bytes, buckets) = (bloom.bytes(), ids::buckets(ids.len()));
        self.conn
            .prepare_cached(
                "INSERT INTO seals (level, first, until, buckets, crc, bloom) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((level, first, until, buckets, checksum(&[&bytes]), &bytes))?;
        let number = self.conn.last_insert_rowid();
        for bucket in ids.chunk_by(|a, b| ids::bucket(a.0, buckets) == ids::bucket(b.0, buckets)) {
            let key = bucket_key(number, ids::bucket(bucket[0].0, buckets));
            self.put_bucket(key, bucket)?;
        }
        let blocks = self.put_blocks(number, entries)?;
        Ok(Seal { number, level, first, until, buckets, blocks, bloom: Some(bloom) })
    }

    /// Writes the blocks of a seal.
    pub(super) fn put_blocks(&self, seal: i64, mut entries: Vec<Entry>) -> Result<Vec<Place>> {
        for entry in &mut entries {
            *entry = self.log.borrow().ranked(*entry);
        }
        sort(&mut entries);
        entries.chunks(BLOCK).map(|part| self.put_block(seal, part)).collect()
    }

    pub(super) fn put_bucket(&self, key: i64, ids: &[Id]) -> Result<()> {
        let bytes = ids::write(ids);
        let mut insert =
            self.conn.prepare_cached("INSERT OR REPLACE INTO message_ids VALUES (?1, ?2, ?3)")?;
        insert.execute((key, bucket_checksum(key, &bytes), &bytes))?;
        Ok(())
    }

    /// Writes a block of sorted events with the ranks of their nodes, of which there is one at least.
    pub(super) fn put_block(&self, seal: i64, entries: &[Entry]) -> Result<Place> {
        let ends = |of: fn(&Entry) -> i64| {
            let numbers = || entries.iter().map(of);
            (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0))
        };
        let ranks = entries.first().zip(entries.last()).map_or((0, 0), |(a, b)| (a.node, b.node));
        let bytes = block::write(entries);
        let mut place = Place {
            block: 0,
            ranks,
            times: ends(|entry| entry.at),
            count: u32::try_from(entries.len()).unwrap_or(u32::MAX),
        };
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO blocks (seal, first_rank, last_rank, first_at, last_at, count, crc, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let crc = block_checksum(&place, &bytes);
        let (times, count) = (place.times, place.count);
        insert.execute((seal, ranks.0, ranks.1, times.0, times.1, count, crc, &bytes))?;
        place.block = self.conn.last_insert_rowid();
        self.log.borrow_mut().fresh.get_or_insert(place.block);
        Ok(place)
    }

    /// Merges the last seals if there are many of one size. Whether it did.
    fn merge(&self) -> Result<bool> {
        let merged: Vec<Seal> = {
            let mut log = self.log.borrow_mut();
            let Some(level) = log.seals.last().map(|seal| seal.level) else { return Ok(false) };
            let same = log.seals.iter().rev().take_while(|seal| seal.level == level).count();
            if same < MERGED || level >= LEVELS {
                return Ok(false);
            }
            let start = log.seals.len() - same;
            log.seals.drain(start..).collect()
        };
        let (Some(first), Some(last)) = (merged.first(), merged.last()) else { return Ok(false) };
        let range = (first.level + 1, first.first, last.until);
        let seal = self.reseal(&merged, range, |entry| entry)?;
        self.log.borrow_mut().seals.push(seal);
        Ok(true)
    }

    /// Writes one seal of what several hold, each event as `change` says, and lets those go.
    pub(super) fn reseal(
        &self,
        seals: &[Seal],
        range: (u32, u32, u32),
        change: impl Fn(Entry) -> Entry,
    ) -> Result<Seal> {
        let (mut entries, mut ids) = (Vec::new(), Vec::new());
        for seal in seals {
            for place in &seal.blocks {
                let block = self.block(place)?;
                self.looked_at(block.len())?;
                let log = self.log.borrow();
                entries.extend(block.entries().map(|entry| change(log.unranked(entry))));
            }
            for bucket in 0..seal.buckets {
                ids.extend(self.ids_in(bucket_key(seal.number, bucket))?);
            }
            self.remove_seal(seal)?;
        }
        self.put_seal(range, entries, ids)
    }

    fn remove_seal(&self, seal: &Seal) -> Result<()> {
        let (from, until) = (bucket_key(seal.number, 0), bucket_key(seal.number + 1, 0));
        self.conn
            .prepare_cached("DELETE FROM message_ids WHERE bucket >= ?1 AND bucket < ?2")?
            .execute((from, until))?;
        self.conn.prepare_cached("DELETE FROM blocks WHERE seal = ?1")?.execute([seal.number])?;
        self.conn.prepare_cached("DELETE FROM seals WHERE seal = ?1")?.execute([seal.number])?;
        Ok(())
    }
}
