//! The fourth stage: who belongs where.
//!
//! A [`Condition`] is built in Rust or read from JSON, and means what [`evaluate`] says: a function of one person's
//! history and an instant. Nothing here knows of storage.
//!
//! # What the language leaves to decide
//!
//! - A comparison has one operator; a range is `between`, more is `all`. `eq` with null is refused: `exists` asks.
//! - A path through an array fits if any element does, `ne`, `not_in` and `exists: false` included; an array
//!   without elements is missing.
//! - `element` looks at arrays of objects only.
//! - `gt` and its like compare booleans too, false being less than true; arrays and objects are equal or not.
//! - An event condition may ask for a number of times and for an aggregate; both must hold then.
//! - An aggregate takes in every value that its path reaches. `sum` and `avg` pass over what is no number; `min` and
//!   `max` look at the numbers, or if there are none at the times, else the texts, else the booleans.
//! - A window that moves ends at now; without a window, events later than now count too.

mod aggregate;
mod at;
mod build;
mod comparison;
mod condition;
mod evaluate;
mod json;
mod needs;
mod read;
mod single;
mod write;

use serde_json::{Value, json};

use self::at::{At, object, string};
pub use self::build::{
    OfElement, OfEvents, OfTrait, Subject, all, any, did, did_not, has_identifier, has_trait, is_known, not,
    property,
};
pub use self::condition::{Condition, EventCondition, PropertyTest, TraitCondition};
pub use self::evaluate::{Verdict, evaluate};
pub use self::needs::Needs;
use crate::error::DefinitionError;
use crate::value::nfc;

/// A condition with a name: those who meet it are its members.
///
/// As JSON it is `{"name": …, "condition": …}`.
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
}

impl Segment {
    /// The most bytes that a name may have.
    pub const LONGEST_NAME: usize = 200;

    /// The segment of those who meet `condition`.
    pub fn new(name: impl Into<String>, condition: impl Into<Condition>) -> Self {
        Self { name: nfc(&name.into()).into_owned(), condition: condition.into() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its members meet.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Reads a segment from a JSON value.
    ///
    /// # Errors
    ///
    /// A [`DefinitionError`] with the path (of a part of the condition, within the condition) and the reason, if the name is empty or longer than
    /// [`LONGEST_NAME`](Self::LONGEST_NAME), the condition is none, or there are other members.
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let at = At::ROOT;
        let object = object(value, &at)?;
        if let Some(name) = object.keys().find(|name| !["name", "condition"].contains(&name.as_str())) {
            return Err(at.error(format!("unknown member {name:?}, expected one of name, condition")));
        }
        let get = |name| object.get(name).ok_or_else(|| at.error(format!("missing {name:?}")));
        let name = string(get("name")?, &at.member("name"))?;
        check_name(name)?;
        let condition = Condition::from_value(get("condition")?)?;
        Ok(Self::new(name, condition))
    }

    /// The segment as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        json!({"name": self.name, "condition": self.condition.to_value()})
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
