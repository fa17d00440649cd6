//! RFM: how lately, how often and for how much people buy.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::breakdown::Groups;
use super::calendar::{Interval, Periods};
use super::parallel::{Watch, for_everybody, in_order_of, in_parallel};
use super::read::{Members, event, flag, parsed, path, plain_event, question};
use super::table::{Table, amount, figure, heading, percent};
use super::timeline::people;
use super::wanted::Place;
use super::{Ask, Ground, Question, Scope, Wanted};
use crate::clock::{Timestamp, Zone};
use crate::error::{DefinitionError, Error, Result};
use crate::id::mask;
use crate::segment::{Condition, RfmBounds, rfm_group};
use crate::value::{Num, Object, Sum, Value};

/// How lately, how often and for how much people buy, each scored from 1 to 5.
///
/// *Recency* is whole days, on the calendar of the zone, from the day of the last purchase to the reference day;
/// *frequency* the number of purchases; *monetary* what a property of them adds up to. A score is
/// `1 + floor(5 × strictly worse / N)`: quintiles in which those who are equal share a score, 5 being best. Purchases
/// after the reference instant do not exist yet.
///
/// The groups are the usual ones, by recency and frequency:
///
/// | recency | frequency 1–2 | 3 | 4 | 5 |
/// |---|---|---|---|---|
/// | 5 | 1 `new_customers`, 2 `potential_loyalists` | `potential_loyalists` | `champions` | `champions` |
/// | 4 | 1 `promising`, 2 `potential_loyalists` | `potential_loyalists` | `loyal_customers` | `loyal_customers` |
/// | 3 | `about_to_sleep` | `need_attention` | `loyal_customers` | `loyal_customers` |
/// | 1–2 | `hibernating` | `at_risk` | `at_risk` | `cant_lose` |
///
/// ```
/// use customerdb::{Cdp, Event, Rfm, Timestamp, days, did};
///
/// let cdp = Cdp::in_memory()?;
/// let noon: Timestamp = "2024-05-01T12:00:00Z".parse()?;
/// cdp.ingest([
///     Event::track("Order").user_id("ann").at(noon).property("revenue", 19.9),
///     Event::track("Order").user_id("ann").at(noon.after(days(9))).property("revenue", 0.1),
///     Event::track("Order").user_id("bob").at(noon).property("revenue", 5),
/// ])?;
/// let report = cdp.rfm(&Rfm::new(did("Order"), "revenue").at(noon.after(days(10))))?;
/// let ann = &report.profiles[0];
/// assert_eq!((ann.recency_days, ann.frequency, ann.monetary.to_string()), (1, 2, "20".to_owned()));
/// assert_eq!((ann.r, ann.f, ann.m), (3, 3, 3), "one of two is worse");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Rfm {
    event: Condition,
    value: String,
    at: Option<Timestamp>,
    profiles: bool,
    scope: Scope,
}

question!(Rfm);

impl Rfm {
    /// Those who do `event`, and what the property `value` of it adds up to.
    pub fn new(event: impl Into<Condition>, value: impl Into<String>) -> Self {
        Self { event: event.into(), value: value.into(), at: None, profiles: true, scope: Scope::default() }
    }

    /// Tells how many people have which scores, and nobody's name: [`cells`](RfmReport::cells) in place of
    /// [`profiles`](RfmReport::profiles), which takes a fraction of the time where many have bought.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Rfm, did};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// let order = |who: &str, total| Event::track("Order").user_id(who).property("total", total);
    /// cdp.ingest([order("ann", 90), order("bob", 20), order("eve", 20)])?;
    /// let report = cdp.rfm(&Rfm::new(did("Order"), "total").without_profiles())?;
    /// let cells = report.cells.unwrap();
    /// assert_eq!((cells[0].m, cells[0].people, cells[0].monetary.to_string()), (1, 2, "40".to_owned()));
    /// assert!(report.profiles.is_empty());
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn without_profiles(mut self) -> Self {
        self.profiles = false;
        self
    }

    /// The reference instant, on the reference day. Default: now.
    pub fn at(mut self, at: impl Into<Timestamp>) -> Self {
        self.at = Some(at.into());
        self
    }

