//! Consent: recorded for identifiers, and asked before anything of an event is kept.

use rustc_hash::FxHashSet;

use super::define::Definer;
use super::devices::last_seen;
use super::membership::{CONSENT_MERGE, Definitions, Live};
use super::{Change, Counter, Intake, people};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::event::{Event, Source};
use crate::identity::{Borne, Draft, Node, Occasion, SharedDevice, identifiers};
use crate::profile::{
    ANALYTICS, ConsentDecision, ConsentMerge, ConsentRules, ConsentState, KeptConsent, Purpose,
};
use crate::store::{ChangeCause, Db, NewConsent};
use crate::value::Object;

impl Intake {
    /// Records what an event says of consent, for its strongest identifier, as far as purposes take decisions from events.
    /// That is kept whether the event is or not: who denies something has to be known to have done so.
    pub(super) fn hear(
        &mut self,
        counter: &Counter<'_>,
        (source, event): (&Source, &Event),
        borne: &Borne<'_>,
        Occasion { at, message_id, .. }: Occasion<'_>,
    ) -> Result<()> {
        let (db, base) = (counter.db, &counter.state.identities);
        let said = counter.state.segments.catalog.consent.said(event);
        let Some(strongest) = borne.identifiers.first().filter(|_| !said.is_empty()) else { return Ok(()) };
        let Some(node) = self.draft.intern(base, &strongest.namespace, &strongest.value) else {
            return Ok(());
        };
        let mut heard = Vec::new();
        let before = db.consents_of(node)?;
        for (purpose, state) in said {
            let new = NewConsent {
                node,
                purpose,
                state,
                at,
                source: &source.name,
                policy_version: None,
                evidence: None,
                separate: false,
                message_id: Some(message_id),
            };
            if !db.add_consent(new, self.now)? {
                continue;
            }
            heard.push(purpose);
            if purpose == ANALYTICS && state != ConsentState::Granted {
                self.refusing.insert(node);
            }
            // Events say it again and again: to be accounted for is a change of mind.
            if stood(&before, purpose, at) != Some(state) {
                let about = [self.draft.identifier(base, node)];
                counter.state.audit(
                    db,
                    self.now,
                    "consent",
                    &about,
                    told(purpose, state, Some(&source.name)),
                )?;
            }
        }
        if !heard.is_empty() && !counter.state.segments.is_empty() {
            self.news.note_consents(node, heard.into_iter());
            self.touched.insert(node);
        }
        Ok(())
    }

    /// Whether an event is of somebody who denied consent for `analytics`, or withdrew it: of whoever it would be theirs
    /// if it was kept, with everybody whom it would join.
    pub(super) fn is_withheld(
        &mut self,
        counter: &Counter<'_>,
        borne: &Borne<'_>,
        occasion: Occasion<'_>,
    ) -> Result<bool> {
        let (db, state) = (counter.db, counter.state);
        if (state.refusing.is_empty() && self.refusing.is_empty()) || borne.identifiers.is_empty() {
            return Ok(false);
        }
        let refuse = |own: &FxHashSet<Node>, nodes: &[Node]| {
            nodes.iter().any(|node| state.refusing.contains(node) || own.contains(node))
        };
        // Nearly always nobody whom it names has ever refused, and whose it would be need not be asked.
        if state.rules.shared_device_policy() != SharedDevice::Last {
            let base = &state.identities;
            let named = borne.identifiers.iter();
            let named = named.filter_map(|found| self.draft.find(base, &found.namespace, &found.value));
            let mut roots: Vec<Node> = named.map(|node| self.draft.root(base, node)).collect();
            roots.sort_unstable();
            roots.dedup();
            if !roots.into_iter().any(|root| refuse(&self.refusing, &self.draft.members(base, root))) {
                return Ok(false);
            }
        }
        let nodes = self.whose(counter, borne, occasion)?;
        if !refuse(&self.refusing, &nodes) {
            return Ok(false);
        }
        let standing = people::consents(db, &nodes, &state.segments.catalog.consent, None)?;
        Ok(standing.get(ANALYTICS).is_some_and(|held| held.state != ConsentState::Granted))
    }

    /// The same of a text that is refused, as far as it can be read whose it is.
    pub(super) fn is_withheld_unread(
        &mut self,
        counter: &Counter<'_>,
        (source, number): (&Source, u32),
        raw: &[u8],
    ) -> Result<bool> {
        let state = counter.state;
        if state.refusing.is_empty() && self.refusing.is_empty() {
            return Ok(false);
        }
        let Some(event) = Event::salvage(raw) else { return Ok(false) };
        let draft = &self.draft;
        let borne = identifiers(&event, &state.rules, |id| draft.is_anonymous_id(&state.identities, id));
        let source_cut = state.hand.source_cut(&source.name);
        let occasion = Occasion { at: self.now, message_id: "", source: number, source_cut };
        self.is_withheld(counter, &borne, occasion)
    }

    /// Counts an event of which nothing is kept.
    pub(super) fn withhold(&mut self) {
        self.withheld += 1;
        self.report.withheld += 1;
    }

