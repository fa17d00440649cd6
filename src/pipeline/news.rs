//! What a batch brought, and which of it made somebody enter or leave a segment.

use rustc_hash::FxHashSet;

use super::affected::Facts;
use super::membership::Live;
use crate::event::Event;
use crate::identity::{Draft, Identities, Node, ProfileNo};
use crate::store::{Cause, ChangeCause};
use crate::value::nfc;

/// What one event is to one person.
struct Piece {
    name: String,
    message_id: String,
    traits: Vec<String>,
    /// Purposes about which it says what its person decided.
    purposes: Vec<String>,
    /// Whether it is kept.
    kept: bool,
}

/// What a batch brought, by whose it is.
#[derive(Default)]
pub(crate) struct News {
    pieces: Vec<(Node, Piece)>,
}

/// The same, by person.
pub(crate) struct Sorted<'n> {
    /// By the roots of the people; what is of one person in the order in which it came.
    pieces: Vec<(Node, &'n Piece)>,
    /// Profiles that absorbed others.
    grown: FxHashSet<ProfileNo>,
}

impl News {
    /// Notes an event.
    pub(crate) fn note(&mut self, owner: Node, event: &Event, message_id: &str) {
        let traits = event.all_traits().keys().map(|name| nfc(name).into_owned()).collect();
        let (name, message_id) = (event.name().to_owned(), message_id.to_owned());
        self.pieces.push((owner, Piece { name, message_id, traits, purposes: Vec::new(), kept: true }));
    }

    /// Notes what somebody decided about purposes, by an event that may not have been kept.
    pub(crate) fn note_consents<'p>(&mut self, owner: Node, purposes: impl Iterator<Item = &'p str>) {
        let purposes = purposes.map(str::to_owned).collect();
        let (name, message_id) = (String::new(), String::new());
        self.pieces.push((owner, Piece { name, message_id, traits: Vec::new(), purposes, kept: false }));
    }

    /// Sorts what came by the people whose it is after the batch.
    pub(crate) fn sorted(
        &self,
        draft: &Draft,
        base: &Identities,
        grown: impl IntoIterator<Item = ProfileNo>,
    ) -> Sorted<'_> {
        let own = self.pieces.iter().map(|(owner, piece)| (draft.root(base, *owner), piece));
        let mut pieces: Vec<(Node, &Piece)> = own.collect();
        pieces.sort_by_key(|(root, _)| *root);
        Sorted { pieces, grown: grown.into_iter().collect() }
    }
}

impl<'n> Sorted<'n> {
    /// What came of a person, in that order.
    fn of(&self, root: Node) -> impl DoubleEndedIterator<Item = &'n Piece> + Clone {
        let start = self.pieces.partition_point(|(other, _)| *other < root);
        let own = self.pieces[start..].partition_point(|(other, _)| *other == root);
        self.pieces[start..start + own].iter().map(|(_, piece)| *piece)
    }

    /// What is new of a person.
    pub(crate) fn facts(&self, root: Node) -> Facts<'n> {
        let mut facts = Facts::default();
        for piece in self.of(root) {
            facts.names.extend(piece.kept.then_some(piece.name.as_str()));
            facts.traits.extend(piece.traits.iter().map(String::as_str));
            // As conditions know `group` events by.
            facts.accounts |= piece.name == "$group";
            facts.consents |= !piece.purposes.is_empty();
        }
        for names in [&mut facts.names, &mut facts.traits] {
            names.sort_unstable();
            names.dedup();
        }
        facts
    }

    /// Why a person's standing to a segment has changed: the latest event of those that the segment looks at, else the
    /// latest trait, else a decision on consent, else a merge, else whatever came last.
    pub(crate) fn cause(&self, root: Node, profile: ProfileNo, live: &Live) -> ChangeCause {
        let latest = self.of(root).rev();
        let mut purposes = latest.clone().flat_map(|piece| &piece.purposes);
        let event = |piece: &Piece| ChangeCause::Event { message_id: piece.message_id.clone() };
        let looks_at = |piece: &&Piece| piece.kept && live.needs.wants_event(&piece.name);
        if let Some(piece) = latest.clone().find(looks_at) {
            return event(piece);
        }
        for piece in latest.clone() {
            if let Some(name) = piece.traits.iter().find(|name| live.needs.wants_trait(name)) {
                return ChangeCause::Trait { name: name.clone(), message_id: piece.message_id.clone() };
            }
        }
        if let Some(purpose) = purposes.find(|purpose| live.needs.wants_consent(purpose)) {
            return ChangeCause::Consent { purpose: purpose.clone() };
        }
        match latest.clone().find(|piece| piece.kept) {
            Some(piece) if !self.grown.contains(&profile) => event(piece),
            _ => ChangeCause::Merge,
        }
    }
}

/// Why somebody's standing has changed whose part of the log was told anew: what became of their profile says it, and
/// if nothing did, what the log was told anew for.
pub(crate) fn of_replay(cause: &Cause, absorbed: bool, parted: bool) -> ChangeCause {
    match cause {
        Cause::Erasure => return ChangeCause::Erasure,
        Cause::Retention => return ChangeCause::Retention,
        _ => {}
    }
    let joins = matches!(cause, Cause::Link | Cause::Event { .. } | Cause::Evidence);
    if absorbed || (joins && !parted) { ChangeCause::Merge } else { ChangeCause::Split }
}
