//! Answers as people read them.

mod identity;
mod segments;

use std::fmt::{self, Display};

use customerdb::{Identifier, Value};

use crate::answer::{
    Done, Entries, Events, Names, OneProfile, Problems, ProfileOf, Profiles, Purged, Rejected, Report,
    StatsOf, Summary, Values,
};
use crate::consent::consents;
use crate::table::{Table, amount, clean, plain};

impl Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("done\n")
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rejected = self.rejected.len() as u64;
        Table::new("")
            .row(["events", &amount(self.events())])
            .row(["accepted", &amount(self.accepted)])
            .row(["duplicates", &amount(self.duplicates)])
            .row(["conflicts", &amount(self.conflicts)])
            .row(["rejected", &amount(rejected)])
            .row(["withheld", &amount(self.withheld)])
            .row(["new people", &amount(self.profiles_created)])
            .row(["merges", &amount(self.merges)])
            .row(["refused identifiers", &amount(self.refusals)])
            .figures()
            .fmt(f)?;
        self.rejected.iter().try_for_each(|rejected| writeln!(f, "{rejected}"))
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        Table::new("")
            .row(["events", &amount(report.events())])
            .row(["accepted", &amount(report.accepted)])
            .row(["duplicates", &amount(report.duplicates)])
            .row(["conflicts", &amount(report.conflicts)])
            .row(["rejected", &amount(report.rejected.len() as u64)])
            .row(["withheld", &amount(report.withheld)])
            .row(["people", &amount(self.people)])
            .row(["merges", &amount(report.merges)])
            .row(["events a second", &amount(self.events_a_second)])
            .figures()
            .fmt(f)
    }
}

impl Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element { index, reason } => write!(f, "{index}: {}", clean(reason)),
            Self::Line { line, reason } => write!(f, "{line}: {}", clean(reason)),
            Self::FileLine { file, line, reason } => write!(f, "{}:{line}: {}", clean(file), clean(reason)),
        }
    }
}

impl Display for ProfileOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.profile {
            Some(profile) => profile.fmt(f),
            None => writeln!(f, "nobody goes by {}", clean(&self.asked)),
        }
    }
}

impl Display for OneProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Option<_>| time.map_or_else(|| "never".to_owned(), |time| format!("{time}"));
        writeln!(f, "{}", name(&self.name))?;
        let mut table = Table::new("  ")
            .row(["id", &self.id.to_string()])
            .row(["first seen", &time(self.first_seen)])
            .row(["last seen", &time(self.last_seen)])
            .row(["events", &amount(self.events)]);
        for (label, names) in [("segments", &self.segments), ("tags", &self.tags)] {
            if !names.is_empty() {
                table = table.row([label, &clean(&names.join(", "))]);
            }
        }
        table.fmt(f)?;
        writeln!(f, "\nidentifiers")?;
        let identifiers = self.identifiers.iter();
        identifiers
            .fold(Table::new("  "), |table, id| table.row([id.namespace().as_str(), id.value()]))
            .fmt(f)?;
        if !self.traits.is_empty() {
            writeln!(f, "\ntraits")?;
            let mut table = Table::new("  ");
            for (name, value) in &self.traits {
                let Some(from) = self.provenance.get(name) else { continue };
                let place = format!("({}, {})", from.source, from.message_id);
                table = table.row([name, &plain(value), &from.at.to_string(), &place]);
            }
            table.fmt(f)?;
        }
        if !self.computed.is_empty() {
            writeln!(f, "\ncomputed")?;
            let computed = self.computed.iter();
            computed
                .fold(Table::new("  "), |table, (name, value)| table.row([name.as_str(), &plain(value)]))
                .fmt(f)?;
        }
        if !self.consents.is_empty() {
            writeln!(f, "\nconsents")?;
            consents(self.consents.values()).fmt(f)?;
        }
        for account in &self.accounts {
            writeln!(f, "\naccount {}", clean(&account.id))?;
            let traits = account.traits.iter();
            traits
                .fold(Table::new("  "), |table, (name, value)| table.row([name.as_str(), &plain(value)]))
                .fmt(f)?;
        }
        Ok(())
    }
}

impl Display for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", counted(self.profiles.len(), "person", "people"))?;
        let mut table = Table::new("  ");
        for person in &self.profiles {
            let others: Vec<String> = person.identifiers.iter().skip(1).map(ToString::to_string).collect();
            table = table.row([&person.name.to_string(), &others.join(" ")]);
        }
        table.fmt(f)
    }
}

impl Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.events.is_empty() {
            return f.write_str("no events\n");
        }
        let mut table = Table::new("");
        for (head, json) in self.heads.iter().zip(&self.events) {
            let event: Value = serde_json::from_str(json.get()).map_err(|_| fmt::Error)?;
            let told = ["properties", "traits"].iter().filter_map(|name| event[*name].as_object()).flatten();
            let told: Vec<String> = told.map(|(name, value)| format!("{name}: {}", plain(value))).collect();
            table = table.row([&head.at.to_string(), &head.name, &head.message_id, &told.join(", ")]);
        }
        table.fmt(f)
    }
}

impl Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.values.is_empty() {
            return f.write_str("never set\n");
        }
        let mut table = Table::new("");
        for said in &self.values {
            let value = if said.value.is_null() { "(removed)".to_owned() } else { plain(&said.value) };
            table = table.row([&said.at.to_string(), &value, &said.source, &said.message_id]);
        }
        table.fmt(f)
    }
}

impl Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", counted(self.count, "member", "members"))?;
        for member in &self.members {
            writeln!(f, "  {}", name(member))?;
        }
        match self.count - self.members.len() {
            0 => Ok(()),
            more => writeln!(f, "  … and {} more", amount(more as u64)),
        }
    }
}

impl Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return f.write_str("nothing in quarantine\n");
        }
        for entry in &self.entries {
            writeln!(f, "{}  {}  {}", entry.at, clean(&entry.source), clean(&entry.reason))?;
            writeln!(f, "  {}", clean(entry.raw.trim_end()))?;
        }
        Ok(())
    }
}

impl Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "let go of {}", counted(self.purged, "refused event", "refused events"))
    }
}

impl Display for StatsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = &self.stats;
        Table::new("")
            .row(["events", &amount(stats.events)])
            .row(["  of nobody", &amount(stats.orphans)])
            .row(["  in sealed blocks", &amount(stats.events - stats.tail)])
            .row(["people", &amount(stats.profiles)])
            .row(["identifiers", &amount(stats.identifiers)])
            .row(["links", &amount(stats.links)])
            .row(["refused identifiers", &amount(stats.refusals)])
            .row(["segments", &amount(stats.segments)])
            .row(["events in quarantine", &amount(stats.quarantined)])
            .row(["suppressed identifiers", &amount(stats.suppressed)])
            .row(["events withheld", &amount(stats.withheld)])
            .row(["bytes of the file", &amount(stats.file_bytes)])
            .row(["bytes of its log", &amount(stats.wal_bytes)])
            .figures()
            .fmt(f)
    }
}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problems.is_empty() {
            return f.write_str("sound\n");
        }
        let rows = self.problems.iter();
        rows.fold(Table::new(""), |table, problem| table.row([&problem.table, &problem.what])).fmt(f)
    }
}

fn name(identifier: &Identifier) -> String {
    clean(&identifier.to_string())
}

fn counted(number: usize, one: &str, many: &str) -> String {
    counted_u64(number as u64, one, many)
}

fn counted_u64(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", amount(number), if number == 1 { one } else { many })
}
