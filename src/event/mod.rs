//! Events: what happened, as it was told.

mod build;
mod check;
mod contents;
mod read;
mod salvage;
mod source;
mod text;
mod write;

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest, Sha256};

pub(crate) use self::check::EventLimits;
pub use self::check::Refusal;
use self::contents::Contents;
pub(crate) use self::read::as_id;
pub use self::source::{NotAParty, Party, Source};
use self::text::Text;
use crate::clock::Timestamp;
use crate::id::mask;
use crate::value::{Object, Value, descend};

/// Something that happened, as it was told: the unit of everything that goes in.
///
/// Its JSON form is that of the [Segment spec](https://segment.com/docs/connections/spec/), in camel case. Members
/// that the spec does not know are kept and come back. `Debug` shows no personal value.
///
/// ```
/// use customerdb::{Event, EventKind};
///
/// let event = Event::from_json(
///     r#"{"type":"track","event":"Order Completed","userId":4711,"properties":{"revenue":129},"shop":"Wuhan"}"#,
/// )?;
/// assert_eq!(event.kind(), EventKind::Track);
/// assert_eq!(event.ids().user_id, Some("4711"));
/// assert_eq!(event.properties()["revenue"], 129);
/// assert_eq!(Event::from_json(&event.to_json())?, event);
///
/// let same = Event::track("Order Completed").user_id("4711").property("revenue", 129).member("shop", "Wuhan");
/// assert_eq!(event, same);
/// # Ok::<(), customerdb::Refusal>(())
/// ```
#[must_use]
#[derive(Clone)]
pub struct Event {
    kind: EventKind,
    /// What it was read from, nothing if it was made otherwise. Texts and contents may be pieces of it; what was changed since
    /// does not stand in it.
    json: String,
    track_name: Option<Text>,
    name: Option<Text>,
    category: Option<Text>,
    message_id: Option<Text>,
    user_id: Option<Text>,
    anonymous_id: Option<Text>,
    previous_id: Option<Text>,
    group_id: Option<Text>,
    times: EventTimes,
    properties: Contents,
    traits: Object,
    context: Contents,
    other: Object,
}

/// What kind of event it is: its `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// Somebody did something.
    Track,
    /// Who somebody is.
    Identify,
    /// Somebody saw a page.
    Page,
    /// Somebody saw a screen of an app.
    Screen,
    /// Somebody belongs to an account.
    Group,
    /// Somebody was known under another id before.
    Alias,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Track, Self::Identify, Self::Page, Self::Screen, Self::Group, Self::Alias];

    /// The word that stands as `type`: `track`, `identify`, `page`, `screen`, `group`, `alias`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    /// The kind of that word.
    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The ids that stand at the top level of an event, as they were given: neither normalised nor checked against the
/// blocked values. `Debug` masks them.
#[non_exhaustive]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct EventIds<'a> {
    /// `messageId`: the event's own. Never empty.
    pub message_id: Option<&'a str>,
    /// `userId`: the application's own id of a known person.
    pub user_id: Option<&'a str>,
    /// `anonymousId`: a browser's or an installation's.
    pub anonymous_id: Option<&'a str>,
    /// `previousId`: under which an alias says that the person was known.
    pub previous_id: Option<&'a str>,
    /// `groupId`: the account's.
    pub group_id: Option<&'a str>,
}

impl EventIds<'_> {
    fn show(&self, out: &mut fmt::DebugStruct<'_, '_>) {
        for (name, id) in [
            ("message_id", self.message_id),
            ("user_id", self.user_id),
            ("anonymous_id", self.anonymous_id),
            ("previous_id", self.previous_id),
            ("group_id", self.group_id),
        ] {
            if let Some(id) = id {
                out.field(name, &format_args!("{}", mask(id)));
            }
        }
    }
}

impl fmt::Debug for EventIds<'_> {
    /// The ids that are given, masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("EventIds");
        self.show(&mut out);
        out.finish()
    }
}

/// The times that an event bears, as they were given. [`Event::time`] tells which one counts.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventTimes {
    /// `timestamp`: when it happened.
    pub timestamp: Option<Timestamp>,
    /// `originalTimestamp`: when it happened, by the clock of the device.
    pub original_timestamp: Option<Timestamp>,
    /// `sentAt`: when it was sent, by the clock of the device.
    pub sent_at: Option<Timestamp>,
    /// `receivedAt`: when it arrived, by the clock of the receiver.
    pub received_at: Option<Timestamp>,
}

