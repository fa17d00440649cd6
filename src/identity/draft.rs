//! What a batch does to the partition, worked out beside it.
//!
//! A [`Draft`] answers as if its joins had been made, and leaves [`Identities`] as they are: they change only
//! when the batch is committed, so memory cannot run ahead of the disk.

use rustc_hash::{FxHashMap, FxHashSet};

use super::counts::{Counts, Limits};
use super::evidence::{Evidence, LinkKey};
use super::identities::{Identities, Person};
use super::interner::{Interner, NamespaceNo, Node};
use super::partition::ProfileNo;
use super::rules::{Day, Rules};
use crate::clock::Timestamp;
use crate::id::{Identifier, Namespace};

/// How many namespaces a file holds at most. The types of external ids come from events, so strangers could make any
/// number of them.
pub(crate) const NAMESPACES: usize = 1_000;

/// One change to the partition.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A dormant node becomes a set of its own, of that profile.
    Hold(Node, ProfileNo),
    /// The sets of two nodes become one.
    Join(Node, Node),
    /// These nodes, which are whole sets together, become dormant.
    Release(Vec<Node>),
    /// All nodes become dormant.
    ReleaseAll,
    /// The set of a node is of that profile.
    Assign(Node, ProfileNo),
}

/// A profile that came to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Founded {
    pub(crate) profile: ProfileNo,
    pub(crate) founder: Node,
}

/// A profile that was absorbed by an older one.
#[derive(Debug, Clone)]
pub(crate) struct Absorbed {
    pub(crate) profile: ProfileNo,
    pub(crate) by: ProfileNo,
    /// The message id of the event that says so.
    pub(crate) message_id: String,
}

/// A set of nodes as it stands in a draft.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) counts: Counts,
    pub(super) profile: Option<ProfileNo>,
    /// What it is made of: roots of the partition, each for its whole set, and nodes that are dormant there.
    pub(super) parts: Vec<Node>,
    /// Its nodes that are banned from others.
    pub(super) banned: Vec<Node>,
}

/// Which sets of the base no longer hold in a draft.
#[derive(Default)]
enum Released {
    #[default]
    Nothing,
    Some(FxHashSet<Node>),
    All,
}

/// The changes of a batch, beside the identities that they are to be applied to.
#[derive(Default)]
pub(crate) struct Draft {
    /// New namespaces, numbered from where the interner's end.
    pub(super) namespaces: Vec<Namespace>,
    /// New identifiers, numbered from where the interner's end; the namespaces' numbers are final.
    pub(super) fresh: Interner,
    pub(super) steps: Vec<Step>,
    pub(super) sets: FxHashMap<Node, Set>,
    /// Nodes that were first seen earlier than was known.
    pub(super) days: FxHashMap<Node, Day>,
    /// Devices that are or are no longer shared.
    pub(super) shared: FxHashMap<Node, bool>,
    /// `anonymous_id`s that no event has borne as `anonymousId`, and such that one now has.
    pub(super) unborne: FxHashMap<Node, bool>,
    /// Nodes whose values are to be forgotten.
    pub(super) forgotten: Vec<Node>,
    pub(super) next_profile: u32,
    first_node: usize,
    parents: FxHashMap<Node, Node>,
    released: Released,
    /// What has yet to be written to the file.
    pub(crate) pending: Pending,
}

/// What a draft changes in the file, since it was last written there.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) founded: Vec<Founded>,
    pub(crate) absorbed: Vec<Absorbed>,
    pub(crate) links: FxHashMap<LinkKey, Evidence>,
    /// The nodes that were dormant and no longer are, with the profile that each was given.
    pub(crate) held: FxHashMap<Node, ProfileNo>,
    /// Nodes of before that were first seen earlier than was known.
    pub(crate) days: FxHashMap<Node, Day>,
    /// How many of the new namespaces and identifiers have been written.
    pub(crate) written: (usize, usize),
}

