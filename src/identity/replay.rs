//! Profile ids across a replay: which of the new sets keeps which profile, and what changed.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::draft::Draft;
use super::identities::Identities;
use super::interner::{Interner, Node};
use super::partition::ProfileNo;
use super::rules::Rules;
use crate::id::{Identifier, Namespace};

/// What new rules, or a replay, do to the profiles.
///
/// `Debug` masks the identifiers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RulesReport {
    /// How many profiles there were before.
    pub profiles_before: usize,
    /// How many there are after.
    pub profiles_after: usize,
    /// How many profiles of before were absorbed by another.
    pub joined: usize,
    /// How many profiles of before fell apart.
    pub split: usize,
    /// How many profiles of before do not hold the same identifiers as before.
    pub changed: usize,
    /// The number of identifiers in the largest profile after.
    pub largest: u32,
    /// Up to ten of the profiles that joined or fell apart.
    pub examples: Vec<RulesExample>,
}

/// A profile that joined others, or fell apart: names of the profiles before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RulesExample {
    /// The names (strongest identifiers) of the profiles concerned before.
    pub before: Vec<Identifier>,
    /// The names of the profiles concerned after.
    pub after: Vec<Identifier>,
}

/// How many examples a report gives at most.
const EXAMPLES: usize = 10;

/// A profile before a replay, with its identifiers.
#[derive(Debug, Clone)]
pub(crate) struct Former {
    pub(crate) profile: ProfileNo,
    pub(crate) nodes: Vec<Node>,
}

/// What profiles there were, and whose they were, in the part of the log that is replayed.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) formers: Vec<Former>,
    /// Profiles that had lost all their identifiers before, each with one that it had.
    pub(crate) vacant: Vec<(ProfileNo, Node)>,
    /// Of nodes whose events went to others: to whom the first of them went.
    pub(crate) moved: FxHashMap<Node, Node>,
    /// Numbers that nobody got to know, of profiles that the same batch had founded before it turned out that a part of
    /// the log is to be told anew; each with a node of theirs. New profiles get them first.
    pub(crate) free: Vec<(ProfileNo, Node)>,
}

/// Which profile each set is after a replay, and what became of those of before.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    /// The sets, each with a root and its profile.
    pub(crate) sets: Vec<(Node, ProfileNo, Vec<Node>)>,
    /// Profiles that came to be, with a node of theirs.
    pub(crate) founded: Vec<(ProfileNo, Node)>,
    /// Free numbers that no new profile took. Profiles are numbered without gaps, so they stand for nobody.
    pub(crate) unused: Vec<(ProfileNo, Node)>,
    /// Profiles of before that another absorbed: (absorbed, by).
    pub(crate) absorbed: Vec<(ProfileNo, ProfileNo)>,
    /// Identifiers that went from one profile to another that both are there: (from, to), each pair once.
    pub(crate) parted: Vec<(ProfileNo, ProfileNo)>,
    /// Profiles of before that hold no identifier any more.
    pub(crate) vacated: Vec<ProfileNo>,
    pub(crate) report: RulesReport,
}

/// What nodes are ordered by: the strongest namespace first, then the value.
fn strength<'i>(interner: &'i Interner, rules: &Rules, node: Node) -> (usize, &'i str, &'i Namespace) {
    let namespace = interner.namespace_of(node);
    (rules.rank(namespace), interner.value(node), namespace)
}

/// The strongest of some nodes: the name of the profile that holds them.
pub(crate) fn strongest(
    identities: &Identities,
    rules: &Rules,
    nodes: impl IntoIterator<Item = Node>,
) -> Option<Node> {
    nodes.into_iter().min_by_key(|node| strength(&identities.interner, rules, *node))
}

/// Some nodes, the strongest first.
pub(crate) fn by_strength(
    identities: &Identities,
    rules: &Rules,
    nodes: impl IntoIterator<Item = Node>,
) -> Vec<Node> {
    let mut nodes: Vec<Node> = nodes.into_iter().collect();
    nodes.sort_by_cached_key(|node| strength(&identities.interner, rules, *node));
    nodes
}

