//! Answers for each value of a trait or a property.

use std::cmp::Reverse;

use serde_json::json;

use super::parallel::{Watch, in_order_of};
use super::read::{Members, Result, number, path, text, valid_path};
use super::timeline::{Mask, Part, Timeline, people};
use super::wanted::Place;
use crate::error::{DefinitionError, Result as Outcome};
use crate::value::{DottedPath, Object, Value};

/// After how many values whoever asks is heard.
const TOGETHER: usize = 1 << 10;

/// What an answer is broken down by: a trait of people, or a property of events.
///
/// As JSON it is `{"trait": …}` or `{"property": …}`, and with `"top"` how many groups are shown, the largest; the
/// rest is one more group, `other`. A property may be `context.…` too.
///
/// ```
/// use customerdb::{By, Trend, did};
///
/// let trend = Trend::of(did("Order Completed")).by(By::property("country").top(5));
/// assert_eq!(trend.to_value()["by"], serde_json::json!({"property": "country", "top": 5}));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct By {
    pub(crate) source: Source,
    text: String,
    top: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    Trait(DottedPath),
    Property(Place),
}

impl By {
    /// How many groups are shown unless [`top`](Self::top) says otherwise, and at most.
    pub const MOST: u32 = 1_000;

    /// By the value of a trait that stands now; dots reach into objects.
    pub fn with_trait(path: &str) -> Self {
        Self { source: Source::Trait(DottedPath::new(path)), text: path.to_owned(), top: Self::MOST }
    }

    /// By a property of events, or by a part of their `context`.
    pub fn property(path: &str) -> Self {
        let place = Place::new(path, "by.property");
        Self { source: Source::Property(place), text: path.to_owned(), top: Self::MOST }
    }

    /// Shows that many groups, the largest, and one more for the rest.
    #[must_use]
    pub fn top(mut self, groups: u32) -> Self {
        self.top = groups;
        self
    }

    pub(super) fn read(value: &Value, _: &str) -> Result<Self> {
        let prefixed = |error: DefinitionError| {
            let dot = if error.path().is_empty() { "" } else { "." };
            DefinitionError::new(format!("by{dot}{}", error.path()), error.reason())
        };
        Self::read_here(value).map_err(prefixed)
    }

    fn read_here(value: &Value) -> Result<Self> {
        let mut members = Members::of(value)?;
        let of_people = members.optional("trait", |value, at| path(value, at).and(text(value, at)))?;
        let of_events = members.optional("property", |value, at| path(value, at).and(text(value, at)))?;
        let by = match (of_people, of_events) {
            (Some(path), None) => Self::with_trait(path),
            (None, Some(path)) => Self::property(path),
            _ => return Err(DefinitionError::new("", "expected \"trait\" or \"property\", one of them")),
        };
        let top = members.optional("top", number)?;
        members.end()?;
        Ok(Self { top: top.unwrap_or(Self::MOST), ..by })
    }

    pub(super) fn check(&self) -> Result<()> {
        match &self.source {
            Source::Trait(path) => drop(valid_path(path.clone(), "by.trait")?),
            Source::Property(place) => drop(place.clone().check()?),
        }
        match self.top {
            1..=Self::MOST => Ok(()),
            top => {
                let reason = format!("expected 1 to {} groups, found {top}", Self::MOST);
                Err(DefinitionError::new("by.top", reason))
            }
        }
    }

    pub(super) fn to_value(&self) -> Value {
        let mut object = Object::new();
        let name = if matches!(self.source, Source::Trait(_)) { "trait" } else { "property" };
        object.insert(name.into(), self.text.as_str().into());
        if self.top != Self::MOST {
            object.insert("top".into(), json!(self.top));
        }
        object.into()
    }

    /// Where the property stands that it goes by; `None` if it goes by a trait.
    pub(crate) fn place(&self) -> Option<&Place> {
        match &self.source {
            Source::Trait(_) => None,
            Source::Property(place) => Some(place),
        }
    }
}

/// Which group events, or people, are in.
#[derive(Debug)]
pub(super) struct Groups {
    /// By the number of the value; empty if all are in one group.
    of_label: Vec<Option<usize>>,
    /// The value of each, and whether it is the rest.
    values: Vec<(Value, bool)>,
}

impl Groups {
    /// One group of all.
    pub(super) fn one() -> Self {
        Self { of_label: Vec::new(), values: vec![(Value::Null, false)] }
    }