/// What resolution goes by.
#[derive(Clone, Copy)]
pub(crate) struct Basis<'b> {
    pub(crate) identities: &'b Identities,
    pub(crate) rules: &'b Rules,
    pub(crate) hand: &'b super::hand::Hand,
}

/// A state of a draft to which it can go back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    steps: usize,
    next_profile: u32,
}

impl Draft {
    /// A draft without changes.
    pub(crate) fn on(base: &Identities) -> Self {
        Self {
            fresh: base.interner.beside(),
            first_node: base.interner.len(),
            next_profile: base.next_profile,
            ..Self::default()
        }
    }

    /// The number of a namespace, a new one if need be and if there is room for it.
    fn namespace(&mut self, base: &Identities, namespace: &Namespace) -> Option<NamespaceNo> {
        if let Some(number) = base.interner.namespace(namespace) {
            return Some(number);
        }
        let known = base.interner.namespaces().len();
        let place = match self.namespaces.iter().position(|new| new == namespace) {
            Some(place) => place,
            None if known + self.namespaces.len() >= NAMESPACES => return None,
            None => {
                self.namespaces.push(namespace.clone());
                self.namespaces.len() - 1
            }
        };
        NamespaceNo::try_from(known + place).ok()
    }

    /// The number of a namespace, if it is known to the base or to this draft.
    pub(super) fn namespace_number(&self, base: &Identities, namespace: &Namespace) -> Option<NamespaceNo> {
        base.interner.namespace(namespace).or_else(|| {
            let new = self.namespaces.iter().position(|new| new == namespace)?;
            NamespaceNo::try_from(base.interner.namespaces().len() + new).ok()
        })
    }

    /// The node of an identifier, if it is known to the base or to this draft.
    pub(crate) fn find(&self, base: &Identities, namespace: &Namespace, value: &str) -> Option<Node> {
        let kind = self.namespace_number(base, namespace)?;
        self.find_of(base, kind, value)
    }

    fn find_of(&self, base: &Identities, kind: NamespaceNo, value: &str) -> Option<Node> {
        let hash = base.interner.hash(kind, value);
        let fresh = || self.fresh.find_hashed(hash, kind, value).map(|fresh| self.numbered(fresh));
        base.interner.find_hashed(hash, kind, value).or_else(fresh)
    }

    /// The node of an identifier, a new and dormant one if need be. `None` if that took one namespace too many.
    pub(crate) fn intern(&mut self, base: &Identities, namespace: &Namespace, value: &str) -> Option<Node> {
        let kind = self.namespace(base, namespace)?;
        if let Some(node) = self.find_of(base, kind, value) {
            return Some(node);
        }
        let fresh = self.fresh.push(kind, value);
        let node = self.numbered(fresh);
        if *namespace == Namespace::ANONYMOUS_ID {
            self.unborne.insert(node, true);
        }
        Some(node)
    }

    /// Whether any event has borne a value as `anonymousId`. A hand, another member of an event and the rules can name an
    /// `anonymous_id` that none has.
    pub(crate) fn is_anonymous_id(&self, base: &Identities, value: &str) -> bool {
        let unborne = |node| self.unborne.get(&node).copied().unwrap_or_else(|| base.unborne.contains(&node));
        self.find(base, &Namespace::ANONYMOUS_ID, value).is_some_and(|node| !unborne(node))
    }

    /// Notes that an event bears a value as `anonymousId`. Gives its node, if there is room for the namespace.
    pub(super) fn bear_anonymous_id(&mut self, base: &Identities, value: &str) -> Option<Node> {
        let node = self.intern(base, &Namespace::ANONYMOUS_ID, value)?;
        self.bear(base, node);
        Some(node)
    }

    /// Notes that an event bears the value of a node as `anonymousId`.
    pub(super) fn bear(&mut self, base: &Identities, node: Node) {
        self.unborne.remove(&node);
        if base.unborne.contains(&node) {
            self.unborne.insert(node, false);
        }
    }

