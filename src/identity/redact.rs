//! Taking identifiers out of events: of what is somebody else's event, the members that bear what is to be forgotten.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::extract::TRAITS;
use super::normalise::normalise;
use super::rules::Rules;
use crate::event::{Event, as_id};
use crate::id::{Identifier, Namespace};
use crate::value::{Object, descend, write_text};

/// A member of an event that bears an identifier.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    at: At,
    /// What it bears, as rules spell it: a `previousId` may be a `user_id` or an `anonymous_id`.
    pub(crate) bears: Vec<Identifier>,
}

/// Where in an event.
#[derive(Debug, PartialEq, Eq)]
enum At {
    /// At a dotted path.
    Path(String),
    /// The element of `context.externalIds` of that number.
    ExternalId(usize),
}

/// Members without which an event is none: they are emptied, and not left out.
const REQUIRED: [&str; 2] = ["previousId", "groupId"];

/// Members that make an event what it is. No rule makes them an identifier that can be taken out.
const FIXED: [&str; 6] = ["type", "event", "messageId", "timestamp", "originalTimestamp", "receivedAt"];

/// All members of an event that bear an identifier, blocked or not.
pub(crate) fn places(event: &Event, rules: &Rules) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |at: At, namespaces: &[Namespace], raw: &str| {
        let normal = |namespace: &Namespace| {
            let value = normalise(namespace, raw, rules.region()).ok().filter(|value| !value.is_empty())?;
            Some(Identifier::new(namespace.clone(), value))
        };
        let bears: Vec<Identifier> = namespaces.iter().filter_map(normal).collect();
        if !bears.is_empty() {
            places.push(Place { at, bears });
        }
    };
    let path = |path: &str| At::Path(path.to_owned());
    let ids = event.ids();
    let either = [Namespace::USER_ID, Namespace::ANONYMOUS_ID];
    for (name, id, namespaces) in [
        ("userId", ids.user_id, &either[..1]),
        ("anonymousId", ids.anonymous_id, &either[1..]),
        ("previousId", ids.previous_id, &either[..]),
    ] {
        if let Some(id) = id {
            add(path(name), namespaces, id);
        }
    }
    // A group's traits too: they are no identifiers of a person, and may spell one all the same.
    let of = |traits: Option<&Object>, prefix: &str, add: &mut dyn FnMut(At, &[Namespace], &str)| {
        for (name, namespace) in &TRAITS {
            if let Some(id) = traits.and_then(|traits| traits.get(*name)).and_then(as_id) {
                add(At::Path(format!("{prefix}.{name}")), std::slice::from_ref(namespace), &id);
            }
        }
    };
    of(Some(event.traits()), "traits", &mut add);
    of(event.context_traits(), "context.traits", &mut add);
    let entries = event.whole_context().get("externalIds").and_then(|entries| entries.as_array());
    for (number, entry) in entries.into_iter().flatten().enumerate() {
        let kind = entry.get("type").and_then(|kind| kind.as_str());
        if let (Some(kind), Some(id)) = (kind, entry.get("id").and_then(as_id)) {
            add(At::ExternalId(number), &[Namespace::external(kind)], &id);
        }
    }
    for (name, namespace) in [("id", Namespace::DEVICE_ID), ("advertisingId", Namespace::ADVERTISING_ID)] {
        let name = format!("device.{name}");
        if let Some(id) = descend(event.whole_context(), &name).and_then(as_id) {
            add(At::Path(format!("context.{name}")), &[namespace], &id);
        }
    }
    for member in rules.members().iter().filter(|member| !FIXED.contains(&member.path.as_str())) {
        if let Some(id) = event.lookup(&member.path).as_deref().and_then(as_id) {
            add(path(&member.path), std::slice::from_ref(&member.namespace), &id);
        }
    }
    places
}

/// The JSON of an event without some of its [`places`]. Everything else stays to the letter, but for white space
/// between the members on the way.
pub(crate) fn take_out(json: &str, places: &[&Place]) -> serde_json::Result<String> {
    let mut text = json.to_owned();
    let external: Vec<usize> = places.iter().filter_map(|place| place.at.external_id()).collect();
    if !external.is_empty() {
        text = at_path(&text, "context.externalIds", &|ids| without_elements(ids, &external).map(Some))?;
    }
    for place in places {
        if let At::Path(path) = &place.at {
            let empty = REQUIRED.contains(&path.as_str()).then(|| "\"\"".to_owned());
            text = at_path(&text, path, &|_| Ok(empty.clone()))?;
        }
    }
    Ok(text)
}

