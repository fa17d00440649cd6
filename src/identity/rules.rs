//! What may be joined: the rules of identity, their JSON form, and its checks.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde_json::json;

use super::normalise::{check_region, folded, stands_for_nobody};
use crate::error::DefinitionError;
use crate::id::{EXTERNAL, Namespace};
use crate::value::{Object, Value, kind_of};

/// The rules of identity resolution.
///
/// Defaults: `user_id` at most one in a profile, `email` and `phone` at most five each, others unlimited, and at
/// most 1,000 identifiers in all. Changing the rules of a database replays all its events.
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
    limits: BTreeMap<Namespace, u32>,
    total: Option<u32>,
    blocked: BTreeMap<Namespace, Vec<Blocked>>,
    members: Vec<Member>,
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
            limits: BTreeMap::from([(Namespace::USER_ID, 1), (Namespace::EMAIL, 5), (Namespace::PHONE, 5)]),
            total: Some(1_000),
            blocked: BTreeMap::new(),
            members: Vec::new(),
            default_region: None,
        }
    }
}

impl Rules {
    /// Rules without any limit: whatever bears a common identifier is one person.
    pub fn unlimited() -> Self {
        Self { limits: BTreeMap::new(), total: None, ..Self::default() }
    }

    /// Sets how many identifiers of `namespace` one profile may hold, `None` for any number.
    pub fn limit(mut self, namespace: impl Into<Namespace>, max: Option<u32>) -> Self {
        match max {
            Some(max) => self.limits.insert(namespace.into(), max),
            None => self.limits.remove(&namespace.into()),
        };
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
        let value = Blocked::Value(folded(value.as_ref()));
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
        self.limits.get(namespace).copied()
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
                Blocked::Value(value) => *value == folded_raw || folded_normal.as_ref() == Some(value),
                Blocked::Pattern(pattern) => {
                    pattern.is_match(raw.trim()) || normalised.is_some_and(|value| pattern.is_match(value))
                }
            })
        };
        listed(namespace) || listed(&Namespace::new(EVERY_NAMESPACE))
    }

    /// These rules with the members of `changes` in place of their own; members left out keep their values.
    ///
    /// Within `limits` and `blocked` each namespace is a member of its own; `"max": null` and `"total": null`
    /// lift a limit.
    ///
    /// # Errors
    ///
    /// An unknown member, a wrong type or a pattern that is no regular expression, with its path.
    pub fn changed(&self, changes: &Value) -> Result<Self, DefinitionError> {
        let mut rules = self.clone();
        for (name, value) in object("", changes)? {
            match name.as_str() {
                "order" => rules.order = read_order(value)?,
                "limits" => rules.read_limits(value)?,
                "total" => rules.total = read_max("total", value)?,
                "blocked" => rules.read_blocked(value)?,
                "members" => rules.members = read_members(value)?,
                "default_region" if value.is_null() => rules.default_region = None,
                "default_region" => rules = rules.default_region(string("default_region", value)?)?,
                "pairs" if value.as_array().is_some_and(Vec::is_empty) => {}
                "shared_device" if value == "first" => {}
                "pairs" | "shared_device" => return Err(DefinitionError::new(name, "not supported yet")),
                _ => {
                    return Err(unknown("", name, "order, limits, total, blocked, members, default_region"));
                }
            }
        }
        Ok(rules)
    }

    /// These rules as they are when they have been written and read again, which is how a file keeps them.
    ///
    /// # Errors
    ///
    /// What could not be read again, which builders do not refuse: a limit of 0, a namespace that is empty.
    pub(crate) fn checked(self) -> Result<Self, DefinitionError> {
        Self::unlimited().changed(&self.to_json())
    }

    fn read_limits(&mut self, value: &Value) -> Result<(), DefinitionError> {
        for (namespace, limit) in object("limits", value)? {
            let path = format!("limits.{namespace}");
            let mut max = None;
            for (name, value) in object(&path, limit)? {
                let path = format!("{path}.{name}");
                match name.as_str() {
                    "max" => max = Some(read_max(&path, value)?),
                    "per" => match string(&path, value)? {
                        "ever" => {}
                        "day" | "week" | "month" | "year" => {
                            return Err(DefinitionError::new(path, "not supported yet, only \"ever\" is"));
                        }
                        other => {
                            let reason =
                                format!("unknown period {other:?}, expected ever, day, week, month or year");
                            return Err(DefinitionError::new(path, reason));
                        }
                    },
                    _ => return Err(unknown(path.rsplit_once('.').map_or("", |p| p.0), name, "max, per")),
                }
            }
            match max {
                Some(Some(max)) => self.limits.insert(Namespace::new(namespace), max),
                Some(None) => self.limits.remove(&Namespace::new(namespace)),
                None => return Err(DefinitionError::new(path, "max is missing")),
            };
        }
        Ok(())
    }

    fn read_blocked(&mut self, value: &Value) -> Result<(), DefinitionError> {
        for (namespace, values) in object("blocked", value)? {
            let path = format!("blocked.{namespace}");
            let mut list = Vec::new();
            for (index, value) in array(&path, values)?.iter().enumerate() {
                let path = format!("{path}[{index}]");
                list.push(match value {
                    Value::String(value) => Blocked::Value(folded(value)),
                    Value::Object(pattern) if pattern.len() == 1 && pattern.contains_key("regex") => {
                        let path = format!("{path}.regex");
                        let text = string(&path, &pattern["regex"])?;
                        compile(&path, text)?
                    }
                    _ => return Err(DefinitionError::new(path, "expected a string or {\"regex\": \"…\"}")),
                });
            }
            if list.is_empty() {
                self.blocked.remove(&Namespace::new(namespace));
            } else {
                self.blocked.insert(Namespace::new(namespace), list);
            }
        }
        Ok(())
    }

    /// The rules as JSON: what [`changed`](Self::changed), called on [`unlimited`](Self::unlimited) rules, makes
    /// them of again.
    pub fn to_json(&self) -> Value {
        let limits: Object = self
            .limits
            .iter()
            .map(|(name, max)| (name.to_string(), json!({"max": max, "per": "ever"})))
            .collect();
        let blocked: Object = self
            .blocked
            .iter()
            .map(|(name, list)| {
                let list = list.iter().map(|blocked| match blocked {
                    Blocked::Value(value) => json!(value),
                    Blocked::Pattern(pattern) => json!({"regex": pattern.as_str()}),
                });
                (name.to_string(), list.collect())
            })
            .collect();
        let members: Vec<Value> =
            self.members.iter().map(|m| json!({"path": m.path, "namespace": m.namespace})).collect();
        json!({
            "order": self.order, "limits": limits, "total": self.total, "blocked": blocked,
            "members": members, "default_region": self.default_region,
        })
    }
}

