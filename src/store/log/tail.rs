//! The events that are not sealed yet, as columns in memory.

use rustc_hash::FxHashMap;

use super::block::Entry;

/// Ends a chain.
const END: u32 = u32::MAX;

/// The end of the log: from the last seal on.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The number from which on nothing is sealed, and the number that the next event has.
    from: u32,
    until: u32,
    /// By number. Where events were removed there are gaps.
    entries: Vec<Entry>,
    /// Of each entry the place of the one before it of the same node, and of each node the place of its last.
    before: Vec<u32>,
    last: FxHashMap<u32, u32>,
    /// By the hash of its message id the place of an entry; of those whose hash another has, beside it.
    ids: FxHashMap<u64, u32>,
    twins: Vec<(u64, u32)>,
}

impl Tail {
    /// An empty tail behind what is sealed.
    pub(super) fn new(from: u32) -> Self {
        Self { from, until: from, ..Self::default() }
    }

    pub(super) fn from(&self) -> u32 {
        self.from
    }

    pub(super) fn until(&self) -> u32 {
        self.until
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds an event, whose message id has that hash.
    pub(super) fn push(&mut self, entry: Entry, hash: u64) {
        let place = u32::try_from(self.entries.len()).unwrap_or(END);
        self.before.push(self.last.insert(entry.node, place).unwrap_or(END));
        if let Some(other) = self.ids.insert(hash, place) {
            self.twins.push((hash, other));
        }
        self.entries.push(entry);
        self.until = self.until.max(entry.event + 1);
    }

    /// Notes that the log covers numbers up to this one, whether there are events or not.
    pub(super) fn cover(&mut self, until: u32) {
        self.until = self.until.max(until);
    }

    /// The entries of a node, the last first.
    pub(super) fn of(&self, node: u32) -> impl Iterator<Item = Entry> {
        let mut place = self.last.get(&node).copied().unwrap_or(END);
        std::iter::from_fn(move || {
            let entry = *self.entries.get(place as usize)?;
            place = self.before[place as usize];
            Some(entry)
        })
    }

    /// An entry by its number.
    pub(super) fn get(&self, event: u32) -> Option<Entry> {
        let place = self.entries.binary_search_by_key(&event, |entry| entry.event).ok()?;
        Some(self.entries[place])
    }

    /// The numbers of the events whose message id has a hash: one, if any.
    pub(super) fn with_hash(&self, hash: u64) -> impl Iterator<Item = u32> {
        let twins = self.twins.iter().filter(move |(twin, _)| *twin == hash).map(|(_, place)| place);
        self.ids.get(&hash).into_iter().chain(twins).map(|place| self.entries[*place as usize].event)
    }

    /// The hashes of all message ids, each with its event.
    pub(super) fn hashes(&self) -> impl Iterator<Item = (u64, u32)> {
        let of = |hash: u64, place: u32| (hash, self.entries[place as usize].event);
        let all = self.ids.iter().map(|(hash, place)| (*hash, *place)).chain(self.twins.iter().copied());
        all.map(move |(hash, place)| of(hash, place))
    }

    /// Gives an event that nobody else has seen yet to another node.
    pub(super) fn give(&mut self, event: u32, node: u32) {
        let Ok(place) = self.entries.binary_search_by_key(&event, |entry| entry.event) else { return };
        let former = std::mem::replace(&mut self.entries[place].node, node);
        let own = u32::try_from(place).unwrap_or(END);
        // Out of the chain of the one, into the chain of the other at the place that keeps it in order.
        let next = |tail: &Self, node: u32| {
            let (mut after, mut here) = (END, tail.last.get(&node).copied().unwrap_or(END));
            while here != END && here > own {
                (after, here) = (here, tail.before[here as usize]);
            }
            (after, here)
        };
        let (after, _) = next(self, former);
        let before = self.before[place];
        if after != END {
            self.before[after as usize] = before;
        } else if before == END {
            self.last.remove(&former);
        } else {
            self.last.insert(former, before);
        }
        let (after, before) = next(self, node);
        self.before[place] = before;
        if after == END {
            self.last.insert(node, own);
        } else {
            self.before[after as usize] = own;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_node_has_its_events_whoever_they_are_given_to(
            nodes in prop::collection::vec(0..5_u32, 1..40),
            gifts in prop::collection::vec((any::<prop::sample::Index>(), 0..5_u32), 0..20),
        ) {
            let mut tail = Tail::new(10);
            let mut model: Vec<Entry> = Vec::new();
            for (event, node) in (10..).zip(&nodes) {
                let entry = Entry { node: *node, at: 0, event, name: 0, source: 0 };
                tail.push(entry, u64::from(*node));
                model.push(entry);
            }
            for (which, node) in gifts {
                let entry = &mut model[which.index(nodes.len())];
                entry.node = node;
                tail.give(entry.event, node);
            }
            for node in 0..5 {
                let mut found: Vec<Entry> = tail.of(node).collect();
                found.reverse();
                let own: Vec<Entry> = model.iter().filter(|entry| entry.node == node).copied().collect();
                prop_assert_eq!(found, own);
                let mut same: Vec<u32> = tail.with_hash(node.into()).collect();
                same.sort_unstable();
                let hashed = (10..).zip(&nodes).filter(|(_, first)| **first == node);
                let hashed: Vec<u32> = hashed.map(|(event, _)| event).collect();
                prop_assert_eq!(same, hashed);
            }
        }
    }
}
