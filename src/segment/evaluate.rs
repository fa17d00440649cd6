//! The meaning of conditions: a person's history and an instant in, an answer out.

use sha2::{Digest, Sha256};

use super::calendar::{anniversary, date_of};
use super::condition::{Age, Condition, Sample, TraitCondition};
use super::occurrences::Occurrences;
use crate::clock::{Span, Timestamp, Zone};
use crate::id::ProfileId;
use crate::profile::{ConsentState, History, Verdict};
use crate::value::{Comparable, DottedPath, Object, Value};

/// Whether `person` meets `condition` at `now`, and how long that is sure to stay so.
///
/// This is what conditions mean; whatever answers faster has to give the same answers. It takes time linear in the
/// events of the person, less where a window or the first few events decide.
///
/// ```
/// use customerdb::{History, Timestamp, days, did, evaluate};
///
/// let now = Timestamp::from_millis(1_714_564_800_000);
/// let verdict = evaluate(&did("Search").within(days(30)), &History::default(), now);
/// assert!(!verdict.holds && verdict.until.is_none());
/// ```
pub fn evaluate(condition: &Condition, person: &History, now: Timestamp) -> Verdict {
    evaluate_in(condition, person, now, &person.zone)
}

/// The same on the calendar of a zone, whatever that of the history is: an account has the zone of its person.
fn evaluate_in(condition: &Condition, person: &History, now: Timestamp, zone: &Zone) -> Verdict {
    let known = |verdict: Option<&Verdict>| verdict.copied().unwrap_or(Verdict::always(false));
    let inner = |part: &Condition| evaluate_in(part, person, now, zone);
    match condition {
        Condition::All(parts) => decided_by(false, parts.iter().map(inner)),
        Condition::Any(parts) => decided_by(true, parts.iter().map(inner)),
        Condition::Not(part) => {
            let verdict = inner(part);
            Verdict { holds: !verdict.holds, ..verdict }
        }
        Condition::Trait(condition) => trait_fits(condition, person, now, zone),
        Condition::Event(condition) => Occurrences { condition, events: &person.events, now, zone }.verdict(),
        Condition::Sequence(condition) => condition.verdict(&person.events, now),
        Condition::Segment(name) => known(person.segments.get(name)),
        Condition::Identifier(namespace) => Verdict::always(person.namespaces.contains(namespace)),
        Condition::Known(known) => {
            Verdict::always(person.namespaces.iter().any(|namespace| !namespace.is_anonymous()) == *known)
        }
        Condition::Account(part) => {
            decided_by(true, person.accounts.iter().map(|account| evaluate_in(part, account, now, zone)))
        }
        Condition::Tag(name) => known(person.tags.get(name)),
        Condition::Consent(purpose) => {
            Verdict::always(person.consents.get(purpose) == Some(&ConsentState::Granted))
        }
        Condition::Sample(sample) => Verdict::always(
            person.profile.is_some_and(|id| (sample.from..sample.to).contains(&sample.percent(id))),
        ),
        Condition::Misbuilt(_) => Verdict::always(false),
    }
}

/// `all` is decided by one part that is false, `any` by one that is true. The answer stays at least as long as one of
/// the parts that decide it, or else as long as all of the parts that do not.
pub(super) fn decided_by(decisive: bool, parts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut decided = None;
    let mut open = None;
    for verdict in parts {
        match (verdict.holds == decisive, verdict.until) {
            (true, None) => return verdict,
            (true, until) => decided = decided.max(until),
            (false, until) => open = earliest(open, until),
        }
    }
    match decided {
        Some(_) => Verdict::until(decisive, decided),
        None => Verdict::until(!decisive, open),
    }
}

pub(super) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The computed trait that a path leads to or into, under its name.
fn computed<'p>(
    path: &'p DottedPath,
    person: &'p History,
) -> Option<(&'p str, &'p crate::profile::Computed)> {
    path.roots().find_map(|name| person.computed.get(name).map(|computed| (name, computed)))
}

/// Whether `visit` says yes to any of the values that a trait has, computed ones before others.
pub(super) fn any_value<'p>(
    path: &'p DottedPath,
    person: &'p History,
    mut visit: impl FnMut(Option<&'p Value>) -> bool,
) -> bool {
    match computed(path, person) {
        None => path.any(&person.traits, visit),
        Some((name, computed)) => match &computed.value {
            None => visit(None),
            Some(value) => path.any_below(value, name, visit),
        },
    }
}

