//! Events as an application's code makes them.

use serde_json::json;

use super::contents::Contents;
use super::text::Text;
use super::write::Member;
use super::{Event, EventKind, EventTimes};
use crate::clock::Timestamp;
use crate::value::{Object, Value};

/// Making events. Nothing here fails: what makes no sense is refused at ingest, with its reason.
impl Event {
    /// Somebody did something: the event `name`.
    ///
    /// ```
    /// use customerdb::Event;
    ///
    /// let event = Event::track("Order Completed").user_id("u1").property("revenue", 129);
    /// assert_eq!(
    ///     event.to_json(),
    ///     r#"{"type":"track","event":"Order Completed","userId":"u1","properties":{"revenue":129}}"#
    /// );
    /// ```
    pub fn track(name: impl Into<String>) -> Self {
        Self { track_name: Some(name.into().into()), ..Self::blank(EventKind::Track) }
    }

    /// Who somebody is: identifiers and traits.
    ///
    /// ```
    /// use customerdb::Event;
    ///
    /// let event = Event::identify().anonymous_id("device-7").user_id("u1").with_trait("city", "Wuhan");
    /// assert_eq!(event.all_traits()["city"], "Wuhan");
    /// ```
    pub fn identify() -> Self {
        Self::blank(EventKind::Identify)
    }

    /// Somebody saw a page.
    pub fn page() -> Self {
        Self::blank(EventKind::Page)
    }

    /// Somebody saw a screen of an app.
    pub fn screen() -> Self {
        Self::blank(EventKind::Screen)
    }

    /// Somebody belongs to the account `group_id`; the traits are the account's.
    pub fn group(group_id: impl Into<String>) -> Self {
        Self { group_id: Some(group_id.into().into()), ..Self::blank(EventKind::Group) }
    }

    /// Somebody was known as `previous_id` before.
    pub fn alias(previous_id: impl Into<String>) -> Self {
        Self { previous_id: Some(previous_id.into().into()), ..Self::blank(EventKind::Alias) }
    }

    pub(super) fn blank(kind: EventKind) -> Self {
        Self {
            kind,
            json: String::new(),
            track_name: None,
            name: None,
            category: None,
            message_id: None,
            user_id: None,
            anonymous_id: None,
            previous_id: None,
            group_id: None,
            times: EventTimes::default(),
            properties: Contents::default(),
            traits: Object::new(),
            context: Contents::default(),
            other: Object::new(),
        }
    }

    /// Sets `userId`: the application's own id of a known person.
    pub fn user_id(mut self, id: impl Into<String>) -> Self {
        self.user_id = Some(id.into().into());
        self
    }

    /// Sets `anonymousId`: a browser's or an installation's id.
    pub fn anonymous_id(mut self, id: impl Into<String>) -> Self {
        self.anonymous_id = Some(id.into().into());
        self
    }