    /// The identifiers of whoever an event would be.
    fn whose(
        &mut self,
        counter: &Counter<'_>,
        borne: &Borne<'_>,
        occasion: Occasion<'_>,
    ) -> Result<Vec<Node>> {
        let (db, basis) = (counter.db, counter.state.basis());
        let base = basis.identities;
        let nodes = self.draft.foresee(basis, borne, occasion);
        let last = basis.rules.shared_device_policy() == SharedDevice::Last;
        if !last || !borne.identifiers.iter().all(|found| found.namespace.is_anonymous()) {
            return Ok(nodes);
        }
        // What a shared device does is theirs who were last seen on it.
        let borne = borne.identifiers.iter();
        let devices: Vec<Node> =
            borne.filter_map(|found| self.draft.find(base, &found.namespace, &found.value)).collect();
        let Some(&first) = devices.first() else { return Ok(nodes) };
        let owner = last_seen(db, &devices, occasion.at, occasion.message_id, first)?;
        if owner == first {
            return Ok(nodes);
        }
        Ok(self.draft.members(base, self.draft.root(base, owner)))
    }
}

/// The state of a purpose that stood at an instant by some decisions of one identifier.
fn stood(decisions: &[KeptConsent], purpose: &str, at: Timestamp) -> Option<ConsentState> {
    let before = decisions.iter().filter(|held| held.purpose == purpose && held.at <= at);
    before.max_by_key(|held| (held.at, held.number)).map(|held| held.state)
}

/// What the audit log says of a decision.
fn told(purpose: &str, state: ConsentState, source: Option<&str>) -> Object {
    let mut details = Object::new();
    details.insert("purpose".into(), purpose.into());
    details.insert("state".into(), state.as_str().into());
    if let Some(source) = source {
        details.insert("source".into(), source.into());
    }
    details
}

impl Definer<'_> {
    /// Records a decision for an identifier, and gives what stands for the purpose then of whoever holds it.
    pub(crate) fn consent(
        &self,
        draft: Draft,
        node: Node,
        decision: &ConsentDecision,
    ) -> Result<(Change, Option<ConsentState>)> {
        let Self { db, state, now } = *self;
        let base = &state.identities;
        db.write_interned(base, &draft)?;
        let ConsentDecision { purpose, source, policy_version, evidence, .. } = decision;
        let new = NewConsent {
            node,
            purpose,
            state: decision.state,
            at: decision.at.unwrap_or(now),
            source,
            policy_version: policy_version.as_deref(),
            evidence: evidence.as_deref(),
            separate: decision.separate,
            message_id: None,
        };
        db.add_consent(new, now)?;
        // Where it was taken is the caller's own words, which may name somebody.
        let mut details = told(purpose, decision.state, None);
        if let Some(version) = policy_version {
            details.insert("policy_version".into(), version.as_str().into());
        }
        if decision.separate {
            details.insert("separate".into(), true.into());
        }
        state.audit(db, now, "consent", &[draft.identifier(base, node)], details)?;
        self.settle_holders([&node], &ChangeCause::Consent { purpose: purpose.clone() })?;
        let standing = standing(db, draft.members(base, draft.root(base, node)), self.rules(), purpose)?;
        let mut change = Change::from(draft);
        if purpose == ANALYTICS && decision.state != ConsentState::Granted {
            change.refusing.insert(node);
        }
        Ok((change, standing))
    }

    fn rules(&self) -> &ConsentRules {
        &self.catalog().consent
    }

    /// Defines a purpose, in place of one of that name.
    pub(crate) fn purpose(&self, purpose: &Purpose) -> Result<Change> {
        let mut catalog = self.catalog().clone();
        catalog.consent.purposes.insert(purpose.name().to_owned(), purpose.clone());
        self.put("purpose", purpose.name(), Some(&purpose.to_value().to_string()), catalog)
    }

    /// Removes a purpose's definition. `None` if there is none of that name.
    pub(crate) fn remove_purpose(&self, name: &str) -> Result<Option<Change>> {
        let mut catalog = self.catalog().clone();
        if catalog.consent.purposes.remove(name).is_none() {
            return Ok(None);
        }
        self.put("purpose", name, None, catalog).map(Some)
    }

    /// Says which of several decisions stands.
    pub(crate) fn consent_merge(&self, merge: ConsentMerge) -> Result<Change> {
        let Self { db, state, now } = *self;
        db.set(CONSENT_MERGE, merge.as_str())?;
        let mut details = Object::new();
        details.insert("merge".into(), merge.as_str().into());
        state.audit(db, now, "consent_merge", &[], details)?;
        let mut catalog = self.catalog().clone();
        catalog.consent.merge = merge;
        let definitions = Definitions::new(catalog, |other| state.segments.number(other));
        self.settle(&definitions, |live: &Live| live.needs.consents().next().is_some())?;
        Ok(self.change(definitions))
    }
}

fn standing(db: &Db, nodes: Vec<Node>, rules: &ConsentRules, purpose: &str) -> Result<Option<ConsentState>> {
    Ok(people::consents(db, &nodes, rules, None)?.get(purpose).map(|held| held.state))
}
