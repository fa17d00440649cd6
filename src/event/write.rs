//! Events as JSON: the members of the spec, writing, and the canonical form.

use serde::{Serialize, Serializer};

use super::Event;
use crate::clock::Timestamp;
use crate::value::{Object, Value, nfc, write_canonical, write_canonical_object, write_text};

/// The members of the spec that mean something here, in the order in which they are checked and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Type,
    MessageId,
    Timestamp,
    OriginalTimestamp,
    SentAt,
    ReceivedAt,
    Event,
    Name,
    Category,
    UserId,
    AnonymousId,
    PreviousId,
    GroupId,
    Properties,
    Traits,
    Context,
}

pub(super) const MEMBERS: usize = 16;

impl Member {
    pub(super) const ALL: [Self; MEMBERS] = [
        Self::Type,
        Self::MessageId,
        Self::Timestamp,
        Self::OriginalTimestamp,
        Self::SentAt,
        Self::ReceivedAt,
        Self::Event,
        Self::Name,
        Self::Category,
        Self::UserId,
        Self::AnonymousId,
        Self::PreviousId,
        Self::GroupId,
        Self::Properties,
        Self::Traits,
        Self::Context,
    ];

    const NAMES: [&str; MEMBERS] = [
        "type",
        "messageId",
        "timestamp",
        "originalTimestamp",
        "sentAt",
        "receivedAt",
        "event",
        "name",
        "category",
        "userId",
        "anonymousId",
        "previousId",
        "groupId",
        "properties",
        "traits",
        "context",
    ];

    /// The member of that name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::NAMES.iter().position(|known| *known == name).map(|index| Self::ALL[index])
    }

    /// Its name in JSON.
    pub(super) const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// What stands for a member in the JSON form of an event.
