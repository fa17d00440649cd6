//! Tags that are set by rule.

use serde_json::{Value, json};

use super::at::{At, Result, object, span, string};
use super::condition::{Condition, EventCondition};
use super::{check_name, strict};
use crate::clock::{Span, Timestamp};
use crate::profile::PastEvent;
use crate::value::nfc;

/// A tag that is set by rule: whoever meets the condition carries it.
///
/// Its weight is 1, or as given. With a half-life it halves each time that so much has gone by since the latest event
/// that the condition is about; the tag itself stays as long as the condition holds.
///
/// As JSON it is `{"name": …, "condition": …, "weight": …, "half_life": …}`.
///
/// ```
/// use customerdb::{Cdp, Event, TagRule, days, did, has_tag};
///
/// let cdp = Cdp::in_memory()?;
/// cdp.define_tag(TagRule::new("polar", did("Search").where_property("query").contains("Antarctica")).half_life(days(30)))?;
/// cdp.ingest([Event::track("Search").user_id("u1").property("query", "Antarctica in January")])?;
/// assert_eq!(cdp.profile("user_id:u1")?.unwrap().tags[0].name, "polar");
/// assert_eq!(cdp.preview(has_tag("polar"))?.len(), 1);
/// # Ok::<(), customerdb::Error>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct TagRule {
    name: String,
    condition: Condition,
    weight: f64,
    half_life: Option<Span>,
}

const MEMBERS: [&str; 4] = ["name", "condition", "weight", "half_life"];

impl TagRule {
    /// The rule that whoever meets the condition carries the tag.
    pub fn new(name: impl Into<String>, condition: impl Into<Condition>) -> Self {
        Self {
            name: nfc(&name.into()).into_owned(),
            condition: condition.into(),
            weight: 1.0,
            half_life: None,
        }
    }

    /// Sets how much the tag weighs. Default: 1.
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// Lets the weight halve each time that so much has gone by. Default: it stays.
    pub fn half_life(mut self, span: Span) -> Self {
        self.half_life = Some(span);
        self
    }

    /// The name of the tag.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whoever meets it carries the tag.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Reads a rule from JSON text.
    ///
    /// # Errors
    ///
    /// A [`DefinitionError`](crate::DefinitionError) with the path (of a part of the condition, within the condition) and
    /// the reason, if it makes no sense.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_value(&strict::json(text)?)
    }

    /// Reads a rule from a JSON value.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self> {
        let at = At::ROOT;
        let object = object(value, &at)?;
        if let Some(name) = object.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(at.error(format!("unknown member {name:?}, expected one of {}", MEMBERS.join(", "))));
        }
        let get = |name| object.get(name).ok_or_else(|| at.error(format!("missing {name:?}")));
        let name = string(get("name")?, &at.member("name"))?;
        check_name(name)?;
        let condition = get("condition")?;
        self::object(condition, &at.member("condition"))?;
        let mut rule = Self::new(name, Condition::from_value(condition)?);
        if let Some(value) = object.get("weight") {
            let here = at.member("weight");
            rule.weight = value.as_f64().ok_or_else(|| here.expected("a number", value))?;
            if rule.weight <= 0.0 {
                return Err(here.error("must be greater than zero"));
            }
        }
        // Null is the same as nothing: the tag does not age.
        if let Some(value) = object.get("half_life").filter(|value| !value.is_null()) {
            rule.half_life = Some(span(value, &at.member("half_life"))?);
        }
        Ok(rule)
    }

    /// The rule as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"name": self.name, "condition": self.condition.to_value()});
        if (self.weight - 1.0).abs() > 0.0 {
            value["weight"] = json!(self.weight);
        }
        if let Some(span) = self.half_life {
            value["half_life"] = json!(span.to_string());
        }
        value
    }

    /// Whether the rule can be defined.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        self.condition.check()?;
        Self::from_value(&self.to_value()).map(drop)
    }

    /// What the tag weighs at an instant.
    pub(super) fn weight_at(&self, events: &[PastEvent], now: Timestamp) -> f64 {
        let Some(half_life) = self.half_life else { return self.weight };
        let mut about = Vec::new();
        subjects(&self.condition, &mut about);
        let past = &events[..events.partition_point(|event| event.at <= now)];
        let latest = past.iter().rev().find(|event| about.iter().any(|condition| condition.fits(event)));
        #[expect(clippy::cast_precision_loss, reason = "a weight is no exact number")]
        let age = latest.map_or(0.0, |event| {
            (now.as_micros() - event.at.as_micros()) as f64 / half_life.as_micros().max(1) as f64
        });
        self.weight * 0.5_f64.powf(age)
    }
}

/// The events that a condition is about: those that must have come.
fn subjects<'c>(condition: &'c Condition, about: &mut Vec<&'c EventCondition>) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| subjects(part, about)),
        Condition::Event(event) => about.push(event),
        Condition::Sequence(sequence) => {
            about.extend(sequence.steps.iter().filter(|step| !step.forbidden).map(|step| &step.event));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{all, days, did, did_not, not, sequence};

    #[test]
    fn a_rule_reads_back_what_it_writes_and_mistakes_name_their_path() {
        let rule = TagRule::new("t", did("A")).weight(2.5).half_life(days(7));
        assert_eq!(TagRule::from_json(&rule.to_value().to_string()).unwrap(), rule);
        let plain = TagRule::new("t", did("A"));
        assert_eq!(plain.to_value(), json!({"name": "t", "condition": {"event": "A"}}));
        for (definition, start) in [
            (json!({"name": "t"}), "missing \"condition\""),
            (json!({"name": "", "condition": {"all": []}}), "name: must not be empty"),
            (json!({"name": "t", "condition": {"all": [{}]}}), "all[0]: nothing is asked"),
            (
                json!({"name": "t", "condition": {"all": []}, "half_life": "0d"}),
                "half_life: must be longer than zero",
            ),
            (
                json!({"name": "t", "condition": {"all": []}, "weight": 0}),
                "weight: must be greater than zero",
            ),
            (
                json!({"name": "t", "condition": {"all": []}, "wieght": 1}),
                "unknown member \"wieght\", expected",
            ),
        ] {
            let message = TagRule::from_value(&definition).unwrap_err().to_string();
            assert!(message.starts_with(start), "{message}");
        }
    }

    #[test]
    fn a_weight_halves_with_the_age_of_the_latest_event_that_counts() {
        let day = |n: u32| Timestamp::EARLIEST.after(days(n));
        let event = |name: &str, at| PastEvent {
            name: name.into(),
            at,
            message_id: String::new(),
            properties: crate::Object::new(),
        };
        let events = [event("A", day(0)), event("A", day(7)), event("C", day(14))];
        let condition = all([did("A"), not(did("C")), sequence([did("A"), did_not("C")]).within(days(1))]);
        let rule = TagRule::new("t", condition).weight(4.0).half_life(days(7));
        for (now, expected) in [(0, 4.0), (7, 4.0), (14, 2.0), (21, 1.0)] {
            let weight = rule.weight_at(&events, day(now));
            assert!((weight - expected).abs() < 1e-9, "{weight} on day {now}");
        }
        let ageless = TagRule::new("t", did("A")).weight_at(&events, day(99));
        assert!((ageless - 1.0).abs() < 1e-9);
    }
}
