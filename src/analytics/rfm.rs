//! RFM: how lately, how often and for how much people buy.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::breakdown::Groups;
use super::parallel::for_everybody;
use super::read::{Members, event, parsed, path, plain_event, question};
use super::table::{Table, amount, figure, heading, percent};
use super::timeline::people;
use super::wanted::Place;
use super::{Ask, Ground, Question, Scope, Wanted};
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Result};
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
    scope: Scope,
}

question!(Rfm);

impl Rfm {
    /// Those who do `event`, and what the property `value` of it adds up to.
    pub fn new(event: impl Into<Condition>, value: impl Into<String>) -> Self {
        Self { event: event.into(), value: value.into(), at: None, scope: Scope::default() }
    }

    /// The reference instant, on the reference day. Default: now.
    pub fn at(mut self, at: impl Into<Timestamp>) -> Self {
        self.at = Some(at.into());
        self
    }

    /// Reads the question from a JSON value: `event`, `value`, `at`, `from`, `until`, `segment`, `by`.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let mut members = Members::of(value)?;
        let event = members.required("event", event)?;
        let mut new = Self::new(event, members.required("value", path)?.to_string());
        new.at = members.optional("at", parsed)?;
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
        self.scope.write(&mut object);
        object.into()
    }
}

impl Ask for Rfm {
    fn wanted(&self) -> Result<Wanted, DefinitionError> {
        let conditions = vec![plain_event(&self.event, "event")?.clone()];
        let amount = Some(Place::checked(&self.value, "value")?);
        Ok(Wanted { conditions, ordered: self.scope.by.is_some(), people: true, amount, ..Wanted::default() })
    }
}

/// What RFM is answered with.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RfmReport {
    /// Everyone who bought, by name.
    pub profiles: Vec<RfmProfile>,
    /// The same for each group, if a breakdown was asked for; the scores are those among everyone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<RfmGroup>>,
}

impl RfmReport {
    /// The bounds by which everyone here has the scores that they have here: what
    /// [`ComputedTrait::rfm`](crate::ComputedTrait::rfm) goes by, to keep today's quintiles until they are asked for
    /// again. A score that nobody has, nor a better one, is out of reach.
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
}

/// Somebody, before the scores.
struct Buyer {
    person: usize,
    /// The value of a breakdown, of the last purchase.
    label: u32,
    recency: i64,
    frequency: u64,
    monetary: Num,
    sum: Sum,
}

/// The score of each: `1 + floor(5 × strictly worse / N)`, where `order` sorts the worse before the better.
fn scores(buyers: &[Buyer], order: impl Fn(&Buyer, &Buyer) -> std::cmp::Ordering) -> Vec<u8> {
    let mut places: Vec<usize> = (0..buyers.len()).collect();
    places.sort_by(|a, b| order(&buyers[*a], &buyers[*b]));
    let mut scores = vec![1; buyers.len()];
    let mut worse = 0;
    for (rank, place) in places.iter().enumerate() {
        if rank > 0 && order(&buyers[places[rank - 1]], &buyers[*place]).is_lt() {
            worse = rank;
        }
        scores[*place] = u8::try_from(1 + 5 * worse / buyers.len()).unwrap_or(5);
    }
    scores
}

impl Question for Rfm {
    type Report = RfmReport;

    fn answer(&self, ground: &Ground<'_>) -> Result<RfmReport> {
        let timeline = ground.timeline;
        let at = self.at.unwrap_or(ground.now);
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
                    let recency = ground.zone.days_between(Timestamp::from_micros(part.rows[last].at), at);
                    let label = part.label(person, last);
                    buyers.push(Buyer { person, label, recency, frequency, monetary: sum.number(), sum });
                }
            }
            buyers
        })?;
        let buyers: Vec<Buyer> = parts.into_iter().flatten().collect();
        let r = scores(&buyers, |a, b| b.recency.cmp(&a.recency));
        ground.watch.tell(timeline.len() as u64)?;
        let f = scores(&buyers, |a, b| a.frequency.cmp(&b.frequency));
        ground.watch.tell(timeline.len() as u64)?;
        let m = scores(&buyers, |a, b| a.monetary.order(b.monetary));
        ground.watch.tell(timeline.len() as u64)?;
        let profile = |(place, buyer): (usize, &Buyer)| RfmProfile {
            name: timeline.legend.people[buyer.person].clone(),
            recency_days: buyer.recency,
            frequency: buyer.frequency,
            monetary: buyer.sum.to_value(),
            r: r[place],
            f: f[place],
            m: m[place],
            group: rfm_group(r[place], f[place]),
        };
        let mut profiles: Vec<RfmProfile> = buyers.iter().enumerate().map(profile).collect();
        let groups = ground.groups(&self.scope, 1).map(|groups| grouped(&groups, &buyers, &profiles));
        profiles.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(RfmReport { profiles, groups })
    }
}

fn grouped(groups: &Groups, buyers: &[Buyer], profiles: &[RfmProfile]) -> Vec<RfmGroup> {
    let mut told: Vec<RfmGroup> =
        groups.values().map(|(value, other)| RfmGroup { value, other, profiles: Vec::new() }).collect();
    for (buyer, profile) in buyers.iter().zip(profiles) {
        if let Some(group) = groups.of_value(buyer.label) {
            told[group].profiles.push(profile.clone());
        }
    }
    for group in &mut told {
        group.profiles.sort_by(|a, b| a.name.cmp(&b.name));
    }
    told
}

impl fmt::Display for RfmReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, &self.profiles)?;
        for group in self.groups.iter().flatten() {
            heading(f, &group.value, group.other)?;
            print(f, &group.profiles)?;
        }
        Ok(())
    }
}

/// The named groups with their sizes and what they brought, the best first; people are for programs to list.
fn print(f: &mut fmt::Formatter<'_>, profiles: &[RfmProfile]) -> fmt::Result {
    let mut groups: BTreeMap<&str, (u64, i64, u64, Sum)> = BTreeMap::new();
    for profile in profiles {
        let (people, recency, frequency, monetary) = groups.entry(profile.group).or_default();
        *people += 1;
        *recency += profile.recency_days;
        *frequency += profile.frequency;
        monetary.add(&profile.monetary);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(_, a), (_, b)| b.3.number().order(a.3.number()));
    let mut table = Table::new(1);
    table.push(["group", "people", "share", "days since", "purchases each", "value"].map(str::to_owned));
    for (name, (people, recency, frequency, monetary)) in groups {
        let share = super::figures::share(people, profiles.len() as u64);
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
