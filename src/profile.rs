//! The third stage: what is known of one person, made of the events that are theirs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::id::{Identifier, Namespace, ProfileId};
use crate::value::{Object, Value};

/// Everything known of one person.
///
/// `Debug` shows names and counts, no personal value.
///
/// ```
/// use customerdb::{Cdp, Event};
///
/// let cdp = Cdp::in_memory()?;
/// cdp.ingest([
///     Event::track("Search").anonymous_id("device-7"),
///     Event::identify().anonymous_id("device-7").user_id("xiaoming").with_trait("city", "Wuhan"),
/// ])?;
/// let profile = cdp.profile("anonymous_id:device-7")?.expect("somebody");
/// assert_eq!(profile.name.to_string(), "user_id:xiaoming");
/// assert_eq!(profile.value("city"), Some(&"Wuhan".into()));
/// assert_eq!(profile.events, 2);
/// # Ok::<(), customerdb::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Profile {
    /// The profile's id, which never changes.
    pub id: ProfileId,
    /// The strongest identifier, ties broken by value.
    pub name: Identifier,
    /// All identifiers, the strongest first.
    pub identifiers: Vec<Identifier>,
    /// The traits that stand, each with where it comes from.
    pub traits: BTreeMap<String, Trait>,
    /// The names of the segments of which the person is a member, sorted.
    pub segments: Vec<String>,
    /// The accounts (companies, households) to which the person belongs, sorted by id.
    pub accounts: Vec<Account>,
    /// The time of the earliest event, `None` without events.
    pub first_seen: Option<Timestamp>,
    /// The time of the latest event, `None` without events.
    pub last_seen: Option<Timestamp>,
    /// The number of events.
    pub events: u64,
}

impl Profile {
    /// The value of a trait that stands.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.traits.get(name).map(|found| &found.value)
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("identifiers", &self.identifiers.len())
            .field("traits", &self.traits.keys().collect::<Vec<_>>())
            .field("segments", &self.segments)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// A value of a trait and its provenance.
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Trait {
    /// The value; JSON null says that the trait was removed.
    pub value: Value,
    /// The time of the event that asserted it.
    pub at: Timestamp,
    /// The name of the source of that event.
    pub source: String,
    /// The message id of that event.
    pub message_id: String,
}

impl fmt::Debug for Trait {
    /// When and by what, but not the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {} of {} at {}", self.message_id, self.source, self.at)
    }
}

/// An account that people belong to: a company, a team, a household (`group` events).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Account {
    /// The account's id, as `group` events give it.
    pub id: String,
    /// The traits of the account that stand.
    pub traits: BTreeMap<String, Trait>,
}

/// Of all values that were asserted, those that stand: of each trait the latest, by event time and then by
/// message id, unless it is null, which removes the trait.
///
/// The order in which the assertions come makes no difference.
pub(crate) fn standing(asserted: impl IntoIterator<Item = (String, Trait)>) -> BTreeMap<String, Trait> {
    let mut standing: BTreeMap<String, Trait> = BTreeMap::new();
    for (name, said) in asserted {
        match standing.get_mut(&name) {
            Some(held) if (said.at, &said.message_id) < (held.at, &held.message_id) => {}
            Some(held) => *held = said,
            None => {
                standing.insert(name, said);
            }
        }
    }
    standing.retain(|_, held| !held.value.is_null());
    standing
}

/// What conditions can see of one person: the input of [`evaluate`](crate::segment::evaluate), and nothing else.
#[derive(Clone, Default, PartialEq)]
pub struct History {
    /// The traits that stand, by name; removed ones are missing.
    pub traits: Object,
    /// The events, by time and, at one instant, by message id.
    pub events: Vec<PastEvent>,
    /// The namespaces of the identifiers held, each once.
    pub namespaces: Vec<Namespace>,
}

/// One event of a person's history.
#[derive(Clone, PartialEq)]
pub struct PastEvent {
    /// The name that conditions and analytics know it by: a track's own, `$page`, `$identify`, ….
    pub name: String,
    /// The event time.
    pub at: Timestamp,
    /// The message id, which orders events of one instant.
    pub message_id: String,
    /// The properties; for a page or screen also its `name` and `category`.
    pub properties: Object,
}

impl fmt::Debug for History {
    /// Names and times; no trait's or property's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("traits", &self.traits.keys().collect::<Vec<_>>())
            .field("events", &self.events)
            .field("namespaces", &self.namespaces)
            .finish()
    }
}

impl fmt::Debug for PastEvent {
    /// The name and the time; no property's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.name, self.at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(name: &str, value: Value, at: i64, message_id: &str) -> (String, Trait) {
        let at = Timestamp::from_millis(at);
        (name.into(), Trait { value, at, source: "default".into(), message_id: message_id.into() })
    }

    #[test]
    fn the_latest_value_stands_in_whatever_order_they_come() {
        let mut asserted = vec![
            said("city", json!("Beijing"), 1, "m9"),
            said("city", json!("Wuhan"), 2, "m1"),
            said("city", json!("Xi'an"), 2, "m0"),
            said("plan", json!("gold"), 1, "m1"),
            said("plan", Value::Null, 2, "m2"),
        ];
        for _ in 0..asserted.len() {
            asserted.rotate_left(1);
            let standing = standing(asserted.clone());
            assert_eq!(standing.len(), 1);
            assert_eq!(standing["city"].value, "Wuhan");
        }
    }
}
