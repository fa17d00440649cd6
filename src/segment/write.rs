//! Writing conditions as JSON.

use serde_json::{Value, json};

use super::comparison::{Comparison, Test};
use super::condition::{
    AGGREGATES, Age, AggregateTest, Condition, CountTest, EventCondition, PropertyTest, Sample,
    SequenceCondition, TraitCondition, ValueTest, Window,
};
use crate::value::Object;

/// The JSON that `condition` is read from.
pub(super) fn condition(condition: &Condition) -> Value {
    match condition {
        Condition::All(parts) => json!({"all": parts.iter().map(self::condition).collect::<Vec<_>>()}),
        Condition::Any(parts) => json!({"any": parts.iter().map(self::condition).collect::<Vec<_>>()}),
        Condition::Not(part) => json!({"not": self::condition(part)}),
        Condition::Trait(condition) => trait_condition(condition),
        Condition::Event(condition) => event(condition),
        Condition::Sequence(condition) => sequence(condition),
        Condition::Segment(name) => json!({"segment": name}),
        Condition::Account(condition) => json!({"account": self::condition(condition)}),
        Condition::Tag(name) => json!({"tag": name}),
        Condition::Consent(purpose) => json!({"consent": purpose}),
        Condition::Sample(Sample { salt, from, to }) => {
            json!({"sample": {"salt": salt, "from": percent(*from), "to": percent(*to)}})
        }
        Condition::Identifier(namespace) => json!({"identifier": namespace}),
        Condition::Known(known) => json!({"known": known}),
        Condition::Misbuilt(reason) => json!({"misbuilt": reason}),
    }
}

fn trait_condition(condition: &TraitCondition) -> Value {
    let mut object = Object::new();
    object.insert("trait".into(), condition.path.to_string().into());
    comparison(&condition.comparison, &mut object);
    let mut put = |name: &str, value: Value| drop(object.insert(name.into(), value));
    for age in &condition.ages {
        match age {
            Age::Within(span) => put("within", span.to_string().into()),
            Age::OlderThan(span) => put("older_than", span.to_string().into()),
            Age::Anniversary(days) => put("anniversary_within", format!("{days}d").into()),
        }
    }
    if let Some(span) = condition.held_for {
        put("for", span.to_string().into());
    }
    object.into()
}

/// A whole number without a point, as one writes it.
fn percent(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
    let whole = (number.fract() == 0.0 && (0.0..1e9).contains(&number)).then_some(number as u32);
    whole.map_or_else(|| number.into(), Value::from)
}

fn sequence(condition: &SequenceCondition) -> Value {
    let steps = condition.steps.iter().map(|step| {
        let event = event(&step.event);
        if step.forbidden { json!({"not": event}) } else { event }
    });
    let mut object = Object::new();
    object.insert("sequence".into(), steps.collect());
    if let Some(span) = condition.within {
        object.insert("within".into(), span.to_string().into());
    }
    if let Some(path) = &condition.same {
        object.insert("same".into(), path.to_string().into());
    }
    if !condition.strictly_increasing {
        object.insert("strictly_increasing".into(), false.into());
    }
    object.into()
}

pub(super) fn event(condition: &EventCondition) -> Value {
    let mut object = Object::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.into(), value));
    put("event", condition.name.to_string().into());
    if !condition.filters.is_empty() {
        put("where", properties(&condition.filters));
    }
    match condition.window {
        Window::Ever => {}
        Window::Within { span, ending } => {
            put("within", span.to_string().into());
            if let Some(ending) = ending {
                put("ending", ending.to_string().into());
            }
        }
        Window::Fixed { from, until } => {
            if let Some(from) = from {
                put("from", from.into());
            }
            if let Some(until) = until {
                put("until", until.into());
            }
        }
    }
    if condition.first_time {
        put("first_time", true.into());
    }
    if !condition.count.is_empty() {
        put("count", counts(&condition.count).into());
    }
    if let Some(periods) = &condition.periods {
        let mut object = counts(&periods.tests);
        object.insert("every".into(), periods.every.to_string().into());
        object.insert("of".into(), periods.of.into());
        put("periods", object.into());
    }
    if let Some(AggregateTest { aggregate, path, comparison: test }) = &condition.aggregate {
        if let Some((name, _)) = AGGREGATES.iter().find(|(_, other)| other == aggregate) {
            put(name, path.to_string().into());
        }
        comparison(test, &mut object);
    }
    object.into()
}

fn properties(tests: &[PropertyTest]) -> Value {
    tests
        .iter()
        .map(|PropertyTest { path, test }| {
            let mut object = Object::new();
            object.insert("property".into(), path.to_string().into());
            match test {
                ValueTest::Compare(test) => comparison(test, &mut object),
                ValueTest::Element(tests) => drop(object.insert("element".into(), properties(tests))),
            }
            Value::from(object)
        })
        .collect()
}

fn counts(tests: &[CountTest]) -> Object {
    let written = |test: &CountTest| match *test {
        CountTest::Eq(n) => ("eq".to_owned(), json!(n)),
        CountTest::Gt(n) => ("gt".to_owned(), json!(n)),
        CountTest::Gte(n) => ("gte".to_owned(), json!(n)),
        CountTest::Lt(n) => ("lt".to_owned(), json!(n)),
        CountTest::Lte(n) => ("lte".to_owned(), json!(n)),
        CountTest::Between(low, high) => ("between".to_owned(), json!([low, high])),
    };
    tests.iter().map(written).collect()
}

fn comparison(comparison: &Comparison, object: &mut Object) {
    let list = |operands: &[_]| operands.iter().map(crate::value::Comparable::to_value).collect();
    for test in &comparison.tests {
        let (operator, value) = match test {
            Test::Eq(operand) => ("eq", operand.to_value()),
            Test::Ne(operand) => ("ne", operand.to_value()),
            Test::In(operands) => ("in", list(operands.list())),
            Test::NotIn(operands) => ("not_in", list(operands.list())),
            Test::Gt(operand) => ("gt", operand.to_value()),
            Test::Gte(operand) => ("gte", operand.to_value()),
            Test::Lt(operand) => ("lt", operand.to_value()),
            Test::Lte(operand) => ("lte", operand.to_value()),
            Test::Between(low, high) => ("between", json!([low.to_value(), high.to_value()])),
            Test::Contains(operand) => ("contains", operand.to_value()),
            Test::StartsWith(text) => ("starts_with", text.as_str().into()),
            Test::EndsWith(text) => ("ends_with", text.as_str().into()),
            Test::Matches(pattern) => ("matches", pattern.as_str().into()),
            Test::Exists(expected) => ("exists", (*expected).into()),
        };
        object.insert(operator.into(), value);
    }
    if comparison.as_number {
        object.insert("as".into(), "number".into());
    }
}
