//! Every identifier once, as a dense number.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::id::{Identifier, Namespace};

/// An identifier's number: dense, given in order of arrival, and never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Node(pub(crate) u32);

impl Node {
    /// The number as an index.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// The node of an index.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a file holds fewer than 2^32 identifiers: `intern` sees to it"
    )]
    pub(crate) fn at(index: usize) -> Self {
        Self(index as u32)
    }
}

/// The number of a namespace in this file.
pub(crate) type NamespaceNo = u16;

/// Nodes whose values' places are kept relative to one common start.
const BLOCK: usize = 1 << 16;

/// Identifiers by number and numbers by identifier.
///
/// Values lie one after the other in an arena, and a table of numbers finds them by hash, so an identifier takes
/// its bytes and about 15 more. The hash is keyed, for many values are chosen by strangers.
#[derive(Clone, Default)]
pub(crate) struct Interner {
    namespaces: Vec<Namespace>,
    bytes: Vec<u8>,
    /// Where the arena stood when each block of nodes began.
    blocks: Vec<usize>,
    /// Where each node's value ends, counted from its block's start.
    ends: Vec<u32>,
    kinds: Vec<NamespaceNo>,
    table: HashTable<u32>,
    hasher: RandomState,
}

impl Interner {
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

    fn value_bytes(&self, index: usize) -> &[u8] {
        let base = self.blocks[index / BLOCK];
        let start = if index.is_multiple_of(BLOCK) { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[base + start..base + self.ends[index] as usize]
    }

    fn hash(&self, kind: NamespaceNo, value: &[u8]) -> u64 {
        self.hasher.hash_one((kind, value))
    }

    /// The node of an identifier.
    pub(crate) fn find(&self, kind: NamespaceNo, value: &str) -> Option<Node> {
        let hash = self.hash(kind, value.as_bytes());
        let is_it = |&index: &u32| {
            let index = index as usize;
            self.kinds[index] == kind && self.value_bytes(index) == value.as_bytes()
        };
        self.table.find(hash, is_it).map(|index| Node(*index))
    }

    /// Gives the next number to an identifier that [`find`](Self::find) does not know.
    pub(crate) fn push(&mut self, kind: NamespaceNo, value: &str) -> Node {
        let index = self.ends.len();
        if index.is_multiple_of(BLOCK) {
            self.blocks.push(self.bytes.len());
        }
        self.bytes.extend_from_slice(value.as_bytes());
        let end = self.bytes.len() - self.blocks[index / BLOCK];
        // Values are at most 1,024 bytes, so a block of 2^16 of them ends below 2^32.
        self.ends.push(Node::at(end).0);
        self.kinds.push(kind);
        let hash = self.hash(kind, value.as_bytes());
        let Self { table, hasher, kinds, bytes, blocks, ends, .. } = self;
        let rehash = |&index: &u32| {
            let index = index as usize;
            let base = blocks[index / BLOCK];
            let start = if index.is_multiple_of(BLOCK) { 0 } else { ends[index - 1] as usize };
            hasher.hash_one((kinds[index], &bytes[base + start..base + ends[index] as usize]))
        };
        table.insert_unique(hash, Node::at(index).0, rehash);
        Node::at(index)
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
    }
}
