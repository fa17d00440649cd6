//! Answers, with the names that the contract gives their members. How people read them is in `show`.

use std::collections::BTreeMap;
use std::fmt;

use customerdb::{
    Account, Consent, Decision, DecisionReport, EventRecord, Explanation, Identifier, IngestReport,
    JournalEntry, Person, Problem, Profile, ProfileId, QuarantineEntry, RefusedIdentifier, RulesReport,
    SegmentChange, SegmentSize, Stats, Tag, Timestamp, Trait, Value, Why,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::suggest::Suggested;

/// What a command is answered with: JSON for programs, `Display` for people.
pub(crate) trait Answer: fmt::Display {
    /// The answer as JSON on one line.
    fn to_json(&self) -> serde_json::Result<String>;

    /// Whether it is bad news, which a shell wants to know by the exit status.
    fn is_alarm(&self) -> bool;
}

macro_rules! answers {
    (@alarm $answer:ident) => { false };
    (@alarm $answer:ident $alarm:ident) => { $answer.$alarm() };
    ($($name:ident $(alarms if $alarm:ident)?),* $(,)?) => {$(
        impl $crate::answer::Answer for $name {
            fn to_json(&self) -> serde_json::Result<String> {
                serde_json::to_string(self)
            }

            fn is_alarm(&self) -> bool {
                $crate::answer::answers!(@alarm self $($alarm)?)
            }
        }
    )*};
}
pub(crate) use answers;

answers! {
    Done, Report, ProfileOf, Profiles, Events, Values, Explained, Decided, Decisions, Refusals, Journal, RulesInForce, RulesSet,
    Restitched, Defined, Segments, Names, Entries, Purged, StatsOf,
    Suggested,
    WhyOf, Changes,
    Problems alarms if any, Summary alarms if too_bad,
}

#[derive(Serialize)]
pub(crate) struct Done {}

/// What came of an ingest.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) accepted: u64,
    pub(crate) duplicates: u64,
    pub(crate) conflicts: u64,
    pub(crate) rejected: Vec<Rejected>,
    /// Events that were counted and let go, because their person denied consent for analytics.
    pub(crate) withheld: u64,
    pub(crate) profiles_created: u64,
    pub(crate) merges: u64,
    pub(crate) refusals: u64,
}

/// A refused event, where it stood, and why.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Rejected {
    Element { index: u64, reason: String },
    Line { line: u64, reason: String },
    FileLine { file: String, line: u64, reason: String },
}

impl Report {
    /// The report with positions made into what they are.
    pub(crate) fn of(report: IngestReport, place: impl Fn(u64, String) -> Rejected) -> Self {
        let rejected = report.rejected.into_iter().map(|event| place(event.position, event.reason));
        Self {
            accepted: report.accepted,
            duplicates: report.duplicates,
            conflicts: report.conflicts,
            rejected: rejected.collect(),
            withheld: report.withheld,
            profiles_created: report.profiles_created,
            merges: report.merges,
            refusals: report.refusals,
        }
    }

    /// Of a list of events.
    pub(crate) fn of_list(report: IngestReport) -> Self {
        Self::of(report, |index, reason| Rejected::Element { index, reason })
    }

    /// Of a file.
    pub(crate) fn of_file(report: IngestReport) -> Self {
        Self::of(report, |line, reason| Rejected::Line { line, reason })
    }

    /// Adds what came of another file.
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.rejected.extend(other.rejected);
        self.withheld += other.withheld;
        self.profiles_created += other.profiles_created;
        self.merges += other.merges;
        self.refusals += other.refusals;
    }

    /// How many events there were.
    pub(crate) fn events(&self) -> u64 {
        self.accepted + self.duplicates + self.rejected.len() as u64 + self.withheld
    }
}

/// What came of taking in files for somebody who watches.
#[derive(Serialize)]
pub(crate) struct Summary {
    #[serde(flatten)]
    pub(crate) report: Report,
    /// How many people there are now.
    #[serde(skip)]
    pub(crate) people: u64,
    #[serde(skip)]
    pub(crate) events_a_second: u64,
    /// Whether a refused event is too many.
    #[serde(skip)]
    pub(crate) strict: bool,
}

impl Summary {
    fn too_bad(&self) -> bool {
        self.strict && !self.report.rejected.is_empty()
    }
}

#[derive(Serialize)]
pub(crate) struct ProfileOf {
    /// The id that was asked for.
    #[serde(skip)]
    pub(crate) asked: String,
    pub(crate) profile: Option<Box<OneProfile>>,
}

