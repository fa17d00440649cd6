//! What can be read of a text that is no event as it stands.

use serde_json::Value;

use super::write::Member;
use super::{Event, EventKind};

impl Event {
    /// The members of a refused text that may bear identifiers, those that can be read, as an event that is not to be
    /// kept. `None` if it is no JSON object.
    pub(crate) fn salvage(text: &[u8]) -> Option<Self> {
        const BEARERS: [Member; 7] = [
            Member::UserId,
            Member::AnonymousId,
            Member::PreviousId,
            Member::GroupId,
            Member::Properties,
            Member::Traits,
            Member::Context,
        ];
        let Value::Object(mut members) = serde_json::from_slice(text).ok()? else { return None };
        let known = members.get("type").and_then(Value::as_str);
        let known = known.and_then(EventKind::named);
        let mut event = Self::blank(known.unwrap_or(EventKind::Identify));
        for member in BEARERS {
            if let Some(value) = members.remove(member.name()) {
                // What is of another type than the spec's bears nothing that could be found.
                let _ = event.assign(member, value);
            }
        }
        event.other = members;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bears_identifiers_is_read_and_the_rest_is_passed_over() {
        let text = br#"{"type":"dance","userId":7,"anonymousId":[],"traits":{"email":"a@b.example"},"timestamp":"noon","card":"c1"}"#;
        assert!(Event::from_json(std::str::from_utf8(text).unwrap()).is_err());
        let event = Event::salvage(text).unwrap();
        assert_eq!((event.ids().user_id, event.ids().anonymous_id), (Some("7"), None));
        assert_eq!(event.traits()["email"], "a@b.example");
        assert_eq!(event.lookup("card").unwrap().as_str(), Some("c1"));
        for none in ["no event", "[1]", "7", "{\"userId\":"] {
            assert!(Event::salvage(none.as_bytes()).is_none(), "{none}");
        }
    }
}
