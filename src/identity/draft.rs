//! Resolution: what a batch of events does to the partition, worked out beside it.
//!
//! A [`Draft`] answers as if its joins had been made, and leaves [`Identities`] as they are: they change only
//! when the batch is committed, so memory cannot run ahead of the disk.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::extract::Borne;
use super::interner::{Interner, NamespaceNo, Node};
use super::normalise::normalise;
use super::partition::{Partition, ProfileNo};
use super::rules::Rules;
use crate::clock::Timestamp;
use crate::id::{Identifier, Namespace};

/// How many namespaces a file holds at most. The types of external ids come from events, so strangers could make any
/// number of them.
pub(crate) const NAMESPACES: usize = 1_000;

/// All identifiers of a file, and which of them are one person: what stays in memory.
#[derive(Clone, Default)]
pub(crate) struct Identities {
    pub(crate) interner: Interner,
    pub(crate) partition: Partition,
    /// The number that the next new profile gets.
    pub(crate) next_profile: u32,
}

/// The identifiers of one profile.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) profile: ProfileNo,
    pub(crate) nodes: Vec<Node>,
    /// The namespaces of the nodes, each once.
    pub(crate) namespaces: Vec<Namespace>,
}

impl Person {
    fn new<'n>(profile: ProfileNo, nodes: Vec<Node>, namespace: impl Fn(Node) -> &'n Namespace) -> Self {
        let mut namespaces: Vec<Namespace> = Vec::new();
        for namespace in nodes.iter().map(|node| namespace(*node)) {
            if !namespaces.contains(namespace) {
                namespaces.push(namespace.clone());
            }
        }
        Self { profile, nodes, namespaces }
    }
}

impl Identities {
    /// The person who holds a node, `None` if nobody does.
    pub(crate) fn person(&self, node: Node) -> Option<Person> {
        let profile = self.partition.profile(node)?;
        let nodes = self.partition.members(node).collect();
        Some(Person::new(profile, nodes, |node| self.interner.namespace_of(node)))
    }

    /// Everyone.
    pub(crate) fn people(&self) -> impl Iterator<Item = Person> + '_ {
        self.partition.roots().filter_map(|root| self.person(root))
    }

    /// The node of an identifier as the rules spell it, `None` if it is unknown.
    pub(crate) fn find(&self, rules: &Rules, identifier: &Identifier) -> Option<Node> {
        let kind = self.interner.namespace(identifier.namespace())?;
        let value = normalise(identifier.namespace(), identifier.value(), rules.region()).ok()?;
        self.interner.find(kind, &value)
    }

    /// Does to these identities what was drafted and is now committed.
    pub(crate) fn apply(&mut self, draft: &Draft) {
        for namespace in &draft.namespaces {
            self.interner.add_namespace(namespace.clone());
        }
        for node in draft.fresh.nodes() {
            self.interner.push(draft.fresh.kind(node), draft.fresh.value(node));
        }
        self.partition.grow(self.interner.len());
        for step in &draft.steps {
            match *step {
                Step::Hold(node, profile) => self.partition.found(node, profile),
                Step::Join(a, b) => self.partition.union(a, b),
            }
        }
        self.next_profile = draft.next_profile;
    }
}

/// One change to the partition.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A dormant node becomes a set of its own, of that profile.
    Hold(Node, ProfileNo),
    /// The sets of two nodes become one.
    Join(Node, Node),
}

/// A profile that came to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Founded {
    pub(crate) profile: ProfileNo,
    pub(crate) founder: Node,
}

/// A profile that was absorbed by an older one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Absorbed {
    pub(crate) profile: ProfileNo,
    pub(crate) by: ProfileNo,
}

/// An identifier that was left out of an event's resolution.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) identifier: Identifier,
    pub(crate) reason: String,
}

/// What an event says of the link between two of its identifiers.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) count: u64,
    /// The message id of the earliest event, by time and then by message id.
    pub(crate) message_id: String,
}

/// Which two nodes (the smaller first) are linked, and by the events of which source.
pub(crate) type LinkKey = (Node, Node, u32);

