//! A person erased: their events and everything made of them, their identifiers in the events of others, and whatever
//! else names them.

use std::borrow::Cow;

use rustc_hash::FxHashSet;

use super::former::{Spelled, former};
use super::prune::{Around, Fate, Prune};
use super::retain::KEPT;
use super::{Change, State, membership};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::{Identifier, ProfileId};
use crate::identity::{Draft, Node, ProfileNo, identifiers, normalise, places, strongest, take_out};
use crate::privacy::{Names, Receipt};
use crate::profile::ANALYTICS;
use crate::store::{Cause, ChangeCause, Db, Learned, NewChange, StoredEvent};
use crate::value::Object;

/// How many refused events are looked at together.
pub(super) const PAGE: usize = 1_000;

/// Whom an erasure is about.
pub(crate) struct Whom {
    /// Their identifiers.
    pub(crate) nodes: Vec<Node>,
    /// The one by which they were named, known or not.
    pub(crate) named: Option<Identifier>,
}

/// Erases a person, and puts their identifiers on the suppression list. What is left of them in unused parts of the file is
/// the caller's to overwrite.
pub(crate) fn erase(
    db: &Db,
    state: &State,
    whom: &Whom,
    now: Timestamp,
    id: &dyn Fn() -> ProfileId,
) -> Result<(Change, Receipt)> {
    let State { identities, rules, segments, .. } = state;
    membership::settle_time(db, identities, segments, now)?;
    let mut names: Vec<Identifier> =
        whom.nodes.iter().map(|node| identities.interner.identifier(*node)).collect();
    // Who is named by a profile id is told of by their strongest identifier: the log is not to say which were theirs.
    let mut about = strongest(identities, rules, whom.nodes.iter().copied())
        .map(|node| identities.interner.identifier(node));
    if let Some(named) = &whom.named
        && let Ok(value) = normalise(named.namespace(), named.value(), rules.region())
        && !value.is_empty()
    {
        let spelled = Identifier::new(named.namespace().clone(), value);
        names.push(spelled.clone());
        about = Some(spelled);
    }
    names.sort_unstable();
    names.dedup();
    let key = state.key()?;
    for name in &names {
        db.suppress(&key.identifier(name), now)?;
    }

    let profile = whom.nodes.first().and_then(|node| identities.partition.profile(*node));
    let held = db.held_of(profile, &whom.nodes)?;
    let mut receipt = Receipt {
        identifiers: whom.nodes.len() as u64,
        traits: held.traits,
        consents: held.consents,
        memberships: held.memberships,
        ..Receipt::default()
    };
    let mut change = Change::from(Draft::on(identities));
    if !whom.nodes.is_empty() {
        let gone: FxHashSet<Node> = whom.nodes.iter().copied().collect();
        let mut profiles = FxHashSet::default();
        if let Some(profile) = profile {
            profiles.insert(profile);
            profiles.extend(db.absorbed_by(profile)?);
        }
        let loose = db.remove_decisions(&gone)?;
        let hand = db.hand()?;
        let mut around = Around { nodes: whom.nodes.clone(), gone: gone.clone(), loose, ..Around::default() };
        let names: FxHashSet<&Identifier> = names.iter().collect();
        if profile.is_none() {
            // Nobody's, so rules may block it: then nothing leads to the events that bear it, and all are looked at.
            bearers(db, state, &names, &mut around)?;
        }
        let mut draft = Draft::on(identities);
        let prune = Prune { db, state, hand: &hand, now, cause: Cause::Erasure, id };
        let (mut strays, mut spelled) = (Vec::new(), Spelled::new(identities));
        let mut learned = Learned::default();
        let pruned = prune.run(&mut draft, around, |_, stored, event| {
            let fate = fate(state, &gone, &names, stored, event)?;
            if matches!(fate, Fate::Drop) {
                spelled.add(&stored.json, rules);
                db.note_learned(&stored.json, &mut learned)?;
                if is_stray(state, &names, event) {
                    strays.push(key.message_id(&stored.message_id));
                }
            }
            Ok(fate)
        })?;
        db.unlearn(&learned)?;
        let former = former(db, state, &draft, &spelled, (&profiles, &names))?;
        db.forget_identifiers(&former)?;
        draft.forget(&former);
        strays.iter().try_for_each(|hash| db.remember_dropped(&hash[..KEPT]))?;
        db.scrub_journals(&profiles, &pruned.dropped)?;
        note_who_goes_on(db, &profiles, now)?;
        (receipt.events, receipt.redacted) = (pruned.dropped.len() as u64, pruned.rewritten);
        let still_refusing = Some(db.refusing(ANALYTICS)?);
        change = Change { hand: Some(hand), still_refusing, ..draft.into() };
    }

    let names = Names::new(&names, rules);
    receipt.quarantined = remove_quarantined(db, &names)?;
    let texts = db.definition_texts()?;
    receipt.definitions = texts.iter().filter(|text| names.are_in(text)).count() as u64;
    if let Some(about) = about {
        state.audit(db, now, "erase", &[about], figures(&receipt))?;
    }
    Ok((change, receipt))
}

