//! Reading what is asked of events from JSON.

use serde_json::Value;

use super::at::{At, Result, bool, each, non_empty, object, path, span, time, whole};
use super::condition::{
    AGGREGATES, AggregateTest, CountTest, EventCondition, EventName, MAX_DEPTH, Periods, PropertyTest,
    SequenceCondition, Step, ValueTest, Window,
};
use super::read::{AGES, too_deep, unknown};
use super::read_compare::{OPERATORS, comparison, operators, some_of};
use crate::value::Object;

const COUNTS: [&str; 6] = ["eq", "gt", "gte", "lt", "lte", "between"];
/// The members of an event condition that are no operators and no aggregates.
const EVENT: [&str; 10] =
    ["event", "where", "count", "within", "ending", "from", "until", "first_time", "periods", "as"];
const SEQUENCE: [&str; 4] = ["sequence", "within", "same", "strictly_increasing"];
/// The most periods that may be looked at.
const MAX_PERIODS: u64 = 10_000;

pub(super) fn event(object: &Object, at: &At<'_>, depth: usize) -> Result<EventCondition> {
    let mut aggregates = AGGREGATES.iter().filter(|(name, _)| object.contains_key(*name));
    let aggregate = aggregates.next();
    if let (Some((one, _)), Some((other, _))) = (aggregate, aggregates.next()) {
        return Err(at.error(format!("{one:?} and {other:?} in one condition, put them into \"all\"")));
    }
    let members: Vec<&str> = EVENT.iter().copied().chain(AGGREGATES.iter().map(|(name, _)| *name)).collect();
    let aggregate = if let Some((name, aggregate)) = aggregate {
        let path = path(&object[*name], &at.member(name))?;
        let operators = operators(object, &members, &[], at)?;
        let comparison = comparison(object, &operators, at)?;
        Some(AggregateTest { aggregate: *aggregate, path, comparison })
    } else {
        without_aggregate(object, &members, at)?;
        None
    };
    let filters = match object.get("where") {
        Some(filters) => properties(filters, &at.member("where"), depth)?,
        None => Vec::new(),
    };
    let count = object.get("count").map(|value| counts(value, &[], &at.member("count"))).transpose()?;
    let first_time =
        object.get("first_time").map_or(Ok(false), |value| bool(value, &at.member("first_time")))?;
    let periods = object.get("periods").map(|value| periods(value, &at.member("periods"))).transpose()?;
    let read = EventCondition {
        name: EventName::new(non_empty(&object["event"], &at.member("event"))?),
        filters,
        window: window(object, at)?,
        first_time,
        count: count.unwrap_or_default(),
        aggregate,
        periods,
    };
    let alone = EventCondition { periods: None, ..read.clone() };
    if read.periods.is_some() && !alone.is_plain() {
        let other = members
            .iter()
            .find(|name| !["event", "where", "periods"].contains(*name) && object.contains_key(**name));
        let reason = format!("has no meaning with {:?}", other.copied().unwrap_or_default());
        return Err(at.member("periods").error(reason));
    }
    Ok(read)
}

/// Refuses what has a meaning with an aggregate only, and what has none.
fn without_aggregate(object: &Object, members: &[&str], at: &At<'_>) -> Result<()> {
    for name in object.keys().map(String::as_str) {
        if OPERATORS.contains(&name) {
            let hint = "compares an aggregate (\"sum\", \"avg\", …); how often is asked with \"count\"";
            return Err(at.member(name).error(hint));
        }
        if !members.contains(&name) {
            return Err(unknown(name, members, at));
        }
    }
    match object.get("as") {
        Some(_) => Err(at.member("as").error("has no meaning without an aggregate")),
        None => Ok(()),
    }
}

pub(super) fn sequence(object: &Object, at: &At<'_>, depth: usize) -> Result<SequenceCondition> {
    if let Some(name) = object.keys().find(|name| !SEQUENCE.contains(&name.as_str())) {
        return Err(unknown(name, &SEQUENCE, at));
    }
    let here = at.member("sequence");
    let steps = each(&object["sequence"], "an array of steps", &here, |item, at| step(item, at, depth))?;
    let within = object.get("within").map(|value| span(value, &at.member("within"))).transpose()?;
    let same = object.get("same").map(|value| path(value, &at.member("same"))).transpose()?;
    let strictly_increasing = object
        .get("strictly_increasing")
        .map_or(Ok(true), |value| bool(value, &at.member("strictly_increasing")))?;
    match (steps.first(), steps.last()) {
        (None, _) => return Err(here.error("must not be empty")),
        (Some(first), _) if first.forbidden => {
            return Err(here.index(0).error("a sequence begins with an event that came"));
        }
        (_, Some(last)) if last.forbidden && within.is_none() => {
            let reason = "is forbidden until the window's end, so the sequence needs \"within\"";
            return Err(here.index(steps.len() - 1).error(reason));
        }
        _ => {}
    }
    Ok(SequenceCondition { steps, within, same, strictly_increasing })
}

