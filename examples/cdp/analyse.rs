//! Questions about everybody: the commands `funnel`, `retention`, `trend`, `lifecycle`, `sessions`, `paths`,
//! `attribution` and `rfm`.

use std::path::PathBuf;

use clap::Subcommand;
use customerdb::{
    Attribution, AttributionReport, Cdp, Comparison, DefinitionError, Funnel, FunnelReport, Lifecycle,
    LifecycleReport, Paths, PathsReport, Question, Retention, RetentionReport, Rfm, RfmReport, Sessions,
    SessionsReport, Timestamp, Trend, TrendReport, Value,
};

use crate::answer::Answer;
use crate::failure::Failure;

/// A question, and if it is to be compared with another time, which.
#[derive(Debug)]
pub(crate) struct Analysis {
    question: Asked,
    compare: Option<(Timestamp, Timestamp)>,
}

macro_rules! questions {
    ($($name:literal $question:ident $report:ident),* $(,)?) => {
        #[derive(Debug)]
        enum Asked {
            $($question($question),)*
        }

        impl Asked {
            /// The question that a command asks, `None` if the command is another.
            fn read(name: &str, spec: &Value) -> Option<Result<Self, DefinitionError>> {
                match name {
                    $($name => Some($question::from_value(spec).map(Self::$question)),)*
                    _ => None,
                }
            }

            fn is_one(name: &str) -> bool {
                [$($name),*].contains(&name)
            }

            fn answer(
                &self,
                cdp: &Cdp,
                compare: Option<(Timestamp, Timestamp)>,
            ) -> Result<Box<dyn Answer>, Failure> {
                match self {
                    $(Self::$question(question) => answer(cdp, question, compare),)*
                }
            }
        }

        $(crate::answer::answers!($report);)*
    };
}

questions! {
    "funnel" Funnel FunnelReport,
    "retention" Retention RetentionReport,
    "trend" Trend TrendReport,
    "lifecycle" Lifecycle LifecycleReport,
    "sessions" Sessions SessionsReport,
    "paths" Paths PathsReport,
    "attribution" Attribution AttributionReport,
    "rfm" Rfm RfmReport,
}

impl<R: Answer + serde::Serialize> Answer for Comparison<R> {
    fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn is_alarm(&self) -> bool {
        false
    }
}

fn answer<Q: Question<Report: Answer + 'static> + Clone>(
    cdp: &Cdp,
    question: &Q,
    compare: Option<(Timestamp, Timestamp)>,
) -> Result<Box<dyn Answer>, Failure> {
    Ok(match compare {
        None => Box::new(cdp.analyse(question, |_| std::ops::ControlFlow::Continue(()))?),
        Some((from, until)) => Box::new(cdp.compare(question, from, until)?),
    })
}

impl Analysis {
    /// Reads a question from the members of a command but `do`, which are read if it is one. `None` if the command is another.
    pub(crate) fn read(
        name: &str,
        spec: impl FnOnce() -> Result<Value, Failure>,
    ) -> Option<Result<Self, Failure>> {
        if !Asked::is_one(name) {
            return None;
        }
        let read = |mut spec: Value| {
            let compare = spec.as_object_mut().and_then(|spec| spec.remove("compare"));
            let question = Asked::read(name, &spec).transpose()?;
            let compare = compare.filter(|compare| !compare.is_null()).map(range).transpose()?;
            Ok(question.map(|question| Self { question, compare }))
        };
        spec().and_then(read).transpose()
    }

    /// Asks it.
    pub(crate) fn perform(&self, cdp: &Cdp) -> Result<Box<dyn Answer>, Failure> {
        self.question.answer(cdp, self.compare)
    }
}

fn range(value: Value) -> Result<(Timestamp, Timestamp), Failure> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Range {
        from: Timestamp,
        until: Timestamp,
    }
    let range: Range =
        serde_json::from_value(value).map_err(|error| Failure::bad_request(format!("compare: {error}")))?;
    if range.until <= range.from {
        return Err(Failure::bad_request("compare: until: must be later than \"from\""));
    }
    Ok((range.from, range.until))
}

/// The same on the command line.
#[derive(Debug, Subcommand)]
pub(crate) enum AskAnalysis {
    /// Say how many people get how far through a series of steps.
    Funnel(Spec),
    /// Say how many of those who started together come back.
    Retention(Spec),
    /// Say how much happens, from period to period.
    Trend(Spec),
    /// Say who is new, stays, comes back and falls asleep.
    Lifecycle(Spec),
    /// Say what people do in one go.
    Sessions(Spec),
    /// Say what people do next.
    Paths(Spec),
    /// Say to which channels conversions are owed.
    Attribution(Spec),
    /// Say how lately, how often and for how much people buy.
    Rfm(Spec),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Spec {
    /// A file that holds the question, as `run` takes it; `-` is standard input.
    #[arg(value_name = "SPEC.json")]
    pub(crate) spec: PathBuf,
}

impl AskAnalysis {
    /// The command's name, and the file of its question.
    pub(crate) fn parts(self) -> (&'static str, PathBuf) {
        let (name, spec) = match self {
            Self::Funnel(spec) => ("funnel", spec),
            Self::Retention(spec) => ("retention", spec),
            Self::Trend(spec) => ("trend", spec),
            Self::Lifecycle(spec) => ("lifecycle", spec),
            Self::Sessions(spec) => ("sessions", spec),
            Self::Paths(spec) => ("paths", spec),
            Self::Attribution(spec) => ("attribution", spec),
            Self::Rfm(spec) => ("rfm", spec),
        };
        (name, spec.spec)
    }
}