/// Notes of which segments those are members whose past was taken out of the journal and who go on: of a backup, somebody may
/// be erased of whom another was thought to be a part when it was made.
fn note_who_goes_on(db: &Db, profiles: &FxHashSet<ProfileNo>, now: Timestamp) -> Result<()> {
    let mut profiles: Vec<ProfileNo> = profiles.iter().copied().collect();
    profiles.sort_unstable();
    for profile in profiles {
        let (own, cause) = (db.segments_of(profile)?, Cow::Borrowed(&ChangeCause::Erasure));
        let entry = |segment| NewChange { profile, segment, entered: true, at: now, cause: cause.clone() };
        db.add_changes(&own.iter().map(|name| entry(name)).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// What the audit log tells of an erasure.
fn figures(receipt: &Receipt) -> Object {
    let Receipt { identifiers, events, quarantined, redacted, .. } = *receipt;
    let figures = [
        ("identifiers", identifiers),
        ("events", events),
        ("quarantined", quarantined),
        ("redacted", redacted),
    ];
    figures.into_iter().map(|(name, figure)| (name.to_owned(), figure.into())).collect()
}

/// What becomes of an event: theirs goes, and out of another's go their identifiers. If it bears no other, it is nobody
/// else's.
fn fate(
    state: &State,
    gone: &FxHashSet<Node>,
    names: &FxHashSet<&Identifier>,
    stored: &StoredEvent,
    event: &Event,
) -> Result<Fate> {
    if stored.node.is_some_and(|node| gone.contains(&node)) {
        return Ok(Fate::Drop);
    }
    let places = places(event, &state.rules);
    let theirs: Vec<_> =
        places.iter().filter(|place| place.bears.iter().any(|borne| names.contains(borne))).collect();
    if theirs.is_empty() {
        return Ok(Fate::Keep);
    }
    let damaged = |error| Error::Damaged(format!("event {}: {error}", stored.message_id));
    let json = take_out(&stored.json, &theirs).map_err(damaged)?;
    let is_left = Event::from_json(&json)
        .is_ok_and(|event| !identifiers(&event, &state.rules, |_| false).identifiers.is_empty());
    Ok(if is_left { Fate::Rewrite(json) } else { Fate::Drop })
}

/// Whether an event that was theirs has a strongest identifier that is not: a device of somebody else's on which they were
/// seen last, or what an alias names, which is read otherwise once no event bears it. The suppression list would not know
/// it again, so its message id stays known.
fn is_stray(state: &State, names: &FxHashSet<&Identifier>, event: &Event) -> bool {
    [false, true].into_iter().any(|is_anonymous| {
        let borne = identifiers(event, &state.rules, |_| is_anonymous);
        let strongest = borne.identifiers.first();
        strongest.is_some_and(|found| {
            !names.contains(&Identifier::new(found.namespace.clone(), found.value.clone()))
        })
    })
}

/// Adds the events of all that bear any of some identifiers.
fn bearers(db: &Db, state: &State, names: &FxHashSet<&Identifier>, around: &mut Around) -> Result<()> {
    for (_, number) in db.log()? {
        let stored = db.event(number)?;
        let Ok(event) = Event::from_json(&stored.json) else { continue };
        let mut borne = places(&event, &state.rules).into_iter().flat_map(|place| place.bears);
        if borne.any(|borne| names.contains(&borne)) {
            match stored.node {
                Some(owner) => around.nodes.push(owner),
                None => around.orphans.push(number),
            }
        }
    }
    around.nodes.sort_unstable();
    around.nodes.dedup();
    Ok(())
}

/// Lets go of refused events that name somebody, and says how many there were.
fn remove_quarantined(db: &Db, names: &Names<'_>) -> Result<u64> {
    let (mut after, mut removed) = (0, 0);
    loop {
        let page = db.quarantined(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(removed) };
        after = last.entry;
        for kept in page {
            if names.are_in(&String::from_utf8_lossy(&kept.raw)) {
                db.remove_quarantined(kept.entry)?;
                removed += 1;
            }
        }
    }
}
