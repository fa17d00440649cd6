//! The crate against a naive model of what SEMANTICS says: lists, sorting and brute force.

use std::collections::{BTreeMap, BTreeSet};

use customerdb::any as either;
use customerdb::{
    Cdp, Condition, Event, ManualClock, ProfileId, Rules, Segment, Timestamp, Value, days, did, did_not,
    has_identifier, has_trait, is_known, minutes, not,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{NOW, Seen, builder, cases, define, everybody, ids, memory, place, sound};

// ---- the model ----

type Id = (&'static str, String);
type Asserted<'a> = BTreeMap<&'a String, (&'a Value, &'a String)>;

/// The namespaces of these tests, strongest first.
const ORDER: [&str; 7] =
    ["user_id", "email", "phone", "external:crm", "advertising_id", "device_id", "anonymous_id"];

const BLOCKED: [&str; 7] = ["", "null", "guest", "test@test.com", "0", "\"none\"", "n/a"];

/// An event as the model keeps it.
struct Kept {
    json: Value,
    at: Timestamp,
    message_id: String,
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

/// The one spelling of an identifier, `None` for what is none.
fn spelled(namespace: &'static str, raw: &str) -> Option<Id> {
    let value = raw.trim();
    if BLOCKED.contains(&value.to_lowercase().as_str()) {
        return None;
    }
    let value = match namespace {
        "email" if !value.contains('@') => return None,
        "email" | "advertising_id" => value.to_lowercase(),
        "phone" => value.chars().filter(|c| *c == '+' || c.is_ascii_digit()).collect(),
        _ => value.to_owned(),
    };
    Some((namespace, value))
}

/// The identifiers of an event, strongest first.
fn identifiers(event: &Value, anonymous: &BTreeSet<String>) -> Vec<Id> {
    let mut found: Vec<Option<Id>> = Vec::new();
    let mut take = |namespace, value: &Value| found.extend(text(value).map(|raw| spelled(namespace, raw)));
    take("user_id", &event["userId"]);
    take("anonymous_id", &event["anonymousId"]);
    let own = if event["type"] == "group" { &Value::Null } else { &event["traits"] };
    for traits in [own, &event["context"]["traits"]] {
        take("email", &traits["email"]);
        take("phone", &traits["phone"]);
    }
    take("external:crm", &event["context"]["externalIds"][0]["id"]);
    take("device_id", &event["context"]["device"]["id"]);
    take("advertising_id", &event["context"]["device"]["advertisingId"]);
    let previous = event["previousId"].as_str().unwrap_or_default().trim();
    take(if anonymous.contains(previous) { "anonymous_id" } else { "user_id" }, &event["previousId"]);
    let mut found: Vec<Id> = found.into_iter().flatten().collect();
    found.sort_by_key(|(namespace, _)| ORDER.iter().position(|other| other == namespace));
    let mut once = Vec::new();
    for id in found {
        if !once.contains(&id) {
            once.push(id);
        }
    }
    once
}

fn time(event: &Value, now: Timestamp) -> Timestamp {
    let read = |name: &str| -> Option<Timestamp> { Some(event[name].as_str()?.parse().unwrap()) };
    let micros = |name| read(name).map(Timestamp::as_micros);
    if let Some(time) = read("timestamp") {
        return time;
    }
    match (micros("originalTimestamp"), micros("sentAt"), micros("receivedAt")) {
        (Some(original), Some(sent), Some(received)) => Timestamp::from_micros(received - (sent - original)),
        (Some(time), ..) | (None, _, Some(time)) => Timestamp::from_micros(time),
        _ => now,
    }
}

/// What a history means: of each message id the first event counts, whatever has an identifier is kept, and all are
/// told in event-time order.
fn model(history: &[Value], now: Timestamp, rules: &Rules, segments: &[Asked]) -> Vec<Seen> {
    let mut kept: Vec<Kept> = Vec::new();
    for json in history {
        let own = json["messageId"].as_str().map(str::to_owned);
        let message_id = own.unwrap_or_else(|| Event::try_from(json.clone()).unwrap().content_id("default"));
        let known = kept.iter().any(|other| other.message_id == message_id);
        if !known && !identifiers(json, &BTreeSet::new()).is_empty() {
            kept.push(Kept { json: json.clone(), at: time(json, now), message_id });
        }
    }
    kept.sort_by(|a, b| (a.at, &a.message_id).cmp(&(b.at, &b.message_id)));
    let bears = |event: &Kept| Some(spelled("anonymous_id", event.json["anonymousId"].as_str()?)?.1);
    let anonymous: BTreeSet<String> = kept.iter().filter_map(bears).collect();
    let mut people: Vec<(BTreeSet<Id>, Vec<&Kept>)> = Vec::new();
    for event in &kept {
        let found = identifiers(&event.json, &anonymous);
        let take = |id: &Id, people: &mut Vec<(BTreeSet<Id>, Vec<_>)>| {
            let place = people.iter().position(|(held, _)| held.contains(id));
            place
                .map_or_else(|| (BTreeSet::from([id.clone()]), Vec::new()), |place| people.swap_remove(place))
        };
        let mut person = take(&found[0], &mut people);
        for id in &found[1..] {
            if person.0.contains(id) {
                continue;
            }
            let other = take(id, &mut people);
            if breaks(rules, &person.0, &other.0) {
                // One that nobody holds stays nobody's.
                people.extend((!other.1.is_empty()).then_some(other));
            } else {
                person.0.extend(other.0);
                person.1.extend(other.1);
            }
        }
        person.1.push(event);
        people.push(person);
    }
    let mut seen: Vec<Seen> =
        people.iter().map(|(held, events)| see(held, events, &kept, now, segments)).collect();
    seen.sort();
    seen
}

fn breaks(rules: &Rules, a: &BTreeSet<Id>, b: &BTreeSet<Id>) -> bool {
    let over =
        |max: Option<u32>, a: usize, b: usize| max.is_some_and(|max| a > 0 && b > 0 && a + b > max as usize);
    let count = |set: &BTreeSet<Id>, namespace| set.iter().filter(|id| id.0 == namespace).count();
    over(rules.max_total(), a.len(), b.len())
        || ORDER.iter().any(|name| over(rules.max(&(*name).into()), count(a, *name), count(b, *name)))
}

fn see(held: &BTreeSet<Id>, events: &[&Kept], kept: &[Kept], now: Timestamp, segments: &[Asked]) -> Seen {
    let mut events = events.to_vec();
    events.sort_by(|a, b| (a.at, &a.message_id).cmp(&(b.at, &b.message_id)));
    let (mut traits, mut accounts) = (Asserted::new(), BTreeMap::new());
    for event in &events {
        let mut said = BTreeMap::new();
        said.extend(event.json["context"]["traits"].as_object().into_iter().flatten());
        if event.json["type"] == "identify" {
            said.extend(event.json["traits"].as_object().into_iter().flatten());
        }
        traits.extend(said.into_iter().map(|(name, value)| (name, (value, &event.message_id))));
        if let Some((_, id)) = event.json["groupId"].as_str().and_then(|id| spelled("group", id)) {
            let of_it = kept.iter().filter(|other| {
                other.json["groupId"]
                    .as_str()
                    .and_then(|id| spelled("group", id))
                    .is_some_and(|other| other.1 == id)
            });
            let mut said: Asserted<'_> = BTreeMap::new();
            for other in of_it {
                let traits = other.json["traits"].as_object().into_iter().flatten();
                said.extend(traits.map(|(name, value)| (name, (value, &other.message_id))));
            }
            said.retain(|_, (value, _)| !value.is_null());
            accounts.insert(
                id,
                said.into_iter().map(|(name, (value, _))| (name.clone(), value.to_string())).collect(),
            );
        }
    }
    traits.retain(|_, (value, _)| !value.is_null());
    let whom = Whom { held, events: &events, traits: &traits, now };
    Seen {
        identifiers: held.iter().map(|(namespace, value)| format!("{namespace}:{value}")).collect(),
        segments: segments
            .iter()
            .filter(|asked| (asked.holds)(&whom))
            .map(|asked| asked.name.into())
            .collect(),
        events: events.iter().rev().map(|event| event.message_id.clone()).collect(),
        traits: traits
            .iter()
            .map(|(name, (value, by))| ((*name).clone(), (value.to_string(), (*by).clone())))
            .collect(),
        accounts,
    }
}

/// One person, as a segment of the model sees them.
struct Whom<'a> {
    held: &'a BTreeSet<Id>,
    events: &'a [&'a Kept],
    traits: &'a Asserted<'a>,
    now: Timestamp,
}

impl Whom<'_> {
    fn events(&self, name: &str) -> impl Iterator<Item = &Kept> {
        self.events.iter().copied().filter(move |event| {
            let kind = event.json["type"].as_str().unwrap();
            if kind == "track" { event.json["event"] == name } else { format!("${kind}") == name }
        })
    }

    fn did(&self, name: &str, within: i64) -> usize {
        let ago = |event: &Kept| self.now.as_micros() - event.at.as_micros();
        self.events(name).filter(|event| (0..within * 86_400_000_000).contains(&ago(event))).count()
    }

    fn city(&self) -> Option<&Value> {
        self.traits.iter().find(|(name, _)| **name == "city").map(|(_, (value, _))| *value)
    }
}

