//! The log beside a list of events that does everything by going through all of it.

mod arranging;
mod damage;
mod gathering;
mod learning;

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::prelude::*;
use rustc_hash::FxHashMap;
use serde_json::Value;
use tempfile::TempDir;

use super::{Asked, Chunk, Look, MessageId, NewEvent, ReadMembers, Shared, Visit};
use crate::clock::Timestamp;
use crate::event::Source;
use crate::identity::{Node, Numbers, Partition, ProfileNo};
use crate::store::{Access, Cipher, Db, Place};

/// What may happen to the log.
#[derive(Debug, Clone)]
enum Step {
    /// An event of a node, at a time, with a name; and how long its text is.
    Add(u32, i64, usize, usize),
    Give(prop::sample::Index, Option<u32>),
    Remove(prop::sample::Index),
    Rewrite(prop::sample::Index),
    Seal,
    /// Puts columns in the order of these people, to whom the nodes belong.
    Arrange(Vec<Option<u32>>),
    /// Lets go of a node, if nothing belongs to it.
    Forget(u32),
    Settle,
    /// Puts small groups together.
    Gather,
    Commit,
    TakeBack,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..6_u32;
    prop_oneof![
        30 => (node.clone(), 0..9_i64, 0..3_usize, 0..50_usize).prop_map(|(n, at, name, len)| Step::Add(n, at, name, len)),
        1 => (node.clone(), Just(0), Just(0), Just(40_000)).prop_map(|(n, at, name, len)| Step::Add(n, at, name, len)),
        3 => (any::<prop::sample::Index>(), prop::option::of(node)).prop_map(|(event, to)| Step::Give(event, to)),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
        1 => any::<prop::sample::Index>().prop_map(Step::Rewrite),
        1 => Just(Step::Seal),
        2 => prop::collection::vec(prop::option::weighted(0.8, 0..4_u32), 0..7).prop_map(Step::Arrange),
        1 => (0..6_u32).prop_map(Step::Forget),
        1 => Just(Step::Settle),
        1 => Just(Step::Gather),
        6 => Just(Step::Commit),
        1 => Just(Step::TakeBack),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    number: i64,
    node: Option<u32>,
    at: i64,
    name: String,
    id: String,
    json: String,
}

#[derive(Debug, Clone, Default)]
struct Model {
    events: Vec<Known>,
    added: usize,
    /// Nodes that were let go of; they are never used again.
    forgotten: Vec<u32>,
}

impl Model {
    fn of(&self, node: Option<u32>) -> Vec<Known> {
        let mut own: Vec<Known> = self.events.iter().filter(|event| event.node == node).cloned().collect();
        own.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        own
    }
}

struct Files {
    _folder: TempDir,
    place: Place,
    seal_every: usize,
    column_bytes: usize,
}

impl Files {
    /// An empty file that is sealed after so many events.
    fn new(seal_every: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        std::fs::File::create(&path).unwrap();
        Self {
            _folder: folder,
            place: Place::File(path, Cipher::default()),
            seal_every,
            column_bytes: 1 << 10,
        }
    }

    fn open(&self, access: Access) -> Db {
        Db::open(&self.place, access, &Arc::new(Shared::new(self.seal_every, self.column_bytes))).unwrap()
    }

