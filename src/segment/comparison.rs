//! Operators, and what fits them.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::value::{Comparable, nfc};

/// Operators with what they compare with, as a trait, a property or an aggregate is held against them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    /// Whether a string that spells a number counts as that number.
    pub(crate) as_number: bool,
    /// The operators, which one value must fit all of.
    pub(crate) tests: Vec<Test>,
}

/// The operators. What they compare with is prepared once, when the definition is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Eq(Operand),
    Ne(Operand),
    In(Operands),
    NotIn(Operands),
    Gt(Operand),
    Gte(Operand),
    Lt(Operand),
    Lte(Operand),
    /// Both ends included.
    Between(Operand, Operand),
    Contains(Operand),
    StartsWith(String),
    EndsWith(String),
    Matches(Pattern),
    Exists(bool),
}

/// A value of a definition.
pub(crate) type Operand = Comparable<'static>;

/// `value` of a definition, as comparisons see it. Null, which no reading accepts, compares with nothing.
pub(crate) fn operand(value: &Value, as_number: bool) -> Operand {
    let structure = || Comparable::Structure(std::borrow::Cow::Owned(Value::Null));
    Comparable::of(value, as_number).map_or_else(structure, Comparable::into_owned)
}

impl Comparison {
    /// Whether `seen` fits; a value that is missing or null fits `ne`, `not_in` and `exists: false` only.
    pub(crate) fn fits_value(&self, seen: Option<&Value>) -> bool {
        self.fits(seen.and_then(|value| Comparable::of(value, self.as_number)).as_ref())
    }

    /// The same, of a value that has been made comparable.
    pub(crate) fn fits(&self, seen: Option<&Comparable<'_>>) -> bool {
        self.tests.iter().all(|test| self.fits_test(test, seen))
    }

    fn fits_test(&self, test: &Test, seen: Option<&Comparable<'_>>) -> bool {
        let Some(seen) = seen else {
            return matches!(test, Test::Ne(_) | Test::NotIn(_) | Test::Exists(false));
        };
        let is = |operand: &Operand, fits: fn(Ordering) -> bool| seen.compare(operand).is_some_and(fits);
        match test {
            Test::Eq(operand) => is(operand, Ordering::is_eq),
            Test::Ne(operand) => !is(operand, Ordering::is_eq),
            Test::In(operands) => operands.contains(seen),
            Test::NotIn(operands) => !operands.contains(seen),
            Test::Gt(operand) => is(operand, Ordering::is_gt),
            Test::Gte(operand) => is(operand, Ordering::is_ge),
            Test::Lt(operand) => is(operand, Ordering::is_lt),
            Test::Lte(operand) => is(operand, Ordering::is_le),
            Test::Between(low, high) => is(low, Ordering::is_ge) && is(high, Ordering::is_le),
            Test::Contains(part) => self.contains(seen, part),
            Test::StartsWith(prefix) => seen.text().is_some_and(|text| text.starts_with(&**prefix)),
            Test::EndsWith(suffix) => seen.text().is_some_and(|text| text.ends_with(&**suffix)),
            Test::Matches(pattern) => seen.text().is_some_and(|text| pattern.is_match(text)),
            Test::Exists(expected) => *expected,
        }
    }

    /// A part of a string, or a member of an array.
    fn contains(&self, seen: &Comparable<'_>, part: &Operand) -> bool {
        let is_part = |item: &Value| {
            Comparable::of(item, self.as_number)
                .is_some_and(|item| item.compare(part) == Some(Ordering::Equal))
        };
        match (seen, part.text()) {
            (Comparable::Structure(value), _) => {
                value.as_array().is_some_and(|items| items.iter().any(is_part))
            }
            (_, Some(part)) => seen.text().is_some_and(|text| text.contains(part)),
            _ => false,
        }
    }
}

/// The values of `in` and `not_in`, found by binary search.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operands {
    list: Vec<Operand>,
    /// The places in `list`, by the total order of what stands there.
    sorted: Vec<u32>,
}

