//! What was decided by hand: joins and bans, which precede every rule, and cuts, which take evidence away.

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::interner::Node;
use crate::clock::Timestamp;

/// The source of evidence that a hand gave: the name under which links made by hand are told.
pub(crate) const HAND: &str = "hand";

/// What a decision by hand says of two identifiers, or of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecisionKind {
    /// They are one person, unless a limit speaks against it.
    Link,
    /// They are one person, whatever the limits say.
    Force,
    /// They are never one person.
    Never,
    /// No evidence counts that events bear between the two directly; or, of a source, none that its events bear.
    Cut,
    /// They fell apart by a cut, and no later event joins them again.
    Apart,
}

impl DecisionKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Force => "force",
            Self::Never => "never",
            Self::Cut => "cut",
            Self::Apart => "apart",
        }
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let all = [Self::Link, Self::Force, Self::Never, Self::Cut, Self::Apart];
        all.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A decision on two identifiers, the one with the smaller number first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// Its number in the file: later decisions have larger ones.
    pub(crate) number: i64,
    pub(crate) at: Timestamp,
    pub(crate) kind: DecisionKind,
    pub(crate) a: Node,
    pub(crate) b: Node,
}

/// A ban, as one of the two sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ban {
    other: Node,
    kind: DecisionKind,
    at: Timestamp,
}

/// All decisions that stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hand {
    /// Links, forced or not, in the order in which they were decided.
    joins: Vec<Ruling>,
    bans: FxHashMap<Node, Vec<Ban>>,
    cuts: FxHashMap<(Node, Node), Timestamp>,
    /// The names of the sources whose evidence does not count.
    sources: FxHashMap<String, Timestamp>,
}

/// Two nodes, the smaller first.
pub(crate) fn pair(a: Node, b: Node) -> (Node, Node) {
    (a.min(b), a.max(b))
}

impl Hand {
    /// Adds a decision that is later than all others.
    pub(crate) fn add(&mut self, ruling: Ruling) {
        let Ruling { at, kind, a, b, .. } = ruling;
        match kind {
            DecisionKind::Link | DecisionKind::Force => self.joins.push(ruling),
            DecisionKind::Cut => {
                self.cuts.insert(pair(a, b), at);
            }
            DecisionKind::Never | DecisionKind::Apart => {
                for (one, other) in [(a, b), (b, a)] {
                    self.bans.entry(one).or_default().push(Ban { other, kind, at });
                }
            }
        }
    }

    /// Takes back every decision of two nodes that is of one of these kinds, and says whether there was any.
    pub(crate) fn lift(&mut self, a: Node, b: Node, kinds: &[DecisionKind]) -> bool {
        let key = pair(a, b);
        let joins = self.joins.len();
        self.joins.retain(|join| pair(join.a, join.b) != key || !kinds.contains(&join.kind));
        let mut lifted = self.joins.len() < joins;
        lifted |= kinds.contains(&DecisionKind::Cut) && self.cuts.remove(&key).is_some();
        for (one, other) in [(a, b), (b, a)] {
            if let Some(bans) = self.bans.get_mut(&one) {
                let before = bans.len();
                bans.retain(|ban| ban.other != other || !kinds.contains(&ban.kind));
                lifted |= bans.len() < before;
                if bans.is_empty() {
                    self.bans.remove(&one);
                }
            }
        }
        lifted
    }

    /// Takes all evidence of a source away. If it was taken away before, that stands.
    pub(crate) fn cut_source(&mut self, name: &str, at: Timestamp) {
        self.sources.entry(name.to_owned()).or_insert(at);
    }

    /// Whether the evidence of any source was taken away.
    pub(crate) fn has_cut_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// When the evidence of a source was taken away, if it was.
    pub(crate) fn source_cut(&self, name: &str) -> Option<Timestamp> {
        self.sources.get(name).copied()
    }

    /// When the evidence between two nodes was taken away, if it was.
    pub(crate) fn cut(&self, a: Node, b: Node) -> Option<Timestamp> {
        if self.cuts.is_empty() { None } else { self.cuts.get(&pair(a, b)).copied() }
    }

    /// Whether a cut took the evidence between two nodes away, or parted just these two.
    pub(crate) fn parts(&self, a: Node, b: Node) -> bool {
        let apart = |(other, kind, _)| other == b && kind == DecisionKind::Apart;
        self.cut(a, b).is_some() || self.bans(a).any(apart)
    }

    /// The links, in the order in which they were decided.
    pub(crate) fn joins(&self) -> &[Ruling] {
        &self.joins
    }

    /// Whether any two nodes must be kept apart.
    pub(crate) fn has_bans(&self) -> bool {
        !self.bans.is_empty()
    }

    /// How many nodes are banned from others.
    pub(crate) fn banned(&self) -> usize {
        self.bans.len()
    }

    /// The nodes that are banned from others.
    pub(crate) fn banned_nodes(&self) -> impl Iterator<Item = Node> + '_ {
        self.bans.keys().copied()
    }

    /// The pairs that must be kept apart, each once.
    pub(crate) fn banned_pairs(&self) -> impl Iterator<Item = (Node, Node)> + '_ {
        let each = self.bans.iter().flat_map(|(node, bans)| bans.iter().map(|ban| (*node, ban.other)));
        each.filter(|(node, other)| node < other)
    }

    /// Those from whom a node is banned: whom, by what, and since when.
    pub(crate) fn bans(&self, node: Node) -> impl Iterator<Item = (Node, DecisionKind, Timestamp)> + '_ {
        self.bans.get(&node).into_iter().flatten().map(|ban| (ban.other, ban.kind, ban.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(number: i64, kind: DecisionKind, a: u32, b: u32) -> Ruling {
        Ruling { number, at: Timestamp::from_millis(number), kind, a: Node(a), b: Node(b) }
    }

    #[test]
    fn a_ban_is_known_from_both_sides_and_can_be_lifted() {
        let mut hand = Hand::default();
        hand.add(ruling(1, DecisionKind::Never, 1, 2));
        hand.add(ruling(2, DecisionKind::Apart, 2, 3));
        let seen = |hand: &Hand, node: u32| {
            let mut seen: Vec<u32> = hand.bans(Node(node)).map(|(other, ..)| other.0).collect();
            seen.sort_unstable();
            seen
        };
        assert_eq!((seen(&hand, 1), seen(&hand, 2), seen(&hand, 3)), (vec![2], vec![1, 3], vec![2]));
        assert!(!hand.lift(Node(3), Node(2), &[DecisionKind::Never]));
        assert_eq!(seen(&hand, 3), [2]);
        assert!(hand.lift(Node(3), Node(2), &[DecisionKind::Apart]));
        assert_eq!((seen(&hand, 2), hand.banned()), (vec![1], 2));
    }

    #[test]
    fn links_and_cuts_are_of_pairs_in_either_order() {
        let mut hand = Hand::default();
        hand.add(ruling(1, DecisionKind::Link, 1, 2));
        hand.add(ruling(2, DecisionKind::Force, 2, 3));
        hand.add(ruling(3, DecisionKind::Cut, 2, 1));
        assert!(hand.cut(Node(1), Node(2)).is_some() && hand.cut(Node(2), Node(3)).is_none());
        assert!(hand.lift(Node(2), Node(1), &[DecisionKind::Link, DecisionKind::Cut]));
        assert_eq!(hand.joins().len(), 1);
        assert_eq!(hand.cut(Node(1), Node(2)), None);
    }
}
