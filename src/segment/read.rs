//! Reading conditions from JSON, with the path of what is wrong.

use serde_json::Value;

use super::at::{At, Result, bool, each, non_empty, object, path, quoted, span, string, time, whole};
use super::comparison::{Comparison, Operand, Operands, Pattern, Test, operand};
use super::condition::{
    AGGREGATES, AggregateTest, Condition, CountTest, EventCondition, EventName, MAX_DEPTH, PropertyTest,
    TraitCondition, TraitTest, ValueTest, Window,
};
use crate::error::DefinitionError;
use crate::id::Namespace;
use crate::value::{Comparable, Object, nfc};

/// The members that say what a condition is.
const CONDITIONS: [&str; 7] = ["all", "any", "not", "trait", "event", "identifier", "known"];
/// Parts of the language that are not read yet.
const LATER: [&str; 9] =
    ["sequence", "segment", "consent", "account", "tag", "sample", "periods", "for", "anniversary_within"];
const OPERATORS: [&str; 14] = [
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
/// The operators that compare with now.
const AGES: [&str; 2] = ["within", "older_than"];
const COUNTS: [&str; 6] = ["eq", "gt", "gte", "lt", "lte", "between"];
/// The members of an event condition that are no operators and no aggregates.
const EVENT: [&str; 9] = ["event", "where", "count", "within", "ending", "from", "until", "first_time", "as"];

/// The value that `text` is.
pub(super) fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        // What serde_json refuses to descend into is JSON, but no condition is that deep.
        if message.starts_with("recursion limit") {
            too_deep(&At::ROOT)
        } else {
            DefinitionError::new("", format!("not JSON: {message}"))
        }
    })
}

pub(super) fn too_deep(at: &At<'_>) -> DefinitionError {
    at.error(format!("nested deeper than {MAX_DEPTH} conditions"))
}

/// Reads a condition that stands `depth` deep, the outermost at 1.
pub(super) fn condition(value: &Value, at: &At<'_>, depth: usize) -> Result<Condition> {
    if depth > MAX_DEPTH {
        return Err(too_deep(at));
    }
    let object = object(value, at)?;
    let mut kinds = object.keys().filter(|name| CONDITIONS.contains(&name.as_str()));
    let Some(kind) = kinds.next() else {
        return Err(match object.keys().next() {
            Some(name) => unknown(object, name, &CONDITIONS, at),
            None => at.error(format!("nothing is asked, expected one of {}", CONDITIONS.join(", "))),
        });
    };
    if let Some(other) = kinds.next() {
        return Err(at.error(format!("{kind:?} and {other:?} in one condition, put them into \"all\"")));
    }
    let inner = &object[kind];
    let here = at.member(kind);
    match kind.as_str() {
        "trait" => return trait_condition(object, at).map(Condition::Trait),
        "event" => return event(object, at, depth).map(|event| Condition::Event(Box::new(event))),
        _ => {}
    }
    if let Some(name) = object.keys().find(|name| *name != kind) {
        return Err(unknown(object, name, &[kind], at));
    }
    Ok(match kind.as_str() {
        "all" => Condition::All(conditions(inner, &here, depth)?),
        "any" => Condition::Any(conditions(inner, &here, depth)?),
        "not" => Condition::Not(Box::new(condition(inner, &here, depth + 1)?)),
        "identifier" => Condition::Identifier(Namespace::new(non_empty(inner, &here)?)),
        _ => Condition::Known(bool(inner, &here)?),
    })
}

fn conditions(value: &Value, at: &At<'_>, depth: usize) -> Result<Vec<Condition>> {
    each(value, "an array of conditions", at, |item, at| condition(item, at, depth + 1))
}

fn trait_condition(object: &Object, at: &At<'_>) -> Result<TraitCondition> {
    let path = path(&object["trait"], &at.member("trait"))?;
    let operator = operator(object, &["trait", "as"], &AGES, at)?;
    let test = match operator {
        "within" | "older_than" => {
            let here = at.member(operator);
            let span = span(&object[operator], &here)?;
            if object.contains_key("as") {
                return Err(at.member("as").error(format!("has no meaning with {operator:?}")));
            }
            if operator == "within" { TraitTest::Within(span) } else { TraitTest::OlderThan(span) }
        }
        _ => TraitTest::Compare(comparison(object, operator, at)?),
    };
    Ok(TraitCondition { path, test })
}

