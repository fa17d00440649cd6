//! Writing conditions as JSON.

use serde_json::{Value, json};

use super::comparison::{Comparison, Test};
use super::condition::{
    AGGREGATES, AggregateTest, Condition, CountTest, EventCondition, PropertyTest, TraitCondition, TraitTest,
    ValueTest, Window,
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
        Condition::Identifier(namespace) => json!({"identifier": namespace}),
        Condition::Known(known) => json!({"known": known}),
        Condition::Misbuilt(reason) => json!({"misbuilt": reason}),
    }
}

fn trait_condition(condition: &TraitCondition) -> Value {
    let mut object = Object::new();
    object.insert("trait".into(), condition.path.to_string().into());
    match &condition.test {
        TraitTest::Compare(test) => comparison(test, &mut object),
        TraitTest::Within(span) => drop(object.insert("within".into(), span.to_string().into())),
        TraitTest::OlderThan(span) => drop(object.insert("older_than".into(), span.to_string().into())),
    }
    object.into()
}

fn event(condition: &EventCondition) -> Value {
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
    if let Some(test) = condition.count {
        put("count", count(test));
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

fn count(test: CountTest) -> Value {
    match test {
        CountTest::Eq(n) => json!({"eq": n}),
        CountTest::Gt(n) => json!({"gt": n}),
        CountTest::Gte(n) => json!({"gte": n}),
        CountTest::Lt(n) => json!({"lt": n}),
        CountTest::Lte(n) => json!({"lte": n}),
        CountTest::Between(low, high) => json!({"between": [low, high]}),
    }
}

fn comparison(comparison: &Comparison, object: &mut Object) {
    let list = |operands: &[_]| operands.iter().map(crate::value::Comparable::to_value).collect();
    let (operator, value) = match &comparison.test {
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
    if comparison.as_number {
        object.insert("as".into(), "number".into());
    }
}