    /// Sets `messageId`, by which a re-sent event is known. An empty one counts as none.
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = Some(id.into()).filter(|id| !id.is_empty()).map(Text::from);
        self
    }

    /// Sets `timestamp`: when it happened.
    ///
    /// ```
    /// use customerdb::{Event, Timestamp};
    ///
    /// let noon: Timestamp = "2024-05-01T12:00:00Z".parse()?;
    /// assert_eq!(Event::page().at(noon).times().timestamp, Some(noon));
    /// # Ok::<(), customerdb::NotATime>(())
    /// ```
    pub fn at(mut self, time: impl Into<Timestamp>) -> Self {
        self.times.timestamp = Some(time.into());
        self
    }

    /// Sets `originalTimestamp`: when it happened by the clock of the device.
    pub fn original_timestamp(mut self, time: impl Into<Timestamp>) -> Self {
        self.times.original_timestamp = Some(time.into());
        self
    }

    /// Sets `sentAt`: when it was sent, by the clock of the device.
    pub fn sent_at(mut self, time: impl Into<Timestamp>) -> Self {
        self.times.sent_at = Some(time.into());
        self
    }

    /// Sets `receivedAt`: when it arrived, by the clock of the receiver.
    pub fn received_at(mut self, time: impl Into<Timestamp>) -> Self {
        self.times.received_at = Some(time.into());
        self
    }

    /// Sets `name`: that of the page or screen.
    ///
    /// ```
    /// use customerdb::Event;
    ///
    /// let event = Event::page().named("Cabins").category("Cruises").property("deck", 4);
    /// assert_eq!(event.name(), "$page");
    /// assert_eq!(event.visible_properties()["category"], "Cruises");
    /// ```
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into());
        self
    }

    /// Sets `category`: that of the page or screen.
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.category = Some(category.into().into());
        self
    }

    /// Sets one of `properties`.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.change(&self.json, |properties| properties.insert(name.into(), value.into()));
        self
    }

    /// Sets one of `traits`: of the person, or for [`group`](Self::group) of the account. Null removes a trait.
    pub fn with_trait(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.traits.insert(name.into(), value.into());
        self
    }

    /// Sets a member of `context`.
    pub fn context(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.context.change(&self.json, |context| context.insert(name.into(), value.into()));
        self
    }

    /// Sets one of `context.traits`: the person's, whatever kind of event it is.
    pub fn context_trait(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.context.change(&self.json, |context| match context.entry("traits").or_insert(Value::Null) {
            Value::Object(traits) => drop(traits.insert(name.into(), value.into())),
            other => *other = Value::Object(Object::from_iter([(name.into(), value.into())])),
        });
        self
    }

    /// Adds one to `context.externalIds`.
    ///
    /// ```
    /// use customerdb::Event;
    ///
    /// let event = Event::identify().external_id("crm", "4711");
    /// assert_eq!(event.external_ids().next(), Some(("crm", "4711".into())));
    /// ```
    pub fn external_id(mut self, kind: impl Into<String>, id: impl Into<String>) -> Self {
        let entry = json!({"id": id.into(), "type": kind.into(), "collection": "users", "encoding": "none"});
        self.context.change(&self.json, |context| {
            match context.entry("externalIds").or_insert(Value::Null) {
                Value::Array(entries) => entries.push(entry),
                other => *other = Value::Array(vec![entry]),
            }
        });
        self
    }

    /// Sets a member for which there is no method here, such as `integrations`. It is kept and comes back.
    ///
    /// Where there is a method (`userId`), the value is taken as reading takes it; one that reading would refuse
    /// is refused at ingest.
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let (name, value) = (name.into(), value.into());
        let taken = Member::of(&name).is_some_and(|member| self.assign(member, value.clone()).is_ok());
        if !taken {
            self.other.insert(name, value);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_set_stands_in_the_json_under_the_names_of_the_spec() {
        let event = Event::track("Search")
            .message_id("m1")
            .at(at("2024-05-01T12:00:00Z"))
            .original_timestamp(at("2024-05-01T12:00:01Z"))
            .sent_at(at("2024-05-01T12:00:02Z"))
            .received_at(at("2024-05-01T12:00:03Z"))
            .user_id("u1")
            .anonymous_id("a1")
            .property("query", "Antarctica")
            .with_trait("unused", true)
            .context("locale", "zh-CN")
            .context_trait("vip", true)
            .context_trait("age", 40)
            .external_id("crm", "1")
            .external_id("erp", "2")
            .member("integrations", json!({"All": false}));
        let expected = json!({
            "type": "track", "event": "Search", "messageId": "m1", "userId": "u1", "anonymousId": "a1",
            "timestamp": "2024-05-01T12:00:00Z", "originalTimestamp": "2024-05-01T12:00:01Z",
            "sentAt": "2024-05-01T12:00:02Z", "receivedAt": "2024-05-01T12:00:03Z",
            "properties": {"query": "Antarctica"}, "traits": {"unused": true},
            "context": {"locale": "zh-CN", "traits": {"vip": true, "age": 40}, "externalIds": [
                {"id": "1", "type": "crm", "collection": "users", "encoding": "none"},
                {"id": "2", "type": "erp", "collection": "users", "encoding": "none"},
            ]},
            "integrations": {"All": false},
        });
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
        assert_eq!(Event::try_from(expected).unwrap(), event);
    }

    #[test]
    fn the_constructors_set_what_their_kind_requires() {
        for (event, json) in [
            (Event::track("A"), r#"{"type":"track","event":"A"}"#),
            (Event::identify(), r#"{"type":"identify"}"#),
            (Event::page().named("P"), r#"{"type":"page","name":"P"}"#),
            (Event::screen().category("C"), r#"{"type":"screen","category":"C"}"#),
            (Event::group("g"), r#"{"type":"group","groupId":"g"}"#),
            (Event::alias("p"), r#"{"type":"alias","previousId":"p"}"#),
        ] {
            assert_eq!(event.to_json(), json);
        }
    }

    #[test]
    fn a_member_with_a_method_of_its_own_is_taken_as_reading_takes_it() {
        let now = at("2024-05-01T12:00:00Z");
        let event = Event::identify().member("userId", 7).member("timestamp", 1_714_564_800_000_i64);
        assert_eq!(event, Event::identify().user_id("7").at(now));
        for (name, value, reason) in [
            ("userId", json!({}), "userId: expected a string, found an object"),
            ("timestamp", json!("soon"), "timestamp: not a time: \"soon\""),
            ("properties", json!("x"), "properties: expected an object, found a string"),
        ] {
            let refusal = Event::from_json(&Event::identify().member(name, value).to_json()).unwrap_err();
            assert_eq!(refusal.to_string(), reason);
        }
        assert!(Event::from_json(&Event::page().member("event", 5).to_json()).is_ok(), "no member of a page");
    }

    #[test]
    fn malformed_context_gives_way_to_what_is_set_later() {
        let event = Event::page().context("traits", "x").context("externalIds", 5);
        let event = event.context_trait("a", 1).external_id("crm", "1");
        assert_eq!(event.all_traits()["a"], 1);
        assert_eq!(event.external_ids().count(), 1);
    }
}
