//! Where in a definition the reading stands, and reading its leaves.

use std::fmt::Write as _;
use std::str::FromStr;

use serde_json::Value;

use crate::clock::{Span, Timestamp};
use crate::error::DefinitionError;
use crate::value::{DottedPath, Object, kind_of};

pub(super) type Result<T> = std::result::Result<T, DefinitionError>;

/// Where in the definition the reading stands.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Member(&'a str),
    Index(usize),
}

impl At<'static> {
    pub(super) const ROOT: Self = Self { parent: None, step: Step::Index(0) };
}

impl<'a> At<'a> {
    pub(super) fn member(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Member(name) }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> DefinitionError {
        let mut steps = Vec::new();
        let mut at = self;
        while let Some(parent) = at.parent {
            steps.push(at.step);
            at = parent;
        }
        let mut path = String::new();
        for step in steps.into_iter().rev() {
            let dot = if path.is_empty() { "" } else { "." };
            let _ = match step {
                Step::Member(name) => write!(path, "{dot}{}", name.chars().take(64).collect::<String>()),
                Step::Index(index) => write!(path, "[{index}]"),
            };
        }
        DefinitionError::new(path, reason)
    }

    pub(super) fn expected(&self, what: &str, found: &Value) -> DefinitionError {
        self.error(format!("expected {what}, found {}", kind_of(found)))
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("{:?}", name.chars().take(64).collect::<String>())
}

pub(super) fn each<T>(
    value: &Value,
    what: &str,
    at: &At<'_>,
    read: impl Fn(&Value, &At<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let items = value.as_array().ok_or_else(|| at.expected(what, value))?;
    items.iter().enumerate().map(|(index, item)| read(item, &at.index(index))).collect()
}

pub(super) fn object<'a>(value: &'a Value, at: &At<'_>) -> Result<&'a Object> {
    value.as_object().ok_or_else(|| at.expected("an object", value))
}

pub(super) fn string<'a>(value: &'a Value, at: &At<'_>) -> Result<&'a str> {
    value.as_str().ok_or_else(|| at.expected("a string", value))
}

pub(super) fn non_empty<'a>(value: &'a Value, at: &At<'_>) -> Result<&'a str> {
    match string(value, at)? {
        "" => Err(at.error("must not be empty")),
        text => Ok(text),
    }
}

pub(super) fn bool(value: &Value, at: &At<'_>) -> Result<bool> {
    value.as_bool().ok_or_else(|| at.expected("true or false", value))
}

pub(super) fn whole(value: &Value, at: &At<'_>) -> Result<u64> {
    let float = || value.as_f64().filter(|float| float.fract() == 0.0 && (0.0..1e15).contains(float));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
    let whole = value.as_u64().or_else(|| float().map(|float| float as u64));
    whole.ok_or_else(|| match value {
        Value::Number(number) => at.error(format!("expected a whole number from 0, found {number}")),
        _ => at.expected("a whole number from 0", value),
    })
}

pub(super) fn path(value: &Value, at: &At<'_>) -> Result<DottedPath> {
    let path = DottedPath::new(non_empty(value, at)?);
    if path.is_valid() { Ok(path) } else { Err(at.error("a name between two dots must not be empty")) }
}

pub(super) fn span(value: &Value, at: &At<'_>) -> Result<Span> {
    let text = string(value, at)?;
    let (text, negative) = text.strip_prefix('-').map_or((text, false), |text| (text, true));
    let span: Span = parsed(text, at)?;
    if negative || span.as_micros() == 0 {
        return Err(at.error("must be longer than zero"));
    }
    Ok(span)
}

pub(super) fn time(value: &Value, at: &At<'_>) -> Result<Timestamp> {
    parsed(string(value, at)?, at)
}

fn parsed<T: FromStr<Err: ToString>>(text: &str, at: &At<'_>) -> Result<T> {
    text.parse().map_err(|error: T::Err| at.error(error.to_string()))
}
