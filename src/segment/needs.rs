//! What a condition looks at, so that nothing else has to be loaded.

use std::collections::BTreeSet;

use super::calendar::is_of_calendar;
use super::condition::{Age, Condition, EventCondition, EventName, Window};
use crate::value::DottedPath;

/// What a condition, or several, look at: a person in whom nothing of it has changed need not be looked at again.
///
/// ```
/// use customerdb::{all, days, did, has_trait};
///
/// let needs = all([has_trait("address.city").eq("Lima"), did("Order*").within(days(7))]).needs();
/// assert!(needs.wants_event("Order Completed") && !needs.wants_event("Search"));
/// assert!(needs.wants_trait("address") && !needs.wants_trait("city"));
/// assert!(needs.time() && !needs.identifiers());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is something to be loaded or not")]
pub struct Needs {
    names: BTreeSet<String>,
    prefixes: BTreeSet<String>,
    traits: BTreeSet<String>,
    past: BTreeSet<String>,
    account_traits: BTreeSet<String>,
    segments: BTreeSet<String>,
    tags: BTreeSet<String>,
    consents: BTreeSet<String>,
    accounts: bool,
    given_tags: bool,
    profile: bool,
    identifiers: bool,
    properties: BTreeSet<String>,
    /// The names, and the beginnings of names, of events into which something looks.
    opened: BTreeSet<String>,
    opened_prefixes: BTreeSet<String>,
    time: bool,
    calendar: bool,
}

impl Needs {
    /// Whether events of that name are looked at.
    pub fn wants_event(&self, name: &str) -> bool {
        let name = crate::value::nfc(name);
        self.names.contains(&*name) || self.prefixes.iter().any(|prefix| name.starts_with(&**prefix))
    }

    /// Whether the trait of that name is looked at, or something inside it.
    pub fn wants_trait(&self, name: &str) -> bool {
        self.traits.contains(&*crate::value::nfc(name))
    }

    /// The names of events that are looked at, in order.
    pub fn event_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The beginnings of names of events that are looked at, in order; an empty one means all events.
    pub fn event_prefixes(&self) -> impl Iterator<Item = &str> {
        self.prefixes.iter().map(String::as_str)
    }

    /// The names of traits that are looked at, in order; of a dotted path all that it may begin with (`address` and
    /// `address.city`).
    pub fn traits(&self) -> impl Iterator<Item = &str> {
        self.traits.iter().map(String::as_str)
    }

    /// Whether it matters since when what of the trait of that name stands.
    pub fn wants_past(&self, name: &str) -> bool {
        self.past.contains(&*crate::value::nfc(name))
    }

    /// Whether that trait of accounts is looked at.
    pub fn wants_account_trait(&self, name: &str) -> bool {
        self.account_traits.contains(&*crate::value::nfc(name))
    }

    /// Whether it matters which accounts the person has.
    pub fn accounts(&self) -> bool {
        self.accounts
    }

