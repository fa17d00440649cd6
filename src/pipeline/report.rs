//! What came of an ingest.

use std::ops::Range;

use serde::Serialize;

/// What came of ingesting events: every one of them is accepted, a duplicate, rejected, or withheld.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IngestReport {
    /// Events that were new.
    pub accepted: u64,
    /// Events whose message id was there before, and which changed nothing.
    pub duplicates: u64,
    /// Those of the duplicates whose content differs from that of the event that came first.
    pub conflicts: u64,
    /// Events that were refused, in the order in which they came. They are kept in quarantine, unless they are of somebody who
    /// was erased, or name them.
    pub rejected: Vec<Rejected>,
    /// Events that were counted and let go, because of whom they are of: somebody who denied consent for `analytics`,
    /// or withdrew it. Nothing of them is kept, so an event that comes again is counted again.
    pub withheld: u64,
    /// People of whom no identifier was known before.
    pub profiles_created: u64,
    /// Profiles known before that were absorbed by another.
    pub merges: u64,
    /// Identifiers that were left out of an event's resolution, by a limit or because of their form.
    pub refusals: u64,
}

impl IngestReport {
    /// Adds what came of a later batch of the same call, whose counts of profiles include those of this one.
    pub(crate) fn add(&mut self, later: Self) {
        self.accepted += later.accepted;
        self.duplicates += later.duplicates;
        self.conflicts += later.conflicts;
        self.rejected.extend(later.rejected);
        self.withheld += later.withheld;
        self.profiles_created = later.profiles_created;
        self.merges = later.merges;
        self.refusals += later.refusals;
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.accepted + self.duplicates + self.rejected.len() as u64 + self.withheld
    }
}

/// An event that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rejected {
    /// Where it stood: its line in a file, counted from 1; otherwise its place in the batch, counted from 0.
    pub position: u64,
    /// Why: the member, and what is wrong with it (`timestamp: not a time: "yesterday"`).
    pub reason: String,
}

/// Counts the profiles that a call creates and merges, over all its batches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// The numbers of the profiles that the call has founded, in order. Other writers may found some in between.
    own: Vec<Range<u32>>,
    created: u64,
    merges: u64,
}

impl Tally {
    /// Counts the profiles that a batch founded, and those that it absorbed.
    pub(crate) fn count(&mut self, founded: Range<u32>, absorbed: impl IntoIterator<Item = u32>) {
        self.created += u64::from(founded.end - founded.start);
        self.add(founded, absorbed);
    }

    /// Counts a batch of which a part was replayed: the profiles founded meanwhile, how many people it created, and the
    /// profiles that were absorbed, those founded meanwhile among them.
    pub(crate) fn count_replayed(
        &mut self,
        founded: Range<u32>,
        created: u64,
        absorbed: impl IntoIterator<Item = u32>,
    ) {
        self.created += created;
        let known = absorbed.into_iter().filter(|profile| *profile < founded.start).collect::<Vec<_>>();
        self.add(founded, known);
    }

    fn add(&mut self, founded: Range<u32>, absorbed: impl IntoIterator<Item = u32>) {
        match self.own.last_mut() {
            Some(last) if last.end == founded.start => last.end = founded.end,
            _ => self.own.push(founded),
        }
        for profile in absorbed {
            let after = self.own.partition_point(|range| range.end <= profile);
            if self.own.get(after).is_some_and(|range| range.contains(&profile)) {
                self.created = self.created.saturating_sub(1);
            } else {
                self.merges += 1;
            }
        }
    }

    /// Puts the counts into a report.
    pub(crate) fn report(&self, report: &mut IngestReport) {
        report.profiles_created = self.created;
        report.merges = self.merges;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_comes_and_goes_within_a_call_is_neither_created_nor_merged() {
        let mut tally = Tally::default();
        tally.count(10..13, []);
        tally.count(13..14, [11, 4]);
        let mut report = IngestReport::default();
        tally.report(&mut report);
        assert_eq!((report.profiles_created, report.merges), (3, 1));
        // Of the profiles from 14 to 19 others have founded some since.
        tally.count(20..21, [13, 14, 20]);
        tally.report(&mut report);
        assert_eq!((report.profiles_created, report.merges), (2, 2));
    }
}
