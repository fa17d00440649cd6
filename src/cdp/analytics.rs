//! Questions about everybody.

use std::fmt;
use std::ops::ControlFlow;

use serde::Serialize;

use super::Cdp;
use crate::analytics::{
    Attribution, AttributionReport, Funnel, FunnelReport, Ground, Lifecycle, LifecycleReport, Paths,
    PathsReport, Question, Retention, RetentionReport, Rfm, RfmReport, Sessions, SessionsReport, Trend,
    TrendReport, Watch,
};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::pipeline::scan;

/// The answers to one question about two times.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison<R> {
    /// The answer about the question's own range.
    #[serde(flatten)]
    pub report: R,
    /// The answer about the other one.
    pub compared: R,
}

impl<R: fmt::Display> fmt::Display for Comparison<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\ncompared with\n\n{}", self.report, self.compared)
    }
}

impl Cdp {
    /// How many people get how far through a series of steps: see [`Funnel`].
    ///
    /// # Errors
    ///
    /// Those of [`analyse`](Self::analyse).
    pub fn funnel(&self, question: &Funnel) -> Result<FunnelReport> {
        self.analyse(question, unwatched)
    }

    /// How many of those who started together come back: see [`Retention`].
    ///
    /// # Errors
    ///
    /// Those of [`analyse`](Self::analyse).
    pub fn retention(&self, question: &Retention) -> Result<RetentionReport> {
        self.analyse(question, unwatched)
    }

    /// How much happens, from period to period: see [`Trend`].
    ///
    /// # Errors
    ///
    /// Those of [`analyse`](Self::analyse).
    pub fn trend(&self, question: &Trend) -> Result<TrendReport> {
        self.analyse(question, unwatched)
    }

    /// Who is new, stays, comes back and falls asleep: see [`Lifecycle`].
    ///
    /// # Errors
    ///
    /// Those of [`analyse`](Self::analyse).
    pub fn lifecycle(&self, question: &Lifecycle) -> Result<LifecycleReport> {
        self.analyse(question, unwatched)
    }

    /// What people do in one go: see [`Sessions`].
    ///
    /// # Errors
    ///
    /// Those of [`analyse`](Self::analyse).
    pub fn sessions(&self, question: &Sessions) -> Result<SessionsReport> {
        self.analyse(question, unwatched)
    }

    /// What people do next: see [`Paths`].
    ///
    /// # Errors
    ///
    /// Those of [`analyse`](Self::analyse).
    pub fn paths(&self, question: &Paths) -> Result<PathsReport> {
        self.analyse(question, unwatched)
    }

    /// To which channels conversions are owed: see [`Attribution`].
    ///
    /// # Errors
    ///
    /// Those of [`analyse`](Self::analyse).
    pub fn attribution(&self, question: &Attribution) -> Result<AttributionReport> {
        self.analyse(question, unwatched)
    }

    /// How lately, how often and for how much people buy: see [`Rfm`].
    ///
    /// # Errors
    ///
    /// Those of [`analyse`](Self::analyse).
    pub fn rfm(&self, question: &Rfm) -> Result<RfmReport> {
        self.analyse(question, unwatched)
    }

    /// Answers a question about everybody, as people are stitched now, and tells every few milliseconds how many events
    /// it has looked at.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use customerdb::{Cdp, Error, Event, Sessions};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::track("Search").user_id("ann")])?;
    /// let answer = cdp.analyse(&Sessions::default(), |_| ControlFlow::Break(()));
    /// assert!(matches!(answer, Err(Error::Cancelled)));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if the question makes no sense, asks for a property or a trait
    /// that none of the events or people has, while it is about all of them, or for too many numbers;
    /// [`Error::UnknownSegment`](crate::Error::UnknownSegment);
    /// [`Error::Cancelled`](crate::Error::Cancelled) if `progress` breaks; or what the storage says.
    pub fn analyse<Q: Question>(
        &self,
        question: &Q,
        mut progress: impl FnMut(u64) -> ControlFlow<()> + Send,
    ) -> Result<Q::Report> {
        let scope = question.scope();
        scope.check()?;
        let wanted = question.wanted()?;
        let (watch, now) = (Watch::new(&mut progress), self.now());
        let timeline =
            self.read(|db, state| scan::timeline(db, state, (&wanted, scope), (now, self.zone()), &watch))?;
        // From here on nobody who writes has to wait.
        question.answer(&Ground { timeline: &timeline, zone: self.zone(), now, watch: &watch })
    }

    /// Answers a question about its own range, and about another: [from, until).
    ///
    /// # Errors
    ///
    /// Those of [`analyse`](Self::analyse).
    pub fn compare<Q: Question + Clone>(
        &self,
        question: &Q,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Comparison<Q::Report>> {
        let mut other = question.clone();
        let scope = other.scope_mut();
        (scope.from, scope.until) = (Some(from), Some(until));
        Ok(Comparison {
            report: self.analyse(question, unwatched)?,
            compared: self.analyse(&other, unwatched)?,
        })
    }
}

fn unwatched(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