/// A segment, and what it means.
struct Asked {
    name: &'static str,
    condition: Condition,
    holds: fn(&Whom<'_>) -> bool,
}

fn segments() -> Vec<Asked> {
    let asked = |name, condition, holds| Asked { name, condition, holds };
    vec![
        asked("twice", did("Buy").at_least(2), |whom| whom.events("Buy").count() >= 2),
        asked("lately", did("Buy").within(days(3)), |whom| whom.did("Buy", 3) > 0),
        asked("not lately", did_not("$page").within(days(5)), |whom| whom.did("$page", 5) == 0),
        asked("exactly two", did("Buy").times(2).within(days(9)), |whom| whom.did("Buy", 9) == 2),
        asked("spender", did("Buy").sum("revenue").gte(100), |whom| {
            let spent = whom.events("Buy").filter_map(|event| event.json["properties"]["revenue"].as_i64());
            spent.sum::<i64>() >= 100
        }),
        asked("big buyer", did("Buy").where_property("revenue").gt(40), |whom| {
            whom.events("Buy")
                .any(|event| event.json["properties"]["revenue"].as_i64().is_some_and(|r| r > 40))
        }),
        asked("wuhan", has_trait("city").eq("Wuhan"), |whom| whom.city() == Some(&json!("Wuhan"))),
        asked("elsewhere", has_trait("city").ne("Wuhan"), |whom| whom.city() != Some(&json!("Wuhan"))),
        asked("mail", has_identifier("email"), |whom| whom.held.iter().any(|id| id.0 == "email")),
        asked("known", either([is_known(), not(has_trait("city").exists())]), |whom| {
            let known = |id: &Id| !["advertising_id", "device_id", "anonymous_id"].contains(&id.0);
            whom.held.iter().any(known) || whom.city().is_none()
        }),
    ]
}

fn definitions() -> Vec<Segment> {
    segments().into_iter().map(|asked| Segment::new(asked.name, asked.condition)).collect()
}

// ---- random histories ----

/// An event made of random numbers. Small pools, so that people meet; times collide and come in any order.
fn event(index: usize, dice: [u8; 14], with_alias: bool) -> Value {
    let pick = |die: usize, pool: &[&'static str]| pool[usize::from(dice[die]) % pool.len()];
    let users = ["", "u1", "u2", "u3", " u1 ", "x1", "x2", "null"];
    let anonymous = ["a1", "a2", "a3", "a4", "x1", "x2", "guest", "a5", "a6", "a7"];
    let emails = ["a@x.io", " A@X.io", "b@x.io", "c@x.io", "nonsense", "test@test.com"];
    let kind =
        pick(0, &["track", "track", "track", "identify", "identify", "page", "screen", "group", "alias"]);
    let kind = if kind == "alias" && !with_alias { "identify" } else { kind };
    let has = |die: usize, one_in: u8| dice[die].is_multiple_of(one_in);
    let mut event = json!({"type": kind});
    let mut set = |path: &str, value: Value| {
        let mut slot = &mut event;
        for name in path.split('.') {
            slot = &mut slot[name];
        }
        *slot = value;
    };
    if has(1, 2) {
        set("userId", json!(pick(2, &users)));
    }
    if has(3, 2) || !has(1, 2) {
        set("anonymousId", json!(pick(4, &anonymous)));
    }
    if !has(5, 8) {
        set("messageId", json!(format!("m{}-{index}", dice[5] % 4)));
    }
    let back = i64::from(dice[6] % 14) * 720 + i64::from(dice[7] % 3) - 600;
    let when = Timestamp::from_micros(NOW.as_micros() - back * 60_000_000);
    match dice[8] % 6 {
        0 => set("receivedAt", json!(when)),
        1 => {
            set("originalTimestamp", json!(when.before(days(400)).before(minutes(3))));
            set("sentAt", json!(when.before(days(400))));
            set("receivedAt", json!(when.after(minutes(3))));
        }
        2 if index.is_multiple_of(7) => {}
        _ => set("timestamp", json!(when)),
    }
    if kind == "identify" || kind == "group" {
        for (die, name, pool) in
            [(9, "city", ["Wuhan", "Lima", "Rome"]), (10, "plan", ["gold", "free", "none"])]
        {
            match dice[die] % 7 {
                0 => set(&format!("traits.{name}"), Value::Null),
                1..=4 => set(&format!("traits.{name}"), json!(pick(die, &pool))),
                _ => {}
            }
        }
    }
    if has(9, 5) {
        set("traits.email", json!(pick(10, &emails)));
    }
    if has(10, 6) {
        set(
            "context.traits.phone",
            json!(pick(9, &["+86 138 0000 0002", "+8613800000002", "+1 202 555 0100"])),
        );
        set("context.traits.city", json!("Oslo"));
    }
    if has(11, 6) {
        set("context.externalIds", json!([{"type": "crm", "id": pick(12, &["1", "2", "3", "n/a"])}]));
    }
    if has(12, 7) {
        set("context.device.id", json!(pick(11, &["d1", "d2"])));
        set("context.device.advertisingId", json!(pick(13, &["AB-1", "ab-1", "", "AB-2"])));
    }
    match kind {
        "track" => {
            set("event", json!(pick(13, &["Buy", "Look"])));
            set("properties.revenue", if has(12, 5) { Value::Null } else { json!(dice[11] % 60) });
        }
        "group" => set("groupId", json!(pick(13, &["acme", " acme", "zeta", "null"]))),
        "alias" => set("previousId", json!(pick(13, &["x1", "x2", "a1", "u2", "", "u1"]))),
        _ => {}
    }
    event
}

fn history(most: usize, with_alias: bool) -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec((any::<[u8; 14]>(), 0..8_usize), 1..most).prop_map(move |dice| {
        let mut events: Vec<Value> = Vec::new();
        for (index, (dice, again)) in dice.into_iter().enumerate() {
            if again == 0 && !events.is_empty() {
                // The same event once more, to the letter.
                events.push(events[usize::from(dice[0]) % events.len()].clone());
            } else {
                events.push(event(index, dice, with_alias));
            }
        }
        events
    })
}

/// A history, a shuffled copy of it, and the sizes of the batches in which to take them in.
fn told_twice() -> impl Strategy<Value = (Vec<Value>, Vec<Value>, Vec<usize>)> {
    let shuffled =
        history(36, true).prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()));
    (shuffled, prop::collection::vec(1..9_usize, 36)).prop_map(|((a, b), sizes)| (a, b, sizes))
}

