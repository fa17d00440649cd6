//! What a person may ask for: to see everything that is held, and to have it set right.

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Cdp;
use super::named::Named;
use crate::error::{DefinitionError, Error, Result};
use crate::id::Identifier;
use crate::identity::{Draft, Node, Person};
use crate::pipeline::define::Definer;
use crate::pipeline::export::{About, document};
use crate::value::{Object, Value, nfc};

/// Everything that is held of a person, as one JSON document: `Display` and serialisation give it. `Debug` shows its size.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonExport {
    json: String,
}

impl PersonExport {
    /// The document.
    pub fn as_json(&self) -> &str {
        &self.json
    }
}

impl fmt::Display for PersonExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

impl fmt::Debug for PersonExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of JSON", self.json.len())
    }
}

impl Serialize for PersonExport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.json).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl Cdp {
    /// Everything that is held of a person, as one JSON document: identifiers, traits with their history, computed traits,
    /// tags, lists, segments and who moved in and out of them, consents, accounts, events to the letter, the evidence
    /// between identifiers, what was refused, decisions by hand, joins and splits, and what in quarantine names the person.
    /// `None` if nothing is held of that id.
    ///
    /// The same state and the same clock give the same document. Identifiers of somebody else, which refusals and decisions
    /// may name, are masked. The audit log tells of the export, so it takes a handle that may write.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Value};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::identify().user_id("u1").with_trait("city", "Wuhan").message_id("m1")])?;
    /// let export = cdp.export("user_id:u1")?.expect("somebody");
    /// let document: Value = serde_json::from_str(export.as_json())?;
    /// assert_eq!(document["traits"]["city"]["value"], "Wuhan");
    /// assert_eq!(document["events"][0]["event"]["messageId"], "m1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId), [`Error::ReadOnly`](crate::Error::ReadOnly), or what the storage says.
    pub fn export(&self, id: impl ToString) -> Result<Option<PersonExport>> {
        let named = Named::read(&id.to_string())?;
        self.change(|definer| {
            let Definer { db, state, now } = *definer;
            let node = named.node(db, state)?;
            let about = match (node.and_then(|node| state.identities.person(node)), node, &named) {
                (Some(person), ..) => About::Person(person),
                (None, Some(node), _) => About::Node(node),
                (None, None, Named::Identifier(identifier)) => {
                    let Ok(value) = state.rules.normalised(identifier) else { return Ok((None, None)) };
                    About::Stranger(Identifier::new(identifier.namespace().clone(), value))
                }
                (None, None, Named::Profile(_)) => return Ok((None, None)),
            };
            let Some(document) = document(db, state, &about, now)? else { return Ok((None, None)) };
            let mut details = Object::new();
            details.insert("events".into(), document.events.len().into());
            state.audit(db, now, "export", &document.identifiers[..1], details)?;
            let json = serde_json::to_string(&document)
                .map_err(|error| Error::Damaged(format!("the export cannot be written: {error}")))?;
            Ok((Some(Draft::on(&state.identities).into()), Some(PersonExport { json })))
        })
    }

    /// Sets a trait of a person right: the value stands from now on, whatever events assert and whichever policy the trait
    /// has, until it is set right again or [taken back](Self::unpin). Null says that the trait is missing.
    ///
    /// It is kept for the identifier that is named (of a profile id, its strongest), and goes where that goes through
    /// joins, splits and replays; of several the latest stands. An identifier (`email`) that is a trait too stays what it
    /// is: who somebody is, evidence says.
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::identify().user_id("u1").with_trait("city", "Wuhna")])?;
    /// cdp.rectify("user_id:u1", "city", "Wuhan")?;
    /// cdp.ingest([Event::identify().user_id("u1").with_trait("city", "Wuhna").message_id("again")])?;
    /// let profile = cdp.profile("user_id:u1")?.expect("somebody");
    /// assert_eq!(profile.value("city"), Some(&"Wuhan".into()));
    /// assert!(profile.traits["city"].pinned);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId), [`Error::Definition`](crate::Error::Definition) if nobody has that id or
    /// the trait's name is empty, or what the storage says.
    pub fn rectify(&self, id: impl ToString, name: &str, value: impl Into<Value>) -> Result<()> {
        let (named, name, value) = (Named::read(&id.to_string())?, nfc(name), value.into());
        if name.is_empty() {
            return Err(DefinitionError::new("trait", "must not be empty").into());
        }
        // What was never JSON text may be nested too deep to be read back.
        serde_json::from_str::<Value>(&value.to_string())
            .map_err(|error| DefinitionError::new("value", error.to_string()))?;
        self.change(|definer| match held(definer, &named)? {
            Some((node, _)) => Ok((Some(definer.rectify(node, &name, &value)?), ())),
            None => Err(DefinitionError::new("id", "nobody goes by it").into()),
        })
    }

    /// Takes back whatever was [set right](Self::rectify) of a person's trait: what events assert stands again. False if
    /// nothing was.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId), or what the storage says.
    pub fn unpin(&self, id: impl ToString, name: &str) -> Result<bool> {
        let (named, name) = (Named::read(&id.to_string())?, nfc(name));
        self.change(|definer| {
            let Some((node, person)) = held(definer, &named)? else { return Ok((None, false)) };
            let change = definer.unpin(&person, node, &name)?;
            let found = change.is_some();
            Ok((change, found))
        })
    }
}

/// The identifier that is named, and the person who holds it.
fn held(definer: &Definer<'_>, named: &Named) -> Result<Option<(Node, Person)>> {
    let (db, state) = (definer.db, definer.state);
    let identities = &state.identities;
    let Some(person) = named.node(db, state)?.and_then(|node| identities.person(node)) else {
        return Ok(None);
    };
    let mut draft = Draft::on(identities);
    let node = named.intern(db, state, &mut draft, ("id", false))?;
    Ok(Some((node, person)))
}
