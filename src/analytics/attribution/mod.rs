//! Attribution: to which channels conversions are owed.
//!
//! Shapley's value (L. S. Shapley, *A value for n-person games*, 1953) asks what a set of channels brings about alone:
//! the conversions of the paths that touch no other channel. That game is a sum of games, one for each path, which
//! its channels win together or not at all; and the value of a sum is the sum of the values (the axiom of
//! additivity), in each of which the channels, being alike, share equally (that of symmetry). So the exact value of
//! any number of channels is each path's conversion in equal parts to its different channels, and neither sets are
//! enumerated nor orders sampled. K. Zhao, S. H. Mahboobi and S. R. Bagheri show the same in *Shapley Value Methods
//! for Attribution Modeling in Online Advertising* (2018).

mod credit;
mod markov;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::json;

use self::credit::{Touch, conversions, share_out};
use self::markov::{CONVERSION, NOTHING, Walks};
use super::breakdown::Groups;
use super::parallel::for_everybody;
use super::read::{Members, event, longer_than_zero, path, plain_event, question, span, text, word, word_of};
use super::table::{Table, amount, heading, percent};
use super::timeline::{Mask, Part, Timeline, people};
use super::wanted::Place;
use super::{Ask, Ground, Question, Scope, Wanted};
use crate::clock::Span;
use crate::error::{DefinitionError, Result};
use crate::segment::{Condition, did};
use crate::value::{Object, Value};

/// To which channels conversions are owed.
///
/// A path is a person's touches since their previous conversion, of those within the look-back of the conversion;
/// touches after the last conversion are a path that did not convert. The channel of a touch is a property of it, or a
/// part of its context; a touch without one is `direct`. An event that is a touch and a conversion is both: the last
/// touch of its own path. The credits add up to the conversions that had a touch.
///
/// ```
/// use customerdb::{Attribution, AttributionModel, Cdp, Event, Timestamp, did, hours};
///
/// let cdp = Cdp::in_memory()?;
/// let noon: Timestamp = "2024-05-01T12:00:00Z".parse()?;
/// cdp.ingest([
///     Event::track("Visit").user_id("ann").at(noon).property("channel", "ads"),
///     Event::track("Visit").user_id("ann").at(noon.after(hours(1))).property("channel", "mail"),
///     Event::track("Order").user_id("ann").at(noon.after(hours(2))),
/// ])?;
/// let question = Attribution::of(did("Order")).touches(did("Visit"), "channel").model(AttributionModel::Linear);
/// let report = cdp.attribution(&question)?;
/// assert_eq!((report.conversions, report.channels["ads"], report.channels["mail"]), (1, 0.5, 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    conversion: Condition,
    channel: String,
    touch: Option<Condition>,
    model: AttributionModel,
    lookback: Option<Span>,
    scope: Scope,
}

/// How a conversion is shared out among the touches before it.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AttributionModel {
    /// All to the first touch.
    First,
    /// All to the last touch.
    #[default]
    Last,
    /// All to the last touch that is not direct, or if all are, to the last.
    LastNonDirect,
    /// In equal parts to all touches.
    Linear,
    /// 40 % to the first and to the last touch, 20 % in equal parts to those between; of two touches, half to each.
    Position,
    /// More to later touches: a weight that halves with every seven days.
    TimeDecay,
    /// To each channel in proportion to the conversions that would be lost without it, in a Markov chain of order 1.
    Markov,
    /// Shapley's value of each channel, exactly, for any number of channels.
    Shapley,
}

const MODELS: [(&str, AttributionModel); 8] = [
    ("first", AttributionModel::First),
    ("last", AttributionModel::Last),
    ("last_non_direct", AttributionModel::LastNonDirect),
    ("linear", AttributionModel::Linear),
    ("position", AttributionModel::Position),
    ("time_decay", AttributionModel::TimeDecay),
    ("markov", AttributionModel::Markov),
    ("shapley", AttributionModel::Shapley),
];

