//! What whoever meets a condition has done at least. It is counted for everybody at once; only those who have need be asked
//! the condition itself.

use std::ops::RangeInclusive;

use super::condition::{Condition, CountTest, EventCondition, EventName, Window};
use crate::clock::{Span, Timestamp};

/// So many events of a name between two instants, both included, or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Least {
    name: EventName,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    pub(crate) count: u64,
}

impl Least {
    /// Whether events of that name are meant.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.name.fits(name)
    }

    /// The instants of the events that count, in microseconds.
    pub(crate) fn inside(&self) -> RangeInclusive<i64> {
        self.from.map_or(i64::MIN, Timestamp::as_micros)..=self.until.map_or(i64::MAX, Timestamp::as_micros)
    }
}

/// The shortest time.
const INSTANT: Span = Span::from_micros(1);

impl Condition {
    /// What whoever meets it at `now` has done at least, all of it; nothing if it can be met without.
    pub(crate) fn least(&self, now: Timestamp) -> Vec<Least> {
        match self {
            Self::All(parts) => parts.iter().flat_map(|part| part.least(now)).collect(),
            Self::Event(event) => event.least(now).into_iter().collect(),
            Self::Sequence(sequence) => {
                let steps = sequence.steps.iter().filter(|step| !step.forbidden);
                steps.filter_map(|step| step.event.least(now)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it asks nothing.
    pub(crate) fn is_met_by_all(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }

    /// What is left to be asked of whoever has done the [`least`](Self::least): whoever has meets the condition if they
    /// meet this. How long the answer stays so it does not say.
    pub(crate) fn rest(&self) -> Self {
        match self {
            Self::All(parts) => {
                let left = parts.iter().map(Self::rest).filter(|part| !part.is_met_by_all());
                Self::All(left.collect())
            }
            Self::Event(event) if event.is_its_least() => Self::All(Vec::new()),
            _ => self.clone(),
        }
    }
}

impl EventCondition {
    /// Whether whoever has done the least meets it.
    fn is_its_least(&self) -> bool {
        let is_least = |test: &CountTest| matches!(test, CountTest::Gte(_) | CountTest::Gt(_));
        !self.first_time
            && self.filters.is_empty()
            && self.aggregate.is_none()
            && self.periods.is_none()
            && self.count.iter().all(is_least)
    }

    /// Filters, sums and periods ask for more, and are left out.
    fn least(&self, now: Timestamp) -> Option<Least> {
        let count = match &self.count[..] {
            _ if self.periods.is_some() => 0,
            [] => u64::from(self.aggregate.is_none()),
            tests => tests.iter().map(CountTest::least).max().unwrap_or(0),
        };
        let (from, until) = match self.window {
            Window::Ever => (None, None),
            Window::Within { span, ending } => {
                let last = ending.map_or(now, |ending| now.before(ending));
                (Some(now.before(span).after(INSTANT)), Some(last))
            }
            Window::Fixed { from, until } => (from, until.map(|until| until.before(INSTANT))),
        };
        (count > 0).then(|| Least { name: self.name.clone(), from, until, count })
    }
}

impl CountTest {
    /// The least number that fits, if any does.
    fn least(&self) -> u64 {
        match *self {
            Self::Eq(n) | Self::Gte(n) | Self::Between(n, _) => n,
            Self::Gt(n) => n.saturating_add(1),
            Self::Lt(_) | Self::Lte(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{days, hours};
    use crate::segment::{all, any, did, did_not, has_trait, not, sequence};

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

    fn least(condition: impl Into<Condition>) -> Vec<(String, Option<Timestamp>, Option<Timestamp>, u64)> {
        let found = condition.into().least(NOW);
        found
            .into_iter()
            .map(|least| (least.name.to_string(), least.from, least.until, least.count))
            .collect()
    }

    #[test]
    fn what_is_asked_of_events_alone_is_the_least() {
        assert_eq!(least(did("A")), [("A".into(), None, None, 1)]);
        let views = did("V*").at_least(5).within(days(90));
        let from = |span| Some(NOW.before(span).after(INSTANT));
        assert_eq!(least(views), [("V*".into(), from(days(90)), Some(NOW), 5)]);
        let orders = all([
            did("Order").where_property("total").gte(9).at_least(3),
            all([did("View").since(NOW.before(hours(2))).until(NOW)]),
            has_trait("country").eq("CN"),
            any([did("A"), did("B")]),
            not(did("C")),
            did_not("D"),
        ]);
        assert_eq!(
            least(orders),
            [
                ("Order".into(), None, None, 3),
                ("View".into(), Some(NOW.before(hours(2))), Some(NOW.before(INSTANT)), 1)
            ]
        );
        assert_eq!(least(did("A").sum("n").lt(5)), []);
        assert_eq!(least(did("A").at_most(5)), []);
        let steps = sequence([did("A"), did("B")]).within(days(7));
        assert_eq!(least(steps), [("A".into(), None, None, 1), ("B".into(), None, None, 1)]);
    }
}