#[derive(Serialize)]
pub(crate) struct OneProfile {
    pub(crate) id: ProfileId,
    pub(crate) name: Identifier,
    pub(crate) identifiers: Vec<Identifier>,
    pub(crate) traits: BTreeMap<String, Value>,
    pub(crate) computed: BTreeMap<String, Value>,
    pub(crate) tags: Vec<String>,
    pub(crate) segments: Vec<String>,
    pub(crate) consents: BTreeMap<String, Consent>,
    pub(crate) accounts: Vec<OneAccount>,
    pub(crate) first_seen: Option<Timestamp>,
    pub(crate) last_seen: Option<Timestamp>,
    pub(crate) events: u64,
    pub(crate) provenance: BTreeMap<String, Provenance>,
    /// What each tag weighs, and when it ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tag_weights: Vec<Tag>,
}

/// An account with the plain values of its traits.
#[derive(Serialize)]
pub(crate) struct OneAccount {
    pub(crate) id: String,
    pub(crate) traits: BTreeMap<String, Value>,
}

/// Where a trait's value comes from.
#[derive(Serialize)]
pub(crate) struct Provenance {
    pub(crate) at: Timestamp,
    pub(crate) source: String,
    pub(crate) message_id: String,
    /// Told only if it was set right by hand.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) pinned: bool,
}

impl From<Profile> for OneProfile {
    fn from(profile: Profile) -> Self {
        let (mut traits, mut provenance) = (BTreeMap::new(), BTreeMap::new());
        for (name, Trait { value, at, source, message_id, pinned, .. }) in profile.traits {
            traits.insert(name.clone(), value);
            provenance.insert(name, Provenance { at, source, message_id, pinned });
        }
        Self {
            id: profile.id,
            name: profile.name,
            identifiers: profile.identifiers,
            traits,
            computed: profile.computed,
            tags: profile.tags.iter().map(|tag| tag.name.clone()).collect(),
            tag_weights: profile.tags,
            segments: profile.segments,
            consents: profile.consents,
            accounts: profile.accounts.into_iter().map(Into::into).collect(),
            first_seen: profile.first_seen,
            last_seen: profile.last_seen,
            events: profile.events,
            provenance,
        }
    }
}

impl From<Account> for OneAccount {
    fn from(account: Account) -> Self {
        let traits = account.traits.into_iter().map(|(name, said)| (name, said.value)).collect();
        Self { id: account.id, traits }
    }
}

#[derive(Serialize)]
pub(crate) struct Profiles {
    pub(crate) profiles: Vec<Person>,
}

/// Events to the letter.
#[derive(Serialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<Box<RawValue>>,
    /// What is known of each besides, for people.
    #[serde(skip)]
    pub(crate) heads: Vec<Head>,
}

/// When an event happened, and what it is called.
pub(crate) struct Head {
    pub(crate) at: Timestamp,
    pub(crate) name: String,
    pub(crate) message_id: String,
}

impl Events {
    pub(crate) fn new(records: Vec<EventRecord>) -> Result<Self, Failure> {
        let (mut events, mut heads) = (Vec::new(), Vec::new());
        for record in records {
            let json =
                if record.json.contains(['\n', '\r']) { on_one_line(&record.json) } else { record.json };
            let event = RawValue::from_string(json).map_err(|error| Failure {
                kind: "damaged",
                message: format!("event {}: not JSON: {error}", record.message_id),
            })?;
            events.push(event);
            heads.push(Head { at: record.at, name: record.name, message_id: record.message_id });
        }
        Ok(Self { events, heads })
    }
}

/// JSON without the white space between its parts, and otherwise to the letter.
pub(crate) fn on_one_line(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |letter: &char| {
        let quote = *letter == '"' && !escaped;
        escaped = inside && *letter == '\\' && !escaped;
        inside ^= quote;
        inside || !letter.is_ascii_whitespace()
    };
    json.chars().filter(keep).collect()
}

#[derive(Serialize)]
pub(crate) struct Values {
    pub(crate) values: Vec<Trait>,
}

#[derive(Serialize)]
pub(crate) struct Explained {
    #[serde(flatten)]
    pub(crate) explanation: Explanation,
    /// The two that it is about, as they were asked for.
    #[serde(skip)]
    pub(crate) asked: [String; 2],
}

