//! Everything that can be asked for, and the call of the library that does it.

use std::path::PathBuf;

use customerdb::{
    Cdp, ComputedTrait, Condition, Error, Input, Matching, Policy, Segment, Source, TagRule, Timestamp,
};
use serde_json::Value;

use crate::analyse::Analysis;
use crate::answer::{
    Answer, Changes, Decided, Decisions, Defined, Done, Entries, Events, Explained, Journal, Names, Problems,
    ProfileOf, Profiles, Purged, Refusals, Report, Restitched, RulesInForce, RulesSet, Segments, StatsOf,
    Values, WhyOf,
};
use crate::clock::SettableClock;
use crate::consent::Consenting;
use crate::failure::Failure;
use crate::graph::Wanted;
use crate::privacy::Privacy;
use crate::suggest::Suggested;

/// How many names a preview gives.
const EXAMPLES: usize = 1_000;

/// A database, and the clock that it goes by.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) cdp: Cdp,
    pub(crate) clock: SettableClock,
}

/// Something to be done, whoever asks for it.
#[derive(Debug)]
pub(crate) enum Command {
    Now { at: Timestamp },
    Ingest { events: Vec<Input>, source: Source },
    IngestFile { path: PathBuf, source: Source },
    Profile { id: String, at: Option<Timestamp> },
    Profiles,
    Events { id: String, limit: usize },
    TraitHistory { id: String, name: String },
    Explain { a: String, b: String },
    Link { a: String, b: String, force: bool },
    Never { a: String, b: String },
    Unlink { a: String, b: String },
    Split { id: String },
    SplitSource { source: String },
    Decisions,
    TakeBack { decision: i64 },
    Refusals { after: i64, limit: usize },
    Journal { after: i64, limit: usize },
    Graph(Wanted),
    Suggest { matching: Matching },
    Rules { changes: Value },
    ShowRules,
    Simulate { changes: Value },
    Restitch,
    Define { segment: Segment },
    Undefine { name: String },
    Segments,
    Members { name: String, at: Option<Timestamp> },
    Preview { condition: Condition, at: Option<Timestamp> },
    Add { name: String, ids: Vec<String> },
    Remove { name: String, ids: Vec<String> },
    Why { name: String, id: String },
    WhyCondition { condition: Condition, id: String },
    Changes { after: i64, limit: usize },
    DefineTrait { computed: ComputedTrait },
    UndefineTrait { name: String },
    DefineTag { rule: TagRule },
    UndefineTag { name: String },
    Tag { id: String, tag: String, expires: Option<Timestamp> },
    Untag { id: String, tag: String },
    Policy { name: String, policy: Policy },
    Quarantine { limit: usize },
    ReplayQuarantine,
    PurgeQuarantine,
    Consent(Consenting),
    Privacy(Privacy),
    Backup { path: PathBuf },
    Stats,
    Check,
    Analyse(Box<Analysis>),
}

impl Command {
    /// Whether it leaves the file as it is.
    pub(crate) fn only_reads(&self) -> bool {
        match self {
            Self::Consent(consenting) => return consenting.only_reads(),
            Self::Privacy(privacy) => return privacy.only_reads(),
            _ => {}
        }
        matches!(
            self,
            Self::Profile { .. }
                | Self::Profiles
                | Self::Events { .. }
                | Self::TraitHistory { .. }
                | Self::Explain { .. }
                | Self::Decisions
                | Self::Refusals { .. }
                | Self::Journal { .. }
                | Self::ShowRules
                | Self::Simulate { .. }
                | Self::Graph(_)
                | Self::Suggest { .. }
                | Self::Segments
                | Self::Members { .. }
                | Self::Preview { .. }
                | Self::Why { .. }
                | Self::Changes { .. }
                | Self::WhyCondition { .. }
                | Self::Quarantine { .. }
                | Self::Backup { .. }
                | Self::Stats
                | Self::Check
                | Self::Analyse(_)
        )
    }