fn step(value: &Value, at: &At<'_>, depth: usize) -> Result<Step> {
    const MEMBERS: [&str; 2] = ["event", "where"];
    let step = object(value, at)?;
    if let Some(inner) = step.get("not") {
        if let Some(name) = step.keys().find(|name| *name != "not") {
            return Err(unknown(name, &["not"], at));
        }
        let here = at.member("not");
        if object(inner, &here)?.contains_key("not") {
            return Err(here.error("a step is an event, or \"not\" and an event"));
        }
        return Ok(Step { forbidden: true, ..self::step(inner, &here, depth + 1)? });
    }
    if let Some(name) = step.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(unknown(name, &["event", "where", "not"], at));
    }
    if !step.contains_key("event") {
        return Err(at.error("missing \"event\""));
    }
    Ok(Step { forbidden: false, event: event(step, at, depth + 1)? })
}

fn periods(value: &Value, at: &At<'_>) -> Result<Periods> {
    let object = object(value, at)?;
    let tests = counts(value, &["every", "of"], at)?;
    let get = |name| object.get(name).ok_or_else(|| at.error(format!("missing {name:?}")));
    let every = span(get("every")?, &at.member("every"))?;
    let of = whole(get("of")?, &at.member("of"))?;
    if !(1..=MAX_PERIODS).contains(&of) {
        return Err(at.member("of").error(format!("expected 1 to {MAX_PERIODS} periods, found {of}")));
    }
    let over = tests.iter().any(|test| match *test {
        CountTest::Eq(n) | CountTest::Gte(n) => n > of,
        CountTest::Gt(n) => n >= of,
        CountTest::Between(low, _) => low > of,
        CountTest::Lt(_) | CountTest::Lte(_) => false,
    });
    if over {
        return Err(at.error(format!("asks for more periods than the {of} that are looked at")));
    }
    Ok(Periods { every, of, tests })
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
            Some(name) => unknown(name, &["property"], at),
            None => at.error("missing \"property\""),
        });
    };
    let path = path(name, &at.member("property"))?;
    if let Some(age) = AGES.iter().find(|age| object.contains_key(**age)) {
        return Err(at.member(age).error("compares traits with now, not properties"));
    }
    let found = operators(object, &["property", "as"], &["element"], at)?;
    let test = if found.contains(&"element") {
        if let Some(name) =
            found.iter().chain(&["as"]).find(|name| **name != "element" && object.contains_key(**name))
        {
            return Err(at.member(name).error("has no meaning with \"element\""));
        }
        ValueTest::Element(properties(&object["element"], &at.member("element"), depth + 1)?)
    } else {
        ValueTest::Compare(comparison(object, &found, at)?)
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

/// The tests of a number, with other members beside them.
fn counts(value: &Value, others: &[&str], at: &At<'_>) -> Result<Vec<CountTest>> {
    let object = object(value, at)?;
    let names = some_of(object, &COUNTS, others, at)?;
    names.into_iter().map(|name| count(&object[name], name, &at.member(name))).collect()
}

fn count(value: &Value, operator: &str, at: &At<'_>) -> Result<CountTest> {
    Ok(match operator {
        "eq" => CountTest::Eq(whole(value, at)?),
        "gt" => CountTest::Gt(whole(value, at)?),
        "gte" => CountTest::Gte(whole(value, at)?),
        "lt" => CountTest::Lt(whole(value, at)?),
        "lte" => CountTest::Lte(whole(value, at)?),
        _ => match each(value, "an array of two numbers", at, whole)?[..] {
            [low, high] if low <= high => CountTest::Between(low, high),
            [_, _] => return Err(at.error("the first number is greater than the second")),
            _ => return Err(at.error("expected two numbers")),
        },
    })
}
