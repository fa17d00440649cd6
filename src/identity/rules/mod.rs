//! What may be joined: the rules of identity.

pub(super) mod json;
mod limits;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;

use self::json::compile;
pub(crate) use self::limits::{Day, Limit, PairLimit};
pub use self::limits::{Period, SharedDevice};
use super::normalise::{check_region, folded, normalise, stands_for_nobody};
use crate::error::DefinitionError;
use crate::id::{EXTERNAL, Identifier, Namespace, mask};

/// The rules of identity resolution.
///
/// Defaults: `user_id` at most one in a profile, `email` and `phone` at most five each, others unlimited, and at
/// most 1,000 identifiers in all; a device that two users share stays with the first. Changing the rules of a
/// database replays all its events, and [`Cdp::simulate`](crate::Cdp::simulate) tells beforehand what that would do.
///
/// A join breaks a limit where the joined profile would hold more than the limit allows and more than either side
/// held, so that a join forced by hand does not freeze a profile.
///
/// ```
/// use customerdb::{Namespace, Rules};
///
/// let rules = Rules::default().limit(Namespace::EMAIL, Some(2)).block(Namespace::EMAIL, "shop@example.com");
/// assert_eq!(rules.max(&Namespace::EMAIL), Some(2));
///
/// let same = Rules::default().changed(&serde_json::json!({
///     "limits": {"email": {"max": 2, "per": "ever"}},
///     "blocked": {"email": ["shop@example.com"]},
/// }))?;
/// assert_eq!(rules, same);
/// # Ok::<(), customerdb::DefinitionError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Rules {
    order: Vec<Namespace>,
    limits: BTreeMap<Namespace, Limit>,
    total: Option<u32>,
    pairs: Vec<PairLimit>,
    blocked: BTreeMap<Namespace, Vec<Blocked>>,
    members: Vec<Member>,
    shared_device: SharedDevice,
    default_region: Option<String>,
}

/// A value, or a pattern of values, that links nothing and is never an identifier.
#[derive(Clone)]
enum Blocked {
    Value(String),
    Pattern(Regex),
}

impl PartialEq for Blocked {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(a), Self::Value(b)) => a == b,
            (Self::Pattern(a), Self::Pattern(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl fmt::Debug for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => f.write_str(&crate::id::mask(value)),
            Self::Pattern(pattern) => write!(f, "/{pattern}/"),
        }
    }
}

/// A member of events that carries an identifier.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) path: String,
    pub(crate) namespace: Namespace,
}

/// The name under which values are blocked in every namespace.
const EVERY_NAMESPACE: &str = "*";

impl Default for Rules {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            limits: BTreeMap::from([
                (Namespace::USER_ID, Limit { max: 1, per: Period::Ever }),
                (Namespace::EMAIL, Limit { max: 5, per: Period::Ever }),
                (Namespace::PHONE, Limit { max: 5, per: Period::Ever }),
            ]),
            total: Some(1_000),
            pairs: Vec::new(),
            blocked: BTreeMap::new(),
            members: Vec::new(),
            shared_device: SharedDevice::First,
            default_region: None,
        }
    }
}

impl Rules {
    /// Rules without any limit: whatever bears a common identifier is one person.
    pub fn unlimited() -> Self {
        Self { limits: BTreeMap::new(), total: None, ..Self::default() }
    }

    /// Sets how many identifiers of `namespace` one profile may ever hold, `None` for any number.
    pub fn limit(mut self, namespace: impl Into<Namespace>, max: Option<u32>) -> Self {
        match max {
            Some(max) => self.limits.insert(namespace.into(), Limit { max, per: Period::Ever }),
            None => self.limits.remove(&namespace.into()),
        };
        self
    }

    /// Sets how many identifiers of `namespace` one profile may gain in any one day, week, month or year, in place of
    /// any other limit on that namespace.
    ///
    /// An identifier counts in the period of the earliest event that bears it.
    ///
    /// ```
    /// use customerdb::{Namespace, Period, Rules};
    ///
    /// let rules = Rules::default().limit_per(Namespace::EMAIL, 2, Period::Week);
    /// assert_eq!(rules.max(&Namespace::EMAIL), Some(2));
    /// assert_eq!(rules.period(&Namespace::EMAIL), Period::Week);
    /// ```
    pub fn limit_per(mut self, namespace: impl Into<Namespace>, max: u32, per: Period) -> Self {
        self.limits.insert(namespace.into(), Limit { max, per });
        self
    }

