//! What the connections of one handle share: columns that were read, as long as there is room.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use super::block::Block;
use super::column::Column;
use super::values::Key;
use crate::identity::Order;
use crate::store::TraitColumn;

/// Of so many traits it is known at most whether they were asked for.
const ASKED: usize = 1 << 10;

/// What the connections of one handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(in crate::store) seal_every: usize,
    room: Mutex<Room>,
    /// The order of nodes that sealed events are in, and its number.
    order: Mutex<Option<(i64, Arc<Order>)>>,
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
    /// Of traits, by name: as they were when they were last asked for.
    traits: FxHashMap<String, Used<TraitColumn>>,
    /// For which versions columns of traits were asked for of a few people.
    asked: FxHashMap<String, i64>,
}

#[derive(Debug)]
struct Used<T> {
    kept: Arc<T>,
    size: usize,
    last: u64,
}

impl Shared {
    pub(crate) fn new(seal_every: usize, column_bytes: usize) -> Self {
        let (blocks, values, traits) = (FxHashMap::default(), FxHashMap::default(), FxHashMap::default());
        let asked = FxHashMap::default();
        let room = Room { most: column_bytes, size: 0, uses: 0, blocks, values, traits, asked };
        Self {
            seal_every: seal_every.max(1),
            room: Mutex::new(room),
            order: Mutex::default(),
            rollbacks: AtomicU64::new(0),
        }
    }

    /// A trait's column as it was when it was last asked for.
    pub(in crate::store) fn trait_column(&self, name: &str) -> Option<Arc<TraitColumn>> {
        let mut room = self.room();
        room.uses += 1;
        let now = room.uses;
        find(&mut room.traits, name, now)
    }

    /// Notes that a trait's column of some version was asked for, and says whether it was before.
    pub(in crate::store) fn note_asked(&self, name: &str, version: i64) -> bool {
        let mut room = self.room();
        if room.asked.len() >= ASKED {
            room.asked.clear();
        }
        room.asked.insert(name.to_owned(), version) == Some(version)
    }

    /// Lets go of all values of events and people: some may have been erased.
    pub(in crate::store) fn forget_values(&self) {
        self.room().forget_values();
    }

    pub(in crate::store) fn keep_trait_column(&self, name: &str, column: &Arc<TraitColumn>) {
        let size = column.size();
        self.room().keep(size, |room| put(&mut room.traits, name.to_owned(), column, size, room.uses));
    }

    pub(super) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order that has that number, if it is at hand.
    pub(super) fn order(&self, number: i64) -> Option<Arc<Order>> {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.as_ref().filter(|(other, _)| *other == number).map(|(_, order)| Arc::clone(order))
    }

    pub(super) fn keep_order(&self, number: i64, order: &Arc<Order>) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, Arc::clone(order)));
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

    fn forget_values(&mut self) {
        let values = self.values.drain().map(|(_, used)| used.size);
        self.size -= values.chain(self.traits.drain().map(|(_, used)| used.size)).sum::<usize>();
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
        let blocks = self.blocks.values().map(|used| (used.last, used.size));
        let values = self.values.values().map(|used| (used.last, used.size));
        let traits = self.traits.values().map(|used| (used.last, used.size));
        let mut uses: Vec<(u64, usize)> = blocks.chain(values).chain(traits).collect();
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
        self.traits.retain(|_, used| used.last > limit);
        self.size = left;
    }
}

fn find<K: Eq + Hash + Borrow<Q>, Q: Eq + Hash + ?Sized, T>(
    kept: &mut FxHashMap<K, Used<T>>,
    key: &Q,
    now: u64,
) -> Option<Arc<T>> {
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
