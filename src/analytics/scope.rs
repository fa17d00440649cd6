//! Whose events a question is about, and when they happened.

use super::breakdown::By;
use super::read::{put, range};
use crate::clock::Timestamp;
use crate::error::DefinitionError;
use crate::segment::Condition;
use crate::value::Object;

/// The range, the people and the breakdown of a question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) audience: Option<Audience>,
    pub(crate) by: Option<By>,
}

/// Those whom a question is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Audience {
    /// The members of a segment of that name, now.
    Segment(String),
    /// Those who meet a condition now.
    Condition(Condition),
}

impl Scope {
    /// Whether an instant lies in the range.
    pub(crate) fn contains(&self, at: i64) -> bool {
        self.from.is_none_or(|from| at >= from.as_micros())
            && self.until.is_none_or(|until| at < until.as_micros())
    }

    /// Whether a range is given.
    pub(crate) fn is_ranged(&self) -> bool {
        self.from.is_some() || self.until.is_some()
    }

    /// Whether a question is about some of the events or people only.
    pub(crate) fn is_narrowed(&self) -> bool {
        self.is_ranged() || self.audience.is_some()
    }

    pub(crate) fn check(&self) -> Result<(), DefinitionError> {
        range(self.from, self.until)?;
        if let Some(by) = &self.by {
            by.check()?;
        }
        match &self.audience {
            Some(Audience::Condition(condition)) => super::read::people(condition, "segment"),
            Some(Audience::Segment(_)) | None => Ok(()),
        }
    }

    pub(super) fn write(&self, object: &mut Object) {
        put(object, "from", self.from);
        put(object, "until", self.until);
        put(object, "by", self.by.as_ref().map(By::to_value));
        let audience = self.audience.as_ref().map(|audience| match audience {
            Audience::Segment(name) => name.as_str().into(),
            Audience::Condition(condition) => condition.to_value(),
        });
        put(object, "segment", audience);
    }
}
