//! Every identifier once, as a dense number.

use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::ops::Range;
use std::thread;

use hashbrown::HashTable;

pub(crate) use super::partition::Node;
use crate::id::{Identifier, Namespace};

/// The number of a namespace in this file.
pub(crate) type NamespaceNo = u16;

/// How many nodes' values lie from one start on.
const BLOCK: usize = 1 << 10;

/// How many tables the numbers are in: so many that, of millions, one fits the processor's cache.
const TABLES: usize = 64;

/// Parts of the range of hashes: the first four tables have 16 of them each, the next four 17, and so on up to 31.
const PARTS: usize = 4 * 376;

/// The table of each part.
const TABLE_OF: [u8; PARTS] = {
    let (mut tables, mut part, mut table, mut left) = ([0; PARTS], 0, 0, share(0));
    while part < PARTS {
        if left == 0 {
            table += 1;
            left = share(table as usize);
        }
        tables[part] = table;
        left -= 1;
        part += 1;
    }
    tables
};

/// How many parts a table has.
const fn share(table: usize) -> usize {
    16 + table / 4
}

/// Fewer identifiers are put into the tables one by one.
const FEW: usize = 256;

/// How many identifiers are hashed before they are put into the tables, when there are many.
const WAVE: usize = 1 << 18;

/// Identifiers by number and numbers by identifier.
///
/// Values lie one after the other in an arena, and tables of numbers find them by hash, so an identifier takes its
/// bytes and about 15 more. The hash is keyed, for many values are chosen by strangers.
///
/// A table doubles when it is full. As one has twice the share of another, and the rest lie between, there is always
/// one of them that is about to, and it is a small part of them all: memory grows evenly, and nobody waits for long.
#[derive(Clone)]
pub(crate) struct Interner {
    namespaces: Vec<Namespace>,
    bytes: Vec<u8>,
    /// Where the arena stood when each block of nodes began.
    blocks: Vec<usize>,
    /// Where each node's value ends, counted from its block's start.
    ends: Vec<u32>,
    kinds: Vec<NamespaceNo>,
    tables: Vec<HashTable<u32>>,
    /// How many nodes are in the tables.
    indexed: usize,
    hasher: RandomState,
}

/// Makes room for `more`, a sixteenth of what is there at least: doubling would take up to twice what is needed.
fn make_room<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact(more.max(vec.len() / 16));
    }
}

/// The hash of an identifier.
fn hash_of(hasher: &RandomState, kind: NamespaceNo, value: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(value);
    state.write_u16(kind);
    state.finish()
}

/// Puts a number that is not there yet into its table. `hash` gives the hash of a number that is.
fn insert(table: &mut HashTable<u32>, hashed: u64, index: u32, hash: impl Fn(&u32) -> u64) {
    if table.len() == table.capacity() {
        // In order of their numbers, as the values lie; the order of the old table would jump about in memory.
        let mut indexes: Vec<u32> = std::mem::take(table).into_iter().collect();
        indexes.sort_unstable();
        *table = HashTable::with_capacity(indexes.len() + 1);
        for index in indexes {
            table.insert_unique(hash(&index), index, &hash);
        }
    }
    table.insert_unique(hashed, index, hash);
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            bytes: Vec::new(),
            blocks: Vec::new(),
            ends: Vec::new(),
            kinds: Vec::new(),
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            indexed: 0,
            hasher: RandomState::new(),
        }
    }
}

/// Where the value of a node lies, of the blocks' starts and the values' ends.
fn place_of(blocks: &[usize], ends: &[u32], index: usize) -> Range<usize> {
    let base = blocks[index / BLOCK];
    let start = if index.is_multiple_of(BLOCK) { 0 } else { ends[index - 1] as usize };
    base + start..base + ends[index] as usize
}

/// The value of a node, of the arena, the blocks' starts and the values' ends.
fn value_of<'b>(bytes: &'b [u8], blocks: &[usize], ends: &[u32], index: usize) -> &'b [u8] {
    &bytes[place_of(blocks, ends, index)]
}

