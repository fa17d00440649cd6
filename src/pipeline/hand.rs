//! Decisions by hand: links and bans, which precede every rule, and cuts, which take evidence away.

use std::borrow::Cow;

use rustc_hash::FxHashSet;

use super::membership::{self, Live};
use super::replay::Replay;
use super::scope::Scope;
use super::{Change, State};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::event::Source;
use crate::id::{Identifier, ProfileId};
use crate::identity::{
    Basis, DecisionKind, Draft, HAND, Hand, Node, ProfileNo, Refused, Ruling, Succession, hand_message_id,
};
use crate::store::{Cause, ChangeCause, Db, Of};
use crate::value::Object;

/// What a link takes back of the same pair.
const LIFTED_BY_LINK: [DecisionKind; 4] =
    [DecisionKind::Link, DecisionKind::Force, DecisionKind::Cut, DecisionKind::Apart];

/// What a decision is on its way to be: the draft in which its identifiers have their numbers, and all decisions with it.
pub(crate) struct Deed<'d> {
    db: &'d Db,
    state: &'d State,
    now: Timestamp,
    /// Makes the ids of new profiles.
    id: &'d dyn Fn() -> ProfileId,
    hand: Hand,
    pub(crate) draft: Draft,
}

/// What came of a decision.
pub(crate) struct Outcome {
    pub(crate) change: Change,
    /// Identifiers of the people concerned, as they are now.
    pub(crate) concerned: Vec<Node>,
    /// What spoke against a link: the refusal, from whom it kept the identifier, and what stands for the message id.
    pub(crate) refused: Option<(Refused, Node, String)>,
}

impl<'d> Deed<'d> {
    pub(crate) fn new(db: &'d Db, state: &'d State, now: Timestamp, id: &'d dyn Fn() -> ProfileId) -> Self {
        Self { db, state, now, id, hand: state.hand.clone(), draft: Draft::on(&state.identities) }
    }

    /// Joins two identifiers: in spite of limits and of earlier cuts if forced.
    pub(crate) fn link(mut self, a: Node, b: Node, force: bool) -> Result<Outcome> {
        let (a, b) = (a.min(b), a.max(b));
        let base = &self.state.identities;
        let kind = if force { DecisionKind::Force } else { DecisionKind::Link };
        let mut lifted = self.lift(a, b, &LIFTED_BY_LINK)?;
        if force {
            self.lift(a, b, &[DecisionKind::Never])?;
            self.lift_cuts_between(a, b)?;
            // Evidence that a limit had refused may count now.
            lifted = true;
        }
        let number = self.decide(kind, a, b)?;
        self.account_for(kind.as_str(), &[a, b])?;
        let mut refused = None;
        if lifted {
            // Evidence that had been taken away counts again.
            self.replay([a, b], Cause::Link)?;
            let kept = self.db.refusals_between(base, a, b, usize::MAX)?;
            let own = kept.into_iter().rfind(|kept| kept.message_id == hand_message_id(number));
            refused = own.map(|kept| Refused {
                identifier: kept.identifier,
                node: kept.node,
                rule: kept.rule,
                reason: kept.reason,
            });
        } else {
            let source = self.db.source(&Source::new(HAND))?;
            let basis = Basis { hand: &self.hand, ..self.state.basis() };
            let ruling = Ruling { number, at: self.now, kind, a, b };
            if let Err(found) = self.draft.join_by_hand(basis, ruling, source) {
                self.db.add_refusal(a, &found, self.now, &hand_message_id(number))?;
                refused = Some(found);
            }
            self.write(&Cause::Link)?;
        }
        let refused = refused.map(|refused| (refused, a, hand_message_id(number)));
        Ok(self.outcome(vec![a, b], refused))
    }

    /// Adds a decision on identifiers to the audit log.
    fn account_for(&self, action: &str, about: &[Node]) -> Result<()> {
        let base = &self.state.identities;
        let about: Vec<Identifier> = about.iter().map(|node| self.draft.identifier(base, *node)).collect();
        self.state.audit(self.db, self.now, action, &about, Object::new())
    }