    /// Does it.
    pub(crate) fn perform(self, front: &Front) -> Result<Box<dyn Answer>, Failure> {
        let cdp = &front.cdp;
        Ok(match self {
            Self::Now { at } => {
                front.clock.set(at);
                cdp.advance()?;
                Box::new(Done {})
            }
            Self::Ingest { events, source } => Box::new(Report::of_list(cdp.ingest_from(&source, events)?)),
            Self::IngestFile { path, source } => Box::new(Report::of_file(cdp.ingest_file(path, &source)?)),
            Self::Profile { id, at } => {
                let found = match at {
                    Some(at) => cdp.profile_at(&id, at)?,
                    None => cdp.profile(&id)?,
                };
                let profile = found.map(|profile| Box::new(profile.into()));
                Box::new(ProfileOf { asked: id, profile })
            }
            Self::Profiles => Box::new(Profiles { profiles: cdp.profiles()? }),
            Self::Events { id, limit } => Box::new(Events::new(cdp.events(&id, limit)?)?),
            Self::TraitHistory { id, name } => Box::new(Values { values: cdp.trait_history(&id, &name)? }),
            Self::Explain { a, b } => {
                Box::new(Explained { explanation: cdp.explain(&a, &b)?, asked: [a, b] })
            }
            Self::Link { a, b, force: false } => Box::new(Decided::from(cdp.link(a, b)?)),
            Self::Link { a, b, force: true } => Box::new(Decided::from(cdp.force_link(a, b)?)),
            Self::Never { a, b } => Box::new(Decided::from(cdp.never(a, b)?)),
            Self::Unlink { a, b } => Box::new(Decided::from(cdp.unlink(a, b)?)),
            Self::Split { id } => Box::new(Decided::from(cdp.split(id)?)),
            Self::SplitSource { source } => Box::new(Decided::from(cdp.split_source(&source)?)),
            Self::Decisions => Box::new(Decisions { decisions: cdp.decisions()? }),
            Self::TakeBack { decision } => Box::new(Decided::from(cdp.take_back(decision)?)),
            Self::Refusals { after, limit } => Box::new(Refusals::new(cdp.refusals(after, limit)?, after)),
            Self::Journal { after, limit } => Box::new(Journal::new(cdp.journal(after, limit)?, after)),
            Self::Graph(wanted) => wanted.answer(cdp)?,
            Self::Suggest { matching } => Box::new(Suggested::from(cdp.suggestions(&matching)?)),
            Self::Rules { changes } => {
                let rules = cdp.rules().changed(&changes)?;
                Box::new(RulesSet(cdp.set_rules(rules)?))
            }
            Self::ShowRules => Box::new(RulesInForce { rules: cdp.rules().to_json() }),
            Self::Simulate { changes } => {
                let rules = cdp.rules().changed(&changes)?;
                Box::new(RulesSet(cdp.simulate(rules)?))
            }
            Self::Restitch => {
                let report = cdp.restitch()?;
                Box::new(Restitched { profiles: report.profiles_after, changed: report.changed })
            }
            Self::Define { segment } => Box::new(Defined { members: cdp.define(segment)? }),
            Self::Undefine { name } => {
                if !cdp.undefine(&name)? {
                    return Err(Error::UnknownSegment(name).into());
                }
                Box::new(Done {})
            }
            Self::Segments => {
                let segments = cdp.segments()?.into_iter().map(Into::into).collect();
                Box::new(Segments { segments })
            }
            Self::Members { name, at } => {
                let people = match at {
                    Some(at) => cdp.members_at(&name, at)?,
                    None => cdp.members(&name)?,
                };
                Box::new(Names::of(people, usize::MAX))
            }
            Self::Preview { condition, at } => {
                let people = match at {
                    Some(at) => cdp.preview_at(condition, at)?,
                    None => cdp.preview(condition)?,
                };
                Box::new(Names::of(people, EXAMPLES))
            }
            Self::Add { name, ids } => Box::new(Defined { members: cdp.add(&name, ids)? }),
            Self::Remove { name, ids } => Box::new(Defined { members: cdp.remove(&name, ids)? }),
            Self::Why { name, id } => Box::new(WhyOf::from(cdp.why(&name, id)?)),
            Self::WhyCondition { condition, id } => Box::new(WhyOf::from(cdp.why_condition(condition, id)?)),
            Self::Changes { after, limit } => Box::new(Changes::new(cdp.changes(after, limit)?, after)),
            Self::DefineTrait { computed } => done(cdp.define_trait(computed)?),
            Self::UndefineTrait { name } => found("trait", &name, cdp.undefine_trait(&name)?)?,
            Self::DefineTag { rule } => done(cdp.define_tag(rule)?),
            Self::UndefineTag { name } => found("tag", &name, cdp.undefine_tag(&name)?)?,
            Self::Tag { id, tag, expires } => done(cdp.tag(id, &tag, expires)?),
            Self::Untag { id, tag } => found("tag by hand", &tag, cdp.untag(id, &tag)?)?,
            Self::Policy { name, policy } => done(cdp.set_policy(&name, policy)?),
            Self::Quarantine { limit } => Box::new(Entries { entries: cdp.quarantine(limit)? }),
            Self::ReplayQuarantine => Box::new(Report::of_list(cdp.replay_quarantine()?)),
            Self::PurgeQuarantine => Box::new(Purged { purged: cdp.purge_quarantine()? }),
            Self::Consent(consenting) => consenting.perform(cdp)?,
            Self::Privacy(privacy) => privacy.perform(cdp)?,
            Self::Backup { path } => done(cdp.backup(path)?),
            Self::Stats => Box::new(StatsOf::from(cdp.stats()?)),
            Self::Check => Box::new(Problems { problems: cdp.check()? }),
            Self::Analyse(analysis) => analysis.perform(cdp)?,
        })
    }
}

pub(crate) fn done((): ()) -> Box<dyn Answer> {
    Box::new(Done {})
}

/// The answer to the removal of what may not have been there.
pub(crate) fn found(what: &str, name: &str, found: bool) -> Result<Box<dyn Answer>, Failure> {
    if found { Ok(done(())) } else { Err(Failure::bad_request(format!("no {what} is named {name:?}"))) }
}
