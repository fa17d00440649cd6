//! Erasing people, and keeping what may be kept for a time only.

use std::fmt::{self, Display};

use clap::Subcommand;
use customerdb::{Cdp, Maintenance, Party, Receipt, RetentionRule, Span};
use serde::Serialize;
use serde_json::Value;

use crate::answer::{Answer, Done, answers};
use crate::failure::Failure;
use crate::members::Members;
use crate::table::{Table, amount, clean};

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Privacy {
    Erase { id: String },
    LiftSuppression { id: String },
    Retain(RetentionRule),
    LiftRetention { name: String },
    RetentionRules,
    Maintain,
}

/// The same, on a command line.
#[derive(Debug, Subcommand)]
pub(crate) enum AskPrivacy {
    /// Erase a person: every identifier, every event, and everything made of them, out of every file.
    Erase {
        /// An identifier or a profile id.
        id: String,
    },
    /// Let an identifier of somebody who was erased come in again.
    #[command(name = "lift_suppression", alias = "lift-suppression")]
    LiftSuppression {
        /// The identifier.
        id: String,
    },
    /// Say how long events are kept; `maintain` drops them then.
    #[command(name = "retention_rule", alias = "retention-rule")]
    RetentionRule {
        /// The rule's name; one of that name is replaced.
        name: String,
        /// Only events from sources of that party.
        #[arg(long, value_name = "first|second|third", conflicts_with = "lift")]
        party: Option<Party>,
        /// Only events of that name; one that ends in * is a prefix.
        #[arg(long, value_name = "NAME", conflicts_with = "lift")]
        event: Option<String>,
        /// Only events of people known by nothing but devices.
        #[arg(long, conflicts_with = "lift")]
        anonymous: bool,
        /// How long they are kept, counted from the event time (90d).
        #[arg(
            long = "older_than",
            alias = "older-than",
            value_name = "SPAN",
            required_unless_present = "lift"
        )]
        older_than: Option<Span>,
        /// Lift the rule of that name.
        #[arg(long, conflicts_with = "older_than")]
        lift: bool,
    },
    /// List the rules that say how long events are kept.
    #[command(name = "retention_rules", alias = "retention-rules")]
    RetentionRules,
    /// Move out whose time is up, drop what was kept long enough, complete erasures, and put the files in order.
    Maintain,
}

impl AskPrivacy {
    /// What is meant.
    pub(crate) fn wanted(self) -> Privacy {
        match self {
            Self::Erase { id } => Privacy::Erase { id },
            Self::LiftSuppression { id } => Privacy::LiftSuppression { id },
            Self::RetentionRule { name, party, event, anonymous, older_than, .. } => {
                let Some(older_than) = older_than else { return Privacy::LiftRetention { name } };
                let mut rule = RetentionRule::new(name, older_than);
                rule = party.into_iter().fold(rule, RetentionRule::party);
                rule = event.into_iter().fold(rule, RetentionRule::event);
                Privacy::Retain(if anonymous { rule.anonymous() } else { rule })
            }
            Self::RetentionRules => Privacy::RetentionRules,
            Self::Maintain => Privacy::Maintain,
        }
    }
}

impl Privacy {
    /// Reads a command of that name, `None` if it is none of these.
    pub(crate) fn read(name: &str, members: &mut Members<'_>) -> Result<Option<Self>, Failure> {
        Ok(Some(match name {
            "erase" => Self::Erase { id: members.string("id")? },
            "lift_suppression" => Self::LiftSuppression { id: members.string("id")? },
            "retention_rule" => retention_rule(members)?,
            "retention_rules" => Self::RetentionRules,
            "maintain" => Self::Maintain,
            _ => return Ok(None),
        }))
    }