    /// Takes back every cut between the people of two nodes.
    fn lift_cuts_between(&mut self, a: Node, b: Node) -> Result<()> {
        let base = &self.state.identities;
        let other = self.draft.root(base, b);
        let mut cuts = Vec::new();
        if self.hand.has_bans() {
            for node in self.draft.members(base, self.draft.root(base, a)) {
                let bans = self.hand.bans(node).filter(|(_, kind, _)| *kind == DecisionKind::Apart);
                let crossing = bans.filter(|(banned, ..)| self.draft.root(base, *banned) == other);
                cuts.extend(crossing.map(|(banned, ..)| (node, banned)));
            }
        }
        for (a, b) in cuts {
            self.lift(a, b, &[DecisionKind::Apart])?;
        }
        Ok(())
    }

    /// Keeps two identifiers apart for ever.
    pub(crate) fn never(mut self, a: Node, b: Node) -> Result<Outcome> {
        self.lift(a, b, &[DecisionKind::Never, DecisionKind::Apart])?;
        self.decide(DecisionKind::Never, a, b)?;
        self.account_for("never", &[a, b])?;
        let base = &self.state.identities;
        let settled = |node: Node| -> Result<bool> {
            Ok(!self.draft.is_dormant(base, node) || self.db.refused_with(node)?.is_empty())
        };
        // A ban on two who are two already changes nothing, but for identifiers that were refused wherever they came.
        if self.draft.root(base, a) == self.draft.root(base, b) || !settled(a)? || !settled(b)? {
            self.replay([a, b], Cause::Never)?;
        } else {
            self.write(&Cause::Never)?;
        }
        Ok(self.outcome(vec![a, b], None))
    }

    /// Takes the evidence between two identifiers away.
    pub(crate) fn unlink(mut self, a: Node, b: Node) -> Result<Outcome> {
        self.account_for("unlink", &[a, b])?;
        self.cut(&[(a, b)], Cause::Unlink)?;
        Ok(self.outcome(vec![a, b], None))
    }

    /// Cuts an identifier off from everything that evidence connects it with.
    pub(crate) fn split(mut self, node: Node) -> Result<Outcome> {
        let base = &self.state.identities;
        let concerned: Vec<Node> = base.partition.members(node).collect();
        self.account_for("split", &[node])?;
        let mut partners: FxHashSet<Node> = self.db.linked_with(node)?.into_iter().collect();
        partners.extend(self.db.refused_with(node)?);
        let mut pairs: Vec<(Node, Node)> =
            partners.into_iter().filter(|partner| *partner != node).map(|partner| (node, partner)).collect();
        pairs.sort_unstable();
        self.cut(&pairs, Cause::Split)?;
        Ok(self.outcome(concerned, None))
    }

    /// Takes all evidence of a source away.
    pub(crate) fn split_source(mut self, name: &str) -> Result<Outcome> {
        let pairs = self.db.linked_by(name)?;
        // What its events bear does not count either where something else had kept it out.
        let refused = self.db.refused_by(name)?;
        let mut details = Object::new();
        details.insert("source".into(), name.into());
        self.state.audit(self.db, self.now, "split", &[], details)?;
        let number = self.db.decide_source(self.now, name)?;
        self.hand.cut_source(name, self.now);
        self.part(&pairs, refused, Cause::Split, Some(number))?;
        let concerned = pairs.into_iter().flat_map(|(a, b)| [a, b]).collect();
        Ok(self.outcome(concerned, None))
    }

    /// Takes a decision back. `None` if there is none of that number.
    pub(crate) fn take_back(mut self, number: i64) -> Result<Option<Outcome>> {
        let Some(decided) = self.db.decisions()?.into_iter().find(|decided| decided.number == number) else {
            return Ok(None);
        };
        let mut details = Object::new();
        details.insert("decision".into(), number.into());
        self.state.audit(self.db, self.now, "take_back", &[], details)?;
        self.db.take_back(&decided)?;
        self.hand = self.db.hand()?;
        let concerned = match decided.of {
            Of::Pair(a, b) => {
                self.replay([a, b], Cause::TakenBack)?;
                vec![a, b]
            }
            Of::Source(_) => self.replay_all(Cause::TakenBack)?,
        };
        Ok(Some(self.outcome(concerned, None)))
    }

    /// Cuts the evidence of pairs, and remembers which of them fell apart by it.
    fn cut(&mut self, pairs: &[(Node, Node)], cause: Cause) -> Result<()> {
        for &(a, b) in pairs {
            self.lift(a, b, &[DecisionKind::Link, DecisionKind::Force])?;
            if self.hand.cut(a, b).is_none() {
                self.decide(DecisionKind::Cut, a, b)?;
            }
        }
        self.part(pairs, Vec::new(), cause, None)
    }

