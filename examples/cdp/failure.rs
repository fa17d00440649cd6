//! What a command is answered with when it cannot be done.

use std::fmt;

use customerdb::{DefinitionError, Error};
use serde::Serialize;

/// Why a command was not done: a stable word for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

impl Failure {
    /// The request is not understood.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { kind: "bad_request", message: message.into() }
    }

    /// The same, with the place where it happened before it.
    pub(crate) fn at(self, place: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}

impl From<DefinitionError> for Failure {
    fn from(error: DefinitionError) -> Self {
        Error::from(error).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
