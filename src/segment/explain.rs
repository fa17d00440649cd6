//! Why a condition holds, or does not: each part of it, and what it saw.

use serde_json::{Value, json};

use super::catalog::Catalog;
use super::condition::{Condition, TraitCondition};
use super::evaluate::{Since, any_value, evaluate, since};
use super::occurrences::Occurrences;
use crate::clock::Timestamp;
use crate::profile::History;
use crate::value::Object;

/// The condition as its JSON, with `holds` and `seen` at each node. The history has to be complete.
pub(crate) fn explain(catalog: &Catalog, condition: &Condition, person: &History, now: Timestamp) -> Value {
    let inner = |part: &Condition| explain(catalog, part, person, now);
    let mut node = match condition {
        Condition::All(parts) => json!({"all": parts.iter().map(inner).collect::<Vec<_>>()}),
        Condition::Any(parts) => json!({"any": parts.iter().map(inner).collect::<Vec<_>>()}),
        Condition::Not(part) => json!({"not": inner(part)}),
        Condition::Account(part) => match telling_account(part, person, now) {
            Some(account) => json!({"account": explain(catalog, part, account, now)}),
            None => condition.to_value(),
        },
        other => other.to_value(),
    };
    node["holds"] = json!(evaluate(condition, person, now).holds);
    node["seen"] = seen(condition, person, now);
    let below = match condition {
        Condition::Segment(name) => {
            catalog.segments.get(name).filter(|segment| !segment.is_list()).map(super::Segment::condition)
        }
        Condition::Tag(name) => catalog.tags.get(name).map(super::TagRule::condition),
        _ => None,
    };
    if let Some(below) = below {
        node["conditions"] = inner(below);
    }
    node
}

/// Of the accounts of a person the one that tells why a condition on any of them holds or does not: the first of which it holds, or
/// just the first.
fn telling_account<'p>(condition: &Condition, person: &'p History, now: Timestamp) -> Option<&'p History> {
    let mut holding = person.accounts.iter().filter(|account| evaluate(condition, account, now).holds);
    holding.next().or(person.accounts.first())
}

/// The value that a condition sees; null where it sees nothing, and of what is made of others.
fn seen(condition: &Condition, person: &History, now: Timestamp) -> Value {
    match condition {
        Condition::All(_) | Condition::Any(_) | Condition::Not(_) | Condition::Misbuilt(_) => Value::Null,
        Condition::Trait(condition) => seen_trait(condition, person),
        Condition::Event(condition) => {
            let occurrences = Occurrences { condition, events: &person.events, now, zone: &person.zone };
            let (count, aggregate) = occurrences.seen();
            match (condition.aggregate.is_some(), condition.count.is_empty()) {
                (false, _) => json!(count),
                (true, true) => aggregate.unwrap_or_default(),
                (true, false) => json!({"count": count, "aggregate": aggregate}),
            }
        }
        Condition::Sequence(sequence) => {
            let reached = sequence.reached(&person.events, now);
            json!({"steps": reached.steps, "of": sequence.length(), "pending_until": reached.pending})
        }
        Condition::Segment(name) => json!(person.segments.get(name).is_some_and(|verdict| verdict.holds)),
        Condition::Tag(name) => json!(person.tags.get(name).is_some_and(|verdict| verdict.holds)),
        Condition::Consent(purpose) => json!(person.consents.get(purpose)),
        Condition::Identifier(_) | Condition::Known(_) => json!(person.namespaces),
        Condition::Account(part) => {
            person.accounts.iter().map(|account| Value::from(traits_in(part, account))).collect()
        }
        Condition::Sample(sample) => person.profile.map_or(Value::Null, |id| json!(sample.percent(id))),
    }
}

/// The value of a trait, or all values that its path reaches.
fn seen_trait(condition: &TraitCondition, person: &History) -> Value {
    let mut values = Vec::new();
    any_value(&condition.path, person, |value| {
        values.push(value.cloned().unwrap_or_default());
        false
    });
    let value = if values.len() > 1 { values.into() } else { values.pop().unwrap_or_default() };
    if condition.held_for.is_none() {
        return value;
    }
    let since = if let Since::At(since) = since(condition, person) { Some(since) } else { None };
    json!({"value": value, "since": since})
}

/// The traits of an account that a condition on it asks for.
fn traits_in(condition: &Condition, account: &History) -> Object {
    let mut found = Object::new();
    match condition {
        Condition::All(parts) | Condition::Any(parts) => {
            for part in parts {
                found.extend(traits_in(part, account));
            }
        }
        Condition::Not(part) => found.extend(traits_in(part, account)),
        Condition::Trait(condition) => {
            found.insert(condition.path.to_string(), seen_trait(condition, account));
        }
        _ => {}
    }
    found
}
