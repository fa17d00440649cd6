//! A part of the log, or all of it, written anew: rules and decisions change the past too.

use std::borrow::Cow;

use rustc_hash::{FxHashMap, FxHashSet};

use super::devices::attribute;
use super::membership::{self, Definitions};
use super::news::of_replay;
use super::record::Record;
use super::scope::{Listener, Scope, Told, resolve_log};
use super::{Change, State};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::event::{EventKind, Source};
use crate::id::ProfileId;
use crate::identity::{
    Basis, Draft, Former, HAND, Node, Past, ProfileNo, Refused, Rules, RulesReport, Ruling, SharedDevice,
    Succession, hand_message_id,
};
use crate::store::{self, Cause, Db};
use crate::value::Object;

/// The name under which the rules are kept in the file.
pub(crate) const RULES: &str = "rules";

/// What a replay needs beside the log.
pub(crate) struct Replay<'r> {
    pub(crate) db: &'r Db,
    pub(crate) basis: Basis<'r>,
    pub(crate) segments: &'r Definitions,
    pub(crate) now: Timestamp,
    pub(crate) cause: Cause,
}

/// Puts rules in force: replays all events under them.
pub(crate) fn put_rules(
    db: &Db,
    state: &State,
    rules: &Rules,
    now: Timestamp,
    id: impl FnMut() -> ProfileId,
) -> Result<(Change, RulesReport)> {
    // What time has done is told as such, and not as the work of the rules.
    membership::settle_time(db, &state.identities, &state.segments, now)?;
    let text = rules.to_json().to_string();
    let mut details = Object::new();
    details.insert("digest".into(), state.digest(&text)?.into());
    state.audit(db, now, "rules", &[], details)?;
    db.set(RULES, text)?;
    let basis = Basis { rules, ..state.basis() };
    let replay = Replay { db, basis, segments: &state.segments, now, cause: Cause::Rules };
    let mut draft = Draft::on(&state.identities);
    let succession = replay.run(&mut draft, &Scope::All, id)?;
    Ok((Change { rules: Some(rules.clone()), ..Change::from(draft) }, succession.report))
}

/// Replays all events in event-time order, as the rules are.
pub(crate) fn restitch(
    db: &Db,
    state: &State,
    now: Timestamp,
    id: impl FnMut() -> ProfileId,
) -> Result<(Change, RulesReport)> {
    membership::settle_time(db, &state.identities, &state.segments, now)?;
    let replay = Replay { db, basis: state.basis(), segments: &state.segments, now, cause: Cause::Restitch };
    let mut draft = Draft::on(&state.identities);
    let succession = replay.run(&mut draft, &Scope::All, id)?;
    Ok((draft.into(), succession.report))
}

/// What rules would do to the profiles. Reads only.
pub(crate) fn simulate(db: &Db, state: &State, rules: &Rules) -> Result<RulesReport> {
    let basis = Basis { rules, ..state.basis() };
    let mut draft = Draft::on(basis.identities);
    let mut past = past(db, basis, &draft, &Scope::All)?;
    resolve(db, basis, &mut draft, &Scope::All, None, 0, &mut Moves(&mut past.moved))?;
    let succession = draft.succeed(basis.identities, rules, Scope::All.each(&draft), &past);
    Ok(succession.report)
}

/// The profiles that a replay concerns, as they are before it.
pub(crate) fn past(db: &Db, basis: Basis<'_>, draft: &Draft, scope: &Scope) -> Result<Past> {
    let base = basis.identities;
    let mut formers: Vec<Former> = Vec::new();
    let mut places: FxHashMap<Node, usize> = FxHashMap::default();
    for node in scope.each(draft) {
        let root = draft.root(base, node);
        let Some(profile) = draft.profile(base, root) else { continue };
        let place = *places.entry(root).or_insert_with(|| {
            formers.push(Former { profile, nodes: Vec::new() });
            formers.len() - 1
        });
        formers[place].nodes.push(node);
    }
    let mut vacant = Vec::new();
    // Only a rule can take a profile its every identifier, and rules are replayed from end to end.
    if matches!(scope, Scope::All) {
        let held: FxHashSet<ProfileNo> = formers.iter().map(|former| former.profile).collect();
        vacant = db.standing_profiles()?;
        vacant.retain(|(profile, _)| !held.contains(profile));
    }
    Ok(Past { formers, vacant, ..Past::default() })
}

