//! What questions are answered with.

use std::fmt;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::id::{Identifier, ProfileId};
use crate::identity::{DecisionKind, Link, Rule};
use crate::segment::Segment;

/// A person in a list.
///
/// `Debug` masks the identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Person {
    /// The profile's id.
    pub id: ProfileId,
    /// The strongest identifier, ties broken by value. Lists are sorted by it.
    pub name: Identifier,
    /// All identifiers, the strongest first.
    pub identifiers: Vec<Identifier>,
}

/// An event as the database keeps it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventRecord {
    /// The message id, given or made from the content.
    pub message_id: String,
    /// The event time.
    pub at: Timestamp,
    /// The name that conditions know it by.
    pub name: String,
    /// The event's JSON, to the letter as it was given.
    pub json: String,
}

impl fmt::Debug for EventRecord {
    /// Everything but the JSON, which may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ({})", self.name, self.at, self.message_id)
    }
}

/// Why two identifiers are one person, or why they are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// Whether they are one person.
    pub same: bool,
    /// A shortest chain of evidence from the one to the other; empty if they are not one person, or the same
    /// identifier.
    pub path: Vec<Link>,
    /// If they are not one person: what kept them apart. First the refusals on a chain of evidence between the two, then
    /// those of either of them; at most 100 of each pair, the earliest.
    pub refused: Vec<RefusedIdentifier>,
}

/// An identifier that was left out of an event's resolution, or kept from a link by hand.
///
/// `Debug` masks the identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RefusedIdentifier {
    /// Where it stands in the list of all refusals: pass it on to read what came after it.
    pub cursor: i64,
    /// The identifier.
    pub identifier: Identifier,
    /// Whom it was not joined with: the strongest identifier of the event.
    pub from: Identifier,
    /// The rule that stopped it.
    pub rule: Rule,
    /// Why, in words: the limit that it would have broken, or what is wrong with its form.
    pub reason: String,
    /// The event's time.
    pub at: Timestamp,
    /// The message id of the event; of a link by hand `link:` and its number.
    pub message_id: String,
}

/// What came of a decision by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DecisionReport {
    /// The people concerned, as they are now, by name.
    pub profiles: Vec<Person>,
    /// What spoke against a link, if anything did.
    pub refused: Option<RefusedIdentifier>,
}

/// A decision by hand that stands.
///
/// `Debug` masks the identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Decision {
    /// Its number, by which it can be [taken back](crate::Cdp::take_back).
    pub number: i64,
    /// When it was taken.
    pub at: Timestamp,
    /// What it says.
    pub kind: DecisionKind,
    /// What it is on.
    #[serde(flatten)]
    pub subject: DecisionSubject,
}

/// What a decision by hand is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DecisionSubject {
    /// Two identifiers.
    Pair {
        /// The one.
        a: Identifier,
        /// The other.
        b: Identifier,
    },
    /// All evidence from a source.
    Source {
        /// The source's name.
        source: String,
    },
}

/// A segment and how many members it has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SegmentSize {
    /// The definition.
    pub segment: Segment,
    /// How many members it has.
    pub members: usize,
}

/// Why somebody meets a condition, or does not.
///
/// `Debug` shows no value.
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Why {
    /// Whether the condition holds.
    pub member: bool,
    /// The condition as JSON, with `holds` and `seen` at each node: whether that part holds, and the value that it saw
    /// (null where nothing is there to see). A segment or a tag that is named has its own condition under `conditions`.
    pub conditions: crate::value::Value,
}

impl fmt::Debug for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Why").field("member", &self.member).finish_non_exhaustive()
    }
}

/// Whether somebody entered a segment or left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentMove {
    /// They are a member from then on.
    Entered,
    /// They are no member from then on.
    Exited,
}

/// An entry into a segment, or an exit.
///
/// `Debug` masks the identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SegmentChange {
    /// Where it stands in the journal: pass it on to read what came after it.
    pub cursor: i64,
    /// The segment's name.
    pub segment: String,
    /// The name of whom it concerns, as it is now; of a profile that was absorbed since, an identifier that it had; of one
    /// that was erased, or of which nothing may be kept any more, `profile:` and its id.
    pub member: Identifier,
    /// The id of the profile that it concerned.
    pub profile: ProfileId,
    /// What happened.
    pub change: SegmentMove,
    /// When: of what time did, the very instant, else when it was committed.
    pub at: Timestamp,
    /// Why.
    #[serde(flatten)]
    pub cause: crate::store::ChangeCause,
}

/// An event that was refused, as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QuarantineEntry {
    /// Why it was refused.
    pub reason: String,
    /// What came: to the letter, unless it was not UTF-8.
    pub raw: String,
    /// The name of the source it came from.
    pub source: String,
    /// When it came.
    pub at: Timestamp,
}

impl fmt::Debug for QuarantineEntry {
    /// Everything but what came, which may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from {} at {}", self.reason, self.source, self.at)
    }
}
