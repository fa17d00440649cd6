//! What a batch brought, and which of it made somebody enter or leave a segment.

use std::borrow::Cow;
use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};

use super::affected::Facts;
use super::membership::Live;
use crate::event::Event;
use crate::identity::{Draft, Identities, Node, ProfileNo};
use crate::store::{Cause, ChangeCause};
use crate::value::nfc;

/// What one event is to one person.
struct Piece {
    name: String,
    traits: Vec<String>,
    /// Purposes about which it says what its person decided.
    purposes: Vec<String>,
    /// What it is as a cause, if it is kept.
    cause: Option<ChangeCause>,
}

/// What a batch brought, by whose it is.
#[derive(Default)]
pub(crate) struct News {
    pieces: Vec<(Node, Piece)>,
}

/// The same, by person.
pub(crate) struct Sorted<'n> {
    /// One person's after the other's; what is of one person in the order in which it came.
    pieces: Vec<&'n Piece>,
    /// Where those of a person are, by the root.
    of: FxHashMap<Node, Range<usize>>,
    /// Profiles that absorbed others.
    grown: FxHashSet<ProfileNo>,
}

impl News {
    /// Notes an event.
    pub(crate) fn note(&mut self, owner: Node, event: &Event, message_id: &str) {
        let traits = event.all_traits().keys().map(|name| nfc(name).into_owned()).collect();
        let name = event.name().to_owned();
        let cause = Some(ChangeCause::Event { message_id: message_id.to_owned() });
        self.pieces.push((owner, Piece { name, traits, purposes: Vec::new(), cause }));
    }

    /// Notes what somebody decided about purposes, by an event that may not have been kept.
    pub(crate) fn note_consents<'p>(&mut self, owner: Node, purposes: impl Iterator<Item = &'p str>) {
        let purposes = purposes.map(str::to_owned).collect();
        self.pieces.push((owner, Piece { name: String::new(), traits: Vec::new(), purposes, cause: None }));
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
        let mut end = 0;
        let of = pieces.chunk_by(|(a, _), (b, _)| a == b).map(|own| {
            end += own.len();
            (own[0].0, end - own.len()..end)
        });
        let of = of.collect();
        Sorted {
            pieces: pieces.into_iter().map(|(_, piece)| piece).collect(),
            of,
            grown: grown.into_iter().collect(),
        }
    }
}

impl<'n> Sorted<'n> {
    /// What came of a person, in that order.
    fn of(&self, root: Node) -> impl DoubleEndedIterator<Item = &'n Piece> + Clone {
        let own = self.of.get(&root).cloned().unwrap_or_default();
        self.pieces[own].iter().copied()
    }

    /// What is new of a person.
    pub(crate) fn facts(&self, root: Node) -> Facts<'n> {
        let mut facts = Facts::default();
        for piece in self.of(root) {
            facts.names.extend(piece.cause.as_ref().map(|_| piece.name.as_str()));
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
    pub(crate) fn cause(&self, root: Node, profile: ProfileNo, live: &Live) -> Cow<'n, ChangeCause> {
        let latest = self.of(root).rev();
        let mut purposes = latest.clone().flat_map(|piece| &piece.purposes);
        let looked_at =
            |piece: &'n Piece| piece.cause.as_ref().filter(|_| live.needs.wants_event(&piece.name));
        if let Some(event) = latest.clone().find_map(looked_at) {
            return Cow::Borrowed(event);
        }
        for piece in latest.clone() {
            if let Some(name) = piece.traits.iter().find(|name| live.needs.wants_trait(name))
                && let Some(ChangeCause::Event { message_id }) = &piece.cause
            {
                let (name, message_id) = (name.clone(), message_id.clone());
                return Cow::Owned(ChangeCause::Trait { name, message_id });
            }
        }
        if let Some(purpose) = purposes.find(|purpose| live.needs.wants_consent(purpose)) {
            return Cow::Owned(ChangeCause::Consent { purpose: purpose.clone() });
        }
        match latest.clone().find_map(|piece| piece.cause.as_ref()) {
            Some(event) if !self.grown.contains(&profile) => Cow::Borrowed(event),
            _ => Cow::Owned(ChangeCause::Merge),
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