    fn writer(&self) -> Db {
        let db = self.open(Access::Write { full: false, max_bytes: None });
        db.begin_write().unwrap();
        db
    }
}

/// The numbers of people that nodes belong to.
fn numbers(people: &[Option<u32>]) -> Arc<Numbers> {
    let partition = Partition::of(people.iter().map(|person| person.map(ProfileNo)));
    partition.numbers(&mut || Ok::<_, Infallible>(())).unwrap()
}

/// Every way into the log gives what the list gives.
fn compare(db: &Db, model: &Model) {
    let plain = |stored: crate::store::StoredEvent, number: i64| Known {
        number,
        node: stored.node.map(|node| node.0),
        at: stored.at.as_micros(),
        name: stored.name,
        id: stored.message_id,
        json: stored.json,
    };
    for event in &model.events {
        assert_eq!(&plain(db.event(event.number).unwrap(), event.number), event);
        let id = MessageId::new(&event.id);
        assert_eq!(db.event_with_id(&id).unwrap().map(i64::from), Some(event.number));
        assert_eq!(db.json_of(&id).unwrap().as_ref(), Some(&event.json));
    }
    assert_eq!(db.event_with_id(&MessageId::new("nobody's")).unwrap(), None);
    for node in 0..6 {
        let own = model.of(Some(node));
        let mut found = Vec::new();
        db.events_of(
            &[Node(node)],
            &Look { wanted: &|_| true, opened: &|_| true, known: &|_| false },
            |seen| {
                let texts = [seen.name, seen.message_id, seen.json].map(str::to_owned);
                found.push((seen.at.as_micros(), texts, i64::from(seen.event)));
            },
        )
        .unwrap();
        found.sort();
        let whole =
            |event: &Known| (event.at, [&event.name, &event.id, &event.json].map(Clone::clone), event.number);
        let mut all: Vec<_> = own.iter().map(whole).collect();
        all.sort();
        assert_eq!(found, all);
        let mut named = 0;
        db.events_of(
            &[Node(node)],
            &Look { wanted: &|name| name == "name 1", opened: &|_| true, known: &|event| event % 2 == 0 },
            |seen| {
                assert_eq!(seen.json.is_empty(), seen.event % 2 == 0);
                named += 1;
            },
        )
        .unwrap();
        assert_eq!(named, own.iter().filter(|event| event.name == "name 1").count());
        let times = || own.iter().map(|event| Timestamp::from_micros(event.at));
        let span = times().min().zip(times().max()).map(|(first, last)| (first, last, own.len() as u64));
        assert_eq!(db.span_of(Node(node)).unwrap(), span);
        let latest: Vec<String> = db
            .latest_events_of(&[Node(node)], 3)
            .unwrap()
            .into_iter()
            .map(|event| event.message_id)
            .collect();
        let newest: Vec<String> = own.iter().rev().take(3).map(|event| event.id.clone()).collect();
        assert_eq!(latest, newest);
    }
    let mut sorted = model.events.clone();
    sorted.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    let order: Vec<i64> = db.log().unwrap().into_iter().map(|(_, event)| event).collect();
    assert_eq!(order, sorted.iter().map(|event| event.number).collect::<Vec<_>>());
    let mut owners = Vec::new();
    db.visit_old(Timestamp::from_micros(6), |event, at, node, _, _| {
        owners.push((event, at.as_micros(), node.map(|node| node.0)));
    })
    .unwrap();
    owners.sort_unstable();
    let old = model.events.iter().filter(|event| event.at <= 6);
    let mut expected: Vec<_> = old.map(|event| (event.number, event.at, event.node)).collect();
    expected.sort_unstable();
    assert_eq!(owners, expected);
    let orphans = model.of(None).len() as u64;
    assert_eq!(db.count_events().unwrap(), (model.events.len() as u64, orphans));
    compare_visits(db, model);
    assert_eq!(db.faults_of_log().unwrap(), []);
}

/// Holds what visits hand out against the model.
fn compare_visits(db: &Db, model: &Model) {
    let names = db.event_names().unwrap();
    let last = names.iter().map(|(number, _)| *number as usize + 1).max().unwrap_or(0);
    let of_names = |fits: &dyn Fn(&str) -> bool| {
        let mut wanted = vec![false; last];
        for (number, text) in &names {
            wanted[*number as usize] = fits(text);
        }
        wanted
    };
    let (few, wanted) = (of_names(&|text| text == "name 1"), of_names(&|text| text != "name 2"));
    let members = ["length".to_owned()];
    let asked = |added_up, names| Some(Asked { members: &members, added_up, names, read: &Length });
    // Three people, and a node that is nobody's.
    let whose = numbers(&[Some(7), Some(2), Some(7), None, Some(1), Some(2)]);
    let some = (Some(Timestamp::from_micros(2)), Some(Timestamp::from_micros(7)));
    // What is asked for again is found beside the blocks, some of it of other names.
    for (range, wanted, asked) in [
        (some, &wanted, None),
        (some, &few, asked(None, &few)),
        ((None, None), &few, asked(None, &wanted)),
        ((None, None), &wanted, asked(None, &wanted)),
        (some, &wanted, asked(None, &wanted)),
        ((None, None), &few, asked(None, &few)),
        ((None, None), &wanted, asked(None, &few)),
        ((None, None), &few, asked(Some(0), &few)),
        ((None, None), &wanted, asked(Some(0), &wanted)),
        (some, &wanted, asked(Some(0), &wanted)),
    ] {
        let pause = |_| ControlFlow::Continue(());
        let people = Some(&*whose);
        let visit = Visit { range, wanted, times: true, edges: &[], people, numbers: true, asked };
        let take = |found: &mut Vec<i64>, chunk: &Chunk<'_>| {
            assert_eq!(chunk.keys.len(), if asked.is_some() { chunk.people.len() } else { 0 });
            for (place, ((person, at), event)) in
                chunk.people.iter().zip(chunk.times).zip(chunk.events).enumerate()
            {
                let own = model.events.iter().find(|known| known.number == i64::from(*event)).unwrap();
                let name = names.iter().find(|(number, _)| *number == chunk.name).unwrap();
                let whose = own.node.map(|node| whose.person(node));
                assert_eq!((whose, own.at, &own.name), (Some(*person), *at, &name.1));
                found.push(own.number);
                let Some(asked) = asked.filter(|asked| asked.names[chunk.name as usize]) else { continue };
                let (key, value) = (chunk.keys[place], length(&own.json));
                if asked.added_up.is_none() {
                    assert_eq!(chunk.values.of(key), [value.as_ref()]);
                    continue;
                }
                let stand = chunk.values.stand(0, key);
                let number = value.as_ref().and_then(whole_millionths);
                assert_eq!(chunk.values.millionths(0, stand), number);
                let is_told = stand.label != 0 && number.is_none();
                let is_plain = value.as_ref().is_none_or(Value::is_string);
                assert!(if is_told {
                    chunk.values.value(0, stand) == value.as_ref()
                } else {
                    number.is_some() || is_plain
                });
            }
            ControlFlow::Continue(())
        };
        let found = db.visit_events(visit, pause, Vec::new, take).unwrap();
        let mut found: Vec<i64> = found.into_iter().flatten().collect();
        found.sort_unstable();
        let (from, until) =
            (range.0.map_or(i64::MIN, Timestamp::as_micros), range.1.map_or(i64::MAX, Timestamp::as_micros));
        let is_wanted =
            |text: &str| names.iter().any(|(number, name)| name == text && wanted[*number as usize]);
        let fits = |event: &&Known| {
            let is_held = event.node.is_some_and(|node| whose.person(node) != Numbers::NOBODY);
            is_held && (from..until).contains(&event.at) && is_wanted(&event.name)
        };
        let mut fitting: Vec<i64> = model.events.iter().filter(fits).map(|event| event.number).collect();
        fitting.sort_unstable();
        assert_eq!(found, fitting);
    }
    compare_parts_of_visits(db, model, (some, &wanted), &whose);
}