/// What an event's time was taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TimeFrom {
    Timestamp,
    Skew,
    Original,
    Received,
    Clock,
}

impl EventTimes {
    fn resolve(&self, now: Timestamp) -> (Timestamp, TimeFrom) {
        match (self.timestamp, self.original_timestamp, self.sent_at, self.received_at) {
            (Some(time), ..) => (time, TimeFrom::Timestamp),
            (None, Some(original), Some(sent), Some(received)) => {
                let delay = sent.as_micros().saturating_sub(original.as_micros());
                (Timestamp::from_micros(received.as_micros().saturating_sub(delay)), TimeFrom::Skew)
            }
            (None, Some(original), ..) => (original, TimeFrom::Original),
            (None, None, _, Some(received)) => (received, TimeFrom::Received),
            (None, None, _, None) => (now, TimeFrom::Clock),
        }
    }
}

impl Event {
    /// The JSON that it was read from, to the letter, if it was.
    pub(crate) fn as_read(&self) -> &str {
        &self.json
    }

    fn text<'e>(&'e self, text: Option<&'e Text>) -> Option<&'e str> {
        text.map(|text| text.within(&self.json))
    }

    /// What it is called, each as it was given.
    fn names(&self) -> [Option<&str>; 3] {
        [&self.track_name, &self.name, &self.category].map(|text| self.text(text.as_ref()))
    }

    /// A member of the context.
    fn in_context(&self, name: &str) -> Option<&Value> {
        self.context.get(name, &self.json)
    }

    /// What kind of event it is.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// The name that conditions and analytics know it by: a track's own, else `$page`, `$screen`, `$identify`,
    /// `$group` or `$alias`.
    pub fn name(&self) -> &str {
        match self.kind {
            EventKind::Track => self.text(self.track_name.as_ref()).unwrap_or_default(),
            EventKind::Identify => "$identify",
            EventKind::Page => "$page",
            EventKind::Screen => "$screen",
            EventKind::Group => "$group",
            EventKind::Alias => "$alias",
        }
    }

