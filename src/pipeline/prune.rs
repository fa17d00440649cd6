//! Events taken out of the log, and everything as if they had never been.
//!
//! What evidence connects with them, accepted or refused, is resolved anew: a join may fall away with them, and another
//! that a limit had refused may take its place. Identifiers that no event bears any more, and no hand has named, are let
//! go of.

use std::borrow::Cow;

use rustc_hash::{FxHashMap, FxHashSet};

use super::State;
use super::membership;
use super::news::of_replay;
use super::replay::Replay;
use super::scope::Scope;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::{Namespace, ProfileId};
use crate::identity::{Basis, Draft, Hand, Node, identifiers};
use crate::store::{Cause, Db, StoredEvent};

/// What becomes of an event.
pub(crate) enum Fate {
    Keep,
    Drop,
    /// It stays, with this JSON.
    Rewrite(String),
}

/// What is needed to take events out.
pub(crate) struct Prune<'p> {
    pub(crate) db: &'p Db,
    pub(crate) state: &'p State,
    /// The decisions that stand from now on.
    pub(crate) hand: &'p Hand,
    pub(crate) now: Timestamp,
    pub(crate) cause: Cause,
    /// Makes the ids of new profiles.
    pub(crate) id: &'p dyn Fn() -> ProfileId,
}

/// The part of the log that is concerned.
#[derive(Default)]
pub(crate) struct Around {
    /// Identifiers around which it lies.
    pub(crate) nodes: Vec<Node>,
    /// Events of nobody.
    pub(crate) orphans: Vec<i64>,
    /// Identifiers that are let go of whatever is left of them.
    pub(crate) gone: FxHashSet<Node>,
    /// Identifiers elsewhere that may be nobody's now.
    pub(crate) loose: Vec<Node>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Pruned {
    /// The message ids of the events that were dropped.
    pub(crate) dropped: FxHashSet<String>,
    pub(crate) rewritten: u64,
    /// How many identifiers were let go of.
    pub(crate) forgotten: u64,
}

/// The part of the log as it is to be.
#[derive(Default)]
struct Story {
    dropped: Vec<(i64, Option<Node>, String)>,
    rewritten: FxHashMap<i64, (Option<Node>, String, String)>,
    /// What is borne as `anonymousId` by events that stay, and what their aliases name.
    borne: FxHashSet<String>,
    previous: FxHashSet<String>,
}

impl Prune<'_> {
    /// Takes out of the log what `fate` says, and makes everything that follows from it anew.
    pub(crate) fn run(
        &self,
        draft: &mut Draft,
        around: Around,
        mut fate: impl FnMut(i64, &StoredEvent, &Event) -> Result<Fate>,
    ) -> Result<Pruned> {
        let (db, base) = (self.db, &self.state.identities);
        let Around { nodes: mut start, orphans, gone, loose } = around;
        // Decisions that fall away still say where evidence leads.
        let before = self.state.basis();
        let (scope, story) = loop {
            let scope = Scope::around(db, before, draft, start.clone())?.with(orphans.clone());
            let story = self.read(&scope, &orphans, &mut fate)?;
            let more = self.meant_anew(draft, &scope, &story);
            if more.is_empty() {
                break (scope, story);
            }
            start.extend(more);
        };
        let mut accounts: FxHashSet<i64> = FxHashSet::default();
        let mut edits: FxHashMap<i64, Option<&str>> = FxHashMap::default();
        for (number, owner, message_id) in &story.dropped {
            if let Some(owner) = owner {
                accounts.extend(db.remove_account_traits(*owner, message_id)?);
            }
            // What somebody who is erased has decided on a device of another's, they have not. Age alone undoes no decision.
            if self.cause == Cause::Erasure {
                db.remove_consents_of_event(message_id)?;
            }
            edits.insert(*number, None);
        }
        for (number, (owner, message_id, json)) in &story.rewritten {
            if let Some(owner) = owner {
                accounts.extend(db.remove_account_traits(*owner, message_id)?);
            }
            edits.insert(*number, Some(json.as_str()));
        }
        db.edit_events(&edits)?;
        let nodes = scope.nodes().unwrap_or_default();
        for &node in nodes {
            if !story.borne.contains(draft.identifier(base, node).value()) {
                draft.unbear(base, node);
            }
        }
        let basis = Basis { hand: self.hand, ..before };
        let segments = &self.state.segments;
        let replay = Replay { db, basis, segments, now: self.now, cause: self.cause.clone() };
        replay.run(draft, &scope, self.id)?;

        let mut forgotten: Vec<Node> = gone.iter().copied().collect();
        for node in nodes.iter().copied().chain(loose) {
            if !gone.contains(&node) && draft.is_dormant(base, node) && !db.is_kept(node)? {
                forgotten.push(node);
            }
        }
        forgotten.sort_unstable();
        forgotten.dedup();
        db.forget_identifiers(&forgotten)?;
        draft.forget(&forgotten);
        if !accounts.is_empty() {
            db.remove_bare_accounts()?;
            self.settle_members(draft, &accounts)?;
        }
        Ok(Pruned {
            rewritten: story.rewritten.len() as u64,
            dropped: story.dropped.into_iter().map(|(.., message_id)| message_id).collect(),
            forgotten: forgotten.len() as u64,
        })
    }

