//! Commands as people give them.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use customerdb::{ComputedTrait, Condition, DefinitionError, Matching, Policy, Segment, TagRule};
use serde_json::{Value, json};

use crate::analyse::Analysis;
use crate::args::Ask;
use crate::command::Command;
use crate::failure::Failure;
use crate::graph::Wanted;
use crate::request::limited;

impl Ask {
    /// The command that is meant, with the files read that it names.
    pub(crate) fn command(self) -> Result<Command, Failure> {
        Ok(match self {
            Self::Profile { id, at } => Command::Profile { id, at },
            Self::Profiles => Command::Profiles,
            Self::Events { id, limit } => Command::Events { id, limit: limit.unwrap_or(usize::MAX) },
            Self::TraitHistory { id, name } => Command::TraitHistory { id, name },
            Self::Explain { a, b } => Command::Explain { a, b },
            Self::Link { a, b, force } => Command::Link { a, b, force },
            Self::Never { a, b } => Command::Never { a, b },
            Self::Unlink { a, b } => Command::Unlink { a, b },
            Self::Split { source: Some(source), .. } => Command::SplitSource { source },
            Self::Split { id, .. } => Command::Split { id: id.unwrap_or_default() },
            Self::Decisions => Command::Decisions,
            Self::TakeBack { decision } => Command::TakeBack { decision },
            Self::Refusals { after, limit } => Command::Refusals { after, limit },
            Self::Journal { after, limit } => Command::Journal { after, limit },
            Self::Simulate { changes } => Command::Simulate { changes: json_in(&changes)? },
            Self::Restitch => Command::Restitch,
            Self::Graph { id, limit, dot, unmasked } => {
                Command::Graph(Wanted { id, limit, unmasked, only_dot: dot })
            }
            Self::Suggest { matching, limit } => {
                let read = Matching::from_json(&text_in(&matching)?);
                let read = read.map_err(|error| Failure::from(error).at(matching.display()))?;
                Command::Suggest { matching: limited(read, limit) }
            }
            Self::Segment { name, definition } => {
                Command::Define { segment: segment_in(&definition, &name)? }
            }
            Self::Backup { path } => Command::Backup { path },
            Self::Undefine { name } => Command::Undefine { name },
            Self::Segments => Command::Segments,
            Self::Members { name, at } => Command::Members { name, at },
            Self::Preview { definition, at } => {
                Command::Preview { condition: segment_in(&definition, "preview")?.condition().clone(), at }
            }
            Self::Rules { changes: Some(changes) } => Command::Rules { changes: json_in(&changes)? },
            Self::Rules { changes: None } => Command::ShowRules,
            Self::Add { name, ids } => Command::Add { name, ids },
            Self::Remove { name, ids } => Command::Remove { name, ids },
            Self::Why { asked, id } => why(asked, id)?,
            Self::Changes { after, limit } => Command::Changes { after, limit },
            Self::DefineTrait { definition } => {
                Command::DefineTrait { computed: read_in(&definition, ComputedTrait::from_json)? }
            }
            Self::DefineTag { definition } => {
                Command::DefineTag { rule: read_in(&definition, TagRule::from_json)? }
            }
            Self::Tag { id, name, expires } => Command::Tag { id, tag: name, expires },
            Self::Untag { id, name } => Command::Untag { id, tag: name },
            Self::Policy { name, policy, sources } => {
                let value = policy.map_or_else(|| json!({"source_order": sources}), |word| json!(word));
                Command::Policy { name, policy: Policy::from_value(&value)? }
            }
            Self::Quarantine { replay: true, .. } => Command::ReplayQuarantine,
            Self::Quarantine { purge: true, .. } => Command::PurgeQuarantine,
            Self::Quarantine { limit, .. } => Command::Quarantine { limit },
            Self::Consent(consenting) => Command::Consent(consenting.wanted()?),
            Self::Privacy(privacy) => Command::Privacy(privacy.wanted()),
            Self::Stats => Command::Stats,
            Self::Check => Command::Check,
            Self::Analyse(question) => {
                let (name, path) = question.parts();
                let analysis = Analysis::read(name, || json_in(&path));
                let unknown = || Failure::bad_request(format!("there is no question {name:?}"));
                Command::Analyse(Box::new(analysis.ok_or_else(unknown)??))
            }
        })
    }
}

/// What is asked is a condition if it is a file or standard input, and else a segment.
fn why(asked: String, id: String) -> Result<Command, Failure> {
    let path = Path::new(&asked);
    if asked == "-" || path.is_file() {
        return Ok(Command::WhyCondition { condition: read_in(path, Condition::from_json)?, id });
    }
    Ok(Command::Why { name: asked, id })
}

/// What a file defines.
pub(crate) fn read_in<T>(
    path: &Path,
    read: impl Fn(&str) -> Result<T, DefinitionError>,
) -> Result<T, Failure> {
    let text = text_in(path)?;
    read(&text).map_err(|error| Failure::from(error).at(path.display()))
}

/// The segment of that name that a file defines: a condition, or an object with a member `condition` or `members`.
fn segment_in(path: &Path, name: &str) -> Result<Segment, Failure> {
    read_in(path, |text| segment_of(text, name))
}

fn segment_of(text: &str, name: &str) -> Result<Segment, DefinitionError> {
    if let Ok(Value::Object(mut definition)) = serde_json::from_str(text)
        && (definition.contains_key("condition") || definition.contains_key("members"))
    {
        definition.insert("name".to_owned(), json!(name));
        return Segment::from_value(&Value::Object(definition));
    }
    Ok(Segment::new(name, Condition::from_json(text)?))
}

pub(crate) fn json_in(path: &Path) -> Result<Value, Failure> {
    serde_json::from_str(&text_in(path)?)
        .map_err(|error| Failure::bad_request(format!("not JSON: {error}")).at(path.display()))
}

fn text_in(path: &Path) -> Result<String, Failure> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    text.map_err(|error| Failure { kind: "io", message: error.to_string() }.at(path.display()))
}
