//! Everything that is defined, and how one definition rests on others.

use std::collections::{BTreeMap, BTreeSet};

use super::Segment;
use super::computed::ComputedTrait;
use super::condition::{Condition, TraitCondition};
use super::evaluate::{decided_by, evaluate};
use super::needs::Needs;
use super::tag::TagRule;
use crate::clock::{Timestamp, Zone};
use crate::error::DefinitionError;
use crate::profile::{ConsentRules, History, Policies, Tag, Verdict};

type Result<T> = std::result::Result<T, DefinitionError>;

/// How long a chain of definitions may be that rest on each other.
const LONGEST_CHAIN: usize = 100;

/// The definitions: policies of traits, computed traits, tags and segments, each by name. Segments and tags may rest on
/// each other, and never on themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) policies: Policies,
    pub(crate) traits: BTreeMap<String, ComputedTrait>,
    pub(crate) tags: BTreeMap<String, TagRule>,
    pub(crate) segments: BTreeMap<String, Segment>,
    pub(crate) consent: ConsentRules,
    /// In which days, weeks and birthdays begin: no definition, but what some of them rest on.
    pub(crate) zone: Zone,
}

/// A definition that another may rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name<'c> {
    Segment(&'c str),
    Tag(&'c str),
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Segment(name) => write!(f, "segment {name:?}"),
            Self::Tag(name) => write!(f, "tag {name:?}"),
        }
    }
}

impl Catalog {
    /// What a condition looks at, with what the definitions look at that it rests on.
    pub(crate) fn needs(&self, condition: &Condition) -> Needs {
        self.closed(condition.needs())
    }

    /// What it takes to say how somebody stands to a segment.
    pub(crate) fn needs_of(&self, segment: &str) -> Needs {
        self.needs(&Condition::Segment(segment.to_owned()))
    }

