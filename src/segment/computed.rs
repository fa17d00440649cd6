//! Traits that are worked out of events.

use serde_json::{Value, json};

use super::aggregate::Tally;
use super::at::{At, Result, bool, non_empty, object, path, span};
use super::comparison::Comparison;
use super::condition::{Aggregate, AggregateTest, Condition, EventCondition};
use super::evaluate::earliest;
use super::needs::Needs;
use super::occurrences::Occurrences;
use super::rfm::{self, RfmBounds};
use super::{check_name, read_event, strict, write};
use crate::clock::{Span, Timestamp, Zone, days};
use crate::error::DefinitionError;
use crate::profile::{Computed, PastEvent};
use crate::value::{Comparable, DottedPath, Object, nfc};

const DAY: i64 = 86_400_000_000;

/// A trait that is worked out of events, with a name under which it is asked for like any other: it goes before one of
/// that name that events assert.
///
/// As JSON it is `{"name": …, "event": …, "where": […], "within": …}` with one of `"count": true`, `sum`, `avg`, `min`,
/// `max`, `first`, `last`, `most_frequent`, `unique_count`, `unique_list` (each naming a property),
/// `"days_since_first": true`, `"days_since_last": true`, `lifecycle` and `rfm`. Over no events `count` and `sum` are 0,
/// and the rest is missing.
///
/// ```
/// use customerdb::{Cdp, ComputedTrait, Event, did, has_trait};
///
/// let cdp = Cdp::in_memory()?;
/// cdp.define_trait(ComputedTrait::sum("revenue", did("Order Completed"), "total"))?;
/// cdp.ingest([Event::track("Order Completed").user_id("u1").property("total", 120)])?;
/// assert_eq!(cdp.profile("user_id:u1")?.unwrap().computed["revenue"], 120);
/// assert_eq!(cdp.preview(has_trait("revenue").gte(100))?.len(), 1);
/// # Ok::<(), customerdb::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ComputedTrait {
    name: String,
    /// What is worked out of which events; a condition that is none is told when it is defined.
    of: std::result::Result<EventCondition, String>,
    kind: Kind,
}

/// What is made of the events.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Count,
    Aggregate(AggregateTest),
    MostFrequent(DottedPath),
    UniqueList(DottedPath),
    DaysSinceFirst,
    DaysSinceLast,
    Lifecycle(LifecycleBounds),
    /// The scores of the sum of a property, among others.
    Rfm(AggregateTest, Box<RfmBounds>),
}

/// When somebody is new, active, at risk, dormant, and else lost.
///
/// New is whose first event lies within `new`. Of the others the last event decides: within `active`, `at_risk` or
/// `dormant`, each counted from now. The stages are `"new"`, `"active"`, `"at_risk"`, `"dormant"` and `"lost"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifecycleBounds {
    /// Default: 30 days.
    pub new: Span,
    /// Default: 30 days.
    pub active: Span,
    /// Default: 90 days.
    pub at_risk: Span,
    /// Default: 180 days.
    pub dormant: Span,
}

impl Default for LifecycleBounds {
    fn default() -> Self {
        Self { new: days(30), active: days(30), at_risk: days(90), dormant: days(180) }
    }
}

/// The kinds that name a property and that are aggregates of conditions too.
const AGGREGATES: [(&str, Aggregate); 7] = [
    ("sum", Aggregate::Sum),
    ("avg", Aggregate::Avg),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
    ("unique_count", Aggregate::Unique),
];
const KINDS: [&str; 14] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "first",
    "last",
    "most_frequent",
    "unique_count",
    "unique_list",
    "days_since_first",
    "days_since_last",
    "lifecycle",
    "rfm",
];
const EVENTS_ONLY: &str = "expected events, narrowed down by properties and a window";
/// The members that say which events count.
const EVENTS: [&str; 7] = ["event", "where", "within", "ending", "from", "until", "first_time"];

macro_rules! of_property {
    ($($(#[$doc:meta])* $name:ident: $aggregate:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(name: &str, events: Condition, property: &str) -> Self {
            Self::aggregate(name, events, Aggregate::$aggregate, property)
        }
    )*};
}

impl ComputedTrait {
    fn new(name: &str, events: Condition, kind: Kind) -> Self {
        let of = match events {
            Condition::Event(event)
                if event.count.is_empty() && event.aggregate.is_none() && event.periods.is_none() =>
            {
                Ok(*event)
            }
            Condition::Misbuilt(reason) => Err(reason),
            _ => Err(EVENTS_ONLY.into()),
        };
        Self { name: nfc(name).into_owned(), of, kind }
    }

