//! What follows on [`did`](crate::did), [`did_not`](crate::did_not) and [`sequence`](crate::sequence).

use super::build::{OfEvents, Subject};
use super::condition::{
    Aggregate, AggregateTest, Condition, CountTest, EventCondition, Periods, PropertyTest, ValueTest, Window,
};
use crate::clock::{Span, Timestamp};
use crate::value::DottedPath;

/// What is asked of events, on a condition that [`did`](crate::did) or [`did_not`](crate::did_not) began.
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
        self.refine("at_least", |event| event.count = vec![CountTest::Gte(n)])
    }

    /// At most `n` times; not at all is that too.
    #[must_use]
    pub fn at_most(self, n: u64) -> Self {
        self.refine("at_most", |event| event.count = vec![CountTest::Lte(n)])
    }

    /// Exactly `n` times.
    #[must_use]
    pub fn times(self, n: u64) -> Self {
        self.refine("times", |event| event.count = vec![CountTest::Eq(n)])
    }

    /// Only events in (now − `span`, now] count. Of a [`sequence`](crate::sequence): the last step comes at most `span`
    /// after the first.
    #[must_use]
    pub fn within(self, span: Span) -> Self {
        if let Self::Sequence(mut sequence) = self {
            sequence.within = Some(span);
            return Self::Sequence(sequence);
        }
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

    /// In at least `n` of the last `of` whole periods, which are calendar days for a day, weeks from Monday for a week,
    /// and else counted from 1970 on. The period that is under way is not whole.
    ///
    /// ```
    /// use customerdb::{Condition, days, did};
    ///
    /// let read = Condition::from_json(r#"{"event": "Login", "periods": {"every": "1d", "of": 7, "gte": 5}}"#)?;
    /// assert_eq!(did("Login").in_periods(5, 7, days(1)), read);
    /// # Ok::<(), customerdb::DefinitionError>(())
    /// ```
    #[must_use]
    pub fn in_periods(self, n: u64, of: u64, every: Span) -> Self {
        let periods = Periods { every, of, tests: vec![CountTest::Gte(n)] };
        self.refine("in_periods", |event| event.periods = Some(periods))
    }

    /// Of a [`sequence`](crate::sequence): all its events have the same value of a property.
    #[must_use]
    pub fn same(self, path: &str) -> Self {
        match self {
            Self::Sequence(mut sequence) => {
                sequence.same = Some(DottedPath::new(path));
                Self::Sequence(sequence)
            }
            Self::Misbuilt(reason) => Self::Misbuilt(reason),
            _ => Self::Misbuilt("same: refines a sequence".into()),
        }
    }

    /// Of a [`sequence`](crate::sequence): a step may be of the same instant as the one before, in the order of their
    /// message ids.
    #[must_use]
    pub fn allowing_ties(self) -> Self {
        match self {
            Self::Sequence(mut sequence) => {
                sequence.strictly_increasing = false;
                Self::Sequence(sequence)
            }
            Self::Misbuilt(reason) => Self::Misbuilt(reason),
            _ => Self::Misbuilt("allowing_ties: refines a sequence".into()),
        }
    }

    /// Of a trait: the comparison has held without a break for `span`.
    ///
    /// ```
    /// use customerdb::{Condition, days, has_trait};
    ///
    /// let read = Condition::from_json(r#"{"trait": "status", "eq": "active", "for": "7d"}"#)?;
    /// assert_eq!(has_trait("status").eq("active").held_for(days(7)), read);
    /// # Ok::<(), customerdb::DefinitionError>(())
    /// ```
    #[must_use]
    pub fn held_for(self, span: Span) -> Self {
        match self {
            Self::Trait(mut condition) => {
                condition.held_for = Some(span);
                Self::Trait(condition)
            }
            Self::Misbuilt(reason) => Self::Misbuilt(reason),
            _ => Self::Misbuilt("held_for: refines the comparison of a trait".into()),
        }
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