question!(Attribution);

/// Where the channel of a touch stands unless it is said: that no event has it is no slip of whoever asks.
pub(crate) const CHANNEL: &str = "context.campaign.source";

impl Attribution {
    /// How many channels are told apart.
    pub const MOST_CHANNELS: usize = 1_000;

    /// To whom these conversions are owed. The channel is `context.campaign.source` unless
    /// [`touches`](Self::touches) says otherwise, and every event that has one is a touch.
    pub fn of(conversion: impl Into<Condition>) -> Self {
        Self {
            conversion: conversion.into(),
            channel: CHANNEL.to_owned(),
            touch: None,
            model: AttributionModel::default(),
            lookback: None,
            scope: Scope::default(),
        }
    }

    /// Which events are touches, and where their channel stands: in a property, or at `context.…`.
    pub fn touches(mut self, touch: impl Into<Condition>, channel: impl Into<String>) -> Self {
        self.touch = Some(touch.into());
        self.channel = channel.into();
        self
    }

    /// Where the channel of a touch stands: in a property, or at `context.…`. Unless it is said which events are
    /// touches, those are that have one.
    pub fn channel(mut self, channel: impl Into<String>) -> Self {
        self.channel = channel.into();
        self
    }

    /// How conversions are shared out. Default: [`AttributionModel::Last`].
    pub fn model(mut self, model: AttributionModel) -> Self {
        self.model = model;
        self
    }

    /// How long before a conversion a touch may be, itself included. Default: any time.
    pub fn lookback(mut self, span: Span) -> Self {
        self.lookback = Some(span);
        self
    }

    /// Reads the question from a JSON value: `conversion`, `channel`, `touch`, `model` (`first`, `last`,
    /// `last_non_direct`, `linear`, `position`, `time_decay`, `markov`, `shapley`), `lookback`, `from`, `until`,
    /// `segment`, `by`.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let mut members = Members::of(value)?;
        let mut new = Self::of(members.required("conversion", event)?);
        let channel = members.optional("channel", |value, at| path(value, at).and(text(value, at)))?;
        new.channel = channel.map_or(new.channel, str::to_owned);
        new.touch = members.optional("touch", event)?;
        new.model = members.optional("model", |value, at| word(value, at, &MODELS))?.unwrap_or_default();
        new.lookback = members.optional("lookback", span)?;
        members.finish(new)
    }

    /// The question as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("conversion".into(), self.conversion.to_value());
        object.insert("channel".into(), self.channel.as_str().into());
        if let Some(touch) = &self.touch {
            object.insert("touch".into(), touch.to_value());
        }
        object.insert("model".into(), json!(word_of(&self.model, &MODELS)));
        if let Some(lookback) = self.lookback {
            object.insert("lookback".into(), lookback.to_string().into());
        }
        self.scope.write(&mut object);
        object.into()
    }
}

/// The bits of the two conditions.
const CONVERTS: Mask = 1;
const TOUCHES: Mask = 2;

impl Ask for Attribution {
    fn wanted(&self) -> Result<Wanted, DefinitionError> {
        let channel = Place::checked(&self.channel, "channel")?;
        if let Some(lookback) = self.lookback {
            longer_than_zero(lookback, "lookback")?;
        }
        let any = did("*");
        let touch = self.touch.as_ref().unwrap_or(&any);
        let conditions =
            vec![plain_event(&self.conversion, "conversion")?.clone(), plain_event(touch, "touch")?.clone()];
        Ok(Wanted { conditions, ordered: true, labels: vec![channel], ..Wanted::default() })
    }
}

/// What attribution is answered with.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AttributionReport {
    /// How many conversions there are.
    pub conversions: u64,
    /// How many of them had a touch: what the credits add up to.
    pub attributed: u64,
    /// The credit of each channel that was touched on a path.
    pub channels: BTreeMap<String, f64>,
    /// The same for each group, if a breakdown was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<AttributionGroup>>,
}

