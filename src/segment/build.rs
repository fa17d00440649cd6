//! Conditions that read as sentences.

use std::ops::{Bound, RangeBounds};

use serde_json::Value;

use super::comparison::{Comparison, Operand, Operands, Pattern, Test, operand};
use super::condition::{
    Age, Aggregate, Condition, CountTest, EventCondition, PropertyTest, Sample, SequenceCondition, Step,
    TraitCondition, ValueTest,
};
use crate::clock::Span;
use crate::id::Namespace;
use crate::value::{DottedPath, nfc};

/// All of the conditions hold. Of none, that is everyone ([`Condition::everyone`]).
///
/// ```
/// use customerdb::{all, days, did, has_trait};
///
/// let families = all([has_trait("children").gte(1), did("Search").within(days(30))]);
/// assert_eq!(
///     families.to_value().to_string(),
///     r#"{"all":[{"gte":1,"trait":"children"},{"event":"Search","within":"30d"}]}"#
/// );
/// ```
pub fn all(conditions: impl IntoIterator<Item = impl Into<Condition>>) -> Condition {
    Condition::All(conditions.into_iter().map(Into::into).collect())
}

/// At least one of the conditions holds. Of none, that is nobody ([`Condition::nobody`]).
pub fn any(conditions: impl IntoIterator<Item = impl Into<Condition>>) -> Condition {
    Condition::Any(conditions.into_iter().map(Into::into).collect())
}

/// The condition does not hold.
pub fn not(condition: impl Into<Condition>) -> Condition {
    Condition::Not(Box::new(condition.into()))
}

/// Did that at least once, ever. A name that ends in `*` is the beginning of names.
///
/// What follows narrows down which events count ([`within`](Condition::within),
/// [`where_property`](Condition::where_property), …) and says what is asked of them
/// ([`at_least`](Condition::at_least), [`sum`](Condition::sum), …), in any order.
///
/// ```
/// use customerdb::{days, did};
///
/// let regulars = did("Order Completed").at_least(3).within(days(30));
/// let big_spenders = did("Order Completed").where_property("currency").eq("EUR").sum("revenue").gte(500);
/// # assert!(regulars.check().is_ok() && big_spenders.check().is_ok());
/// ```
pub fn did(event: &str) -> Condition {
    Condition::Event(Box::new(EventCondition::new(event)))
}

/// Never did that, or, with a window, not in it.
///
/// ```
/// use customerdb::{Condition, days, did_not};
///
/// let read = Condition::from_json(r#"{"event": "Login", "count": {"eq": 0}, "within": "30d"}"#)?;
/// assert_eq!(did_not("Login").within(days(30)), read);
/// # Ok::<(), customerdb::DefinitionError>(())
/// ```
pub fn did_not(event: &str) -> Condition {
    did(event).times(0)
}

/// A trait, by name or dotted path (`address.city`); what is asked of it follows.
///
/// Alone it is a condition too: the trait exists. A path that leads through an array fits if any element does.
///
/// ```
/// use customerdb::{Condition, days, has_trait};
///
/// let here = has_trait("address.city").is_in(["Wuhan", "Lima"]);
/// let lapsed = has_trait("last_visit").older_than(days(90));
/// let adult = has_trait("age").number().gte(18);
/// let reachable: Condition = has_trait("email").into();
/// # for condition in [here, lapsed, adult, reachable] { assert!(condition.check().is_ok()); }
/// ```
pub fn has_trait(path: &str) -> Subject<OfTrait, Condition> {
    Subject::new(OfTrait(DottedPath::new(path)), |OfTrait(path), comparison| {
        Condition::Trait(TraitCondition { path, comparison, ages: Vec::new(), held_for: None })
    })
}

/// Holds an identifier of that namespace.
pub fn has_identifier(namespace: impl Into<Namespace>) -> Condition {
    Condition::Identifier(namespace.into())
}

/// Holds an identifier that is more than one of a browser or a device.
pub fn is_known() -> Condition {
    Condition::Known(true)
}