    fn aggregate(name: &str, events: Condition, aggregate: Aggregate, property: &str) -> Self {
        let comparison = Comparison { as_number: false, tests: Vec::new() };
        let test = AggregateTest { aggregate, path: DottedPath::new(property), comparison };
        Self::new(name, events, Kind::Aggregate(test))
    }

    /// How many events there are.
    pub fn count(name: &str, events: Condition) -> Self {
        Self::new(name, events, Kind::Count)
    }

    of_property! {
        /// The sum of a property, 0 over none.
        sum: Sum,
        /// The mean of a property.
        avg: Avg,
        /// The least value of a property.
        min: Min,
        /// The greatest value of a property.
        max: Max,
        /// The value of a property in the earliest event that has it.
        first: First,
        /// The value of a property in the latest event that has it.
        last: Last,
        /// How many different values a property has.
        unique_count: Unique,
    }

    /// The value that a property has most often; of several, the one that was there first.
    pub fn most_frequent(name: &str, events: Condition, property: &str) -> Self {
        Self::new(name, events, Kind::MostFrequent(DottedPath::new(property)))
    }

    /// The different values of a property, sorted.
    pub fn unique_list(name: &str, events: Condition, property: &str) -> Self {
        Self::new(name, events, Kind::UniqueList(DottedPath::new(property)))
    }

    /// Whole days of 24 hours since the first event.
    pub fn days_since_first(name: &str, events: Condition) -> Self {
        Self::new(name, events, Kind::DaysSinceFirst)
    }

    /// Whole days of 24 hours since the last event.
    pub fn days_since_last(name: &str, events: Condition) -> Self {
        Self::new(name, events, Kind::DaysSinceLast)
    }

    /// The stage of life as a customer.
    pub fn lifecycle(name: &str, events: Condition, bounds: LifecycleBounds) -> Self {
        Self::new(name, events, Kind::Lifecycle(bounds))
    }

    /// How lately, how often and for how much somebody buys, where `property` says for how much: an object of
    /// `recency_days`, `frequency`, `monetary`, their scores `r`, `f` and `m` from 1 to 5, and the `group` that these make.
    ///
    /// The figures and the groups are those of [`Rfm`](crate::Rfm), and a purchase later than now has not happened yet. The
    /// scores go by bounds, since quintiles take everybody else to be known; those of today are in
    /// [`RfmReport::bounds`](crate::RfmReport::bounds). Conditions reach in by a path, say `rfm.group`.
    pub fn rfm(name: &str, events: Condition, property: &str, bounds: RfmBounds) -> Self {
        Self::new(name, events, Kind::Rfm(rfm::sum_of(DottedPath::new(property)), Box::new(bounds)))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a computed trait from JSON text.
    ///
    /// # Errors
    ///
    /// A [`DefinitionError`] with the path and the reason, if it makes no sense.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_value(&strict::json(text)?)
    }