/// Holds what is handed out against the model where it does not matter whose events are, or when they were.
fn compare_parts_of_visits(
    db: &Db,
    model: &Model,
    (some, wanted): ((Option<Timestamp>, Option<Timestamp>), &[bool]),
    whose: &Numbers,
) {
    let names = db.event_names().unwrap();
    // Where it does not matter whose they are, the same ones are found.
    let visit =
        Visit { range: some, wanted, times: true, edges: &[], people: None, numbers: false, asked: None };
    let take = |found: &mut Vec<(u32, i64)>, chunk: &Chunk<'_>| {
        found.extend(chunk.times.iter().map(|at| (chunk.name, *at)));
        ControlFlow::Continue(())
    };
    let found = db.visit_events(visit, |_| ControlFlow::Continue(()), Vec::new, take).unwrap();
    let mut found: Vec<(u32, i64)> = found.into_iter().flatten().collect();
    found.sort_unstable();
    let fits = |event: &&Known| event.node.is_some() && (2..7).contains(&event.at) && event.name != "name 2";
    let number = |event: &Known| names.iter().find(|(_, text)| *text == event.name).unwrap().0;
    let mut fitting: Vec<(u32, i64)> =
        model.events.iter().filter(fits).map(|event| (number(event), event.at)).collect();
    fitting.sort_unstable();
    assert_eq!(found, fitting);
    compare_counts(db, model, (some, wanted));
    // And so they are where it does not matter when they were.
    let visit = Visit {
        range: some,
        wanted,
        times: false,
        edges: &[],
        people: Some(whose),
        numbers: false,
        asked: None,
    };
    let take = |found: &mut Vec<(u32, u32)>, chunk: &Chunk<'_>| {
        found.extend(chunk.people.iter().map(|person| (chunk.name, *person)));
        ControlFlow::Continue(())
    };
    let found = db.visit_events(visit, |_| ControlFlow::Continue(()), Vec::new, take).unwrap();
    let mut found: Vec<(u32, u32)> = found.into_iter().flatten().collect();
    found.sort_unstable();
    let person = |event: &Known| event.node.map_or(Numbers::NOBODY, |node| whose.person(node));
    let own = model.events.iter().filter(fits).map(|event| (number(event), person(event)));
    let mut fitting: Vec<(u32, u32)> = own.filter(|(_, person)| *person != Numbers::NOBODY).collect();
    fitting.sort_unstable();
    assert_eq!(found, fitting);
}

