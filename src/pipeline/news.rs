//! What a batch brought, and which of it made somebody enter or leave a segment.

use rustc_hash::{FxHashMap, FxHashSet};

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
}

/// What a batch brought, by whose it is.
#[derive(Default)]
pub(crate) struct News {
    pieces: Vec<(Node, Piece)>,
}

/// The same, by person.
pub(crate) struct Sorted<'n> {
    pieces: FxHashMap<Node, Vec<&'n Piece>>,
    /// Profiles that absorbed others.
    grown: FxHashSet<ProfileNo>,
}

impl News {
    /// Notes an event.
    pub(crate) fn note(&mut self, owner: Node, event: &Event, message_id: &str) {
        let traits = event.all_traits().keys().map(|name| nfc(name).into_owned()).collect();
        let piece = Piece { name: event.name().to_owned(), message_id: message_id.to_owned(), traits };
        self.pieces.push((owner, piece));
    }

    /// Sorts what came by the people whose it is after the batch.
    pub(crate) fn sorted(
        &self,
        draft: &Draft,
        base: &Identities,
        grown: impl IntoIterator<Item = ProfileNo>,
    ) -> Sorted<'_> {
        let mut pieces: FxHashMap<Node, Vec<&Piece>> = FxHashMap::default();
        for (owner, piece) in &self.pieces {
            pieces.entry(draft.root(base, *owner)).or_default().push(piece);
        }
        Sorted { pieces, grown: grown.into_iter().collect() }
    }
}

impl Sorted<'_> {
    /// Why a person's standing to a segment has changed: the latest event of those that the segment looks at, else the
    /// latest trait, else a merge, else whatever came last.
    pub(crate) fn cause(&self, root: Node, profile: ProfileNo, live: &Live) -> ChangeCause {
        let pieces = self.pieces.get(&root).map(Vec::as_slice).unwrap_or_default();
        let event = |piece: &&Piece| ChangeCause::Event { message_id: piece.message_id.clone() };
        if let Some(piece) = pieces.iter().rev().find(|piece| live.needs.wants_event(&piece.name)) {
            return event(piece);
        }
        for piece in pieces.iter().rev() {
            if let Some(name) = piece.traits.iter().find(|name| live.needs.wants_trait(name)) {
                return ChangeCause::Trait { name: name.clone(), message_id: piece.message_id.clone() };
            }
        }
        match pieces.last() {
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