/// What resolution needs to know of an event besides its identifiers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion<'e> {
    pub(crate) at: Timestamp,
    pub(crate) message_id: &'e str,
    pub(crate) source: u32,
}

/// What came of the resolution of an event.
#[derive(Debug)]
pub(crate) struct Resolution {
    /// The strongest accepted identifier: the event is its.
    pub(crate) owner: Node,
    /// The identifiers that were left out, and why.
    pub(crate) refused: Vec<Refused>,
}

/// A set of nodes as it stands in a draft.
#[derive(Debug)]
struct Set {
    size: u32,
    /// How many of its nodes each namespace has, by the namespace's number.
    counts: Vec<u32>,
    profile: Option<ProfileNo>,
    /// What it is made of: roots of the partition, each for its whole set, and nodes that are dormant there.
    parts: Vec<Node>,
}

/// The changes of a batch, beside the identities that they are to be applied to.
#[derive(Default)]
pub(crate) struct Draft {
    /// New namespaces, numbered from where the interner's end.
    pub(crate) namespaces: Vec<Namespace>,
    /// New identifiers, numbered from where the interner's end; the namespaces' numbers are final.
    fresh: Interner,
    pub(crate) steps: Vec<Step>,
    pub(crate) founded: Vec<Founded>,
    pub(crate) absorbed: Vec<Absorbed>,
    pub(crate) links: FxHashMap<LinkKey, Evidence>,
    first_node: usize,
    next_profile: u32,
    held: FxHashMap<Node, ProfileNo>,
    parents: FxHashMap<Node, Node>,
    sets: FxHashMap<Node, Set>,
}

impl Draft {
    /// A draft without changes.
    pub(crate) fn on(base: &Identities) -> Self {
        Self { first_node: base.interner.len(), next_profile: base.next_profile, ..Self::default() }
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

    /// The node of an identifier, if it is known to the base or to this draft.
    pub(crate) fn find(&self, base: &Identities, namespace: &Namespace, value: &str) -> Option<Node> {
        let kind = base.interner.namespace(namespace).or_else(|| {
            let new = self.namespaces.iter().position(|new| new == namespace)?;
            NamespaceNo::try_from(base.interner.namespaces().len() + new).ok()
        })?;
        base.interner
            .find(kind, value)
            .or_else(|| self.fresh.find(kind, value).map(|fresh| self.numbered(fresh)))
    }

    /// The node of an identifier, a new and dormant one if need be. `None` if that took one namespace too many.
    fn intern(&mut self, base: &Identities, namespace: &Namespace, value: &str) -> Option<Node> {
        let kind = self.namespace(base, namespace)?;
        if let Some(node) = base.interner.find(kind, value) {
            return Some(node);
        }
        let fresh = self.fresh.find(kind, value).unwrap_or_else(|| self.fresh.push(kind, value));
        Some(self.numbered(fresh))
    }

    /// The nodes that were dormant and no longer are, with the profile that each was given.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Node, ProfileNo)> {
        self.held.iter().map(|(node, profile)| (*node, *profile))
    }

    /// The numbers of the profiles that came to be.
    pub(crate) fn founded(&self, base: &Identities) -> Range<u32> {
        base.next_profile..self.next_profile
    }

    /// The final number of one of this draft's own nodes.
    fn numbered(&self, fresh: Node) -> Node {
        Node::at(self.first_node + fresh.index())
    }

    /// The new identifiers, with their final numbers.
    pub(crate) fn interned(&self) -> impl Iterator<Item = (Node, NamespaceNo, &str)> {
        self.fresh.nodes().map(|node| (self.numbered(node), self.fresh.kind(node), self.fresh.value(node)))
    }

    fn kind(&self, base: &Identities, node: Node) -> NamespaceNo {
        match node.index().checked_sub(self.first_node) {
            Some(fresh) => self.fresh.kind(Node::at(fresh)),
            None => base.interner.kind(node),
        }
    }