fn event(object: &Object, at: &At<'_>, depth: usize) -> Result<EventCondition> {
    let mut aggregates = AGGREGATES.iter().filter(|(name, _)| object.contains_key(*name));
    let aggregate = aggregates.next();
    if let (Some((one, _)), Some((other, _))) = (aggregate, aggregates.next()) {
        return Err(at.error(format!("{one:?} and {other:?} in one condition, put them into \"all\"")));
    }
    let members: Vec<&str> = EVENT.iter().copied().chain(AGGREGATES.iter().map(|(name, _)| *name)).collect();
    let aggregate = if let Some((name, aggregate)) = aggregate {
        let path = path(&object[*name], &at.member(name))?;
        let operator = operator(object, &members, &[], at)?;
        let comparison = comparison(object, operator, at)?;
        Some(AggregateTest { aggregate: *aggregate, path, comparison })
    } else {
        without_aggregate(object, &members, at)?;
        None
    };
    let filters = match object.get("where") {
        Some(filters) => properties(filters, &at.member("where"), depth)?,
        None => Vec::new(),
    };
    Ok(EventCondition {
        name: EventName::new(non_empty(&object["event"], &at.member("event"))?),
        filters,
        window: window(object, at)?,
        first_time: object
            .get("first_time")
            .map_or(Ok(false), |value| bool(value, &at.member("first_time")))?,
        count: object.get("count").map(|value| count(value, &at.member("count"))).transpose()?,
        aggregate,
    })
}

/// Refuses what has a meaning with an aggregate only, and what has none.
fn without_aggregate(object: &Object, members: &[&str], at: &At<'_>) -> Result<()> {
    for name in object.keys().map(String::as_str) {
        if OPERATORS.contains(&name) {
            let hint = "compares an aggregate (\"sum\", \"avg\", …); how often is asked with \"count\"";
            return Err(at.member(name).error(hint));
        }
        if !members.contains(&name) {
            return Err(unknown(object, name, members, at));
        }
    }
    match object.get("as") {
        Some(_) => Err(at.member("as").error("has no meaning without an aggregate")),
        None => Ok(()),
    }
}

fn properties(value: &Value, at: &At<'_>, depth: usize) -> Result<Vec<PropertyTest>> {
    each(value, "an array of {\"property\": …}", at, |item, at| property(item, at, depth))
}

fn property(value: &Value, at: &At<'_>, depth: usize) -> Result<PropertyTest> {
    if depth > MAX_DEPTH {
        return Err(too_deep(at));
    }
    let object = object(value, at)?;
    let Some(name) = object.get("property") else {
        return Err(match object.keys().find(|name| !OPERATORS.contains(&name.as_str())) {
            Some(name) => unknown(object, name, &["property"], at),
            None => at.error("missing \"property\""),
        });
    };
    let path = path(name, &at.member("property"))?;
    if let Some(age) = AGES.iter().find(|age| object.contains_key(**age)) {
        return Err(at.member(age).error("compares traits with now, not properties"));
    }
    let operator = operator(object, &["property", "as"], &["element"], at)?;
    let test = if operator == "element" {
        if object.contains_key("as") {
            return Err(at.member("as").error("has no meaning with \"element\""));
        }
        ValueTest::Element(properties(&object[operator], &at.member(operator), depth + 1)?)
    } else {
        ValueTest::Compare(comparison(object, operator, at)?)
    };
    Ok(PropertyTest { path, test })
}

