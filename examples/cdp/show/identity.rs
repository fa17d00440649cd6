//! Answers about identity as people read them.

use std::fmt::{self, Display};

use customerdb::{Cause, Change, DecisionKind, DecisionSubject, Identifier, RefusedIdentifier};

use super::{counted, counted_u64, name};
use crate::answer::{Decided, Decisions, Explained, Journal, Refusals, Restitched, RulesInForce, RulesSet};
use crate::table::{Table, amount, clean};

/// Identifiers that were left out, from whom, why, and by which event.
fn refusals(refused: &[RefusedIdentifier]) -> Table {
    refused.iter().fold(Table::new("  "), |table, refused| {
        let from = format!("kept from {}:", refused.from);
        let event = format!("event {} at {}", refused.message_id, refused.at);
        table.row([&refused.identifier.to_string(), &from, &refused.reason, &event])
    })
}

impl Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.asked.each_ref().map(|id| clean(id));
        let explanation = &self.explanation;
        if explanation.same {
            writeln!(f, "{a} and {b} are one person")?;
            let mut table = Table::new("  ");
            for link in &explanation.path {
                let events = counted_u64(link.count, "event", "events");
                let when = if link.first_seen == link.last_seen {
                    format!("at {}", link.first_seen)
                } else {
                    format!("from {} to {}", link.first_seen, link.last_seen)
                };
                let evidence = format!("{events} of {} {when}, the first {}", link.source, link.message_id);
                table = table.row([&link.a.to_string(), "–", &link.b.to_string(), &evidence]);
            }
            return table.fmt(f);
        }
        writeln!(f, "{a} and {b} are not one person")?;
        if explanation.refused.is_empty() {
            return writeln!(f, "  nothing ties them together, and no rule kept them apart");
        }
        refusals(&explanation.refused).fmt(f)
    }
}

impl Display for RulesSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.0;
        Table::new("")
            .row(["people before", &amount(report.profiles_before as u64)])
            .row(["people after", &amount(report.profiles_after as u64)])
            .row(["joined", &amount(report.joined as u64)])
            .row(["fell apart", &amount(report.split as u64)])
            .row(["largest", &amount(u64::from(report.largest))])
            .figures()
            .fmt(f)?;
        let names = |names: &[Identifier]| names.iter().map(name).collect::<Vec<_>>().join(" + ");
        for example in &report.examples {
            writeln!(f, "  {} → {}", names(&example.before), names(&example.after))?;
        }
        Ok(())
    }
}

impl Display for RulesInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#}", self.rules)
    }
}

impl Display for Restitched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let people = counted(self.profiles, "person", "people");
        writeln!(f, "{people}, {} changed", amount(self.changed as u64))
    }
}

impl Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refused) = &self.refused {
            writeln!(f, "not joined: {}", clean(&refused.reason))?;
        }
        match &self.profiles[..] {
            [] => writeln!(f, "nobody is concerned"),
            [one] => writeln!(f, "one person: {}", name(one)),
            several => {
                writeln!(f, "{}", counted(several.len(), "person", "people"))?;
                several.iter().fold(Table::new("  "), |table, id| table.row([&name(id)])).fmt(f)
            }
        }
    }
}

impl Display for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.decisions.is_empty() {
            return f.write_str("nothing was decided by hand\n");
        }
        let mut table = Table::new("");
        for decision in &self.decisions {
            let word = match decision.kind {
                DecisionKind::Link => "link",
                DecisionKind::Force => "link, forced",
                DecisionKind::Never => "never",
                DecisionKind::Cut => "cut",
                DecisionKind::Apart => "apart since a cut",
                _ => "other",
            };
            let (a, b) = match &decision.subject {
                DecisionSubject::Pair { a, b } => (a.to_string(), b.to_string()),
                DecisionSubject::Source { source } => (format!("source {source}"), String::new()),
            };
            table = table.row([&decision.number.to_string(), &decision.at.to_string(), word, &a, &b]);
        }
        table.fmt(f)
    }
}

impl Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.refused.is_empty() {
            return f.write_str("no refusals\n");
        }
        refusals(&self.refused).fmt(f)?;
        writeln!(f, "go on after {}", self.cursor)
    }
}

impl Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return f.write_str("no joins and no splits\n");
        }
        let mut table = Table::new("");
        for entry in &self.entries {
            let word = match entry.change {
                Change::Joined => "absorbed",
                Change::Split => "lost identifiers to",
                _ => "changed with",
            };
            let cause = match &entry.cause {
                Cause::Event { message_id } => format!("event {message_id}"),
                other => format!("{other:?}").to_lowercase(),
            };
            let (own, other) = (entry.profile.to_string(), entry.other.to_string());
            table = table.row([&entry.cursor.to_string(), &entry.at.to_string(), &own, word, &other, &cause]);
        }
        table.fmt(f)
    }
}