    /// Sets that a profile which holds an identifier of `from` may hold at most `max` of `to`; in place of an earlier
    /// limit of the same pair in the same direction, `None` to lift it. One that holds more of `to` when its first `from`
    /// comes keeps them, and no more join.
    ///
    /// One e-mail address for at most one user, while a user may have any number of addresses:
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Namespace, Rules};
    ///
    /// let rules = Rules::unlimited().pair(Namespace::EMAIL, Namespace::USER_ID, Some(1));
    /// let cdp = Cdp::builder().rules(rules).in_memory()?;
    /// cdp.ingest([
    ///     Event::identify().user_id("u1").with_trait("email", "x@example.com"),
    ///     Event::identify().user_id("u1").with_trait("email", "y@example.com"),
    ///     Event::identify().user_id("u2").with_trait("email", "x@example.com"),
    /// ])?;
    /// assert_eq!(cdp.profiles()?.len(), 2);
    /// assert_eq!(cdp.profile("user_id:u1")?.unwrap().identifiers.len(), 3);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn pair(mut self, from: impl Into<Namespace>, to: impl Into<Namespace>, max: Option<u32>) -> Self {
        let (from, to) = (from.into(), to.into());
        self.pairs.retain(|pair| (&pair.from, &pair.to) != (&from, &to));
        self.pairs.extend(max.map(|max| PairLimit { from, to, max }));
        self
    }

    /// Sets whose the anonymous events of a device are that several users share.
    pub fn shared_device(mut self, policy: SharedDevice) -> Self {
        self.shared_device = policy;
        self
    }

    /// Sets how many identifiers one profile may hold in all, `None` for any number.
    pub fn total(mut self, max: Option<u32>) -> Self {
        self.total = max;
        self
    }

    /// Sets the order of namespaces, strongest first. Those left out follow in their built-in order.
    pub fn order<N: Into<Namespace>>(mut self, strongest_first: impl IntoIterator<Item = N>) -> Self {
        self.order = strongest_first.into_iter().map(Into::into).collect();
        self
    }

    /// Blocks one value of `namespace` (`"*"` for every namespace), whatever its case.
    pub fn block(mut self, namespace: impl Into<Namespace>, value: impl AsRef<str>) -> Self {
        let value = Blocked::Value(folded(value.as_ref()).into_owned());
        self.blocked.entry(namespace.into()).or_default().push(value);
        self
    }

    /// Blocks the values of `namespace` (`"*"` for every namespace) that the regular expression finds a match in.
    ///
    /// # Errors
    ///
    /// The pattern is not a regular expression.
    pub fn block_pattern(
        mut self,
        namespace: impl Into<Namespace>,
        pattern: &str,
    ) -> Result<Self, DefinitionError> {
        let pattern = compile("pattern", pattern)?;
        self.blocked.entry(namespace.into()).or_default().push(pattern);
        Ok(self)
    }

    /// Reads identifiers of `namespace` from one more member of events, given as a dotted path
    /// (`properties.email`).
    pub fn member(mut self, path: impl Into<String>, namespace: impl Into<Namespace>) -> Self {
        self.members.push(Member { path: path.into(), namespace: namespace.into() });
        self
    }

    /// Sets the region (two letters of ISO 3166-1) whose phone numbers may come without a country code.
    ///
    /// # Errors
    ///
    /// The region is unknown, or the crate was built without the feature `phonenumber`.
    pub fn default_region(mut self, region: &str) -> Result<Self, DefinitionError> {
        check_region(region).map_err(|reason| DefinitionError::new("default_region", reason))?;
        self.default_region = Some(region.to_owned());
        Ok(self)
    }

    /// How many identifiers of `namespace` one profile may hold, `None` for any number.
    pub fn max(&self, namespace: &Namespace) -> Option<u32> {
        self.limits.get(namespace).map(|limit| limit.max)
    }

    /// The period that the limit of `namespace` is for.
    pub fn period(&self, namespace: &Namespace) -> Period {
        self.limits.get(namespace).map_or(Period::Ever, |limit| limit.per)
    }

    /// Whose the anonymous events of a shared device are.
    pub fn shared_device_policy(&self) -> SharedDevice {
        self.shared_device
    }

    pub(crate) fn limit_of(&self, namespace: &Namespace) -> Option<Limit> {
        self.limits.get(namespace).copied()
    }

    pub(crate) fn pairs(&self) -> &[PairLimit] {
        &self.pairs
    }

    /// Whether any limit is for a period other than ever.
    pub(crate) fn has_periods(&self) -> bool {
        self.limits.values().any(|limit| limit.per != Period::Ever)
    }

    /// How many identifiers one profile may hold in all, `None` for any number.
    pub fn max_total(&self) -> Option<u32> {
        self.total
    }

    pub(crate) fn region(&self) -> Option<&str> {
        self.default_region.as_deref()
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The place of `namespace` in the order, the strongest first. Namespaces that nobody ordered stand where
    /// `external:<type>` stands.
    pub(crate) fn rank(&self, namespace: &Namespace) -> usize {
        let external = || Namespace::new("external");
        let place = |list: &[Namespace], name: &Namespace| list.iter().position(|other| other == name);
        if let Some(place) = place(&self.order, namespace) {
            return place;
        }
        let is_external = namespace.as_str().starts_with(EXTERNAL);
        if let Some(place) = is_external.then(|| place(&self.order, &external())).flatten() {
            return place;
        }
        let strong = Namespace::BUILT_IN.len() - 3;
        self.order.len()
            + match place(&Namespace::BUILT_IN, namespace) {
                Some(place) if place < strong => place,
                Some(place) => place + 1,
                None => strong,
            }
    }

    /// The value of an identifier as these rules spell it, or why it cannot be one.
    pub(crate) fn normalised(&self, identifier: &Identifier) -> Result<String, String> {
        let (namespace, value) = (identifier.namespace(), identifier.value());
        let normal = normalise(namespace, value, self.region());
        if self.blocks(namespace, value, normal.as_deref().ok()) {
            return Err("the value is blocked: it stands for nobody".to_owned());
        }
        normal.map(Cow::into_owned).map_err(|reason| format!("{reason}: {:?}", mask(value)))
    }

    /// Whether these rules, or the values that always stand for nobody, block a value of `namespace`: in the
    /// spelling that came, or in the normalised one.
    pub(crate) fn blocks(&self, namespace: &Namespace, raw: &str, normalised: Option<&str>) -> bool {
        let folded_raw = folded(raw);
        if stands_for_nobody(&folded_raw) {
            return true;
        }
        let folded_normal = normalised.filter(|normalised| *normalised != raw).map(folded);
        if folded_normal.as_deref().is_some_and(stands_for_nobody) {
            return true;
        }
        if self.blocked.is_empty() {
            return false;
        }
        let listed = |namespace: &Namespace| {
            self.blocked.get(namespace).into_iter().flatten().any(|blocked| match blocked {
                Blocked::Value(value) => *value == folded_raw || folded_normal.as_deref() == Some(value),
                Blocked::Pattern(pattern) => {
                    pattern.is_match(raw.trim()) || normalised.is_some_and(|value| pattern.is_match(value))
                }
            })
        };
        listed(namespace) || listed(&Namespace::new(EVERY_NAMESPACE))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_default_order_is_that_of_the_contract() {
        let rules = Rules::default();
        let names = [
            "user_id",
            "email",
            "phone",
            "openid",
            "unionid",
            "external:crm",
            "advertising_id",
            "device_id",
            "anonymous_id",
        ];
        let ranks: Vec<_> = names.iter().map(|name| rules.rank(&Namespace::new(*name))).collect();
        assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "{ranks:?}");
        assert_eq!(rules.rank(&Namespace::new("loyalty_card")), rules.rank(&Namespace::external("crm")));

        let rules = rules.order(["anonymous_id", "external", "email"]);
        let rank = |name: &str| rules.rank(&Namespace::new(name));
        assert_eq!((rank("anonymous_id"), rank("external:crm"), rank("email")), (0, 1, 2));
        assert!(rank("email") < rank("user_id") && rank("user_id") < rank("phone"));
    }

    #[test]
    fn changes_keep_what_they_do_not_name() {
        let rules = Rules::default()
            .changed(&json!({"limits": {"email": {"max": null}, "loyalty_card": {"max": 2, "per": "ever"}}}))
            .unwrap();
        assert_eq!(rules.max(&Namespace::USER_ID), Some(1));
        assert_eq!(rules.max(&Namespace::EMAIL), None);
        assert_eq!(rules.max(&Namespace::new("loyalty_card")), Some(2));
        assert_eq!(rules.max_total(), Some(1_000));
        assert_eq!(rules.changed(&json!({"total": null})).unwrap().max_total(), None);
        assert_eq!(rules.changed(&json!({})).unwrap(), rules);
    }

    #[test]
    fn rules_survive_json() {
        let rules = Rules::default()
            .order(["phone", "email"])
            .limit("phone", None)
            .limit_per("email", 3, Period::Month)
            .pair("email", "user_id", Some(1))
            .pair("user_id", "email", Some(7))
            .shared_device(SharedDevice::Last)
            .total(None)
            .block("email", "Shop@example.com")
            .block("*", "nobody")
            .member("properties.card", "loyalty_card")
            .block_pattern("email", "^test")
            .unwrap();
        assert_eq!(Rules::unlimited().changed(&rules.to_json()).unwrap(), rules);
    }

    #[test]
    fn blocked_values_and_patterns_apply_to_both_spellings() {
        let rules = Rules::default().block("email", "Shop@example.com").block("*", "nobody");
        let rules = rules.block_pattern("email", "^test.*@example").unwrap();
        assert!(rules.blocks(&Namespace::EMAIL, " SHOP@EXAMPLE.COM", Some("shop@example.com")));
        assert!(rules.blocks(&Namespace::EMAIL, "TEST7@example.com", Some("test7@example.com")));
        assert!(rules.blocks(&Namespace::USER_ID, "'Nobody'", None));
        assert!(!rules.blocks(&Namespace::USER_ID, "test7@example.com", None));
        assert!(rules.blocks(&Namespace::USER_ID, "null", None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_path() {
        for (changes, message) in [
            (json!([]), "expected an object, found an array"),
            (json!({"limit": {}}), "unknown member \"limit\", expected one of order, limits, total"),
            (json!({"limits": {"email": 5}}), "limits.email: expected an object, found a number"),
            (json!({"limits": {"email": {"max": 0}}}), "limits.email.max: expected a whole number from 1 on"),
            (json!({"limits": {"email": {"per": "ever"}}}), "limits.email: max is missing"),
            (
                json!({"limits": {"email": {"max": 1, "per": "eon"}}}),
                "limits.email.per: unknown period \"eon\"",
            ),
            (json!({"limits": {"email": {"max": 1, "pre": 1}}}), "limits.email: unknown member \"pre\""),
            (json!({"total": -1}), "total: expected a whole number"),
            (json!({"order": ["email", "email"]}), "order[1]: email is listed twice"),
            (json!({"blocked": {"email": [{"regex": "("}]}}), "blocked.email[0].regex: not a pattern"),
            (json!({"blocked": {"email": [1]}}), "blocked.email[0]: expected a string or"),
            (json!({"members": [{"path": "a"}]}), "members[0]: namespace is missing"),
            (
                json!({"members": [{"path": "a", "namespace": "a:b"}]}),
                "members[0].namespace: a namespace must",
            ),
            (
                json!({"shared_device": "second"}),
                "shared_device: expected first, last or none, found \"second\"",
            ),
            (json!({"shared_device": 2}), "shared_device: expected a string, found a number"),
            (json!({"pairs": {}}), "pairs: expected an array, found an object"),
            (json!({"pairs": [{"from": "email", "max": 1}]}), "pairs[0]: to is missing"),
            (json!({"pairs": [{"from": "email", "to": "user_id"}]}), "pairs[0]: max is missing"),
            (
                json!({"pairs": [{"from": "email", "to": "user_id", "max": 0}]}),
                "pairs[0].max: expected a whole",
            ),
            (json!({"pairs": [{"from": "", "to": "user_id", "max": 1}]}), "pairs[0].from: a namespace must"),
            (
                json!({"pairs": [{"form": "email"}]}),
                "pairs[0]: unknown member \"form\", expected one of from",
            ),
            (
                json!({"pairs": [
                    {"from": "email", "to": "user_id", "max": 1}, {"from": "email", "to": "user_id", "max": 2}
                ]}),
                "pairs[1]: the pair email to user_id is limited twice",
            ),
        ] {
            let error = Rules::default().changed(&changes).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