    /// Takes it that no event bears an `anonymous_id` as `anonymousId` any more, until one does.
    pub(crate) fn unbear(&mut self, base: &Identities, node: Node) {
        if *self.namespace_of(base, self.kind(base, node)) == Namespace::ANONYMOUS_ID {
            self.unborne.insert(node, true);
        }
    }

    /// Lets go of the values of nodes, which are nobody's by now.
    pub(crate) fn forget(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.unborne.insert(*node, false);
            self.shared.insert(*node, false);
        }
        self.forgotten.extend(nodes);
    }

    /// The `anonymous_id`s that no event has borne as `anonymousId` or that one now has, since the base.
    pub(crate) fn unborne_changes(&self) -> impl Iterator<Item = (Node, bool)> {
        self.unborne.iter().map(|(node, unborne)| (*node, *unborne))
    }

    /// The final number of one of this draft's own nodes.
    fn numbered(&self, fresh: Node) -> Node {
        Node::at(self.first_node + fresh.index())
    }

    /// The new namespaces that have yet to be written, with their numbers.
    pub(crate) fn new_namespaces(&self, base: &Identities) -> impl Iterator<Item = (usize, &Namespace)> {
        let known = base.interner.namespaces().len();
        self.namespaces
            .iter()
            .enumerate()
            .skip(self.pending.written.0)
            .map(move |(n, name)| (known + n, name))
    }

    /// The new identifiers that have yet to be written, with their final numbers.
    pub(crate) fn new_identifiers(&self) -> impl Iterator<Item = (Node, NamespaceNo, &str)> {
        let new = self.fresh.nodes().skip(self.pending.written.1);
        new.map(|node| (self.numbered(node), self.fresh.kind(node), self.fresh.value(node)))
    }

    /// Whether a node is new and has yet to be written.
    pub(crate) fn is_unwritten(&self, node: Node) -> bool {
        node.index() >= self.first_node + self.pending.written.1
    }

    /// A number for a new profile.
    pub(super) fn next_number(&mut self) -> ProfileNo {
        self.next_profile += 1;
        ProfileNo(self.next_profile - 1)
    }

    /// Takes out of what has yet to be written what concerns some nodes, whose part of the log is to be told anew. Gives
    /// the numbers of profiles that were founded among them, in order.
    pub(crate) fn withdraw(&mut self, base: &Identities, nodes: &[Node]) -> Vec<(ProfileNo, Node)> {
        let nodes: FxHashSet<Node> = nodes.iter().copied().collect();
        let profiles: FxHashSet<ProfileNo> =
            nodes.iter().filter_map(|node| self.profile(base, self.root(base, *node))).collect();
        let Pending { founded, absorbed, links, held, .. } = &mut self.pending;
        let free = founded.extract_if(.., |founded| nodes.contains(&founded.founder));
        let free = free.map(|founded| (founded.profile, founded.founder)).collect();
        // Who was absorbed within the same set goes with its survivor, over any number of steps.
        let mut gone = profiles;
        for absorbed in absorbed.iter().rev() {
            if gone.contains(&absorbed.by) {
                gone.insert(absorbed.profile);
            }
        }
        absorbed.retain(|absorbed| !gone.contains(&absorbed.by));
        links.retain(|(a, ..), _| !nodes.contains(a));
        held.retain(|node, _| !nodes.contains(node));
        free
    }

    /// The numbers of the profiles that came to be, and of those that were absorbed, since so many were.
    pub(crate) fn since(&self, (next, absorbed): (u32, usize)) -> (std::ops::Range<u32>, Vec<u32>) {
        let gone = self.pending.absorbed.iter().skip(absorbed).map(|absorbed| absorbed.profile.0);
        (next..self.next_profile, gone.collect())
    }

    /// The numbers of the profiles that came to be.
    pub(crate) fn founded(&self, base: &Identities) -> std::ops::Range<u32> {
        base.next_profile..self.next_profile
    }

    /// How many nodes there are, with this draft's own.
    pub(crate) fn nodes(&self) -> usize {
        self.first_node + self.fresh.len()
    }

    /// Forgets what has been written to the file by now.
    pub(crate) fn written(&mut self) {
        let written = (self.namespaces.len(), self.fresh.len());
        self.pending = Pending { written, ..Pending::default() };
    }

    /// The number of the namespace of a node.
    pub(super) fn kind(&self, base: &Identities, node: Node) -> NamespaceNo {
        match node.index().checked_sub(self.first_node) {
            Some(fresh) => self.fresh.kind(Node::at(fresh)),
            None => base.interner.kind(node),
        }
    }

    /// The namespace of a number.
    pub(super) fn namespace_of<'d>(&'d self, base: &'d Identities, kind: NamespaceNo) -> &'d Namespace {
        let known = base.interner.namespaces();
        known.get(usize::from(kind)).unwrap_or_else(|| &self.namespaces[usize::from(kind) - known.len()])
    }

    /// The value of a node.
    pub(super) fn value<'d>(&'d self, base: &'d Identities, node: Node) -> &'d str {
        match node.index().checked_sub(self.first_node) {
            Some(fresh) => self.fresh.value(Node::at(fresh)),
            None => base.interner.value(node),
        }
    }

    /// The identifier of a node.
    pub(crate) fn identifier(&self, base: &Identities, node: Node) -> Identifier {
        let namespace = self.namespace_of(base, self.kind(base, node));
        Identifier::new(namespace.clone(), self.value(base, node))
    }

    /// Whether what the base says of all nodes still holds, but for joins and further nodes.
    pub(super) fn only_adds(&self) -> bool {
        matches!(self.released, Released::Nothing)
    }

    /// The root of a node's set in the base, unless that set is released.
    fn base_root(&self, base: &Identities, node: Node) -> Option<Node> {
        match &self.released {
            Released::All => return None,
            Released::Some(nodes) if nodes.contains(&node) => return None,
            Released::Some(_) | Released::Nothing => {}
        }
        base.partition.root(node)
    }

    /// The root of a node's set in this draft. A node that is dormant is its own.
    pub(crate) fn root(&self, base: &Identities, node: Node) -> Node {
        let mut at = self.base_root(base, node).unwrap_or(node);
        while let Some(parent) = self.parents.get(&at) {
            at = *parent;
        }
        at
    }

    /// The root of a node's set in this draft, `None` if it is dormant.
    pub(crate) fn held_root(&self, base: &Identities, node: Node) -> Option<Node> {
        let root = self.root(base, node);
        self.profile(base, root).map(|_| root)
    }

    /// The members of the set of a root in this draft.
    pub(crate) fn members(&self, base: &Identities, root: Node) -> Vec<Node> {
        let whole = |part: Node| match self.base_root(base, part) {
            Some(_) => base.partition.members(part).collect(),
            None => vec![part],
        };
        match self.sets.get(&root) {
            Some(set) => set.parts.iter().flat_map(|part| whole(*part)).collect(),
            None => whole(root),
        }
    }

    /// The person who holds a node once this draft is applied, `None` if nobody does.
    pub(crate) fn person(&self, base: &Identities, node: Node) -> Option<Person> {
        let root = self.root(base, node);
        let profile = self.profile(base, root)?;
        let namespace = |node| self.namespace_of(base, self.kind(base, node));
        Some(Person::new(profile, self.members(base, root), namespace))
    }

    /// The profile of the set of a [`root`](Self::root), `None` if it is dormant.
    pub(crate) fn profile(&self, base: &Identities, root: Node) -> Option<ProfileNo> {
        match self.sets.get(&root) {
            Some(set) => set.profile,
            None => self.base_root(base, root).and_then(|root| base.partition.profile(root)),
        }
    }

    /// Whether a device belongs to nobody because several users share it.
    pub(crate) fn is_shared(&self, base: &Identities, node: Node) -> bool {
        self.shared
            .get(&node)
            .copied()
            .unwrap_or_else(|| !base.shared.is_empty() && base.shared.contains(&node))
    }

    /// The devices that are nobody's because several users share them.
    pub(crate) fn shared_devices(&self, base: &Identities) -> Vec<Node> {
        let known = base.shared.iter().chain(self.shared.keys()).copied();
        known.filter(|node| self.is_shared(base, *node)).collect()
    }

    /// The devices that are or are no longer shared since the base.
    pub(crate) fn shared_changes(&self) -> impl Iterator<Item = (Node, bool)> {
        self.shared.iter().map(|(node, shared)| (*node, *shared))
    }

    /// Notes whether a device is shared.
    pub(crate) fn set_shared(&mut self, node: Node, shared: bool) {
        self.shared.insert(node, shared);
    }

    /// The day on which a node was first seen, as far as this draft knows.
    fn day(&self, base: &Identities, node: Node) -> Day {
        let known = || match &self.released {
            Released::All => Day::NEVER,
            Released::Some(nodes) if nodes.contains(&node) => Day::NEVER,
            Released::Some(_) | Released::Nothing => base.day(node),
        };
        self.days.get(&node).copied().unwrap_or_else(known)
    }

    /// The period in which a node counts, if any limit is for one.
    fn period(&self, basis: Basis<'_>, node: Node, day: Day) -> Option<u32> {
        let kind = self.kind(basis.identities, node);
        Limits::new(basis.rules).period(self.namespace_of(basis.identities, kind), day)
    }

    /// From which period to which a node would move that counts in one, were it seen on a day.
    pub(super) fn earlier(&self, basis: Basis<'_>, node: Node, day: Day) -> Option<(NamespaceNo, u32, u32)> {
        let before = self.day(basis.identities, node);
        if !basis.rules.has_periods() || day >= before {
            return None;
        }
        let [from, to] = [before, day].map(|day| self.period(basis, node, day));
        Some((self.kind(basis.identities, node), from?, to?))
    }

    /// Takes note that a node was seen on a day, which matters if a limit is for periods.
    pub(super) fn see(&mut self, basis: Basis<'_>, node: Node, day: Day) {
        let base = basis.identities;
        if !basis.rules.has_periods() || day >= self.day(base, node) {
            return;
        }
        let root = self.root(base, node);
        self.load(basis, root);
        let moves = self.earlier(basis, node, day);
        if let (Some((kind, from, to)), Some(set)) = (moves, self.sets.get_mut(&root)) {
            set.counts.shift(kind, from, to);
        }
        self.days.insert(node, day);
        self.pending.days.insert(node, day);
    }

    /// Loads the set of a root into the draft.
    pub(super) fn load(&mut self, basis: Basis<'_>, root: Node) {
        if self.sets.contains_key(&root) {
            return;
        }
        let base = basis.identities;
        let limits = Limits::new(basis.rules);
        let set = if let Some(held) = self.base_root(base, root) {
            let counts = base.large.get(&held).cloned().unwrap_or_else(|| {
                let mut counts = Counts::default();
                for node in base.partition.members(root) {
                    let namespace = base.interner.namespace_of(node);
                    counts.add(base.interner.kind(node), limits.period(namespace, self.day(base, node)));
                }
                counts
            });
            let hand = basis.hand;
            let banned = if hand.banned() > counts.size as usize {
                base.partition.members(root).filter(|node| hand.bans(*node).next().is_some()).collect()
            } else {
                hand.banned_nodes().filter(|node| self.base_root(base, *node) == Some(held)).collect()
            };
            Set { counts, profile: base.partition.profile(root), parts: vec![root], banned }
        } else {
            let kind = self.kind(base, root);
            let mut counts = Counts::default();
            counts.add(kind, limits.period(self.namespace_of(base, kind), self.day(base, root)));
            let banned = basis.hand.bans(root).next().map(|_| root).into_iter().collect();
            Set { counts, profile: None, parts: vec![root], banned }
        };
        self.sets.insert(root, set);
    }

    /// Joins two loaded sets, the smaller to the larger, because of an event.
    pub(super) fn join(&mut self, a: Node, b: Node, message_id: &str) {
        let (large, small) =
            if self.sets[&a].counts.size >= self.sets[&b].counts.size { (a, b) } else { (b, a) };
        let (Some(mut from), Some(into)) = (self.sets.remove(&small), self.sets.get_mut(&large)) else {
            return;
        };
        self.parents.insert(small, large);
        into.counts.merge(from.counts);
        into.parts.append(&mut from.parts);
        into.banned.append(&mut from.banned);
        match (into.profile, from.profile) {
            (Some(a), Some(b)) => {
                let (by, profile) = (a.min(b), a.max(b));
                into.profile = Some(by);
                let message_id = message_id.to_owned();
                self.pending.absorbed.push(Absorbed { profile, by, message_id });
            }
            (None, profile) => into.profile = profile,
            (Some(_), None) => {}
        }
    }

    /// Sees to it that nodes, which are one set by now, are held by a profile, a new one if need be.
    pub(super) fn hold(&mut self, basis: Basis<'_>, nodes: &[Node]) {
        let (base, Some(&first)) = (basis.identities, nodes.first()) else { return };
        let root = self.root(base, first);
        if self.base_root(base, root).is_none() {
            self.load(basis, root);
        }
        let profile = if let Some(profile) = self.profile(base, root) {
            profile
        } else {
            let profile = self.next_number();
            self.pending.founded.push(Founded { profile, founder: first });
            if let Some(set) = self.sets.get_mut(&root) {
                set.profile = Some(profile);
            }
            profile
        };
        for &node in nodes {
            if self.base_root(base, node).is_none() && self.pending_hold(node, profile) {
                self.steps.push(Step::Hold(node, profile));
            }
        }
    }

    /// Notes that a node that was dormant is held. False if that was noted before.
    fn pending_hold(&mut self, node: Node, profile: ProfileNo) -> bool {
        self.pending.held.insert(node, profile).is_none()
    }

    /// What the draft is now, to which it can go back before it resolves a part of the log again. Everything pending
    /// has been written by then.
    pub(crate) fn mark(&self) -> Mark {
        Mark { steps: self.steps.len(), next_profile: self.next_profile }
    }

    /// Goes back to a mark, and lets go of nodes: all, or some that are whole sets together.
    pub(crate) fn release(&mut self, mark: Mark, nodes: Option<&[Node]>) {
        self.steps.truncate(mark.steps);
        self.next_profile = mark.next_profile;
        self.pending = Pending { written: self.pending.written, ..Pending::default() };
        if let Some(nodes) = nodes {
            for node in nodes {
                self.parents.remove(node);
                self.sets.remove(node);
                self.days.remove(node);
            }
            self.steps.push(Step::Release(nodes.to_vec()));
            match &mut self.released {
                Released::All => {}
                Released::Some(released) => released.extend(nodes),
                Released::Nothing => self.released = Released::Some(nodes.iter().copied().collect()),
            }
        } else {
            self.parents.clear();
            self.sets.clear();
            self.days.clear();
            self.steps.push(Step::ReleaseAll);
            self.released = Released::All;
        }
    }

    /// Forgets the profiles that came to be since a mark: whose the sets are is to be told.
    pub(crate) fn forget_profiles(&mut self, mark: Mark) {
        self.next_profile = mark.next_profile;
        self.pending.founded.clear();
        self.pending.absorbed.clear();
        self.pending.held.clear();
    }

    /// Gives the set of a root to a profile.
    pub(super) fn assign(&mut self, root: Node, profile: ProfileNo) {
        if let Some(set) = self.sets.get_mut(&root) {
            set.profile = Some(profile);
        }
        self.steps.push(Step::Assign(root, profile));
    }

    /// Records that an event bore both nodes.
    pub(super) fn link(&mut self, a: Node, b: Node, source: u32, at: Timestamp, message_id: &str) {
        let new = || Evidence { first_seen: at, last_seen: at, count: 0, message_id: message_id.to_owned() };
        let seen = self.pending.links.entry((a.min(b), a.max(b), source)).or_insert_with(new);
        seen.add(at, at, 1, message_id);
    }
}