    /// The ids at the top level, as they were given.
    pub fn ids(&self) -> EventIds<'_> {
        EventIds {
            message_id: self.text(self.message_id.as_ref()),
            user_id: self.text(self.user_id.as_ref()),
            anonymous_id: self.text(self.anonymous_id.as_ref()),
            previous_id: self.text(self.previous_id.as_ref()),
            group_id: self.text(self.group_id.as_ref()),
        }
    }

    /// The times, as they were given.
    pub fn times(&self) -> EventTimes {
        self.times
    }

    /// When it happened: `timestamp`; else, where all three are given, `receivedAt − (sentAt − originalTimestamp)`,
    /// which takes the error of the device's clock away; else `originalTimestamp`, else `receivedAt`, else `now`.
    ///
    /// The formula is that of the [Segment spec, common fields](https://segment.com/docs/connections/spec/common/).
    ///
    /// ```
    /// use customerdb::{Event, Timestamp, hours, minutes};
    ///
    /// // The device's clock is an hour slow; the event waited a minute before it was sent.
    /// let now: Timestamp = "2024-05-01T12:00:00Z".parse()?;
    /// let device = now.before(hours(1));
    /// let event = Event::page().original_timestamp(device.before(minutes(1))).sent_at(device).received_at(now);
    /// assert_eq!(event.time(now), now.before(minutes(1)));
    /// # Ok::<(), customerdb::NotATime>(())
    /// ```
    pub fn time(&self, now: Timestamp) -> Timestamp {
        self.times.resolve(now).0
    }

    /// The `properties` as given; [`visible_properties`](Self::visible_properties) are those that conditions see.
    pub fn properties(&self) -> &Object {
        self.properties.object(&self.json)
    }

    /// The properties as conditions see them: for a page or a screen with its `name` and `category`, unless
    /// `properties` has its own.
    pub fn visible_properties(&self) -> Cow<'_, Object> {
        let mut visible = Cow::Borrowed(self.properties());
        for (name, text) in self.beside() {
            if !self.properties().contains_key(name) {
                visible.to_mut().insert(name.into(), Value::from(text));
            }
        }
        visible
    }

    /// What a page or a screen has beside its properties that is seen as one of them.
    fn beside(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let is_paged = matches!(self.kind, EventKind::Page | EventKind::Screen);
        let [_, name, category] = self.names();
        let both = [("name", name), ("category", category)];
        both.into_iter().filter(move |_| is_paged).filter_map(|(name, text)| Some((name, text?)))
    }

    /// Those of the [`visible_properties`](Self::visible_properties) that have one of these names, each with the name's
    /// place; the others are not read.
    pub(crate) fn some_properties(&self, names: &[&str]) -> Vec<(usize, Value)> {
        let mut found = self.properties.some(names, &self.json);
        for (name, text) in self.beside() {
            if let Some(place) = names.iter().position(|other| *other == name)
                && !found.iter().any(|(other, _)| *other == place)
            {
                found.push((place, Value::from(text)));
            }
        }
        found
    }

    /// The `traits` as given; whose they are depends on the kind.
    pub fn traits(&self) -> &Object {
        &self.traits
    }

    /// The `context.traits` as given, none if there are none.
    pub fn context_traits(&self) -> Option<&Object> {
        self.in_context("traits").and_then(Value::as_object)
    }

    /// The traits that the event asserts of its person: those of `context.traits`, and for an identify `traits`
    /// over them. A null removes a trait.
    ///
    /// ```
    /// use customerdb::Event;
    ///
    /// let event = Event::identify().with_trait("city", "Wuhan").context_trait("city", "?").context_trait("vip", true);
    /// assert_eq!((&event.all_traits()["city"], &event.all_traits()["vip"]), (&"Wuhan".into(), &true.into()));
    /// assert!(Event::group("acme").with_trait("city", "Wuhan").all_traits().is_empty());
    /// ```
    pub fn all_traits(&self) -> Cow<'_, Object> {
        match (self.kind, self.context_traits()) {
            (EventKind::Identify, Some(context)) if !context.is_empty() => {
                let mut all = context.clone();
                all.extend(self.traits.iter().map(|(name, value)| (name.clone(), value.clone())));
                Cow::Owned(all)
            }
            (EventKind::Identify, _) => Cow::Borrowed(&self.traits),
            (_, Some(context)) => Cow::Borrowed(context),
            (_, None) => Cow::Owned(Object::new()),
        }
    }

    /// The traits that a group event asserts of its account; none for other kinds.
    pub fn account_traits(&self) -> Option<&Object> {
        (self.kind == EventKind::Group).then_some(&self.traits)
    }

    /// The whole `context`.
    pub fn whole_context(&self) -> &Object {
        self.context.object(&self.json)
    }

    /// The members that are not of the spec, or that mean nothing here (`integrations`).
    pub fn other_members(&self) -> &Object {
        &self.other
    }

    /// The pairs of type and id in `context.externalIds`. Ids that are numbers are given as their text; entries
    /// without a type or an id are passed over, and so are all if it is no array.
    pub fn external_ids(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let entries = self.in_context("externalIds").and_then(Value::as_array);
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| Some((entry.get("type")?.as_str()?, read::as_id(entry.get("id")?)?)))
    }

    /// The id of the device: `context.device.id`.
    pub fn device_id(&self) -> Option<Cow<'_, str>> {
        self.of_device("id")
    }

    /// The advertising id of the device: `context.device.advertisingId`.
    pub fn advertising_id(&self) -> Option<Cow<'_, str>> {
        self.of_device("advertisingId")
    }

    fn of_device(&self, name: &str) -> Option<Cow<'_, str>> {
        read::as_id(self.in_context("device")?.get(name)?)
    }

    /// The value at a dotted path, as the JSON form has it.
    ///
    /// ```
    /// use customerdb::Event;
    ///
    /// let event = Event::page().user_id("u1").property("wechat", serde_json::json!({"openid": "o1"}));
    /// assert_eq!(*event.lookup("properties.wechat.openid").unwrap(), "o1");
    /// assert_eq!(*event.lookup("userId").unwrap(), "u1");
    /// assert_eq!(event.lookup("traits.email"), None);
    /// ```
    pub fn lookup(&self, path: &str) -> Option<Cow<'_, Value>> {
        let within = match path.split_once('.') {
            Some(("properties", rest)) => descend(self.properties(), rest),
            Some(("traits", rest)) => descend(&self.traits, rest),
            Some(("context", rest)) => descend(self.whole_context(), rest),
            _ => descend(&self.other, path),
        };
        within.map(Cow::Borrowed).or_else(|| Some(Cow::Owned(self.part(path)?.to_value())))
    }

    /// The canonical JSON of the whole event but its `messageId`: equal for events that say the same.
    ///
    /// Members are sorted by name, times are in UTC, and numbers that are whole are written as integers.
    ///
    /// ```
    /// use customerdb::Event;
    ///
    /// let a = Event::from_json(r#"{"type":"page","messageId":"1","userId":"u","properties":{"b":1.0,"a":2}}"#)?;
    /// assert_eq!(a.canonical_content(), r#"{"properties":{"a":2,"b":1},"type":"page","userId":"u"}"#);
    /// # Ok::<(), customerdb::Refusal>(())
    /// ```
    pub fn canonical_content(&self) -> String {
        self.canonical_without(&["messageId"])
    }

    /// Whether the two say the same, apart from `messageId` and from what a client library changes when it sends an
    /// event again, `sentAt` and `receivedAt`.
    pub fn same_content(&self, other: &Self) -> bool {
        const TRANSPORT: [&str; 3] = ["messageId", "sentAt", "receivedAt"];
        self.kind == other.kind && self.canonical_without(&TRANSPORT) == other.canonical_without(&TRANSPORT)
    }

    /// The id of an event that comes without a `messageId`: `sha256:` and the first 32 hexadecimal digits of the
    /// SHA-256 of the source's name, a NUL, and the [canonical content](Self::canonical_content).
    ///
    /// ```
    /// use customerdb::Event;
    ///
    /// let event = Event::track("Search").user_id("u1");
    /// assert_eq!(event.content_id("web"), event.clone().content_id("web"));
    /// assert_ne!(event.content_id("web"), event.content_id("app"));
    /// ```
    pub fn content_id(&self, source: &str) -> String {
        let digest = Sha256::new()
            .chain_update(source)
            .chain_update([0_u8])
            .chain_update(self.canonical_content())
            .finalize();
        let mut id = String::with_capacity(39);
        id.push_str("sha256:");
        for byte in &digest[..16] {
            for digit in [byte >> 4, byte & 15] {
                id.extend(char::from_digit(digit.into(), 16));
            }
        }
        id
    }
}