    /// The names of the other segments that are asked for, in order.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map(String::as_str)
    }

    /// The names of the tags that are asked for, in order.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(String::as_str)
    }

    /// The purposes for which consent is asked, in order.
    pub fn consents(&self) -> impl Iterator<Item = &str> {
        self.consents.iter().map(String::as_str)
    }

    /// Whether consent for that purpose is asked.
    pub fn wants_consent(&self, purpose: &str) -> bool {
        self.consents.contains(&*crate::value::nfc(purpose))
    }

    /// Whether the profile's id matters.
    pub fn profile(&self) -> bool {
        self.profile
    }

    /// Whether any event is looked at.
    pub fn events(&self) -> bool {
        !self.names.is_empty() || !self.prefixes.is_empty()
    }

    /// Whether the properties of events are looked at.
    pub fn properties(&self) -> bool {
        !self.properties.is_empty()
    }

    /// Whether the properties of events of that name are looked at.
    pub fn wants_properties(&self, name: &str) -> bool {
        let name = crate::value::nfc(name);
        self.opened.contains(&*name) || self.opened_prefixes.iter().any(|prefix| name.starts_with(&**prefix))
    }

    /// The names of the properties of events that are looked at, or inside of which something is, in order.
    pub fn property_names(&self) -> impl Iterator<Item = &str> {
        self.properties.iter().map(String::as_str)
    }

    /// Whether it matters which identifiers are held.
    pub fn identifiers(&self) -> bool {
        self.identifiers
    }

    /// Whether the answer can change by time alone.
    pub fn time(&self) -> bool {
        self.time
    }

    /// Whether the answer depends on when days begin, and so on the time zone.
    pub fn calendar(&self) -> bool {
        self.calendar
    }

    /// Whether all tags given by hand are asked for, whatever they are.
    pub(crate) fn given_tags(&self) -> bool {
        self.given_tags
    }

    /// Asks for all tags given by hand.
    pub(super) fn want_given_tags(&mut self) {
        self.given_tags = true;
    }

    /// Whether nothing is looked at but traits of people as they stand.
    pub(crate) fn are_of_traits(&self) -> bool {
        let Self {
            names,
            prefixes,
            traits: _,
            past,
            account_traits,
            segments,
            tags,
            consents,
            accounts,
            given_tags,
            profile,
            identifiers,
            properties,
            opened,
            opened_prefixes,
            time: _,
            calendar: _,
        } = self;
        let sets = [names, prefixes, past, account_traits, segments, tags, consents, properties, opened];
        let any = [accounts, given_tags, profile, identifiers];
        sets.iter().all(|set| set.is_empty()) && opened_prefixes.is_empty() && !any.contains(&&true)
    }

    /// Adds a trait that is looked at.
    pub(super) fn add_trait(&mut self, name: &str) {
        self.traits.insert(name.to_owned());
    }

    /// Adds that the answer depends on time, and on a calendar.
    pub(super) fn add_time(&mut self, time: bool, calendar: bool) {
        self.time |= time;
        self.calendar |= calendar;
    }

    /// Adds a property of the events of a condition.
    pub(super) fn add_property(&mut self, event: &EventCondition, path: &DottedPath) {
        let (names, name) = match &event.name {
            EventName::Exact(name) => (&mut self.opened, name),
            EventName::Prefix(prefix) => (&mut self.opened_prefixes, prefix),
        };
        if !names.contains(name) {
            names.insert(name.clone());
        }
        self.properties.extend(path.roots().map(str::to_owned));
    }

    /// Adds what another condition looks at.
    pub fn merge(&mut self, other: &Self) {
        self.merge_but_segments(other);
        self.segments.extend(other.segments.iter().cloned());
    }

    /// Adds what another condition looks at, but for the segments on which it rests.
    pub(crate) fn merge_but_segments(&mut self, other: &Self) {
        self.names.extend(other.names.iter().cloned());
        self.prefixes.extend(other.prefixes.iter().cloned());
        self.traits.extend(other.traits.iter().cloned());
        self.past.extend(other.past.iter().cloned());
        self.account_traits.extend(other.account_traits.iter().cloned());
        self.tags.extend(other.tags.iter().cloned());
        self.consents.extend(other.consents.iter().cloned());
        self.accounts |= other.accounts;
        self.given_tags |= other.given_tags;
        self.profile |= other.profile;
        self.identifiers |= other.identifiers;
        self.properties.extend(other.properties.iter().cloned());
        self.opened.extend(other.opened.iter().cloned());
        self.opened_prefixes.extend(other.opened_prefixes.iter().cloned());
        self.time |= other.time;
        self.calendar |= other.calendar;
    }

    fn add(&mut self, condition: &Condition) {
        match condition {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| self.add(part)),
            Condition::Not(part) => self.add(part),
            Condition::Trait(condition) => {
                self.traits.extend(condition.path.roots().map(str::to_owned));
                if condition.held_for.is_some() {
                    self.past.extend(condition.path.roots().map(str::to_owned));
                }
                self.time |= !condition.ages.is_empty() || condition.held_for.is_some();
                self.calendar |= condition.ages.iter().any(|age| matches!(age, Age::Anniversary(_)));
            }
            Condition::Event(event) => self.add_event(event),
            Condition::Sequence(sequence) => {
                sequence.steps.iter().for_each(|step| self.add_event(&step.event));
                if let Some(path) = &sequence.same {
                    sequence.steps.iter().for_each(|step| self.add_property(&step.event, path));
                }
                self.time |= sequence.steps.last().is_some_and(|step| step.forbidden);
            }
            Condition::Segment(name) => _ = self.segments.insert(name.clone()),
            Condition::Tag(name) => _ = self.tags.insert(name.clone()),
            Condition::Consent(purpose) => _ = self.consents.insert(purpose.clone()),
            Condition::Account(part) => {
                let of_account = part.needs();
                self.accounts = true;
                self.time |= of_account.time;
                self.calendar |= of_account.calendar;
                self.account_traits.extend(of_account.traits);
            }
            Condition::Sample(_) => self.profile = true,
            Condition::Identifier(_) | Condition::Known(_) => self.identifiers = true,
            Condition::Misbuilt(_) => {}
        }
    }

    /// Adds what an event condition looks at.
    pub(super) fn add_event(&mut self, event: &EventCondition) {
        let (names, name) = match &event.name {
            EventName::Exact(name) => (&mut self.names, name),
            EventName::Prefix(prefix) => (&mut self.prefixes, prefix),
        };
        names.insert(name.clone());
        event.filters.iter().for_each(|test| self.add_property(event, &test.path));
        event.aggregate.iter().for_each(|test| self.add_property(event, &test.path));
        self.time |= matches!(event.window, Window::Within { .. }) || event.periods.is_some();
        self.calendar |= event.periods.as_ref().is_some_and(|periods| is_of_calendar(periods.every));
    }
}