    /// Reads the question from a JSON value: `event`, `value`, `at`, `profiles` (false: only cells), `from`,
    /// `until`, `segment`, `by`.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let mut members = Members::of(value)?;
        let event = members.required("event", event)?;
        let mut new = Self::new(event, members.required("value", path)?.to_string());
        new.at = members.optional("at", parsed)?;
        new.profiles = members.optional("profiles", flag)?.unwrap_or(true);
        members.finish(new)
    }

    /// The question as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("event".into(), self.event.to_value());
        object.insert("value".into(), self.value.as_str().into());
        if let Some(at) = self.at {
            object.insert("at".into(), at.into());
        }
        if !self.profiles {
            object.insert("profiles".into(), false.into());
        }
        self.scope.write(&mut object);
        object.into()
    }
}

impl Ask for Rfm {
    fn wanted(&self) -> Result<Wanted, DefinitionError> {
        let conditions = vec![plain_event(&self.event, "event")?.clone()];
        let amount = Some(Place::checked(&self.value, "value")?);
        let ordered = self.scope.by.is_some();
        Ok(Wanted { conditions, ordered, people: self.profiles, amount, ..Wanted::default() })
    }
}

/// What RFM is answered with.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RfmReport {
    /// Everyone who bought, by name; nobody if no profiles were asked for.
    pub profiles: Vec<RfmProfile>,
    /// Those who share all scores, by scores, the lowest first, if [no profiles](Rfm::without_profiles) were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cells: Option<Vec<RfmCell>>,
    /// The same for each group, if a breakdown was asked for; the scores are those among everyone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<RfmGroup>>,
}

impl RfmReport {
    /// The bounds by which everyone here has the scores that they have here: what
    /// [`ComputedTrait::rfm`](crate::ComputedTrait::rfm) goes by, to keep today's quintiles until they are asked for
    /// again. A score that nobody has, nor a better one, is out of reach; without [`profiles`](Self::profiles) all are.
    ///
    /// ```
    /// use customerdb::{Cdp, ComputedTrait, Event, Rfm, did};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// let order = |who: &str, total| Event::track("Order").user_id(who).property("total", total);
    /// cdp.ingest([order("ann", 90), order("bob", 20), order("eve", 5)])?;
    /// let quintiles = cdp.rfm(&Rfm::new(did("Order"), "total"))?;
    /// cdp.define_trait(ComputedTrait::rfm("rfm", did("Order"), "total", quintiles.bounds()))?;
    /// let ann = cdp.profile("user_id:ann")?.unwrap();
    /// assert_eq!(ann.computed["rfm"]["m"], quintiles.profiles[0].m);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn bounds(&self) -> RfmBounds {
        let scored = |profile: &RfmProfile| {
            [
                (profile.recency_days.into(), profile.r),
                (profile.frequency.into(), profile.f),
                (profile.monetary.clone(), profile.m),
            ]
        };
        RfmBounds::between(&self.profiles.iter().map(scored).collect::<Vec<_>>())
    }
}

/// How somebody buys.
///
/// `Debug` masks the identifier.
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize)]
pub struct RfmProfile {
    /// The strongest identifier.
    pub name: String,
    /// Whole days since the last purchase.
    pub recency_days: i64,
    /// How many purchases.
    pub frequency: u64,
    /// What they add up to.
    pub monetary: Value,
    /// The score of recency, 1 to 5.
    pub r: u8,
    /// The score of frequency, 1 to 5.
    pub f: u8,
    /// The score of the sum, 1 to 5.
    pub m: u8,
    /// The name of the group.
    pub group: &'static str,
}

impl fmt::Debug for RfmProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.name.split_once(':') {
            Some((namespace, value)) => format!("{namespace}:{}", mask(value)),
            None => mask(&self.name),
        };
        write!(f, "{name} {}{}{} {}", self.r, self.f, self.m, self.group)
    }
}

/// Those of one group of a breakdown.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RfmGroup {
    /// The value that they, or their last purchases, share.
    pub value: Value,
    /// Whether these are all smaller groups together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// They, by name.
    pub profiles: Vec<RfmProfile>,
    /// Their cells, if no profiles were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cells: Option<Vec<RfmCell>>,
}

/// Those who share all three scores.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RfmCell {
    /// The score of recency, 1 to 5.
    pub r: u8,
    /// The score of frequency, 1 to 5.
    pub f: u8,
    /// The score of the sum, 1 to 5.
    pub m: u8,
    /// The name of the group.
    pub group: &'static str,
    /// How many people.
    pub people: u64,
    /// Whole days since their last purchases, added up.
    pub recency_days: i64,
    /// How many purchases, all together.
    pub frequency: u64,
    /// What those add up to.
    pub monetary: Value,
}

/// How many days ago instants were. Most people share their day with many others, so it is asked once of each day.
struct Recencies<'z> {
    zone: &'z Zone,
    at: Timestamp,
    /// Of each day how many days ago it was; none where the clocks change, which is asked of each instant.
    days: Option<(Periods, Vec<Option<i64>>)>,
}

