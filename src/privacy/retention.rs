//! Rules that say how long events are kept.

use serde_json::json;

use crate::clock::{Span, Timestamp};
use crate::error::DefinitionError;
use crate::event::Party;
use crate::value::{Object, Value, kind_of, nfc};

/// A rule that says how long events are kept: those that fit it are dropped once they are older, the next time that
/// [`Cdp::maintain`](crate::Cdp::maintain) is called.
///
/// An event's age is counted from its event time. What several rules say is what the strictest of them says. As JSON it is
/// `{"name": …, "party": …, "event": …, "anonymous": …, "older_than": …}`; all but `name` and `older_than` may be left out,
/// and then do not matter.
///
/// ```
/// use customerdb::{Cdp, Event, ManualClock, Party, RetentionRule, Source, Timestamp, days};
///
/// let clock = ManualClock::at("2024-05-01T12:00:00Z".parse::<Timestamp>()?);
/// let cdp = Cdp::builder().clock(clock.clone()).in_memory()?;
/// cdp.retain(RetentionRule::new("bought", days(90)).party(Party::Third).anonymous())?;
///
/// let ads = Source::new("ad-exchange").party(Party::Third);
/// cdp.ingest_from(&ads, [Event::page().anonymous_id("d7"), Event::page().anonymous_id("d8").user_id("u8")])?;
/// clock.set("2024-08-01T12:00:00Z".parse::<Timestamp>()?);
/// assert_eq!(cdp.maintain()?.retained, 1);
/// assert!(cdp.profile("anonymous_id:d7")?.is_none());
/// assert_eq!(cdp.profile("user_id:u8")?.unwrap().events, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    name: String,
    party: Option<Party>,
    event: Option<String>,
    anonymous: bool,
    older_than: Span,
}

const MEMBERS: [&str; 5] = ["name", "party", "event", "anonymous", "older_than"];

/// The longest name in bytes.
const LONGEST: usize = 256;

type Result<T> = std::result::Result<T, DefinitionError>;

fn expected(path: &str, what: &str, found: &Value) -> DefinitionError {
    DefinitionError::new(path, format!("expected {what}, found {}", kind_of(found)))
}

impl RetentionRule {
    /// A rule of that name for all events.
    pub fn new(name: impl Into<String>, older_than: Span) -> Self {
        let name = nfc(&name.into()).into_owned();
        Self { name, party: None, event: None, anonymous: false, older_than }
    }

    /// Only events from sources of that party.
    pub fn party(mut self, party: Party) -> Self {
        self.party = Some(party);
        self
    }

    /// Only events of that name, as conditions know it (`$page`, `Order Completed`); one that ends in `*` is a prefix.
    pub fn event(mut self, name: impl Into<String>) -> Self {
        self.event = Some(nfc(&name.into()).into_owned());
        self
    }

    /// Only events of people who are known by nothing but devices, advertising ids and anonymous ids when it is applied,
    /// and events of nobody.
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The age from which on events are dropped.
    pub fn older_than(&self) -> Span {
        self.older_than
    }

    /// Reads a rule from JSON text.
    ///
    /// # Errors
    ///
    /// A [`DefinitionError`] with the member and the reason, if it makes no sense.
    pub fn from_json(text: &str) -> Result<Self> {
        let value = serde_json::from_str(text)
            .map_err(|error| DefinitionError::new("", format!("not JSON: {error}")))?;
        Self::from_value(&value)
    }

