//! Commands about consent, about what people may see and have set right, and about what was done with whose data.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::PathBuf;

use clap::Subcommand;
use customerdb::{
    AuditEntry, Cdp, Consent, ConsentDecision, ConsentMerge, ConsentState, PersonExport, Purpose, Timestamp,
    Value,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::answer::{Answer, answers, on_one_line};
use crate::ask::json_in;
use crate::command::{done, found};
use crate::failure::Failure;
use crate::members::Members;
use crate::request::{ENTRIES, after, flag, limit};
use crate::table::{Table, clean};

/// A command, whoever gives it.
#[derive(Debug)]
pub(crate) enum Consenting {
    Consent { id: String, decision: ConsentDecision },
    Consents { id: String },
    DefinePurpose { purpose: Purpose },
    UndefinePurpose { name: String },
    Purposes,
    SetMerge { merge: ConsentMerge },
    ShowMerge,
    Rectify { id: String, name: String, value: Value },
    Unpin { id: String, name: String },
    Export { id: String },
    Audit { after: i64, limit: usize },
}

/// The same, as people give it.
#[derive(Debug, Subcommand)]
pub(crate) enum AskConsent {
    /// Record what somebody decided about a purpose.
    Consent {
        /// An identifier or a profile id.
        id: String,
        /// marketing, analytics, personalisation, advertising, or a purpose of your own.
        purpose: String,
        /// granted, denied or withdrawn.
        state: ConsentState,
        /// When they decided (RFC 3339), now by default.
        #[arg(long, value_name = "T")]
        at: Option<Timestamp>,
        /// Where they did.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// The version of the privacy policy that they were shown.
        #[arg(long, value_name = "VERSION")]
        policy_version: Option<String>,
        /// How one knows.
        #[arg(long, value_name = "TEXT")]
        evidence: Option<String>,
        /// It was given by itself, and not together with others.
        #[arg(long)]
        separate: bool,
    },
    /// Show what somebody decided about which purpose, and what stands.
    Consents {
        /// An identifier or a profile id.
        id: String,
    },
    /// Define a purpose, in place of one of that name.
    #[command(name = "define_purpose", alias = "define-purpose")]
    DefinePurpose {
        /// A file that holds {"name": …, "basis": …, "separate": …, "categories": […]}; `-` is standard input.
        #[arg(value_name = "PURPOSE.json")]
        definition: PathBuf,
    },
    /// List the purposes.
    Purposes,
    /// Show or say which of several decisions of a person stands.
    #[command(name = "consent_merge", alias = "consent-merge")]
    ConsentMerge {
        /// latest or `most_restrictive`.
        merge: Option<ConsentMerge>,
    },
    /// Set a person's trait right, whatever events say.
    Rectify {
        /// An identifier or a profile id.
        id: String,
        /// The trait's name.
        #[arg(value_name = "TRAIT")]
        name: String,
        /// The value: JSON, or else a text as it stands; null if there is none.
        value: String,
    },
    /// Take back what was set right of a person's trait.
    Unpin {
        /// An identifier or a profile id.
        id: String,
        /// The trait's name.
        #[arg(value_name = "TRAIT")]
        name: String,
    },
    /// Print everything that is held of a person, as one JSON document.
    Export {
        /// An identifier or a profile id.
        id: String,
    },
    /// List what was done that one may have to account for, the earliest first.
    Audit {
        /// Begin after this cursor.
        #[arg(long, value_name = "CURSOR", default_value_t = 0)]
        after: i64,
        /// How many to list at most.
        #[arg(long, value_name = "N", default_value_t = ENTRIES)]
        limit: usize,
    },
}

impl AskConsent {
    /// What is meant.
    pub(crate) fn wanted(self) -> Result<Consenting, Failure> {
        Ok(match self {
            Self::Consent { id, purpose, state, at, source, policy_version, evidence, separate } => {
                let decision = ConsentDecision::new(purpose, state);
                let decision = if separate { decision.separate() } else { decision };
                Consenting::Consent { id, decision: detailed(decision, at, source, policy_version, evidence) }
            }
            Self::Consents { id } => Consenting::Consents { id },
            Self::DefinePurpose { definition } => {
                let purpose = Purpose::from_value(&json_in(&definition)?);
                let wrong = |error| Failure::from(error).at(definition.display());
                Consenting::DefinePurpose { purpose: purpose.map_err(wrong)? }
            }
            Self::Purposes => Consenting::Purposes,
            Self::ConsentMerge { merge: Some(merge) } => Consenting::SetMerge { merge },
            Self::ConsentMerge { merge: None } => Consenting::ShowMerge,
            Self::Rectify { id, name, value } => {
                let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
                Consenting::Rectify { id, name, value }
            }
            Self::Unpin { id, name } => Consenting::Unpin { id, name },
            Self::Export { id } => Consenting::Export { id },
            Self::Audit { after, limit } => Consenting::Audit { after, limit },
        })
    }
}

fn detailed(
    mut decision: ConsentDecision,
    at: Option<Timestamp>,
    source: Option<String>,
    policy_version: Option<String>,
    evidence: Option<String>,
) -> ConsentDecision {
    if let Some(at) = at {
        decision = decision.at(at);
    }
    if let Some(source) = source {
        decision = decision.source(source);
    }
    if let Some(version) = policy_version {
        decision = decision.policy_version(version);
    }
    match evidence {
        Some(evidence) => decision.evidence(evidence),
        None => decision,
    }
}

impl Consenting {
    /// Reads a command of that name, `None` if it is none of these.
    pub(crate) fn read(name: &str, given: &mut Members<'_>) -> Result<Option<Self>, Failure> {
        Ok(Some(match name {
            "consent" => {
                let (id, purpose) = (given.string("id")?, given.string("purpose")?);
                let state: ConsentState =
                    given.parsed("state")?.ok_or_else(|| Failure::bad_request("state: missing"))?;
                let decision = ConsentDecision::new(purpose, state);
                let decision = if flag(given, "separate")? { decision.separate() } else { decision };
                let mut text = |name| given.optional(name, "a string");
                let (source, version, evidence) =
                    (text("source")?, text("policy_version")?, text("evidence")?);
                let decision = detailed(decision, given.parsed("at")?, source, version, evidence);
                Self::Consent { id, decision }
            }
            "consents" => Self::Consents { id: given.string("id")? },
            "define_purpose" => {
                Self::DefinePurpose { purpose: Purpose::from_value(&given.value("purpose")?)? }
            }
            "purposes" => Self::Purposes,
            "consent_merge" => match given.parsed("merge")? {
                Some(merge) => Self::SetMerge { merge },
                None => Self::ShowMerge,
            },
            "rectify" => {
                let (id, name) = (given.string("id")?, given.string("trait")?);
                Self::Rectify { id, name, value: given.value("value")? }
            }
            "unpin" => Self::Unpin { id: given.string("id")?, name: given.string("trait")? },
            "export" => Self::Export { id: given.string("id")? },
            "audit" => Self::Audit { after: after(given)?, limit: limit(given, ENTRIES)? },
            _ => return Ok(None),
        }))
    }

    /// Whether it leaves the file as it is.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self, Self::Consents { .. } | Self::Purposes | Self::ShowMerge | Self::Audit { .. })
    }

    /// Does it.
    pub(crate) fn perform(self, cdp: &Cdp) -> Result<Box<dyn Answer>, Failure> {
        Ok(match self {
            Self::Consent { id, decision } => {
                cdp.record_consent(id, decision)?;
                done(())
            }
            Self::Consents { id } => {
                let consents = cdp.consents(&id)?;
                Box::new(Consents { consents, decisions: cdp.consent_history(&id)? })
            }
            Self::DefinePurpose { purpose } => done(cdp.define_purpose(purpose)?),
            Self::UndefinePurpose { name } => found("purpose", &name, cdp.undefine_purpose(&name)?)?,
            Self::Purposes => Box::new(Purposes { purposes: cdp.purposes() }),
            Self::SetMerge { merge } => done(cdp.set_consent_merge(merge)?),
            Self::ShowMerge => Box::new(Merge { merge: cdp.consent_merge() }),
            Self::Rectify { id, name, value } => done(cdp.rectify(id, &name, value)?),
            Self::Unpin { id, name } => found("trait that was set right", &name, cdp.unpin(id, &name)?)?,
            Self::Export { id } => Box::new(Export::of(cdp.export(id)?)?),
            Self::Audit { after, limit } => Box::new(Audit::new(cdp.audit(after, limit)?, after)),
        })
    }
}

