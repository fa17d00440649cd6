//! Segments, computed traits, tags and policies: defining them, asking why, and who came and went.

use super::named::Named;
use super::read::live;
use super::{Cdp, SegmentChange, SegmentMove, Why};
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Error, Result};
use crate::id::Identifier;
use crate::identity::{Draft, Node, strongest};
use crate::pipeline::define::Definer;
use crate::pipeline::{Change, State, membership, people};
use crate::profile::Policy;
use crate::segment::{ComputedTrait, Condition, Segment, TagRule, evaluate, explain};
use crate::store::{Db, KeptChange};
use crate::value::nfc;

impl Cdp {
    /// Defines a segment, in place of one of that name, over all history at once. Gives the number of its members,
    /// who are kept right from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if it makes no sense, if it names a segment that there is none of,
    /// or rests on itself, [`Error::NotAnId`](crate::Error::NotAnId) if a list has what is no id, or what the storage says.
    pub fn define(&self, segment: Segment) -> Result<usize> {
        segment.check()?;
        let ids = named(segment.ids())?;
        self.change(|definer| {
            let (draft, nodes) = intern(definer, &ids, "members")?;
            definer.segment(segment, draft, &nodes).map(|(change, members)| (Some(change), members))
        })
    }

    /// Removes a segment's definition. False if there is none of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if others rest on it, or what the storage says.
    pub fn undefine(&self, name: &str) -> Result<bool> {
        let name = nfc(name);
        self.change(|definer| {
            let change = definer.remove_segment(&name)?;
            let found = change.is_some();
            Ok((change, found))
        })
    }

    /// Puts people on a list that is kept by hand, and gives the number of its members. An id that nobody has yet counts
    /// once somebody has it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSegment`](crate::Error::UnknownSegment), [`Error::Definition`](crate::Error::Definition) if the
    /// segment is no list, [`Error::NotAnId`](crate::Error::NotAnId), or what the storage says.
    pub fn add(&self, list: &str, ids: impl IntoIterator<Item = impl ToString>) -> Result<usize> {
        self.keep_list(list, ids, true)
    }

    /// Takes people off a list that is kept by hand, and gives the number of its members.
    ///
    /// # Errors
    ///
    /// Those of [`add`](Self::add).
    pub fn remove(&self, list: &str, ids: impl IntoIterator<Item = impl ToString>) -> Result<usize> {
        self.keep_list(list, ids, false)
    }

    fn keep_list(&self, list: &str, ids: impl IntoIterator<Item = impl ToString>, on: bool) -> Result<usize> {
        let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
        let (ids, list) = (named(&ids)?, nfc(list));
        self.change(|definer| {
            let (draft, nodes) = intern(definer, &ids, "ids")?;
            let (on, off) = if on { (&nodes[..], &[][..]) } else { (&[][..], &nodes[..]) };
            definer.list(&list, draft, on, off).map(|(change, members)| (Some(change), members))
        })
    }

    /// Defines a computed trait, in place of one of that name, over all history at once.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if it makes no sense, or what the storage says.
    pub fn define_trait(&self, computed: ComputedTrait) -> Result<()> {
        computed.check()?;
        self.change(|definer| Ok((Some(definer.computed(&computed)?), ())))
    }

