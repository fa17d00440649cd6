//! What came of an ingest.

use serde::Serialize;

/// What came of ingesting events: every one of them is accepted, a duplicate, or rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IngestReport {
    /// Events that were new.
    pub accepted: u64,
    /// Events whose message id was there before, and which changed nothing.
    pub duplicates: u64,
    /// Those of the duplicates whose content differs from that of the event that came first.
    pub conflicts: u64,
    /// Events that were refused, in the order in which they came. They are kept in quarantine.
    pub rejected: Vec<Rejected>,
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
        self.profiles_created = later.profiles_created;
        self.merges = later.merges;
        self.refusals += later.refusals;
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.accepted + self.duplicates + self.rejected.len() as u64
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    /// The number of the first profile that did not exist before the call.
    first_new: u32,
    created: u64,
    merges: u64,
}

impl Tally {
    /// A tally for a call before which profiles up to `first_new` existed.
    pub(crate) fn from(first_new: u32) -> Self {
        Self { first_new, created: 0, merges: 0 }
    }

    /// Counts the profiles that a batch founded, and those that it absorbed.
    pub(crate) fn count(&mut self, founded: usize, absorbed: impl IntoIterator<Item = u32>) {
        self.created += founded as u64;
        for profile in absorbed {
            if profile >= self.first_new {
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
        let mut tally = Tally::from(10);
        tally.count(3, []);
        tally.count(1, [11, 4]);
        let mut report = IngestReport::default();
        tally.report(&mut report);
        assert_eq!((report.profiles_created, report.merges), (3, 1));
    }
}
