//! Definitions, made and removed: each is evaluated over all history at once.

use std::borrow::Cow;

use super::membership::{self, Definitions, Live};
use super::{Change, State};
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Error, Result};
use crate::identity::{Draft, Node};
use crate::profile::Policy;
use crate::segment::{Catalog, ComputedTrait, Segment, TagRule};
use crate::store::{ChangeCause, Db, NewChange};
use crate::value::Object;

/// A definition on its way: the file, the state before it, and when it is made.
pub(crate) struct Definer<'d> {
    pub(crate) db: &'d Db,
    pub(crate) state: &'d State,
    pub(crate) now: Timestamp,
}

impl<'d> Definer<'d> {
    /// Begins: what is defined already is brought up to date first, so that changes by time are told as such.
    pub(crate) fn new(db: &'d Db, state: &'d State, now: Timestamp) -> Result<Self> {
        membership::settle_time(db, &state.identities, &state.segments, now)?;
        Ok(Self { db, state, now })
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.state.segments.catalog
    }

    /// Defines a segment, in place of one of that name, and gives the number of its members. The identifiers of a list
    /// have their numbers in the draft.
    pub(crate) fn segment(&self, segment: Segment, draft: Draft, listed: &[Node]) -> Result<(Change, usize)> {
        let Self { db, state, now } = *self;
        let segment = segment.kept();
        let catalog = self.catalog().with_segment(&segment)?;
        let name = segment.name().to_owned();
        let condition = (!segment.is_list()).then(|| segment.condition().to_value().to_string());
        let number = db.put_segment(&name, condition.as_deref(), segment.is_live(), now)?;
        let kind = if segment.is_list() { "list" } else { "segment" };
        self.account_for("define", kind, &name, condition.as_deref())?;
        db.write_interned(&state.identities, &draft)?;
        for node in listed {
            db.put_on_list(number, *node, now)?;
        }
        let before = &state.segments;
        let numbered = |other: &str| if other == name { number } else { before.number(other) };
        let definitions = Definitions::new(catalog, numbered);
        if !segment.is_live() {
            self.empty(&name)?;
        }
        // To a live segment everybody stands anew, whatever they stood to before under its name.
        self.settle(&definitions, |live| live.needs.segments().any(|other| other == name))?;
        let found = definitions.all.iter().find(|live| live.segment.name() == name);
        let members = match found {
            Some(live) => membership::count(db, &state.identities, &definitions, live, now)?,
            None => 0,
        };
        Ok((Change { definitions: Some(definitions), ..draft.into() }, members))
    }

    /// Removes a segment's definition, and says so of all its members. `None` if there is none of that name.
    pub(crate) fn remove_segment(&self, name: &str) -> Result<Option<Change>> {
        let Self { db, state, .. } = *self;
        if !self.catalog().segments.contains_key(name) {
            return Ok(None);
        }
        let catalog = self.catalog().without_segment(name)?;
        self.empty(name)?;
        db.remove_segment(name)?;
        self.account_for("undefine", "segment", name, None)?;
        let definitions = Definitions::new(catalog, |other| state.segments.number(other));
        Ok(Some(self.change(definitions)))
    }

    /// Adds a change of definitions to the audit log. What a definition says may be personal: a keyed hash stands for it.
    pub(super) fn account_for(&self, action: &str, kind: &str, name: &str, text: Option<&str>) -> Result<()> {
        let mut details = Object::new();
        details.insert("kind".into(), kind.into());
        details.insert("name".into(), name.into());
        if let Some(text) = text {
            details.insert("digest".into(), self.state.digest(text)?.into());
        }
        self.state.audit(self.db, self.now, action, &[], details)
    }

    /// Notes that nobody is a member of a segment any more, if anybody may have been.
    fn empty(&self, segment: &str) -> Result<()> {
        let Self { db, state, now: at } = *self;
        let Some(live) = state.segments.kept().find(|live| live.segment.name() == segment) else {
            return Ok(());
        };
        let (entered, cause) = (false, Cow::Borrowed(&ChangeCause::Definition));
        let exit = |profile| NewChange { profile, segment, entered, at, cause: cause.clone() };
        let exits: Vec<NewChange<'_>> = db.members_of(live.number)?.into_iter().map(exit).collect();
        db.add_changes(&exits)?;
        Ok(db.clear_standings_to(live.number)?)
    }

    /// Puts identifiers on a list, or takes them off it: whoever holds one of `off` is on it by none any more. Gives the
    /// number of members.
    pub(crate) fn list(
        &self,
        name: &str,
        draft: Draft,
        on: &[Node],
        off: &[Node],
    ) -> Result<(Change, usize)> {
        let Self { db, state, now } = *self;
        let Some(live) = state.segments.all.iter().find(|live| live.segment.name() == name) else {
            return Err(Error::UnknownSegment(name.to_owned()));
        };
        if !live.segment.is_list() {
            let reason = format!("segment {name:?} has a condition, and is no list kept by hand");
            return Err(DefinitionError::new("name", reason).into());
        }
        db.write_interned(&state.identities, &draft)?;
        for node in on {
            db.put_on_list(live.number, *node, now)?;
        }
        for node in off {
            db.take_off_list(live.number, *node, now)?;
            if let Some(person) = state.identities.person(*node) {
                person.nodes.iter().try_for_each(|node| db.take_off_list(live.number, *node, now))?;
            }
        }
        self.settle_holders(on.iter().chain(off), &ChangeCause::Hand)?;
        let members = membership::count(db, &state.identities, &state.segments, live, now)?;
        Ok((draft.into(), members))
    }