/// Holds how many events there are between instants against the model, whether they are handed out or only counted.
fn compare_counts(db: &Db, model: &Model, (some, wanted): ((Option<Timestamp>, Option<Timestamp>), &[bool])) {
    // Some are inside of stretches of time.
    let edges = [0, 3, 7, 12];
    let cell = |at: i64| edges[1..].partition_point(|edge| *edge <= at);
    for (range, between) in [(some, 2..7), ((None, None), 0..12)] {
        let visit =
            Visit { range, wanted, times: true, edges: &edges, people: None, numbers: false, asked: None };
        let take = |found: &mut [u32; 3], chunk: &Chunk<'_>| {
            assert!(chunk.counts.is_empty() || chunk.times.is_empty() && chunk.counts.len() == found.len());
            found.iter_mut().zip(chunk.counts).for_each(|(own, count)| *own += count);
            chunk.times.iter().for_each(|at| found[cell(*at)] += 1);
            ControlFlow::Continue(())
        };
        let found = db.visit_events(visit, |_| ControlFlow::Continue(()), || [0; 3], take).unwrap();
        let mut expected = [0; 3];
        let fits =
            |event: &&Known| event.node.is_some() && between.contains(&event.at) && event.name != "name 2";
        model.events.iter().filter(fits).for_each(|event| expected[cell(event.at)] += 1);
        let sum = |place: usize| found.iter().map(|own| own[place]).sum::<u32>();
        assert_eq!([sum(0), sum(1), sum(2)], expected);
    }
}

/// A member of every event: how long its JSON is, if it is long.
struct Length;

/// Values of all kinds that are added up in different ways, some of them often.
fn length(json: &str) -> Option<Value> {
    let length = json.len();
    (length > 9).then(|| match length % 16 {
        0 => Value::from("text"),
        1 => Value::from(vec![length]),
        2 => Value::from(1e300),
        3 => Value::from(1.25),
        4 => Value::from(-0.000_001),
        5..=9 => Value::from(length),
        _ => Value::from(7),
    })
}

/// What of those values is a whole number of millionths.
fn whole_millionths(value: &Value) -> Option<i64> {
    let number = value.as_f64().filter(|number| number.abs() < 1e9)?;
    #[expect(clippy::cast_possible_truncation, reason = "the number is small")]
    Some((number * 1e6).round() as i64)
}

impl ReadMembers for Length {
    fn read<'j>(&self, json: &'j str, out: &mut [Option<Cow<'j, str>>]) {
        out[0] = length(json).map(|value| value.to_string().into());
    }
}

