//! Whether the log is whole, and its seals say what it says.

use rusqlite::params;
use rustc_hash::FxHashMap;

use super::block::{Entry, NOBODY};
use super::find::bucket_key;
use super::{Seal, ids, node, read};
use crate::store::{Db, Result};

/// What of the log the invariants of other tables are about.
const EVENTS: &str =
    "CREATE TEMP TABLE events (event INTEGER PRIMARY KEY, node INTEGER, message_id TEXT NOT NULL);
                      CREATE INDEX temp.events_by_id ON events (message_id)";

impl Db {
    /// What is wrong with the log and its seals: the table, and what.
    pub(in crate::store) fn faults_of_log(&self) -> Result<Vec<(&'static str, String)>> {
        let mut faults = Vec::new();
        self.catch_up()?;
        self.write_groups()?;
        let (mut events, mut ids) = (FxHashMap::default(), FxHashMap::default());
        let mut end = 0;
        let mut select = self.conn.prepare("SELECT first, span, crc, bytes FROM log ORDER BY first")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (first, span): (u32, u32) = (row.get(0)?, row.get(1)?);
            if first != end {
                faults.push(("log", format!("events {end} to {first} are missing, or there twice")));
            }
            end = first.saturating_add(span);
            let group = read::group(row, &mut self.log.borrow_mut().press);
            let Ok((_, _, group)) = group else {
                faults.push(("log", format!("the group from event {first} on contradicts its checksum")));
                continue;
            };
            for text in group.iter() {
                events.insert(text.entry.event, text.entry);
                ids.insert(text.entry.event, ids::hash(text.id));
                if !text.json.trim_start().starts_with('{') {
                    faults.push(("log", format!("the event {} is no JSON object", text.entry.event)));
                }
            }
        }
        for seal in self.seals()? {
            self.check_seal(&seal, &events, &ids, &mut faults);
        }
        let log = self.log.borrow();
        let sealed = log.tail.from();
        let mut tail: Vec<Entry> = events.into_values().filter(|entry| entry.event >= sealed).collect();
        tail.sort_unstable_by_key(|entry| entry.event);
        if tail != log.tail.entries() {
            faults.push(("log", "memory and file hold different events that are not sealed".into()));
        }
        for moved in log.moves.by_event.values() {
            if moved.node == moved.entry.node {
                faults.push(("moved", format!("the event {} has moved to where it was", moved.entry.event)));
            }
        }
        Ok(faults)
    }

    /// Compares a seal with the events of its range.
    fn check_seal(
        &self,
        seal: &Seal,
        events: &FxHashMap<u32, Entry>,
        hashes: &FxHashMap<u32, u64>,
        faults: &mut Vec<(&'static str, String)>,
    ) {
        let Seal { number, first, until, .. } = *seal;
        let mut found = 0;
        for place in &seal.blocks {
            match self.block(place) {
                Err(_) => {
                    let what = format!("the block {} of columns contradicts its checksum", place.block);
                    faults.push(("blocks", what));
                }
                Ok(block) => {
                    let log = self.log.borrow();
                    let same = |entry: &Entry| {
                        let told = events.get(&entry.event);
                        let is_without_rank = |told: &Entry| {
                            log.order.rank(told.node).is_none()
                                && log.unranked(*entry) == Entry { node: NOBODY, ..*told }
                        };
                        told == Some(&log.unranked(*entry)) || told.is_some_and(is_without_rank)
                    };
                    let ranks = || block.entries().map(|entry| entry.node);
                    let within = ranks().min().zip(ranks().max()) == Some(place.ranks);
                    if !within || !block.entries().all(|entry| same(&entry)) {
                        let what = format!("the block {} of columns says other than the log", place.block);
                        faults.push(("blocks", what));
                    }
                    found += block.len();
                }
            }
        }
        let own = events.keys().filter(|event| (first..until).contains(*event)).count();
        if found != own {
            faults.push(("blocks", format!("the seal {number} has {found} of {own} events")));
        }
        match self.bloom(number) {
            Err(_) => {
                faults.push(("seals", format!("the filter of the seal {number} contradicts its checksum")));
            }
            Ok(bloom) => {
                let own = hashes.iter().filter(|(event, _)| (first..until).contains(*event));
                let missed = own.filter(|(_, hash)| !bloom.may_have(ids::kept(**hash))).count();
                if missed > 0 {
                    let what =
                        format!("the filter of the seal {number} does not know the ids of {missed} events");
                    faults.push(("seals", what));
                }
            }
        }
        let mut found = 0;
        for bucket in 0..seal.buckets {
            let key = bucket_key(number, bucket);
            let Ok(ids) = self.ids_in(key) else {
                faults.push(("message_ids", format!("the bucket {key} contradicts its checksum")));
                continue;
            };
            let same = |(kept, event): &ids::Id| {
                hashes.get(event).is_some_and(|hash| ids::kept(*hash) == *kept)
                    && ids::bucket(*kept, seal.buckets) == bucket
            };
            found += ids.iter().filter(|id| same(id)).count();
        }
        if found != own {
            faults.push(("message_ids", format!("the seal {number} has the ids of {found} of {own} events")));
        }
    }

    /// Lays the log out as a table beside the file, for queries, until the transaction ends.
    pub(in crate::store) fn lay_out_log(&self) -> Result<()> {
        let guarded: bool = self.conn.pragma_query_value(None, "query_only", |row| row.get(0))?;
        self.conn.pragma_update(None, "query_only", false)?;
        self.conn.execute_batch(EVENTS)?;
        let mut insert = self.conn.prepare("INSERT INTO temp.events VALUES (?1, ?2, ?3)")?;
        let mut select = self.conn.prepare("SELECT first, span, crc, bytes FROM log")?;
        let mut rows = select.query([])?;
        let mut log = self.log.borrow_mut();
        while let Some(row) = rows.next()? {
            let Ok((_, _, group)) = read::group(row, &mut log.press) else { continue };
            for text in group.iter() {
                let owner = log.moves.owner(text.entry.event, text.entry.node);
                insert.execute(params![text.entry.event, node(owner).map(|node| node.0), text.id])?;
            }
        }
        Ok(self.conn.pragma_update(None, "query_only", guarded)?)
    }
}