impl<'z> Recencies<'z> {
    /// Of instants within a span, as seen from `at`.
    fn until(at: Timestamp, zone: &'z Zone, span: Option<(i64, i64)>) -> Self {
        let days = Periods::covering(Interval::Day, zone, span, "at").ok();
        let since = |days: &Periods, day: usize| {
            let (first, next) = (days.start(day), days.start(day + 1));
            zone.is_steady(first, next).then(|| zone.days_between(first, at))
        };
        let days = days.map(|days| {
            let since = (0..days.len()).map(|day| since(&days, day)).collect();
            (days, since)
        });
        Self { zone, at, days }
    }

    fn since(&self, instant: i64) -> i64 {
        let known =
            self.days.as_ref().and_then(|(days, since)| since.get(days.of(instant)).copied().flatten());
        known.unwrap_or_else(|| self.zone.days_between(Timestamp::from_micros(instant), self.at))
    }
}

/// Somebody, before the scores.
struct Buyer {
    person: usize,
    /// The value of a breakdown, of the last purchase.
    label: u32,
    /// Whole days since the last purchase.
    recency: i64,
    frequency: u64,
    sum: Sum,
}

/// The score of each value: `1 + floor(5 × strictly worse / N)`, where `order` sorts the worse before the better.
///
/// So many are worse than a value as make a score of k + 1 if it is better than the one that stands ⌈k × N / 5⌉-th: those
/// four are all that has to be found.
fn scores<V: Copy>(values: &[V], order: impl Fn(&V, &V) -> Ordering) -> Vec<u8> {
    let mut rest = values.to_vec();
    let mut bounds = Vec::new();
    for k in 1..=4 {
        let rank = (k * values.len()).div_ceil(5);
        if rank > 0 {
            bounds.push(*rest.select_nth_unstable_by(rank - 1, &order).1);
        }
    }
    let better = |value: &V| bounds.iter().filter(|bound| order(bound, value).is_lt()).count();
    values.iter().map(|value| 1 + u8::try_from(better(value)).unwrap_or(4)).collect()
}

/// The scores of sums.
fn scores_of_sums(buyers: &[Buyer]) -> Vec<u8> {
    let exact: Option<Vec<i128>> = buyers.iter().map(|buyer| buyer.sum.millionths()).collect();
    if let Some(exact) = exact {
        return scores(&exact, Ord::cmp);
    }
    let sums: Vec<Num> = buyers.iter().map(|buyer| buyer.sum.number()).collect();
    scores(&sums, |a, b| a.order(*b))
}

fn scores_of_recencies(buyers: &[Buyer]) -> Vec<u8> {
    let recencies: Vec<i64> = buyers.iter().map(|buyer| buyer.recency).collect();
    scores(&recencies, |a, b| b.cmp(a))
}

fn scores_of_frequencies(buyers: &[Buyer]) -> Vec<u8> {
    let frequencies: Vec<u64> = buyers.iter().map(|buyer| buyer.frequency).collect();
    scores(&frequencies, Ord::cmp)
}

/// So many buyers are put into cells at once.
const TOGETHER: usize = if cfg!(debug_assertions) { 1 << 2 } else { 1 << 14 };

/// People who share all scores: how many, their days since, their purchases, and what those add up to.
type Together = (u64, i64, u64, Sum);

/// The 125 cells, being counted: by recency, then by frequency, then by sum.
#[derive(Debug, Clone)]
struct Cells(Vec<Together>);

impl Default for Cells {
    fn default() -> Self {
        Self(vec![Together::default(); 125])
    }
}

impl Cells {
    fn add(&mut self, [r, f, m]: [u8; 3], more: (u64, i64, u64, &Sum)) {
        let place = [r, f, m].iter().fold(0, |place, score| place * 5 + usize::from(*score) - 1);
        merge(&mut self.0[place], more);
    }

    fn merge(&mut self, other: &Self) {
        for (own, (people, days, purchases, sum)) in self.0.iter_mut().zip(&other.0) {
            merge(own, (*people, *days, *purchases, sum));
        }
    }

    fn told(&self) -> Vec<RfmCell> {
        let told = |(place, counted): (u8, &Together)| {
            let [r, f, m] = [place / 25 + 1, place / 5 % 5 + 1, place % 5 + 1];
            let (people, recency_days, frequency, sum) = counted;
            RfmCell {
                r,
                f,
                m,
                group: rfm_group(r, f),
                people: *people,
                recency_days: *recency_days,
                frequency: *frequency,
                monetary: sum.to_value(),
            }
        };
        (0..).zip(&self.0).filter(|(_, (people, ..))| *people > 0).map(told).collect()
    }
}