    /// Whether it leaves the file as it is.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self, Self::RetentionRules)
    }

    /// Does it.
    pub(crate) fn perform(self, cdp: &Cdp) -> Result<Box<dyn Answer>, Failure> {
        Ok(match self {
            Self::Erase { id } => Box::new(Erased { receipt: cdp.erase(id)? }),
            Self::LiftSuppression { id } => Box::new(Lifted { lifted: cdp.lift_suppression(id)? }),
            Self::Retain(rule) => {
                cdp.retain(rule)?;
                Box::new(Done {})
            }
            Self::LiftRetention { name } => Box::new(Lifted { lifted: cdp.lift_retention(&name)? }),
            Self::RetentionRules => {
                let rules = cdp.retention_rules()?.iter().map(RetentionRule::to_value).collect();
                Box::new(Rules { rules })
            }
            Self::Maintain => Box::new(Maintained(cdp.maintain()?)),
        })
    }
}

/// A rule as it is written; one whose `older_than` is null is lifted.
fn retention_rule(members: &mut Members<'_>) -> Result<Privacy, Failure> {
    let name = members.string("name")?;
    let mut rule = serde_json::Map::from_iter([("name".to_owned(), Value::from(name.as_str()))]);
    for member in ["party", "event", "anonymous"] {
        if let Some(text) = members.raw(member) {
            let value = serde_json::from_str(text);
            rule.insert(
                member.to_owned(),
                value.map_err(|error| Failure::bad_request(format!("{member}: {error}")))?,
            );
        }
    }
    let older_than = members.value("older_than")?;
    if older_than.is_null() {
        return Ok(Privacy::LiftRetention { name });
    }
    rule.insert("older_than".to_owned(), older_than);
    Ok(Privacy::Retain(RetentionRule::from_value(&Value::Object(rule))?))
}

/// What is left of somebody.
#[derive(Serialize)]
pub(crate) struct Erased {
    receipt: Receipt,
}

/// Whether there was anything to lift.
#[derive(Serialize)]
pub(crate) struct Lifted {
    lifted: bool,
}

#[derive(Serialize)]
pub(crate) struct Rules {
    rules: Vec<Value>,
}

#[derive(Serialize)]
pub(crate) struct Maintained(Maintenance);

answers! { Erased alarms if waits, Lifted, Rules, Maintained }

impl Erased {
    fn waits(&self) -> bool {
        !self.receipt.complete
    }
}

impl Display for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let receipt = &self.receipt;
        Table::new("")
            .row(["identifiers", &amount(receipt.identifiers)])
            .row(["events", &amount(receipt.events)])
            .row(["values of traits", &amount(receipt.traits)])
            .row(["memberships", &amount(receipt.memberships)])
            .row(["decisions on consent", &amount(receipt.consents)])
            .row(["deliveries", &amount(receipt.deliveries)])
            .row(["events in quarantine", &amount(receipt.quarantined)])
            .row(["events of others without them", &amount(receipt.redacted)])
            .row(["definitions that still name them", &amount(receipt.definitions)])
            .figures()
            .fmt(f)?;
        f.write_str(if receipt.complete {
            "complete: no file holds anything of them\n"
        } else {
            "not complete yet: somebody reads what was there before; maintain will finish it\n"
        })
    }
}

impl Display for Lifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.lifted { "lifted\n" } else { "there was nothing to lift\n" })
    }
}

impl Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rules.is_empty() {
            return f.write_str("everything is kept\n");
        }
        self.rules.iter().try_for_each(|rule| writeln!(f, "{}", clean(&rule.to_string())))
    }
}

impl Display for Maintained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = &self.0;
        Table::new("")
            .row(["events dropped", &amount(done.retained)])
            .row(["identifiers let go of", &amount(done.identifiers)])
            .row(["events sealed into columns", &amount(done.sealed)])
            .row(["events put together in the log", &amount(done.gathered)])
            .row(["events put in the order of people", &amount(done.arranged)])
            .row(["new owners written down", &amount(done.settled)])
            .row(["erasures completed", &amount(done.erasures)])
            .row(["erasures that wait", &amount(done.waiting)])
            .row(["pages freed", &amount(done.pages_freed)])
            .row(["bytes of the log brought home", &amount(done.wal_bytes)])
            .figures()
            .fmt(f)
    }
}