    /// Reads a computed trait from a JSON value.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self> {
        let at = At::ROOT;
        let definition = object(value, &at)?;
        let known =
            |name: &str| name == "name" || name == "as" || EVENTS.contains(&name) || KINDS.contains(&name);
        if let Some(name) = definition.keys().find(|name| !known(name)) {
            let expected = [&["name"], &EVENTS[..], &KINDS[..], &["as"]].concat().join(", ");
            return Err(
                at.error(format!("unknown member {}, expected one of {expected}", super::at::quoted(name)))
            );
        }
        let get = |name| definition.get(name).ok_or_else(|| at.error(format!("missing {name:?}")));
        let name = non_empty(get("name")?, &at.member("name"))?;
        check_name(name)?;
        let of = events(definition, get("event")?, &at)?;
        let mut kinds = KINDS.iter().filter(|name| definition.contains_key(**name));
        let Some(kind) = kinds.next() else {
            return Err(at.error(format!("nothing is worked out, expected one of {}", KINDS.join(", "))));
        };
        if let Some(other) = kinds.next() {
            return Err(at.error(format!("{kind:?} and {other:?} in one trait, define two")));
        }
        let as_number = match definition.get("as") {
            None => false,
            Some(Value::String(word)) if word == "number" => true,
            Some(_) => return Err(at.member("as").error("expected \"number\"")),
        };
        let kind = read_kind(kind, &definition[*kind], as_number, &at.member(kind))?;
        Ok(Self { name: nfc(name).into_owned(), of: Ok(of), kind })
    }

    /// The definition as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = match &self.of {
            Ok(event) => write::event(event).as_object().cloned().unwrap_or_default(),
            Err(reason) => Object::from_iter([("misbuilt".to_owned(), json!(reason))]),
        };
        object.insert("name".into(), json!(self.name));
        let (kind, value) = match &self.kind {
            Kind::Count => ("count", json!(true)),
            Kind::Aggregate(test) => {
                if test.comparison.as_number {
                    object.insert("as".into(), json!("number"));
                }
                let found = AGGREGATES.iter().find(|(_, aggregate)| *aggregate == test.aggregate);
                (found.map_or("", |(name, _)| name), json!(test.path.to_string()))
            }
            Kind::MostFrequent(path) => ("most_frequent", json!(path.to_string())),
            Kind::UniqueList(path) => ("unique_list", json!(path.to_string())),
            Kind::DaysSinceFirst => ("days_since_first", json!(true)),
            Kind::DaysSinceLast => ("days_since_last", json!(true)),
            Kind::Lifecycle(LifecycleBounds { new, active, at_risk, dormant }) => {
                let text = |span: &Span| span.to_string();
                let bounds = json!({
                    "new": text(new), "active": text(active), "at_risk": text(at_risk), "dormant": text(dormant),
                });
                ("lifecycle", bounds)
            }
            Kind::Rfm(of, bounds) => ("rfm", bounds.write(of)),
        };
        object.insert(kind.into(), value);
        object.into()
    }

    /// Whether the trait can be defined.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json), and what builders make that has no meaning.
    pub fn check(&self) -> Result<()> {
        if let Err(reason) = &self.of {
            return Err(DefinitionError::new("event", reason));
        }
        Self::from_value(&self.to_value()).map(drop)
    }

    /// Adds what it looks at.
    pub(super) fn add_needs(&self, needs: &mut Needs) {
        if let Ok(event) = &self.of {
            needs.add_event(event);
        }
        let property = match &self.kind {
            Kind::Aggregate(test) | Kind::Rfm(test, _) => Some(&test.path),
            Kind::MostFrequent(path) | Kind::UniqueList(path) => Some(path),
            _ => None,
        };
        if let (Some(path), Ok(event)) = (property, &self.of) {
            needs.add_property(event, path);
        }
        let calendar = matches!(self.kind, Kind::Rfm(..));
        let spans = matches!(self.kind, Kind::DaysSinceFirst | Kind::DaysSinceLast | Kind::Lifecycle(_));
        needs.add_time(spans || calendar, calendar);
    }

    /// The value at an instant, of events in order of time.
    pub(super) fn compute(&self, events: &[PastEvent], now: Timestamp, zone: &Zone) -> Computed {
        let Ok(condition) = &self.of else { return Computed::default() };
        let occurrences = Occurrences { condition, events, now, zone };
        let counted = || occurrences.counted();
        let until = occurrences.until();
        let value = match &self.kind {
            Kind::Count => Some(json!(counted().count())),
            Kind::Aggregate(test) => {
                let mut tally = Tally::new(test);
                counted().for_each(|event| tally.add(event));
                tally.result().map(|result| result.to_value())
            }
            Kind::MostFrequent(path) => {
                let mut values = values(counted(), path);
                values.sort_by(|(a, _), (b, _)| a.order(b));
                let groups = values.chunk_by(|(a, _), (b, _)| a.order(b).is_eq());
                let first = |group: &[(Comparable<'_>, usize)]| group.iter().map(|(_, place)| *place).min();
                let best = groups.max_by_key(|group| (group.len(), std::cmp::Reverse(first(group))));
                best.and_then(|group| group.first()).map(|(value, _)| value.to_value())
            }
            Kind::UniqueList(path) => {
                let mut values = values(counted(), path);
                values.sort_by(|(a, _), (b, _)| a.order(b));
                values.dedup_by(|(a, _), (b, _)| a.order(b).is_eq());
                (!values.is_empty()).then(|| values.iter().map(|(value, _)| value.to_value()).collect())
            }
            Kind::DaysSinceFirst | Kind::DaysSinceLast | Kind::Lifecycle(_) => {
                return self.since(&occurrences, until);
            }
            Kind::Rfm(of, bounds) => return bounds.compute(of, &occurrences, until),
        };
        Computed { value, until, ..Computed::default() }
    }

    /// What depends on how long ago the first or the last event was. Events later than now have not happened yet.
    fn since(&self, occurrences: &Occurrences<'_>, until: Option<Timestamp>) -> Computed {
        let now = occurrences.now;
        let (mut first, mut last, mut next) = (None, None, None);
        for event in occurrences.counted() {
            if event.at > now {
                next = Some(event.at);
                break;
            }
            first = first.or(Some(event.at));
            last = Some(event.at);
        }
        let until = earliest(until, next);
        let (Some(first), Some(last)) = (first, last) else {
            return Computed { until, ..Computed::default() };
        };
        let ago = |at: Timestamp| (now.as_micros() - at.as_micros()).div_euclid(DAY);
        let (value, change) = match &self.kind {
            Kind::Lifecycle(bounds) => {
                let stages = [
                    ("new", first, bounds.new),
                    ("active", last, bounds.active),
                    ("at_risk", last, bounds.at_risk),
                    ("dormant", last, bounds.dormant),
                ];
                match stages.iter().find(|(_, at, span)| *at > now.before(*span)) {
                    Some((stage, at, span)) => (json!(stage), Some(at.after(*span))),
                    None => (json!("lost"), None),
                }
            }
            kind => {
                let at = if matches!(kind, Kind::DaysSinceFirst) { first } else { last };
                let whole = ago(at);
                (json!(whole), Some(at.after(Span::from_micros((whole + 1).saturating_mul(DAY)))))
            }
        };
        Computed { value: Some(value), until: earliest(until, change), ..Computed::default() }
    }
}

/// The values that a property has in the events, each with its place in the order of time.
fn values<'e>(
    events: impl Iterator<Item = &'e PastEvent>,
    path: &DottedPath,
) -> Vec<(Comparable<'e>, usize)> {
    let mut values = Vec::new();
    for event in events {
        path.any(&event.properties, |value| {
            if let Some(value) = value.and_then(|value| Comparable::of(value, false)) {
                values.push((value, values.len()));
            }
            false
        });
    }
    values
}

