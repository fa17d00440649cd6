//! Purposes for which data is processed.

use serde::Serialize;
use serde_json::json;

use super::consent::ANALYTICS;
use crate::error::DefinitionError;
use crate::value::{Object, Value, kind_of, nfc};

/// Why personal data may be processed for a purpose (Article 6 of the GDPR).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LegalBasis {
    /// The person has agreed.
    #[default]
    Consent,
    /// A contract with the person needs it.
    Contract,
    /// A law demands it.
    LegalObligation,
    /// It protects somebody's life.
    VitalInterests,
    /// A task in the public interest needs it.
    PublicTask,
    /// Interests that the person's do not outweigh.
    LegitimateInterests,
}

impl LegalBasis {
    const ALL: [Self; 6] = [
        Self::Consent,
        Self::Contract,
        Self::LegalObligation,
        Self::VitalInterests,
        Self::PublicTask,
        Self::LegitimateInterests,
    ];

    /// The basis as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Contract => "contract",
            Self::LegalObligation => "legal_obligation",
            Self::VitalInterests => "vital_interests",
            Self::PublicTask => "public_task",
            Self::LegitimateInterests => "legitimate_interests",
        }
    }
}

/// A purpose for which data is processed: on which legal basis, and what an agreement to it takes.
///
/// The purposes `marketing`, `analytics`, `personalisation` and `advertising` are there from the start; any other
/// name will do without being defined. The legal basis is kept for the record: whatever it is, a condition on consent
/// holds where a grant stands, and nowhere else.
///
/// As JSON it is `{"name": …, "basis": …, "separate": …, "categories": […]}`.
///
/// ```
/// use customerdb::{Cdp, ConsentDecision, LegalBasis, Purpose};
///
/// let cdp = Cdp::in_memory()?;
/// cdp.define_purpose(Purpose::new("health").separate())?;
/// cdp.define_purpose(Purpose::new("invoicing").basis(LegalBasis::Contract))?;
/// // "Accept all" does not do for what needs an agreement of its own.
/// assert_eq!(cdp.record_consent("user_id:u1", ConsentDecision::granted("health"))?, None);
/// assert!(cdp.record_consent("user_id:u1", ConsentDecision::granted("health").separate())?.is_some());
/// # Ok::<(), customerdb::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Purpose {
    name: String,
    basis: LegalBasis,
    separate: bool,
    categories: Vec<String>,
}

impl Purpose {
    /// The most bytes that a name may have.
    pub const LONGEST_NAME: usize = 200;

