#![doc = include_str!("../README.md")]

mod analytics;
mod builder;
mod cdp;
mod clock;
mod error;
mod event;
mod id;
mod identity;
mod pipeline;
mod privacy;
mod profile;
mod segment;
mod store;
mod value;

pub use crate::analytics::{
    Attribution, AttributionGroup, AttributionModel, AttributionReport, By, Cohort, Funnel, FunnelGroup,
    FunnelMode, FunnelReport, FunnelStep, Interval, Lifecycle, LifecycleGroup, LifecyclePeriod,
    LifecycleReport, Measure, Paths, PathsGroup, PathsReport, Question, Retention, RetentionGroup,
    RetentionMode, RetentionReport, Rfm, RfmCell, RfmGroup, RfmProfile, RfmReport, Sessions, SessionsGroup,
    SessionsReport, Transition, Trend, TrendGroup, TrendPoint, TrendReport,
};
pub use crate::builder::CdpBuilder;
pub use crate::cdp::{
    BackupProgress, Batch, Cdp, Comparison, Decision, DecisionReport, DecisionSubject, Durability,
    EventRecord, Explanation, Person, PersonExport, QuarantineEntry, RefusedIdentifier, SegmentChange,
    SegmentMove, SegmentSize, Subscription, Suggestion, Suggestions, Why,
};
pub use crate::clock::{
    Clock, ManualClock, NotASpan, NotATime, NotAZone, Span, SystemClock, Timestamp, Zone, days, hours,
    millis, minutes, seconds, weeks,
};
pub use crate::error::{DefinitionError, Error, Result, StorageError};
pub use crate::event::{Event, EventIds, EventKind, EventTimes, NotAParty, Party, Refusal, Source};
pub use crate::id::{Identifier, Namespace, NotAnIdentifier, ProfileId, mask};
pub use crate::identity::{
    BlockingKey, Bridge, ComparisonLevel, DecisionKind, Dot, Hub, IdentityGraph, Link, Matching, Period,
    Rule, Rules, RulesExample, RulesReport, SharedDevice, SkippedBlock, SuggestionRow, TraitComparison,
};
pub use crate::pipeline::input::{Input, Progress};
pub use crate::pipeline::report::{IngestReport, Rejected};
pub use crate::privacy::{Maintenance, Receipt, Restored, RetentionRule};
pub use crate::profile::{
    Account, Computed, Consent, ConsentDecision, ConsentMerge, ConsentState, History, LegalBasis, PastEvent,
    Policy, Profile, Purpose, Tag, Trait, Verdict,
};
pub use crate::segment::{
    ComputedTrait, Condition, EventCondition, LifecycleBounds, Needs, OfElement, OfEvents, OfTrait,
    PropertyTest, RfmBounds, Sample, Segment, SequenceCondition, Subject, TagRule, TraitCondition, all, any,
    consented_to, did, did_not, evaluate, has_account, has_identifier, has_tag, has_trait, in_sample,
    in_segment, is_known, not, property, sequence,
};
pub use crate::store::{AuditEntry, Cause, Change, ChangeCause, JournalEntry, Problem, Stats};
pub use crate::value::{Object, Sum, Value};
