//! Identifiers that are nobody's any more, and that somebody bore.
//!
//! What an alias named before it was known for a device, what other rules found in events, normalised otherwise or did not block:
//! such identifiers stay in the file, held by nobody, as the rules may be put in force again. Nothing leads from a person to them
//! but what the person's events spell, so an erasure looks for them there.

use std::borrow::Cow;

use regex::RegexBuilder;
use rustc_hash::FxHashSet;
use unicode_normalization::UnicodeNormalization;

use super::State;
use crate::error::Result;
use crate::id::{Identifier, Namespace};
use crate::identity::{Draft, Identities, Node, ProfileNo, Rules, normalise};
use crate::privacy::values;
use crate::store::Db;
use crate::value::nfc;

/// By so many digits at its end a telephone number is known again, whatever stands before them in one country or another.
const DIGITS: usize = 7;

/// What some texts spell that may be an identifier.
pub(super) struct Spelled {
    /// Whether there is any identifier that is nobody's: else it is of no use.
    is_of_use: bool,
    /// Values as they are written, in small letters, and in the normal forms of namespaces that have one.
    forms: FxHashSet<String>,
    /// The last digits of what may be telephone numbers.
    digits: FxHashSet<String>,
}

impl Spelled {
    /// Nothing yet, of identifiers of a file.
    pub(super) fn new(identities: &Identities) -> Self {
        let is_of_use = nobodys(identities).next().is_some();
        Self { is_of_use, forms: FxHashSet::default(), digits: FxHashSet::default() }
    }

    /// Adds what a text spells.
    pub(super) fn add(&mut self, text: &str, rules: &Rules) {
        if !self.is_of_use {
            return;
        }
        for value in values(text) {
            // Most of what somebody has done spells the same.
            if self.forms.contains(&value) {
                continue;
            }
            let digits: String = value.nfkc().filter(char::is_ascii_digit).collect();
            let may_be = [
                (Namespace::EMAIL, value.nfkc().any(|c| c == '@')),
                (Namespace::PHONE, digits.len() >= DIGITS),
            ];
            for (namespace, _) in may_be.iter().filter(|(_, may_be)| *may_be) {
                let normal = normalise(namespace, &value, rules.region());
                self.forms.extend(normal.ok().map(Cow::into_owned));
            }
            self.digits.extend(last_digits(&digits).map(str::to_owned));
            let normal = nfc(value.trim());
            self.forms.extend([normal.to_lowercase(), normal.into_owned()]);
            self.forms.insert(value);
        }
    }

    /// Whether an identifier may be what a text spells.
    fn has(&self, identifier: &Identifier) -> bool {
        let value = identifier.value();
        if self.forms.contains(value) || self.forms.contains(&value.to_lowercase()) {
            return true;
        }
        let is_number = *identifier.namespace() == Namespace::PHONE;
        is_number && last_digits(value).is_some_and(|end| self.digits.contains(end))
    }
}

/// The last digits of a number, if it has as many.
fn last_digits(number: &str) -> Option<&str> {
    number.len().checked_sub(DIGITS).and_then(|from| number.get(from..))
}

/// The identifiers of a file that are nobody's.
fn nobodys(identities: &Identities) -> impl Iterator<Item = Node> {
    let Identities { interner, partition, .. } = identities;
    interner.nodes().filter(|node| partition.root(*node).is_none() && !interner.is_forgotten(*node))
}

/// The identifiers that are nobody's, that no hand has named and nobody is known by but those `profiles`, and that events spell which
/// are gone, with others by these `names`, and none that is left. To know that all of these are looked at, unless it is plain.
pub(super) fn former(
    db: &Db,
    state: &State,
    draft: &Draft,
    spelled: &Spelled,
    (profiles, names): (&FxHashSet<ProfileNo>, &FxHashSet<&Identifier>),
) -> Result<Vec<Node>> {
    let base = &state.identities;
    let mut found: Vec<(Node, Identifier)> = nobodys(base)
        .filter(|node| draft.is_dormant(base, *node) && !draft.is_shared(base, *node))
        .map(|node| (node, base.interner.identifier(node)))
        .filter(|(_, identifier)| spelled.has(identifier))
        .collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    // A person without any identifier is found by the one that they had, should a rule give it back.
    let founders = db.founders_but_of(profiles)?;
    found.retain(|(node, _)| !founders.contains(node));
    let (mut theirs, mut doubtful) = (Vec::new(), Vec::new());
    for (node, identifier) in found {
        // What is in evidence still is in that of others.
        if db.is_kept(node)? || !db.linked_with(node)?.is_empty() {
            continue;
        }
        // What an alias named before it was known for their device.
        let device = Identifier::new(Namespace::ANONYMOUS_ID, identifier.value());
        if *identifier.namespace() == Namespace::USER_ID && names.contains(&device) {
            theirs.push(node);
        } else {
            doubtful.push((node, identifier));
        }
    }
    theirs.extend(spelled_by_nobody(db, &state.rules, doubtful)?);
    Ok(theirs)
}

/// Those of some identifiers that no event spells.
fn spelled_by_nobody(db: &Db, rules: &Rules, mut left: Vec<(Node, Identifier)>) -> Result<Vec<Node>> {
    if left.is_empty() {
        return Ok(Vec::new());
    }
    let pattern = |(_, identifier): &(Node, Identifier)| match last_digits(identifier.value()) {
        Some(end) if *identifier.namespace() == Namespace::PHONE => {
            end.chars().map(|digit| regex::escape(&digit.to_string())).collect::<Vec<_>>().join(r"\D{0,5}")
        }
        _ => regex::escape(identifier.value()),
    };
    let patterns: Vec<String> = left.iter().map(pattern).collect();
    // Of most events it is seen at once that they spell none. If there are too many for that, all are read.
    let quick = RegexBuilder::new(&patterns.join("|")).case_insensitive(true).build().ok();
    let mut numbers: Vec<i64> = db.log()?.into_iter().map(|(_, number)| number).collect();
    numbers.sort_unstable();
    for number in numbers {
        if left.is_empty() {
            break;
        }
        let json = db.event(number)?.json;
        let is_plain = json.is_ascii() && !json.contains('\\');
        if is_plain && quick.as_ref().is_some_and(|quick| !quick.is_match(&json)) {
            continue;
        }
        let mut spelled =
            Spelled { is_of_use: true, forms: FxHashSet::default(), digits: FxHashSet::default() };
        spelled.add(&json, rules);
        left.retain(|(_, identifier)| !spelled.has(identifier));
    }
    Ok(left.into_iter().map(|(node, _)| node).collect())
}