fn merge(own: &mut Together, (people, days, purchases, sum): (u64, i64, u64, &Sum)) {
    own.0 += people;
    own.1 += days;
    own.2 += purchases;
    own.3.merge(sum);
}

impl Question for Rfm {
    type Report = RfmReport;

    fn answer(&self, ground: &Ground<'_>) -> Result<RfmReport> {
        let timeline = ground.timeline;
        let at = self.at.unwrap_or(ground.now);
        let span = timeline.span(1, &Scope::default(), ground.watch)?;
        let days = Recencies::until(at, ground.zone, span);
        let parts = for_everybody(timeline, ground.watch, |parts| {
            let mut buyers = Vec::new();
            for (part, person) in people(parts) {
                let (mut sum, mut frequency, mut last) = (Sum::default(), 0, None);
                for event in part.events(person).filter(|event| part.rows[*event].at <= at.as_micros()) {
                    part.amounts[event].add_to(&mut sum);
                    frequency += 1;
                    last = Some(event);
                }
                if let Some(last) = last {
                    let recency = days.since(part.rows[last].at);
                    let label = part.label(person, last);
                    buyers.push(Buyer { person, label, recency, frequency, sum });
                }
            }
            buyers
        })?;
        let buyers = together(parts, ground.watch)?;
        let looked_at = timeline.len();
        let all: [fn(&[Buyer]) -> _; 3] = [scores_of_sums, scores_of_recencies, scores_of_frequencies];
        let scored = in_parallel(all.into(), ground.watch, looked_at, |scores| scores(&buyers))?;
        let [m, r, f] = &scored[..] else { return Err(Error::Cancelled) };
        let scored = |place: usize| [r[place], f[place], m[place]];
        if !self.profiles {
            let groups = ground.groups(&self.scope, 1)?;
            let blank = || (Cells::default(), vec![Cells::default(); groups.as_ref().map_or(0, Groups::len)]);
            // Of many groups not every piece can have cells of its own.
            let together = if groups.is_some() { buyers.len().max(1) } else { TOGETHER };
            let pieces = buyers.chunks(together).enumerate().collect();
            let counted =
                in_parallel(pieces, ground.watch, looked_at, |(piece, buyers): (usize, &[Buyer])| {
                    let (mut all, mut of_groups) = blank();
                    for (place, Buyer { label, recency, frequency, sum, .. }) in
                        (piece * together..).zip(buyers)
                    {
                        all.add(scored(place), (1, *recency, *frequency, sum));
                        if let Some(group) = groups.as_ref().and_then(|groups| groups.of_value(*label)) {
                            of_groups[group].add(scored(place), (1, *recency, *frequency, sum));
                        }
                    }
                    (all, of_groups)
                })?;
            let (mut all, mut of_groups) = blank();
            for (more, more_of_groups) in &counted {
                all.merge(more);
                of_groups.iter_mut().zip(more_of_groups).for_each(|(own, more)| own.merge(more));
            }
            let tell = |((value, other), cells): ((Value, bool), &Cells)| RfmGroup {
                value,
                other,
                profiles: Vec::new(),
                cells: Some(cells.told()),
            };
            let groups = groups.map(|groups| groups.values().zip(&of_groups).map(tell).collect());
            return Ok(RfmReport { profiles: Vec::new(), cells: Some(all.told()), groups });
        }
        let name = |place: usize| timeline.legend.people[buyers[place].person].as_str();
        let order = in_order_of(buyers.len(), name, ground.watch)?;
        let profile = |place: &usize| {
            let ([r, f, m], buyer) = (scored(*place), &buyers[*place]);
            RfmProfile {
                name: name(*place).to_owned(),
                recency_days: buyer.recency,
                frequency: buyer.frequency,
                monetary: buyer.sum.to_value(),
                r,
                f,
                m,
                group: rfm_group(r, f),
            }
        };
        let pieces = order.chunks(TOGETHER).collect();
        let told = in_parallel(pieces, ground.watch, looked_at, |places: &[usize]| {
            places.iter().map(profile).collect::<Vec<_>>()
        })?;
        let profiles = together(told, ground.watch)?;
        let labels = order.iter().map(|place| buyers[*place].label);
        let groups = ground.groups(&self.scope, 1)?;
        let groups = groups.map(|groups| grouped(&groups, labels, &profiles, ground.watch)).transpose()?;
        Ok(RfmReport { profiles, cells: None, groups })
    }
}