    /// What it takes to say all computed traits, all tags by rule and by hand, and how somebody stands to some segments.
    pub(crate) fn needs_of_all<'n>(&self, segments: impl Iterator<Item = &'n str>) -> Needs {
        let mut needs = Needs::default();
        needs.want_given_tags();
        for name in segments {
            needs.merge(&Condition::Segment(name.to_owned()).needs());
        }
        for name in self.tags.keys() {
            needs.merge(&Condition::Tag(name.clone()).needs());
        }
        for name in self.traits.keys() {
            needs.add_trait(name);
        }
        self.closed(needs)
    }

    fn closed(&self, mut needs: Needs) -> Needs {
        let mut done: BTreeSet<String> = BTreeSet::new();
        let (mut segments, mut tags): (Vec<String>, Vec<String>);
        loop {
            segments =
                needs.segments().filter(|name| !done.contains(&format!("s{name}"))).map(Into::into).collect();
            tags = needs.tags().filter(|name| !done.contains(&format!("t{name}"))).map(Into::into).collect();
            if segments.is_empty() && tags.is_empty() {
                break;
            }
            for name in &segments {
                if let Some(segment) = self.segments.get(name) {
                    needs.merge(&segment.condition().needs());
                }
                done.insert(format!("s{name}"));
            }
            for name in &tags {
                if let Some(rule) = self.tags.get(name) {
                    needs.merge(&rule.condition().needs());
                }
                // One that is given by hand may end.
                needs.add_time(true, false);
                done.insert(format!("t{name}"));
            }
        }
        for (name, computed) in &self.traits {
            if needs.wants_trait(name) {
                computed.add_needs(&mut needs);
            }
        }
        needs
    }

    /// Works out what a history does not tell by itself, as far as it is needed: computed traits, tags and segments, in
    /// the zone of the catalog.
    pub(crate) fn complete(&self, needs: &Needs, history: &mut History, now: Timestamp) {
        history.zone.clone_from(&self.zone);
        history.segments.clear();
        history.tags.clear();
        history.computed = self
            .traits
            .iter()
            .filter(|(name, _)| needs.wants_trait(name))
            .map(|(name, computed)| (name.clone(), computed.compute(&history.events, now, &self.zone)))
            .collect();
        let given: Vec<String> = history.given.iter().map(|(name, _)| name.clone()).collect();
        let given = given.iter().map(String::as_str).filter(|_| needs.given_tags());
        for name in needs.tags().chain(given) {
            self.judge(Name::Tag(name), history, now);
        }
        for name in needs.segments() {
            self.judge(Name::Segment(name), history, now);
        }
    }

    /// Says how somebody stands to a segment or a tag, and before that to all that it rests on.
    fn judge(&self, name: Name<'_>, history: &mut History, now: Timestamp) {
        let known = match name {
            Name::Segment(name) => history.segments.contains_key(name),
            Name::Tag(name) => history.tags.contains_key(name),
        };
        if known {
            return;
        }
        for other in self.rests_on(name) {
            self.judge(other, history, now);
        }
        match name {
            Name::Segment(name) => {
                let Some(segment) = self.segments.get(name) else { return };
                let verdict = if segment.is_list() {
                    Verdict::always(history.lists.iter().any(|list| list == name))
                } else {
                    evaluate(segment.condition(), history, now)
                };
                history.segments.insert(name.to_owned(), verdict);
            }
            Name::Tag(name) => {
                let by_hand = history.given.iter().filter(|(given, _)| given == name).map(|(_, expires)| {
                    let stands = expires.is_none_or(|expires| now < expires);
                    Verdict::until(stands, expires.filter(|_| stands))
                });
                let rule = self.tags.get(name).map(|rule| evaluate(rule.condition(), history, now));
                let verdict = decided_by(true, by_hand.chain(rule));
                history.tags.insert(name.to_owned(), verdict);
            }
        }
    }

    /// The tags that somebody carries, of a history that is complete.
    pub(crate) fn tags_of(&self, history: &History, now: Timestamp) -> Vec<Tag> {
        let carried = history.tags.iter().filter(|(_, verdict)| verdict.holds);
        carried
            .map(|(name, _)| {
                let given = || history.given.iter().filter(|(given, _)| given == name);
                let by_rule =
                    self.tags.get(name).filter(|rule| evaluate(rule.condition(), history, now).holds);
                let endless = by_rule.is_some() || given().any(|(_, expires)| expires.is_none());
                let expires = if endless { None } else { given().filter_map(|(_, expires)| *expires).max() };
                let weight = by_rule.map_or(1.0, |rule| rule.weight_at(&history.events, now));
                Tag::new(name.clone(), weight, expires)
            })
            .collect()
    }

    /// What a definition rests on directly.
    fn rests_on<'c>(&'c self, name: Name<'_>) -> Vec<Name<'c>> {
        let condition = match name {
            Name::Segment(name) => {
                self.segments.get(name).filter(|segment| !segment.is_list()).map(Segment::condition)
            }
            Name::Tag(name) => self.tags.get(name).map(TagRule::condition),
        };
        let mut names = Vec::new();
        let mut parts: Vec<&Condition> = condition.into_iter().collect();
        while let Some(part) = parts.pop() {
            match part {
                Condition::Segment(name) => names.push(Name::Segment(name)),
                Condition::Tag(name) => names.push(Name::Tag(name)),
                Condition::All(inner) | Condition::Any(inner) => parts.extend(inner.iter().rev()),
                Condition::Not(inner) => parts.push(inner),
                _ => {}
            }
        }
        names
    }

    /// Whether a condition makes sense beside what is defined.
    pub(crate) fn check(&self, condition: &Condition) -> Result<()> {
        let mut wrong = None;
        each_part(condition, &mut String::new(), &mut |part, path| {
            let reason = match part {
                Condition::Segment(name) if !self.segments.contains_key(name) => {
                    Some(("segment", format!("no segment is named {name:?}")))
                }
                Condition::Trait(TraitCondition { path, held_for: Some(_), .. }) => {
                    let computed = path.roots().find(|name| self.traits.contains_key(*name));
                    computed
                        .map(|name| ("for", format!("the trait {name:?} is computed, and has no history")))
                }
                _ => None,
            };
            if let Some((member, reason)) = reason {
                let dot = if path.is_empty() { "" } else { "." };
                wrong = Some(DefinitionError::new(format!("{path}{dot}{member}"), reason));
            }
            wrong.is_none()
        });
        wrong.map_or(Ok(()), Err)
    }

    /// Checks everything again after a change of what is named.
    fn check_all(&self, changed: Option<Name<'_>>) -> Result<()> {
        if let Some(changed) = changed {
            let mut chain = vec![changed];
            self.check_chains(&mut chain, &mut BTreeMap::new())?;
        }
        for segment in self.segments.values().filter(|segment| !segment.is_list()) {
            self.check(segment.condition()).map_err(|error| other(&Name::Segment(segment.name()), &error))?;
        }
        for rule in self.tags.values() {
            self.check(rule.condition()).map_err(|error| other(&Name::Tag(rule.name()), &error))?;
        }
        Ok(())
    }

    /// Refuses what rests on itself, or on a chain that is too long. Gives the length of the longest chain below.
    fn check_chains<'c>(
        &'c self,
        chain: &mut Vec<Name<'c>>,
        known: &mut BTreeMap<Name<'c>, usize>,
    ) -> Result<usize> {
        let Some(&name) = chain.last() else { return Ok(0) };
        if let Some(length) = known.get(&name) {
            return Ok(*length);
        }
        let mut longest = 0;
        for next in self.rests_on(name) {
            if let Some(place) = chain.iter().position(|other| *other == next) {
                let cycle: Vec<String> =
                    chain[place..].iter().chain([&next]).map(ToString::to_string).collect();
                // What is being defined is the first of the chain, and nobody knows the others' paths.
                let path = self.path_to(chain[0], chain.get(1).copied().unwrap_or(next));
                return Err(DefinitionError::new(path, format!("a cycle: {}", cycle.join(" → "))));
            }
            if chain.len() >= LONGEST_CHAIN {
                let reason =
                    format!("a chain of more than {LONGEST_CHAIN} definitions that rest on each other");
                return Err(DefinitionError::new("condition", reason));
            }
            chain.push(next);
            longest = longest.max(1 + self.check_chains(chain, known)?);
            chain.pop();
        }
        known.insert(name, longest);
        Ok(longest)
    }

    /// Where in a definition another is named.
    fn path_to(&self, name: Name<'_>, named: Name<'_>) -> String {
        let condition = match name {
            Name::Segment(name) => self.segments.get(name).map(Segment::condition),
            Name::Tag(name) => self.tags.get(name).map(TagRule::condition),
        };
        let mut found = String::new();
        if let Some(condition) = condition {
            each_part(condition, &mut String::new(), &mut |part, path| {
                let member = match (part, named) {
                    (Condition::Segment(other), Name::Segment(name)) if other == name => "segment",
                    (Condition::Tag(other), Name::Tag(name)) if other == name => "tag",
                    _ => return true,
                };
                found = if path.is_empty() { member.into() } else { format!("{path}.{member}") };
                false
            });
        }
        found
    }

    /// The catalog with a segment, in place of one of that name.
    pub(crate) fn with_segment(&self, segment: &Segment) -> Result<Self> {
        let mut with = self.clone();
        with.segments.insert(segment.name().to_owned(), segment.clone());
        if !segment.is_list() {
            with.check(segment.condition())?;
        }
        with.check_all(Some(Name::Segment(segment.name())))?;
        Ok(with)
    }

    /// The catalog without a segment, unless others rest on it.
    pub(crate) fn without_segment(&self, name: &str) -> Result<Self> {
        let segments = self.segments.keys().map(|name| Name::Segment(name));
        let mut all = segments.chain(self.tags.keys().map(|name| Name::Tag(name)));
        if let Some(holder) = all.find(|other| self.rests_on(*other).contains(&Name::Segment(name))) {
            let reason = format!("cannot be removed: the {holder} rests on it");
            return Err(DefinitionError::new(format!("{}", Name::Segment(name)), reason));
        }
        let mut without = self.clone();
        without.segments.remove(name);
        Ok(without)
    }

    /// The catalog with a computed trait.
    pub(crate) fn with_trait(&self, computed: &ComputedTrait) -> Result<Self> {
        let mut with = self.clone();
        with.traits.insert(computed.name().to_owned(), computed.clone());
        with.check_all(None)?;
        Ok(with)
    }

    /// The catalog with a rule for a tag.
    pub(crate) fn with_tag(&self, rule: &TagRule) -> Result<Self> {
        let mut with = self.clone();
        with.tags.insert(rule.name().to_owned(), rule.clone());
        with.check(rule.condition())?;
        with.check_all(Some(Name::Tag(rule.name())))?;
        Ok(with)
    }
}