    /// Reads a part of the log as it is to be.
    fn read(
        &self,
        scope: &Scope,
        orphans: &[i64],
        fate: &mut impl FnMut(i64, &StoredEvent, &Event) -> Result<Fate>,
    ) -> Result<Story> {
        let mut story = Story::default();
        let damaged = |number: i64, refusal| Error::Damaged(format!("event {number} of the log: {refusal}"));
        for (_, number) in self.db.log_of(scope.nodes().unwrap_or_default(), orphans)? {
            let stored = self.db.event(number)?;
            let mut event = Event::from_json(&stored.json).map_err(|refusal| damaged(number, refusal))?;
            match fate(number, &stored, &event)? {
                Fate::Keep => {}
                Fate::Drop => {
                    story.dropped.push((number, stored.node, stored.message_id));
                    continue;
                }
                Fate::Rewrite(json) => {
                    event = Event::from_json(&json).map_err(|refusal| damaged(number, refusal))?;
                    story.rewritten.insert(number, (stored.node, stored.message_id, json));
                }
            }
            let borne = identifiers(&event, &self.state.rules, |_| false);
            story.borne.extend(borne.anonymous_id.map(Cow::into_owned));
            story.previous.extend(borne.assumed_user_id.map(Cow::into_owned));
        }
        Ok(story)
    }

    /// The users whom aliases mean from now on, by what was an `anonymous_id` as long as an event bore it: those whom the
    /// scope does not have.
    fn meant_anew(&self, draft: &mut Draft, scope: &Scope, story: &Story) -> Vec<Node> {
        let base = &self.state.identities;
        let inside: FxHashSet<Node> = scope.nodes().into_iter().flatten().copied().collect();
        let mut more = Vec::new();
        for value in story.previous.difference(&story.borne) {
            let device = draft.find(base, &Namespace::ANONYMOUS_ID, value);
            if draft.is_anonymous_id(base, value) && device.is_some_and(|device| inside.contains(&device)) {
                let user = draft.intern(base, &Namespace::USER_ID, value);
                more.extend(user.filter(|user| !inside.contains(user)));
            }
        }
        more
    }

    /// Brings the segments of those up to date whose accounts have lost what an event had said of them.
    fn settle_members(&self, draft: &Draft, accounts: &FxHashSet<i64>) -> Result<()> {
        let Self { db, state, now, .. } = *self;
        if !state.segments.wants_accounts() {
            return Ok(());
        }
        let cause = of_replay(&self.cause, false, false);
        let members = db.members_of_accounts(accounts)?.into_iter();
        let roots: FxHashSet<Node> = members.map(|node| draft.root(&state.identities, node)).collect();
        for person in roots.into_iter().filter_map(|root| draft.person(&state.identities, root)) {
            membership::settle(db, &person, &state.segments, now, false, &|_| Cow::Borrowed(&cause))?;
        }
        Ok(())
    }
}
