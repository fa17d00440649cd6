//! What a condition is made of.

use super::comparison::Comparison;
use crate::clock::{Span, Timestamp};
use crate::id::Namespace;
use crate::profile::PastEvent;
use crate::value::{DottedPath, Members, nfc};

/// How deep conditions may be nested in each other.
pub(crate) const MAX_DEPTH: usize = 128;

/// What is asked of a person: one language for segments and all else that depends on who somebody is and what they did.
///
/// It is built in Rust ([`did`](crate::did), [`has_trait`](crate::has_trait), [`all`](crate::all), …) or read from
/// JSON; both mean the same.
///
/// ```
/// use customerdb::{Condition, all, days, did, has_trait};
///
/// let built = all([has_trait("children").gte(1), did("Search").within(days(30))]);
/// let read = Condition::from_json(
///     r#"{"all": [{"trait": "children", "gte": 1}, {"event": "Search", "within": "30d"}]}"#,
/// )?;
/// assert_eq!(built, read);
/// # Ok::<(), customerdb::DefinitionError>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All of them hold; of none, that is everyone.
    All(Vec<Condition>),
    /// One of them at least holds; of none, that is nobody.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// A trait fits.
    Trait(TraitCondition),
    /// Events happened, or did not.
    Event(Box<EventCondition>),
    /// Events happened one after the other.
    Sequence(Box<SequenceCondition>),
    /// The person is a member of the segment of that name.
    Segment(String),
    /// An identifier of that namespace is held.
    Identifier(Namespace),
    /// An identifier is held that is not of a browser or a device only (`true`), or none is (`false`).
    Known(bool),
    /// One of the person's accounts fits: the traits that are asked for are the account's.
    Account(Box<Condition>),
    /// The person carries the tag of that name.
    Tag(String),
    /// Consent for the purpose of that name stands.
    Consent(String),
    /// The person falls in a range of percent.
    Sample(Sample),
    /// What a builder makes of a call that has no meaning, such as a window on a trait. It never holds, and
    /// [`Condition::check`] says what is wrong.
    Misbuilt(String),
}

/// A trait and what is asked of it: see [`has_trait`](crate::has_trait).
#[derive(Debug, Clone, PartialEq)]
pub struct TraitCondition {
    pub(crate) path: DottedPath,
    /// What one value must fit; without operators if only its age is asked for.
    pub(crate) comparison: Comparison,
    /// How the same value, a time, must stand to now.
    pub(crate) ages: Vec<Age>,
    /// For how long the comparison must have held without a break.
    pub(crate) held_for: Option<Span>,
}

/// How a time stands to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// A time in (now − span, now].
    Within(Span),
    /// A time at or before now − span.
    OlderThan(Span),
    /// A date whose month and day fall on one of so many days, beginning with today.
    Anniversary(u32),
}

/// Events, which of them count, and what is asked of those: see [`did`](crate::did).
#[derive(Debug, Clone, PartialEq)]
pub struct EventCondition {
    pub(crate) name: EventName,
    /// What the properties of an event must fit, all of it.
    pub(crate) filters: Vec<PropertyTest>,
    pub(crate) window: Window,
    /// Only the first event that fits name and filters counts, and only if it lies in the window.
    pub(crate) first_time: bool,
    /// How often, all of it; without it and without an aggregate, at least once.
    pub(crate) count: Vec<CountTest>,
    pub(crate) aggregate: Option<AggregateTest>,
    /// In how many periods, instead of how often.
    pub(crate) periods: Option<Periods>,
}

/// In how many of the last whole periods there are events that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Periods {
    pub(crate) every: Span,
    pub(crate) of: u64,
    pub(crate) tests: Vec<CountTest>,
}

/// Events one after the other: see [`sequence`](crate::sequence).
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceCondition {
    pub(crate) steps: Vec<Step>,
    /// How long after the first step the last may come.
    pub(crate) within: Option<Span>,
    /// What all events of the sequence must have in common.
    pub(crate) same: Option<DottedPath>,
    /// Whether each step must be strictly later than the one before.
    pub(crate) strictly_increasing: bool,
}

/// A step of a sequence: an event that must come, or one that must not come there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) forbidden: bool,
    /// Its name and filters only.
    pub(crate) event: EventCondition,
}

/// From what percent to what percent, by a stable hash of the salt and the profile's id: see
/// [`in_sample`](crate::in_sample).
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub(crate) salt: String,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// The name of an event, or with a `*` at its end the beginning of names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventName {
    Exact(String),
    Prefix(String),
}