pub(super) enum Part<'a> {
    Text(&'a str),
    Time(Timestamp),
    Object(&'a Object),
    Value(&'a Value),
}

impl<'a> Part<'a> {
    fn text(text: Option<&'a str>) -> Option<Self> {
        text.map(Self::Text)
    }

    fn object(object: &'a Object) -> Option<Self> {
        (!object.is_empty()).then_some(Self::Object(object))
    }

    pub(super) fn to_value(&self) -> Value {
        match *self {
            Self::Text(text) => Value::from(text),
            Self::Time(time) => Value::from(time.to_string()),
            Self::Object(object) => Value::Object(object.clone()),
            Self::Value(value) => value.clone(),
        }
    }

    fn write_canonical(&self, out: &mut String) {
        match *self {
            Self::Text(text) => write_text(&nfc(text), out),
            Self::Time(time) => write_text(&time.to_string(), out),
            Self::Object(object) => write_canonical_object(object, out),
            Self::Value(value) => write_canonical(value, out),
        }
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(time) => time.serialize(serializer),
            Self::Object(object) => object.serialize(serializer),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

impl Event {
    /// The event as JSON, on one line. [`from_json`](Self::from_json) reads it back as an equal event.
    ///
    /// Times are in UTC, and members that are empty objects are left out.
    pub fn to_json(&self) -> String {
        // Strings as names, and nothing that fails by itself: there is no error that this could have.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn known(&self, member: Member) -> Option<Part<'_>> {
        match member {
            Member::Type => Some(Part::Text(self.kind.as_str())),
            Member::MessageId => Part::text(self.ids().message_id),
            Member::Timestamp => self.times.timestamp.map(Part::Time),
            Member::OriginalTimestamp => self.times.original_timestamp.map(Part::Time),
            Member::SentAt => self.times.sent_at.map(Part::Time),
            Member::ReceivedAt => self.times.received_at.map(Part::Time),
            Member::Event => Part::text(self.text(self.track_name.as_ref())),
            Member::Name => Part::text(self.text(self.name.as_ref())),
            Member::Category => Part::text(self.text(self.category.as_ref())),
            Member::UserId => Part::text(self.ids().user_id),
            Member::AnonymousId => Part::text(self.ids().anonymous_id),
            Member::PreviousId => Part::text(self.ids().previous_id),
            Member::GroupId => Part::text(self.ids().group_id),
            Member::Properties => Part::object(self.properties()),
            Member::Traits => Part::object(&self.traits),
            Member::Context => Part::object(self.whole_context()),
        }
    }

    /// What stands under a name of the spec.
    pub(super) fn part(&self, name: &str) -> Option<Part<'_>> {
        self.known(Member::of(name)?)
    }

    fn parts(&self) -> impl Iterator<Item = (&str, Part<'_>)> {
        let known = Member::ALL.into_iter().filter_map(|member| Some((member.name(), self.known(member)?)));
        known.chain(self.other.iter().map(|(name, value)| (name.as_str(), Part::Value(value))))
    }

    /// The canonical JSON of all members but those named, in Unicode normal form C.
    pub(super) fn canonical_without(&self, left_out: &[&str]) -> String {
        let parts = self.parts().filter(|(name, _)| !left_out.contains(name));
        let mut parts: Vec<_> = parts.map(|(name, part)| (nfc(name), part)).collect();
        parts.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        let mut out = String::with_capacity(256);
        for (name, part) in &parts {
            out.push(if out.is_empty() { '{' } else { ',' });
            write_text(name, &mut out);
            out.push(':');
            part.write_canonical(&mut out);
        }
        out.push('}');
        out
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.parts())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::event::EventKind;
    use crate::event::text::Text;

    #[test]
    fn every_member_has_its_name() {
        for member in Member::ALL {
            assert!(Member::of(member.name()) == Some(member), "{}", member.name());
        }
        assert!(Member::of("integrations").is_none());
        assert_eq!(Member::Context as usize, MEMBERS - 1);
    }

    #[test]
    fn all_six_kinds_come_back_with_their_unknown_members_and_odd_text() {
        let odd = "\u{0}\u{1f}\u{7f}\"\\/é e\u{301} 张三丰 😀 \u{200d}\u{202e}\u{feff}\u{ffff}\u{2028}";
        for event in [
            Event::track(odd),
            Event::identify().with_trait("gone", Value::Null),
            Event::page().named(odd).category(""),
            Event::screen().named("").property("name", 1),
            Event::group(odd).with_trait(odd, odd),
            Event::alias(odd),
        ] {
            let event = event
                .user_id(odd)
                .anonymous_id("")
                .message_id(odd)
                .at(Timestamp::from_micros(1))
                .property(odd, json!([{odd: [odd, null, 1.5, -0.0, 1e300, u64::MAX, i64::MIN]}]))
                .context("device", json!({"id": odd}))
                .external_id(odd, odd)
                .member("integrations", json!({"All": true}))
                .member(odd, Value::Null)
                .member("", json!({"": {}}));
            let text = event.to_json();
            assert!(!text.contains('\n'));
            assert_eq!(Event::from_json(&text).as_ref(), Ok(&event), "{text}");
            let value = serde_json::to_value(&event).unwrap();
            assert_eq!(Event::try_from(value).as_ref(), Ok(&event));
            let canonical = event.canonical_content();
            let again = Event::from_json(&canonical).unwrap();
            assert_eq!(again.canonical_content(), canonical, "canonical content is an event of that content");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_object() -> impl Strategy<Value = Object> {
        prop::collection::btree_map(any::<String>(), any_value(), 0..4)
            .prop_map(|members| members.into_iter().collect())
    }

    fn any_time() -> impl Strategy<Value = Option<Timestamp>> {
        let plausible = 0..Timestamp::END.as_micros();
        prop::option::of(plausible.prop_map(Timestamp::from_micros))
    }

    prop_compose! {
        fn any_event()(
            kind in prop::sample::select(&EventKind::ALL[..]),
            texts in prop::array::uniform8(prop::option::of(any::<String>())),
            times in prop::array::uniform4(any_time()),
            objects in prop::array::uniform4(any_object()),
        ) -> Event {
            let [event, name, category, message_id, user_id, anonymous_id, previous_id, group_id] = texts;
            let [properties, traits, context, other] = objects;
            let track_name = if kind == EventKind::Track { Some(format!("E{}", event.unwrap_or_default())) } else { event };
            let [name, category, user_id, anonymous_id, track_name] =
                [name, category, user_id, anonymous_id, track_name].map(|text| text.map(Text::from));
            let mut made = Event {
                name, category, user_id, anonymous_id, traits, track_name,
                properties: properties.into(),
                context: context.into(),
                message_id: message_id.filter(|id| !id.is_empty()).map(Text::from),
                previous_id: Some(previous_id.unwrap_or_default().into()),
                group_id: Some(group_id.unwrap_or_default().into()),
                other: other.into_iter().filter(|(name, _)| Member::of(name).is_none()).collect(),
                ..Event::blank(kind)
            };
            made.context.change("", |context| context.remove("traits"));
            made.times.timestamp = times[0];
            made.times.original_timestamp = times[1];
            made.times.sent_at = times[2];
            made.times.received_at = times[3];
            made
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(event in any_event()) {
            let read = Event::from_json(&event.to_json());
            prop_assert_eq!(read.as_ref().map(Event::as_read), Ok(&*event.to_json()));
            prop_assert_eq!(read, Ok(event.clone()));
            prop_assert_eq!(Event::try_from(serde_json::to_value(&event).unwrap()), Ok(event));
        }

        #[test]
        fn canonical_content_depends_on_the_content_only(event in any_event()) {
            let canonical = event.canonical_content();
            let read = Event::from_json(&canonical).unwrap();
            prop_assert_eq!(read.canonical_content(), canonical);
            prop_assert!(event.same_content(&read));
            let resent = event.clone().message_id("other").sent_at(Timestamp::EARLIEST);
            prop_assert!(event.same_content(&resent));
        }

        #[test]
        fn no_text_makes_reading_panic(text in r#"[\[\]{}:,"\\a-z0-9eE.+\- u\x00-\x1f]{0,80}"#) {
            let _ = Event::from_json(&text);
            let _ = Event::from_json(&format!(r#"{{"type":"page","x":{text}}}"#));
        }
    }
}