    /// The root of a node's set in this draft. A node that is dormant is its own.
    pub(crate) fn root(&self, base: &Identities, node: Node) -> Node {
        let mut at = base.partition.root(node).unwrap_or(node);
        while let Some(parent) = self.parents.get(&at) {
            at = *parent;
        }
        at
    }

    /// The person who holds a node once this draft is applied, `None` if nobody does.
    pub(crate) fn person(&self, base: &Identities, node: Node) -> Option<Person> {
        let root = self.root(base, node);
        let profile = self.profile(base, root)?;
        let whole = |part: Node| match base.partition.root(part) {
            Some(_) => base.partition.members(part).collect(),
            None => vec![part],
        };
        let nodes = match self.sets.get(&root) {
            Some(set) => set.parts.iter().flat_map(|part| whole(*part)).collect(),
            None => whole(root),
        };
        Some(Person::new(profile, nodes, |node| self.namespace_of(base, self.kind(base, node))))
    }

    /// The namespace of a number.
    fn namespace_of<'d>(&'d self, base: &'d Identities, kind: NamespaceNo) -> &'d Namespace {
        let known = base.interner.namespaces();
        known.get(usize::from(kind)).unwrap_or_else(|| &self.namespaces[usize::from(kind) - known.len()])
    }

    /// The profile of the set of a [`root`](Self::root), `None` if it is dormant.
    fn profile(&self, base: &Identities, root: Node) -> Option<ProfileNo> {
        match self.sets.get(&root) {
            Some(set) => set.profile,
            None => base.partition.profile(root),
        }
    }

    /// Loads the set of a root into the draft.
    fn load(&mut self, base: &Identities, root: Node) {
        if self.sets.contains_key(&root) {
            return;
        }
        let mut counts = vec![0; base.interner.namespaces().len()];
        let mut count = |kind: NamespaceNo| {
            let kind = usize::from(kind);
            if kind >= counts.len() {
                counts.resize(kind + 1, 0);
            }
            counts[kind] += 1;
        };
        let set = if base.partition.root(root).is_some() {
            base.partition.members(root).for_each(|node| count(base.interner.kind(node)));
            let (size, profile) = (base.partition.size(root), base.partition.profile(root));
            Set { size, counts, profile, parts: vec![root] }
        } else {
            count(self.kind(base, root));
            Set { size: 1, counts, profile: None, parts: vec![root] }
        };
        self.sets.insert(root, set);
    }

    /// Resolves one event: takes its identifiers, strongest first, and joins the profile of each to the one
    /// resolved so far, unless the joined profile would break a limit.
    ///
    /// `None` if the event bears no usable identifier.
    pub(crate) fn resolve(
        &mut self,
        base: &Identities,
        rules: &Rules,
        borne: &Borne<'_>,
        occasion: Occasion<'_>,
    ) -> Option<Resolution> {
        let mut refused: Vec<Refused> = borne
            .malformed
            .iter()
            .map(|(identifier, reason)| Refused { identifier: identifier.clone(), reason: (*reason).into() })
            .collect();
        // That it was borne as `anonymousId` decides what an alias means by it, blocked or not.
        if let Some(id) = &borne.anonymous_id {
            self.intern(base, &Namespace::ANONYMOUS_ID, id);
        }
        // Every identifier gets its node, a refused one too.
        let mut nodes = Vec::with_capacity(borne.identifiers.len());
        for found in &borne.identifiers {
            if let Some(node) = self.intern(base, &found.namespace, &found.value) {
                nodes.push((node, found));
            } else {
                let identifier = Identifier::new(found.namespace.clone(), found.value.clone());
                let reason = format!("a database holds at most {NAMESPACES} namespaces");
                refused.push(Refused { identifier, reason });
            }
        }
        let (&(owner, _), others) = nodes.split_first()?;
        let mut accepted = vec![owner];
        let mut joins = Vec::new();
        for &(node, identifier) in others {
            let (ours, theirs) = (self.root(base, owner), self.root(base, node));
            if ours != theirs {
                self.load(base, ours);
                self.load(base, theirs);
                if let Some(reason) = self.broken_limit(base, rules, ours, theirs) {
                    let identifier = Identifier::new(identifier.namespace.clone(), identifier.value.clone());
                    refused.push(Refused { identifier, reason });
                    continue;
                }
                joins.push(Step::Join(owner, node));
                self.join(ours, theirs);
            }
            accepted.push(node);
        }
        self.hold(base, owner, &accepted);
        self.steps.append(&mut joins);
        for &node in &accepted[1..] {
            self.link(owner, node, occasion);
        }
        Some(Resolution { owner, refused })
    }