/// All pieces in one.
fn together<T>(pieces: Vec<Vec<T>>, watch: &Watch<'_>) -> Result<Vec<T>> {
    let mut whole = Vec::with_capacity(pieces.iter().map(Vec::len).sum());
    for piece in pieces {
        whole.extend(piece);
        watch.tell(0)?;
    }
    Ok(whole)
}

/// The profiles of each group, in the order of all.
fn grouped(
    groups: &Groups,
    labels: impl Iterator<Item = u32>,
    profiles: &[RfmProfile],
    watch: &Watch<'_>,
) -> Result<Vec<RfmGroup>> {
    let empty = |(value, other)| RfmGroup { value, other, profiles: Vec::new(), cells: None };
    let mut told: Vec<RfmGroup> = groups.values().map(empty).collect();
    for (place, (label, profile)) in labels.zip(profiles).enumerate() {
        if place % TOGETHER == 0 {
            watch.tell(0)?;
        }
        if let Some(group) = groups.of_value(label) {
            told[group].profiles.push(profile.clone());
        }
    }
    Ok(told)
}

impl fmt::Display for RfmReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, &self.profiles, self.cells.as_deref())?;
        for group in self.groups.iter().flatten() {
            heading(f, &group.value, group.other)?;
            print(f, &group.profiles, group.cells.as_deref())?;
        }
        Ok(())
    }
}

/// The named groups with their sizes and what they brought, the best first; people are for programs to list.
fn print(f: &mut fmt::Formatter<'_>, profiles: &[RfmProfile], cells: Option<&[RfmCell]>) -> fmt::Result {
    let mut groups: BTreeMap<&str, (u64, i64, u64, Sum)> = BTreeMap::new();
    let mut add = |group: &'static str, more: (u64, i64, u64), value: &Value| {
        let (people, recency, frequency, monetary) = groups.entry(group).or_default();
        *people += more.0;
        *recency += more.1;
        *frequency += more.2;
        monetary.add(value);
    };
    for profile in profiles {
        add(profile.group, (1, profile.recency_days, profile.frequency), &profile.monetary);
    }
    for cell in cells.unwrap_or_default() {
        add(cell.group, (cell.people, cell.recency_days, cell.frequency), &cell.monetary);
    }
    let all: u64 = groups.values().map(|(people, ..)| people).sum();
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(_, a), (_, b)| b.3.number().order(a.3.number()));
    let mut table = Table::new(1);
    table.push(["group", "people", "share", "days since", "purchases each", "value"].map(str::to_owned));
    for (name, (people, recency, frequency, monetary)) in groups {
        let share = super::figures::share(people, all);
        let mean = super::figures::share(frequency, people);
        let people_signed = i64::try_from(people).unwrap_or(i64::MAX);
        table.push([
            name.replace('_', " "),
            amount(people),
            percent(share),
            (recency / people_signed.max(1)).to_string(),
            format!("{mean:.1}"),
            figure(&monetary.to_value()),
        ]);
    }
    write!(f, "{table}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_those_of_the_calendar_where_the_clocks_go_back_over_midnight_too() {
        // Newfoundland put its clocks back from a minute past midnight, on the 7th of November 2010, to the 6th.
        let zone: Zone = "America/St_Johns".parse().unwrap();
        let first: Timestamp = "2010-11-05T00:00:00Z".parse().unwrap();
        let minute = |minute: i64| first.as_micros() + minute * 60_000_000;
        let at = Timestamp::from_micros(minute(9_999));
        let recencies = Recencies::until(at, &zone, Some((minute(0), minute(5_000))));
        let known = |day: &Option<i64>| day.is_some();
        assert_eq!(recencies.days.as_ref().unwrap().1.iter().filter(|day| known(day)).count(), 4);
        for instant in (0..5_000).map(minute) {
            let expected = zone.days_between(Timestamp::from_micros(instant), at);
            assert_eq!(recencies.since(instant), expected, "{instant}");
        }
    }

    proptest! {
        #[test]
        fn a_score_counts_how_many_are_worse(values in prop::collection::vec(0..12_i32, 0..60)) {
            let naive = |value: &i32| {
                let worse = values.iter().filter(|other| *other < value).count();
                u8::try_from(1 + 5 * worse / values.len()).unwrap()
            };
            prop_assert_eq!(scores(&values, Ord::cmp), values.iter().map(naive).collect::<Vec<_>>());
        }
    }
}
