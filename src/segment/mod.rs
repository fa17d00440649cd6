//! The fourth stage: who belongs where.
//!
//! A [`Condition`] is built in Rust or read from JSON, and means what [`evaluate`] says: a function of one person's
//! history and an instant. Nothing here knows of storage.
//!
//! # What the language leaves to decide
//!
//! - A comparison may have several operators: one value must fit all. `eq` with null is refused: `exists` asks.
//! - A trait or a property whose own name has dots goes before the path that its name spells.
//! - `for` looks at what stood of a trait from when on; what was never said was missing from the beginning. The
//!   comparison holds exactly that long at the end of the span, and is true then.
//! - `anniversary_within` takes whole days; a date is read as it is written, an instant in the zone of the calendar. A day
//!   begins at midnight in that zone, the earlier one where it comes twice, and where it is left out when the clocks go
//!   forward; a day that is left out altogether is nobody's birthday, and as a period one without events.
//! - `periods` are days of the calendar, weeks from Monday, and other spans counted from 1970; the one under way is
//!   not whole, and not looked at.
//! - A step of a sequence that is forbidden at the end is forbidden up to and including the last instant of the window,
//!   and the sequence is true from the instant after. With `same`, only what has the same value is forbidden.
//! - A condition on an account is made of traits; one account must meet all of it.
//! - A path through an array fits if any element does, `ne`, `not_in` and `exists: false` included; an array
//!   without elements is missing.
//! - `element` looks at arrays of objects only.
//! - `gt` and its like compare booleans too, false being less than true; arrays and objects are equal or not.
//! - An event condition may ask for a number of times and for an aggregate; both must hold then.
//! - An aggregate takes in every value that its path reaches. `sum` and `avg` pass over what is no number; `min` and
//!   `max` look at the numbers, or if there are none at the times, else the texts, else the booleans.
//! - A segment that is named must be defined; a tag need not be, as it can be given by hand. An unknown trait is missing.
//! - Over no events a computed `count` and `sum` are 0 and the rest is missing, as in conditions. `unique_list` is sorted;
//!   of values that are equally frequent the one that was there first is the most frequent; days are 24 hours, and what
//!   lies ahead has not happened yet.
//! - A purpose of consent need not be defined; a decision later than now counts too.
//! - Of RFM as a trait, recency is in days of the calendar, as in the question about everybody.
//! - The half-life of a tag makes it weigh less, and takes nobody's tag away.
//! - A policy is for the traits of people; of an account's traits the latest value stands.
//! - A window that moves ends at now; without a window, events later than now count too.

mod aggregate;
mod at;
mod build;
mod calendar;
mod catalog;
mod comparison;
mod computed;
mod condition;
mod evaluate;
mod explain;
mod json;
mod least;
mod needs;
mod occurrences;
mod read;
mod read_compare;
mod read_event;
mod refine;
mod rfm;
mod sequence;
mod single;
mod strict;
mod tag;
mod write;

use serde_json::{Value, json};

use self::at::{At, object, string};
pub use self::build::{
    OfElement, OfEvents, OfTrait, Subject, all, any, consented_to, did, did_not, has_account, has_identifier,
    has_tag, has_trait, in_sample, in_segment, is_known, not, property, sequence,
};
pub(crate) use self::catalog::Catalog;
pub use self::computed::{ComputedTrait, LifecycleBounds};
pub use self::condition::{
    Condition, EventCondition, PropertyTest, Sample, SequenceCondition, TraitCondition,
};
pub use self::evaluate::evaluate;
pub(crate) use self::evaluate::trait_value;
pub(crate) use self::explain::explain;
pub(crate) use self::least::Least;
pub use self::needs::Needs;
pub use self::rfm::RfmBounds;
pub(crate) use self::rfm::group as rfm_group;
pub use self::tag::TagRule;
use crate::error::DefinitionError;
use crate::value::nfc;

/// A condition with a name: those who meet it are its members. Or a list with a name, kept by hand.
///
/// As JSON it is `{"name": …, "condition": …, "live": …}` or `{"name": …, "members": [ids]}`.
///
/// ```
/// use customerdb::{Segment, all, days, did, has_trait};
///
/// let families =
///     Segment::new("polar-families", all([has_trait("children").gte(1), did("Search").within(days(30))]));
/// assert_eq!(families.name(), "polar-families");
/// assert!(families.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    name: String,
    condition: Condition,
    live: bool,
    /// Of a list, who is on it when it is defined.
    list: Option<Vec<String>>,
}

impl Segment {
    /// The most bytes that a name may have.
    pub const LONGEST_NAME: usize = 200;

    /// The segment of those who meet `condition`.
    pub fn new(name: impl Into<String>, condition: impl Into<Condition>) -> Self {
        let name = nfc(&name.into()).into_owned();
        Self { name, condition: condition.into(), live: true, list: None }
    }

