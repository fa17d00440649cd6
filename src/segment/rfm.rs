//! RFM of one person: how lately, how often and for how much they buy, scored by bounds.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::{Value, json};

use super::aggregate::Tally;
use super::at::{At, Result, object, path};
use super::calendar::start_of_day_after;
use super::comparison::Comparison;
use super::condition::{Aggregate, AggregateTest};
use super::evaluate::earliest;
use super::occurrences::Occurrences;
use crate::clock::Timestamp;
use crate::profile::Computed;
use crate::value::{DottedPath, Num};

/// From where on somebody has which score, each for the scores 5, 4, 3 and 2; whoever meets none of the four has 1.
///
/// Within as many days since the last purchase, with as many purchases at least, and with such a sum at least. As JSON
/// they are members of `"rfm"` in a [`ComputedTrait`](crate::ComputedTrait), where null stands for what nobody meets.
///
/// ```
/// use customerdb::{Cdp, ComputedTrait, Event, RfmBounds, Timestamp, did, has_trait};
///
/// let bounds = RfmBounds::default().recency_days([7, 30, 90, 365]).monetary([400.0, 200.0, 100.0, 49.9]);
/// let read = ComputedTrait::from_json(
///     r#"{"name": "rfm", "event": "Order", "rfm": {"value": "revenue", "recency_days": [7, 30, 90, 365],
///         "frequency": [10, 5, 3, 2], "monetary": [400, 200, 100, 49.9]}}"#,
/// )?;
/// let rfm = ComputedTrait::rfm("rfm", did("Order"), "revenue", bounds);
///
/// let cdp = Cdp::in_memory()?;
/// cdp.define_trait(rfm)?;
/// let order = |n: &str| Event::track("Order").user_id("ann").message_id(n).property("revenue", 24.95);
/// cdp.ingest([order("1"), order("2")])?;
/// let rfm = &cdp.profile("user_id:ann")?.unwrap().computed["rfm"];
/// assert_eq!((&rfm["r"], &rfm["f"], &rfm["m"]), (&5.into(), &2.into(), &2.into()));
/// assert_eq!(rfm["group"], "potential_loyalists");
/// assert_eq!(cdp.preview(has_trait("rfm.group").eq("potential_loyalists"))?.len(), 1);
/// # assert_eq!(read.to_value()["rfm"]["frequency"], serde_json::json!([10, 5, 3, 2]));
/// # Ok::<(), customerdb::Error>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RfmBounds {
    recency_days: Bounds,
    frequency: Bounds,
    monetary: Bounds,
}

/// Numbers, or null for what nobody meets.
type Bounds = [Value; 4];

/// The scores that the bounds are for.
const SCORES: [u8; 4] = [5, 4, 3, 2];

impl Default for RfmBounds {
    fn default() -> Self {
        Self {
            recency_days: [30, 60, 90, 180].map(Value::from),
            frequency: [10, 5, 3, 2].map(Value::from),
            monetary: [1_000, 500, 200, 50].map(Value::from),
        }
    }
}

impl RfmBounds {
    /// The most whole days since the last purchase, on the calendar of the zone. Default: 30, 60, 90 and 180.
    pub fn recency_days(mut self, most: [u32; 4]) -> Self {
        self.recency_days = most.map(Value::from);
        self
    }

    /// The least number of purchases. Default: 10, 5, 3 and 2.
    pub fn frequency(mut self, least: [u64; 4]) -> Self {
        self.frequency = least.map(Value::from);
        self
    }

    /// The least sum, in whatever the property counts. Default: 1,000, 500, 200 and 50.
    pub fn monetary<N: Into<Value>>(mut self, least: [N; 4]) -> Self {
        self.monetary = least.map(Into::into);
        self
    }