impl Operands {
    pub(crate) fn new(list: Vec<Operand>) -> Self {
        let mut places: Vec<usize> = (0..list.len()).collect();
        places.sort_by(|a, b| list[*a].order(&list[*b]));
        // A list of more than 2^32 values does not fit into memory.
        let sorted = places.into_iter().filter_map(|place| u32::try_from(place).ok()).collect();
        Self { list, sorted }
    }

    pub(crate) fn list(&self) -> &[Operand] {
        &self.list
    }

    fn contains(&self, seen: &Comparable<'_>) -> bool {
        self.sorted.binary_search_by(|place| self.list[*place as usize].order(seen)).is_ok()
    }
}

/// A regular expression, compiled once. It is searched for anywhere in the text, in time linear to it.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: String,
    /// `None` where the text is no expression, which matches nothing, and which no reading accepts.
    regex: Option<Regex>,
}

impl Pattern {
    /// The most memory that a compiled expression may take, in bytes.
    const SIZE_LIMIT: usize = 1 << 20;

    /// Compiles `text`; the error is what is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let text = nfc(text).into_owned();
        match RegexBuilder::new(&text).size_limit(Self::SIZE_LIMIT).build() {
            Ok(regex) => Ok(Self { text, regex: Some(regex) }),
            Err(regex::Error::CompiledTooBig(_)) => {
                Err(format!("compiles to more than {} bytes", Self::SIZE_LIMIT))
            }
            // The message draws the place below the pattern, on lines of its own; its last line says what is wrong.
            Err(error) => {
                let message = error.to_string();
                let last = message.lines().last().unwrap_or_default();
                Err(last.trim().trim_start_matches("error: ").into())
            }
        }
    }

    /// The pattern that `text` is, be it an expression or not.
    pub(crate) fn unchecked(text: &str) -> Self {
        Self::new(text).unwrap_or_else(|_| Self { text: nfc(text).into_owned(), regex: None })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    fn is_match(&self, text: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::segment::Condition;
    use crate::{History, Timestamp, evaluate};

    /// Whether the trait `x` of this value (missing if null) fits the operator.
    fn fits(seen: &Value, operator: &Value) -> bool {
        let mut condition = operator.clone();
        condition["trait"] = json!("x");
        let condition = Condition::from_value(&condition).unwrap();
        let mut person = History::default();
        person.traits.insert("x".into(), seen.clone());
        evaluate(&condition, &person, Timestamp::EARLIEST).holds
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_operator_with_every_kind_of_value() {
        let noon = "2024-05-01T12:00:00Z";
        let noon_elsewhere = "2024-05-01T14:00:00+02:00";
        let one = "2024-05-01T13:00:00Z";
        for (seen, operator, expected) in [
            // eq, ne
            (json!("Wuhan"), json!({"eq": "Wuhan"}), true),
            (json!("Wuhan"), json!({"eq": "wuhan"}), false),
            (json!("e\u{301}"), json!({"eq": "é"}), true),
            (json!("é"), json!({"eq": "e\u{301}"}), true),
            (json!(5), json!({"eq": 5.0}), true),
            (json!(9_007_199_254_740_993_i64), json!({"eq": 9_007_199_254_740_992_i64}), false),
            (json!(9_007_199_254_740_993_i64), json!({"eq": 9_007_199_254_740_992.0}), false),
            (json!(u64::MAX), json!({"eq": u64::MAX}), true),
            (json!("5"), json!({"eq": 5}), false),
            (json!("5"), json!({"eq": 5, "as": "number"}), true),
            (json!("5.0"), json!({"eq": "5", "as": "number"}), true),
            (json!("five"), json!({"eq": 5, "as": "number"}), false),
            (json!(true), json!({"eq": true}), true),
            (json!(true), json!({"eq": 1}), false),
            (json!(true), json!({"eq": "true"}), false),
            (json!(noon), json!({"eq": noon_elsewhere}), true),
            (json!(noon), json!({"eq": "2024-05-01"}), false),
            (json!("2024-05-01"), json!({"eq": noon}), false),
            (json!([1, 2]), json!({"eq": [1.0, 2]}), true),
            (json!([1, 2]), json!({"eq": 1}), false),
            (json!({"a": 1}), json!({"eq": {"a": 1}}), true),
            (json!(null), json!({"eq": "x"}), false),
            (json!("Wuhan"), json!({"ne": "Wuhan"}), false),
            (json!("Lima"), json!({"ne": "Wuhan"}), true),
            (json!(5), json!({"ne": "Wuhan"}), true),
            (json!(noon), json!({"ne": "2024-05-01"}), true),
            (json!(null), json!({"ne": "Wuhan"}), true),
            // in, not_in
            (json!("b"), json!({"in": ["a", "b"]}), true),
            (json!("c"), json!({"in": ["a", "b"]}), false),
            (json!(2), json!({"in": ["2", 2.0]}), true),
            (json!("2"), json!({"in": [1, 2]}), false),
            (json!("2"), json!({"in": [1, 2], "as": "number"}), true),
            (json!(noon), json!({"in": ["x", noon_elsewhere]}), true),
            (json!([1]), json!({"in": [[2], [1]]}), true),
            (json!(true), json!({"in": [1, "true"]}), false),
            (json!("a"), json!({"in": []}), false),
            (json!(null), json!({"in": ["a"]}), false),
            (json!("a"), json!({"not_in": ["a"]}), false),
            (json!(1), json!({"not_in": ["a"]}), true),
            (json!(null), json!({"not_in": ["a"]}), true),
            (json!("a"), json!({"not_in": []}), true),
            // gt, gte, lt, lte, between
            (json!(5), json!({"gt": 5}), false),
            (json!(5.000_001), json!({"gt": 5}), true),
            (json!(9_007_199_254_740_993_i64), json!({"gt": 9_007_199_254_740_992.0}), true),
            (json!(5), json!({"gte": 5}), true),
            (json!("5"), json!({"gte": 5}), false),
            (json!("10"), json!({"gte": 9, "as": "number"}), true),
            (json!(5), json!({"gte": "1"}), false),
            (json!("b"), json!({"gt": "a"}), true),
            (json!("Z"), json!({"lt": "a"}), true),
            (json!(one), json!({"gt": noon_elsewhere}), true),
            (json!("2024-05-02"), json!({"gt": noon}), false),
            (json!("2024-05-02"), json!({"lt": noon}), false),
            (json!(true), json!({"gt": false}), true),
            (json!([2]), json!({"gt": 1}), false),
            (json!(null), json!({"lt": 5}), false),
            (json!(4), json!({"lt": 5}), true),
            (json!(5), json!({"lt": 5}), false),
            (json!(5), json!({"lte": 5}), true),
            (json!(6), json!({"lte": 5}), false),
            (json!(1), json!({"between": [1, 5]}), true),
            (json!(5), json!({"between": [1, 5]}), true),
            (json!(5.5), json!({"between": [1, 5]}), false),
            (json!("3"), json!({"between": [1, 5], "as": "number"}), true),
            (json!("m"), json!({"between": ["a", "z"]}), true),
            (json!(noon), json!({"between": [noon_elsewhere, one]}), true),
            (json!(null), json!({"between": [1, 5]}), false),
            // contains, starts_with, ends_with, matches
            (json!("Wuhan"), json!({"contains": "uha"}), true),
            (json!("Wuhan"), json!({"contains": ""}), true),
            (json!("Wuhan"), json!({"contains": "x"}), false),
            (json!("cafe\u{301}!"), json!({"contains": "é"}), true),
            (json!(["a", "b"]), json!({"contains": "a"}), true),
            (json!(["ab"]), json!({"contains": "a"}), false),
            (json!([1, 2]), json!({"contains": 2.0}), true),
            (json!(["1"]), json!({"contains": 1}), false),
            (json!(["1"]), json!({"contains": 1, "as": "number"}), true),
            (json!([noon]), json!({"contains": noon_elsewhere}), true),
            (json!(noon), json!({"contains": "2024-05"}), true),
            (json!({"a": 1}), json!({"contains": "a"}), false),
            (json!(15), json!({"contains": "5"}), false),
            (json!("15"), json!({"contains": 5}), false),
            (json!(null), json!({"contains": "a"}), false),
            (json!("Wuhan"), json!({"starts_with": "Wu"}), true),
            (json!("Wuhan"), json!({"starts_with": "wu"}), false),
            (json!(15), json!({"starts_with": "1"}), false),
            (json!(["Wu"]), json!({"starts_with": "Wu"}), false),
            (json!("Wuhan"), json!({"ends_with": "han"}), true),
            (json!("Wuhan"), json!({"ends_with": "Wu"}), false),
            (json!(null), json!({"ends_with": ""}), false),
            (json!("a@example.com"), json!({"matches": "@example\\.(com|org)$"}), true),
            (json!("a@example.net"), json!({"matches": "@example\\.(com|org)$"}), false),
            (json!("e\u{301}"), json!({"matches": "^é$"}), true),
            (json!("é"), json!({"matches": "^e\u{301}$"}), true),
            (json!(15), json!({"matches": "1"}), false),
            // exists
            (json!(0), json!({"exists": true}), true),
            (json!(false), json!({"exists": true}), true),
            (json!(""), json!({"exists": true}), true),
            (json!([]), json!({"exists": true}), true),
            (json!(null), json!({"exists": true}), false),
            (json!(null), json!({"exists": false}), true),
            (json!(0), json!({"exists": false}), false),
        ] {
            assert_eq!(fits(&seen, &operator), expected, "{seen} {operator}");
        }
    }

    #[test]
    fn a_trait_that_was_never_set_is_missing() {
        for (operator, expected) in [
            (json!({"eq": 1}), false),
            (json!({"ne": 1}), true),
            (json!({"in": [1]}), false),
            (json!({"not_in": [1]}), true),
            (json!({"gt": 1}), false),
            (json!({"gte": 1}), false),
            (json!({"lt": 1}), false),
            (json!({"lte": 1}), false),
            (json!({"between": [0, 1]}), false),
            (json!({"contains": ""}), false),
            (json!({"starts_with": ""}), false),
            (json!({"ends_with": ""}), false),
            (json!({"matches": ""}), false),
            (json!({"exists": true}), false),
            (json!({"exists": false}), true),
            (json!({"within": "1d"}), false),
            (json!({"older_than": "1d"}), false),
        ] {
            let mut condition = operator;
            for path in ["x", "x.y"] {
                condition["trait"] = json!(path);
                let read = Condition::from_value(&condition).unwrap();
                let holds = evaluate(&read, &History::default(), Timestamp::EARLIEST).holds;
                assert_eq!(holds, expected, "{condition}");
            }
        }
    }

    #[test]
    fn a_list_of_ten_thousand_is_searched_and_not_walked() {
        let list: Vec<Value> = (0..10_000).map(|n| json!(format!("sku-{n}"))).collect();
        let test = Test::In(Operands::new(list.iter().map(|value| operand(value, false)).collect()));
        let comparison = Comparison { as_number: false, tests: vec![test] };
        for n in [0, 1, 5_000, 9_999] {
            assert!(comparison.fits_value(Some(&json!(format!("sku-{n}")))));
        }
        assert!(!comparison.fits_value(Some(&json!("sku-10000"))));
    }

    #[test]
    fn an_expression_that_grows_too_large_is_refused() {
        assert_eq!(Pattern::new("(").unwrap_err(), "unclosed group");
        assert!(Pattern::new(r"(\w{100}){100}").unwrap_err().contains("more than"));
        let hostile = Pattern::new("(a*)*$").unwrap();
        assert!(hostile.is_match(&("a".repeat(100_000) + "b")));
    }
}