/// Which events count: `event` is a name, or a whole condition that the members beside it narrow down.
fn events(definition: &Object, event: &Value, at: &At<'_>) -> Result<EventCondition> {
    let here = at.member("event");
    let whole = match event.as_object() {
        None => Object::new(),
        Some(whole) if !whole.contains_key("event") => return Err(here.error("missing \"event\"")),
        Some(whole) => {
            let read = read_event::event(whole, &here, 1)?;
            if !read.count.is_empty() || read.aggregate.is_some() || read.periods.is_some() {
                return Err(here.error(EVENTS_ONLY));
            }
            whole.clone()
        }
    };
    let mut merged = whole.clone();
    for (name, value) in definition.iter().filter(|(name, _)| EVENTS.contains(&name.as_str())) {
        if name == "event" && event.is_object() {
            continue;
        }
        if whole.contains_key(name) {
            return Err(at.member(name).error("given twice, here and in \"event\""));
        }
        merged.insert(name.clone(), value.clone());
    }
    read_event::event(&merged, at, 1)
}

fn read_kind(kind: &str, value: &Value, as_number: bool, at: &At<'_>) -> Result<Kind> {
    let flag = |kind| if bool(value, at)? { Ok(kind) } else { Err(at.error("expected true")) };
    if let Some((_, aggregate)) = AGGREGATES.iter().find(|(name, _)| *name == kind) {
        let comparison = Comparison { as_number, tests: Vec::new() };
        return Ok(Kind::Aggregate(AggregateTest {
            aggregate: *aggregate,
            path: path(value, at)?,
            comparison,
        }));
    }
    if as_number {
        return Err(At::ROOT.member("as").error(format!("has no meaning with {kind:?}")));
    }
    match kind {
        "count" => flag(Kind::Count),
        "days_since_first" => flag(Kind::DaysSinceFirst),
        "days_since_last" => flag(Kind::DaysSinceLast),
        "most_frequent" => Ok(Kind::MostFrequent(path(value, at)?)),
        "unique_list" => Ok(Kind::UniqueList(path(value, at)?)),
        "lifecycle" => lifecycle(value, at).map(Kind::Lifecycle),
        _ => RfmBounds::read(value, at).map(|(of, bounds)| Kind::Rfm(of, Box::new(bounds))),
    }
}

