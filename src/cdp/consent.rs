//! Consent: what people decided about purposes, and the log of what was done that one may have to account for.

use std::collections::BTreeMap;

use super::Cdp;
use super::named::Named;
use crate::error::{DefinitionError, Result};
use crate::id::Identifier;
use crate::identity::{Draft, Node, normalise};
use crate::pipeline::{State, people};
use crate::profile::{
    Consent, ConsentDecision, ConsentMerge, ConsentState, KeptConsent, Purpose, check_purpose,
};
use crate::store::{AuditEntry, Db};
use crate::value::nfc;

impl Cdp {
    /// Records what somebody decided about a purpose, and gives the state that stands for it now: of a grant that its
    /// purpose wants to be [separate](ConsentDecision::separate) and is not, none by itself.
    ///
    /// The decision is kept for the identifier that is named (of a profile id, its strongest), and is that of whoever holds
    /// it: joins and splits move it along. One that nobody has yet will do. From then on segments are right, and events of
    /// somebody who denied `analytics` or withdrew it are counted and not kept: see [`IngestReport`](crate::IngestReport).
    ///
    /// ```
    /// use customerdb::{Cdp, ConsentDecision, ConsentState, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// let stands = cdp.record_consent("user_id:u1", ConsentDecision::denied("analytics"))?;
    /// assert_eq!(stands, Some(ConsentState::Denied));
    /// let report = cdp.ingest([Event::page().user_id("u1"), Event::page().user_id("u2")])?;
    /// assert_eq!((report.accepted, report.withheld), (1, 1));
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId), [`Error::Definition`](crate::Error::Definition) if the purpose's name is
    /// empty or too long, or the time is none of the years 1970 to 2100 or further ahead of the clock than
    /// [`max_ahead`](crate::CdpBuilder::max_ahead), or what the storage says.
    pub fn record_consent(
        &self,
        id: impl ToString,
        decision: ConsentDecision,
    ) -> Result<Option<ConsentState>> {
        let named = Named::read(&id.to_string())?;
        check_purpose("purpose", &decision.purpose)?;
        if let Some(at) = decision.at {
            let limit = self.inner.limits.max_ahead.map(|span| self.now().after(span));
            if !at.is_plausible() || limit.is_some_and(|limit| at > limit) {
                let reason = format!("outside the years 1970 to 2100, or too far ahead of the clock: {at}");
                return Err(DefinitionError::new("at", reason).into());
            }
        }
        self.change(|definer| {
            let mut draft = Draft::on(&definer.state.identities);
            let node = named.intern(definer.db, definer.state, &mut draft, ("id", true))?;
            definer.consent(draft, node, &decision).map(|(change, standing)| (Some(change), standing))
        })
    }

    /// The decisions of a person that stand, by purpose; also of an identifier that is nobody's yet.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId), or what the storage says.
    pub fn consents(&self, id: impl ToString) -> Result<BTreeMap<String, Consent>> {
        let named = Named::read(&id.to_string())?;
        self.read(|db, state| {
            let nodes = holders(&named, db, state)?;
            let standing = people::consents(db, &nodes, &state.segments.catalog.consent, None)?;
            Ok(people::told(&state.identities, standing))
        })
    }

    /// Every decision that was ever recorded for a person's identifiers, the oldest first (of one instant, in the order
    /// in which they were recorded).
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId), or what the storage says.
    pub fn consent_history(&self, id: impl ToString) -> Result<Vec<Consent>> {
        let named = Named::read(&id.to_string())?;
        self.read(|db, state| {
            let nodes = holders(&named, db, state)?;
            consent_history(db, state, &nodes)
        })
    }

    /// Defines a purpose, in place of one of that name: its legal basis, whether it wants an agreement by itself, and what
    /// events call it. It holds for decisions that were recorded before as well; categories are looked for in events that
    /// come from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if a name is empty or too long, or what the storage says.
    pub fn define_purpose(&self, purpose: Purpose) -> Result<()> {
        purpose.check()?;
        self.change(|definer| Ok((Some(definer.purpose(&purpose)?), ())))
    }

    /// Removes a purpose's definition. False if there is none of that name. What was decided about it stays.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn undefine_purpose(&self, name: &str) -> Result<bool> {
        let name = nfc(name);
        self.change(|definer| {
            let change = definer.remove_purpose(&name)?;
            let found = change.is_some();
            Ok((change, found))
        })
    }

    /// The purposes that are defined or built in, by name.
    pub fn purposes(&self) -> Vec<Purpose> {
        self.state().segments.catalog.consent.all()
    }

    /// Says which decision stands where a person's identifiers bear several, also of those recorded before.
    ///
    /// ```
    /// use customerdb::{Cdp, ConsentDecision, ConsentMerge, ConsentState, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.record_consent("email:x@example.com", ConsentDecision::denied("marketing"))?;
    /// cdp.record_consent("user_id:u1", ConsentDecision::granted("marketing"))?;
    /// cdp.ingest([Event::identify().user_id("u1").with_trait("email", "x@example.com")])?;
    /// assert_eq!(cdp.consents("user_id:u1")?["marketing"].state, ConsentState::Granted);
    /// cdp.set_consent_merge(ConsentMerge::MostRestrictive)?;
    /// assert_eq!(cdp.consents("user_id:u1")?["marketing"].state, ConsentState::Denied);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn set_consent_merge(&self, merge: ConsentMerge) -> Result<()> {
        self.change(|definer| Ok((Some(definer.consent_merge(merge)?), ())))
    }

    /// Which decision stands where a person's identifiers bear several.
    pub fn consent_merge(&self) -> ConsentMerge {
        self.state().segments.catalog.consent.merge
    }

    /// Up to `limit` entries of the audit log after a cursor (0 at first), the earliest first: consent, exports,
    /// rectifications, erasures, retention, definitions, rules and decisions by hand, without any personal value. Each entry's hash is made of
    /// the one before, and [`check`](Self::check) verifies the chain.
    ///
    /// ```
    /// use customerdb::{Cdp, ConsentDecision};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.record_consent("email:x@example.com", ConsentDecision::granted("marketing"))?;
    /// let entry = &cdp.audit(0, 100)?[0];
    /// assert_eq!((entry.action.as_str(), &entry.details["state"]), ("consent", &"granted".into()));
    /// // Whom it is about is known to who knows the identifier.
    /// assert_eq!(entry.details["about"][0], cdp.audit_name(&"email:x@example.com".parse()?)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn audit(&self, after: i64, limit: usize) -> Result<Vec<AuditEntry>> {
        self.read(|db, _| Ok(db.audited(after, limit)?))
    }

    /// By what the audit log names an identifier: HMAC-SHA-256 under the key of the file, or of the application
    /// ([`hash_key`](crate::CdpBuilder::hash_key)), in hexadecimal digits. The suppression list holds the same hash.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if the application keeps the key, and has not given it to this handle,
    /// or what the storage says.
    pub fn audit_name(&self, identifier: &Identifier) -> Result<String> {
        let state = self.state();
        if let Some(known) = state.identities.find(&state.rules, identifier) {
            return state.audit_name(&state.identities.interner.identifier(known));
        }
        match normalise(identifier.namespace(), identifier.value(), state.rules.region()) {
            Ok(value) => state.audit_name(&Identifier::new(identifier.namespace().clone(), value)),
            Err(_) => state.audit_name(identifier),
        }
    }
}

/// All identifiers of whoever is named; the identifier itself if it is nobody's.
pub(super) fn holders(named: &Named, db: &Db, state: &State) -> Result<Vec<Node>> {
    let Some(node) = named.node(db, state)? else { return Ok(Vec::new()) };
    Ok(state.identities.person(node).map_or_else(|| vec![node], |person| person.nodes))
}

/// The decisions recorded for some identifiers, in order of time.
pub(super) fn consent_history(db: &Db, state: &State, nodes: &[Node]) -> Result<Vec<Consent>> {
    let mut decisions: Vec<KeptConsent> = Vec::new();
    for node in nodes {
        decisions.append(&mut db.consents_of(*node)?);
    }
    decisions.sort_by_key(|decision| (decision.at, decision.number));
    let told = |held: KeptConsent| {
        let identifier = state.identities.interner.identifier(held.node);
        held.told(identifier)
    };
    Ok(decisions.into_iter().map(told).collect())
}