/// The place of the table that a hash belongs to, of all or of one. `hashbrown` looks at its lowest and at its highest bits.
fn table_of(hash: u64, tables: usize) -> usize {
    if tables == 1 {
        return 0;
    }
    let sixteen = (hash >> 40) as usize & 0xFFFF;
    usize::from(TABLE_OF[(sixteen * PARTS) >> 16])
}

impl Interner {
    /// An empty one for few identifiers, with the same hashes.
    pub(crate) fn beside(&self) -> Self {
        Self { tables: vec![HashTable::new()], hasher: self.hasher.clone(), ..Self::default() }
    }

    /// How many identifiers there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All identifiers, in order of their numbers.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..self.len()).map(Node::at)
    }

    /// The namespaces in order of their numbers.
    pub(crate) fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// The number of a namespace, if any identifier may bear it yet.
    pub(crate) fn namespace(&self, namespace: &Namespace) -> Option<NamespaceNo> {
        let place = self.namespaces.iter().position(|known| known == namespace)?;
        NamespaceNo::try_from(place).ok()
    }

    /// Gives the next number to a namespace.
    pub(crate) fn add_namespace(&mut self, namespace: Namespace) {
        self.namespaces.push(namespace);
    }

    /// The number of a node's namespace.
    pub(crate) fn kind(&self, node: Node) -> NamespaceNo {
        self.kinds[node.index()]
    }

    /// The namespace of a node.
    pub(crate) fn namespace_of(&self, node: Node) -> &Namespace {
        &self.namespaces[usize::from(self.kind(node))]
    }

    /// The value of a node.
    pub(crate) fn value(&self, node: Node) -> &str {
        std::str::from_utf8(self.value_bytes(node.index())).unwrap_or_default()
    }

    /// The identifier of a node.
    pub(crate) fn identifier(&self, node: Node) -> Identifier {
        Identifier::new(self.namespace_of(node).clone(), self.value(node))
    }

    /// The value of a node, empty if there is none of that number: the file may be damaged.
    fn value_bytes(&self, index: usize) -> &[u8] {
        if index < self.len() { value_of(&self.bytes, &self.blocks, &self.ends, index) } else { &[] }
    }

    /// The node of an identifier.
    pub(crate) fn find(&self, kind: NamespaceNo, value: &str) -> Option<Node> {
        self.find_hashed(self.hash(kind, value), kind, value)
    }

    /// The hash of an identifier.
    pub(crate) fn hash(&self, kind: NamespaceNo, value: &str) -> u64 {
        hash_of(&self.hasher, kind, value.as_bytes())
    }

    /// The node of an identifier that has this [hash](Self::hash).
    pub(crate) fn find_hashed(&self, hash: u64, kind: NamespaceNo, value: &str) -> Option<Node> {
        let is_it = |&index: &u32| {
            let index = index as usize;
            self.kinds[index] == kind && self.value_bytes(index) == value.as_bytes()
        };
        self.tables[table_of(hash, self.tables.len())].find(hash, is_it).map(|index| Node(*index))
    }

    /// The nodes of many identifiers with their [hashes](Self::hash). Each step of a search asks memory for a place far from the
    /// others; taken by all searches before the next, they are waited for together.
    pub(crate) fn find_all(&self, asked: &[(u64, NamespaceNo, &str)]) -> Vec<Option<Node>> {
        // Most often the only node that may have the hash, as far as can be told without a look at its value.
        let likely = |(hash, ..): &(u64, NamespaceNo, &str)| {
            self.tables[table_of(*hash, self.tables.len())].find(*hash, |_| true).map(|index| *index as usize)
        };
        let likely: Vec<Option<usize>> = asked.iter().map(likely).collect();
        let place = |index: usize| (index, self.kinds[index], place_of(&self.blocks, &self.ends, index));
        let places: Vec<_> = likely.into_iter().map(|index| index.map(place)).collect();
        let found = asked.iter().zip(places).map(|(&(hash, kind, value), likely)| {
            let (index, its_kind, place) = likely?;
            if its_kind == kind && self.bytes[place] == *value.as_bytes() {
                return Some(Node::at(index));
            }
            self.find_hashed(hash, kind, value)
        });
        found.collect()
    }

    /// Gives the next number to an identifier that [`find`](Self::find) does not know.
    pub(crate) fn push(&mut self, kind: NamespaceNo, value: &str) -> Node {
        let node = Node::at(self.len());
        self.append([kind].into_iter(), [value.len()].into_iter(), value.as_bytes());
        self.index();
        node
    }

    /// Gives the next numbers to the identifiers of another, none of which is known here or was forgotten there.
    pub(crate) fn extend(&mut self, other: &Self) {
        let ends = other.ends.iter().enumerate();
        let ends = ends.map(|(index, end)| other.blocks[index / BLOCK] + *end as usize);
        self.append(other.kinds.iter().copied(), ends, &other.bytes);
        self.index();
    }

    /// Gives the next numbers to identifiers of these namespaces, with values that end at these places in `bytes`.
    /// They are found when they have been [indexed](Self::index).
    pub(crate) fn append(
        &mut self,
        kinds: impl ExactSizeIterator<Item = NamespaceNo>,
        ends: impl ExactSizeIterator<Item = usize>,
        bytes: &[u8],
    ) {
        make_room(&mut self.kinds, kinds.len());
        make_room(&mut self.ends, ends.len());
        make_room(&mut self.bytes, bytes.len());
        self.kinds.extend(kinds);
        let (before, mut start) = (self.bytes.len(), 0);
        for end in ends {
            if self.ends.len().is_multiple_of(BLOCK) {
                self.blocks.push(before + start);
            }
            let block = self.blocks.last().copied().unwrap_or_default();
            // An event is far smaller than 4 MiB, so a block of 2^10 values ends below 2^32.
            self.ends.push(Node::at(before + end - block).0);
            start = end;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether an identifier was forgotten: its number stands for nobody any more.
    pub(crate) fn is_forgotten(&self, node: Node) -> bool {
        self.value_bytes(node.index()).is_empty()
    }

    /// Takes the values of some nodes out. Their numbers stay, without a value, and are never used again.
    pub(crate) fn forget(&mut self, nodes: &[Node]) {
        let mut gone: Vec<usize> = nodes.iter().map(|node| node.index()).collect();
        gone.retain(|index| *index < self.len() && !self.value_bytes(*index).is_empty());
        gone.sort_unstable();
        gone.dedup();
        let Some(&first) = gone.first() else { return };
        for &index in &gone {
            let hash = hash_of(&self.hasher, self.kinds[index], self.value_bytes(index));
            let table = table_of(hash, self.tables.len());
            if let Ok(entry) = self.tables[table].find_entry(hash, |other| *other as usize == index) {
                entry.remove();
            }
        }
        // What lies behind moves up, and nothing stays of what was there.
        let mut gone = gone.into_iter().peekable();
        let mut to = self.blocks[first / BLOCK];
        let (mut old, mut new, mut start) = (to, to, to);
        for index in first / BLOCK * BLOCK..self.len() {
            if index.is_multiple_of(BLOCK) {
                (old, new) = (self.blocks[index / BLOCK], to);
                self.blocks[index / BLOCK] = to;
                start = old;
            }
            let end = old + self.ends[index] as usize;
            if gone.next_if_eq(&index).is_none() {
                self.bytes.copy_within(start..end, to);
                to += end - start;
            }
            self.ends[index] = Node::at(to - new).0;
            start = end;
        }
        self.bytes[to..].fill(0);
        self.bytes.truncate(to);
    }

    /// Makes all identifiers known to [`find`](Self::find), but for those that were forgotten.
    pub(crate) fn index(&mut self) {
        let Self { bytes, blocks, ends, kinds, tables, hasher, indexed, .. } = self;
        let hash = |&index: &u32| {
            let index = index as usize;
            hash_of(hasher, kinds[index], value_of(bytes, blocks, ends, index))
        };
        let is_there = |index: &u32| !value_of(bytes, blocks, ends, *index as usize).is_empty();
        if ends.len() - *indexed < FEW || tables.len() == 1 {
            for index in (*indexed..ends.len()).map(|index| Node::at(index).0).filter(is_there) {
                let hashed = hash(&index);
                let table = table_of(hashed, tables.len());
                insert(&mut tables[table], hashed, index, hash);
            }
            *indexed = ends.len();
            return;
        }
        for (number, table) in tables.iter_mut().enumerate().filter(|(_, table)| table.is_empty()) {
            table.reserve((ends.len() - *indexed) * share(number) / PARTS, hash);
        }
        // One table after the other, as far as there is room to keep hashes: what is written lies close together. Two
        // threads share the work, first by identifiers and then by tables.
        let sort = |indexes: Range<usize>, sorted: &mut Sorted| {
            for index in indexes.map(|index| Node::at(index).0).filter(is_there) {
                let hashed = hash(&index);
                sorted[table_of(hashed, TABLES)].push((hashed, index));
            }
        };
        let fill = |tables: &mut [HashTable<u32>], sorted: [&mut [Vec<(u64, u32)>]; 2]| {
            for sorted in sorted {
                for (table, sorted) in tables.iter_mut().zip(sorted) {
                    sorted.drain(..).for_each(|(hashed, index)| insert(table, hashed, index, hash));
                }
            }
        };
        let (mut low, mut high) = (vec![Vec::new(); TABLES], vec![Vec::new(); TABLES]);
        while *indexed < ends.len() {
            let until = ends.len().min(*indexed + WAVE);
            let middle = if until - *indexed < WAVE { until } else { *indexed + WAVE / 2 };
            both(until > middle, || sort(*indexed..middle, &mut low), || sort(middle..until, &mut high));
            let (tables, others) = tables.split_at_mut(TABLES / 2);
            let (low, other_low) = low.split_at_mut(TABLES / 2);
            let (high, other_high) = high.split_at_mut(TABLES / 2);
            both(until > middle, || fill(tables, [low, high]), || fill(others, [other_low, other_high]));
            *indexed = until;
        }
    }
}

/// Hashes and numbers by table.
type Sorted = Vec<Vec<(u64, u32)>>;

/// Does two things, at the same time if that is worth a thread.
fn both(is_much: bool, one: impl FnOnce(), other: impl FnOnce() + Send) {
    if is_much {
        thread::scope(|scope| {
            scope.spawn(other);
            one();
        });
    } else {
        one();
        other();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_identifiers_find_each_other_across_blocks() {
        let mut interner = Interner::default();
        interner.add_namespace(Namespace::USER_ID);
        interner.add_namespace(Namespace::EMAIL);
        let many = 2 * BLOCK + 3;
        for n in 0..many {
            let node = interner.push(0, &format!("u{n}"));
            assert_eq!(node.index(), n);
        }
        let email = interner.push(1, "u1");
        assert_eq!(interner.find(1, "u1"), Some(email));
        assert_eq!(interner.identifier(email).to_string(), "email:u1");
        for n in (0..many).step_by(977).chain([BLOCK - 1, BLOCK, many - 1]) {
            assert_eq!(interner.find(0, &format!("u{n}")), Some(Node::at(n)));
            assert_eq!(interner.value(Node::at(n)), format!("u{n}"));
        }
        assert_eq!(interner.find(0, "nobody"), None);
        assert_eq!(interner.namespace(&Namespace::PHONE), None);

        // Of those that are not there, some have a hash by which another is likely.
        let names: Vec<String> = (0..2 * many).map(|n| format!("u{n}")).collect();
        let both = names.iter().flat_map(|name| [(0, name.as_str()), (1, name)]);
        let asked: Vec<_> = both.map(|(kind, name)| (interner.hash(kind, name), kind, name)).collect();
        let found = interner.find_all(&asked);
        let one_by_one: Vec<_> = asked.iter().map(|(_, kind, name)| interner.find(*kind, name)).collect();
        assert_eq!(found, one_by_one);
        assert_eq!(found.iter().flatten().count(), many + 1);
        let likely = |hash: u64| interner.tables[table_of(hash, TABLES)].find(hash, |_| true).is_some();
        assert!(asked.iter().zip(&found).any(|((hash, ..), found)| found.is_none() && likely(*hash)));
    }

    #[test]
    fn what_is_forgotten_is_not_found_and_moves_nothing_else() {
        let mut interner = Interner::default();
        interner.add_namespace(Namespace::USER_ID);
        let many = 3 * BLOCK + 5;
        for n in 0..many {
            interner.push(0, &format!("u{n}"));
        }
        let gone = [0, 7, 8, BLOCK - 1, BLOCK, 2 * BLOCK + 9, many - 1, 7];
        interner.forget(&gone.map(Node::at));
        let told = |interner: &Interner| {
            for n in 0..many {
                let (node, value) = (Node::at(n), format!("u{n}"));
                let is_gone = gone.contains(&n);
                assert_eq!(interner.is_forgotten(node), is_gone, "{n}");
                assert_eq!(interner.value(node), if is_gone { "" } else { &value });
                assert_eq!(interner.find(0, &value), (!is_gone).then_some(node));
            }
        };
        told(&interner);
        assert!(!String::from_utf8_lossy(&interner.bytes).contains("u7u8"));
        assert_eq!(interner.find(0, ""), None);
        // Somebody of that name is somebody new.
        assert_eq!(interner.push(0, "u7"), Node::at(many));
        assert_eq!(interner.find(0, "u7"), Some(Node::at(many)));
        // As a file is read that has been through it: what has no value is not looked for.
        let mut again = Interner::default();
        again.add_namespace(Namespace::USER_ID);
        let values: Vec<&str> = (0..many).map(|n| interner.value(Node::at(n))).collect();
        let mut end = 0;
        let ends: Vec<usize> = values
            .iter()
            .map(|value| {
                end += value.len();
                end
            })
            .collect();
        again.append(values.iter().map(|_| 0), ends.into_iter(), values.concat().as_bytes());
        again.index();
        told(&again);
    }

    #[test]
    fn what_was_beside_is_found_in_its_place() {
        let mut interner = Interner::default();
        interner.add_namespace(Namespace::USER_ID);
        for n in 0..10 {
            interner.push(0, &format!("u{n}"));
        }
        for (from, until) in [(10, 11), (11, 20), (20, 20), (20, 20 + 3 * BLOCK + 7)] {
            let mut beside = interner.beside();
            for n in from..until {
                let value = format!("u{n}");
                let hash = interner.hash(0, &value);
                assert_eq!(beside.find_hashed(hash, 0, &value), None);
                assert_eq!(beside.push(0, &value), Node::at(n - from));
                assert_eq!(beside.find_hashed(hash, 0, &value), Some(Node::at(n - from)));
            }
            interner.extend(&beside);
            assert_eq!(interner.len(), until);
            for n in 0..until {
                assert_eq!(interner.find(0, &format!("u{n}")), Some(Node::at(n)));
            }
        }
    }

    /// Enough for two waves, which two threads put into the tables, and some more one by one.
    #[test]
    fn what_is_appended_is_found_once_it_is_indexed() {
        let values: Vec<String> = (0..WAVE + 5_000).map(|n| format!("u{n}")).collect();
        let bytes: String = values.concat();
        let mut end = 0;
        let ends: Vec<usize> = values
            .iter()
            .map(|value| {
                end += value.len();
                end
            })
            .collect();
        let mut interner = Interner::default();
        interner.add_namespace(Namespace::USER_ID);
        interner.push(0, "first");
        interner.append(values.iter().map(|_| 0), ends.into_iter(), bytes.as_bytes());
        interner.index();
        assert_eq!(interner.push(0, "last").index(), values.len() + 1);
        assert_eq!(interner.find(0, "last"), Some(Node::at(values.len() + 1)));
        for (n, value) in values.iter().enumerate() {
            assert_eq!(interner.find(0, value), Some(Node::at(n + 1)));
        }
    }
}
