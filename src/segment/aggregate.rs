//! What is made of a property over several events.

use std::cmp::Ordering;

use serde_json::Value;

use super::condition::{Aggregate, AggregateTest};
use crate::profile::PastEvent;
use crate::value::{Comparable, Num, Sum};

/// An aggregate on its way through the events, in event-time order.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    test: &'a AggregateTest,
    sum: Sum,
    /// How many numbers were added.
    numbers: u64,
    /// The least, greatest, first or last value so far.
    best: Option<Comparable<'a>>,
    /// All values, for counting the different ones.
    seen: Vec<Comparable<'a>>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(test: &'a AggregateTest) -> Self {
        Self { test, sum: Sum::default(), numbers: 0, best: None, seen: Vec::new() }
    }

    /// Takes in the values that the property has in `event`, several where its path leads through an array.
    pub(super) fn add(&mut self, event: &'a PastEvent) {
        let test = self.test;
        test.path.any(&event.properties, |value| {
            self.add_value(value);
            false
        });
    }

    fn add_value(&mut self, value: Option<&'a Value>) {
        let comparable = |value| Comparable::of(value, self.test.comparison.as_number);
        let Some(value) = value.and_then(comparable) else { return };
        match self.test.aggregate {
            Aggregate::Sum | Aggregate::Avg => {
                if let Comparable::Number(number) = value {
                    self.sum.add_number(number);
                    self.numbers += 1;
                }
            }
            Aggregate::Min => self.keep(value, Ordering::Less),
            Aggregate::Max => self.keep(value, Ordering::Greater),
            Aggregate::First => {
                self.best.get_or_insert(value);
            }
            Aggregate::Last => self.best = Some(value),
            Aggregate::Unique => self.seen.push(value),
        }
    }

    /// Keeps `value` if it stands on that side of the best so far, or is of a kind that goes before its kind.
    fn keep(&mut self, value: Comparable<'a>, side: Ordering) {
        let better = self.best.as_ref().is_none_or(|best| match value.rank().cmp(&best.rank()) {
            Ordering::Less => true,
            Ordering::Equal => value.order(best) == side,
            Ordering::Greater => false,
        });
        if better {
            self.best = Some(value);
        }
    }

    /// Whether the result fits.
    pub(super) fn fits(self) -> bool {
        let comparison = &self.test.comparison;
        comparison.fits(self.result().as_ref())
    }

    /// The result, `None` if it is missing.
    pub(super) fn result(mut self) -> Option<Comparable<'a>> {
        let number = |number: Option<Num>| number.map(Comparable::Number);
        match self.test.aggregate {
            Aggregate::Sum => number(Some(self.sum.number())),
            Aggregate::Avg => number(self.sum.over(self.numbers)),
            Aggregate::Min | Aggregate::Max | Aggregate::First | Aggregate::Last => self.best,
            Aggregate::Unique => {
                self.seen.sort_unstable_by(Comparable::order);
                self.seen.dedup_by(|a, b| a.order(b).is_eq());
                let unique = i128::try_from(self.seen.len()).unwrap_or_default();
                number((unique > 0).then_some(Num::Int(unique)))
            }
        }
    }
}
