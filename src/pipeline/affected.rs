//! The segments that a batch can have changed for somebody: of what they stand to otherwise, nothing is asked.
//!
//! An answer hangs on the events, traits, accounts, decisions and identifiers that its [`Needs`] name, and on time, of
//! which the wakes take care. Where none of that is new, the standing of the file holds. Whoever absorbed somebody, or
//! lost something, is asked everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::membership::Live;
use crate::clock::Timestamp;
use crate::identity::{Identities, Node, Person};
use crate::profile::{History, Verdict};
use crate::segment::{Catalog, Needs};
use crate::value::nfc;

/// The segments whose members are kept, by what they look at: places in the list of all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    names: BTreeMap<String, Vec<u32>>,
    prefixes: Vec<(String, u32)>,
    traits: BTreeMap<String, Vec<u32>>,
    accounts: Vec<u32>,
    consents: Vec<u32>,
    identifiers: Vec<u32>,
    /// To which somebody stands of whom nothing is known, and those that go by the profile's id.
    blank: Vec<u32>,
    kept: Vec<u32>,
    /// What all of them need together.
    pub(super) needs: Arc<Needs>,
}

impl Index {
    pub(crate) fn new(all: &[Live], catalog: &Catalog) -> Self {
        let (mut index, mut all_needs) = (Self::default(), Needs::default());
        for (place, live) in (0..).zip(all).filter(|(_, live)| live.segment.is_live()) {
            let needs = &live.needs;
            index.kept.push(place);
            all_needs.merge(needs);
            for name in needs.event_names() {
                index.names.entry(name.to_owned()).or_default().push(place);
            }
            index.prefixes.extend(needs.event_prefixes().map(|prefix| (prefix.to_owned(), place)));
            for name in needs.traits() {
                index.traits.entry(name.to_owned()).or_default().push(place);
            }
            let note = |places: &mut Vec<u32>, looks: bool| places.extend(looks.then_some(place));
            note(&mut index.accounts, needs.accounts());
            note(&mut index.consents, needs.consents().next().is_some());
            note(&mut index.identifiers, needs.identifiers());
            let mut nobody = History::default();
            catalog.complete(needs, &mut nobody, Timestamp::EARLIEST);
            let stands = nobody.segments.get(live.segment.name()) != Some(&Verdict::always(false));
            note(&mut index.blank, needs.profile() || stands);
        }
        Self { needs: Arc::new(all_needs), ..index }
    }

    /// The places of those that may have changed.
    pub(super) fn affected(&self, extent: Extent, facts: &Facts<'_>) -> Vec<u32> {
        if extent == Extent::Other {
            return self.kept.clone();
        }
        let mut places = Vec::new();
        for name in &facts.names {
            let name = nfc(name);
            places.extend(self.names.get(&*name).into_iter().flatten());
            places.extend(
                self.prefixes
                    .iter()
                    .filter(|(prefix, _)| name.starts_with(&**prefix))
                    .map(|(_, place)| place),
            );
        }
        places.extend(facts.traits.iter().filter_map(|name| self.traits.get(*name)).flatten());
        let more = [
            (facts.accounts, &self.accounts),
            (facts.consents, &self.consents),
            (extent != Extent::Same, &self.identifiers),
            (extent == Extent::Founded, &self.blank),
        ];
        places.extend(more.into_iter().filter(|(looks, _)| *looks).flat_map(|(_, places)| places));
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// What is new of somebody, each name once.
#[derive(Debug, Default)]
pub(crate) struct Facts<'n> {
    pub(crate) names: Vec<&'n str>,
    pub(crate) traits: Vec<&'n str>,
    /// Whether an account of theirs may have changed, or is new.
    pub(crate) accounts: bool,
    /// Whether they decided about any purpose.
    pub(crate) consents: bool,
}

/// How somebody is made after a batch, beside how they were before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Of the same identifiers.
    Same,
    /// Of the same, and of some that nobody had ever seen.
    Grown,
    /// Of such alone.
    Founded,
    /// In any other way.
    Other,
}

impl Extent {
    pub(super) fn of(base: &Identities, person: &Person) -> Self {
        let known = |node: &&Node| node.index() < base.interner.len();
        let mut before = person.nodes.iter().filter(known);
        let Some(first) = before.next() else { return Self::Founded };
        let is_own = |node: &Node| base.partition.profile(*node) == Some(person.profile);
        let count = 1 + before.clone().count();
        if !is_own(first) || !before.all(is_own) || base.partition.members(*first).count() != count {
            return Self::Other;
        }
        if count == person.nodes.len() { Self::Same } else { Self::Grown }
    }
}
