//! What is left of an erasure, and what maintenance and a restored backup did: numbers.

use serde::Serialize;

/// What an erasure took away, in numbers: nothing in it tells of whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Receipt {
    /// Identifiers that were the person's. A keyed hash of each is on the suppression list.
    pub identifiers: u64,
    /// Events of theirs.
    pub events: u64,
    /// Values of their traits, old ones too: those that events had asserted, and those that were set right.
    pub traits: u64,
    /// Decisions on consent that were recorded for them.
    pub consents: u64,
    /// Segments and lists that they were on.
    pub memberships: u64,
    /// Deliveries. There are none yet.
    pub deliveries: u64,
    /// Entries of the quarantine that named one of the identifiers.
    pub quarantined: u64,
    /// Events of other people that bore one of the identifiers: it was taken out of them.
    pub redacted: u64,
    /// Definitions of segments, traits and tags, and rules, whose text spells one of the identifiers. They are the
    /// application's, and stay as they are.
    pub definitions: u64,
    /// Whether nothing is left in any file of the database. It is not while somebody else reads what was there before;
    /// [`maintain`](crate::Cdp::maintain) finishes it.
    pub complete: bool,
}

/// What maintenance did, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Maintenance {
    /// Events that were sealed into columns.
    pub sealed: u64,
    /// Events that came a few at a time, and were put together in the log: they take less room so.
    pub gathered: u64,
    /// Events whose columns were put in the order of people.
    pub arranged: u64,
    /// Events whose new owners were written into the log, where they stood beside it.
    pub settled: u64,
    /// Events that retention rules dropped.
    pub retained: u64,
    /// Identifiers that no event bears any more since, and that were let go of.
    pub identifiers: u64,
    /// Erasures that had been waiting for a reader, or were cut short, and are complete now.
    pub erasures: u64,
    /// Erasures that still wait.
    pub waiting: u64,
    /// Pages that the file has fewer.
    pub pages_freed: u64,
    /// Bytes of the write-ahead log that were brought home. It is empty then, unless somebody reads what was there before.
    pub wal_bytes: u64,
}

/// What was done to a backup before it was put in the place of a file, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Restored {
    /// Whether there was a file in whose place it stands. If there was none, nothing was known of who was erased since the
    /// backup was made, and nobody was taken out.
    pub replaced: bool,
    /// People whom the file had erased, and the backup had not.
    pub people: u64,
    /// Their identifiers.
    pub identifiers: u64,
    /// Their events.
    pub events: u64,
    /// Events of other people that bore one of their identifiers: it was taken out of them.
    pub redacted: u64,
    /// Events that the file had dropped as they were kept long enough.
    pub dropped: u64,
    /// Entries of the quarantine that named them.
    pub quarantined: u64,
}