/// An error that shows in another definition than the one that is made.
fn other(name: &Name<'_>, error: &DefinitionError) -> DefinitionError {
    DefinitionError::new(format!("{name}"), error.to_string())
}

/// Shows every part of a condition with its path, until `visit` has seen enough.
fn each_part<'c>(
    condition: &'c Condition,
    path: &mut String,
    visit: &mut dyn FnMut(&'c Condition, &str) -> bool,
) -> bool {
    if !visit(condition, path) {
        return false;
    }
    let length = path.len();
    let dot = if path.is_empty() { "" } else { "." };
    let mut inner: Vec<(String, &Condition)> = Vec::new();
    match condition {
        Condition::All(parts) => {
            inner.extend(parts.iter().enumerate().map(|(index, part)| (format!("{dot}all[{index}]"), part)));
        }
        Condition::Any(parts) => {
            inner.extend(parts.iter().enumerate().map(|(index, part)| (format!("{dot}any[{index}]"), part)));
        }
        Condition::Not(part) => inner.push((format!("{dot}not"), part)),
        // What an account's traits are called is no business of the person's.
        _ => {}
    }
    for (step, part) in inner {
        path.push_str(&step);
        let more = each_part(part, path, visit);
        path.truncate(length);
        if !more {
            return false;
        }
    }
    true
}
