//! One event held against a condition, for questions that count events and not people.

use super::condition::all_fit;
use super::condition::{EventCondition, Window};
use crate::clock::Timestamp;
use crate::value::{DottedPath, Members};

impl EventCondition {
    /// Whether an event of that name may be meant.
    pub(crate) fn fits_name(&self, name: &str) -> bool {
        self.name.fits(name)
    }

    /// Whether properties are asked about.
    pub(crate) fn asks_properties(&self) -> bool {
        !self.filters.is_empty()
    }

    /// The paths of the properties that are asked about.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &DottedPath> {
        self.filters.iter().map(|test| &test.path)
    }

    /// Whether the properties of an event fit.
    pub(crate) fn fits_properties<'v>(&self, properties: &impl Members<'v>) -> bool {
        all_fit(&self.filters, properties)
    }

    /// Whether the time of an event lies in the window, as things are at `now`.
    pub(crate) fn fits_time(&self, at: Timestamp, now: Timestamp) -> bool {
        match self.window {
            Window::Ever => true,
            Window::Within { span, ending } => {
                at > now.before(span) && ending.map_or(at <= now, |ending| at <= now.before(ending))
            }
            Window::Fixed { from, until } => {
                from.is_none_or(|from| at >= from) && until.is_none_or(|until| at < until)
            }
        }
    }

    /// Whether it matters when an event happened.
    pub(crate) fn asks_time(&self) -> bool {
        self.window != Window::Ever
    }

    /// Whether of those of a person that fit only the first is meant.
    pub(crate) fn is_first_only(&self) -> bool {
        self.first_time
    }

    /// The member that asks something of a person, and so has no meaning where single events are meant.
    pub(crate) fn asks_of_person(&self) -> Option<&'static str> {
        let aggregate = self.aggregate.as_ref().map(|_| "an aggregate");
        let periods = self.periods.as_ref().map(|_| "\"periods\"");
        self.count.first().map(|_| "\"count\"").or(periods).or(aggregate)
    }
}