    /// Removes a computed trait. False if there is none of that name.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn undefine_trait(&self, name: &str) -> Result<bool> {
        let name = nfc(name);
        self.change(|definer| {
            let change = definer.remove_computed(&name)?;
            let found = change.is_some();
            Ok((change, found))
        })
    }

    /// Defines a rule for a tag, in place of one for that tag, over all history at once.
    ///
    /// # Errors
    ///
    /// Those of [`define`](Self::define).
    pub fn define_tag(&self, rule: TagRule) -> Result<()> {
        rule.check()?;
        self.change(|definer| Ok((Some(definer.tag(&rule)?), ())))
    }

    /// Removes the rule for a tag. False if there is none.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn undefine_tag(&self, name: &str) -> Result<bool> {
        let name = nfc(name);
        self.change(|definer| {
            let change = definer.remove_tag(&name)?;
            let found = change.is_some();
            Ok((change, found))
        })
    }

    /// Gives somebody a tag by hand, until it expires or is taken away.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, has_tag};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::page().user_id("u1")])?;
    /// cdp.tag("user_id:u1", "vip", None)?;
    /// assert_eq!(cdp.preview(has_tag("vip"))?.len(), 1);
    /// assert!(cdp.untag("user_id:u1", "vip")?);
    /// assert!(cdp.preview(has_tag("vip"))?.is_empty());
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId), [`Error::Definition`](crate::Error::Definition) if the name is empty or too
    /// long, or what the storage says.
    pub fn tag(&self, id: impl ToString, tag: &str, expires: impl Into<Option<Timestamp>>) -> Result<()> {
        let (named, tag, expires) = (Named::read(&id.to_string())?, nfc(tag), expires.into());
        if tag.is_empty() || tag.len() > Segment::LONGEST_NAME {
            let reason = format!("expected 1 to {} bytes, found {}", Segment::LONGEST_NAME, tag.len());
            return Err(DefinitionError::new("tag", reason).into());
        }
        self.change(|definer| {
            let mut draft = Draft::on(&definer.state.identities);
            let node = named.intern(definer.db, definer.state, &mut draft, ("id", true))?;
            Ok((Some(definer.give_tag(&tag, draft, node, expires)?), ()))
        })
    }

    /// Takes a tag away that was given by hand. False if it was not.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId), or what the storage says.
    pub fn untag(&self, id: impl ToString, tag: &str) -> Result<bool> {
        let (named, tag) = (Named::read(&id.to_string())?, nfc(tag));
        self.change(|definer| {
            let Some(node) = named.node(definer.db, definer.state)? else { return Ok((None, false)) };
            let taken = definer.take_tag(&tag, node)?;
            Ok((Some(Draft::on(&definer.state.identities).into()), taken))
        })
    }

    /// Says which of several values of a trait stands, also of those said before.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if the name is empty, or what the storage says.
    pub fn set_policy(&self, name: &str, policy: Policy) -> Result<()> {
        let name = nfc(name);
        if name.is_empty() {
            return Err(DefinitionError::new("trait", "must not be empty").into());
        }
        self.change(|definer| Ok((Some(definer.policy(&name, policy)?), ())))
    }

    /// The computed traits, by name.
    pub fn computed_traits(&self) -> Vec<ComputedTrait> {
        self.state().segments.catalog.traits.values().cloned().collect()
    }

    /// The rules for tags, by name.
    pub fn tag_rules(&self) -> Vec<TagRule> {
        self.state().segments.catalog.tags.values().cloned().collect()
    }

    /// The policy of a trait.
    pub fn policy(&self, name: &str) -> Policy {
        self.state().segments.catalog.policies.get(&*nfc(name)).cloned().unwrap_or_default()
    }

    /// Makes a definition as one transaction.
    pub(super) fn change<T>(
        &self,
        act: impl FnOnce(&Definer<'_>) -> Result<(Option<Change>, T)>,
    ) -> Result<T> {
        let turn = self.turn()?;
        let (change, answer) = {
            let state = self.state();
            act(&Definer::new(turn.db(), &state, self.now())?)?
        };
        if let Some(change) = change {
            turn.publish(|state| state.apply(change))?;
        }
        Ok(answer)
    }

    /// Why somebody is a member of a segment now, or is not: its condition with what each part of it saw. `None` if
    /// nobody has that id.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Segment, did};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::track("Order").user_id("u1"), Event::track("Order").user_id("u1").message_id("2")])?;
    /// cdp.define(Segment::new("regulars", did("Order").at_least(3)))?;
    /// let why = cdp.why("regulars", "user_id:u1")?.expect("somebody");
    /// assert!(!why.member);
    /// assert_eq!(why.conditions["seen"], 2);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSegment`](crate::Error::UnknownSegment), [`Error::NotAnId`](crate::Error::NotAnId), or what the
    /// storage says.
    pub fn why(&self, segment: &str, id: impl ToString) -> Result<Option<Why>> {
        let named = Named::read(&id.to_string())?;
        self.read(|db, state| {
            let condition = live(state, segment)?.segment.condition().clone();
            self.told(db, state, &condition, &named)
        })
    }

    /// Why somebody meets a condition now, or does not, as [`why`](Self::why) tells it.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if the condition makes no sense,
    /// [`Error::NotAnId`](crate::Error::NotAnId), or what the storage says.
    pub fn why_condition(&self, condition: impl Into<Condition>, id: impl ToString) -> Result<Option<Why>> {
        let (condition, named) = (condition.into(), Named::read(&id.to_string())?);
        condition.check()?;
        self.read(|db, state| {
            state.segments.catalog.check(&condition)?;
            self.told(db, state, &condition, &named)
        })
    }

    fn told(&self, db: &Db, state: &State, condition: &Condition, named: &Named) -> Result<Option<Why>> {
        let (catalog, now) = (&state.segments.catalog, self.now());
        let Some(person) = named.node(db, state)?.and_then(|node| state.identities.person(node)) else {
            return Ok(None);
        };
        let needs = catalog.needs(condition);
        let mut history = people::history(db, &person, &needs, catalog, None)?;
        catalog.complete(&needs, &mut history, now);
        let member = evaluate(condition, &history, now).holds;
        Ok(Some(Why { member, conditions: explain(catalog, condition, &history, now) }))
    }

    /// Up to `limit` entries and exits of live segments after a cursor (0 at first), the earliest first. Each carries
    /// its own cursor; pass on the last one to read what came after it.
    ///
    /// What time has changed is told up to now, unless the handle is read-only: then up to the last commit. An answer
    /// that changes back within one commit leaves no trace.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn changes(&self, after: i64, limit: usize) -> Result<Vec<SegmentChange>> {
        if self.inner.writer.is_some()
            && !self.read(|db, state| membership::is_settled(db, &state.segments, self.now()))?
        {
            match self.advance() {
                // Another program, or a batch of this thread, is about to do it.
                Ok(()) | Err(Error::Busy) => {}
                Err(error) => return Err(error),
            }
        }
        self.changes_committed(after, limit)
    }

    /// The same, up to the last commit.
    pub(super) fn changes_committed(&self, after: i64, limit: usize) -> Result<Vec<SegmentChange>> {
        self.read(|db, state| {
            let kept = db.segment_changes(after, limit)?;
            kept.into_iter().map(|kept| told_change(db, state, kept)).collect()
        })
    }
}