fn play(steps: Vec<Step>, seal_every: usize) {
    // Room for hardly any column, or for all.
    let files = Files {
        column_bytes: 1 << if seal_every.is_multiple_of(2) { 10 } else { 20 },
        ..Files::new(seal_every)
    };
    let mut db = files.writer();
    let reader = files.open(Access::Read);
    let source = db.source(&Source::default()).unwrap();
    let names: Vec<u32> = (0..3).map(|name| db.event_name(&format!("name {name}")).unwrap()).collect();
    db.commit().unwrap();
    db.begin_write().unwrap();
    let (mut model, mut committed) = (Model::default(), Model::default());
    for step in steps {
        match step {
            Step::Add(node, ..) | Step::Give(_, Some(node)) if model.forgotten.contains(&node) => {}
            Step::Add(node, at, name, len) => {
                let (id, json) =
                    (format!("id {}", model.added * 7 % 100_003), format!("{{\"{}\":1}}", "x".repeat(len)));
                let at_time = Timestamp::from_micros(at);
                let message_id = &MessageId::new(id.as_str());
                let (node_number, text) = (Node(node), json.as_str());
                let new = NewEvent {
                    node: node_number,
                    at: at_time,
                    name: names[name],
                    source,
                    message_id,
                    json: text,
                };
                let number = db.add_event(new).unwrap();
                assert!(model.events.iter().all(|event| event.number != number), "numbers are used once");
                model.events.push(Known {
                    number,
                    node: Some(node),
                    at,
                    name: format!("name {name}"),
                    id,
                    json,
                });
                model.added += 1;
            }
            Step::Give(which, to) if !model.events.is_empty() => {
                let event = which.get(&model.events).number;
                db.give_event(event, to.map(Node)).unwrap();
                model
                    .events
                    .iter_mut()
                    .filter(|known| known.number == event)
                    .for_each(|known| known.node = to);
            }
            Step::Remove(which) if !model.events.is_empty() => {
                let event = which.get(&model.events).number;
                db.edit_events(&FxHashMap::from_iter([(event, None)])).unwrap();
                let gone = model.events.iter().find(|known| known.number == event).cloned().unwrap();
                model.events.retain(|known| known.number != event);
                assert_eq!(db.event_with_id(&MessageId::new(&gone.id)).unwrap(), None);
            }
            Step::Rewrite(which) if !model.events.is_empty() => {
                let event = which.get(&model.events).number;
                let json = format!("{{\"rewritten\":{event}}}");
                db.edit_events(&FxHashMap::from_iter([(event, Some(json.as_str()))])).unwrap();
                let known = model.events.iter_mut().find(|known| known.number == event).unwrap();
                known.json = json;
            }
            Step::Forget(node) if model.of(Some(node)).is_empty() => {
                db.forget_ranks(&[Node(node)]).unwrap();
                model.forgotten.push(node);
            }
            Step::Give(..) | Step::Remove(_) | Step::Rewrite(_) | Step::Forget(_) => {}
            Step::Seal => drop(db.seal().unwrap()),
            Step::Arrange(people) => drop(db.arrange(&numbers(&people)).unwrap()),
            Step::Settle => drop(db.settle_moves().unwrap()),
            Step::Gather => while db.gather().unwrap().is_some() {},
            Step::Commit => {
                db.commit().unwrap();
                committed.clone_from(&model);
                reader.begin_read().unwrap();
                compare(&reader, &committed);
                reader.rollback();
                db.begin_write().unwrap();
            }
            Step::TakeBack => {
                db.rollback();
                model.clone_from(&committed);
                db.begin_write().unwrap();
            }
            Step::Reopen => {
                drop(db);
                model.clone_from(&committed);
                db = files.writer();
            }
        }
    }
    compare(&db, &model);
    db.commit().unwrap();
    reader.begin_read().unwrap();
    compare(&reader, &model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_has_what_was_put_into_it(
        steps in prop::collection::vec(step(), 1..150),
        seal_every in prop::sample::select(vec![1_usize, 5, 20, 1_000]),
    ) {
        play(steps, seal_every);
    }
}

/// What was written as that of a node that was let go of since is nobody's in columns that are written after that: whoever has it by
/// then has it still, and nobody has it once.
#[test]
fn what_moved_from_a_node_that_was_let_go_of_is_told_once_and_as_whose_it_is() {
    for owner in [None, Some(1)] {
        let files = Files::new(5);
        let db = files.writer();
        let (source, name) = (db.source(&Source::default()).unwrap(), db.event_name("name 0").unwrap());
        let mut model = Model::default();
        let add = |model: &mut Model, node: u32| {
            let (id, json) = (format!("id {}", model.added), "{}".to_owned());
            let message_id = &MessageId::new(id.as_str());
            let at = Timestamp::from_micros(5);
            let new = NewEvent { node: Node(node), at, name, source, message_id, json: &json };
            let number = db.add_event(new).unwrap();
            model.added += 1;
            let name = "name 0".to_owned();
            model.events.push(Known { number, node: Some(node), at: 5, name, id, json });
        };
        for node in [0, 3, 0, 1, 0, 2, 0] {
            add(&mut model, node);
        }
        db.give_event(model.events[1].number, owner.map(Node)).unwrap();
        model.events[1].node = owner;
        compare(&db, &model);
        assert!(db.arrange(&numbers(&[Some(3), None, None, Some(3)])).unwrap() > 0);
        compare(&db, &model);
        db.forget_ranks(&[Node(3)]).unwrap();
        compare(&db, &model);
        // So many that seals are merged.
        for _ in 0..10 {
            add(&mut model, 0);
            compare(&db, &model);
        }
    }
}

/// Two ids whose hashes are the same cannot be found; that nothing rests on the hash is shown by what has it in a bucket.
#[test]
fn an_id_whose_hash_another_has_is_another() {
    let db = Files::new(1).writer();
    let source = db.source(&Source::default()).unwrap();
    let name = db.event_name("A").unwrap();
    let at = Timestamp::EARLIEST;
    let event = db
        .add_event(NewEvent {
            node: Node(0),
            at,
            name,
            source,
            message_id: &MessageId::new("one"),
            json: "{}",
        })
        .unwrap();
    let seal = db.log.borrow().seals[0].number;
    // As if "two" had the hash of "one".
    let hash = super::ids::kept(super::ids::hash("two"));
    db.put_bucket(super::find::bucket_key(seal, 0), &[(hash, u32::try_from(event).unwrap())]).unwrap();
    let mut bloom = super::ids::Bloom::new(1);
    bloom.add(hash);
    db.log.borrow_mut().seals[0].bloom = Some(bloom);
    assert_eq!(db.event_with_id(&MessageId::new("two")).unwrap(), None);
    assert_ne!(db.faults_of_log().unwrap(), []);
}
