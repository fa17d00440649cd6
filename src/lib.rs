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
mod profile;
mod segment;
mod store;
mod value;

pub use crate::analytics::{
    Attribution, AttributionGroup, AttributionModel, AttributionReport, By, Cohort, Funnel, FunnelGroup,
    FunnelMode, FunnelReport, FunnelStep, Interval, Lifecycle, LifecycleGroup, LifecyclePeriod,
    LifecycleReport, Measure, Paths, PathsGroup, PathsReport, Question, Retention, RetentionGroup,
    RetentionMode, RetentionReport, Rfm, RfmGroup, RfmProfile, RfmReport, Sessions, SessionsGroup,
    SessionsReport, Transition, Trend, TrendGroup, TrendPoint, TrendReport,
};
pub use crate::builder::CdpBuilder;
pub use crate::cdp::{
    Batch, Cdp, Comparison, Decision, DecisionReport, DecisionSubject, Durability, EventRecord, Explanation,
    Person, QuarantineEntry, RefusedIdentifier, SegmentSize, Suggestion, Suggestions,
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
pub use crate::profile::{Account, History, PastEvent, Profile, Trait};
pub use crate::segment::{
    Condition, EventCondition, Needs, OfElement, OfEvents, OfTrait, PropertyTest, Segment, Subject,
    TraitCondition, Verdict, all, any, did, did_not, evaluate, has_identifier, has_trait, is_known, not,
    property,
};
pub use crate::store::{Cause, Change, JournalEntry, Problem, Stats};
pub use crate::value::{Object, Sum, Value};