answers! { Consents, Purposes, Merge, Export, Audit }

#[derive(Serialize)]
pub(crate) struct Export {
    /// Null if nothing is held.
    export: Option<Box<RawValue>>,
}

impl Export {
    fn of(export: Option<PersonExport>) -> Result<Self, Failure> {
        let raw = export.map(|export| RawValue::from_string(on_one_line(export.as_json())));
        let damaged = |error| Failure { kind: "damaged", message: format!("not JSON: {error}") };
        Ok(Self { export: raw.transpose().map_err(damaged)? })
    }
}

impl Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.export {
            Some(export) => writeln!(f, "{}", export.get()),
            None => f.write_str("nothing is held under that id\n"),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Consents {
    /// What stands, by purpose.
    consents: BTreeMap<String, Consent>,
    /// Everything that was ever recorded.
    decisions: Vec<Consent>,
}

#[derive(Serialize)]
pub(crate) struct Purposes {
    purposes: Vec<Purpose>,
}

#[derive(Serialize)]
pub(crate) struct Merge {
    merge: ConsentMerge,
}

#[derive(Serialize)]
pub(crate) struct Audit {
    entries: Vec<AuditEntry>,
    /// After which to go on.
    cursor: i64,
}

impl Audit {
    fn new(entries: Vec<AuditEntry>, after: i64) -> Self {
        let cursor = entries.last().map_or(after, |last| last.cursor);
        Self { entries, cursor }
    }
}

/// Decisions, one a line.
pub(crate) fn consents<'c>(decisions: impl Iterator<Item = &'c Consent>) -> Table {
    decisions.fold(Table::new("  "), |table, held| {
        let version = held.policy_version.as_ref().map(|version| format!("policy {version}"));
        let separate = held.separate.then(|| "by itself".to_owned());
        let told: Vec<String> = [version, separate, held.evidence.clone()].into_iter().flatten().collect();
        let place = format!("({}, {})", held.source, held.identifier);
        table.row([&held.purpose, held.state.as_str(), &held.at.to_string(), &place, &told.join(", ")])
    })
}

impl Display for Consents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.decisions.is_empty() {
            return f.write_str("nothing decided\n");
        }
        if !self.consents.is_empty() {
            f.write_str("standing\n")?;
            consents(self.consents.values()).fmt(f)?;
        }
        f.write_str("decided\n")?;
        consents(self.decisions.iter()).fmt(f)
    }
}

impl Display for Purposes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.purposes.iter();
        rows.fold(Table::new(""), |table, purpose| {
            let separate = if purpose.needs_separate() { "separate" } else { "" };
            let basis = purpose.legal_basis().as_str();
            table.row([purpose.name(), basis, separate, &purpose.categories().join(", ")])
        })
        .fmt(f)
    }
}

impl Display for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.merge.as_str())
    }
}

impl Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return f.write_str("no entries\n");
        }
        for entry in &self.entries {
            let (cursor, details) = (entry.cursor, clean(&entry.details.to_string()));
            writeln!(f, "{cursor}  {}  {}  {details}  {}", entry.at, clean(&entry.action), entry.hash)?;
        }
        Ok(())
    }
}