fn window(object: &Object, at: &At<'_>) -> Result<Window> {
    let get = |name| object.get(name).map(|value| span(value, &at.member(name))).transpose();
    let instant = |name| object.get(name).map(|value| time(value, &at.member(name))).transpose();
    let (span, ending, from, until) = (get("within")?, get("ending")?, instant("from")?, instant("until")?);
    match (span, ending) {
        (Some(_), _) if from.is_some() || until.is_some() => {
            Err(at.member("within").error("a window is either \"within\" or \"from\" and \"until\""))
        }
        (Some(span), Some(ending)) if ending >= span => {
            Err(at.member("ending").error("must be shorter than \"within\""))
        }
        (None, Some(_)) => Err(at.member("ending").error("has no meaning without \"within\"")),
        (Some(span), ending) => Ok(Window::Within { span, ending }),
        (None, None) => match (from, until) {
            (None, None) => Ok(Window::Ever),
            (Some(from), Some(until)) if until <= from => {
                Err(at.member("until").error("must be later than \"from\""))
            }
            (from, until) => Ok(Window::Fixed { from, until }),
        },
    }
}

fn count(value: &Value, at: &At<'_>) -> Result<CountTest> {
    let object = object(value, at)?;
    let name = one_of(object, &COUNTS, &[], at)?;
    let here = at.member(name);
    let value = &object[name];
    Ok(match name {
        "eq" => CountTest::Eq(whole(value, &here)?),
        "gt" => CountTest::Gt(whole(value, &here)?),
        "gte" => CountTest::Gte(whole(value, &here)?),
        "lt" => CountTest::Lt(whole(value, &here)?),
        "lte" => CountTest::Lte(whole(value, &here)?),
        _ => match each(value, "an array of two numbers", &here, whole)?[..] {
            [low, high] if low <= high => CountTest::Between(low, high),
            [_, _] => return Err(here.error("the first number is greater than the second")),
            _ => return Err(here.error("expected two numbers")),
        },
    })
}

