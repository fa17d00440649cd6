//! Reading operators from JSON.

use serde_json::Value;

use super::at::{At, Result, bool, each, quoted, string};
use super::comparison::{Comparison, Operand, Operands, Pattern, Test, operand};
use crate::value::{Comparable, Object, nfc};

pub(super) const OPERATORS: [&str; 14] = [
    "eq",
    "ne",
    "in",
    "not_in",
    "gt",
    "gte",
    "lt",
    "lte",
    "between",
    "contains",
    "starts_with",
    "ends_with",
    "matches",
    "exists",
];

/// The comparison that those operators of the object are; of none, all values fit.
pub(super) fn comparison(object: &Object, operators: &[&str], at: &At<'_>) -> Result<Comparison> {
    let as_number = match object.get("as") {
        None => false,
        Some(Value::String(kind)) if kind == "number" => {
            const TEXTUAL: [&str; 4] = ["starts_with", "ends_with", "matches", "exists"];
            if let Some(operator) = operators.iter().find(|operator| TEXTUAL.contains(operator)) {
                return Err(at.member("as").error(format!("has no meaning with {operator:?}")));
            }
            true
        }
        Some(_) => return Err(at.member("as").error("expected \"number\"")),
    };
    let tests = operators.iter().map(|operator| test(object, operator, as_number, at));
    Ok(Comparison { as_number, tests: tests.collect::<Result<_>>()? })
}

fn test(object: &Object, operator: &str, as_number: bool, at: &At<'_>) -> Result<Test> {
    let value = &object[operator];
    let here = at.member(operator);
    let any = || any_operand(value, as_number, &here);
    let ordered = || ordered_operand(value, as_number, &here);
    let list = || {
        let items = each(value, "an array", &here, |item, at| any_operand(item, as_number, at));
        items.map(Operands::new)
    };
    let string = || string(value, &here).map(|text| nfc(text).into_owned());
    Ok(match operator {
        "eq" => Test::Eq(any()?),
        "ne" => Test::Ne(any()?),
        "in" => Test::In(list()?),
        "not_in" => Test::NotIn(list()?),
        "gt" => Test::Gt(ordered()?),
        "gte" => Test::Gte(ordered()?),
        "lt" => Test::Lt(ordered()?),
        "lte" => Test::Lte(ordered()?),
        "between" => between(value, as_number, &here)?,
        "contains" => Test::Contains(any()?),
        "starts_with" => Test::StartsWith(string()?),
        "ends_with" => Test::EndsWith(string()?),
        "matches" => Test::Matches(
            Pattern::new(&string()?)
                .map_err(|reason| here.error(format!("not a regular expression: {reason}")))?,
        ),
        _ => Test::Exists(bool(value, &here)?),
    })
}

fn between(value: &Value, as_number: bool, at: &At<'_>) -> Result<Test> {
    let mut ends =
        each(value, "an array of two values", at, |item, at| ordered_operand(item, as_number, at))?;
    let (Some(high), Some(low), None) = (ends.pop(), ends.pop(), ends.pop()) else {
        return Err(at.error("expected two values"));
    };
    match low.compare(&high) {
        None => Err(at.error("the two values are of different kinds")),
        Some(order) if order.is_gt() => Err(at.error("the first value is greater than the second")),
        Some(_) => Ok(Test::Between(low, high)),
    }
}

fn any_operand(value: &Value, as_number: bool, at: &At<'_>) -> Result<Operand> {
    if value.is_null() {
        return Err(at.error("null is no value, ask with \"exists\": false"));
    }
    let operand = operand(value, as_number);
    if as_number && !matches!(operand, Comparable::Number(_)) {
        return Err(at.expected("a number, because of \"as\"", value));
    }
    Ok(operand)
}

fn ordered_operand(value: &Value, as_number: bool, at: &At<'_>) -> Result<Operand> {
    match any_operand(value, as_number, at)? {
        Comparable::Structure(_) => Err(at.expected("a number, a string or a boolean", value)),
        operand => Ok(operand),
    }
}

/// The operators among the members, at least one; the rest must be among `others`.
pub(super) fn operators<'a>(
    object: &'a Object,
    others: &[&str],
    more: &[&str],
    at: &At<'_>,
) -> Result<Vec<&'a str>> {
    let operators: Vec<&str> = OPERATORS.iter().chain(more).copied().collect();
    some_of(object, &operators, others, at)
}

/// Those of the members that are operators, at least one, in the order of `operators`.
pub(super) fn some_of<'a>(
    object: &'a Object,
    operators: &[&str],
    others: &[&str],
    at: &At<'_>,
) -> Result<Vec<&'a str>> {
    let place = |name: &str| operators.iter().position(|operator| *operator == name);
    let mut found = Vec::new();
    for name in object.keys().map(String::as_str) {
        if let Some(place) = place(name) {
            found.push((place, name));
        } else if !others.contains(&name) {
            let others: Vec<&str> =
                others.iter().copied().filter(|name| !object.contains_key(*name)).collect();
            let and = if others.is_empty() { "" } else { "; other members: " };
            return Err(at.error(format!(
                "unknown operator {}, expected one of {}{and}{}",
                quoted(name),
                operators.join(", "),
                others.join(", "),
            )));
        }
    }
    if found.is_empty() {
        return Err(at.error(format!("missing operator, expected one of {}", operators.join(", "))));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, name)| name).collect())
}
