//! Copies of the file, and back.

use std::fmt::{self, Display};
use std::path::Path;

use customerdb::Restored;
use serde::Serialize;

use crate::answer::answers;
use crate::config::Config;
use crate::failure::Failure;
use crate::table::{Table, amount};

/// What was done to a backup before it took the file's place.
#[derive(Serialize)]
pub(crate) struct Back(Restored);

answers! { Back }

impl Back {
    /// Puts a backup in the place of a file that nobody has open.
    pub(crate) fn from(config: Config, backup: &Path, path: &Path) -> Result<Self, Failure> {
        Ok(Self(config.restore(backup, path)?))
    }
}

impl Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restored = &self.0;
        if !restored.replaced {
            return f.write_str(
                "restored; there was no file, so nothing is known of who was erased since: erase them again\n",
            );
        }
        Table::new("")
            .row(["people erased since", &amount(restored.people)])
            .row(["their identifiers", &amount(restored.identifiers)])
            .row(["their events", &amount(restored.events)])
            .row(["events of others without them", &amount(restored.redacted)])
            .row(["events dropped since", &amount(restored.dropped)])
            .row(["events in quarantine", &amount(restored.quarantined)])
            .figures()
            .fmt(f)
    }
}