/// The conversions of one group.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttributionGroup {
    /// The value that the people, or the conversions, share.
    pub value: Value,
    /// Whether these are all smaller groups together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// The conversions and credits.
    #[serde(flatten)]
    pub report: AttributionReport,
}

/// What a touch without a channel is called.
const DIRECT: &str = "direct";

/// The channels, and which of them the values of touches mean.
struct Channels {
    names: Vec<String>,
    of_label: Vec<usize>,
    direct: Option<usize>,
}

impl Channels {
    fn of(timeline: &Timeline) -> Result<Self> {
        let mut channels = Self { names: Vec::new(), of_label: Vec::new(), direct: None };
        let mut used = vec![false; timeline.legend.labels[0].values().len()];
        let events = timeline.parts().iter().flat_map(|part| part.labels[0].iter().zip(&part.rows));
        for (label, row) in events {
            used[*label as usize] |= row.mask & TOUCHES != 0;
        }
        let values = timeline.legend.labels[0].values();
        channels.of_label = vec![usize::MAX; values.len()];
        // In an order that does not hang on the one in which the values were met.
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_cached_key(|label| values[*label].to_string());
        for label in order {
            let (value, used) = (&values[label], used[label]);
            let name = match value {
                Value::Null => DIRECT.to_owned(),
                Value::String(text) if is_direct(text) => DIRECT.to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let known = channels.names.iter().position(|known| *known == name);
            let number = match known {
                Some(number) => number,
                None if !used => usize::MAX,
                None => {
                    channels.names.push(name);
                    channels.names.len() - 1
                }
            };
            if channels.names.len() > Attribution::MOST_CHANNELS {
                let reason = format!("more than {} different channels", Attribution::MOST_CHANNELS);
                return Err(DefinitionError::new("channel", reason).into());
            }
            channels.of_label[label] = number;
        }
        channels.direct = channels.names.iter().position(|name| name == DIRECT);
        Ok(channels)
    }
}

fn is_direct(text: &str) -> bool {
    ["", "direct", "(direct)", "$direct", "(none)"]
        .iter()
        .any(|direct| text.trim().eq_ignore_ascii_case(direct))
}

/// What is owed to whom, in one group.
#[derive(Clone)]
struct Tally {
    conversions: u64,
    attributed: u64,
    units: Vec<i128>,
    touched: Vec<bool>,
    walks: Walks,
}

impl Tally {
    fn new(channels: usize) -> Self {
        Self {
            conversions: 0,
            attributed: 0,
            units: vec![0; channels],
            touched: vec![false; channels],
            walks: Walks::default(),
        }
    }