/// Consent for that purpose (`marketing`, `analytics`, `personalisation`, `advertising`, or one of your own) stands: the
/// decision that counts is a grant.
///
/// ```
/// use customerdb::{Cdp, ConsentDecision, Event, Segment, all, consented_to, did};
///
/// let cdp = Cdp::in_memory()?;
/// cdp.define(Segment::new("newsletter", all([consented_to("marketing"), did("Order Completed")])))?;
/// cdp.ingest([Event::track("Order Completed").user_id("u1")])?;
/// assert!(cdp.members("newsletter")?.is_empty());
/// cdp.record_consent("user_id:u1", ConsentDecision::granted("marketing"))?;
/// assert_eq!(cdp.members("newsletter")?.len(), 1);
/// # Ok::<(), customerdb::Error>(())
/// ```
pub fn consented_to(purpose: &str) -> Condition {
    Condition::Consent(nfc(purpose).into_owned())
}

/// Did these things one after the other, each strictly later than the one before.
///
/// A step is [`did`] or [`did_not`] with a name and properties. A [`did_not`] between two steps forbids that event
/// between them. At the end it forbids it from the last step until the end of the window, which
/// [`within`](Condition::within) then has to set, and the sequence is true only once that end has passed.
///
/// ```
/// use customerdb::{Condition, days, did, did_not, sequence};
///
/// let abandoned = sequence([did("Cart Filled"), did_not("Order Completed")]).within(days(1)).same("cart_id");
/// let read = Condition::from_json(
///     r#"{"sequence": [{"event": "Cart Filled"}, {"not": {"event": "Order Completed"}}],
///         "within": "1d", "same": "cart_id"}"#,
/// )?;
/// assert_eq!(abandoned, read);
/// # Ok::<(), customerdb::DefinitionError>(())
/// ```
pub fn sequence(steps: impl IntoIterator<Item = Condition>) -> Condition {
    let mut read = Vec::new();
    for step in steps {
        let (forbidden, step) = match step {
            Condition::Not(step) => (true, *step),
            step => (false, step),
        };
        match step {
            Condition::Event(event) if event.is_plain() => read.push(Step { forbidden, event: *event }),
            // What `did_not` makes.
            Condition::Event(mut event) if !forbidden && event.count == [CountTest::Eq(0)] => {
                event.count.clear();
                if !event.is_plain() {
                    return Condition::Misbuilt(STEP.into());
                }
                read.push(Step { forbidden: true, event: *event });
            }
            Condition::Misbuilt(reason) => return Condition::Misbuilt(reason),
            _ => return Condition::Misbuilt(STEP.into()),
        }
    }
    let sequence = SequenceCondition { steps: read, within: None, same: None, strictly_increasing: true };
    Condition::Sequence(Box::new(sequence))
}

const STEP: &str =
    "sequence: a step is an event with a name and properties, or such a one that must not come";

/// Is a member of the segment of that name.
pub fn in_segment(name: &str) -> Condition {
    Condition::Segment(nfc(name).into_owned())
}

/// Belongs to an account of which the condition holds, whose traits are the account's. It is made of traits only.
///
/// ```
/// use customerdb::{Condition, has_account, has_trait};
///
/// let read = Condition::from_json(r#"{"account": {"trait": "plan", "eq": "gold"}}"#)?;
/// assert_eq!(has_account(has_trait("plan").eq("gold")), read);
/// # Ok::<(), customerdb::DefinitionError>(())
/// ```
pub fn has_account(condition: impl Into<Condition>) -> Condition {
    Condition::Account(Box::new(condition.into()))
}

/// Carries the tag of that name.
pub fn has_tag(name: &str) -> Condition {
    Condition::Tag(nfc(name).into_owned())
}

