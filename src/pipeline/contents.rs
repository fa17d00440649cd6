//! What questions look into: the properties and the context of an event, read from its JSON.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::event::Event;
use crate::store::ReadMembers;
use crate::value::{Members as _, Object, Value, pick};

/// By the numbers of names, whether `holds` is true of them.
pub(super) fn by_number(names: &[(u32, String)], holds: impl Fn(&str) -> bool) -> Vec<bool> {
    let most = names.iter().map(|(number, _)| *number as usize + 1).max().unwrap_or(0);
    let mut flags = vec![false; most];
    for (number, name) in names {
        flags[*number as usize] = holds(name);
    }
    flags
}

/// The members of an event that a question may look into; all else is passed over.
#[derive(serde::Deserialize)]
struct Outer<'j> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'j, str>>,
    #[serde(borrow, default)]
    properties: Option<&'j RawValue>,
    #[serde(borrow, default)]
    context: Option<&'j RawValue>,
    #[serde(borrow, default)]
    name: Option<Cow<'j, str>>,
    #[serde(borrow, default)]
    category: Option<Cow<'j, str>>,
}

impl Outer<'_> {
    /// What a page or a screen has beside its properties that is seen as one of them. A track may have their names.
    fn beside(&mut self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> + use<'_> {
        let is_paged = matches!(self.kind.as_deref(), Some("page" | "screen"));
        let both = [("name", self.name.take()), ("category", self.category.take())];
        both.into_iter().filter(move |_| is_paged).filter_map(|(name, text)| Some((name, text?)))
    }
}

/// The members of properties and of the context that somebody asks for.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    pub(crate) properties: Vec<String>,
    pub(crate) context: Vec<String>,
}

impl Wants {
    /// What the store knows the members by, first those of the properties.
    pub(crate) fn texts(&self) -> Vec<String> {
        let properties = self.properties.iter().map(|name| format!("properties.{name}"));
        properties.chain(self.context.iter().map(|name| format!("context.{name}"))).collect()
    }
}

impl ReadMembers for Wants {
    fn read<'j>(&self, json: &'j str, out: &mut [Option<Cow<'j, str>>]) {
        let simple = || self.properties.iter().chain(&self.context).all(|name| name.is_ascii());
        if simple() && self.read_quickly(json, out).is_ok() {
            return;
        }
        let (properties, context) = contents(json, !self.context.is_empty());
        let own = self.properties.iter().map(|name| (&properties).member(name));
        let found = own.chain(self.context.iter().map(|name| (&context).member(name)));
        for (place, value) in out.iter_mut().zip(found) {
            *place = value.map(|value| Cow::Owned(value.to_string()));
        }
    }
}

impl Wants {
    fn read_quickly<'j>(&self, json: &'j str, out: &mut [Option<Cow<'j, str>>]) -> serde_json::Result<()> {
        let mut members: Outer<'_> = serde_json::from_str(json)?;
        let (properties, context) = out.split_at_mut(self.properties.len().min(out.len()));
        for (raw, names, out) in
            [(members.properties, &self.properties, properties), (members.context, &self.context, context)]
        {
            if let Some(raw) = raw.filter(|raw| !names.is_empty() && raw.get() != "null") {
                pick(raw.get(), names, |place, text| out[place] = Some(Cow::Borrowed(text)))?;
            }
        }
        for (name, text) in members.beside() {
            let place = self.properties.iter().position(|wanted| wanted == name);
            if let Some(place) = place.filter(|place| out[*place].is_none()) {
                out[place] = Some(Cow::Owned(Value::from(text).to_string()));
            }
        }
        Ok(())
    }
}

/// The properties of an event as conditions see them, and if wanted its context.
pub(crate) fn contents(json: &str, wants_context: bool) -> (Object, Object) {
    let object = |raw: Option<&RawValue>| match raw {
        Some(raw) => serde_json::from_str::<Option<Object>>(raw.get()).map(Option::unwrap_or_default),
        None => Ok(Object::new()),
    };
    let quick = || -> serde_json::Result<(Object, Object)> {
        let mut members: Outer<'_> = serde_json::from_str(json)?;
        let mut properties = object(members.properties)?;
        for (name, text) in members.beside() {
            if !properties.contains_key(name) {
                properties.insert(name.to_owned(), Value::from(text));
            }
        }
        Ok((properties, if wants_context { object(members.context)? } else { Object::new() }))
    };
    // What is written in an unusual way, a name that is a number say, is read as it was when it was taken in.
    quick().unwrap_or_else(|_| {
        Event::from_json(json).map_or_else(
            |_| (Object::new(), Object::new()),
            |event| (event.visible_properties().into_owned(), event.whole_context().clone()),
        )
    })
}