fn trait_fits(condition: &TraitCondition, person: &History, now: Timestamp, zone: &Zone) -> Verdict {
    if let Some(span) = condition.held_for {
        return held(condition, span, person, now);
    }
    let mut until = computed(&condition.path, person).and_then(|(name, computed)| {
        let part = condition.path.below(name).and_then(|member| computed.parts.get(member));
        part.copied().unwrap_or(computed.until)
    });
    let mut holds = false;
    any_value(&condition.path, person, |value| {
        let mut fits = condition.comparison.fits_value(value);
        for age in &condition.ages {
            let verdict = age.verdict(value, now, zone);
            fits &= verdict.holds;
            until = earliest(until, verdict.until);
        }
        holds |= fits;
        // How long the answer stands depends on all values.
        holds && condition.ages.is_empty()
    });
    Verdict::until(holds, until)
}

impl Age {
    fn verdict(self, value: Option<&Value>, now: Timestamp, zone: &Zone) -> Verdict {
        let value = value.and_then(|value| Comparable::of(value, false));
        let time = match &value {
            Some(Comparable::Time(time, _)) => Some(*time),
            _ => None,
        };
        let change =
            |time: Timestamp, span| [time, time.after(span)].into_iter().filter(|change| *change > now).min();
        match (self, time) {
            (Self::Within(span), Some(time)) => {
                Verdict::until(time <= now && time > now.before(span), change(time, span))
            }
            (Self::OlderThan(span), Some(time)) => {
                Verdict::until(time <= now.before(span), change(time, span))
            }
            (Self::Anniversary(days), _) => match value.as_ref().and_then(|value| date_of(value, zone)) {
                Some(date) => anniversary(date, days, now, zone),
                None => Verdict::always(false),
            },
            (Self::Within(_) | Self::OlderThan(_), None) => Verdict::always(false),
        }
    }
}

/// Whether the comparison of a trait has held without a break for `span`.
fn held(condition: &TraitCondition, span: Span, person: &History, now: Timestamp) -> Verdict {
    match since(condition, person) {
        Since::Never => Verdict::always(false),
        Since::Always => Verdict::always(true),
        Since::At(since) if since <= now.before(span) => Verdict::always(true),
        Since::At(since) => Verdict::until(false, Some(since.after(span))),
    }
}

/// The first value of a trait that is there, computed ones before others.
pub(crate) fn trait_value<'p>(path: &'p DottedPath, person: &'p History) -> Option<&'p Value> {
    let mut found = None;
    any_value(path, person, |value| {
        found = value.filter(|value| !value.is_null());
        found.is_some()
    });
    found
}

/// Since when the comparison of a trait has held without a break.
pub(super) enum Since {
    /// It does not hold.
    Never,
    At(Timestamp),
    Always,
}

pub(super) fn since(condition: &TraitCondition, person: &History) -> Since {
    let fits = |traits: &Object| condition.path.any(traits, |value| condition.comparison.fits_value(value));
    let pasts: Vec<_> = condition.path.roots().filter_map(|name| person.past.get_key_value(name)).collect();
    let before = |instant: Option<Timestamp>| {
        let mut traits = Object::new();
        for (name, past) in &pasts {
            let end = past.partition_point(|(at, _)| instant.is_none_or(|instant| *at < instant));
            if let Some((_, value)) = past[..end].last().filter(|(_, value)| !value.is_null()) {
                traits.insert((*name).clone(), value.clone());
            }
        }
        traits
    };
    if !fits(&before(None)) {
        return Since::Never;
    }
    let mut changes: Vec<Timestamp> =
        pasts.iter().flat_map(|(_, past)| past.iter().map(|(at, _)| *at)).collect();
    changes.sort_unstable();
    changes.dedup();
    let broke = changes.into_iter().rev().find(|change| !fits(&before(Some(*change))));
    broke.map_or(Since::Always, Since::At)
}

impl Sample {
    /// Where a profile falls, from 0 to below 100.
    pub(super) fn percent(&self, id: ProfileId) -> f64 {
        let mut hash = Sha256::new();
        hash.update(self.salt.as_bytes());
        hash.update(b":");
        hash.update(id.to_string().as_bytes());
        let digest = hash.finalize();
        let first = digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        f64::from(first) / 4_294_967_296.0 * 100.0
    }
}