    /// Reads a rule from a JSON value.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self> {
        let object = value.as_object().ok_or_else(|| expected("", "an object", value))?;
        if let Some(name) = object.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            let reason = format!("unknown member {name:?}, expected one of {}", MEMBERS.join(", "));
            return Err(DefinitionError::new("", reason));
        }
        let required = |name| text(object, name)?.ok_or_else(|| DefinitionError::new(name, "missing"));
        let older_than = required("older_than")?;
        let older_than: Span = older_than
            .parse()
            .map_err(|error: crate::clock::NotASpan| DefinitionError::new("older_than", error.to_string()))?;
        let mut rule = Self::new(required("name")?, older_than);
        if let Some(party) = text(object, "party")? {
            let party: std::result::Result<Party, _> = party.parse();
            let party = party.map_err(|error| DefinitionError::new("party", error.to_string()))?;
            rule = rule.party(party);
        }
        if let Some(event) = text(object, "event")? {
            rule = rule.event(event);
        }
        if let Some(value) = object.get("anonymous").filter(|value| !value.is_null()) {
            rule.anonymous = value.as_bool().ok_or_else(|| expected("anonymous", "a boolean", value))?;
        }
        rule.named()?;
        Ok(rule)
    }

    fn named(&self) -> Result<()> {
        for (member, text) in [("name", Some(&self.name)), ("event", self.event.as_ref())] {
            if text.is_some_and(|text| text.is_empty() || text.len() > LONGEST) {
                return Err(DefinitionError::new(member, format!("expected 1 to {LONGEST} bytes")));
            }
        }
        Ok(())
    }

    /// Whether the rule can be put in force.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn check(&self) -> Result<()> {
        Self::from_value(&self.to_value()).map(drop)
    }

    /// The rule as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"name": self.name, "older_than": self.older_than.to_string()});
        if let Some(party) = self.party {
            value["party"] = json!(party);
        }
        if let Some(event) = &self.event {
            value["event"] = json!(event);
        }
        if self.anonymous {
            value["anonymous"] = json!(true);
        }
        value
    }

    /// The latest event time that is too old at an instant: as windows have it, the instant itself belongs to what is old.
    pub(crate) fn cutoff(&self, now: Timestamp) -> Timestamp {
        now.before(self.older_than)
    }

    /// Whether it is about events of that party and that name, whoever they are of.
    pub(crate) fn fits(&self, party: Party, event: &str) -> bool {
        self.party.is_none_or(|own| own == party)
            && self.event.as_deref().is_none_or(|own| match own.strip_suffix('*') {
                Some(prefix) => event.starts_with(prefix),
                None => event == own,
            })
    }

    /// Whether it is about people only who are known by nothing but devices.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.anonymous
    }
}

/// A member that is a text, `None` if it is null or left out.
fn text<'o>(object: &'o Object, name: &str) -> Result<Option<&'o str>> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(expected(name, "a string", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::days;

    #[test]
    fn a_rule_reads_back_what_it_writes_and_mistakes_name_their_member() {
        let rule = RetentionRule::new("bought", days(90)).party(Party::Third).event("Ad *").anonymous();
        assert_eq!(RetentionRule::from_value(&rule.to_value()).unwrap(), rule);
        assert_eq!(rule.to_value()["older_than"], "90d");
        for (text, message) in [
            ("[]", "expected an object, found an array"),
            (r#"{"name":"a"}"#, "older_than: missing"),
            (r#"{"older_than":"1d"}"#, "name: missing"),
            (r#"{"name":"","older_than":"1d"}"#, "name: expected 1 to 256 bytes"),
            (r#"{"name":"a","older_than":"soon"}"#, "older_than: not a duration: \"soon\""),
            (r#"{"name":"a","older_than":90}"#, "older_than: expected a string, found a number"),
            (r#"{"name":"a","older_than":"1d","party":"fourth"}"#, "party: not a party"),
            (r#"{"name":"a","older_than":"1d","event":""}"#, "event: expected 1 to"),
            (r#"{"name":"a","older_than":"1d","anonymous":1}"#, "anonymous: expected a boolean"),
            (r#"{"name":"a","older_than":"1d","partty":"third"}"#, "unknown member \"partty\""),
        ] {
            let error = RetentionRule::from_json(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert!(RetentionRule::new("", days(1)).check().is_err());
    }

    #[test]
    fn a_rule_fits_by_party_and_by_name_or_prefix() {
        let rule = RetentionRule::new("r", days(1)).party(Party::Third).event("Ad*");
        assert!(rule.fits(Party::Third, "Ad Seen") && rule.fits(Party::Third, "Ad"));
        assert!(!rule.fits(Party::First, "Ad Seen") && !rule.fits(Party::Third, "ad"));
        assert!(RetentionRule::new("r", days(1)).fits(Party::First, "$page"));
    }
}