/// Falls in a range of percent, its start included and its end not, by a stable hash of the salt and the profile's id:
/// about so many of everybody, the same ones at any time, and others with another salt.
///
/// ```
/// use customerdb::{Condition, in_sample};
///
/// let read = Condition::from_json(r#"{"sample": {"salt": "exp-7", "from": 0, "to": 10}}"#)?;
/// assert_eq!(in_sample("exp-7", 0.0, 10.0), read);
/// # Ok::<(), customerdb::DefinitionError>(())
/// ```
pub fn in_sample(salt: &str, from: f64, to: f64) -> Condition {
    Condition::Sample(Sample { salt: salt.into(), from, to })
}

/// A property of an element of an array, for [`Condition::where_element`]; what is asked of it follows.
pub fn property(path: &str) -> Subject<OfElement, PropertyTest> {
    Subject::new(OfElement(DottedPath::new(path)), |OfElement(path), comparison| PropertyTest {
        path,
        test: ValueTest::Compare(comparison),
    })
}

/// What comes before an operator: a trait, a property, or an aggregate over events.
///
/// Values compare as what they are: numbers exactly, times as instants where both are RFC 3339, booleans, and other
/// strings by code points in Unicode normal form C. Across kinds, and where nothing is there to compare, only
/// [`ne`](Self::ne), [`not_in`](Self::not_in) and [`is_missing`](Self::is_missing) hold.
#[must_use = "a subject asks nothing before it has an operator"]
#[derive(Debug, Clone)]
pub struct Subject<Of, Out> {
    of: Of,
    as_number: bool,
    finish: fn(Of, Comparison) -> Out,
}

/// A trait: see [`has_trait`].
#[derive(Debug, Clone)]
pub struct OfTrait(DottedPath);

/// A property of an element of an array: see [`property`].
#[derive(Debug, Clone)]
pub struct OfElement(DottedPath);

/// A property of events, or an aggregate of one: see [`Condition::where_property`] and [`Condition::sum`].
#[derive(Debug, Clone)]
pub struct OfEvents {
    pub(super) condition: Condition,
    pub(super) path: DottedPath,
    /// `None` for a filter.
    pub(super) aggregate: Option<Aggregate>,
}

impl<Of, Out> Subject<Of, Out> {
    pub(super) fn new(of: Of, finish: fn(Of, Comparison) -> Out) -> Self {
        Self { of, as_number: false, finish }
    }

    fn is(self, test: Test) -> Out {
        self.fits(vec![test])
    }

    fn fits(self, tests: Vec<Test>) -> Out {
        (self.finish)(self.of, Comparison { as_number: self.as_number, tests })
    }

    fn compare(self, value: impl Into<Value>, test: fn(Operand) -> Test) -> Out {
        let operand = operand(&value.into(), self.as_number);
        self.is(test(operand))
    }

    fn operands<V: Into<Value>>(&self, values: impl IntoIterator<Item = V>) -> Operands {
        Operands::new(values.into_iter().map(|value| operand(&value.into(), self.as_number)).collect())
    }

    /// A string that spells a number counts as that number; without this it is text.
    pub fn number(mut self) -> Self {
        self.as_number = true;
        self
    }

    /// Equal to `value`.
    pub fn eq(self, value: impl Into<Value>) -> Out {
        self.compare(value, Test::Eq)
    }

    /// Not equal to `value`, or missing.
    pub fn ne(self, value: impl Into<Value>) -> Out {
        self.compare(value, Test::Ne)
    }

    /// Equal to one of the values, of which there may be many.
    pub fn is_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Out {
        let operands = self.operands(values);
        self.is(Test::In(operands))
    }

    /// Equal to none of the values, or missing.
    pub fn not_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Out {
        let operands = self.operands(values);
        self.is(Test::NotIn(operands))
    }

    /// Greater than `value`.
    pub fn gt(self, value: impl Into<Value>) -> Out {
        self.compare(value, Test::Gt)
    }

    /// Greater than `value`, or equal.
    pub fn gte(self, value: impl Into<Value>) -> Out {
        self.compare(value, Test::Gte)
    }

    /// Less than `value`.
    pub fn lt(self, value: impl Into<Value>) -> Out {
        self.compare(value, Test::Lt)
    }

    /// Less than `value`, or equal.
    pub fn lte(self, value: impl Into<Value>) -> Out {
        self.compare(value, Test::Lte)
    }

