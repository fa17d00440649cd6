//! What is done is accounted for: without a personal value, and whom it is about by keyed hashes.

use serde_json::json;

use super::State;
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Result};
use crate::id::Identifier;
use crate::privacy::{Key, hex};
use crate::store::Db;
use crate::value::Object;

impl State {
    /// The key of keyed hashes.
    pub(crate) fn key(&self) -> Result<&Key> {
        let missing =
            || DefinitionError::new("hash_key", "missing: the application keeps the key of this file");
        self.key.as_ref().ok_or_else(|| missing().into())
    }

    /// By what the audit log names an identifier, as rules spell it.
    pub(crate) fn audit_name(&self, identifier: &Identifier) -> Result<String> {
        Ok(hex(&self.key()?.identifier(identifier)))
    }

    /// What stands in the audit log for a text that may hold personal values: a definition, or rules.
    pub(crate) fn digest(&self, text: &str) -> Result<String> {
        Ok(hex(&self.key()?.text(text)))
    }

    /// Adds to the audit log what was done, about whom, and what else there is to say, which holds no personal value.
    pub(crate) fn audit(
        &self,
        db: &Db,
        at: Timestamp,
        action: &str,
        about: &[Identifier],
        mut details: Object,
    ) -> Result<()> {
        if !about.is_empty() {
            let names = about.iter().map(|identifier| self.audit_name(identifier));
            details.insert("about".into(), json!(names.collect::<Result<Vec<String>>>()?));
        }
        Ok(db.audit(at, action, details)?)
    }
}