/// Lets go of a part of the log, and resolves it again, with `until` up to an instant. Devices that turn out to be shared are nobody's from the start,
/// so the log is gone through until no more of them turn up.
pub(super) fn resolve(
    db: &Db,
    basis: Basis<'_>,
    draft: &mut Draft,
    scope: &Scope,
    until: Option<Timestamp>,
    hand_source: u32,
    listener: &mut impl Listener,
) -> Result<()> {
    let mark = draft.mark();
    let inside: Option<FxHashSet<Node>> = scope.nodes().map(|nodes| nodes.iter().copied().collect());
    for node in draft.shared_devices(basis.identities) {
        if inside.as_ref().is_none_or(|inside| inside.contains(&node)) {
            draft.set_shared(node, false);
        }
    }
    while basis.rules.shared_device_policy() == SharedDevice::None {
        let mut shares = Shares::default();
        draft.release(mark, scope.nodes());
        resolve_log(db, basis, draft, scope, until, hand_source, &mut shares)?;
        if shares.0.is_empty() {
            break;
        }
        shares.0.into_iter().for_each(|device| draft.set_shared(device, true));
    }
    draft.release(mark, scope.nodes());
    resolve_log(db, basis, draft, scope, until, hand_source, listener)?;
    draft.forget_profiles(mark);
    Ok(())
}

/// Devices on which a second user has shown.
#[derive(Default)]
struct Shares(Vec<Node>);

impl Listener for Shares {
    fn event(&mut self, told: Told<'_>) -> Result<()> {
        self.0.extend(told.resolution.into_iter().flat_map(|resolution| resolution.shares));
        Ok(())
    }

    fn refused_link(&mut self, _: Ruling, _: &Refused) -> Result<()> {
        Ok(())
    }
}

/// Where the events of identifiers go that lose them: what a replay learns by writing, for who only wants to know.
struct Moves<'m>(&'m mut FxHashMap<Node, Node>);

impl Listener for Moves<'_> {
    fn event(&mut self, told: Told<'_>) -> Result<()> {
        if let (Some(before), Some(resolution)) = (told.stored.node, told.resolution)
            && before != resolution.owner
        {
            self.0.entry(before).or_insert(resolution.owner);
        }
        Ok(())
    }

    fn refused_link(&mut self, _: Ruling, _: &Refused) -> Result<()> {
        Ok(())
    }
}