    /// Stitches the people of pairs, and some others, anew, and bans those pairs that fell apart: because of the cut of a
    /// source, if that is what parted them.
    fn part(
        &mut self,
        pairs: &[(Node, Node)],
        others: Vec<Node>,
        cause: Cause,
        source: Option<i64>,
    ) -> Result<()> {
        let base = &self.state.identities;
        let together = |draft: &Draft, a: Node, b: Node| {
            draft.held_root(base, a).is_some_and(|root| draft.held_root(base, b) == Some(root))
        };
        let mut fallen: Vec<(Node, Node)> =
            pairs.iter().copied().filter(|(a, b)| together(&self.draft, *a, *b)).collect();
        self.replay(pairs.iter().flat_map(|(a, b)| [*a, *b]).chain(others), cause)?;
        fallen.retain(|(a, b)| !together(&self.draft, *a, *b));
        for (a, b) in fallen {
            if self.hand.bans(a).all(|(other, ..)| other != b) {
                let number = self.db.decide_apart(self.now, a, b, source)?;
                self.hand.add(Ruling { number, at: self.now, kind: DecisionKind::Apart, a, b });
            }
        }
        Ok(())
    }

    /// Takes back decisions of some kinds on a pair, and says whether there were any.
    fn lift(&mut self, a: Node, b: Node, kinds: &[DecisionKind]) -> Result<bool> {
        kinds.iter().try_for_each(|kind| self.db.lift(a, b, *kind))?;
        Ok(self.hand.lift(a, b, kinds))
    }

    fn decide(&mut self, kind: DecisionKind, a: Node, b: Node) -> Result<i64> {
        let number = self.db.decide(self.now, kind, a, b)?;
        self.hand.add(Ruling { number, at: self.now, kind, a: a.min(b), b: a.max(b) });
        Ok(number)
    }

    /// Resolves the part of the log around some nodes anew, under all decisions.
    fn replay(&mut self, start: impl IntoIterator<Item = Node>, cause: Cause) -> Result<Succession> {
        // Identifiers that nobody has borne yet need their rows.
        self.write(&cause)?;
        let basis = Basis { hand: &self.hand, ..self.state.basis() };
        let scope = Scope::around(self.db, basis, &self.draft, start)?;
        self.run(&scope, cause)
    }

    fn replay_all(&mut self, cause: Cause) -> Result<Vec<Node>> {
        let succession = self.run(&Scope::All, cause)?;
        let changed: FxHashSet<ProfileNo> = succession
            .parted
            .iter()
            .chain(&succession.absorbed)
            .flat_map(|(own, other)| [*own, *other])
            .collect();
        let sets = succession.sets.into_iter().filter(|(_, profile, _)| changed.contains(profile));
        Ok(sets.map(|(root, ..)| root).collect())
    }

    fn run(&mut self, scope: &Scope, cause: Cause) -> Result<Succession> {
        let Self { db, state, now, id, hand, draft } = self;
        let basis = Basis { hand, ..state.basis() };
        Replay { db, basis, segments: &state.segments, now: *now, cause }.run(draft, scope, id)
    }

    /// Writes what the draft has come to without a replay, and settles the segments of whom it concerns.
    fn write(&mut self, cause: &Cause) -> Result<()> {
        let Self { db, state, now, id, draft, .. } = self;
        let base = &state.identities;
        let held: Vec<Node> = draft.pending.held.keys().copied().collect();
        let joined: Vec<Node> = draft.pending.links.keys().map(|(a, ..)| *a).collect();
        let gone: Vec<_> = draft.pending.absorbed.iter().map(|absorbed| absorbed.profile).collect();
        for profile in gone {
            membership::leave(db, profile, *now, &ChangeCause::Merge)?;
        }
        db.write_draft(base, draft, *now, Some(cause), id)?;
        if !state.segments.is_empty() {
            let roots: FxHashSet<Node> =
                held.into_iter().chain(joined).map(|node| draft.root(base, node)).collect();
            for person in roots.into_iter().filter_map(|root| draft.person(base, root)) {
                let cause = |_: &Live| Cow::Borrowed(&ChangeCause::Merge);
                membership::settle(db, &person, &state.segments, *now, false, &cause)?;
            }
        }
        Ok(())
    }

    fn outcome(self, concerned: Vec<Node>, refused: Option<(Refused, Node, String)>) -> Outcome {
        let Self { hand, draft, .. } = self;
        Outcome { change: Change { hand: Some(hand), ..draft.into() }, concerned, refused }
    }
}
