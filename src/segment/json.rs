//! Conditions as JSON, both ways.

use serde_json::Value;

use super::at::At;
use super::condition::{Condition, MAX_DEPTH};
use super::{read, strict, write};
use crate::error::DefinitionError;

impl Condition {
    /// Reads a condition from JSON text.
    ///
    /// ```
    /// use customerdb::{Condition, did};
    ///
    /// let condition = Condition::from_json(r#"{"event": "Order Completed", "count": {"gte": 3}}"#)?;
    /// assert_eq!(condition, did("Order Completed").at_least(3));
    /// # Ok::<(), customerdb::DefinitionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`DefinitionError`] with the path and the reason, if the text is not JSON, has members that the language does not
    /// know, values of the wrong kind, a regular expression that does not compile or takes more than 1 MiB, a
    /// window of no length, members that are
    /// given twice, or conditions nested more than 128 deep.
    pub fn from_json(text: &str) -> Result<Self, DefinitionError> {
        Self::from_value(&strict::json(text)?)
    }

    /// Reads a condition from a JSON value.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        read::condition(value, &At::ROOT, 1)
    }

    /// The condition as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        write::condition(self)
    }

    /// Whether the condition could be read from JSON; what builders make is checked where it is defined.
    ///
    /// ```
    /// use customerdb::{days, did, has_trait};
    ///
    /// assert!(did("Search").within(days(30)).check().is_ok());
    /// let error = has_trait("email").matches("(").check().unwrap_err();
    /// assert_eq!(error.to_string(), "matches: not a regular expression: unclosed group");
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json), and calls of builders that have no meaning.
    pub fn check(&self) -> Result<(), DefinitionError> {
        // Step by step, since what is too deep to be read may be too deep to be walked by recursion.
        let mut open = vec![(self, 1)];
        while let Some((condition, depth)) = open.pop() {
            if depth > MAX_DEPTH {
                return Err(read::too_deep(&At::ROOT));
            }
            match condition {
                Self::All(parts) | Self::Any(parts) => {
                    open.extend(parts.iter().map(|part| (part, depth + 1)));
                }
                Self::Not(part) | Self::Account(part) => open.push((part, depth + 1)),
                Self::Misbuilt(reason) => return Err(DefinitionError::new("", reason)),
                Self::Trait(_)
                | Self::Event(_)
                | Self::Sequence(_)
                | Self::Segment(_)
                | Self::Identifier(_)
                | Self::Known(_)
                | Self::Tag(_)
                | Self::Consent(_)
                | Self::Sample(_) => {}
            }
        }
        Self::from_value(&self.to_value()).map(drop)
    }
}

impl serde::Serialize for Condition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Condition {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
