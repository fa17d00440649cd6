//! Which of several values of a trait wins.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::Trait;
use crate::clock::Timestamp;
use crate::error::DefinitionError;
use crate::value::{Comparable, Value, kind_of, nfc};

/// Which of the values that were asserted of a trait stands. Null removes whatever was asserted before it.
///
/// ```
/// use customerdb::{Cdp, Event, Policy};
///
/// let cdp = Cdp::in_memory()?;
/// cdp.set_policy("first_campaign", Policy::First)?;
/// let came_by = |campaign: &str| Event::identify().user_id("u1").with_trait("first_campaign", campaign);
/// cdp.ingest([came_by("spring").at("2024-03-01T00:00:00Z".parse::<customerdb::Timestamp>()?)])?;
/// cdp.ingest([came_by("summer")])?;
/// assert_eq!(cdp.profile("user_id:u1")?.unwrap().value("first_campaign"), Some(&"spring".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The latest, by event time and then by message id.
    #[default]
    Latest,
    /// The earliest.
    First,
    /// The greatest. Where kinds mix: of the numbers, else of the times, else of the texts, else of the booleans.
    Max,
    /// The least, of the same kind.
    Min,
    /// All different ones, sorted, as an array; the members of arrays one by one.
    Union,
    /// The latest of the source that stands first in this list, by name; sources that are not in it come last, and
    /// among them the latest. Null takes back what its own source said.
    SourceOrder(Vec<String>),
}

/// The policies by the names of their traits; where none is given, the latest value stands.
pub(crate) type Policies = BTreeMap<String, Policy>;

const WORDS: [(&str, Policy); 5] = [
    ("latest", Policy::Latest),
    ("first", Policy::First),
    ("max", Policy::Max),
    ("min", Policy::Min),
    ("union", Policy::Union),
];

impl Policy {
    /// Reads a policy from JSON: a word, or `{"source_order": […]}`.
    ///
    /// # Errors
    ///
    /// A [`DefinitionError`] that says what was expected.
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        const EXPECTED: &str = "latest, first, max, min, union or {\"source_order\": [names]}";
        let error = |path: &str, reason: String| DefinitionError::new(path, reason);
        match value {
            Value::String(word) => WORDS
                .iter()
                .find_map(|(name, policy)| (name == word).then(|| policy.clone()))
                .ok_or_else(|| error("policy", format!("unknown policy {word:?}, expected {EXPECTED}"))),
            Value::Object(object) => {
                if let Some(name) = object.keys().find(|name| *name != "source_order") {
                    return Err(error("policy", format!("unknown member {name:?}, expected source_order")));
                }
                let names = object.get("source_order").and_then(Value::as_array).ok_or_else(|| {
                    error("policy.source_order", "expected an array of names of sources".into())
                })?;
                if names.is_empty() {
                    return Err(error("policy.source_order", "must not be empty".into()));
                }
                let name = |(index, name): (usize, &Value)| {
                    let reason = || format!("expected a string, found {}", kind_of(name));
                    let found = name.as_str().map(str::to_owned);
                    found.ok_or_else(|| error(&format!("policy.source_order[{index}]"), reason()))
                };
                Ok(Self::SourceOrder(names.iter().enumerate().map(name).collect::<Result<_, _>>()?))
            }
            other => Err(error("policy", format!("expected {EXPECTED}, found {}", kind_of(other)))),
        }
    }

    /// The policy as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        match self {
            Self::SourceOrder(names) => json!({"source_order": names}),
            word => {
                WORDS.iter().find(|(_, policy)| policy == word).map_or(Value::Null, |(name, _)| json!(name))
            }
        }
    }

    /// The value that stands of those said, which are in order of time; `None` if none does. What was set right by hand
    /// goes before every policy.
    fn choose(&self, said: &[Trait]) -> Option<Trait> {
        if let Some(pin) = said.iter().rfind(|said| said.pinned) {
            return Some(pin.clone()).filter(|pin| !pin.value.is_null());
        }
        if let Self::SourceOrder(order) = self {
            return by_source(order, said);
        }
        let removed = said.iter().rposition(|said| said.value.is_null()).map_or(0, |place| place + 1);
        let said = &said[removed..];
        match self {
            Self::Latest | Self::SourceOrder(_) => said.last().cloned(),
            Self::First => said.first().cloned(),
            Self::Max => best(said, Ordering::Greater),
            Self::Min => best(said, Ordering::Less),
            Self::Union => said.last().map(|last| Trait { value: union(said), ..last.clone() }),
        }
    }
}

impl Serialize for Policy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

