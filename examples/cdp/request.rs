//! Commands as programs write them: one JSON object each.

use customerdb::{
    ComputedTrait, Condition, Input, Matching, Party, Policy, Segment, Source, TagRule, Timestamp,
};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::analyse::Analysis;
use crate::command::Command;
use crate::consent::Consenting;
use crate::failure::Failure;
use crate::graph::{LIMIT, Wanted};
use crate::members::{Members, object};
use crate::privacy::Privacy;

/// How many refused events, refusals and entries of journals are listed if nobody says how many.
pub(crate) const ENTRIES: usize = 100;

impl Command {
    /// Reads a command.
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        let mut members = Members::read(text)?;
        let name = members.string("do")?;
        if let Some(analysis) = Analysis::read(&name, || spec(text)) {
            return Ok(Self::Analyse(Box::new(analysis?)));
        }
        if let Some(consenting) = Consenting::read(&name, &mut members)? {
            members.finish()?;
            return Ok(Self::Consent(consenting));
        }
        if let Some(privacy) = Privacy::read(&name, &mut members)? {
            members.finish()?;
            return Ok(Self::Privacy(privacy));
        }
        let given = &mut members;
        let command = match name.as_str() {
            "now" => Self::Now { at: instant(given)?.ok_or_else(|| missing("at"))? },
            "ingest" => Self::Ingest { events: events(given)?, source: source(given)? },
            "ingest_file" => Self::IngestFile { path: given.string("path")?.into(), source: source(given)? },
            "profile" => Self::Profile { id: given.string("id")?, at: instant(given)? },
            "profiles" => Self::Profiles,
            "events" => Self::Events { id: given.string("id")?, limit: limit(given, usize::MAX)? },
            "trait_history" => Self::TraitHistory { id: given.string("id")?, name: given.string("trait")? },
            "explain" => Self::Explain { a: given.string("a")?, b: given.string("b")? },
            "link" => {
                let (a, b) = (given.string("a")?, given.string("b")?);
                Self::Link { a, b, force: flag(given, "force")? }
            }
            "never" => Self::Never { a: given.string("a")?, b: given.string("b")? },
            "unlink" => Self::Unlink { a: given.string("a")?, b: given.string("b")? },
            "split" => split(given)?,
            "decisions" => Self::Decisions,
            "take_back" => Self::TakeBack { decision: given.required("decision", "a whole number")? },
            "refusals" => Self::Refusals { after: after(given)?, limit: limit(given, ENTRIES)? },
            "journal" => Self::Journal { after: after(given)?, limit: limit(given, ENTRIES)? },
            "rules" => match given.raw("rules") {
                Some(text) => Self::Rules { changes: value("rules", object("rules", text)?)? },
                None => Self::ShowRules,
            },
            "simulate" => Self::Simulate { changes: value("rules", given.object("rules")?)? },
            "restitch" => Self::Restitch,
            "graph" => Self::Graph(Wanted {
                id: given.optional("id", "a string")?,
                limit: limit(given, LIMIT)?,
                unmasked: flag(given, "unmasked")?,
                only_dot: false,
            }),
            "suggest" => {
                let matching = Matching::from_value(&value("matching", given.object("matching")?)?)?;
                Self::Suggest { matching: limited(matching, given.optional("limit", "a whole number")?) }
            }
            "define" => Self::Define { segment: Segment::from_json(given.object("segment")?)? },
            "undefine" => undefine(given)?,
            "add" => Self::Add { name: given.string("name")?, ids: ids(given)? },
            "remove" => Self::Remove { name: given.string("name")?, ids: ids(given)? },
            "why" => why(given)?,
            "changes" => Self::Changes { after: after(given)?, limit: limit(given, usize::MAX)? },
            "define_trait" => {
                Self::DefineTrait { computed: ComputedTrait::from_json(given.object("trait")?)? }
            }
            "define_tag" => Self::DefineTag { rule: TagRule::from_json(given.object("tag")?)? },
            "tag" => {
                let (id, tag) = (given.string("id")?, given.string("tag")?);
                Self::Tag { id, tag, expires: given.parsed("expires")? }
            }
            "untag" => Self::Untag { id: given.string("id")?, tag: given.string("tag")? },
            "policy" => {
                let name = given.string("trait")?;
                Self::Policy { name, policy: Policy::from_value(&given.value("policy")?)? }
            }
            "segments" => Self::Segments,
            "members" => Self::Members { name: given.string("name")?, at: instant(given)? },
            "preview" => {
                let condition = Condition::from_json(given.object("condition")?)?;
                Self::Preview { condition, at: instant(given)? }
            }
            "quarantine" => quarantine(given)?,
            "backup" => Self::Backup { path: given.string("path")?.into() },
            "stats" => Self::Stats,
            "check" => Self::Check,
            _ => {
                let message = format!("do: there is no command {name:?}");
                return Err(Failure { kind: "unknown_command", message });
            }
        };
        members.finish()?;
        Ok(command)
    }
}