/// What came of a decision by hand.
#[derive(Serialize)]
pub(crate) struct Decided {
    pub(crate) profiles: Vec<Identifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<RefusedIdentifier>,
}

impl From<DecisionReport> for Decided {
    fn from(report: DecisionReport) -> Self {
        let profiles = report.profiles.into_iter().map(|person| person.name).collect();
        Self { profiles, refused: report.refused }
    }
}

#[derive(Serialize)]
pub(crate) struct Decisions {
    pub(crate) decisions: Vec<Decision>,
}

#[derive(Serialize)]
pub(crate) struct Refusals {
    pub(crate) refused: Vec<RefusedIdentifier>,
    /// After which to go on.
    pub(crate) cursor: i64,
}

impl Refusals {
    pub(crate) fn new(refused: Vec<RefusedIdentifier>, after: i64) -> Self {
        let cursor = refused.last().map_or(after, |last| last.cursor);
        Self { refused, cursor }
    }
}

#[derive(Serialize)]
pub(crate) struct Journal {
    pub(crate) entries: Vec<JournalEntry>,
    /// After which to go on.
    pub(crate) cursor: i64,
}

impl Journal {
    pub(crate) fn new(entries: Vec<JournalEntry>, after: i64) -> Self {
        let cursor = entries.last().map_or(after, |last| last.cursor);
        Self { entries, cursor }
    }
}

#[derive(Serialize)]
pub(crate) struct RulesInForce {
    pub(crate) rules: Value,
}

#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct RulesSet(pub(crate) RulesReport);

#[derive(Serialize)]
pub(crate) struct Restitched {
    pub(crate) profiles: usize,
    pub(crate) changed: usize,
}

#[derive(Serialize)]
pub(crate) struct Defined {
    pub(crate) members: usize,
}

#[derive(Serialize)]
pub(crate) struct Segments {
    pub(crate) segments: Vec<OneSegment>,
}

#[derive(Serialize)]
pub(crate) struct OneSegment {
    pub(crate) name: String,
    /// None of a list that is kept by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) condition: Option<Value>,
    pub(crate) members: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) list: bool,
    /// Told only if it is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<bool>,
}

impl From<SegmentSize> for OneSegment {
    fn from(SegmentSize { segment, members, .. }: SegmentSize) -> Self {
        Self {
            name: segment.name().to_owned(),
            condition: (!segment.is_list()).then(|| segment.condition().to_value()),
            members,
            list: segment.is_list(),
            live: (!segment.is_live()).then_some(false),
        }
    }
}

/// Why somebody is a member, or is not; null conditions if there is nobody of that id.
#[derive(Serialize)]
pub(crate) struct WhyOf {
    pub(crate) member: bool,
    pub(crate) conditions: Value,
}

impl From<Option<Why>> for WhyOf {
    fn from(why: Option<Why>) -> Self {
        match why {
            Some(why) => Self { member: why.member, conditions: why.conditions },
            None => Self { member: false, conditions: Value::Null },
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Changes {
    pub(crate) changes: Vec<SegmentChange>,
    /// After which to go on.
    pub(crate) cursor: i64,
}

impl Changes {
    pub(crate) fn new(changes: Vec<SegmentChange>, after: i64) -> Self {
        let cursor = changes.last().map_or(after, |last| last.cursor);
        Self { changes, cursor }
    }
}

/// How many people, and the names of the first of them.
#[derive(Serialize)]
pub(crate) struct Names {
    pub(crate) count: usize,
    pub(crate) members: Vec<Identifier>,
}

impl Names {
    pub(crate) fn of(people: Vec<Person>, most: usize) -> Self {
        let count = people.len();
        Self { count, members: people.into_iter().take(most).map(|person| person.name).collect() }
    }
}

#[derive(Serialize)]
pub(crate) struct Entries {
    pub(crate) entries: Vec<QuarantineEntry>,
}

#[derive(Serialize)]
pub(crate) struct Purged {
    pub(crate) purged: usize,
}

#[derive(Serialize)]
pub(crate) struct StatsOf {
    #[serde(flatten)]
    pub(crate) stats: Stats,
}

impl From<Stats> for StatsOf {
    fn from(stats: Stats) -> Self {
        Self { stats }
    }
}

#[derive(Serialize)]
pub(crate) struct Problems {
    pub(crate) problems: Vec<Problem>,
}

impl Problems {
    fn any(&self) -> bool {
        !self.problems.is_empty()
    }
}