fn by_source(order: &[String], said: &[Trait]) -> Option<Trait> {
    let rank = |said: &Trait| order.iter().position(|name| *name == said.source).unwrap_or(order.len());
    let mut latest: BTreeMap<&str, &Trait> = BTreeMap::new();
    for said in said {
        latest.insert(&said.source, said);
    }
    let standing = latest.into_values().filter(|said| !said.value.is_null());
    let best = standing
        .min_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| (b.at, &b.message_id).cmp(&(a.at, &a.message_id))));
    best.cloned()
}

/// The value on that side of all others, the earliest of equal ones.
fn best(said: &[Trait], side: Ordering) -> Option<Trait> {
    let mut best: Option<(&Trait, Comparable<'_>)> = None;
    for said in said {
        let Some(value) = Comparable::of(&said.value, false) else { continue };
        let better = best.as_ref().is_none_or(|(_, held)| match value.rank().cmp(&held.rank()) {
            Ordering::Less => true,
            Ordering::Equal => value.order(held) == side,
            Ordering::Greater => false,
        });
        if better {
            best = Some((said, value));
        }
    }
    best.map(|(said, _)| said.clone())
}

fn union(said: &[Trait]) -> Value {
    let items = said.iter().flat_map(|said| match &said.value {
        Value::Array(items) => items.iter().collect(),
        value => vec![value],
    });
    let mut items: Vec<(Comparable<'_>, &Value)> =
        items.filter_map(|item| Some((Comparable::of(item, false)?, item))).collect();
    items.sort_by(|(a, _), (b, _)| a.order(b));
    items.dedup_by(|(a, _), (b, _)| a.order(b).is_eq());
    items.into_iter().map(|(_, item)| item.clone()).collect()
}

/// What was said of each trait, in order of event time and then of message id.
fn sorted(asserted: impl IntoIterator<Item = (String, Trait)>) -> BTreeMap<String, Vec<Trait>> {
    let mut names: BTreeMap<String, Vec<Trait>> = BTreeMap::new();
    for (name, said) in asserted {
        names.entry(name).or_default().push(said);
    }
    for said in names.values_mut() {
        said.sort_by(|a, b| a.order().cmp(&b.order()));
    }
    names
}

fn policy_of<'p>(policies: &'p Policies, name: &str) -> &'p Policy {
    policies.get(&*nfc(name)).unwrap_or(&Policy::Latest)
}

/// Of all values that were asserted, those that stand.
///
/// The order in which the assertions come makes no difference.
pub(crate) fn standing(
    asserted: impl IntoIterator<Item = (String, Trait)>,
    policies: &Policies,
) -> BTreeMap<String, Trait> {
    let stands = |(name, said): (String, Vec<Trait>)| {
        let held = policy_of(policies, &name).choose(&said)?;
        Some((name, held))
    };
    sorted(asserted).into_iter().filter_map(stands).collect()
}

