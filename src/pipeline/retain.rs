//! Events dropped that were kept as long as they may be.

use rustc_hash::{FxHashMap, FxHashSet};

use super::define::Definer;
use super::prune::{Around, Fate, Prune, Pruned};
use super::{Change, State, membership};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::ProfileId;
use crate::identity::{Draft, Node};
use crate::privacy::RetentionRule;
use crate::store::{Cause, Db};
use crate::value::Object;

/// The bytes of a message id's hash that are kept.
pub(crate) const KEPT: usize = 16;

/// The kind under which retention rules are kept among the definitions.
const RETENTION: &str = "retention";

/// Drops the events that any of some rules is about.
pub(crate) fn retain(
    db: &Db,
    state: &State,
    rules: &[RetentionRule],
    now: Timestamp,
    id: &dyn Fn() -> ProfileId,
) -> Result<(Change, Pruned)> {
    let old = old(db, state, rules, now)?;
    drop_events(db, state, old, now, id)
}

/// Drops events as if they had never come. Their message ids stay known, as hashes.
pub(crate) fn drop_events(
    db: &Db,
    state: &State,
    old: Old,
    now: Timestamp,
    id: &dyn Fn() -> ProfileId,
) -> Result<(Change, Pruned)> {
    membership::settle_time(db, &state.identities, &state.segments, now)?;
    let mut draft = Draft::on(&state.identities);
    if old.events.is_empty() {
        return Ok((draft.into(), Pruned::default()));
    }
    let Old { events, owners, orphans } = old;
    let around = Around { nodes: owners.into_iter().collect(), orphans, ..Around::default() };
    let prune = Prune { db, state, hand: &state.hand, now, cause: Cause::Retention, id };
    let pruned = prune.run(&mut draft, around, |number, _, _| {
        Ok(if events.contains(&number) { Fate::Drop } else { Fate::Keep })
    })?;
    let mut details = Object::new();
    details.insert("events".into(), pruned.dropped.len().into());
    details.insert("identifiers".into(), pruned.forgotten.into());
    state.audit(db, now, "retain", &[], details)?;
    let key = state.key()?;
    for message_id in &pruned.dropped {
        db.remember_dropped(&key.message_id(message_id)[..KEPT])?;
    }
    Ok((draft.into(), pruned))
}

/// The retention rules of a file, by name.
pub(crate) fn rules(db: &Db) -> Result<Vec<RetentionRule>> {
    let read = |(name, text): (String, String)| {
        let damaged = |error| Error::Damaged(format!("the retention rule {name:?}: {error}"));
        RetentionRule::from_json(&text).map_err(damaged)
    };
    db.definitions(RETENTION)?.into_iter().map(read).collect()
}

impl Definer<'_> {
    /// Puts a retention rule in force, in place of one of that name.
    pub(crate) fn retention(&self, rule: &RetentionRule) -> Result<Change> {
        let text = rule.to_value().to_string();
        self.db.put_definition(RETENTION, rule.name(), Some(&text))?;
        self.account_for("define", RETENTION, rule.name(), Some(&text))?;
        Ok(Draft::on(&self.state.identities).into())
    }

    /// Lifts a retention rule. `None` if there is none of that name.
    pub(crate) fn lift_retention(&self, name: &str) -> Result<Option<Change>> {
        if !rules(self.db)?.iter().any(|rule| rule.name() == name) {
            return Ok(None);
        }
        self.db.put_definition(RETENTION, name, None)?;
        self.account_for("undefine", RETENTION, name, None)?;
        Ok(Some(Draft::on(&self.state.identities).into()))
    }
}

/// Events that are to be dropped, and whose they are.
#[derive(Default)]
pub(crate) struct Old {
    events: FxHashSet<i64>,
    owners: FxHashSet<Node>,
    orphans: Vec<i64>,
}

impl Old {
    /// Adds an event, and whose it is.
    pub(super) fn add(&mut self, event: i64, owner: Option<Node>) {
        self.events.insert(event);
        match owner {
            Some(owner) => _ = self.owners.insert(owner),
            None => self.orphans.push(event),
        }
    }
}

fn old(db: &Db, state: &State, rules: &[RetentionRule], now: Timestamp) -> Result<Old> {
    let mut old = Old::default();
    let Some(latest) = rules.iter().map(|rule| rule.cutoff(now)).max() else { return Ok(old) };
    let (names, sources) = (FxHashMap::from_iter(db.event_names()?), db.sources()?);
    let mut known: FxHashMap<Node, bool> = FxHashMap::default();
    let mut is_anonymous = |owner: Option<Node>| {
        let person = owner.and_then(|owner| state.identities.partition.root(owner));
        let is_known = |root: &mut Node| {
            let person = state.identities.person(*root);
            person.is_some_and(|person| person.namespaces.iter().any(|name| !name.is_anonymous()))
        };
        !person.is_some_and(|mut root| *known.entry(root).or_insert_with(|| is_known(&mut root)))
    };
    db.visit_old(latest, |number, at, owner, name, source| {
        let (Some(name), Some(source)) = (names.get(&name), sources.get(&source)) else { return };
        let is_old = rules.iter().any(|rule| {
            at <= rule.cutoff(now)
                && rule.fits(source.party, name)
                && (!rule.is_anonymous() || is_anonymous(owner))
        });
        if is_old {
            old.add(number, owner);
        }
    })?;
    Ok(old)
}