    /// Gives an identifier a tag.
    pub(crate) fn give_tag(
        &self,
        tag: &str,
        draft: Draft,
        node: Node,
        expires: Option<Timestamp>,
    ) -> Result<Change> {
        self.db.write_interned(&self.state.identities, &draft)?;
        self.db.give_tag(node, tag, expires, self.now)?;
        self.settle_holders([&node], &ChangeCause::Hand)?;
        Ok(draft.into())
    }

    /// Takes a tag from all identifiers of whoever holds one. False if none was given it.
    pub(crate) fn take_tag(&self, tag: &str, node: Node) -> Result<bool> {
        let held = self.state.identities.person(node).map(|person| person.nodes);
        let mut taken = false;
        for node in held.unwrap_or_else(|| vec![node]) {
            taken |= self.db.take_tag(node, tag, self.now)?;
        }
        self.settle_holders([&node], &ChangeCause::Hand)?;
        Ok(taken)
    }

    /// Brings the segments of those up to date who hold these identifiers.
    pub(super) fn settle_holders<'n>(
        &self,
        nodes: impl IntoIterator<Item = &'n Node>,
        cause: &ChangeCause,
    ) -> Result<()> {
        let Self { db, state, now } = *self;
        let known = nodes.into_iter().filter(|node| node.index() < state.identities.interner.len());
        let mut roots: Vec<Node> = known.filter_map(|node| state.identities.partition.root(*node)).collect();
        roots.sort_unstable();
        roots.dedup();
        for person in roots.into_iter().filter_map(|root| state.identities.person(root)) {
            membership::settle(db, &person, &state.segments, now, false, &|_| Cow::Borrowed(cause))?;
        }
        Ok(())
    }

    /// Defines a computed trait, in place of one of that name.
    pub(crate) fn computed(&self, computed: &ComputedTrait) -> Result<Change> {
        let catalog = self.catalog().with_trait(computed)?;
        self.put("trait", computed.name(), Some(&computed.to_value().to_string()), catalog)
    }

    /// Removes a computed trait. `None` if there is none of that name.
    pub(crate) fn remove_computed(&self, name: &str) -> Result<Option<Change>> {
        let mut catalog = self.catalog().clone();
        if catalog.traits.remove(name).is_none() {
            return Ok(None);
        }
        self.put("trait", name, None, catalog).map(Some)
    }

    /// Defines a rule for a tag, in place of one of that name.
    pub(crate) fn tag(&self, rule: &TagRule) -> Result<Change> {
        let catalog = self.catalog().with_tag(rule)?;
        self.put("tag", rule.name(), Some(&rule.to_value().to_string()), catalog)
    }

    /// Removes a rule for a tag. `None` if there is none of that name.
    pub(crate) fn remove_tag(&self, name: &str) -> Result<Option<Change>> {
        let mut catalog = self.catalog().clone();
        if catalog.tags.remove(name).is_none() {
            return Ok(None);
        }
        self.put("tag", name, None, catalog).map(Some)
    }

    /// Says which of several values of a trait stands.
    pub(crate) fn policy(&self, name: &str, policy: Policy) -> Result<Change> {
        let mut catalog = self.catalog().clone();
        let text = (policy != Policy::Latest).then(|| policy.to_value().to_string());
        if policy == Policy::Latest {
            catalog.policies.remove(name);
        } else {
            catalog.policies.insert(name.to_owned(), policy);
        }
        self.put("policy", name, text.as_deref(), catalog)
    }

    /// Stores a definition or removes it, and evaluates what rests on it.
    pub(super) fn put(&self, kind: &str, name: &str, text: Option<&str>, catalog: Catalog) -> Result<Change> {
        self.db.put_definition(kind, name, text)?;
        self.account_for(if text.is_some() { "define" } else { "undefine" }, kind, name, text)?;
        let before = &self.state.segments;
        let definitions = Definitions::new(catalog, |other| before.number(other));
        let concerned = |live: &Live| match kind {
            "tag" => live.needs.tags().any(|tag| tag == name),
            "purpose" => live.needs.wants_consent(name),
            _ => live.needs.wants_trait(name),
        };
        self.settle(&definitions, concerned)?;
        Ok(self.change(definitions))
    }

    pub(super) fn settle(&self, definitions: &Definitions, concerned: impl Fn(&Live) -> bool) -> Result<()> {
        let identities = &self.state.identities;
        let cause = ChangeCause::Definition;
        membership::settle_everyone(self.db, identities, definitions, concerned, self.now, &cause)
    }

    pub(super) fn change(&self, definitions: Definitions) -> Change {
        let draft = Draft::on(&self.state.identities);
        Change { definitions: Some(definitions), ..draft.into() }
    }
}