    /// A list that is kept by hand: whoever holds one of these identifiers, now or later, is a member. An id is an
    /// identifier, or a profile id, which stands for the profile's name.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Segment};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::page().user_id("u1"), Event::page().user_id("u2")])?;
    /// assert_eq!(cdp.define(Segment::list("testers", ["user_id:u1", "user_id:u9"]))?, 1);
    /// assert_eq!(cdp.add("testers", ["user_id:u2"])?, 2);
    /// assert_eq!(cdp.remove("testers", ["user_id:u1"])?, 1);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn list(name: impl Into<String>, ids: impl IntoIterator<Item = impl ToString>) -> Self {
        let name = nfc(&name.into()).into_owned();
        let ids = ids.into_iter().map(|id| id.to_string()).collect();
        Self { condition: Condition::Segment(name.clone()), name, live: true, list: Some(ids) }
    }

    /// Sets whether members are kept right at every commit, with a journal of who enters and leaves; if not, they are
    /// worked out whenever somebody asks. Default: they are kept. A list is always kept.
    #[must_use]
    pub fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its members meet; of a list, that they are on it: `{"segment": …}` with its own name.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Whether members are kept at every commit.
    pub fn is_live(&self) -> bool {
        self.live || self.list.is_some()
    }

    /// Whether it is a list that is kept by hand.
    pub fn is_list(&self) -> bool {
        self.list.is_some()
    }

    /// Of a list that is to be defined, the ids on it.
    pub(crate) fn ids(&self) -> &[String] {
        self.list.as_deref().unwrap_or_default()
    }

    /// The segment as it is kept: who is on a list is no part of its definition.
    pub(crate) fn kept(mut self) -> Self {
        if let Some(ids) = &mut self.list {
            *ids = Vec::new();
        }
        self
    }

    /// Reads a segment from JSON text.
    ///
    /// # Errors
    ///
    /// Those of [`from_value`](Self::from_value), and a member that is given twice.
    pub fn from_json(text: &str) -> Result<Self, DefinitionError> {
        Self::from_value(&strict::json(text)?)
    }

    /// Reads a segment from a JSON value.
    ///
    /// # Errors
    ///
    /// A [`DefinitionError`] with the path (of a part of the condition, within the condition) and the reason, if the name is empty or longer than
    /// [`LONGEST_NAME`](Self::LONGEST_NAME), the condition is none, or there are other members.
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        const MEMBERS: [&str; 4] = ["name", "condition", "live", "members"];
        let at = At::ROOT;
        let object = object(value, &at)?;
        if let Some(name) = object.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(at.error(format!("unknown member {name:?}, expected one of {}", MEMBERS.join(", "))));
        }
        let get = |name| object.get(name).ok_or_else(|| at.error(format!("missing {name:?}")));
        let name = string(get("name")?, &at.member("name"))?;
        check_name(name)?;
        let live = object.get("live").map(|value| at::bool(value, &at.member("live"))).transpose()?;
        if let Some(members) = object.get("members") {
            let here = at.member("members");
            if object.contains_key("condition") {
                return Err(here.error("a segment has a condition or a list of members, not both"));
            }
            if live == Some(false) {
                return Err(at.member("live").error("a list is always live"));
            }
            let ids =
                at::each(members, "an array of ids", &here, |id, at| string(id, at).map(str::to_owned))?;
            return Ok(Self::list(name, ids));
        }
        let condition = get("condition")?;
        at::object(condition, &at.member("condition"))?;
        let condition = Condition::from_value(condition)?;
        Ok(Self::new(name, condition).live(live.unwrap_or(true)))
    }

    /// The segment as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        match &self.list {
            Some(ids) => json!({"name": self.name, "members": ids}),
            None if self.live => json!({"name": self.name, "condition": self.condition.to_value()}),
            None => json!({"name": self.name, "condition": self.condition.to_value(), "live": false}),
        }
    }

    /// Whether the segment can be defined.
    ///
    /// # Errors
    ///
    /// A name that is empty or longer than [`LONGEST_NAME`](Self::LONGEST_NAME), and those of [`Condition::check`].
    pub fn check(&self) -> Result<(), DefinitionError> {
        check_name(&self.name)?;
        self.condition.check()
    }
}

fn check_name(name: &str) -> Result<(), DefinitionError> {
    let length = name.len();
    match length {
        0 => Err(DefinitionError::new("name", "must not be empty")),
        1..=Segment::LONGEST_NAME => Ok(()),
        _ => {
            let reason = format!("must not be longer than {} bytes, found {length}", Segment::LONGEST_NAME);
            Err(DefinitionError::new("name", reason))
        }
    }
}

impl serde::Serialize for Segment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Segment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
