//! What the connections of one handle share: columns that were read, as long as there is room.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use super::block::Block;
use super::values::{Column, Key};

/// What the connections of one handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) seal_every: usize,
    room: Mutex<Room>,
    /// How many transactions were taken back that had changed the log: the numbers that they gave are given again.
    rollbacks: AtomicU64,
}

/// Columns that were read, those used last kept as long as there is room.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    size: usize,
    uses: u64,
    /// Of the file, by number. A block never changes, and its number is never used again.
    blocks: FxHashMap<i64, Used<Block>>,
    /// Of members of events.
    values: FxHashMap<Key, Used<Column>>,
}

#[derive(Debug)]
struct Used<T> {
    kept: Arc<T>,
    size: usize,
    last: u64,
}

impl Shared {
    pub(crate) fn new(seal_every: usize, column_bytes: usize) -> Self {
        let (blocks, values) = (FxHashMap::default(), FxHashMap::default());
        let room = Room { most: column_bytes, size: 0, uses: 0, blocks, values };
        Self { seal_every: seal_every.max(1), room: Mutex::new(room), rollbacks: AtomicU64::new(0) }
    }

    pub(super) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rollbacks(&self) -> u64 {
        self.rollbacks.load(Ordering::Relaxed)
    }

    pub(super) fn note_rollback(&self) {
        self.rollbacks.fetch_add(1, Ordering::Relaxed);
    }
}

impl Room {
    pub(super) fn block(&mut self, block: i64) -> Option<Arc<Block>> {
        self.uses += 1;
        find(&mut self.blocks, &block, self.uses)
    }

    pub(super) fn keep_block(&mut self, number: i64, block: &Arc<Block>) {
        let size = block.size();
        self.keep(size, |room| put(&mut room.blocks, number, block, size, room.uses));
    }

    /// Members of events, which may have grown since they were last asked for.
    pub(super) fn values(&mut self, key: &Key) -> Option<Arc<Column>> {
        self.uses += 1;
        let found = find(&mut self.values, key, self.uses)?;
        let used = self.values.get_mut(key)?;
        let former = std::mem::replace(&mut used.size, found.size());
        self.size = self.size - former + used.size;
        if self.size > self.most {
            self.let_go();
        }
        Some(found)
    }

    pub(super) fn keep_values(&mut self, key: Key, column: &Arc<Column>) {
        let size = column.size();
        self.keep(size, |room| put(&mut room.values, key, column, size, room.uses));
    }

    /// Lets go of all members of events: some may have been erased.
    pub(super) fn forget_values(&mut self) {
        for (_, used) in self.values.drain() {
            self.size -= used.size;
        }
    }

    fn keep(&mut self, size: usize, put: impl FnOnce(&mut Self) -> usize) {
        if size > self.most {
            return;
        }
        self.uses += 1;
        let replaced = put(self);
        self.size += size;
        self.size -= replaced;
        if self.size > self.most {
            self.let_go();
        }
    }

    /// Lets go of what was used longest ago, an eighth of the room at once.
    fn let_go(&mut self) {
        let uses = self.blocks.values().map(|used| (used.last, used.size));
        let mut uses: Vec<(u64, usize)> =
            uses.chain(self.values.values().map(|used| (used.last, used.size))).collect();
        uses.sort_unstable();
        let (mut left, mut limit) = (self.size, 0);
        for (last, size) in uses {
            if left <= self.most - self.most / 8 {
                break;
            }
            left -= size;
            limit = last;
        }
        self.blocks.retain(|_, used| used.last > limit);
        self.values.retain(|_, used| used.last > limit);
        self.size = left;
    }
}

fn find<K: Eq + Hash, T>(kept: &mut FxHashMap<K, Used<T>>, key: &K, now: u64) -> Option<Arc<T>> {
    let used = kept.get_mut(key)?;
    used.last = now;
    Some(Arc::clone(&used.kept))
}

/// Keeps a thing, and says how large the one was that it replaces.
fn put<K: Eq + Hash, T>(
    kept: &mut FxHashMap<K, Used<T>>,
    key: K,
    thing: &Arc<T>,
    size: usize,
    now: u64,
) -> usize {
    kept.insert(key, Used { kept: Arc::clone(thing), size, last: now }).map_or(0, |used| used.size)
}