    /// The bounds between those who have these figures and scores: of recency, frequency and the sum.
    pub(crate) fn between(scored: &[[(Value, u8); 3]]) -> Self {
        let worst = |which: usize, worse: Ordering| {
            SCORES.map(|score| {
                let met = scored.iter().map(|scored| &scored[which]).filter(|(_, own)| *own >= score);
                let worst = met
                    .map(|(value, _)| value)
                    .reduce(|worst, value| if order(value, worst) == Some(worse) { value } else { worst });
                worst.cloned().unwrap_or_default()
            })
        };
        Self {
            recency_days: worst(0, Ordering::Greater),
            frequency: worst(1, Ordering::Less),
            monetary: worst(2, Ordering::Less),
        }
    }

    /// Reads what is worked out: a property whose values are added up, and the bounds; or the property alone.
    pub(super) fn read(value: &Value, at: &At<'_>) -> Result<(AggregateTest, Self)> {
        const MEMBERS: [&str; 4] = ["value", "recency_days", "frequency", "monetary"];
        let mut bounds = Self::default();
        if value.is_string() {
            return Ok((sum_of(path(value, at)?), bounds));
        }
        let given = object(value, at)?;
        if let Some(name) = given.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(at.error(format!("unknown member {name:?}, expected one of {}", MEMBERS.join(", "))));
        }
        let of = given.get("value").ok_or_else(|| at.error("missing \"value\""))?;
        let of = sum_of(path(of, &at.member("value"))?);
        let read = |name: &str, better: Ordering, into: &mut Bounds| match given.get(name) {
            None => Ok(()),
            Some(value) => {
                numbers(value, better, name != "monetary", &at.member(name)).map(|read| *into = read)
            }
        };
        read("recency_days", Ordering::Less, &mut bounds.recency_days)?;
        read("frequency", Ordering::Greater, &mut bounds.frequency)?;
        read("monetary", Ordering::Greater, &mut bounds.monetary)?;
        Ok((of, bounds))
    }

    /// As it is read.
    pub(super) fn write(&self, of: &AggregateTest) -> Value {
        let Self { recency_days, frequency, monetary } = self;
        json!({"value": of.path.to_string(), "recency_days": recency_days, "frequency": frequency, "monetary": monetary})
    }

    /// The scores at an instant. Purchases later than now have not happened yet; `until` is how long the same ones
    /// count.
    pub(super) fn compute(
        &self,
        of: &AggregateTest,
        occurrences: &Occurrences<'_>,
        until: Option<Timestamp>,
    ) -> Computed {
        let (now, zone) = (occurrences.now, occurrences.zone);
        let (mut frequency, mut last, mut until) = (0_u64, None, until);
        let mut tally = Tally::new(of);
        for event in occurrences.counted() {
            if event.at > now {
                until = earliest(until, Some(event.at));
                break;
            }
            frequency += 1;
            tally.add(event);
            last = Some(event.at);
        }
        let Some(last) = last else { return Computed { until, ..Computed::default() } };
        let (recency, frequency) = (Value::from(zone.days_between(last, now)), Value::from(frequency));
        let monetary = tally.result().map(|sum| sum.to_value()).unwrap_or_default();
        let met = |bounds: &Bounds, own: &Value, better: Ordering| {
            bounds
                .iter()
                .position(|bound| order(own, bound).is_some_and(|found| found.is_eq() || found == better))
        };
        let score = |met: Option<usize>| met.map_or(1, |place| SCORES[place]);
        let within = met(&self.recency_days, &recency, Ordering::Less);
        let (r, f, m) = (
            score(within),
            score(met(&self.frequency, &frequency, Ordering::Greater)),
            score(met(&self.monetary, &monetary, Ordering::Greater)),
        );
        // The days go by at midnight, and with some of them a score.
        let over = |days: &Value| Some(start_of_day_after(last, days.as_u64()?, zone));
        let scored_until = earliest(until, within.and_then(|place| over(&self.recency_days[place])));
        let value = json!({"recency_days": recency, "frequency": frequency, "monetary": monetary,
            "r": r, "f": f, "m": m, "group": group(r, f)});
        let counted = ["frequency", "monetary", "f", "m"].map(|name| (name.to_owned(), until));
        let scored = ["r", "group"].map(|name| (name.to_owned(), scored_until));
        let parts = counted.into_iter().chain(scored).collect();
        Computed { until: earliest(until, over(&recency)), value: Some(value), parts }
    }
}