    /// The purposes that are there without being defined.
    pub const BUILT_IN: [&'static str; 4] = ["marketing", ANALYTICS, "personalisation", "advertising"];

    /// A purpose of that name, on the basis of consent.
    pub fn new(name: impl Into<String>) -> Self {
        let name = nfc(&name.into()).into_owned();
        Self { name, basis: LegalBasis::Consent, separate: false, categories: Vec::new() }
    }

    /// Sets the legal basis. Default: [`LegalBasis::Consent`].
    pub fn basis(mut self, basis: LegalBasis) -> Self {
        self.basis = basis;
        self
    }

    /// Asks for an agreement that was given by itself, as sensitive data and disclosure to third parties need it
    /// (Articles 23 and 29 of China's PIPL): a grant that is not [separate](crate::ConsentDecision::separate) counts for
    /// nothing then, also one that was recorded before.
    pub fn separate(mut self) -> Self {
        self.separate = true;
        self
    }

    /// Takes decisions about this purpose from events that name such a category in the consent object of the Segment
    /// spec: `context.consent.categoryPreferences`, true for granted and false for denied; of several categories one that is
    /// refused is enough. A decision counts from the event's time, for its strongest identifier, whether the event is
    /// kept or not. Default: from none.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Purpose};
    /// use serde_json::json;
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.define_purpose(Purpose::new("advertising").category("Advertising").category("C0004"))?;
    /// let preferences = json!({"categoryPreferences": {"Advertising": false, "Analytics": true}});
    /// cdp.ingest([Event::page().user_id("u1").context("consent", preferences)])?;
    /// let profile = cdp.profile("user_id:u1")?.expect("somebody");
    /// assert_eq!(profile.consents["advertising"].state.as_str(), "denied");
    /// assert_eq!(profile.consents.len(), 1);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.categories.push(category.into());
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The legal basis.
    pub fn legal_basis(&self) -> LegalBasis {
        self.basis
    }

    /// Whether a grant must have been given by itself.
    pub fn needs_separate(&self) -> bool {
        self.separate
    }

    /// What events call it in their consent object.
    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    /// Reads a purpose from a JSON value.
    ///
    /// # Errors
    ///
    /// A [`DefinitionError`] with the path and the reason: an empty or long name, an unknown basis, other members.
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        const MEMBERS: [&str; 4] = ["name", "basis", "separate", "categories"];
        let wrong = |path: &str, what: &str, found: &Value| {
            DefinitionError::new(path, format!("expected {what}, found {}", kind_of(found)))
        };
        let object = value.as_object().ok_or_else(|| wrong("", "an object", value))?;
        if let Some(name) = object.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            let expected = MEMBERS.join(", ");
            return Err(DefinitionError::new(
                "",
                format!("unknown member {name:?}, expected one of {expected}"),
            ));
        }
        let name = object.get("name").ok_or_else(|| DefinitionError::new("", "missing \"name\""))?;
        let mut purpose = Self::new(name.as_str().ok_or_else(|| wrong("name", "a string", name))?);
        if let Some(basis) = object.get("basis") {
            let word = basis.as_str().ok_or_else(|| wrong("basis", "a string", basis))?;
            let found = LegalBasis::ALL.into_iter().find(|basis| basis.as_str() == word);
            purpose.basis = found.ok_or_else(|| {
                let expected = LegalBasis::ALL.map(LegalBasis::as_str).join(", ");
                let reason = format!("unknown legal basis {word:?}, expected one of {expected}");
                DefinitionError::new("basis", reason)
            })?;
        }
        if let Some(separate) = object.get("separate") {
            purpose.separate =
                separate.as_bool().ok_or_else(|| wrong("separate", "true or false", separate))?;
        }
        if let Some(categories) = object.get("categories") {
            let list = categories.as_array().ok_or_else(|| wrong("categories", "an array", categories))?;
            for (index, category) in list.iter().enumerate() {
                let text = category.as_str();
                let text =
                    text.ok_or_else(|| wrong(&format!("categories[{index}]"), "a string", category))?;
                purpose.categories.push(text.to_owned());
            }
        }
        purpose.check()?;
        Ok(purpose)
    }

    /// The purpose as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("name".into(), json!(self.name));
        object.insert("basis".into(), json!(self.basis));
        if self.separate {
            object.insert("separate".into(), json!(true));
        }
        if !self.categories.is_empty() {
            object.insert("categories".into(), json!(self.categories));
        }
        object.into()
    }

    /// Whether the purpose can be defined.
    pub(crate) fn check(&self) -> Result<(), DefinitionError> {
        check_purpose("name", &self.name)?;
        match self.categories.iter().position(String::is_empty) {
            None => Ok(()),
            Some(index) => Err(DefinitionError::new(format!("categories[{index}]"), "must not be empty")),
        }
    }
}

impl Serialize for Purpose {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

/// Whether a name may be a purpose's.
pub(crate) fn check_purpose(path: &str, name: &str) -> Result<(), DefinitionError> {
    match name.len() {
        0 => Err(DefinitionError::new(path, "must not be empty")),
        1..=Purpose::LONGEST_NAME => Ok(()),
        length => {
            let reason = format!("must not be longer than {} bytes, found {length}", Purpose::LONGEST_NAME);
            Err(DefinitionError::new(path, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_read_as_it_was_written() {
        let purpose = Purpose::new("health").basis(LegalBasis::VitalInterests).separate().category("C1");
        assert_eq!(Purpose::from_value(&purpose.to_value()).unwrap(), purpose);
        assert_eq!(Purpose::from_value(&json!({"name": "x"})).unwrap(), Purpose::new("x"));
        for (value, expected) in [
            (json!([]), "expected an object, found an array"),
            (json!({}), "missing \"name\""),
            (json!({"name": ""}), "name: must not be empty"),
            (json!({"name": 1}), "name: expected a string, found a number"),
            (
                json!({"name": "x", "bases": 1}),
                "unknown member \"bases\", expected one of name, basis, separate, categories",
            ),
            (json!({"name": "x", "separate": 1}), "separate: expected true or false, found a number"),
            (json!({"name": "x", "categories": [1]}), "categories[0]: expected a string, found a number"),
            (json!({"name": "x", "categories": [""]}), "categories[0]: must not be empty"),
        ] {
            assert_eq!(Purpose::from_value(&value).unwrap_err().to_string(), expected);
        }
        let unknown = Purpose::from_value(&json!({"name": "x", "basis": "whim"})).unwrap_err().to_string();
        assert!(
            unknown.starts_with("basis: unknown legal basis \"whim\", expected one of consent, "),
            "{unknown}"
        );
        let long = Purpose::from_value(&json!({"name": "x".repeat(201)})).unwrap_err();
        assert_eq!(long.reason(), "must not be longer than 200 bytes, found 201");
    }
}
