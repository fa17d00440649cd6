//! Reading conditions from JSON, with the path of what is wrong.

use serde_json::Value;

use super::at::{At, Result, bool, each, non_empty, object, path, quoted, span, string};
use super::condition::{Age, Condition, MAX_DEPTH, Sample, TraitCondition};
use super::read_compare::{comparison, operators};
use super::read_event::{event, sequence};
use crate::error::DefinitionError;
use crate::id::Namespace;
use crate::value::{Object, nfc};

/// The members that say what a condition is.
const CONDITIONS: [&str; 13] = [
    "all",
    "any",
    "not",
    "trait",
    "event",
    "sequence",
    "segment",
    "identifier",
    "known",
    "account",
    "tag",
    "consent",
    "sample",
];
/// What is asked of a time that is the value of a trait.
pub(super) const AGES: [&str; 3] = ["within", "older_than", "anniversary_within"];

const DAY: i64 = 86_400_000_000;

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
            Some(name) => unknown(name, &CONDITIONS, at),
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
        "sequence" => {
            return sequence(object, at, depth).map(|sequence| Condition::Sequence(Box::new(sequence)));
        }
        _ => {}
    }
    if let Some(name) = object.keys().find(|name| *name != kind) {
        return Err(unknown(name, &[kind], at));
    }
    let name = || non_empty(inner, &here).map(|name| nfc(name).into_owned());
    Ok(match kind.as_str() {
        "all" => Condition::All(conditions(inner, &here, depth)?),
        "any" => Condition::Any(conditions(inner, &here, depth)?),
        "not" => Condition::Not(Box::new(condition(inner, &here, depth + 1)?)),
        "segment" => Condition::Segment(name()?),
        "tag" => Condition::Tag(name()?),
        "consent" => Condition::Consent(name()?),
        "identifier" => Condition::Identifier(Namespace::new(non_empty(inner, &here)?)),
        "account" => Condition::Account(Box::new(account(inner, &here, depth)?)),
        "sample" => Condition::Sample(sample(inner, &here)?),
        _ => Condition::Known(bool(inner, &here)?),
    })
}

fn conditions(value: &Value, at: &At<'_>, depth: usize) -> Result<Vec<Condition>> {
    each(value, "an array of conditions", at, |item, at| condition(item, at, depth + 1))
}

