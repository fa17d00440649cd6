//! Questions about everybody: funnels, retention, trends, lifecycle, sessions, paths, attribution, RFM.
//!
//! Each question is a type with a builder and a JSON form, a computation that is a pure function of a [`Timeline`],
//! and an answer that prints as a table and serialises. Nothing here knows of storage; who is one person is settled
//! before a timeline is made, so that a join made now changes yesterday's funnel.
//!
//! # What the questions leave to decide
//!
//! - The range is [from, until): events outside of it do not exist for the question, unless it says otherwise (who is
//!   new in a lifecycle, and who started for the first time, is told by all of a person's past).
//! - Every event condition of a question may be a name, or a condition with `where`, `within`, `from`, `until` and
//!   `first_time`; a number of times or an aggregate asks something of a person, and is refused.
//! - A breakdown by trait goes by the trait that stands now; by property, by that of the event that the question
//!   counts first (a funnel's first step, a cohort's start, the conversion, a session's or path's first event, the
//!   last purchase). Who has none is in the group whose value is null. The largest groups are shown, by people or by
//!   events, and the rest is `other`.
//! - A quantile lies between the two nearest values, in proportion, so that a median of an even number is the mean of
//!   the middle two.

mod attribution;
mod breakdown;
mod calendar;
mod counter;
mod figures;
mod funnel;
mod lifecycle;
mod parallel;
mod paths;
mod presence;
mod read;
mod retention;
mod rfm;
mod scope;
mod sessions;
mod sieve;
mod table;
mod tally;
mod timeline;
mod trails;
mod trend;
mod wanted;

pub(crate) use self::attribution::CHANNEL;
pub use self::attribution::{Attribution, AttributionGroup, AttributionModel, AttributionReport};
pub use self::breakdown::By;
pub(crate) use self::breakdown::Source;
pub use self::calendar::Interval;
pub(crate) use self::counter::{Batch, Counter, Turn};
pub use self::funnel::{Funnel, FunnelGroup, FunnelMode, FunnelReport, FunnelStep};
pub use self::lifecycle::{Lifecycle, LifecycleGroup, LifecyclePeriod, LifecycleReport};
pub use self::paths::{Paths, PathsGroup, PathsReport, Transition};
pub use self::retention::{Cohort, Retention, RetentionGroup, RetentionMode, RetentionReport};
pub use self::rfm::{Rfm, RfmCell, RfmGroup, RfmProfile, RfmReport};
pub(crate) use self::scope::{Audience, Scope};
pub use self::sessions::{Sessions, SessionsGroup, SessionsReport};
pub(crate) use self::timeline::{Legend, Mask, Reading, Row, Share, Timeline};
pub use self::trend::{Measure, Trend, TrendGroup, TrendPoint, TrendReport};

pub(crate) use self::wanted::{Amount, Labels, Place, Wanted};

use self::breakdown::Groups;
use crate::clock::{Timestamp, Zone};
use crate::error::{DefinitionError, Result};
use crate::value::Value;

/// A question that can be asked of a database: [`Funnel`], [`Retention`], [`Trend`], [`Lifecycle`], [`Sessions`],
/// [`Paths`], [`Attribution`], [`Rfm`]. See [`Cdp::analyse`](crate::Cdp::analyse).
pub trait Question: Ask {
    /// The answer: it prints as a table, and serialises.
    type Report: std::fmt::Display + serde::Serialize;

    /// The answer to what was asked, from the events that were wanted.
    #[doc(hidden)]
    fn answer(&self, ground: &Ground<'_>) -> Result<Self::Report>;
}

/// What a question says of itself before it is answered. Kept to this crate: what a timeline is may change.
pub trait Ask: Scoped {
    /// Which events, and what of them.
    #[doc(hidden)]
    fn wanted(&self) -> Result<Wanted, DefinitionError>;
}

/// What every question has.
pub trait Scoped {
    /// Whose events, and when.
    #[doc(hidden)]
    fn scope(&self) -> &Scope;

    /// The same question of another time.
    #[doc(hidden)]
    fn scope_mut(&mut self) -> &mut Scope;
}

/// What a question is answered from.
#[derive(Debug)]
pub struct Ground<'g> {
    pub(crate) timeline: &'g Timeline,
    pub(crate) zone: &'g Zone,
    pub(crate) now: Timestamp,
    pub(crate) watch: &'g parallel::Watch<'g>,
}

pub(crate) use self::parallel::{Watch, in_parallel};

impl Ground<'_> {
    /// The groups of the breakdown, if one is asked for; `counted` are the conditions whose events have a group.
    fn groups(&self, scope: &Scope, counted: Mask) -> Result<Option<Groups>> {
        scope.by.as_ref().map(|by| Groups::of(self.timeline, by, counted, self.watch)).transpose()
    }

    /// What `count` finds for all together, and for each group of the breakdown, if one is asked for, what `tell` makes
    /// of its value, of whether it is the rest, and of what is found.
    fn answers<T: Default, G>(
        &self,
        scope: &Scope,
        counted: Mask,
        count: impl Fn(&Groups) -> Result<Vec<T>>,
        tell: impl Fn((Value, bool), T) -> G,
    ) -> Result<(T, Option<Vec<G>>)> {
        let all = count(&Groups::one())?.pop().unwrap_or_default();
        let Some(groups) = self.groups(scope, counted)? else { return Ok((all, None)) };
        let found = groups.values().zip(count(&groups)?);
        Ok((all, Some(found.map(|(of, found)| tell(of, found)).collect())))
    }
}