impl Condition {
    /// What the condition looks at.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        needs.add(self);
        needs
    }
}

#[cfg(test)]
mod tests {
    use crate::{any, days, did, did_not, has_account, has_identifier, has_trait, not};

    #[test]
    fn needs_are_those_of_all_parts_and_can_be_merged() {
        let mut needs = any([not(did("Caf\u{65}\u{301}")), has_trait("a.b").exists()]).needs();
        assert!(needs.wants_event("Café") && needs.wants_trait("a") && !needs.wants_trait("b"));
        assert!(!needs.time() && !needs.identifiers() && !needs.properties());
        needs.merge(&did_not("$page*").where_property("url").exists().within(days(1)).needs());
        needs.merge(&has_identifier("email").needs());
        assert!(needs.wants_event("$page") && !needs.wants_event("page"));
        assert!(needs.time() && needs.identifiers() && needs.properties() && needs.events());
        assert!(needs.wants_properties("$pages") && !needs.wants_properties("Café"));
        assert_eq!(needs.event_names().collect::<Vec<_>>(), ["Café"]);
        assert_eq!(needs.event_prefixes().collect::<Vec<_>>(), ["$page"]);
        assert_eq!(needs.traits().collect::<Vec<_>>(), ["a", "a.b"]);
    }

    #[test]
    fn ages_of_traits_depend_on_time_and_fixed_windows_do_not() {
        assert!(has_trait("x").within(days(1)).needs().time());
        assert!(!did("A").since(crate::Timestamp::EARLIEST).needs().time());
    }

    #[test]
    fn days_and_weeks_are_those_of_a_calendar_and_spans_are_not() {
        let yes = [
            has_trait("x").anniversary_within(1),
            not(has_account(has_trait("x").anniversary_within(1))),
            did("A").in_periods(1, 2, days(1)),
            did("A").in_periods(1, 2, crate::weeks(2)),
        ];
        assert!(yes.iter().all(|condition| condition.needs().calendar()));
        for condition in [did("A").within(days(1)), did("A").in_periods(1, 2, crate::hours(36))] {
            assert!(condition.needs().time() && !condition.needs().calendar());
        }
    }
}