    /// The largest groups, by the number of people (of a trait) or of events that meet one of the conditions of
    /// `counted` (of a property), ties by value, and one for the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn of(timeline: &Timeline, by: &By, counted: Mask, watch: &Watch<'_>) -> Outcome<Self> {
        let labels = timeline.legend.by.values();
        let mut sizes = vec![0_u64; labels.len()];
        if let Some(tally) = timeline.tally() {
            sizes.iter_mut().zip(tally.sizes()).for_each(|(size, counted)| *size = counted);
        }
        for some in timeline.parts().chunks(1) {
            watch.tell(timeline.len() as u64)?;
            for (part, person) in people(some) {
                let events = part.events(person);
                if part.is_by_people() {
                    if !events.is_empty() {
                        sizes[part.label(person, 0) as usize] += 1;
                    }
                    continue;
                }
                for event in events.filter(|event| part.rows[*event].mask & counted != 0) {
                    sizes[part.label(person, event) as usize] += 1;
                }
            }
        }
        let (order, top) = largest(&sizes, by.top as usize, labels, watch)?;
        let mut of_label = vec![None; labels.len()];
        for (group, label) in order.iter().enumerate() {
            of_label[*label] = Some(group.min(top));
        }
        let mut values: Vec<(Value, bool)> =
            order[..top].iter().map(|label| (labels[*label].clone(), false)).collect();
        if order.len() > top {
            values.push((Value::from("other"), true));
        }
        Ok(Self { of_label, values })
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The group of an event of a person; `None` of a value that no event bears that counts.
    pub(super) fn get(&self, part: &Part, person: usize, event: usize) -> Option<usize> {
        if self.of_label.is_empty() { Some(0) } else { self.of_value(part.label(person, event)) }
    }

    /// The group of a value by its number.
    pub(super) fn of_value(&self, label: u32) -> Option<usize> {
        if self.of_label.is_empty() { Some(0) } else { self.of_label.get(label as usize).copied().flatten() }
    }

    /// The value of each group, and whether it is the rest.
    pub(super) fn values(&self) -> impl Iterator<Item = (Value, bool)> + '_ {
        self.values.iter().cloned()
    }
}

/// The labels that are not empty, the largest `top` of them first and in order, ties by text; and how many those are. Of others
/// no text is looked at.
fn largest(sizes: &[u64], top: usize, labels: &[Value], watch: &Watch<'_>) -> Outcome<(Vec<usize>, usize)> {
    let mut order: Vec<usize> = (0..sizes.len()).filter(|label| sizes[*label] > 0).collect();
    order.sort_unstable_by_key(|label| Reverse(sizes[*label]));
    let top = top.min(order.len());
    let Some(last) = top.checked_sub(1) else { return Ok((order, top)) };
    // As large as the last one that is shown may be so many that they cannot all be put in order unheard.
    let smallest = sizes[order[last]];
    let larger = order.partition_point(|label| sizes[*label] > smallest);
    order[..larger].sort_by_cached_key(|label| (Reverse(sizes[*label]), labels[*label].to_string()));
    let as_large = larger..order.partition_point(|label| sizes[*label] >= smallest);
    let mut texts = Vec::with_capacity(as_large.len());
    for label in &order[as_large.clone()] {
        if texts.len() % TOGETHER == 0 {
            watch.tell(0)?;
        }
        texts.push(labels[*label].to_string());
    }
    let sorted = in_order_of(texts.len(), |place| texts[place].as_str(), watch)?;
    let sorted: Vec<usize> = sorted.into_iter().map(|place| order[larger + place]).collect();
    order[as_large].copy_from_slice(&sorted);
    Ok((order, top))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_largest_come_first_and_ties_by_text(
            sizes in prop::collection::vec(0..4_u64, 0..40),
            top in 1..50_usize,
        ) {
            let labels: Vec<Value> = (0..sizes.len()).map(|label| json!(label * 7 % 41)).collect();
            let mut go_on = |_| ControlFlow::Continue(());
            let (order, shown) = largest(&sizes, top, &labels, &Watch::new(&mut go_on)).unwrap();
            let mut expected: Vec<usize> = (0..sizes.len()).filter(|label| sizes[*label] > 0).collect();
            expected.sort_by_key(|label| (Reverse(sizes[*label]), labels[*label].to_string()));
            prop_assert_eq!(shown, top.min(expected.len()));
            prop_assert_eq!(&order[..shown], &expected[..shown]);
            let sorted = |mut order: Vec<usize>| {
                order.sort_unstable();
                order
            };
            prop_assert_eq!(sorted(order), sorted(expected));
        }
    }

    #[test]
    fn a_breakdown_reads_back_what_it_writes_and_says_what_is_wrong() {
        for by in [By::with_trait("address.city"), By::property("context.locale").top(3)] {
            assert_eq!(By::read(&by.to_value(), "by").unwrap(), by);
            assert!(by.check().is_ok());
        }
        for (value, expected) in [
            (json!({}), "by: expected \"trait\" or \"property\", one of them"),
            (json!({"trait": "a", "property": "b"}), "by: expected \"trait\" or \"property\", one of them"),
            (json!({"trait": "a..b"}), "by.trait: a name between two dots must not be empty"),
            (json!({"trait": ""}), "by.trait: must not be empty"),
            (json!({"property": "a", "top": 0}), "by.top: must be at least 1"),
            (
                json!({"property": "a", "limit": 1}),
                "by: unknown member \"limit\", expected one of trait, property, top",
            ),
            (json!("city"), "by: expected an object, found a string"),
        ] {
            assert_eq!(By::read(&value, "by").unwrap_err().to_string(), expected);
        }
        let error = By::property("a").top(1_000_000).check().unwrap_err();
        assert_eq!(error.to_string(), "by.top: expected 1 to 1000 groups, found 1000000");
    }
}
