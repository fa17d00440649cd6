//! A column of values in memory: of each event a label, and what the labels stand for.

use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::pack;
use crate::value::Sum;

/// The values of one member of some events.
#[derive(Debug)]
pub(super) struct Column {
    /// Of events of which names: by their numbers, in order.
    pub(super) names: Arc<[u32]>,
    /// Of each event what stands for its value, or 0 for none, packed.
    bytes: Vec<u8>,
    labels: pack::Column,
    meant: Meant,
}

/// What the labels of a column stand for.
#[derive(Debug)]
enum Meant {
    /// Values, by their places plus one.
    Values(Dictionary),
    /// Numbers: so many millionths for each beyond the first, which means `least`.
    Millionths { least: i64, unit: i64 },
    /// Nothing: the values are not kept so.
    Nothing,
}

/// The different values of a column. They are kept as JSON, and as what they are once somebody asks for them.
#[derive(Debug)]
struct Dictionary {
    texts: Box<str>,
    /// Where each text ends.
    ends: Box<[u32]>,
    values: OnceLock<Box<[Value]>>,
    /// In whole millionths, [`NO_NUMBER`] where there is no number or no whole number of them.
    millionths: OnceLock<Box<[i64]>>,
}

const NO_NUMBER: i64 = i64::MIN;

impl Dictionary {
    fn new(texts: String, ends: Vec<u32>) -> Self {
        let (texts, ends) = (texts.into(), ends.into());
        Self { texts, ends, values: OnceLock::new(), millionths: OnceLock::new() }
    }

    /// The bytes that it takes by now.
    fn size(&self) -> usize {
        let values = self.values.get().map_or(0, |all| all.len() * size_of::<Value>() + self.texts.len());
        let millionths = self.millionths.get().map_or(0, |all| all.len() * size_of::<i64>());
        self.texts.len() + self.ends.len() * size_of::<u32>() + values + millionths
    }

    fn parsed(&self) -> impl Iterator<Item = Value> + '_ {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let texts = starts.zip(&self.ends).map(|(start, end)| &self.texts[start as usize..*end as usize]);
        texts.map(|text| serde_json::from_str(text).unwrap_or_default())
    }

    fn text(&self, place: usize) -> Option<&str> {
        let end = *self.ends.get(place)?;
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        self.texts.get(start as usize..end as usize)
    }

    fn value(&self, place: usize) -> Option<&Value> {
        self.values.get_or_init(|| self.parsed().collect()).get(place)
    }

    fn millionths(&self, place: usize) -> Option<i64> {
        let whole = |value: Value| {
            let mut sum = Sum::default();
            let is_number = sum.add(&value);
            let whole = sum.millionths().filter(|_| is_number).and_then(|whole| i64::try_from(whole).ok());
            whole.unwrap_or(NO_NUMBER)
        };
        let all = self.millionths.get_or_init(|| self.parsed().map(whole).collect());
        all.get(place).copied().filter(|whole| *whole != NO_NUMBER)
    }
}

impl Column {
    /// The column of labels of events, and of what they mean.
    fn new(names: Arc<[u32]>, labels: &[u32], meant: Meant) -> Option<Self> {
        let mut bytes = Vec::new();
        pack::write(labels.iter().map(|label| u64::from(*label)), &mut bytes);
        bytes.shrink_to_fit();
        let labels = pack::Column::read(&bytes, &mut 0, labels.len())?;
        Some(Self { names, bytes, labels, meant })
    }

    /// The column of labels of events, and of numbers of which each stands for so many millionths more than the one before.
    pub(super) fn of_millionths(
        names: Arc<[u32]>,
        labels: &[u32],
        (least, unit): (i64, i64),
    ) -> Option<Self> {
        Self::new(names, labels, Meant::Millionths { least, unit })
    }

    /// Says that there is no such column.
    pub(super) fn nothing(names: Arc<[u32]>) -> Option<Self> {
        Self::new(names, &[], Meant::Nothing)
    }

    /// Whether there is one.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self.meant, Meant::Nothing)
    }

    /// The bytes that it takes by now: more, once its values were asked for.
    pub(super) fn size(&self) -> usize {
        let meant = if let Meant::Values(dictionary) = &self.meant { dictionary.size() } else { 0 };
        size_of::<Self>() + self.bytes.len() + meant
    }

    /// Whether it has the values of events of all these names.
    pub(super) fn covers(&self, names: &[u32]) -> bool {
        names.iter().all(|name| self.names.binary_search(name).is_ok())
    }

    /// The labels of the events.
    pub(super) fn labels(&self) -> pack::Numbers<'_> {
        self.labels.of(&self.bytes)
    }

    pub(super) fn value(&self, label: u32) -> Option<&Value> {
        let Meant::Values(dictionary) = &self.meant else { return None };
        dictionary.value((label as usize).checked_sub(1)?)
    }

    /// The JSON of a value.
    pub(super) fn text(&self, label: u32) -> Option<&str> {
        let Meant::Values(dictionary) = &self.meant else { return None };
        dictionary.text((label as usize).checked_sub(1)?)
    }

    pub(super) fn millionths(&self, label: u32) -> Option<i64> {
        let place = label.checked_sub(1)?;
        match &self.meant {
            Meant::Values(dictionary) => dictionary.millionths(place as usize),
            Meant::Millionths { least, unit } => Some(least + i64::from(place) * unit),
            Meant::Nothing => None,
        }
    }
}

/// A column under way.
pub(super) struct Draft {
    labels: Vec<u32>,
    texts: String,
    ends: Vec<u32>,
    known: FxHashMap<String, u32>,
}

impl Draft {
    /// Of so many events.
    pub(super) fn new(len: usize) -> Self {
        Self { labels: vec![0; len], texts: String::new(), ends: Vec::new(), known: FxHashMap::default() }
    }

    /// How many different values it has.
    pub(super) fn different(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn column(self, names: Arc<[u32]>) -> Option<Column> {
        let Self { labels, texts, ends, .. } = self;
        Column::new(names, &labels, Meant::Values(Dictionary::new(texts, ends)))
    }

    /// Notes the value of an event by its JSON.
    pub(super) fn put(&mut self, place: usize, json: Option<&str>) {
        let Some(json) = json else { return };
        if let Some(label) = self.known.get(json) {
            self.labels[place] = *label;
            return;
        }
        self.texts.push_str(json);
        let (Ok(end), Ok(label)) = (u32::try_from(self.texts.len()), u32::try_from(self.ends.len() + 1))
        else {
            return;
        };
        self.ends.push(end);
        self.known.insert(json.to_owned(), label);
        self.labels[place] = label;
    }
}
