//! The suppression list at the door: what comes in under the identifiers of people who were erased.

use std::borrow::Cow;

use super::{Counter, State};
use crate::error::Result;
use crate::event::{Event, Refusal};
use crate::id::{Identifier, Namespace};
use crate::identity::{Draft, identifiers, normalise, places, take_out};
use crate::privacy::values;
use crate::store::Db;

/// What an event meets on the suppression list.
pub(crate) enum Met {
    Nothing,
    /// Its strongest identifier: it is theirs.
    Whole(Refusal),
    /// Weaker ones: the event without them.
    Part(Box<Event>, String),
}

impl State {
    /// Whether an identifier that nobody has, as rules spell it, is on the suppression list.
    pub(crate) fn is_suppressed(&self, db: &Db, identifier: &Identifier) -> Result<bool> {
        Ok(db.has_suppressed()? && db.is_suppressed(&self.key()?.identifier(identifier))?)
    }
}

impl Counter<'_> {
    /// Whether an identifier is on the suppression list. What is known is not: it was let go of with its owner.
    fn is_suppressed(&self, draft: &Draft, identifier: &Identifier) -> Result<bool> {
        let (namespace, value) = (identifier.namespace(), identifier.value());
        if draft.find(&self.state.identities, namespace, value).is_some() {
            return Ok(false);
        }
        Ok(self.db.is_suppressed(&self.state.key()?.identifier(identifier))?)
    }

    /// What an event meets on the suppression list.
    ///
    /// An event is its strongest identifier's. If that is suppressed, the event is of somebody who was erased, and its
    /// other identifiers do not make it anybody else's: kept under them, it would bring back what it says of them. Weaker
    /// ones are taken out of it.
    pub(crate) fn meets(&mut self, draft: &Draft, event: &Event) -> Result<Met> {
        if !self.desk.has_suppressed(self.db)? {
            return Ok(Met::Nothing);
        }
        let (base, rules) = (&self.state.identities, &self.state.rules);
        let is_anonymous = |value: &str| draft.is_anonymous_id(base, value);
        let borne = identifiers(event, rules, is_anonymous);
        if let Some(strongest) = borne.identifiers.first()
            && self.is_suppressed(
                draft,
                &Identifier::new(strongest.namespace.clone(), strongest.value.clone()),
            )?
        {
            return Ok(Met::Whole(refusal(&strongest.namespace)));
        }
        let places = places(event, rules);
        let mut theirs = Vec::new();
        for place in &places {
            for borne in &place.bears {
                if self.is_suppressed(draft, borne)? {
                    theirs.push(place);
                    break;
                }
            }
        }
        let Some(first) = theirs.first() else { return Ok(Met::Nothing) };
        let whole = Met::Whole(refusal(first.bears[0].namespace()));
        let Ok(json) = take_out(event.as_read(), &theirs) else { return Ok(whole) };
        let Ok(event) = Event::from_json(&json) else { return Ok(whole) };
        let is_left = !identifiers(&event, rules, is_anonymous).identifiers.is_empty();
        Ok(if is_left { Met::Part(Box::new(event), json) } else { whole })
    }

    /// Whether what is refused names anybody who was erased, so that it must not be kept.
    pub(crate) fn names_suppressed(&mut self, draft: &Draft, raw: &[u8]) -> Result<bool> {
        if !self.desk.has_suppressed(self.db)? {
            return Ok(false);
        }
        let base = &self.state.identities;
        let others = base.interner.namespaces().iter();
        let others = others.filter(|namespace| !Namespace::BUILT_IN.contains(namespace));
        let namespaces: Vec<&Namespace> = Namespace::BUILT_IN.iter().chain(others).collect();
        for value in values(&String::from_utf8_lossy(raw)) {
            for &namespace in &namespaces {
                let normal = normalise(namespace, &value, self.state.rules.region());
                if let Ok(normal) = normal.map(Cow::into_owned)
                    && self.is_suppressed(draft, &Identifier::new(namespace.clone(), normal))?
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether an event of this message id was here, and dropped as it was kept as long as it may be.
    pub(crate) fn was_dropped(&mut self, message_id: &str) -> Result<bool> {
        if !self.desk.has_dropped(self.db)? {
            return Ok(false);
        }
        let hash = self.state.key()?.message_id(message_id);
        Ok(self.db.was_dropped(&hash[..super::retain::KEPT])?)
    }
}

fn refusal(namespace: &Namespace) -> Refusal {
    let reason = "suppressed: whose it is was erased, and nothing is kept of it";
    Refusal::new(namespace.to_string(), reason)
}
