//! Conditions that read as sentences.

use serde_json::Value;

use super::comparison::{Comparison, Operand, Operands, Pattern, Test, operand};
use super::condition::{
    Aggregate, AggregateTest, Condition, CountTest, EventCondition, PropertyTest, TraitCondition, TraitTest,
    ValueTest, Window,
};
use crate::clock::{Span, Timestamp};
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
        Condition::Trait(TraitCondition { path, test: TraitTest::Compare(comparison) })
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
    condition: Condition,
    path: DottedPath,
    /// `None` for a filter.
    aggregate: Option<Aggregate>,
}

impl<Of, Out> Subject<Of, Out> {
    fn new(of: Of, finish: fn(Of, Comparison) -> Out) -> Self {
        Self { of, as_number: false, finish }
    }

    fn is(self, test: Test) -> Out {
        (self.finish)(self.of, Comparison { as_number: self.as_number, test })
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
        Condition::Trait(TraitCondition { path: self.of.0, test: TraitTest::Within(span) })
    }

    /// An RFC 3339 time at or before now − `span`.
    pub fn older_than(self, span: Span) -> Condition {
        Condition::Trait(TraitCondition { path: self.of.0, test: TraitTest::OlderThan(span) })
    }
}

impl From<Subject<OfTrait, Condition>> for Condition {
    fn from(subject: Subject<OfTrait, Condition>) -> Self {
        subject.exists()
    }
}

/// What is asked of events, on a condition that [`did`] or [`did_not`] began.
///
/// On any other condition these have no meaning, and [`Condition::check`] refuses it.
impl Condition {
    fn refine(self, call: &str, change: impl FnOnce(&mut EventCondition)) -> Self {
        match self {
            Self::Event(mut event) => {
                change(&mut event);
                Self::Event(event)
            }
            Self::Misbuilt(reason) => Self::Misbuilt(reason),
            _ => Self::Misbuilt(format!("{call}: refines what somebody did, begin with did(…)")),
        }
    }

    /// At least `n` times. A later call about the number replaces an earlier one.
    #[must_use]
    pub fn at_least(self, n: u64) -> Self {
        self.refine("at_least", |event| event.count = Some(CountTest::Gte(n)))
    }

    /// At most `n` times; not at all is that too.
    #[must_use]
    pub fn at_most(self, n: u64) -> Self {
        self.refine("at_most", |event| event.count = Some(CountTest::Lte(n)))
    }

    /// Exactly `n` times.
    #[must_use]
    pub fn times(self, n: u64) -> Self {
        self.refine("times", |event| event.count = Some(CountTest::Eq(n)))
    }

    /// Only events in (now − `span`, now] count.
    #[must_use]
    pub fn within(self, span: Span) -> Self {
        self.refine("within", |event| {
            let ending = if let Window::Within { ending, .. } = event.window { ending } else { None };
            event.window = Window::Within { span, ending };
        })
    }

    /// With [`within`](Self::within): only events in (now − within, now − `span`] count.
    #[must_use]
    pub fn ending(self, span: Span) -> Self {
        self.refine("ending", |event| {
            let within =
                if let Window::Within { span, .. } = event.window { span } else { Span::from_micros(0) };
            event.window = Window::Within { span: within, ending: Some(span) };
        })
    }

    /// Only events at or after `from` count.
    #[must_use]
    pub fn since(self, from: impl Into<Timestamp>) -> Self {
        let from = Some(from.into());
        self.refine("since", |event| {
            let until = if let Window::Fixed { until, .. } = event.window { until } else { None };
            event.window = Window::Fixed { from, until };
        })
    }

    /// Only events before `until` count.
    #[must_use]
    pub fn until(self, until: impl Into<Timestamp>) -> Self {
        let until = Some(until.into());
        self.refine("until", |event| {
            let from = if let Window::Fixed { from, .. } = event.window { from } else { None };
            event.window = Window::Fixed { from, until };
        })
    }

    /// Only the person's first such event counts, and only if it lies in the window.
    #[must_use]
    pub fn first_time(self) -> Self {
        self.refine("first_time", |event| event.first_time = true)
    }

    /// Only events whose property fits count; the operator follows. Called again, both must fit.
    ///
    /// ```
    /// use customerdb::{Condition, did};
    ///
    /// let built = did("Order Completed").where_property("revenue").gte(100).at_least(2);
    /// let read = Condition::from_json(
    ///     r#"{"event": "Order Completed", "where": [{"property": "revenue", "gte": 100}], "count": {"gte": 2}}"#,
    /// )?;
    /// assert_eq!(built, read);
    /// # Ok::<(), customerdb::DefinitionError>(())
    /// ```
    pub fn where_property(self, path: &str) -> Subject<OfEvents, Condition> {
        self.events(path, None)
    }

    /// Only events count in which one element of the array at `path` fits all of the tests.
    ///
    /// ```
    /// use customerdb::{did, property};
    ///
    /// let bought_two = did("Order Completed")
    ///     .where_element("products", [property("sku").eq("S1"), property("quantity").gte(2)]);
    /// # assert!(bought_two.check().is_ok());
    /// ```
    #[must_use]
    pub fn where_element(self, path: &str, tests: impl IntoIterator<Item = PropertyTest>) -> Self {
        self.refine("where_element", |event| {
            let test = ValueTest::Element(tests.into_iter().collect());
            event.filters.push(PropertyTest { path: DottedPath::new(path), test });
        })
    }

    /// The sum of a property over the events, 0 over none; the operator follows. A later aggregate replaces an
    /// earlier one; with a number of times too, both must hold.
    ///
    /// Integers and decimals of up to six places are summed and compared exactly.
    pub fn sum(self, path: &str) -> Subject<OfEvents, Condition> {
        self.events(path, Some(Aggregate::Sum))
    }

    /// The mean of a property over the events that have it as a number; the operator follows.
    pub fn avg(self, path: &str) -> Subject<OfEvents, Condition> {
        self.events(path, Some(Aggregate::Avg))
    }

    /// The least value of a property; the operator follows.
    pub fn min(self, path: &str) -> Subject<OfEvents, Condition> {
        self.events(path, Some(Aggregate::Min))
    }

    /// The greatest value of a property; the operator follows.
    pub fn max(self, path: &str) -> Subject<OfEvents, Condition> {
        self.events(path, Some(Aggregate::Max))
    }

    /// How many different values a property has, missing where it has none; the operator follows.
    pub fn unique(self, path: &str) -> Subject<OfEvents, Condition> {
        self.events(path, Some(Aggregate::Unique))
    }

    /// The value of a property in the earliest event that has it; the operator follows.
    pub fn first(self, path: &str) -> Subject<OfEvents, Condition> {
        self.events(path, Some(Aggregate::First))
    }

    /// The value of a property in the latest event that has it; the operator follows.
    pub fn last(self, path: &str) -> Subject<OfEvents, Condition> {
        self.events(path, Some(Aggregate::Last))
    }

    fn events(self, path: &str, aggregate: Option<Aggregate>) -> Subject<OfEvents, Condition> {
        let of = OfEvents { condition: self, path: DottedPath::new(path), aggregate };
        Subject::new(of, |OfEvents { condition, path, aggregate }, comparison| match aggregate {
            None => condition.refine("where_property", |event| {
                event.filters.push(PropertyTest { path, test: ValueTest::Compare(comparison) });
            }),
            Some(aggregate) => condition.refine("an aggregate", |event| {
                event.aggregate = Some(AggregateTest { aggregate, path, comparison });
            }),
        })
    }
}
