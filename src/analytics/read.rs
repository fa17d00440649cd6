//! Reading questions from JSON, with the path of what is wrong.

use std::str::FromStr;

use serde_json::Value;

use super::Ask;
use super::breakdown::By;
use super::scope::Audience;
use crate::clock::{Span, Timestamp};
use crate::error::DefinitionError;
use crate::segment::Condition;
use crate::value::{DottedPath, Object, kind_of};

pub(super) type Result<T> = std::result::Result<T, DefinitionError>;

/// The members of a question, asked for one by one, so that whatever is left over is known to be a mistake.
pub(super) struct Members<'v> {
    object: &'v Object,
    known: Vec<&'static str>,
}

impl<'v> Members<'v> {
    pub(super) fn of(value: &'v Value) -> Result<Self> {
        let object = value.as_object().ok_or_else(|| expected("", "an object", value))?;
        Ok(Self { object, known: Vec::new() })
    }

    /// A member that may be left out; null is the same.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'v Value, &str) -> Result<T>,
    ) -> Result<Option<T>> {
        self.known.push(name);
        self.object.get(name).filter(|value| !value.is_null()).map(|value| read(value, name)).transpose()
    }

    /// A member that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'v Value, &str) -> Result<T>,
    ) -> Result<T> {
        self.optional(name, read)?.ok_or_else(|| DefinitionError::new(name, "missing"))
    }

    /// The question with its range, segment and breakdown, if there is nothing else and all of it makes sense.
    pub(super) fn finish<Q: Ask>(mut self, mut question: Q) -> Result<Q> {
        let scope = question.scope_mut();
        scope.from = self.optional("from", parsed)?;
        scope.until = self.optional("until", parsed)?;
        scope.audience = self.optional("segment", audience)?;
        scope.by = self.optional("by", By::read)?;
        self.end()?;
        question.wanted()?;
        question.scope().check()?;
        Ok(question)
    }

    /// Refuses what nobody asked for.
    pub(super) fn end(self) -> Result<()> {
        match self.object.keys().find(|name| !self.known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(64).collect();
                let reason = format!("unknown member {name:?}, expected one of {}", self.known.join(", "));
                Err(DefinitionError::new("", reason))
            }
        }
    }
}

fn expected(path: &str, what: &str, found: &Value) -> DefinitionError {
    DefinitionError::new(path, format!("expected {what}, found {}", kind_of(found)))
}

pub(super) fn text<'v>(value: &'v Value, path: &str) -> Result<&'v str> {
    match value.as_str() {
        Some("") => Err(DefinitionError::new(path, "must not be empty")),
        Some(text) => Ok(text),
        None => Err(expected(path, "a string", value)),
    }
}

pub(super) fn flag(value: &Value, path: &str) -> Result<bool> {
    value.as_bool().ok_or_else(|| expected(path, "true or false", value))
}

/// A whole number from 1.
pub(super) fn number(value: &Value, path: &str) -> Result<u32> {
    match value {
        Value::Number(number) => match number.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(0) => Err(DefinitionError::new(path, "must be at least 1")),
            Some(number) => Ok(number),
            None => {
                let reason = format!("expected a whole number from 1 to {}, found {number}", u32::MAX);
                Err(DefinitionError::new(path, reason))
            }
        },
        _ => Err(expected(path, "a whole number", value)),
    }
}

/// A string that says something else.
pub(super) fn parsed<T: FromStr<Err: ToString>>(value: &Value, path: &str) -> Result<T> {
    text(value, path)?.parse().map_err(|error: T::Err| DefinitionError::new(path, error.to_string()))
}

/// A length of time, longer than zero.
pub(super) fn span(value: &Value, path: &str) -> Result<Span> {
    longer_than_zero(parsed(value, path)?, path)
}

pub(super) fn longer_than_zero(span: Span, path: &str) -> Result<Span> {
    if span.as_micros() > 0 { Ok(span) } else { Err(DefinitionError::new(path, "must be longer than zero")) }
}

pub(super) fn path(value: &Value, path: &str) -> Result<DottedPath> {
    valid_path(DottedPath::new(text(value, path)?), path)
}

pub(super) fn valid_path(of: DottedPath, path: &str) -> Result<DottedPath> {
    if of.is_valid() {
        Ok(of)
    } else {
        Err(DefinitionError::new(path, "a name between two dots must not be empty"))
    }
}

/// The name of an event, or a condition on events.
pub(super) fn event(value: &Value, path: &str) -> Result<Condition> {
    let read = match value {
        Value::String(name) => Condition::from_value(&serde_json::json!({"event": name})),
        _ => Condition::from_value(value),
    };
    let condition = read.map_err(|error| within(path, &error))?;
    plain_event(&condition, path)?;
    Ok(condition)
}