impl Replay<'_> {
    /// Resolves a part of the log again, and writes everything that is made from it anew.
    pub(crate) fn run(
        &self,
        draft: &mut Draft,
        scope: &Scope,
        id: impl FnMut() -> ProfileId,
    ) -> Result<Succession> {
        let past = past(self.db, self.basis, draft, scope)?;
        self.run_after(draft, scope, past, id)
    }

    /// The same, where the profiles of before are others than those of the draft.
    pub(crate) fn run_after(
        &self,
        draft: &mut Draft,
        scope: &Scope,
        mut past: Past,
        id: impl FnMut() -> ProfileId,
    ) -> Result<Succession> {
        let Self { db, basis, segments, now, .. } = *self;
        let base = basis.identities;
        db.clear_derived(scope.nodes())?;
        let hand_source = db.source(&Source::new(HAND))?;
        let mut writer = Writer { db, rules: basis.rules, moved: &mut past.moved };
        resolve(db, basis, draft, scope, None, hand_source, &mut writer)?;
        let succession = draft.succeed(base, basis.rules, scope.each(draft), &past);
        db.add_profiles(succession.founded.iter().chain(&succession.unused).copied(), now, id)?;
        db.write_interned(base, draft)?;
        self.give(draft, &past, &succession)?;
        for (node, shared) in draft.shared_changes() {
            db.set_shared(node, shared)?;
        }
        db.write_links(draft)?;
        draft.written();
        if scope.nodes().is_none() {
            // Everything that was ever said waits: whoever looks for it would have all of it in memory.
            db.bring_many_traits_home()?;
            db.clear_standings()?;
        }
        if !segments.is_empty() {
            self.settle(draft, &succession)?;
        }
        if scope.nodes().is_none() {
            membership::stamp(db, segments, now)?;
        }
        Ok(succession)
    }

    /// Brings the segments of those up to date whose part of the log was told anew.
    fn settle(&self, draft: &Draft, succession: &Succession) -> Result<()> {
        let Self { db, segments, now, .. } = *self;
        let cause_of = |profile: ProfileNo| {
            let absorbed = succession.absorbed.iter().any(|(gone, by)| *gone == profile || *by == profile);
            let parted = succession.parted.iter().any(|(from, to)| *from == profile || *to == profile);
            of_replay(&self.cause, absorbed, parted)
        };
        for profile in succession.absorbed.iter().map(|(gone, _)| gone).chain(&succession.vacated) {
            membership::leave(db, *profile, now, &cause_of(*profile))?;
        }
        for (root, ..) in &succession.sets {
            if let Some(person) = draft.person(self.basis.identities, *root) {
                let cause = cause_of(person.profile);
                membership::settle(db, &person, segments, now, true, &|_| Cow::Borrowed(&cause))?;
            }
        }
        Ok(())
    }

    /// Gives the identifiers to the profiles whose they are now, and says so in the journal.
    fn give(&self, draft: &Draft, past: &Past, succession: &Succession) -> Result<()> {
        let Self { db, now, .. } = *self;
        let mut before: FxHashMap<Node, ProfileNo> = FxHashMap::default();
        for former in &past.formers {
            before.extend(former.nodes.iter().map(|node| (*node, former.profile)));
        }
        for (_, profile, nodes) in &succession.sets {
            for node in nodes {
                if before.remove(node) != Some(*profile) {
                    db.give_identifier(*node, Some(*profile))?;
                }
            }
            db.set_founder(*profile, nodes[0])?;
        }
        for node in before.into_keys() {
            if draft.is_dormant(self.basis.identities, node) {
                db.give_identifier(node, None)?;
            }
        }
        db.merge_profiles(&succession.absorbed)?;
        let joined = succession.absorbed.iter().map(|(profile, by)| (*by, *profile, &self.cause));
        db.journalise(now, store::Change::Joined, joined)?;
        let parted = succession.parted.iter().map(|(profile, other)| (*profile, *other, &self.cause));
        db.journalise(now, store::Change::Split, parted)?;
        for profile in &succession.vacated {
            db.clear_standings_of(*profile)?;
        }
        Ok(())
    }
}

/// Writes what is made from the log.
struct Writer<'w> {
    db: &'w Db,
    rules: &'w Rules,
    /// Whose events went to whom.
    moved: &'w mut FxHashMap<Node, Node>,
}

impl Listener for Writer<'_> {
    fn event(&mut self, told: Told<'_>) -> Result<()> {
        let Told { number, stored, event, borne, resolution } = told;
        if event.kind() == EventKind::Alias {
            self.db.clear_assumption(number)?;
            if let Some(value) = &borne.assumed_user_id {
                self.db.assume_user_id(value, number)?;
            }
        }
        let Some(resolution) = resolution else {
            if stored.node.is_some() {
                self.db.give_event(number, None)?;
            }
            return Ok(());
        };
        let (at, message_id) = (stored.at, stored.message_id.as_str());
        // The log is told in order, so nobody turns up on a device after the fact.
        let owner = attribute(self.db, self.rules, &resolution, (number, at, message_id), &mut Vec::new())?;
        if stored.node != Some(owner) {
            self.db.give_event(number, Some(owner))?;
            if let Some(before) = stored.node {
                self.moved.entry(before).or_insert(owner);
            }
        }
        let record = Record { number, event, owner, at, message_id, source: stored.source };
        Ok(record.write(self.db, borne, &resolution)?)
    }

    fn refused_link(&mut self, join: Ruling, refused: &Refused) -> Result<()> {
        Ok(self.db.add_refusal(join.a, refused, join.at, &hand_message_id(join.number))?)
    }
}
