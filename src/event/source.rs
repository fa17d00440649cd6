//! Where events come from: a name, and whose data it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where events come from, given at ingest: a name (`web`, `crm`) and a party.
///
/// ```
/// use customerdb::{Party, Source};
///
/// let source = Source::new("ad-exchange").party(Party::Third);
/// assert_eq!(source.to_string(), "ad-exchange (third party)");
/// assert_eq!(Source::default(), Source::new("default").party(Party::First));
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The name, which provenance and cuts go by.
    pub name: String,
    /// Whose data it is.
    #[serde(default)]
    pub party: Party,
}

impl Source {
    /// The first-party source of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), party: Party::First }
    }

    /// The same source, as data of `party`.
    pub fn party(mut self, party: Party) -> Self {
        self.party = party;
        self
    }
}

impl Default for Source {
    /// The first-party source named `default`.
    fn default() -> Self {
        Self::new("default")
    }
}

impl From<&str> for Source {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} party)", self.name, self.party)
    }
}

/// Whose data a source brings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// One's own: seen or asked on one's own site, app or shop.
    #[default]
    First,
    /// A partner's own, shared by agreement.
    Second,
    /// Bought from, or collected by, somebody who has no dealings of their own with the person.
    Third,
}

impl Party {
    /// The word for it: `first`, `second`, `third`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Third => "third",
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of reading a [`Party`]: what was found instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a party: {0:?}, expected one of first, second, third")]
pub struct NotAParty(String);

impl FromStr for Party {
    type Err = NotAParty;

    fn from_str(text: &str) -> Result<Self, NotAParty> {
        [Self::First, Self::Second, Self::Third]
            .into_iter()
            .find(|party| party.as_str() == text)
            .ok_or_else(|| NotAParty(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_are_written_and_read_in_lower_case() {
        for party in [Party::First, Party::Second, Party::Third] {
            assert_eq!(party.as_str().parse(), Ok(party));
            assert_eq!(serde_json::to_string(&party).unwrap(), format!("\"{party}\""));
            assert_eq!(serde_json::from_str::<Party>(&format!("\"{party}\"")).unwrap(), party);
        }
        assert_eq!(
            "First".parse::<Party>().unwrap_err().to_string(),
            "not a party: \"First\", expected one of first, second, third"
        );
    }

    #[test]
    fn a_source_is_first_party_unless_said_otherwise() {
        assert_eq!(serde_json::from_str::<Source>(r#"{"name":"web"}"#).unwrap(), Source::from("web"));
        assert_eq!(Source::default().name, "default");
    }
}