fn comparison(object: &Object, operator: &str, at: &At<'_>) -> Result<Comparison> {
    let value = &object[operator];
    let here = at.member(operator);
    let as_number = match object.get("as") {
        None => false,
        Some(Value::String(kind)) if kind == "number" => {
            if ["starts_with", "ends_with", "matches", "exists"].contains(&operator) {
                return Err(at.member("as").error(format!("has no meaning with {operator:?}")));
            }
            true
        }
        Some(_) => return Err(at.member("as").error("expected \"number\"")),
    };
    let any = || any_operand(value, as_number, &here);
    let ordered = || ordered_operand(value, as_number, &here);
    let list = || {
        let items = each(value, "an array", &here, |item, at| any_operand(item, as_number, at));
        items.map(Operands::new)
    };
    let string = || string(value, &here).map(|text| nfc(text).into_owned());
    let test = match operator {
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
    };
    Ok(Comparison { as_number, test })
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

/// The one operator among the members; the rest must be among `others`.
fn operator<'a>(object: &'a Object, others: &[&str], more: &[&str], at: &At<'_>) -> Result<&'a str> {
    let operators: Vec<&str> = OPERATORS.iter().chain(more).copied().collect();
    one_of(object, &operators, others, at)
}

fn one_of<'a>(object: &'a Object, operators: &[&str], others: &[&str], at: &At<'_>) -> Result<&'a str> {
    let mut found = None;
    for name in object.keys().map(String::as_str) {
        if operators.contains(&name) {
            if let Some(other) = found.replace(name) {
                let reason = format!("{other:?} and {name:?} in one comparison, expected one of them");
                return Err(at.error(reason + " (a range is \"between\")"));
            }
        } else if !others.contains(&name) {
            return Err(later(object, at).unwrap_or_else(|| {
                let others: Vec<&str> =
                    others.iter().copied().filter(|name| !object.contains_key(*name)).collect();
                let and = if others.is_empty() { "" } else { "; other members: " };
                at.error(format!(
                    "unknown operator {}, expected one of {}{and}{}",
                    quoted(name),
                    operators.join(", "),
                    others.join(", "),
                ))
            }));
        }
    }
    found.ok_or_else(|| at.error(format!("missing operator, expected one of {}", operators.join(", "))))
}

fn unknown(object: &Object, name: &str, expected: &[&str], at: &At<'_>) -> DefinitionError {
    let reason = || format!("unknown member {}, expected one of {}", quoted(name), expected.join(", "));
    later(object, at).unwrap_or_else(|| at.error(reason()))
}

/// The error for a member that will be read one day.
fn later(object: &Object, at: &At<'_>) -> Option<DefinitionError> {
    let name = LATER.iter().find(|name| object.contains_key(**name))?;
    Some(at.member(name).error("not supported yet"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(value: &Value) -> String {
        Condition::from_value(value).unwrap_err().to_string()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn errors_name_the_path_and_what_was_expected() {
        for (definition, expected) in [
            (
                json!({"all": [{"known": true}, {"event": "View", "count": {"gtee": 3}}]}),
                "all[1].count: unknown operator \"gtee\", expected one of eq, gt, gte, lt, lte, between",
            ),
            (
                json!({"al": []}),
                "unknown member \"al\", expected one of all, any, not, trait, event, identifier, known",
            ),
            (json!({}), "nothing is asked, expected one of all, any, not, trait, event, identifier, known"),
            (json!([]), "expected an object, found an array"),
            (json!({"all": {}}), "all: expected an array of conditions, found an object"),
            (json!({"any": [{"not": 5}]}), "any[0].not: expected an object, found a number"),
            (json!({"all": [], "any": []}), "\"all\" and \"any\" in one condition, put them into \"all\""),
            (json!({"all": [], "x": 1}), "unknown member \"x\", expected one of all"),
            (json!({"identifier": ""}), "identifier: must not be empty"),
            (json!({"known": "yes"}), "known: expected true or false, found a string"),
            (json!({"trait": "a..b", "eq": 1}), "trait: a name between two dots must not be empty"),
            (
                json!({"trait": "x", "gte": 1, "lte": 5}),
                "\"gte\" and \"lte\" in one comparison, expected one of them (a range is \"between\")",
            ),
            (json!({"trait": "x", "eq": null}), "eq: null is no value, ask with \"exists\": false"),
            (json!({"trait": "x", "in": "a"}), "in: expected an array, found a string"),
            (json!({"trait": "x", "in": [1, null]}), "in[1]: null is no value, ask with \"exists\": false"),
            (
                json!({"trait": "x", "gt": [1]}),
                "gt: expected a number, a string or a boolean, found an array",
            ),
            (json!({"trait": "x", "between": [1]}), "between: expected two values"),
            (json!({"trait": "x", "between": [1, 2, 3]}), "between: expected two values"),
            (json!({"trait": "x", "between": [2, 1]}), "between: the first value is greater than the second"),
            (json!({"trait": "x", "between": [1, "2"]}), "between: the two values are of different kinds"),
            (json!({"trait": "x", "starts_with": 1}), "starts_with: expected a string, found a number"),
            (json!({"trait": "x", "matches": "("}), "matches: not a regular expression: unclosed group"),
            (json!({"trait": "x", "exists": 1}), "exists: expected true or false, found a number"),
            (json!({"trait": "x", "eq": 1, "as": "text"}), "as: expected \"number\""),
            (json!({"trait": "x", "matches": "1", "as": "number"}), "as: has no meaning with \"matches\""),
            (
                json!({"trait": "x", "eq": "a", "as": "number"}),
                "eq: expected a number, because of \"as\", found a string",
            ),
            (json!({"trait": "x", "within": "0d"}), "within: must be longer than zero"),
            (json!({"trait": "x", "older_than": "-3d"}), "older_than: must be longer than zero"),
            (json!({"event": ""}), "event: must not be empty"),
            (json!({"event": "A", "within": 30}), "within: expected a string, found a number"),
            (json!({"event": "A", "within": "0s"}), "within: must be longer than zero"),
            (
                json!({"event": "A", "within": "7d", "ending": "7d"}),
                "ending: must be shorter than \"within\"",
            ),
            (json!({"event": "A", "ending": "7d"}), "ending: has no meaning without \"within\""),
            (json!({"event": "A", "from": "yesterday"}), "from: not a time: \"yesterday\""),
            (
                json!({"event": "A", "from": "2024-01-02T00:00:00Z", "until": "2024-01-01T00:00:00Z"}),
                "until: must be later than \"from\"",
            ),
            (
                json!({"event": "A", "from": "2024-01-02T00:00:00Z", "within": "1d"}),
                "within: a window is either \"within\" or \"from\" and \"until\"",
            ),
            (
                json!({"event": "A", "gte": 3}),
                "gte: compares an aggregate (\"sum\", \"avg\", …); how often is asked with \"count\"",
            ),
            (
                json!({"event": "A", "sum": "x", "avg": "x", "gte": 3}),
                "\"sum\" and \"avg\" in one condition, put them into \"all\"",
            ),
            (json!({"event": "A", "as": "number"}), "as: has no meaning without an aggregate"),
            (json!({"event": "A", "count": 3}), "count: expected an object, found a number"),
            (
                json!({"event": "A", "count": {"gte": -1}}),
                "count.gte: expected a whole number from 0, found -1",
            ),
            (
                json!({"event": "A", "count": {"gte": 1.5}}),
                "count.gte: expected a whole number from 0, found 1.5",
            ),
            (
                json!({"event": "A", "count": {"between": [2, 1]}}),
                "count.between: the first number is greater than the second",
            ),
            (json!({"event": "A", "first_time": 1}), "first_time: expected true or false, found a number"),
            (
                json!({"event": "A", "where": {}}),
                "where: expected an array of {\"property\": …}, found an object",
            ),
            (json!({"event": "A", "where": [{"eq": 1}]}), "where[0]: missing \"property\""),
            (
                json!({"event": "A", "where": [{"property": "x", "within": "1d"}]}),
                "where[0].within: compares traits with now, not properties",
            ),
            (
                json!({"event": "A", "where": [{"property": "x", "element": [{"property": "y", "gt": {}}]}]}),
                "where[0].element[0].gt: expected a number, a string or a boolean, found an object",
            ),
        ] {
            assert_eq!(error(&definition), expected, "{definition}");
        }
        for (definition, beginning) in [
            (json!({"trait": "x"}), "missing operator, expected one of eq, ne, in"),
            (
                json!({"not": {"trait": "x", "like": 1}}),
                "not: unknown operator \"like\", expected one of eq, ne",
            ),
            (json!({"event": "A", "sum": "x"}), "missing operator, expected one of eq, ne"),
            (
                json!({"event": "A", "wher": []}),
                "unknown member \"wher\", expected one of event, where, count",
            ),
            (json!({"event": "A", "within": "1y"}), "within: not a duration: \"1y\", expected"),
        ] {
            let message = error(&definition);
            assert!(message.starts_with(beginning), "{message}");
        }
    }

    #[test]
    fn what_comes_later_is_refused_by_name() {
        for (definition, expected) in [
            (json!({"sequence": [], "within": "7d"}), "sequence: not supported yet"),
            (json!({"all": [{"segment": "vip"}]}), "all[0].segment: not supported yet"),
            (json!({"consent": "marketing"}), "consent: not supported yet"),
            (json!({"account": {}}), "account: not supported yet"),
            (json!({"tag": "polar"}), "tag: not supported yet"),
            (json!({"sample": {}}), "sample: not supported yet"),
            (
                json!({"trait": "birthday", "anniversary_within": "7d"}),
                "anniversary_within: not supported yet",
            ),
            (json!({"trait": "x", "eq": 1, "for": "7d"}), "for: not supported yet"),
            (json!({"event": "A", "periods": {}}), "periods: not supported yet"),
        ] {
            assert_eq!(error(&definition), expected);
        }
    }

    #[test]
    fn text_that_is_no_json_is_an_error_and_depth_is_no_overflow() {
        let message = Condition::from_json("{\"all\": [").unwrap_err().to_string();
        assert!(message.starts_with("not JSON: EOF"), "{message}");

        let nested =
            |depth: usize| "{\"all\":[".repeat(depth - 1) + "{\"known\":true}" + &"]}".repeat(depth - 1);
        let deepest = Condition::from_json(&nested(MAX_DEPTH)).unwrap();
        assert_eq!(Condition::from_json(&deepest.to_value().to_string()).unwrap(), deepest);
        for depth in [MAX_DEPTH + 1, 100_000] {
            let error = Condition::from_json(&nested(depth)).unwrap_err();
            assert_eq!(error.reason(), "nested deeper than 60 conditions");
        }
        let element = (0..100).fold(json!([]), |inner, _| json!([{"property": "x", "element": inner}]));
        assert!(
            error(&json!({"event": "A", "where": element})).ends_with("nested deeper than 60 conditions")
        );
    }
}