impl At {
    fn external_id(&self) -> Option<usize> {
        match self {
            Self::ExternalId(number) => Some(*number),
            Self::Path(_) => None,
        }
    }
}

/// An array without the elements of some numbers.
fn without_elements(array: &str, gone: &[usize]) -> serde_json::Result<String> {
    let elements: Vec<&RawValue> = serde_json::from_str(array)?;
    let kept = elements.iter().enumerate().filter(|(number, _)| !gone.contains(number));
    let kept: Vec<&str> = kept.map(|(_, element)| element.get()).collect();
    Ok(format!("[{}]", kept.join(",")))
}

/// An object with the member at a dotted path made into something else, or left out. As where paths are followed, a
/// member whose own name has dots goes before the path that it spells. What is no object has no members.
fn at_path(
    object: &str,
    path: &str,
    change: &dyn Fn(&str) -> serde_json::Result<Option<String>>,
) -> serde_json::Result<String> {
    let Ok(Members(members)) = serde_json::from_str(object) else { return Ok(object.to_owned()) };
    let whole = members.iter().any(|(name, _)| name == path);
    let (own, rest) = match path.split_once('.') {
        Some((own, rest)) if !whole => (own, Some(rest)),
        _ => (path, None),
    };
    let mut out = String::with_capacity(object.len());
    for (name, value) in members {
        let value = match rest {
            _ if name != own => Some(value.get().to_owned()),
            None => change(value.get())?,
            Some(rest) => Some(at_path(value.get(), rest, change)?),
        };
        if let Some(value) = value {
            out.push(if out.is_empty() { '{' } else { ',' });
            write_text(&name, &mut out);
            out.push(':');
            out.push_str(&value);
        }
    }
    if out.is_empty() {
        out.push('{');
    }
    out.push('}');
    Ok(out)
}

/// The members of an object in their order, with values to the letter.
struct Members<'j>(Vec<(String, &'j RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"type":"identify", "userId":"u1","anonymousId":"a1","traits":{"email":"X@Example.com","n":1.10},
        "context":{"traits":{"phone":"+86 138 0000 0002"},"externalIds":[{"id":"7","type":"crm"},{"id":9,"type":"erp"}],
        "device":{"id":"d1","advertisingId":"AB-1"}},"properties":{"card":{"no":77,"x":123456789012345678901234567890}}}"#;

    fn rules() -> Rules {
        Rules::default().member("properties.card.no", "loyalty_card").member("event", "name")
    }

    #[test]
    fn every_member_that_bears_an_identifier_is_a_place() {
        let event = Event::from_json(FULL).unwrap();
        let found = places(&event, &rules());
        let told: Vec<String> =
            found.iter().flat_map(|place| &place.bears).map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "user_id:u1",
                "anonymous_id:a1",
                "email:x@example.com",
                "phone:+8613800000002",
                "external:crm:7",
                "external:erp:9",
                "device_id:d1",
                "advertising_id:ab-1",
                "loyalty_card:77",
            ]
        );
        // Without all of them nothing is left to find; everything else is.
        let bare = take_out(FULL, &found.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(
            bare,
            concat!(
                r#"{"type":"identify","traits":{"n":1.10},"context":{"traits":{},"externalIds":[],"device":{}},"#,
                r#""properties":{"card":{"x":123456789012345678901234567890}}}"#
            )
        );
        assert_eq!(places(&Event::from_json(&bare).unwrap(), &rules()), []);
        let one = take_out(FULL, &[&found[4]]).unwrap();
        assert!(
            one.contains(r#""externalIds":[{"id":9,"type":"erp"}]"#) && one.contains("X@Example.com"),
            "{one}"
        );
    }

    #[test]
    fn an_alias_keeps_an_empty_previous_id_and_twice_given_members_go_twice() {
        let alias = r#"{"type":"alias","userId":"b","previousId":"a"}"#;
        let event = Event::from_json(alias).unwrap();
        let found = places(&event, &Rules::default());
        assert_eq!(found[1].bears, [Identifier::new("user_id", "a"), Identifier::new("anonymous_id", "a")]);
        let bare = take_out(alias, &[&found[1]]).unwrap();
        assert_eq!(bare, r#"{"type":"alias","userId":"b","previousId":""}"#);
        assert!(Event::from_json(&bare).is_ok());

        let twice = r#"{"type":"page","userId":"secret","user\u0049d":"secret","anonymousId":"a"}"#;
        let found = places(&Event::from_json(twice).unwrap(), &Rules::default());
        assert_eq!(take_out(twice, &[&found[0]]).unwrap(), r#"{"type":"page","anonymousId":"a"}"#);
    }
}
