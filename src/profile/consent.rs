//! What people have agreed to: decisions about purposes, and which of several stands.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::purpose::Purpose;
use crate::clock::Timestamp;
use crate::error::DefinitionError;
use crate::event::{Event, Source};
use crate::id::Identifier;
use crate::identity::Node;
use crate::value::{Value, nfc};

/// The purpose without which events are not kept: where it is denied or withdrawn, they are counted and let go.
pub(crate) const ANALYTICS: &str = "analytics";

/// What somebody decided about a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    /// They agreed.
    Granted,
    /// They were asked and did not agree.
    Denied,
    /// They took back what they had agreed to.
    Withdrawn,
}

impl ConsentState {
    const ALL: [Self; 3] = [Self::Granted, Self::Denied, Self::Withdrawn];

    /// The state as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl std::str::FromStr for ConsentState {
    type Err = DefinitionError;

    fn from_str(text: &str) -> Result<Self, DefinitionError> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| {
            let reason = format!("not a state of consent: {text:?}, expected granted, denied or withdrawn");
            DefinitionError::new("", reason)
        })
    }
}

/// A decision to be recorded: what somebody decided about a purpose, when, and how one knows.
///
/// `Debug` leaves the evidence out.
///
/// ```
/// use customerdb::{Cdp, ConsentDecision, ConsentState, Event};
///
/// let cdp = Cdp::in_memory()?;
/// cdp.ingest([Event::page().user_id("u1")])?;
/// let signed_up = ConsentDecision::granted("marketing")
///     .source("sign-up form")
///     .policy_version("2024-05")
///     .evidence("box ticked, e-mail confirmed");
/// assert_eq!(cdp.record_consent("user_id:u1", signed_up)?, Some(ConsentState::Granted));
/// let profile = cdp.profile("user_id:u1")?.expect("somebody");
/// assert_eq!(profile.consents["marketing"].policy_version.as_deref(), Some("2024-05"));
/// # Ok::<(), customerdb::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct ConsentDecision {
    pub(crate) purpose: String,
    pub(crate) state: ConsentState,
    pub(crate) at: Option<Timestamp>,
    pub(crate) source: String,
    pub(crate) policy_version: Option<String>,
    pub(crate) evidence: Option<String>,
    pub(crate) separate: bool,
}

impl ConsentDecision {
    /// A decision about a purpose: `marketing`, `analytics`, `personalisation`, `advertising`, or one of your own.
    pub fn new(purpose: impl Into<String>, state: ConsentState) -> Self {
        Self {
            purpose: nfc(&purpose.into()).into_owned(),
            state,
            at: None,
            source: Source::default().name,
            policy_version: None,
            evidence: None,
            separate: false,
        }
    }

    /// They agreed.
    pub fn granted(purpose: impl Into<String>) -> Self {
        Self::new(purpose, ConsentState::Granted)
    }

    /// They were asked and did not agree.
    pub fn denied(purpose: impl Into<String>) -> Self {
        Self::new(purpose, ConsentState::Denied)
    }

    /// They took back what they had agreed to.
    pub fn withdrawn(purpose: impl Into<String>) -> Self {
        Self::new(purpose, ConsentState::Withdrawn)
    }

    /// When they decided. Default: when it is recorded.
    pub fn at(mut self, at: impl Into<Timestamp>) -> Self {
        self.at = Some(at.into());
        self
    }

    /// Where: a form, an app, a call centre. Default: `default`, as of events.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// The version of the privacy policy that they were shown.
    pub fn policy_version(mut self, version: impl Into<String>) -> Self {
        self.policy_version = Some(version.into());
        self
    }

    /// How one knows: what was ticked, a recording, a reference to where it is filed.
    pub fn evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = Some(evidence.into());
        self
    }

    /// Says that it was given by itself and not together with others, as some [purposes](Purpose::separate) need it.
    pub fn separate(mut self) -> Self {
        self.separate = true;
        self
    }
}

impl fmt::Debug for ConsentDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.purpose, self.state.as_str())
    }
}

