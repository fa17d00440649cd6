//! What questions look into: the properties and the context of an event, read from its JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::Event;
use crate::value::{Object, Value};

/// Whether it is the name of pages or of screens, whose own `name` and `category` are properties too.
pub(crate) fn is_paged(name: &str) -> bool {
    name == "$page" || name == "$screen"
}

/// The members of an event that a question may look into; all else is passed over.
#[derive(Deserialize)]
struct Outer<'j> {
    #[serde(borrow, default)]
    properties: Option<&'j RawValue>,
    #[serde(borrow, default)]
    context: Option<&'j RawValue>,
    #[serde(borrow, default)]
    name: Option<Cow<'j, str>>,
    #[serde(borrow, default)]
    category: Option<Cow<'j, str>>,
}

/// The properties of an event as conditions see them, and if wanted its context.
pub(crate) fn contents(json: &str, paged: bool, wants_context: bool) -> (Object, Object) {
    let object = |raw: Option<&RawValue>| match raw {
        Some(raw) => serde_json::from_str::<Option<Object>>(raw.get()).map(Option::unwrap_or_default),
        None => Ok(Object::new()),
    };
    let quick = || -> serde_json::Result<(Object, Object)> {
        let members: Outer<'_> = serde_json::from_str(json)?;
        let mut properties = object(members.properties)?;
        if paged {
            for (name, text) in [("name", members.name), ("category", members.category)] {
                if let Some(text) = text
                    && !properties.contains_key(name)
                {
                    properties.insert(name.to_owned(), Value::from(text));
                }
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