/// A condition on the traits of an account.
fn account(value: &Value, at: &At<'_>, depth: usize) -> Result<Condition> {
    fn of_traits(value: &Value, at: &At<'_>) -> Result<()> {
        let Some(object) = value.as_object() else { return Ok(()) };
        for (name, inner) in object {
            let here = at.member(name);
            match name.as_str() {
                "all" | "any" => _ = each(inner, "an array", &here, of_traits)?,
                "not" => of_traits(inner, &here)?,
                name if CONDITIONS.contains(&name) && name != "trait" => {
                    return Err(
                        here.error("an account has traits only, expected one of all, any, not, trait")
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }
    let read = condition(value, at, depth + 1)?;
    of_traits(value, at)?;
    Ok(read)
}

fn sample(value: &Value, at: &At<'_>) -> Result<Sample> {
    const MEMBERS: [&str; 3] = ["salt", "from", "to"];
    let object = object(value, at)?;
    if let Some(name) = object.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(unknown(name, &MEMBERS, at));
    }
    let get = |name| object.get(name).ok_or_else(|| at.error(format!("missing {name:?}")));
    let percent = |name| {
        let (here, value) = (at.member(name), get(name)?);
        let number = value.as_f64().ok_or_else(|| here.expected("a number", value))?;
        let inside = (0.0..=100.0).contains(&number);
        if inside { Ok(number) } else { Err(here.error(format!("expected 0 to 100 percent, found {value}"))) }
    };
    let salt = string(get("salt")?, &at.member("salt"))?.to_owned();
    let (from, to) = (percent("from")?, percent("to")?);
    if from >= to {
        return Err(at.member("to").error("must be greater than \"from\""));
    }
    Ok(Sample { salt, from, to })
}

fn trait_condition(object: &Object, at: &At<'_>) -> Result<TraitCondition> {
    let path = path(&object["trait"], &at.member("trait"))?;
    let found = operators(object, &["trait", "as", "for"], &AGES, at)?;
    let (mut ages, mut tests) = (Vec::new(), Vec::new());
    for name in found {
        let here = at.member(name);
        match name {
            "within" => ages.push(Age::Within(span(&object[name], &here)?)),
            "older_than" => ages.push(Age::OlderThan(span(&object[name], &here)?)),
            "anniversary_within" => {
                let micros = span(&object[name], &here)?.as_micros();
                let days = u32::try_from(micros / DAY).ok().filter(|_| micros % DAY == 0);
                ages.push(Age::Anniversary(
                    days.ok_or_else(|| here.error("expected a number of whole days"))?,
                ));
            }
            _ => tests.push(name),
        }
    }
    let held_for = object.get("for").map(|value| span(value, &at.member("for"))).transpose()?;
    if let (Some(_), Some(age)) = (held_for, AGES.iter().find(|age| object.contains_key(**age))) {
        return Err(at.member("for").error(format!("has no meaning with {age:?}")));
    }
    if let (true, Some(age)) = (tests.is_empty() && object.contains_key("as"), AGES.first()) {
        let age = AGES.iter().find(|age| object.contains_key(**age)).unwrap_or(age);
        return Err(at.member("as").error(format!("has no meaning with {age:?}")));
    }
    Ok(TraitCondition { path, comparison: comparison(object, &tests, at)?, ages, held_for })
}

pub(super) fn unknown(name: &str, expected: &[&str], at: &At<'_>) -> DefinitionError {
    at.error(format!("unknown member {}, expected one of {}", quoted(name), expected.join(", ")))
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
            (json!([]), "expected an object, found an array"),
            (json!({"all": {}}), "all: expected an array of conditions, found an object"),
            (json!({"any": [{"not": 5}]}), "any[0].not: expected an object, found a number"),
            (json!({"all": [], "any": []}), "\"all\" and \"any\" in one condition, put them into \"all\""),
            (json!({"all": [], "x": 1}), "unknown member \"x\", expected one of all"),
            (json!({"identifier": ""}), "identifier: must not be empty"),
            (json!({"known": "yes"}), "known: expected true or false, found a string"),
            (json!({"trait": "a..b", "eq": 1}), "trait: a name between two dots must not be empty"),
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
    fn what_makes_no_sense_in_the_later_parts_of_the_language_names_its_path() {
        for (definition, expected) in [
            (json!({"consent": ""}), "consent: must not be empty"),
            (json!({"consent": ["marketing"]}), "consent: expected a string, found an array"),
            (json!({"all": [{"segment": ""}]}), "all[0].segment: must not be empty"),
            (
                json!({"segment": "a", "tag": "b"}),
                "\"segment\" and \"tag\" in one condition, put them into \"all\"",
            ),
            (json!({"tag": 1}), "tag: expected a string, found a number"),
            (json!({"sequence": []}), "sequence: must not be empty"),
            (json!({"sequence": {}}), "sequence: expected an array of steps, found an object"),
            (
                json!({"sequence": [{"not": {"event": "A"}}, {"event": "B"}]}),
                "sequence[0]: a sequence begins with an event that came",
            ),
            (
                json!({"sequence": [{"event": "A"}, {"not": {"event": "B"}}]}),
                "sequence[1]: is forbidden until the window's end, so the sequence needs \"within\"",
            ),
            (
                json!({"sequence": [{"event": "A", "count": {"gte": 2}}]}),
                "sequence[0]: unknown member \"count\", expected one of event, where, not",
            ),
            (json!({"sequence": [{"where": []}]}), "sequence[0]: missing \"event\""),
            (
                json!({"sequence": [{"event": "A"}, {"not": {"not": {"event": "B"}}}]}),
                "sequence[1].not: a step is an event, or \"not\" and an event",
            ),
            (
                json!({"sequence": [{"event": "A", "where": [{"property": "x", "eqq": 1}]}]}),
                "sequence[0].where[0]: unknown operator \"eqq\", expected one of eq, ne, in, not_in, gt, gte, lt, lte, \
                 between, contains, starts_with, ends_with, matches, exists, element; other members: as",
            ),
            (json!({"sequence": [{"event": "A"}], "within": "0d"}), "within: must be longer than zero"),
            (json!({"sequence": [{"event": "A"}], "within": "-7d"}), "within: must be longer than zero"),
            (json!({"sequence": [{"event": "A"}], "same": 1}), "same: expected a string, found a number"),
            (
                json!({"sequence": [{"event": "A"}], "from": 1}),
                "unknown member \"from\", expected one of sequence, within, same, strictly_increasing",
            ),
            (
                json!({"account": {"event": "A"}}),
                "account.event: an account has traits only, expected one of all, any, not, trait",
            ),
            (
                json!({"account": {"not": {"any": [{"tag": "x"}]}}}),
                "account.not.any[0].tag: an account has traits only, expected one of all, any, not, trait",
            ),
            (json!({"account": {"trait": "x", "eqq": 1}}).clone(), ACCOUNT),
            (json!({"sample": {"salt": "a", "from": 0}}), "sample: missing \"to\""),
            (
                json!({"sample": {"salt": 1, "from": 0, "to": 1}}),
                "sample.salt: expected a string, found a number",
            ),
            (
                json!({"sample": {"salt": "a", "from": -1, "to": 1}}),
                "sample.from: expected 0 to 100 percent, found -1",
            ),
            (
                json!({"sample": {"salt": "a", "from": 5, "to": 5}}),
                "sample.to: must be greater than \"from\"",
            ),
            (
                json!({"sample": {"salt": "a", "of": 5}}),
                "sample: unknown member \"of\", expected one of salt, from, to",
            ),
            (
                json!({"trait": "birthday", "anniversary_within": "12h"}),
                "anniversary_within: expected a number of whole days",
            ),
            (json!({"trait": "x", "eq": 1, "for": "0d"}), "for: must be longer than zero"),
            (json!({"trait": "x", "within": "1d", "for": "7d"}), "for: has no meaning with \"within\""),
            (json!({"trait": "x", "within": "1d", "as": "number"}), "as: has no meaning with \"within\""),
            (json!({"event": "A", "periods": {"of": 7, "gte": 5}}), "periods: missing \"every\""),
            (json!({"event": "A", "periods": {"every": "1d", "gte": 5}}), "periods: missing \"of\""),
            (
                json!({"event": "A", "periods": {"every": "1d", "of": 7}}),
                "periods: missing operator, expected one of eq, gt, gte, lt, lte, between",
            ),
            (
                json!({"event": "A", "periods": {"every": "1d", "of": 7, "gte": 8}}),
                "periods: asks for more periods than the 7 that are looked at",
            ),
            (
                json!({"event": "A", "periods": {"every": "1d", "of": 0, "gte": 0}}),
                "periods.of: expected 1 to 10000 periods, found 0",
            ),
            (
                json!({"event": "A", "within": "7d", "periods": {"every": "1d", "of": 7, "gte": 1}}),
                "periods: has no meaning with \"within\"",
            ),
            (
                json!({"event": "A", "where": [{"property": "x", "element": [], "eq": 1}]}),
                "where[0].eq: has no meaning with \"element\"",
            ),
        ] {
            assert_eq!(error(&definition), expected, "{definition}");
        }
    }

    const ACCOUNT: &str = "account: unknown operator \"eqq\", expected one of eq, ne, in, not_in, gt, gte, lt, lte, between, \
        contains, starts_with, ends_with, matches, exists, within, older_than, anniversary_within; other members: as, for";

    #[test]
    fn every_operator_and_member_misspelt_is_an_error() {
        use crate::segment::read_compare::OPERATORS;
        for operator in OPERATORS {
            let misspelt = format!("{operator}x");
            let message = error(&json!({"any": [{"trait": "a", misspelt.clone(): 1}]}));
            assert!(
                message.starts_with(&format!("any[0]: unknown operator {misspelt:?}, expected")),
                "{message}"
            );
        }
        for name in CONDITIONS {
            let message = error(&json!({format!("{name}s"): []}));
            assert!(
                message.starts_with(&format!("unknown member \"{name}s\", expected one of all")),
                "{message}"
            );
        }
        for name in ["counts", "firsttime", "With", "form", "untill", "endings", "period"] {
            let message = error(&json!({"event": "A", name: 1}));
            assert!(
                message.starts_with(&format!("unknown member {name:?}, expected one of event")),
                "{message}"
            );
        }
    }

    #[test]
    fn text_that_is_no_json_is_an_error_and_depth_is_no_overflow() {
        let message = Condition::from_json("{\"all\": [").unwrap_err().to_string();
        assert!(message.starts_with("not JSON: EOF"), "{message}");

        let nested =
            |depth: usize| "{\"all\":[".repeat(depth - 1) + "{\"known\":true}" + &"]}".repeat(depth - 1);
        for depth in [100, MAX_DEPTH] {
            let deep = Condition::from_json(&nested(depth)).unwrap();
            assert_eq!(Condition::from_json(&deep.to_value().to_string()).unwrap(), deep);
        }
        for depth in [MAX_DEPTH + 1, 100_000] {
            let error = Condition::from_json(&nested(depth)).unwrap_err();
            assert_eq!(error.reason(), "nested deeper than 128 conditions");
        }
        let element = (0..200).fold(json!([]), |inner, _| json!([{"property": "x", "element": inner}]));
        assert!(
            error(&json!({"event": "A", "where": element})).ends_with("nested deeper than 128 conditions")
        );
    }
}