/// A decision about a purpose as it is kept. The log of them only grows.
///
/// `Debug` masks the identifier and leaves the evidence out.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Consent {
    /// Its number in the log.
    pub number: i64,
    /// The identifier for which it was recorded: whoever holds that now has decided so.
    pub identifier: Identifier,
    /// What it is about.
    pub purpose: String,
    /// What was decided.
    pub state: ConsentState,
    /// When it was decided.
    pub at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Where.
    pub source: String,
    /// The version of the privacy policy that was shown.
    pub policy_version: Option<String>,
    /// How one knows.
    pub evidence: Option<String>,
    /// Whether it was given by itself and not together with others.
    pub separate: bool,
    /// The message id of the event that said so, if one did.
    pub message_id: Option<String>,
}

/// A decision as the log has it, by the number of its identifier.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeptConsent {
    pub(crate) node: Node,
    pub(crate) number: i64,
    pub(crate) purpose: String,
    pub(crate) state: ConsentState,
    pub(crate) at: Timestamp,
    pub(crate) recorded_at: Timestamp,
    pub(crate) source: String,
    pub(crate) policy_version: Option<String>,
    pub(crate) evidence: Option<String>,
    pub(crate) separate: bool,
    pub(crate) message_id: Option<String>,
}

impl KeptConsent {
    /// The same as it is told, with its identifier.
    pub(crate) fn told(self, identifier: Identifier) -> Consent {
        let Self { number, purpose, state, at, recorded_at, source, policy_version, evidence, .. } = self;
        let (separate, message_id) = (self.separate, self.message_id);
        Consent {
            number,
            identifier,
            purpose,
            state,
            at,
            recorded_at,
            source,
            policy_version,
            evidence,
            separate,
            message_id,
        }
    }
}

impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} by {:?} at {}", self.purpose, self.state.as_str(), self.identifier, self.at)
    }
}

/// Which decision stands where somebody's identifiers bear several about one purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsentMerge {
    /// The latest, whichever identifier it was recorded for.
    #[default]
    Latest,
    /// Of the latest decisions of each identifier one that is no grant, if there is any. What an identifier denies
    /// is granted again by a later decision that is recorded for the same identifier.
    MostRestrictive,
}

impl ConsentMerge {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::MostRestrictive => "most_restrictive",
        }
    }
}

impl std::str::FromStr for ConsentMerge {
    type Err = DefinitionError;

    fn from_str(text: &str) -> Result<Self, DefinitionError> {
        [Self::Latest, Self::MostRestrictive].into_iter().find(|merge| merge.as_str() == text).ok_or_else(
            || {
                let reason = format!("unknown merge {text:?}, expected latest or most_restrictive");
                DefinitionError::new("", reason)
            },
        )
    }
}

/// What decisions are judged by: the purposes that are defined, and how decisions merge.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ConsentRules {
    pub(crate) merge: ConsentMerge,
    pub(crate) purposes: BTreeMap<String, Purpose>,
}

impl ConsentRules {
    /// Of all decisions of a person those that stand, by purpose. The order in which they come makes no difference.
    ///
    /// A decision is later than another by its time, then by its number in the log.
    pub(crate) fn standing(
        &self,
        decisions: impl IntoIterator<Item = KeptConsent>,
    ) -> BTreeMap<String, KeptConsent> {
        let one_by_one = self.merge == ConsentMerge::MostRestrictive;
        let mut latest: BTreeMap<(String, Option<Node>), KeptConsent> = BTreeMap::new();
        for decision in decisions.into_iter().filter(|decision| self.counts(decision)) {
            let key = (decision.purpose.clone(), one_by_one.then_some(decision.node));
            match latest.get(&key) {
                Some(held) if order(held) >= order(&decision) => {}
                _ => drop(latest.insert(key, decision)),
            }
        }
        let rank = |decision: &KeptConsent| (decision.state != ConsentState::Granted, order(decision));
        let mut standing: BTreeMap<String, KeptConsent> = BTreeMap::new();
        for ((purpose, _), decision) in latest {
            match standing.get(&purpose) {
                Some(held) if rank(held) >= rank(&decision) => {}
                _ => drop(standing.insert(purpose, decision)),
            }
        }
        standing
    }

    /// A grant counts only if it was given as its purpose needs it.
    fn counts(&self, decision: &KeptConsent) -> bool {
        let needs_separate = self.purposes.get(&decision.purpose).is_some_and(Purpose::needs_separate);
        decision.state != ConsentState::Granted || decision.separate || !needs_separate
    }