/// A property of an event and what is asked of it: see [`property`](crate::property).
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyTest {
    pub(crate) path: DottedPath,
    pub(crate) test: ValueTest,
}

/// What is asked of a property.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ValueTest {
    Compare(Comparison),
    /// It is an array, and one element is an object that fits all of these.
    Element(Vec<PropertyTest>),
}

/// Which times count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// All that are held, later ones than now included.
    Ever,
    /// (now − span, now − ending].
    Within { span: Span, ending: Option<Span> },
    /// [from, until); an end that is not given is open.
    Fixed { from: Option<Timestamp>, until: Option<Timestamp> },
}

/// What is asked of the number of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountTest {
    Eq(u64),
    Gt(u64),
    Gte(u64),
    Lt(u64),
    Lte(u64),
    Between(u64, u64),
}

/// A property over all events that count, and what is asked of the result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AggregateTest {
    pub(crate) aggregate: Aggregate,
    pub(crate) path: DottedPath,
    pub(crate) comparison: Comparison,
}

/// What is made of the values of a property. Null and missing values are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    /// Of numbers; 0 of none.
    Sum,
    /// The mean of numbers.
    Avg,
    /// The least. Where kinds mix: of the numbers, else of the times, else of the texts, else of the booleans.
    Min,
    /// The greatest, of the same kind.
    Max,
    /// How many different ones.
    Unique,
    /// That of the earliest event.
    First,
    /// That of the latest event.
    Last,
}

/// The aggregates by the names that they have in JSON.
pub(super) const AGGREGATES: [(&str, Aggregate); 7] = [
    ("sum", Aggregate::Sum),
    ("avg", Aggregate::Avg),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("unique", Aggregate::Unique),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
];

impl Condition {
    /// The condition that everyone meets: `{"all": []}`.
    pub fn everyone() -> Self {
        Self::All(Vec::new())
    }

    /// The condition that nobody meets: `{"any": []}`.
    pub fn nobody() -> Self {
        Self::Any(Vec::new())
    }
}

impl EventCondition {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: EventName::new(name),
            filters: Vec::new(),
            window: Window::Ever,
            first_time: false,
            count: Vec::new(),
            aggregate: None,
            periods: None,
        }
    }

    /// Whether it is an event of that name whose properties fit.
    pub(crate) fn fits(&self, event: &PastEvent) -> bool {
        self.name.fits(&event.name) && all_fit(&self.filters, &&event.properties)
    }

    /// Whether nothing is asked but a name and properties.
    pub(crate) fn is_plain(&self) -> bool {
        self.window == Window::Ever
            && !self.first_time
            && self.count.is_empty()
            && self.aggregate.is_none()
            && self.periods.is_none()
    }
}

impl EventName {
    pub(crate) fn new(text: &str) -> Self {
        let text = nfc(text);
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into_owned()),
        }
    }

    /// Whether `name` is meant.
    pub(crate) fn fits(&self, name: &str) -> bool {
        match self {
            Self::Exact(own) => own == name || !name.is_ascii() && *own == nfc(name),
            Self::Prefix(prefix) => nfc(name).starts_with(&**prefix),
        }
    }
}

impl std::fmt::Display for EventName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl CountTest {
    pub(crate) fn fits(self, count: u64) -> bool {
        match self {
            Self::Eq(n) => count == n,
            Self::Gt(n) => count > n,
            Self::Gte(n) => count >= n,
            Self::Lt(n) => count < n,
            Self::Lte(n) => count <= n,
            Self::Between(low, high) => (low..=high).contains(&count),
        }
    }

    /// If the answer turns on whether there are at least n events: n, and the answer if there are.
    pub(crate) fn threshold(self) -> Option<(u64, bool)> {
        match self {
            Self::Gte(n) => Some((n, true)),
            Self::Gt(n) => Some((n.checked_add(1)?, true)),
            Self::Lt(n) => Some((n, false)),
            Self::Lte(n) => Some((n.checked_add(1)?, false)),
            Self::Eq(0) => Some((1, false)),
            Self::Eq(_) | Self::Between(..) => None,
        }
    }
}

/// Whether all tests fit the properties.
pub(crate) fn all_fit<'v>(tests: &[PropertyTest], properties: &impl Members<'v>) -> bool {
    tests.iter().all(|PropertyTest { path, test }| {
        path.any_among(properties, |value| match test {
            ValueTest::Compare(comparison) => comparison.fits_value(value),
            ValueTest::Element(tests) => value.and_then(|value| value.as_array()).is_some_and(|items| {
                items.iter().any(|item| item.as_object().is_some_and(|item| all_fit(tests, &item)))
            }),
        })
    })
}
