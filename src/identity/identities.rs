//! Everyone, as memory has them: all identifiers, and which of them are one person.

use rustc_hash::{FxHashMap, FxHashSet};

use super::counts::Counts;
use super::draft::{Draft, Step};
use super::interner::{Interner, Node};
use super::normalise::normalise;
use super::partition::{Partition, ProfileNo};
use super::rules::{Day, Rules};
use crate::id::{Identifier, Namespace};

/// How many identifiers a set must have for its counts to be kept, so that a join need not count them again.
const LARGE: u32 = 256;

/// All identifiers of a file, and which of them are one person: what stays in memory.
#[derive(Clone, Default)]
pub(crate) struct Identities {
    pub(crate) interner: Interner,
    pub(crate) partition: Partition,
    /// The number that the next new profile gets.
    pub(crate) next_profile: u32,
    /// On which day each node was first seen; shorter, or empty, as long as no rule asks for it.
    pub(crate) days: Vec<Day>,
    /// The devices that belong to nobody because several users share them, under the rule that says so.
    pub(crate) shared: FxHashSet<Node>,
    /// The `anonymous_id`s that no event has borne as `anonymousId`: an alias means none of them by its `previousId`.
    pub(crate) unborne: FxHashSet<Node>,
    /// What large sets hold, by their roots, as far as it was counted under the rules in force.
    pub(crate) large: FxHashMap<Node, Counts>,
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
    pub(super) fn new<'n>(
        profile: ProfileNo,
        nodes: Vec<Node>,
        namespace: impl Fn(Node) -> &'n Namespace,
    ) -> Self {
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

    /// The day on which a node was first seen, as far as it was noted.
    pub(crate) fn day(&self, node: Node) -> Day {
        self.days.get(node.index()).copied().unwrap_or(Day::NEVER)
    }

    /// Notes the day on which a node was first seen.
    pub(crate) fn set_day(&mut self, node: Node, day: Day) {
        if node.index() >= self.days.len() {
            self.days.resize(self.interner.len().max(node.index() + 1), Day::NEVER);
        }
        self.days[node.index()] = day;
    }

    /// Does to these identities what was drafted and is now committed.
    pub(crate) fn apply(&mut self, draft: Draft) {
        let Draft { namespaces, fresh, steps, sets, days, next_profile, shared, unborne, forgotten, .. } =
            draft;
        for namespace in namespaces {
            self.interner.add_namespace(namespace);
        }
        self.interner.extend(&fresh);
        self.partition.grow(self.interner.len());
        for step in steps {
            match step {
                Step::Hold(node, profile) => self.partition.found(node, profile),
                Step::Join(a, b) => self.partition.union(a, b),
                Step::Assign(node, profile) => self.partition.assign(node, profile),
                Step::Release(nodes) => {
                    for node in &nodes {
                        if let Some(day) = self.days.get_mut(node.index()) {
                            *day = Day::NEVER;
                        }
                    }
                    self.partition.release(&nodes);
                    self.large.retain(|root, _| self.partition.root(*root).is_some());
                }
                Step::ReleaseAll => {
                    self.days.clear();
                    self.partition = Partition::dormant(self.interner.len());
                    self.large.clear();
                }
            }
        }
        for (node, day) in days {
            self.set_day(node, day);
        }
        for (node, is_shared) in shared {
            if is_shared {
                self.shared.insert(node)
            } else {
                self.shared.remove(&node)
            };
        }
        for (node, is_unborne) in unborne {
            if is_unborne {
                self.unborne.insert(node)
            } else {
                self.unborne.remove(&node)
            };
        }
        self.interner.forget(&forgotten);
        self.next_profile = next_profile;
        for (_, set) in sets {
            for part in &set.parts {
                self.large.remove(part);
            }
            let root = set.parts.first().and_then(|part| self.partition.root(*part));
            if let Some(root) = root.filter(|_| set.counts.size >= LARGE) {
                self.large.insert(root, set.counts);
            }
        }
    }
}