    /// The limit that the union of two loaded sets would break, in words.
    ///
    /// A limit is broken where the union would hold more than allowed and more than either side did.
    fn broken_limit(&self, base: &Identities, rules: &Rules, a: Node, b: Node) -> Option<String> {
        let (a, b) = (&self.sets[&a], &self.sets[&b]);
        let broken = |max: Option<u32>, a: u32, b: u32| max.filter(|max| a > 0 && b > 0 && a + b > *max);
        if let Some(max) = broken(rules.max_total(), a.size, b.size) {
            return Some(format!("at most {max} identifiers in a profile, {} if joined", a.size + b.size));
        }
        a.counts.iter().zip(&b.counts).enumerate().find_map(|(kind, (a, b))| {
            let namespace = self.namespace_of(base, NamespaceNo::try_from(kind).ok()?);
            let max = broken(rules.max(namespace), *a, *b)?;
            Some(format!("at most {max} {namespace} in a profile, {} if joined", a + b))
        })
    }

    /// Joins two loaded sets, the smaller to the larger.
    fn join(&mut self, a: Node, b: Node) {
        let (large, small) = if self.sets[&a].size >= self.sets[&b].size { (a, b) } else { (b, a) };
        let (Some(mut from), Some(into)) = (self.sets.remove(&small), self.sets.get_mut(&large)) else {
            return;
        };
        self.parents.insert(small, large);
        into.size += from.size;
        into.parts.append(&mut from.parts);
        if into.counts.len() < from.counts.len() {
            into.counts.resize(from.counts.len(), 0);
        }
        into.counts.iter_mut().zip(from.counts).for_each(|(into, from)| *into += from);
        match (into.profile, from.profile) {
            (Some(a), Some(b)) => {
                let (survivor, absorbed) = (a.min(b), a.max(b));
                into.profile = Some(survivor);
                self.absorbed.push(Absorbed { profile: absorbed, by: survivor });
            }
            (None, profile) => into.profile = profile,
            (Some(_), None) => {}
        }
    }

    /// Sees to it that the accepted nodes of an event, which are one set by now, are held by a profile.
    fn hold(&mut self, base: &Identities, owner: Node, accepted: &[Node]) {
        let root = self.root(base, owner);
        if base.partition.root(root).is_none() {
            self.load(base, root);
        }
        let profile = if let Some(profile) = self.profile(base, root) {
            profile
        } else {
            let profile = ProfileNo(self.next_profile);
            self.next_profile += 1;
            self.founded.push(Founded { profile, founder: owner });
            if let Some(set) = self.sets.get_mut(&root) {
                set.profile = Some(profile);
            }
            profile
        };
        for &node in accepted {
            if base.partition.root(node).is_none() && self.held.insert(node, profile).is_none() {
                self.steps.push(Step::Hold(node, profile));
            }
        }
    }

    /// Records that an event bore both nodes.
    fn link(&mut self, a: Node, b: Node, occasion: Occasion<'_>) {
        let new = || Evidence {
            first_seen: occasion.at,
            last_seen: occasion.at,
            count: 0,
            message_id: occasion.message_id.to_owned(),
        };
        let seen = self.links.entry((a.min(b), a.max(b), occasion.source)).or_insert_with(new);
        seen.count += 1;
        seen.last_seen = seen.last_seen.max(occasion.at);
        if (occasion.at, occasion.message_id) < (seen.first_seen, seen.message_id.as_str()) {
            seen.first_seen = occasion.at;
            occasion.message_id.clone_into(&mut seen.message_id);
        }
    }
}
