//! Profile ids across a replay: which of the new sets keeps which profile, and what changed.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::draft::Identities;
use super::interner::Node;
use super::partition::{Partition, ProfileNo};
use super::rules::Rules;
use crate::id::{Identifier, Namespace};

/// What new rules, or a replay, did to the profiles.
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

/// Which profile each set of a new partition is, against the one of before.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    /// Profiles that came to be, by the new set's root.
    pub(crate) founded: Vec<(ProfileNo, Node)>,
    /// Profiles of before that another absorbed: (absorbed, by).
    pub(crate) absorbed: Vec<(ProfileNo, ProfileNo)>,
    pub(crate) report: RulesReport,
}

/// What nodes are ordered by: the strongest namespace first, then the value.
fn strength<'i>(identities: &'i Identities, rules: &Rules, node: Node) -> (usize, &'i str, &'i Namespace) {
    let namespace = identities.interner.namespace_of(node);
    (rules.rank(namespace), identities.interner.value(node), namespace)
}

/// The strongest of some nodes: the name of the profile that holds them.
pub(crate) fn strongest(
    identities: &Identities,
    rules: &Rules,
    nodes: impl IntoIterator<Item = Node>,
) -> Option<Node> {
    nodes.into_iter().min_by_key(|node| strength(identities, rules, *node))
}

/// Some nodes, the strongest first.
pub(crate) fn by_strength(
    identities: &Identities,
    rules: &Rules,
    nodes: impl IntoIterator<Item = Node>,
) -> Vec<Node> {
    let mut nodes: Vec<Node> = nodes.into_iter().collect();
    nodes.sort_by_cached_key(|node| strength(identities, rules, *node));
    nodes
}

/// Gives each set of `after` its profile, and says what became of those of `before`.
///
/// Of a profile that fell apart, the part with the strongest identifier keeps the id; of profiles that joined,
/// the oldest id survives; a part without a claim gets a new id.
pub(crate) fn succeed(before: &Identities, after: &mut Identities, rules: &Rules) -> Succession {
    let mut claims: FxHashMap<Node, Vec<ProfileNo>> = FxHashMap::default();
    let mut succession = Succession::default();
    let (mut split, mut examples) = (0, Vec::new());
    for root in before.partition.roots() {
        let kept = before.partition.members(root).filter(|node| after.partition.root(*node).is_some());
        let Some(name) = strongest(after, rules, kept) else { continue };
        let heir = after.partition.root(name).unwrap_or(name);
        claims.entry(heir).or_default().extend(before.partition.profile(root));
        let parts = parts(before, root, &after.partition);
        split += usize::from(parts > 1);
        // One example for each group of sets that exchanged members: told by its least root of before.
        if parts > 1 || self_joined(before, root, &after.partition, heir) {
            examples.push(root);
        }
    }
    let roots: Vec<Node> = after.partition.roots().collect();
    for root in roots {
        let claims = claims.remove(&root).unwrap_or_default();
        let profile = if let Some(oldest) = claims.iter().min().copied() {
            let others = claims.into_iter().filter(|claim| *claim != oldest);
            succession.absorbed.extend(others.map(|other| (other, oldest)));
            oldest
        } else {
            let new = ProfileNo(after.next_profile);
            after.next_profile += 1;
            succession.founded.push((new, root));
            new
        };
        after.partition.assign(root, profile);
    }
    let largest = after.partition.roots().map(|root| after.partition.size(root)).max().unwrap_or(0);
    succession.report = RulesReport {
        profiles_before: before.partition.sets(),
        profiles_after: after.partition.sets(),
        joined: succession.absorbed.len(),
        split,
        largest,
        examples: tell(before, after, rules, &examples),
    };
    succession
}

/// Into how many sets of `after` the set of a root of `before` fell.
fn parts(before: &Identities, root: Node, after: &Partition) -> usize {
    let roots: FxHashSet<Node> = before.partition.members(root).filter_map(|node| after.root(node)).collect();
    roots.len()
}

/// Whether a set of `after` holds members of other sets than that of `root`.
fn self_joined(before: &Identities, root: Node, after: &Partition, heir: Node) -> bool {
    after.members(heir).any(|node| before.partition.root(node).is_some_and(|other| other != root))
}

/// The examples of a report: for each of the roots (of sets that changed) the names around it, each group once.
fn tell(before: &Identities, after: &Identities, rules: &Rules, changed: &[Node]) -> Vec<RulesExample> {
    let mut told: FxHashSet<Node> = FxHashSet::default();
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
            for new in before.partition.members(old).filter_map(|node| after.partition.root(node)) {
                if news.contains(&new) {
                    continue;
                }
                news.push(new);
                for other in after.partition.members(new).filter_map(|node| before.partition.root(node)) {
                    if told.insert(other) {
                        olds.push(other);
                    }
                }
            }
        }
        let names = |identities: &Identities, roots: &[Node]| {
            let name = |root: &Node| strongest(identities, rules, identities.partition.members(*root));
            let mut names: Vec<Identifier> =
                roots.iter().filter_map(name).map(|node| identities.interner.identifier(node)).collect();
            names.sort();
            names
        };
        examples.push(RulesExample { before: names(before, &olds), after: names(after, &news) });
    }
    examples
}
