//! The settings that a database is opened with, from a file and from the command line.

use std::fs;
use std::path::Path;

use customerdb::{Cdp, CdpBuilder, Durability, Restored, Rules, Span};
use serde_json::Value;

use crate::clock::SettableClock;
use crate::command::Front;
use crate::failure::Failure;
use crate::members::Members;

/// How a database is to be opened.
#[derive(Debug)]
pub(crate) struct Config {
    builder: CdpBuilder,
    clock: SettableClock,
    /// Changes to the rules of identity.
    rules: Option<Value>,
}

impl Default for Config {
    fn default() -> Self {
        let clock = SettableClock::default();
        Self { builder: Cdp::builder().clock(clock.clone()), clock, rules: None }
    }
}

impl Config {
    /// Reads a configuration file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure { kind: "io", message: error.to_string() }.at(path.display()))?;
        Self::parse(&text).map_err(|failure| failure.at(path.display()))
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let Self { mut builder, clock, .. } = Self::default();
        let mut members = Members::read(text)?;
        let rules = members.optional("rules", "an object")?;
        if let Some(rules) = &rules {
            // Told here, where the file is known, also when the rules are not put in force.
            let _ = Rules::default().changed(rules).map_err(|error| {
                let dot = if error.path().is_empty() { ": " } else { "." };
                Failure { kind: "definition", message: format!("rules{dot}{error}") }
            })?;
        }
        if let Some(bytes) = members.optional("max_event_bytes", "a whole number")? {
            builder = builder.max_event_bytes(bytes);
        }
        match members.raw("max_ahead") {
            None => {}
            Some("null") => builder = builder.max_ahead(None),
            Some(text) => builder = builder.max_ahead(span(text)?),
        }
        if let Some(bytes) = members.optional("max_file_bytes", "a whole number")? {
            builder = builder.max_file_bytes(bytes);
        }
        if let Some(zone) = members.parsed("zone")? {
            builder = builder.zone(zone);
        }
        let durability: Option<String> = members.optional("durability", "a string")?;
        if let Some(text) = durability {
            let durability = durability_of(&text)
                .map_err(|reason| Failure::bad_request(format!("durability: {reason}")))?;
            builder = builder.durability(durability);
        }
        members.finish()?;
        Ok(Self { builder, clock, rules })
    }

    /// Puts another durability in the place of the file's.
    pub(crate) fn durability(mut self, durability: Option<Durability>) -> Self {
        if let Some(durability) = durability {
            self.builder = self.builder.durability(durability);
        }
        self
    }

    /// Opens a file for writing. The rules change those in force as the command of that name does, and nothing is
    /// replayed if that leaves them as they are.
    pub(crate) fn open(self, path: &Path) -> Result<Front, Failure> {
        let cdp = self.builder.open(path)?;
        if let Some(changes) = &self.rules {
            let rules = cdp.rules().changed(changes)?;
            if rules != cdp.rules() {
                cdp.set_rules(rules)?;
            }
        }
        Ok(Front { cdp, clock: self.clock })
    }

    /// Puts a backup in the place of a file. Rules are the backup's then.
    pub(crate) fn restore(self, backup: &Path, path: &Path) -> Result<Restored, Failure> {
        Ok(self.builder.restore(backup, path)?)
    }

    /// Opens a file for reading, beside whoever writes to it. Rules are the file's own then.
    pub(crate) fn open_read_only(self, path: &Path) -> Result<Front, Failure> {
        Ok(Front { cdp: self.builder.open_read_only(path)?, clock: self.clock })
    }
}

fn span(text: &str) -> Result<Span, Failure> {
    let read: Result<String, _> = serde_json::from_str(text);
    let span = read.map_err(|_| "expected a duration such as \"24h\", or null".to_owned());
    span.and_then(|text| text.parse().map_err(|error| format!("{error}")))
        .map_err(|reason| Failure::bad_request(format!("max_ahead: {reason}")))
}

/// Reads a durability.
pub(crate) fn durability_of(text: &str) -> Result<Durability, String> {
    match text {
        "full" => Ok(Durability::Full),
        "normal" => Ok(Durability::Normal),
        _ => Err(format!("not a durability: {text:?}, expected full or normal")),
    }
}