pub(super) fn events(value: &Value, path: &str) -> Result<Vec<Condition>> {
    let items = value.as_array().ok_or_else(|| expected(path, "an array of event conditions", value))?;
    items.iter().enumerate().map(|(index, item)| event(item, &format!("{path}[{index}]"))).collect()
}

/// Checks that a condition asks something of single events.
pub(super) fn plain_event<'c>(
    condition: &'c Condition,
    path: &str,
) -> Result<&'c crate::segment::EventCondition> {
    condition.check().map_err(|error| within(path, &error))?;
    let Condition::Event(event) = condition else {
        return Err(DefinitionError::new(path, "expected an event's name, or a condition on events"));
    };
    match event.asks_of_person() {
        Some(member) => {
            let reason = format!("{member} asks something of a person, and here single events are meant");
            Err(DefinitionError::new(path, reason))
        }
        None => Ok(event),
    }
}

/// An error within a part, with the path of the part before its own.
fn within(path: &str, error: &DefinitionError) -> DefinitionError {
    let inner = error.path();
    let dot = if path.is_empty() || inner.is_empty() || inner.starts_with('[') { "" } else { "." };
    DefinitionError::new(format!("{path}{dot}{inner}"), error.reason())
}

fn audience(value: &Value, path: &str) -> Result<Audience> {
    match value {
        Value::Object(_) => {
            Condition::from_value(value).map(Audience::Condition).map_err(|error| within(path, &error))
        }
        _ => text(value, path).map(|name| Audience::Segment(name.to_owned())),
    }
}

/// Checks a condition that people are to meet.
pub(super) fn people(condition: &Condition, path: &str) -> Result<()> {
    condition.check().map_err(|error| within(path, &error))
}

/// One word of several.
pub(super) fn word<T: Copy>(value: &Value, path: &str, words: &[(&str, T)]) -> Result<T> {
    let text = text(value, path)?;
    words.iter().find(|(word, _)| *word == text).map(|(_, meant)| *meant).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let text: String = text.chars().take(64).collect();
        DefinitionError::new(path, format!("unknown {text:?}, expected one of {}", words.join(", ")))
    })
}

/// The word for a meaning.
pub(super) fn word_of<T: PartialEq>(meant: &T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, other)| other == meant).map_or("", |(word, _)| word)
}

/// Puts a member that is there into an object.
pub(super) fn put(object: &mut Object, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

/// Reads the value that `text` is.
pub(super) fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| DefinitionError::new("", format!("not JSON: {error}")))
}

/// Checks that a range has a length.
pub(super) fn range(from: Option<Timestamp>, until: Option<Timestamp>) -> Result<()> {
    match (from, until) {
        (Some(from), Some(until)) if until <= from => {
            Err(DefinitionError::new("until", "must be later than \"from\""))
        }
        _ => Ok(()),
    }
}

/// What every question has: its JSON both ways, and calls for its range, segment and breakdown.
macro_rules! question {
    ($name:ident) => {
        impl $name {
            /// Reads the question from JSON text.
            ///
            /// # Errors
            ///
            /// A [`DefinitionError`](crate::DefinitionError) with the path and the reason, if the text is not JSON, a
            /// member is missing, unknown or makes no sense.
            pub fn from_json(text: &str) -> Result<Self, $crate::error::DefinitionError> {
                Self::from_value(&$crate::analytics::read::json(text)?)
            }

            /// Only events from this instant on.
            pub fn since(mut self, from: impl Into<$crate::clock::Timestamp>) -> Self {
                self.scope.from = Some(from.into());
                self
            }

            /// Only events before this instant.
            pub fn until(mut self, until: impl Into<$crate::clock::Timestamp>) -> Self {
                self.scope.until = Some(until.into());
                self
            }

            /// Only the members of a segment.
            pub fn of_segment(mut self, name: impl Into<String>) -> Self {
                self.scope.audience = Some($crate::analytics::Audience::Segment(name.into()));
                self
            }

            /// Only those who meet a condition.
            pub fn of_those(mut self, condition: impl Into<$crate::segment::Condition>) -> Self {
                self.scope.audience = Some($crate::analytics::Audience::Condition(condition.into()));
                self
            }

            /// Answers for each group of a breakdown too.
            pub fn by(mut self, by: $crate::analytics::By) -> Self {
                self.scope.by = Some(by);
                self
            }
        }

        impl $crate::analytics::Scoped for $name {
            fn scope(&self) -> &$crate::analytics::Scope {
                &self.scope
            }

            fn scope_mut(&mut self) -> &mut $crate::analytics::Scope {
                &mut self.scope
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.to_value().serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = $crate::value::Value::deserialize(deserializer)?;
                Self::from_value(&value).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use question;