fn lifecycle(value: &Value, at: &At<'_>) -> Result<LifecycleBounds> {
    const BOUNDS: [&str; 4] = ["new", "active", "at_risk", "dormant"];
    let mut bounds = LifecycleBounds::default();
    if value.as_bool() == Some(true) {
        return Ok(bounds);
    }
    let given = object(value, at)?;
    if let Some(name) = given.keys().find(|name| !BOUNDS.contains(&name.as_str())) {
        return Err(at.error(format!("unknown member {name:?}, expected one of {}", BOUNDS.join(", "))));
    }
    let places = [&mut bounds.new, &mut bounds.active, &mut bounds.at_risk, &mut bounds.dormant];
    for (name, bound) in BOUNDS.into_iter().zip(places) {
        if let Some(value) = given.get(name) {
            *bound = span(value, &at.member(name))?;
        }
    }
    if bounds.active > bounds.at_risk || bounds.at_risk > bounds.dormant {
        return Err(at.error("expected \"active\" up to \"at_risk\" up to \"dormant\""));
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::did;

    fn error(value: &Value) -> String {
        ComputedTrait::from_value(value).unwrap_err().to_string()
    }

    #[test]
    fn a_computed_trait_reads_back_what_it_writes() {
        let (orders, x) = (|| did("Order").where_property("n").gte(1).within(days(7)).first_time(), "a.b");
        for computed in [
            ComputedTrait::count("t", orders()),
            ComputedTrait::sum("t", orders(), x),
            ComputedTrait::avg("t", did("*"), x),
            ComputedTrait::min("t", orders(), x),
            ComputedTrait::max("t", orders(), x),
            ComputedTrait::first("t", orders(), x),
            ComputedTrait::last("t", orders(), x),
            ComputedTrait::unique_count("t", orders(), x),
            ComputedTrait::most_frequent("t", orders(), x),
            ComputedTrait::unique_list("t", orders(), x),
            ComputedTrait::days_since_first("t", orders()),
            ComputedTrait::days_since_last("t", orders()),
            ComputedTrait::lifecycle("t", orders(), LifecycleBounds::default()),
            ComputedTrait::rfm("t", orders(), x, RfmBounds::default()),
        ] {
            assert_eq!(computed.check(), Ok(()));
            let text = computed.to_value().to_string();
            assert_eq!(ComputedTrait::from_json(&text).unwrap(), computed, "{text}");
        }
        let whole = json!({"name": "t", "event": {"event": "A", "where": [{"property": "x", "gt": 1}]}, "within": "7d",
            "count": true});
        let flat = json!({"name": "t", "event": "A", "where": [{"property": "x", "gt": 1}], "within": "1w", "count": true});
        assert_eq!(ComputedTrait::from_value(&whole).unwrap().to_value(), flat);
        let as_number = json!({"name": "t", "event": "A", "sum": "x", "as": "number"});
        assert_eq!(ComputedTrait::from_value(&as_number).unwrap().to_value(), as_number);
    }

    #[test]
    fn what_makes_no_sense_names_its_path() {
        for (definition, start) in [
            (json!([]), "expected an object, found an array"),
            (json!({"event": "A", "count": true}), "missing \"name\""),
            (json!({"name": "", "event": "A", "count": true}), "name: must not be empty"),
            (json!({"name": "t", "count": true}), "missing \"event\""),
            (
                json!({"name": "t", "event": {"event": "A", "within": "1d"}, "within": "2d", "count": true}),
                "within: given twice, here and in",
            ),
            (
                json!({"name": "t", "event": {"event": "A", "count": {"gte": 1}}, "count": true}),
                "event: expected events, narrowed down",
            ),
            (json!({"name": "t", "event": {"where": []}, "count": true}), "event: missing \"event\""),
            (json!({"name": "t", "event": "A"}), "nothing is worked out, expected one of count, sum"),
            (
                json!({"name": "t", "event": "A", "sum": "x", "avg": "x"}),
                "\"sum\" and \"avg\" in one trait, define two",
            ),
            (
                json!({"name": "t", "event": "A", "summ": "x"}),
                "unknown member \"summ\", expected one of name, event",
            ),
            (json!({"name": "t", "event": "A", "sum": ""}), "sum: must not be empty"),
            (json!({"name": "t", "event": "A", "sum": 1}), "sum: expected a string, found a number"),
            (json!({"name": "t", "event": "A", "count": false}), "count: expected true"),
            (
                json!({"name": "t", "event": "A", "count": {"gte": 1}}),
                "count: expected true or false, found an object",
            ),
            (
                json!({"name": "t", "event": "A", "count": true, "within": "0d"}),
                "within: must be longer than zero",
            ),
            (
                json!({"name": "t", "event": "A", "count": true, "within": "-7d"}),
                "within: must be longer than zero",
            ),
            (
                json!({"name": "t", "event": "A", "count": true, "as": "number"}),
                "as: has no meaning with \"count\"",
            ),
            (
                json!({"name": "t", "event": "A", "count": true, "where": [{"property": "x", "eqq": 1}]}),
                "where[0]: unknown operator \"eqq\"",
            ),
            (
                json!({"name": "t", "event": "A", "lifecycle": {"old": "1d"}}),
                "lifecycle: unknown member \"old\"",
            ),
            (
                json!({"name": "t", "event": "A", "lifecycle": {"active": "99d", "at_risk": "9d"}}),
                "lifecycle: expected \"active\" up to",
            ),
        ] {
            let message = error(&definition);
            assert!(message.starts_with(start), "{definition}: {message}");
        }
        let built = ComputedTrait::count("t", crate::is_known());
        assert_eq!(
            built.check().unwrap_err().to_string(),
            "event: expected events, narrowed down by properties and a window"
        );
        let twice =
            ComputedTrait::from_json(r#"{"name":"t","event":"A","count":true,"count":true}"#).unwrap_err();
        assert_eq!(twice.to_string(), "count: given twice");
    }

    #[test]
    fn values_change_when_they_say_and_not_before() {
        let hour = |n: i64| Timestamp::from_millis(n * 3_600_000);
        let event = |at: i64, n: i64| PastEvent {
            name: "A".into(),
            at: hour(at),
            message_id: format!("m{at}"),
            properties: json!({"n": n}).as_object().cloned().unwrap(),
        };
        let events = [event(0, 3), event(10, 5), event(30, 3), event(100, 1)];
        let hours = |n: u32| crate::hours(n);
        let bounds =
            LifecycleBounds { new: hours(5), active: hours(20), at_risk: hours(40), dormant: hours(60) };
        for computed in [
            ComputedTrait::count("t", did("A").within(hours(24))),
            ComputedTrait::sum("t", did("A").within(hours(24)).ending(hours(6)), "n"),
            ComputedTrait::most_frequent("t", did("A").within(hours(50)), "n"),
            ComputedTrait::days_since_first("t", did("A")),
            ComputedTrait::days_since_last("t", did("A")),
            ComputedTrait::days_since_last("t", did("A").within(hours(24))),
            ComputedTrait::lifecycle("t", did("A"), bounds),
            ComputedTrait::last("t", did("A").first_time().within(hours(9)), "n"),
        ] {
            for now in -5..200 {
                let Computed { value, until, .. } = computed.compute(&events, hour(now), &Zone::UTC);
                let end = until.unwrap_or(hour(400));
                assert!(end > hour(now), "{computed:?} at {now}");
                for later in (now..400).take_while(|later| hour(*later) < end) {
                    assert_eq!(
                        computed.compute(&events, hour(later), &Zone::UTC).value,
                        value,
                        "{computed:?} at {later}"
                    );
                }
            }
        }
        let most =
            ComputedTrait::most_frequent("t", did("A"), "n").compute(&events, hour(200), &Zone::UTC).value;
        assert_eq!(most, Some(json!(3)));
        let tie = ComputedTrait::most_frequent("t", did("A"), "n")
            .compute(&events[..2], hour(200), &Zone::UTC)
            .value;
        assert_eq!(tie, Some(json!(3)), "the one that was there first");
        let stages: Vec<_> = [0, 4, 29, 50, 70, 80, 91]
            .map(|now| {
                ComputedTrait::lifecycle("t", did("A"), bounds)
                    .compute(&events[..3], hour(now), &Zone::UTC)
                    .value
            })
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect();
        assert_eq!(json!(stages), json!(["new", "new", "active", "at_risk", "dormant", "dormant", "lost"]));
    }
}
