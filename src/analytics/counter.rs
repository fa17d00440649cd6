//! Events counted while they are read, so that none has to be kept, or no more of them than a word.

use super::calendar::Interval;
use super::presence::{self, Presence};
use super::scope::Scope;
use super::tally::{Count, Tally};
use super::timeline::Mask;
use super::trails::Trails;
use super::wanted::Amount;
use crate::clock::{Span, Zone};

/// What is wanted of events that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// From period to period how many there are, of how many people, or what they add up to.
    Tally(Interval, Count),
    /// In which of the periods each person did them.
    Presence(Interval, presence::Sought),
    /// When each person did which of so many things, from the first on for no longer than it says.
    Trails(usize, Option<Span>),
}

/// Which events are counted in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    All,
    /// Those of names that can meet the first condition.
    Beginnings,
    /// Those of all other names.
    Others,
}

/// Events, in columns: the first of each belong to the first event, and so on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'b> {
    pub(crate) times: &'b [i64],
    /// The numbers of the people; may be empty if people are not counted.
    pub(crate) people: &'b [u32],
    /// The conditions that they meet; may be empty if these are not told apart.
    pub(crate) masks: &'b [Mask],
    /// The values of a breakdown; empty if there is none.
    pub(crate) by: &'b [u32],
    /// What is added up; empty if nothing is.
    pub(crate) amounts: &'b [Amount],
}

/// What was counted.
#[derive(Debug)]
pub(crate) enum Counter {
    Tally(Tally),
    Presence(Presence),
    Trails(Trails),
}

impl Counter {
    /// Nothing yet, of events between two instants, and of so many people. `None` if that takes more room than there is.
    pub(crate) fn new(
        counted: Counted,
        scope: &Scope,
        zone: &Zone,
        between: Option<(i64, i64)>,
        people: usize,
    ) -> Option<Self> {
        match counted {
            Counted::Tally(interval, count) => {
                Tally::new((interval, count), scope, zone, between, people).map(Self::Tally)
            }
            Counted::Presence(interval, asked) => {
                Presence::new(interval, asked, scope, zone, between, people).map(Self::Presence)
            }
            Counted::Trails(kinds, within) => Trails::new((kinds, within), between, people).map(Self::Trails),
        }
    }

    /// The same without what was counted.
    pub(crate) fn blank(&self) -> Self {
        match self {
            Self::Tally(tally) => Self::Tally(tally.blank()),
            Self::Presence(presence) => Self::Presence(presence.blank()),
            Self::Trails(trails) => Self::Trails(trails.blank()),
        }
    }

    /// Which events are to be counted now; none if all were.
    pub(crate) fn turn(&self) -> Option<Turn> {
        if let Self::Trails(trails) = self { trails.turn() } else { Some(Turn::All) }
    }

    /// What comes after the turn that was counted by these; of it nothing is counted yet. `None` if that was the last.
    pub(crate) fn next<'c>(&self, counted: impl Iterator<Item = &'c Self>) -> Option<Self> {
        let Self::Trails(own) = self else { return None };
        let counted =
            counted.filter_map(|one| if let Self::Trails(trails) = one { Some(trails) } else { None });
        Some(Self::Trails(own.next(&counted.collect::<Vec<_>>())))
    }

    /// Counts events, and says whether it could.
    #[must_use]
    pub(crate) fn add(&mut self, events: &Batch<'_>) -> bool {
        match self {
            Self::Tally(tally) => tally.add(events),
            Self::Presence(presence) => {
                presence.add(events);
                true
            }
            Self::Trails(trails) => {
                trails.add(events);
                true
            }
        }
    }

    /// Instants that follow each other, if it is enough to know how many events there are between them.
    pub(crate) fn edges(&self) -> Option<&[i64]> {
        if let Self::Tally(tally) = self { tally.edges() } else { None }
    }

    /// Counts events of which no more is known than how many there are between those instants, and says whether it could.
    #[must_use]
    pub(crate) fn add_counts(&mut self, counts: &[u32]) -> bool {
        if let Self::Tally(tally) = self { tally.add_counts(counts) } else { false }
    }

    /// Adds what another has counted of other events, if there is room for it.
    #[must_use]
    pub(crate) fn merge(&mut self, other: Self) -> bool {
        match (self, other) {
            (Self::Tally(own), Self::Tally(other)) => own.merge(&other),
            (Self::Presence(own), Self::Presence(other)) => {
                own.merge(&other);
                true
            }
            (Self::Trails(own), Self::Trails(other)) => {
                own.merge(other);
                true
            }
            _ => false,
        }
    }

    /// What was counted in the periods of the answer, now that it is known which those are. `None` if they are none of those
    /// in which it was counted.
    pub(crate) fn settled(self, scope: &Scope, zone: &Zone) -> Option<Self> {
        match self {
            Self::Tally(tally) => tally.settled(scope, zone).map(Self::Tally),
            Self::Presence(presence) => presence.settled(scope, zone).map(Self::Presence),
            Self::Trails(_) => Some(self),
        }
    }

    /// Whether it matters whose the events are.
    pub(crate) fn is_of_people(&self) -> bool {
        match self {
            Self::Tally(tally) => tally.is_of_people(),
            Self::Presence(_) | Self::Trails(_) => true,
        }
    }

    /// How many events were counted.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Tally(tally) => tally.len(),
            Self::Presence(presence) => presence.len(),
            Self::Trails(trails) => trails.len(),
        }
    }
}
