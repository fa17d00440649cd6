//! Identifiers that are nobody's any more, and that somebody bore.
//!
//! What an alias named before it was known for a device, what other rules found in events, normalised otherwise or did not block:
//! such identifiers stay in the file, held by nobody, as the rules may be put in force again. Nothing leads from a person to them
//! but what the person's events spell, so an erasure looks for them there.

use std::borrow::Cow;

use rustc_hash::FxHashSet;
use unicode_normalization::UnicodeNormalization;

use super::State;
use crate::error::Result;
use crate::id::{Identifier, Namespace};
use crate::identity::{Draft, Node, ProfileNo, Rules, normalise};
use crate::privacy::values;
use crate::store::Db;
use crate::value::nfc;

/// So many digits of a telephone number are known again without what stands before them.
const DIGITS: usize = 7;

/// What some texts spell that may be an identifier.
#[derive(Default)]
pub(super) struct Spelled {
    /// Values as they are written, in small letters, and in the normal forms of namespaces that have one.
    forms: FxHashSet<String>,
    /// What may be telephone numbers: their digits without leading zeros.
    digits: FxHashSet<String>,
}

impl Spelled {
    /// Adds what a text spells.
    pub(super) fn add(&mut self, text: &str, rules: &Rules) {
        for value in values(text) {
            let digits: String = value.nfkc().filter(char::is_ascii_digit).collect();
            let digits = digits.trim_start_matches('0');
            let may_be = [
                (Namespace::EMAIL, value.nfkc().any(|c| c == '@')),
                (Namespace::PHONE, digits.len() >= DIGITS),
            ];
            for (namespace, _) in may_be.iter().filter(|(_, may_be)| *may_be) {
                let normal = normalise(namespace, &value, rules.region());
                self.forms.extend(normal.ok().map(Cow::into_owned));
            }
            if digits.len() >= DIGITS {
                self.digits.insert(digits.to_owned());
            }
            let value = nfc(value.trim());
            self.forms.insert(value.to_lowercase());
            self.forms.insert(value.into_owned());
        }
    }

    /// Whether an identifier may be what a text spells.
    fn has(&self, identifier: &Identifier) -> bool {
        let value = identifier.value();
        if self.forms.contains(value) || self.forms.contains(&value.to_lowercase()) {
            return true;
        }
        let is_number = *identifier.namespace() == Namespace::PHONE;
        is_number && (1..=value.len().saturating_sub(DIGITS)).any(|from| self.digits.contains(&value[from..]))
    }
}

/// The identifiers that are nobody's, that no hand has named and nobody is known by but those `profiles`, and that texts spell.
pub(super) fn former(
    db: &Db,
    state: &State,
    draft: &Draft,
    spelled: &Spelled,
    profiles: &FxHashSet<ProfileNo>,
) -> Result<Vec<Node>> {
    let base = &state.identities;
    let is_nobodys = |node: &Node| base.partition.root(*node).is_none() && draft.is_dormant(base, *node);
    let mut found: Vec<Node> = base
        .interner
        .nodes()
        .filter(is_nobodys)
        .filter(|node| !base.interner.value(*node).is_empty())
        .filter(|node| spelled.has(&base.interner.identifier(*node)))
        .collect();
    if found.is_empty() {
        return Ok(found);
    }
    // A person without any identifier is found by the one that they had, should a rule give it back.
    let founders = db.founders_but_of(profiles)?;
    found.retain(|node| !founders.contains(node));
    let mut left = Vec::with_capacity(found.len());
    for node in found {
        if !db.is_kept(node)? {
            left.push(node);
        }
    }
    Ok(left)
}