    /// What an event's consent object says about purposes that take decisions from it.
    pub(crate) fn said(&self, event: &Event) -> Vec<(&str, ConsentState)> {
        let takers = || self.purposes.values().filter(|purpose| !purpose.categories().is_empty());
        if takers().next().is_none() {
            return Vec::new();
        }
        let preferences =
            event.whole_context().get("consent").and_then(|consent| consent.get("categoryPreferences"));
        let Some(preferences) = preferences.and_then(Value::as_object) else { return Vec::new() };
        let of = |purpose: &'_ Purpose| {
            let said = purpose.categories().iter().filter_map(|name| preferences.get(name)?.as_bool());
            // One category that is refused is enough.
            said.reduce(|all, one| all && one)
        };
        let state = |granted| if granted { ConsentState::Granted } else { ConsentState::Denied };
        takers().filter_map(|purpose| Some((purpose.name(), state(of(purpose)?)))).collect()
    }

    /// All purposes: those that are defined, and the built-in ones.
    pub(crate) fn all(&self) -> Vec<Purpose> {
        let mut all = self.purposes.clone();
        for name in Purpose::BUILT_IN {
            all.entry(name.to_owned()).or_insert_with(|| Purpose::new(name));
        }
        all.into_values().collect()
    }
}

fn order(decision: &KeptConsent) -> (Timestamp, i64) {
    (decision.at, decision.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(number: i64, node: u32, state: ConsentState, at: i64) -> KeptConsent {
        KeptConsent {
            number,
            node: Node(node),
            purpose: "marketing".into(),
            state,
            at: Timestamp::from_millis(at),
            recorded_at: Timestamp::from_millis(at),
            source: "form".into(),
            policy_version: None,
            evidence: Some("signed by Ann".into()),
            separate: false,
            message_id: None,
        }
    }

    fn standing(rules: &ConsentRules, decisions: &[KeptConsent]) -> Option<i64> {
        let mut decisions = decisions.to_vec();
        let mut found: Vec<Option<i64>> = Vec::new();
        for _ in 0..decisions.len() {
            decisions.rotate_left(1);
            found.push(rules.standing(decisions.clone()).get("marketing").map(|held| held.number));
        }
        found.dedup();
        assert_eq!(found.len(), 1, "in any order");
        found[0]
    }

    #[test]
    fn the_latest_decision_stands_or_the_most_restrictive_of_each_identifiers_latest() {
        use ConsentState::{Denied, Granted, Withdrawn};
        let decisions =
            [decision(1, 1, Denied, 10), decision(2, 0, Granted, 30), decision(3, 0, Withdrawn, 20)];
        let latest = ConsentRules::default();
        let restrictive = ConsentRules { merge: ConsentMerge::MostRestrictive, ..ConsentRules::default() };
        assert_eq!((standing(&latest, &decisions), standing(&restrictive, &decisions)), (Some(2), Some(1)));
        let again = decision(4, 1, Granted, 20);
        let with = [&decisions[..], &[again]].concat();
        assert_eq!((standing(&latest, &with), standing(&restrictive, &with)), (Some(2), Some(2)));
        // Of one instant the one that was recorded last.
        let tie = [decision(1, 0, Denied, 5), decision(2, 0, Granted, 5)];
        assert_eq!((standing(&latest, &tie), standing(&restrictive, &tie)), (Some(2), Some(2)));
    }

    #[test]
    fn what_needs_a_separate_agreement_is_not_granted_along_with_others() {
        let mut rules = ConsentRules::default();
        rules.purposes.insert("marketing".into(), Purpose::new("marketing").separate());
        let bundled = decision(2, 0, ConsentState::Granted, 20);
        assert_eq!(standing(&rules, std::slice::from_ref(&bundled)), None);
        let separate =
            KeptConsent { number: 1, separate: true, at: Timestamp::from_millis(10), ..bundled.clone() };
        assert_eq!(standing(&rules, &[bundled.clone(), separate]), Some(1));
        let denied = decision(3, 0, ConsentState::Denied, 5);
        assert_eq!(standing(&rules, &[bundled, denied]), Some(3), "a denial needs no form");
    }

    #[test]
    fn nothing_personal_shows_in_debug() {
        let held = decision(1, 1, ConsentState::Granted, 0).told("email:ann@b.example".parse().unwrap());
        let shown = format!("{held:?} {:?}", ConsentDecision::granted("x").evidence("signed by Ann"));
        assert!(shown.contains("email:a***@b.example") && !shown.contains("signed"), "{shown}");
    }
}