impl PartialEq for Event {
    /// Whether the two say the same, in whatever form they came.
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.ids(), self.times) == (other.kind, other.ids(), other.times)
            && self.names() == other.names()
            && self.properties() == other.properties()
            && self.traits == other.traits
            && self.whole_context() == other.whole_context()
            && self.other == other.other
    }
}

#[expect(clippy::missing_fields_in_debug, reason = "what is left out is personal, or shown by `name`")]
impl fmt::Debug for Event {
    /// The kind, the name, masked ids, the times, and the names of properties and traits; no personal value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Event");
        out.field("kind", &self.kind).field("name", &self.name());
        self.ids().show(&mut out);
        for (name, time) in [
            ("timestamp", self.times.timestamp),
            ("original_timestamp", self.times.original_timestamp),
            ("sent_at", self.times.sent_at),
            ("received_at", self.times.received_at),
        ] {
            if let Some(time) = time {
                out.field(name, &time);
            }
        }
        for (name, object) in [
            ("properties", self.properties()),
            ("traits", &self.traits),
            ("context", self.whole_context()),
            ("other", &self.other),
        ] {
            if !object.is_empty() {
                out.field(name, &object.keys().collect::<Vec<_>>());
            }
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::seconds;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn read(value: Value) -> Event {
        Event::try_from(value).unwrap()
    }

    #[test]
    fn the_time_follows_the_rule_of_the_spec() {
        let now = at("2024-05-01T12:00:00Z");
        let s = |n: i64| Some(Timestamp::from_micros(now.as_micros() + n * 1_000_000));
        // timestamp, originalTimestamp, sentAt, receivedAt, and which second after now counts
        for (timestamp, original, sent, received, expected) in [
            (Some(1), None, None, None, 1),
            (Some(1), Some(2), Some(3), Some(4), 1),
            (None, Some(2), Some(3), Some(40), 39),
            (None, Some(2_000), Some(2_005), Some(7), 2),
            (None, Some(9), Some(3), Some(4), 10),
            (None, Some(2), Some(3), None, 2),
            (None, Some(2), None, Some(4), 2),
            (None, Some(2), None, None, 2),
            (None, None, Some(3), Some(4), 4),
            (None, None, None, Some(4), 4),
            (None, None, Some(3), None, 0),
            (None, None, None, None, 0),
        ] {
            let times = EventTimes {
                timestamp: timestamp.and_then(s),
                original_timestamp: original.and_then(s),
                sent_at: sent.and_then(s),
                received_at: received.and_then(s),
            };
            assert_eq!(Event { times, ..Event::page() }.time(now), s(expected).unwrap(), "{times:?}");
        }
        let far = Timestamp::from_micros(i64::MAX);
        let event = Event::page().original_timestamp(Timestamp::from_micros(i64::MIN)).sent_at(far);
        assert_eq!(event.received_at(now).time(now).as_micros(), now.as_micros() - i64::MAX);
    }

    #[test]
    fn conditions_know_a_track_by_its_own_name_and_others_by_their_kind() {
        let names: Vec<_> = [
            Event::track("Search"),
            Event::identify(),
            Event::page().named("Home"),
            Event::screen(),
            Event::group("g"),
            Event::alias("p"),
        ]
        .map(|event| event.name().to_owned())
        .into();
        assert_eq!(names, ["Search", "$identify", "$page", "$screen", "$group", "$alias"]);
    }

    #[test]
    fn a_page_shows_its_name_and_category_unless_properties_have_their_own() {
        let event = Event::screen().named("Home").category("Main").property("name", "own");
        assert_eq!(json!(event.visible_properties()), json!({"name": "own", "category": "Main"}));
        let event = Event::track("Search").named("Home").property("q", 1);
        assert_eq!(json!(event.visible_properties()), json!({"q": 1}));
        assert!(matches!(event.visible_properties(), Cow::Borrowed(_)));
        let page = Event::page().named("Home").category("Main").property("name", "own").property("q", 1);
        assert_eq!(page.some_properties(&["category", "name", "x"]), [(1, "own".into()), (0, "Main".into())]);
        assert_eq!(Event::page().named("Home").some_properties(&["name"]), [(0, "Home".into())]);
        assert_eq!(Event::track("$page").some_properties(&["name", "category"]), []);
    }

    #[test]
    fn traits_are_the_persons_or_the_accounts_by_kind() {
        let with =
            |event: Event| event.with_trait("a", 1).context_trait("a", 2).context_trait("b", Value::Null);
        assert_eq!(json!(with(Event::identify()).all_traits()), json!({"a": 1, "b": null}));
        for event in [Event::track("T"), Event::page(), Event::group("g"), Event::alias("p")] {
            let event = with(event);
            assert_eq!(json!(event.all_traits()), json!({"a": 2, "b": null}));
            assert_eq!(event.account_traits().is_some(), event.kind() == EventKind::Group);
        }
        assert_eq!(json!(Event::group("g").with_trait("a", 1).account_traits()), json!({"a": 1}));
        assert!(Event::page().with_trait("a", 1).all_traits().is_empty());
    }

    #[test]
    fn external_and_device_ids_may_be_text_or_numbers() {
        let event = read(json!({"type": "page", "context": {
            "externalIds": [
                {"type": "crm", "id": "x"}, {"type": "erp", "id": 7}, {"type": "pos", "id": 7.0},
                {"type": 5, "id": "x"}, {"type": "crm"}, {"type": "crm", "id": null}, {"id": "x"}, "text", null,
                {"type": "big", "id": 1e300}, {"type": "list", "id": ["x"]},
            ],
            "device": {"id": 12, "advertisingId": "AD-1"},
        }}));
        let ids: Vec<_> = event.external_ids().collect();
        assert_eq!(ids, [("crm", "x".into()), ("erp", "7".into()), ("pos", "7".into())]);
        assert_eq!(
            (event.device_id().unwrap(), event.advertising_id().unwrap()),
            ("12".into(), "AD-1".into())
        );
        for malformed in [json!({"type": "crm", "id": "x"}), json!("x"), Value::Null, json!([])] {
            let event = read(json!({"type": "page", "context": {"externalIds": malformed, "device": "x"}}));
            assert_eq!(event.external_ids().count(), 0);
            assert_eq!(event.whole_context()["externalIds"], malformed);
            assert_eq!((event.device_id(), event.advertising_id()), (None, None));
        }
    }

    #[test]
    fn every_member_can_be_looked_up_by_its_path() {
        let event = read(json!({
            "type": "track", "event": "E", "userId": 5, "timestamp": "2024-05-01T14:00:00+02:00",
            "properties": {"email": "x@y.example", "a.b": 1, "n": null}, "traits": {"wechat": {"openid": "o"}},
            "context": {"device": {"id": "d"}}, "loyalty": {"card": "c"}, "dotted.name": 2, "shop": "s",
        }));
        for (path, expected) in [
            ("type", json!("track")),
            ("event", json!("E")),
            ("userId", json!("5")),
            ("timestamp", json!("2024-05-01T12:00:00Z")),
            ("properties.email", json!("x@y.example")),
            ("properties.a.b", json!(1)),
            ("properties.n", Value::Null),
            ("traits", json!({"wechat": {"openid": "o"}})),
            ("traits.wechat.openid", json!("o")),
            ("context.device.id", json!("d")),
            ("loyalty.card", json!("c")),
            ("dotted.name", json!(2)),
            ("shop", json!("s")),
        ] {
            assert_eq!(event.lookup(path).as_deref(), Some(&expected), "{path}");
        }
        for path in [
            "",
            ".",
            "anonymousId",
            "userId.x",
            "properties.",
            "properties.x",
            "shop.x",
            "context.device.id.x",
        ] {
            assert_eq!(event.lookup(path), None, "{path}");
        }
    }

    #[test]
    fn events_that_say_the_same_have_one_content() {
        let a = r#"{"type":"track","event":"é\n","messageId":"1","timestamp":"2024-05-01T14:00:00+02:00",
            "userId":7,"properties":{"b":[1.0,{"y":1,"x":2}],"a":"\u00e9"},"zebra":1,"Alpha":-0.0,"traits":[]}"#;
        let b = r#"{"Alpha":0,"zebra":1,"properties":{"a":"é","b":[1,{"x":2.0,"y":1}]},"userId":"7",
            "timestamp":1714564800000,"messageId":"2","event":"é\n","type":"track","context":null}"#;
        let (a, b) = (Event::from_json(a).unwrap(), Event::from_json(b).unwrap());
        assert_eq!(
            a.canonical_content(),
            r#"{"Alpha":0,"event":"é\n","properties":{"a":"é","b":[1,{"x":2,"y":1}]},"#.to_owned()
                + r#""timestamp":"2024-05-01T12:00:00Z","type":"track","userId":"7","zebra":1}"#
        );
        assert_eq!(a.canonical_content(), b.canonical_content());
        assert!(a.same_content(&b));
        assert!(!a.same_content(&b.clone().property("c", 1)));
        assert!(!a.same_content(&b.at(at("2024-05-01T12:00:01Z"))));
    }

    #[test]
    fn a_retry_has_the_same_content_although_its_transport_differs() {
        let now = at("2024-05-01T12:00:00Z");
        let event = Event::page().user_id("u1").original_timestamp(now);
        let first = event.clone().sent_at(now).received_at(now);
        let again = event.sent_at(now.after(seconds(9))).received_at(now.after(seconds(10)));
        assert!(first.same_content(&again));
        assert_ne!(first.canonical_content(), again.canonical_content());
        assert!(!first.same_content(&Event { kind: EventKind::Screen, ..first.clone() }));
    }

    #[test]
    fn a_content_id_is_made_of_source_and_content() {
        let event = Event::page().user_id("u1");
        // printf 'web\0{"type":"page","userId":"u1"}' | sha256sum
        assert_eq!(event.content_id("web"), "sha256:1eb6fe5fcde002e548902a5f7cf256f9");
        assert_eq!(event.content_id("web"), event.clone().message_id("m").content_id("web"));
        assert_ne!(event.content_id("web"), event.content_id("app"));
        assert_ne!(event.content_id("web"), event.clone().property("a", 1).content_id("web"));
    }

    #[test]
    fn debug_shows_no_personal_value() {
        let event = Event::track("Search")
            .user_id("xiaoming@example.com")
            .anonymous_id("13800000002")
            .message_id("m1")
            .at(at("2024-05-01T12:00:00Z"))
            .property("query", "secret")
            .with_trait("phone", "secret")
            .context_trait("email", "secret")
            .member("shop", "secret");
        assert_eq!(
            format!("{event:?}"),
            "Event { kind: Track, name: \"Search\", message_id: ***, user_id: x***@example.com, \
             anonymous_id: 1380****002, timestamp: 2024-05-01T12:00:00Z, properties: [\"query\"], \
             traits: [\"phone\"], context: [\"traits\"], other: [\"shop\"] }"
        );
        assert_eq!(
            format!("{:?}", Event::alias("13800000002").ids()),
            "EventIds { previous_id: 1380****002 }"
        );
    }
}