impl Draft {
    /// The strongest of some nodes, this draft's own among them.
    pub(crate) fn strongest(
        &self,
        base: &Identities,
        rules: &Rules,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Option<Node> {
        let key = |node: &Node| {
            let namespace = self.namespace_of(base, self.kind(base, *node));
            (rules.rank(namespace), self.value(base, *node), namespace)
        };
        nodes.into_iter().min_by(|a, b| key(a).cmp(&key(b)))
    }

    /// Gives each set that a replay has made its profile, and says what became of those of before. `nodes` are all
    /// nodes that the replay concerned, as they were numbered before it.
    ///
    /// Of a profile that fell apart, the part with the strongest identifier keeps the id; one whose identifiers all went
    /// to nobody goes where its events went; of profiles that joined, the oldest id survives; a part without a claim
    /// gets a new id.
    pub(crate) fn succeed(
        &mut self,
        base: &Identities,
        rules: &Rules,
        nodes: impl IntoIterator<Item = Node>,
        past: &Past,
    ) -> Succession {
        let mut sets: FxHashMap<Node, Vec<Node>> = FxHashMap::default();
        for node in nodes {
            if let Some(root) = self.held_root(base, node) {
                sets.entry(root).or_default().push(node);
            }
        }
        let mut succession = Succession::default();
        let mut claims: FxHashMap<Node, Vec<ProfileNo>> = FxHashMap::default();
        let mut changed = Vec::new();
        for (place, former) in past.formers.iter().enumerate() {
            let kept = || former.nodes.iter().copied().filter(|node| !self.is_dormant(base, *node));
            let heir = self
                .strongest(base, rules, kept())
                .or_else(|| former.nodes.iter().find_map(|node| past.moved.get(node)).copied())
                .and_then(|node| self.held_root(base, node));
            let Some(heir) = heir else {
                succession.vacated.push(former.profile);
                changed.push(place);
                continue;
            };
            claims.entry(heir).or_default().push(former.profile);
            let parts: FxHashSet<Node> = kept().filter_map(|node| self.held_root(base, node)).collect();
            succession.report.split += usize::from(parts.len() > 1);
            let same = parts.len() == 1
                && kept().count() == former.nodes.len()
                && sets.get(&heir).is_some_and(|set| set.len() == former.nodes.len());
            if !same {
                changed.push(place);
            }
        }
        // Whoever is there keeps the id: one that has lost all its identifiers comes back only where nobody is.
        let mut vacant: FxHashMap<Node, Vec<ProfileNo>> = FxHashMap::default();
        for (profile, node) in &past.vacant {
            if let Some(root) = self.held_root(base, *node).filter(|root| !claims.contains_key(root)) {
                vacant.entry(root).or_default().push(*profile);
            }
        }
        claims.extend(vacant);
        let mut free = past.free.iter().copied();
        let mut sets: Vec<(Node, Vec<Node>)> = sets.into_iter().collect();
        // In the order of their first nodes, so that new profiles are numbered alike wherever this is done.
        sets.sort_unstable_by_key(|(_, nodes)| nodes.first().copied());
        for (root, nodes) in sets {
            let claims = claims.remove(&root).unwrap_or_default();
            let profile = if let Some(oldest) = claims.iter().min().copied() {
                let others = claims.into_iter().filter(|claim| *claim != oldest);
                succession.absorbed.extend(others.map(|other| (other, oldest)));
                oldest
            } else {
                let new = free.next().map_or_else(|| self.next_number(), |(number, _)| number);
                succession.founded.push((new, nodes[0]));
                new
            };
            self.assign(root, profile);
            succession.sets.push((root, profile, nodes));
        }
        succession.unused = free.collect();
        self.tell(base, rules, past, &changed, &mut succession);
        succession
    }

    /// Completes the account of what became of the profiles of before: of those that changed, by their places.
    fn tell(
        &self,
        base: &Identities,
        rules: &Rules,
        past: &Past,
        changed: &[usize],
        succession: &mut Succession,
    ) {
        let absorbed: FxHashMap<ProfileNo, ProfileNo> = succession.absorbed.iter().copied().collect();
        for place in changed {
            let former = &past.formers[*place];
            let own = absorbed.get(&former.profile).copied().unwrap_or(former.profile);
            let mut others: Vec<ProfileNo> = former
                .nodes
                .iter()
                .filter_map(|node| self.profile(base, self.root(base, *node)))
                .filter(|profile| *profile != own)
                .collect();
            others.sort_unstable();
            others.dedup();
            succession.parted.extend(others.into_iter().map(|other| (own, other)));
        }
        let largest = succession.sets.iter().map(|(.., nodes)| nodes.len()).max().unwrap_or(0);
        let examples = self.examples(base, rules, past, changed);
        let report = &mut succession.report;
        report.profiles_before = past.formers.len();
        report.profiles_after = succession.sets.len();
        report.joined = succession.absorbed.len();
        report.changed = changed.len();
        report.largest = u32::try_from(largest).unwrap_or(u32::MAX);
        report.examples = examples;
    }

    /// For each group of profiles that exchanged identifiers the names before and after, each group once.
    fn examples(
        &self,
        base: &Identities,
        rules: &Rules,
        past: &Past,
        changed: &[usize],
    ) -> Vec<RulesExample> {
        let mut former_of: FxHashMap<Node, usize> = FxHashMap::default();
        if !changed.is_empty() {
            for (place, former) in past.formers.iter().enumerate() {
                former_of.extend(former.nodes.iter().map(|node| (*node, place)));
            }
        }
        let mut told: FxHashSet<usize> = FxHashSet::default();
        let mut examples = Vec::new();
        for &start in changed {
            if examples.len() == EXAMPLES {
                break;
            }
            if !told.insert(start) {
                continue;
            }
            let (mut olds, mut news, mut next) = (vec![start], Vec::new(), 0);
            while let Some(&old) = olds.get(next) {
                next += 1;
                let roots = past.formers[old].nodes.iter().filter_map(|node| self.held_root(base, *node));
                for new in roots.collect::<FxHashSet<Node>>() {
                    if news.contains(&new) {
                        continue;
                    }
                    news.push(new);
                    let members = self.members(base, new).into_iter();
                    for other in members.filter_map(|node| former_of.get(&node).copied()) {
                        if told.insert(other) {
                            olds.push(other);
                        }
                    }
                }
            }
            let name = |nodes: &[Node]| {
                let strongest = self.strongest(base, rules, nodes.iter().copied())?;
                Some(self.identifier(base, strongest))
            };
            let mut before: Vec<Identifier> =
                olds.iter().filter_map(|place| name(&past.formers[*place].nodes)).collect();
            let mut after: Vec<Identifier> =
                news.iter().filter_map(|root| name(&self.members(base, *root))).collect();
            before.sort();
            after.sort();
            examples.push(RulesExample { before, after });
        }
        examples
    }
}