    /// From `low` to `high`, both included.
    pub fn between(self, low: impl Into<Value>, high: impl Into<Value>) -> Out {
        let low = operand(&low.into(), self.as_number);
        let high = operand(&high.into(), self.as_number);
        self.is(Test::Between(low, high))
    }

    /// In a range: one value that is neither below its start nor above its end.
    ///
    /// ```
    /// use customerdb::{Condition, has_trait};
    ///
    /// let read = Condition::from_json(r#"{"trait": "children", "gte": 1, "lt": 5}"#)?;
    /// assert_eq!(has_trait("children").range(1..5), read);
    /// # Ok::<(), customerdb::DefinitionError>(())
    /// ```
    pub fn range<V: Into<Value> + Clone>(self, range: impl RangeBounds<V>) -> Out {
        let operand = |value: &V| operand(&value.clone().into(), self.as_number);
        let low = match range.start_bound() {
            Bound::Included(low) => Some(Test::Gte(operand(low))),
            Bound::Excluded(low) => Some(Test::Gt(operand(low))),
            Bound::Unbounded => None,
        };
        let high = match range.end_bound() {
            Bound::Included(high) => Some(Test::Lte(operand(high))),
            Bound::Excluded(high) => Some(Test::Lt(operand(high))),
            Bound::Unbounded => None,
        };
        let tests: Vec<Test> = low.into_iter().chain(high).collect();
        if tests.is_empty() { self.exists() } else { self.fits(tests) }
    }

    /// A string with `part` somewhere in it, or an array with `part` as a member.
    pub fn contains(self, part: impl Into<Value>) -> Out {
        self.compare(part, Test::Contains)
    }

    /// A string that begins with `prefix`.
    pub fn starts_with(self, prefix: &str) -> Out {
        self.is(Test::StartsWith(nfc(prefix).into_owned()))
    }

    /// A string that ends with `suffix`.
    pub fn ends_with(self, suffix: &str) -> Out {
        self.is(Test::EndsWith(nfc(suffix).into_owned()))
    }

    /// A string in which the regular expression finds a match, in the syntax of the crate `regex`; anchor it with
    /// `^` and `$` to match the whole.
    pub fn matches(self, pattern: &str) -> Out {
        self.is(Test::Matches(Pattern::unchecked(pattern)))
    }

    /// Something is there; null is not.
    pub fn exists(self) -> Out {
        self.is(Test::Exists(true))
    }

    /// Nothing is there, or null.
    pub fn is_missing(self) -> Out {
        self.is(Test::Exists(false))
    }
}

impl Subject<OfTrait, Condition> {
    /// An RFC 3339 time in (now − `span`, now].
    pub fn within(self, span: Span) -> Condition {
        self.aged(Age::Within(span))
    }

    /// An RFC 3339 time at or before now − `span`.
    pub fn older_than(self, span: Span) -> Condition {
        self.aged(Age::OlderThan(span))
    }

    /// A date (`1990-05-20`) whose month and day fall on one of the next `days` days, today counted; 29 February counts
    /// on 28 February in other years.
    ///
    /// ```
    /// use customerdb::{Condition, has_trait};
    ///
    /// let read = Condition::from_json(r#"{"trait": "birthday", "anniversary_within": "7d"}"#)?;
    /// assert_eq!(has_trait("birthday").anniversary_within(7), read);
    /// # Ok::<(), customerdb::DefinitionError>(())
    /// ```
    pub fn anniversary_within(self, days: u32) -> Condition {
        self.aged(Age::Anniversary(days))
    }

    fn aged(self, age: Age) -> Condition {
        let comparison = Comparison { as_number: self.as_number, tests: Vec::new() };
        Condition::Trait(TraitCondition { path: self.of.0, comparison, ages: vec![age], held_for: None })
    }
}

impl From<Subject<OfTrait, Condition>> for Condition {
    fn from(subject: Subject<OfTrait, Condition>) -> Self {
        subject.exists()
    }
}
