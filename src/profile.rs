//! The third stage: what is known of one person, made of the events that are theirs.

mod consent;
mod policy;
mod purpose;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

pub(crate) use self::consent::{ANALYTICS, ConsentRules, KeptConsent};
pub use self::consent::{Consent, ConsentDecision, ConsentMerge, ConsentState};
pub use self::policy::Policy;
pub(crate) use self::policy::{Policies, over_time, standing};
pub(crate) use self::purpose::check_purpose;
pub use self::purpose::{LegalBasis, Purpose};
use crate::clock::{Timestamp, Zone};
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
    /// What is worked out of the events, as it is defined (`Cdp::define_trait`); what is missing has no place here.
    pub computed: BTreeMap<String, Value>,
    /// The tags that the person carries, by name.
    pub tags: Vec<Tag>,
    /// The names of the segments of which the person is a member, sorted.
    pub segments: Vec<String>,
    /// The decisions on consent that stand, by purpose.
    pub consents: BTreeMap<String, Consent>,
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
            .field("consents", &self.consents)
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
    /// The time of the event that asserted it, or when it was set right by hand.
    pub at: Timestamp,
    /// The name of the source of that event; of a value set right by hand, `rectification`.
    pub source: String,
    /// The message id of that event; of a value set right by hand, `rectify:` and a number.
    pub message_id: String,
    /// Whether it was [set right by hand](crate::Cdp::rectify) and stands whatever events assert.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

impl Trait {
    /// What values of one trait are ordered by: their time, then their message id; what was set right by hand comes after
    /// what events of that instant say, by its number.
    pub(crate) fn order(&self) -> (Timestamp, usize, &str) {
        (self.at, if self.pinned { self.message_id.len() } else { 0 }, &self.message_id)
    }
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

/// A tag that a person carries.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// How much it weighs: 1 if nothing else is defined, less as it ages if it has a half-life.
    pub weight: f64,
    /// When it ends by itself, as far as that is set by hand.
    pub expires: Option<Timestamp>,
}

impl Tag {
    pub(crate) fn new(name: String, weight: f64, expires: Option<Timestamp>) -> Self {
        Self { name, weight, expires }
    }
}

/// An answer for one person at one instant, and how long it stands.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the condition holds.
    pub holds: bool,
    /// An instant after now before which the answer stays what it is as long as nothing new is known of the person.
    /// `None` if time alone never changes it. At that instant it may change, or be the same still.
    pub until: Option<Timestamp>,
}

impl Verdict {
    /// An answer that stands until something new is known.
    pub const fn always(holds: bool) -> Self {
        Self { holds, until: None }
    }

    /// An answer that may change at an instant.
    pub const fn until(holds: bool, until: Option<Timestamp>) -> Self {
        Self { holds, until }
    }
}

/// A value that is worked out of events.
#[derive(Clone, Default, PartialEq)]
pub struct Computed {
    /// The value, `None` if it is missing.
    pub value: Option<Value>,
    /// When time alone may change it.
    pub until: Option<Timestamp>,
    /// Of a value that is an object, when time alone may change a member of it, where that is not as soon.
    pub parts: BTreeMap<String, Option<Timestamp>>,
}

impl fmt::Debug for Computed {
    /// Until when, but not the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "until {:?}", self.until)
    }
}

/// What conditions can see of one person: the input of [`evaluate`](crate::evaluate), and nothing else.
#[derive(Clone, Default, PartialEq)]
pub struct History {
    /// The profile's id, by which samples are drawn.
    pub profile: Option<ProfileId>,
    /// The traits that stand, by name; removed ones are missing.
    pub traits: Object,
    /// What stood of a trait from when on, the earliest first; null where it was removed.
    pub past: BTreeMap<String, Vec<(Timestamp, Value)>>,
    /// The computed traits, which go before traits of their names.
    pub computed: BTreeMap<String, Computed>,
    /// The events, by time and, at one instant, by message id.
    pub events: Vec<PastEvent>,
    /// The namespaces of the identifiers held, each once.
    pub namespaces: Vec<Namespace>,
    /// The accounts, each with its `traits` and `past` and nothing else.
    pub accounts: Vec<History>,
    /// How the person stands to other segments; to those that are not here, as no member.
    pub segments: BTreeMap<String, Verdict>,
    /// Which tags are carried; those that are not here are not.
    pub tags: BTreeMap<String, Verdict>,
    /// The lists kept by hand that the person is on.
    pub lists: Vec<String>,
    /// The tags given by hand, each with its end.
    pub given: Vec<(String, Option<Timestamp>)>,
    /// The decision on consent that stands, by purpose.
    pub consents: BTreeMap<String, ConsentState>,
    /// The time zone in which days begin, for what asks for a calendar; that of accounts is their person's. Default: UTC.
    pub zone: Zone,
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
            .field("segments", &self.segments)
            .field("tags", &self.tags)
            .field("consents", &self.consents)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PastEvent {
    /// The name and the time; no property's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.name, self.at)
    }
}