    fn merge(&mut self, other: Self) {
        self.conversions += other.conversions;
        self.attributed += other.attributed;
        self.units.iter_mut().zip(other.units).for_each(|(own, other)| *own += other);
        self.touched.iter_mut().zip(other.touched).for_each(|(own, other)| *own |= other);
        self.walks.merge(other.walks);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    fn report(&self, model: AttributionModel, names: &[String]) -> AttributionReport {
        let mut credits: Vec<f64> = self.units.iter().map(|units| conversions(*units)).collect();
        if model == AttributionModel::Markov {
            let effects = self.walks.removal_effects(names.len());
            let total: f64 = effects.iter().sum();
            for (credit, effect) in credits.iter_mut().zip(effects) {
                *credit = if total > 0.0 { self.attributed as f64 * effect / total } else { 0.0 };
            }
        }
        let touched = names.iter().zip(credits).zip(&self.touched).filter(|(_, touched)| **touched);
        AttributionReport {
            conversions: self.conversions,
            attributed: self.attributed,
            channels: touched.map(|((name, credit), _)| (name.clone(), credit)).collect(),
            groups: None,
        }
    }
}

impl Attribution {
    /// Adds the paths of one person.
    fn count(&self, part: &Part, channels: &Channels, groups: &Groups, person: usize, all: &mut [Tally]) {
        let lookback = self.lookback.map_or(i64::MAX, Span::as_micros);
        let mut path: Vec<(usize, i64)> = Vec::new();
        let mut last_touch = None;
        for event in part.events(person) {
            let (mask, label, at) = (part.rows[event].mask, part.labels[0][event], part.rows[event].at);
            if mask & TOUCHES != 0 && (self.touch.is_some() || label != 0) {
                path.push((channels.of_label[label as usize], at));
                last_touch = Some(event);
            }
            if mask & CONVERTS != 0 {
                if let Some(group) = groups.get(part, person, event) {
                    let inside = path.iter().filter(|(_, touched)| at - touched <= lookback);
                    let touches: Vec<Touch> =
                        inside.map(|(channel, touched)| (*channel, at - touched)).collect();
                    self.convert(&touches, channels, &mut all[group]);
                }
                path.clear();
            }
        }
        if let Some(last) = last_touch.filter(|_| !path.is_empty())
            && let Some(group) = groups.get(part, person, last)
        {
            for (channel, _) in &path {
                all[group].touched[*channel] = true;
            }
            if self.model == AttributionModel::Markov {
                all[group].walks.add(path.iter().map(|(channel, _)| *channel), NOTHING);
            }
        }
    }

    fn convert(&self, touches: &[Touch], channels: &Channels, tally: &mut Tally) {
        tally.conversions += 1;
        if touches.is_empty() {
            return;
        }
        tally.attributed += 1;
        for (channel, _) in touches {
            tally.touched[*channel] = true;
        }
        if self.model == AttributionModel::Markov {
            tally.walks.add(touches.iter().map(|(channel, _)| *channel), CONVERSION);
        } else {
            share_out(self.model, touches, channels.direct, |channel, units| tally.units[channel] += units);
        }
    }
}

impl Question for Attribution {
    type Report = AttributionReport;

    fn answer(&self, ground: &Ground<'_>) -> Result<AttributionReport> {
        let timeline = ground.timeline;
        let channels = Channels::of(timeline)?;
        let names = &channels.names;
        let count = |groups: &Groups| -> Result<Vec<AttributionReport>> {
            let parts = for_everybody(timeline, ground.watch, |parts| {
                let mut all = vec![Tally::new(names.len()); groups.len()];
                people(parts)
                    .for_each(|(part, person)| self.count(part, &channels, groups, person, &mut all));
                all
            })?;
            let mut whole = vec![Tally::new(names.len()); groups.len()];
            for part in parts {
                whole.iter_mut().zip(part).for_each(|(own, part)| own.merge(part));
            }
            Ok(whole.iter().map(|tally| tally.report(self.model, names)).collect())
        };
        let tell = |(value, other), report| AttributionGroup { value, other, report };
        let (report, groups) = ground.answers(&self.scope, CONVERTS, count, tell)?;
        Ok(AttributionReport { groups, ..report })
    }
}

impl fmt::Display for AttributionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, owed) = (amount(self.conversions), amount(self.attributed));
        writeln!(
            f,
            "{all} {}, {owed} with a touch",
            if self.conversions == 1 { "conversion" } else { "conversions" }
        )?;
        let mut channels: Vec<_> = self.channels.iter().collect();
        channels.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let total: f64 = self.channels.values().sum();
        let mut table = Table::new(1);
        table.push(["channel", "credit", "share"].map(str::to_owned));
        for (name, credit) in channels {
            let share = if total > 0.0 { credit / total } else { 0.0 };
            table.push([name.clone(), format!("{credit:.2}"), percent(share)]);
        }
        write!(f, "{table}")?;
        for group in self.groups.iter().flatten() {
            heading(f, &group.value, group.other)?;
            group.report.fmt(f)?;
        }
        Ok(())
    }
}