fn ingest_in(cdp: &Cdp, events: &[Value], sizes: &[usize]) {
    let mut rest = events;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (batch, later) = rest.split_at((*size).min(rest.len()));
        let report = cdp.ingest(batch).unwrap();
        assert_eq!(report.events(), batch.len() as u64);
        rest = later;
    }
}

/// What happens between two looks.
#[derive(Debug, Clone)]
enum Step {
    Ingest(usize),
    Reopen,
    Replay,
    Move(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1..8_usize).prop_map(Step::Ingest),
        1 => Just(Step::Reopen),
        1 => Just(Step::Replay),
        2 => (-1_500..4_000_i64).prop_map(Step::Move),
    ]
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn after_every_step_the_file_says_what_the_model_says(
        events in history(40, true),
        steps in prop::collection::vec(step(), 1..12),
    ) {
        let (_folder, path) = place();
        let clock = ManualClock::at(NOW);
        let open = || builder(&clock).rules(Rules::unlimited()).max_ahead(None).open(&path).unwrap();
        let mut cdp = open();
        define(&cdp, &definitions());
        // An event without a time happens now, so histories of this test have none.
        let events: Vec<Value> = events
            .into_iter()
            .filter(|event| ["timestamp", "receivedAt"].iter().any(|name| !event[name].is_null()))
            .collect();
        let (mut taken, mut now) = (0, NOW);
        for step in &steps {
            match step {
                Step::Ingest(size) => {
                    let until = (taken + size).min(events.len());
                    cdp.ingest(&events[taken..until]).unwrap();
                    taken = until;
                }
                Step::Reopen => {
                    let before = ids(&cdp);
                    drop(cdp);
                    cdp = open();
                    prop_assert_eq!(ids(&cdp), before, "ids after reopening");
                }
                Step::Replay => {
                    let before = ids(&cdp);
                    cdp.set_rules(Rules::unlimited()).unwrap();
                    prop_assert_eq!(ids(&cdp), before, "ids after a replay");
                }
                Step::Move(by) => {
                    now = Timestamp::from_micros(now.as_micros() + by * 60_000_000);
                    clock.set(now);
                }
            }
            prop_assert_eq!(
                everybody(&cdp),
                model(&events[..taken], now, &Rules::unlimited(), &segments()),
                "after {:?}", step
            );
        }
        sound(&cdp);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn any_order_and_any_batching_make_the_same_people((told, shuffled, sizes) in told_twice()) {
        let (a, b) = (memory(Rules::unlimited()), memory(Rules::unlimited()));
        define(&a, &definitions());
        ingest_in(&a, &told, &sizes);
        ingest_in(&b, &shuffled, &[shuffled.len()]);
        define(&b, &definitions());
        let expected = model(&told, NOW, &Rules::unlimited(), &segments());
        prop_assert_eq!(everybody(&a), &expected[..]);
        prop_assert_eq!(everybody(&b), expected);
        sound(&a);
        sound(&b);
    }

    #[test]
    fn taking_everything_in_twice_changes_nothing((told, shuffled, sizes) in told_twice()) {
        let cdp = memory(Rules::default());
        define(&cdp, &definitions());
        ingest_in(&cdp, &told, &sizes);
        let (before, numbers, found) = (everybody(&cdp), cdp.stats().unwrap(), ids(&cdp));
        let report = cdp.ingest(&shuffled).unwrap();
        prop_assert_eq!((report.accepted, report.conflicts), (0, 0));
        prop_assert_eq!((report.profiles_created, report.merges), (0, 0));
        prop_assert_eq!(everybody(&cdp), before);
        let after = cdp.stats().unwrap();
        prop_assert_eq!(
            (after.events, after.quarantined, after.links, after.refusals, after.identifiers),
            (numbers.events, numbers.quarantined, numbers.links, numbers.refusals, numbers.identifiers)
        );
        prop_assert_eq!(ids(&cdp), found);
    }

    #[test]
    fn what_grew_event_by_event_is_what_a_rebuild_from_the_log_gives((told, shuffled, sizes) in told_twice()) {
        let cdp = memory(Rules::unlimited());
        define(&cdp, &definitions());
        ingest_in(&cdp, &shuffled, &sizes);
        let (grown, found) = (everybody(&cdp), ids(&cdp));
        let export: Vec<String> = cdp
            .profiles()
            .unwrap()
            .into_iter()
            .flat_map(|person| cdp.events(person.id, usize::MAX).unwrap())
            .map(|record| record.json)
            .collect();
        let rebuilt = memory(Rules::unlimited());
        define(&rebuilt, &definitions());
        prop_assert_eq!(rebuilt.ingest(export).unwrap().rejected, []);
        prop_assert_eq!(everybody(&rebuilt), &grown[..]);
        // Through narrower rules and back: the people fall apart, and are the same ones again.
        cdp.set_rules(Rules::default().limit("anonymous_id", Some(1)).total(Some(3))).unwrap();
        sound(&cdp);
        let narrow = Rules::default().limit("anonymous_id", Some(1)).total(Some(3));
        prop_assert_eq!(everybody(&cdp), model(&told, NOW, &narrow, &segments()));
        cdp.set_rules(Rules::unlimited()).unwrap();
        prop_assert_eq!(everybody(&cdp), grown);
        prop_assert_eq!(ids(&cdp), found);
        sound(&cdp);
    }

    #[test]
    fn where_limits_bind_events_in_order_and_a_replay_agree_with_the_model((told, shuffled, sizes) in told_twice()) {
        let narrow = Rules::default().limit("email", Some(1)).limit("anonymous_id", Some(2)).total(Some(5));
        let expected = model(&told, NOW, &narrow, &segments());
        let cdp = memory(narrow.clone());
        define(&cdp, &definitions());
        ingest_in(&cdp, &shuffled, &sizes);
        cdp.set_rules(narrow.clone()).unwrap();
        prop_assert_eq!(everybody(&cdp), &expected[..], "replayed");
        sound(&cdp);

        let mut sorted = told;
        let id = |event: &Value| Event::try_from(event.clone()).unwrap().content_id("default");
        let own = |event: &Value| event["messageId"].as_str().map_or_else(|| id(event), str::to_owned);
        sorted.sort_by_cached_key(|event| (time(event, NOW), own(event)));
        let cdp = memory(narrow);
        define(&cdp, &definitions());
        ingest_in(&cdp, &sorted, &sizes);
        prop_assert_eq!(everybody(&cdp), expected, "in order");
    }

    #[test]
    fn an_id_that_was_given_out_leads_to_the_person_for_ever(events in history(40, false)) {
        let (_folder, path) = place();
        let open = || builder(&ManualClock::at(NOW)).rules(Rules::unlimited()).open(&path).unwrap();
        let mut cdp = open();
        let mut given: BTreeMap<ProfileId, (usize, String)> = BTreeMap::new();
        for (turn, batch) in events.chunks(3).enumerate() {
            cdp.ingest(batch).unwrap();
            for (identifier, id) in ids(&cdp) {
                given.entry(id).or_insert((turn, identifier));
            }
            if turn % 4 == 3 {
                cdp.set_rules(Rules::unlimited()).unwrap();
                drop(cdp);
                cdp = open();
            }
        }
        for (id, (turn, identifier)) in given.clone() {
            let (by_id, by_name) = (cdp.profile(id).unwrap(), cdp.profile(&identifier).unwrap());
            prop_assert!(by_id.is_some(), "{} leads to nobody", identifier);
            let (by_id, by_name) = (by_id.unwrap(), by_name.unwrap());
            prop_assert_eq!((by_id.id, by_id.identifiers), (by_name.id, by_name.identifiers));
            prop_assert!(given[&by_id.id].0 <= turn, "the older id survives");
        }
    }
}