/// A change as it is told: of a profile that was absorbed since, the name is an identifier that it had; of one that was
/// erased, `profile:` and its id.
fn told_change(db: &Db, state: &State, kept: KeptChange) -> Result<SegmentChange> {
    let (identities, founder) = (&state.identities, Node(db.founder_of(kept.profile)?));
    let stands = identities.partition.profile(founder) == Some(kept.profile);
    let name = if stands {
        let members = identities.partition.root(founder).into_iter();
        strongest(identities, &state.rules, members.flat_map(|root| identities.partition.members(root)))
    } else {
        None
    };
    let profile = db.profile_id(kept.profile)?;
    let member = match name.unwrap_or(founder) {
        gone if identities.interner.is_forgotten(gone) => Identifier::new("profile", profile.to_string()),
        name => identities.interner.identifier(name),
    };
    Ok(SegmentChange {
        cursor: kept.cursor,
        segment: kept.segment,
        member,
        profile,
        change: if kept.entered { SegmentMove::Entered } else { SegmentMove::Exited },
        at: kept.at,
        cause: kept.cause,
    })
}

fn named(ids: &[String]) -> Result<Vec<Named>> {
    ids.iter().map(|id| Named::read(id)).collect()
}

/// The identifiers by their numbers, new ones in the draft.
fn intern(definer: &Definer<'_>, ids: &[Named], member: &str) -> Result<(Draft, Vec<Node>)> {
    let mut draft = Draft::on(&definer.state.identities);
    let nodes = ids
        .iter()
        .enumerate()
        .map(|(index, id)| {
            id.intern(definer.db, definer.state, &mut draft, (&format!("{member}[{index}]"), true))
        })
        .collect::<Result<_>>()?;
    Ok((draft, nodes))
}