fn read_order(value: &Value) -> Result<Vec<Namespace>, DefinitionError> {
    let mut order: Vec<Namespace> = Vec::new();
    for (index, value) in array("order", value)?.iter().enumerate() {
        let path = format!("order[{index}]");
        let namespace = Namespace::new(string(&path, value)?);
        // As SEMANTICS writes it, and as one would: both mean every external namespace.
        let namespace = match namespace.as_str() {
            "external:<type>" | "external:*" => Namespace::new("external"),
            _ => namespace,
        };
        if order.contains(&namespace) {
            return Err(DefinitionError::new(path, format!("{namespace} is listed twice")));
        }
        order.push(namespace);
    }
    Ok(order)
}

fn read_members(value: &Value) -> Result<Vec<Member>, DefinitionError> {
    let mut members = Vec::new();
    for (index, value) in array("members", value)?.iter().enumerate() {
        let path = format!("members[{index}]");
        let member = object(&path, value)?;
        if let Some(name) = member.keys().find(|name| !["path", "namespace"].contains(&name.as_str())) {
            return Err(unknown(&path, name, "path, namespace"));
        }
        let part = |name: &str| match member.get(name) {
            Some(value) => string(&format!("{path}.{name}"), value),
            None => Err(DefinitionError::new(&path, format!("{name} is missing"))),
        };
        let namespace = part("namespace")?;
        let colon = namespace.strip_prefix(EXTERNAL).unwrap_or(namespace).contains(':');
        if namespace.is_empty() || colon || ["external", EXTERNAL].contains(&namespace) {
            let reason = "a namespace must not be empty, \"external\", or contain a colon";
            return Err(DefinitionError::new(format!("{path}.namespace"), reason));
        }
        members.push(Member { path: part("path")?.to_owned(), namespace: Namespace::new(namespace) });
    }
    Ok(members)
}

/// The most memory that a compiled pattern may take, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

fn compile(path: &str, pattern: &str) -> Result<Blocked, DefinitionError> {
    let regex = regex::RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build();
    regex.map(Blocked::Pattern).map_err(|error| DefinitionError::new(path, format!("not a pattern: {error}")))
}

fn unknown(path: &str, name: &str, expected: &str) -> DefinitionError {
    DefinitionError::new(path, format!("unknown member {name:?}, expected one of {expected}"))
}

fn object<'v>(path: &str, value: &'v Value) -> Result<&'v Object, DefinitionError> {
    value.as_object().ok_or_else(|| expected(path, "an object", value))
}

fn array<'v>(path: &str, value: &'v Value) -> Result<&'v Vec<Value>, DefinitionError> {
    value.as_array().ok_or_else(|| expected(path, "an array", value))
}

fn string<'v>(path: &str, value: &'v Value) -> Result<&'v str, DefinitionError> {
    value.as_str().ok_or_else(|| expected(path, "a string", value))
}

fn read_max(path: &str, value: &Value) -> Result<Option<u32>, DefinitionError> {
    if value.is_null() {
        return Ok(None);
    }
    match value.as_u64().and_then(|max| u32::try_from(max).ok()) {
        Some(max) if max > 0 => Ok(Some(max)),
        _ => Err(DefinitionError::new(
            path,
            format!("expected a whole number from 1 on, or null, found {value}"),
        )),
    }
}

fn expected(path: &str, what: &str, found: &Value) -> DefinitionError {
    DefinitionError::new(path, format!("expected {what}, found {}", kind_of(found)))
}

#[cfg(test)]
mod tests {
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
            (json!({"shared_device": "last"}), "shared_device: not supported yet"),
        ] {
            let error = Rules::default().changed(&changes).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