/// The groups that people know, by the scores of recency and frequency.
pub(crate) fn group(r: u8, f: u8) -> &'static str {
    match (r, f) {
        (5, 4..) => "champions",
        (3.., 4..) => "loyal_customers",
        (4.., 2..) => "potential_loyalists",
        (5, _) => "new_customers",
        (4, _) => "promising",
        (3, 3) => "need_attention",
        (3, _) => "about_to_sleep",
        (_, 5) => "cant_lose",
        (_, 3..) => "at_risk",
        _ => "hibernating",
    }
}

/// The sum of a property.
pub(super) fn sum_of(path: DottedPath) -> AggregateTest {
    let comparison = Comparison { as_number: false, tests: Vec::new() };
    AggregateTest { aggregate: Aggregate::Sum, path, comparison }
}

/// How two numbers stand to each other.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    let number = |value: &Value| value.as_number().and_then(Num::of);
    Some(number(a)?.order(number(b)?))
}

/// Four numbers, the best first, before which null may stand.
fn numbers(value: &Value, better: Ordering, is_whole: bool, at: &At<'_>) -> Result<Bounds> {
    let (what, order_of) =
        if better.is_lt() { ("the least", "ascending") } else { ("the greatest", "descending") };
    let expected =
        || at.error(format!("expected the bounds for the scores 5, 4, 3 and 2: {order_of}, {what} first"));
    let given = value.as_array().ok_or_else(|| at.expected("an array of four numbers", value))?;
    let bounds: Bounds = given.clone().try_into().map_err(|_| expected())?;
    for (index, bound) in bounds.iter().enumerate() {
        let fits = if is_whole { bound.is_u64() } else { bound.is_number() };
        if !fits && !bound.is_null() {
            let what = if is_whole { "a whole number from 0, or null" } else { "a number, or null" };
            return Err(at.index(index).expected(what, bound));
        }
    }
    let in_order = |pair: &[Value]| match (&pair[0], &pair[1]) {
        (Value::Null, _) => true,
        (a, b) => order(a, b).is_some_and(|found| found.is_eq() || found == better),
    };
    if bounds.windows(2).all(in_order) { Ok(bounds) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Zone, days};
    use crate::profile::PastEvent;
    use crate::{ComputedTrait, did};

    fn orders(of: &[(i64, f64)]) -> Vec<PastEvent> {
        let order = |(day, total): &(i64, f64)| PastEvent {
            name: "Order".into(),
            at: Timestamp::from_millis(day * 86_400_000 + 43_200_000),
            message_id: format!("m{day}"),
            properties: json!({"total": total}).as_object().cloned().unwrap_or_default(),
        };
        of.iter().map(order).collect()
    }

    #[test]
    fn scores_worked_by_hand() {
        let bounds = RfmBounds::default()
            .recency_days([0, 2, 2, 9])
            .frequency([4, 3, 2, 1])
            .monetary([30.3, 30.0, 20.0, 0.3]);
        let rfm = ComputedTrait::rfm("rfm", did("Order"), "total", bounds);
        let events = orders(&[(10, 0.1), (10, 0.2), (12, 29.9), (20, 100.0)]);
        let midnight = |day: i64| Timestamp::from_millis(day * 86_400_000);
        let noon = |day: i64| midnight(day).after(crate::hours(12));
        for (now, expected, until, r_until) in [
            (noon(10), json!([0, 2, 0.3, 5, 3, 2, "potential_loyalists"]), midnight(11), midnight(11)),
            (midnight(11), json!([1, 2, 0.3, 4, 3, 2, "potential_loyalists"]), midnight(12), noon(12)),
            (noon(12), json!([0, 3, 30.2, 5, 4, 4, "champions"]), midnight(13), midnight(13)),
            // Two scores with one bound: nobody has the lower one.
            (midnight(14), json!([2, 3, 30.2, 4, 4, 4, "loyal_customers"]), midnight(15), midnight(15)),
            (midnight(15), json!([3, 3, 30.2, 2, 4, 4, "at_risk"]), midnight(16), noon(20)),
            (noon(20), json!([0, 4, 130.2, 5, 5, 5, "champions"]), midnight(21), midnight(21)),
            (midnight(30), json!([10, 4, 130.2, 1, 5, 5, "cant_lose"]), midnight(31), Timestamp::EARLIEST),
        ] {
            let computed = rfm.compute(&events, now, &Zone::UTC);
            let value = computed.value.unwrap();
            let members = ["recency_days", "frequency", "monetary", "r", "f", "m", "group"];
            assert_eq!(json!(members.map(|name| &value[name])), expected, "at {now}");
            // The day that begins then is one more, unless a purchase comes before.
            assert_eq!(computed.until, Some(until).min(computed.parts["f"].or(Some(until))), "at {now}");
            let r_until = Some(r_until).filter(|at| *at > now);
            assert_eq!((computed.parts["r"], computed.parts["group"]), (r_until, r_until), "at {now}");
        }
        let before = rfm.compute(&events, midnight(10), &Zone::UTC);
        assert_eq!((before.value, before.until), (None, Some(noon(10))), "no purchase yet");
        let lately = ComputedTrait::rfm("rfm", did("Order").within(days(3)), "total", RfmBounds::default());
        let computed = lately.compute(&events, noon(12), &Zone::UTC);
        assert_eq!(computed.parts["frequency"], Some(noon(13)), "until a purchase is too old");
    }

    #[test]
    fn bounds_read_back_what_they_write_and_mistakes_name_their_path() {
        let plain = json!({"name": "t", "event": "Order", "rfm": "total"});
        let read = ComputedTrait::from_value(&plain).unwrap();
        assert_eq!(read, ComputedTrait::rfm("t", did("Order"), "total", RfmBounds::default()));
        let null = json!({"name": "t", "event": "Order",
            "rfm": {"value": "total", "recency_days": [null, 1, 2, 3], "frequency": [null, null, null, null], "monetary": [9.5, 9, 0, -1]}});
        assert_eq!(ComputedTrait::from_value(&null).unwrap().to_value(), null);
        let four = "expected the bounds for the scores 5, 4, 3 and 2";
        for (rfm, message) in [
            (json!({}), "rfm: missing \"value\"".to_owned()),
            (json!(true), "rfm: expected an object, found a boolean".to_owned()),
            (
                json!({"value": "x", "days": 1}),
                "rfm: unknown member \"days\", expected one of value, recency_days, frequency, monetary"
                    .to_owned(),
            ),
            (
                json!({"value": "x", "monetary": 1}),
                "rfm.monetary: expected an array of four numbers, found a number".to_owned(),
            ),
            (
                json!({"value": "x", "frequency": [3, 2, 1]}),
                format!("rfm.frequency: {four}: descending, the greatest first"),
            ),
            (
                json!({"value": "x", "frequency": [1, 2, 3, 4]}),
                format!("rfm.frequency: {four}: descending, the greatest first"),
            ),
            (
                json!({"value": "x", "recency_days": [1, null, 2, 3]}),
                format!("rfm.recency_days: {four}: ascending, the least first"),
            ),
            (
                json!({"value": "x", "recency_days": [1, 2, 2.5, 3]}),
                "rfm.recency_days[2]: expected a whole number from 0, or null, found a number".to_owned(),
            ),
        ] {
            let definition = json!({"name": "t", "event": "Order", "rfm": rfm});
            assert_eq!(ComputedTrait::from_value(&definition).unwrap_err().to_string(), message);
        }
        let built =
            ComputedTrait::rfm("t", did("Order"), "x", RfmBounds::default().monetary(["a", "b", "c", "d"]));
        assert!(
            built.check().unwrap_err().to_string().starts_with("rfm.monetary[0]: expected a number, or null")
        );
        assert_eq!(
            json!(RfmBounds::default()),
            json!({"recency_days": [30, 60, 90, 180], "frequency": [10, 5, 3, 2], "monetary": [1000, 500, 200, 50]})
        );
    }
}