/// The members of a command but its name.
fn spec(text: &str) -> Result<Value, Failure> {
    let mut spec: Value =
        serde_json::from_str(text).map_err(|error| Failure::bad_request(format!("not JSON: {error}")))?;
    if let Some(members) = spec.as_object_mut() {
        members.remove("do");
    }
    Ok(spec)
}

fn missing(name: &str) -> Failure {
    Failure::bad_request(format!("{name}: missing"))
}

fn instant(members: &mut Members<'_>) -> Result<Option<Timestamp>, Failure> {
    members.parsed("at")
}

pub(crate) fn limit(members: &mut Members<'_>, default: usize) -> Result<usize, Failure> {
    Ok(members.optional("limit", "a whole number")?.unwrap_or(default))
}

fn value(name: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::bad_request(format!("{name}: {error}")))
}

/// A cursor, at the beginning if it is left out.
pub(crate) fn after(members: &mut Members<'_>) -> Result<i64, Failure> {
    Ok(members.optional("after", "a whole number")?.unwrap_or(0))
}

fn split(members: &mut Members<'_>) -> Result<Command, Failure> {
    let id = members.optional("id", "a string")?;
    match (id, members.optional("source", "a string")?) {
        (Some(id), None) => Ok(Command::Split { id }),
        (None, Some(source)) => Ok(Command::SplitSource { source }),
        _ => Err(Failure::bad_request("id, source: one of them")),
    }
}

/// A model with another limit, if one is asked for.
pub(crate) fn limited(matching: Matching, limit: Option<usize>) -> Matching {
    match limit {
        Some(limit) => matching.limit(limit),
        None => matching,
    }
}

pub(crate) fn flag(members: &mut Members<'_>, name: &'static str) -> Result<bool, Failure> {
    Ok(members.optional(name, "a boolean")?.unwrap_or(false))
}

fn source(members: &mut Members<'_>) -> Result<Source, Failure> {
    let name = members.optional("source", "a string")?;
    let party: Option<Party> = members.parsed("party")?;
    Ok(source_of(name, party))
}

/// A source of that name and party, the default one's where they are left out.
pub(crate) fn source_of(name: Option<String>, party: Option<Party>) -> Source {
    let default = Source::default();
    Source::new(name.unwrap_or(default.name)).party(party.unwrap_or(default.party))
}

/// The events to the letter: an object as it stands in the request, a string as the line that it holds.
fn events(members: &mut Members<'_>) -> Result<Vec<Input>, Failure> {
    let text = members.text_of("events")?;
    let elements: Vec<&RawValue> = serde_json::from_str(text)
        .map_err(|_| Failure::bad_request("events: expected an array of events and of lines"))?;
    let input = |element: &&RawValue| {
        let line: Option<String> = serde_json::from_str(element.get()).ok();
        line.map_or_else(|| element.get().into(), Input::from)
    };
    Ok(elements.iter().map(input).collect())
}

/// A segment, a computed trait, the rule for a tag, or a purpose.
fn undefine(members: &mut Members<'_>) -> Result<Command, Failure> {
    let mut named = |name| members.optional(name, "a string");
    match (named("name")?, named("trait")?, named("tag")?, named("purpose")?) {
        (Some(name), None, None, None) => Ok(Command::Undefine { name }),
        (None, Some(name), None, None) => Ok(Command::UndefineTrait { name }),
        (None, None, Some(name), None) => Ok(Command::UndefineTag { name }),
        (None, None, None, Some(name)) => Ok(Command::Consent(Consenting::UndefinePurpose { name })),
        (None, None, None, None) => Err(missing("name")),
        _ => Err(Failure::bad_request("name, trait, tag, purpose: one of them")),
    }
}

fn why(members: &mut Members<'_>) -> Result<Command, Failure> {
    let id = members.string("id")?;
    let name = members.optional("name", "a string")?;
    match (name, members.raw("condition")) {
        (Some(name), None) => Ok(Command::Why { name, id }),
        (None, Some(text)) => {
            let condition = Condition::from_json(object("condition", text)?)?;
            Ok(Command::WhyCondition { condition, id })
        }
        _ => Err(Failure::bad_request("name, condition: one of them")),
    }
}

fn ids(members: &mut Members<'_>) -> Result<Vec<String>, Failure> {
    members.required("ids", "an array of ids")
}

fn quarantine(members: &mut Members<'_>) -> Result<Command, Failure> {
    let limit = limit(members, ENTRIES)?;
    Ok(match (flag(members, "replay")?, flag(members, "purge")?) {
        (false, false) => Command::Quarantine { limit },
        (true, false) => Command::ReplayQuarantine,
        (false, true) => Command::PurgeQuarantine,
        (true, true) => return Err(Failure::bad_request("replay, purge: one of them, not both")),
    })
}