/// What stood of each trait from when on; null where nothing did.
pub(crate) fn over_time(
    asserted: impl IntoIterator<Item = (String, Trait)>,
    policies: &Policies,
) -> BTreeMap<String, Vec<(Timestamp, Value)>> {
    let past = |(name, said): (String, Vec<Trait>)| {
        let policy = policy_of(policies, &name);
        let pinned = said.iter().position(|said| said.pinned).unwrap_or(said.len());
        let mut past: Vec<(Timestamp, Value)> = Vec::new();
        for (index, one) in said.iter().enumerate() {
            // Of one instant, what stands when all of it is said.
            if said.get(index + 1).is_some_and(|next| next.at == one.at) {
                continue;
            }
            // What the latest value is needs no look at those before it.
            let value = match policy {
                Policy::Latest if index < pinned => one.value.clone(),
                policy => policy.choose(&said[..=index]).map_or(Value::Null, |held| held.value),
            };
            past.push((one.at, value));
        }
        (name, past)
    };
    sorted(asserted).into_iter().map(past).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, value: Value, at: i64, message_id: &str, source: &str) -> (String, Trait) {
        let at = Timestamp::from_millis(at);
        (
            name.into(),
            Trait { value, at, source: source.into(), message_id: message_id.into(), pinned: false },
        )
    }

    #[test]
    fn the_latest_value_stands_in_whatever_order_they_come() {
        let mut asserted = vec![
            said("city", json!("Beijing"), 1, "m9", "web"),
            said("city", json!("Wuhan"), 2, "m1", "web"),
            said("city", json!("Xi'an"), 2, "m0", "web"),
            said("plan", json!("gold"), 1, "m1", "web"),
            said("plan", Value::Null, 2, "m2", "web"),
        ];
        for _ in 0..asserted.len() {
            asserted.rotate_left(1);
            let standing = standing(asserted.clone(), &Policies::new());
            assert_eq!(standing.len(), 1);
            assert_eq!(standing["city"].value, "Wuhan");
        }
    }

    #[test]
    fn every_policy_has_its_winner_and_its_past() {
        let asserted = vec![
            said("x", json!(3), 1, "a", "web"),
            said("x", json!("z"), 2, "b", "crm"),
            said("x", json!(7), 3, "c", "app"),
            said("x", json!([3, 5]), 4, "d", "web"),
        ];
        let order = |names: &[&str]| Policy::SourceOrder(names.iter().map(|name| (*name).into()).collect());
        for (policy, expected, by, past) in [
            (Policy::Latest, json!([3, 5]), "d", json!([3, "z", 7, [3, 5]])),
            (Policy::First, json!(3), "a", json!([3, 3, 3, 3])),
            (Policy::Max, json!(7), "c", json!([3, 3, 7, 7])),
            (Policy::Min, json!(3), "a", json!([3, 3, 3, 3])),
            (Policy::Union, json!([3, 5, 7, "z"]), "d", json!([[3], [3, "z"], [3, 7, "z"], [3, 5, 7, "z"]])),
            (order(&["crm", "web"]), json!("z"), "b", json!([3, "z", "z", "z"])),
            (order(&["tv"]), json!([3, 5]), "d", json!([3, "z", 7, [3, 5]])),
        ] {
            assert_eq!(Policy::from_value(&policy.to_value()).unwrap(), policy);
            let policies = Policies::from([("x".into(), policy.clone())]);
            let mut shuffled = asserted.clone();
            for _ in 0..asserted.len() {
                shuffled.rotate_left(1);
                let held = &standing(shuffled.clone(), &policies)["x"];
                assert_eq!((&held.value, &*held.message_id), (&expected, by), "{policy:?}");
            }
            let values: Vec<Value> =
                over_time(asserted.clone(), &policies)["x"].iter().map(|(_, value)| value.clone()).collect();
            assert_eq!(json!(values), past, "{policy:?}");
        }
    }

    #[test]
    fn null_takes_back_what_came_before_it_and_of_sources_their_own() {
        let asserted = vec![
            said("x", json!(9), 1, "a", "crm"),
            said("x", Value::Null, 2, "b", "web"),
            said("x", json!(4), 3, "c", "app"),
        ];
        let policies = |policy| Policies::from([("x".into(), policy)]);
        let value = |policy| standing(asserted.clone(), &policies(policy))["x"].value.clone();
        assert_eq!((value(Policy::First), value(Policy::Max)), (json!(4), json!(4)));
        assert_eq!(value(Policy::SourceOrder(vec!["web".into(), "crm".into()])), json!(9));
    }

    #[test]
    fn what_was_set_right_by_hand_stands_from_then_on_whatever_the_policy() {
        let pin = |value, at, n: &str| {
            let (name, said) = said("x", value, at, n, "rectification");
            (name, Trait { pinned: true, ..said })
        };
        let asserted = [
            said("x", json!(1), 1, "a", "web"),
            pin(json!(5), 2, "rectify:1"),
            said("x", json!(9), 3, "b", "web"),
            said("x", Value::Null, 4, "c", "web"),
            pin(json!(4), 5, "rectify:2"),
            said("x", json!(0), 6, "d", "crm"),
        ];
        let order = Policy::SourceOrder(vec!["web".into()]);
        for policy in [Policy::Latest, Policy::First, Policy::Max, Policy::Min, Policy::Union, order] {
            let policies = Policies::from([("x".into(), policy)]);
            assert_eq!(standing(asserted.clone(), &policies)["x"].value, 4);
            let past = over_time(asserted.clone(), &policies)["x"].clone();
            let values: Vec<Value> = past[1..].iter().map(|(_, value)| value.clone()).collect();
            assert_eq!(json!(values), json!([5, 5, 5, 4, 4]));
            // Set right to be missing, it is missing.
            let gone = asserted.iter().cloned().chain([pin(Value::Null, 7, "rectify:3")]);
            assert!(standing(gone, &policies).is_empty());
        }
    }

    #[test]
    fn what_is_no_policy_is_told_so() {
        for (value, start) in [
            (json!("lastest"), "policy: unknown policy \"lastest\", expected latest, first, max"),
            (json!(1), "policy: expected latest, first"),
            (json!({"order": []}), "policy: unknown member \"order\", expected source_order"),
            (json!({"source_order": []}), "policy.source_order: must not be empty"),
            (json!({"source_order": ["a", 1]}), "policy.source_order[1]: expected a string, found a number"),
        ] {
            let message = Policy::from_value(&value).unwrap_err().to_string();
            assert!(message.starts_with(start), "{message}");
        }
    }
}
