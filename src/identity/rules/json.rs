//! The rules as JSON: read, with the path of what makes no sense, and written.

use serde_json::json;

use super::limits::{Limit, PairLimit, Period, SharedDevice};
use super::{Blocked, Member, Rules};
use crate::error::DefinitionError;
use crate::id::{EXTERNAL, Namespace};
use crate::identity::normalise::folded;
use crate::value::{Object, Value, kind_of};

/// What rules have as members, for the error that names them.
const MEMBERS: &str = "order, limits, total, pairs, blocked, members, shared_device, default_region";

impl Rules {
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
                "pairs" => rules.pairs = read_pairs(value)?,
                "shared_device" => rules.shared_device = SharedDevice::read(string("shared_device", value)?)?,
                _ => return Err(unknown("", name, MEMBERS)),
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
            let (mut max, mut per) = (None, Period::Ever);
            for (name, value) in object(&path, limit)? {
                let path = format!("{path}.{name}");
                match name.as_str() {
                    "max" => max = Some(read_max(&path, value)?),
                    "per" => per = Period::read(&path, string(&path, value)?)?,
                    _ => return Err(unknown(path.rsplit_once('.').map_or("", |p| p.0), name, "max, per")),
                }
            }
            match max {
                Some(Some(max)) => self.limits.insert(Namespace::new(namespace), Limit { max, per }),
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
                    Value::String(value) => Blocked::Value(folded(value).into_owned()),
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
            .map(|(name, limit)| (name.to_string(), json!({"max": limit.max, "per": limit.per.as_str()})))
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
        let pairs: Vec<Value> =
            self.pairs.iter().map(|p| json!({"from": p.from, "to": p.to, "max": p.max})).collect();
        json!({
            "order": self.order, "limits": limits, "total": self.total, "pairs": pairs, "blocked": blocked,
            "members": members, "shared_device": self.shared_device.as_str(),
            "default_region": self.default_region,
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
        let namespace = read_namespace(&format!("{path}.namespace"), part("namespace")?)?;
        members.push(Member { path: part("path")?.to_owned(), namespace });
    }
    Ok(members)
}

/// One namespace, no group of them.
fn read_namespace(path: &str, name: &str) -> Result<Namespace, DefinitionError> {
    let colon = name.strip_prefix(EXTERNAL).unwrap_or(name).contains(':');
    if name.is_empty() || colon || ["external", EXTERNAL].contains(&name) {
        let reason = "a namespace must not be empty, \"external\", or contain a colon";
        return Err(DefinitionError::new(path, reason));
    }
    Ok(Namespace::new(name))
}

fn read_pairs(value: &Value) -> Result<Vec<PairLimit>, DefinitionError> {
    let mut pairs: Vec<PairLimit> = Vec::new();
    for (index, value) in array("pairs", value)?.iter().enumerate() {
        let path = format!("pairs[{index}]");
        let pair = object(&path, value)?;
        if let Some(name) = pair.keys().find(|name| !["from", "to", "max"].contains(&name.as_str())) {
            return Err(unknown(&path, name, "from, to, max"));
        }
        let part = |name: &str| {
            pair.get(name).ok_or_else(|| DefinitionError::new(&path, format!("{name} is missing")))
        };
        let namespace = |name: &str| {
            let path = format!("{path}.{name}");
            read_namespace(&path, string(&path, part(name)?)?)
        };
        let (from, to) = (namespace("from")?, namespace("to")?);
        let max = read_max(&format!("{path}.max"), part("max")?)?;
        if pairs.iter().any(|other| (&other.from, &other.to) == (&from, &to)) {
            return Err(DefinitionError::new(path, format!("the pair {from} to {to} is limited twice")));
        }
        // A limit of null is none, as elsewhere.
        pairs.extend(max.map(|max| PairLimit { from, to, max }));
    }
    Ok(pairs)
}

/// The most memory that a compiled pattern may take, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

pub(super) fn compile(path: &str, pattern: &str) -> Result<Blocked, DefinitionError> {
    let regex = regex::RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build();
    regex.map(Blocked::Pattern).map_err(|error| DefinitionError::new(path, format!("not a pattern: {error}")))
}

pub(crate) fn unknown(path: &str, name: &str, expected: &str) -> DefinitionError {
    DefinitionError::new(path, format!("unknown member {name:?}, expected one of {expected}"))
}

pub(crate) fn object<'v>(path: &str, value: &'v Value) -> Result<&'v Object, DefinitionError> {
    value.as_object().ok_or_else(|| expected(path, "an object", value))
}

pub(crate) fn array<'v>(path: &str, value: &'v Value) -> Result<&'v Vec<Value>, DefinitionError> {
    value.as_array().ok_or_else(|| expected(path, "an array", value))
}

pub(crate) fn string<'v>(path: &str, value: &'v Value) -> Result<&'v str, DefinitionError> {
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

pub(crate) fn expected(path: &str, what: &str, found: &Value) -> DefinitionError {
    DefinitionError::new(path, format!("expected {what}, found {}", kind_of(found)))
}
