//! Files that are put in order now and then, beside files that never are.

use customerdb::{
    By, Cdp, Event, Funnel, Lifecycle, ManualClock, Measure, Retention, Rfm, Sessions, Trend, all, days, did,
    has_trait, hours,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::hostile::sqlite;
use crate::support::{NOW, builder, cases, everybody, place, sound};

/// What everybody is asked: numbers that do not depend on the ids of profiles.
fn answers(cdp: &Cdp) -> Value {
    let funnel = Funnel::new([did("A"), did("B")]).within(days(2));
    let trend = |measure| cdp.trend(&Trend::of(did("A")).measure(measure)).unwrap();
    let frequent = all([did("A").at_least(2).within(days(5)), has_trait("n").gte(1)]);
    let mut orders = Vec::new();
    for name in ["A", "B"] {
        orders.push(cdp.rfm(&Rfm::new(did(name), "n").without_profiles()).ok());
    }
    json!({
        "funnel": cdp.funnel(&funnel).unwrap(),
        "retention": cdp.retention(&Retention::new(did("A"), did("A"))).unwrap(),
        "lifecycle": cdp.lifecycle(&Lifecycle::of(did("A"))).unwrap(),
        "sessions": cdp.sessions(&Sessions::default()).unwrap(),
        "trends": [trend(Measure::Total), trend(Measure::Unique)],
        "by": cdp.trend(&Trend::of(did("A")).by(By::property("n"))).ok(),
        "orders": orders,
        "frequent": cdp.preview_count(frequent).unwrap(),
    })
}

#[derive(Debug, Clone)]
enum Step {
    /// Events: of whom, of which device, by which name, and when.
    Ingest(Vec<(Option<u8>, Option<u8>, bool, u32)>),
    Link(u8, u8),
    Split(u8),
    Erase(u8),
    Maintain,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let event = (prop::option::of(0..5_u8), prop::option::weighted(0.8, 0..8_u8), any::<bool>(), 0..200_u32);
    prop_oneof![
        6 => prop::collection::vec(event, 1..12).prop_map(Step::Ingest),
        1 => (0..5_u8, 0..8_u8).prop_map(|(user, device)| Step::Link(user, device)),
        1 => (0..8_u8).prop_map(Step::Split),
        1 => (0..5_u8).prop_map(Step::Erase),
        4 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
    ]
}

fn take(cdp: &Cdp, first: usize, step: &Step) {
    match step {
        Step::Ingest(events) => {
            let own = (first..).zip(events).map(|(number, (user, device, is_a, ago))| {
                let event = match number % 5 {
                    0 => Event::identify().with_trait("n", number % 3),
                    _ => Event::track(if *is_a { "A" } else { "B" }).property("n", number % 4),
                };
                let event = event.message_id(format!("m{number}")).at(NOW.before(hours(*ago)));
                let event = user.iter().fold(event, |event, user| event.user_id(format!("u{user}")));
                let device = device.or(user.is_none().then_some(9));
                device.iter().fold(event, |event, device| event.anonymous_id(format!("a{device}")))
            });
            cdp.ingest(own).unwrap();
        }
        // Not everybody is known.
        Step::Link(user, device) => {
            let _ = cdp.link(format!("user_id:u{user}"), format!("anonymous_id:a{device}"));
        }
        Step::Split(device) => {
            let _ = cdp.split(format!("anonymous_id:a{device}"));
        }
        Step::Erase(user) => {
            let _ = cdp.erase(format!("user_id:u{user}"));
        }
        Step::Maintain | Step::Reopen => {}
    }
}

proptest! {
    #![proptest_config(cases(40))]

    /// In whatever order the columns lie, and whoever people have become since, all answers are the same: those of the handle
    /// that puts them in order, of one that is opened anew, and of one that reads beside them.
    #[test]
    fn what_is_put_in_order_says_what_it_said(steps in prop::collection::vec(step(), 1..16)) {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| builder(&ManualClock::at(NOW)).open(folder.path().join(name)).unwrap();
        let (plain, mut tidy) = (open("plain.db"), open("tidy.db"));
        let reader = Cdp::builder().clock(ManualClock::at(NOW)).open_read_only(folder.path().join("tidy.db"));
        let reader = reader.unwrap();
        let mut number = 0;
        for step in steps {
            match &step {
                Step::Maintain => {
                    tidy.maintain().unwrap();
                    let again = tidy.maintain().unwrap();
                    prop_assert_eq!((again.arranged, again.gathered), (0, 0), "once is enough");
                }
                Step::Reopen => {
                    drop(tidy);
                    tidy = open("tidy.db");
                }
                // In one call, and each by itself.
                Step::Ingest(events) => {
                    take(&plain, number, &step);
                    let single = events.iter().map(|event| Step::Ingest(vec![*event]));
                    (number..).zip(single).for_each(|(number, step)| take(&tidy, number, &step));
                }
                step => [&plain, &tidy].into_iter().for_each(|cdp| take(cdp, number, step)),
            }
            if let Step::Ingest(events) = &step {
                number += events.len();
            }
            let said = answers(&plain);
            prop_assert_eq!(&answers(&tidy), &said, "after {:?}", step);
            prop_assert_eq!(&answers(&reader), &said, "after {:?}", step);
        }
        prop_assert_eq!(everybody(&plain), everybody(&tidy));
        prop_assert_eq!(everybody(&plain), everybody(&reader));
        sound(&tidy);
    }
}

/// An application that takes events in one by one has a log as small as one that takes them in together, and nothing else is
/// different.
#[test]
fn what_came_one_by_one_is_put_together() {
    let (folder, path) = place();
    let beside = path.with_file_name("together.db");
    let open = |path: &std::path::Path| Cdp::builder().clock(ManualClock::at(NOW)).open(path).unwrap();
    let (single, together) = (open(&path), open(&beside));
    let events = || {
        (0..300_u32).map(|n| {
            Event::track("Search").user_id(format!("u{}", n % 9)).property("n", n).at(NOW.before(hours(n)))
        })
    };
    events().for_each(|event| drop(single.ingest([event]).unwrap()));
    together.ingest(events()).unwrap();
    let before = everybody(&single);
    assert_eq!((single.maintain().unwrap().gathered, together.maintain().unwrap().gathered), (300, 0));
    assert_eq!(single.maintain().unwrap().gathered, 0);
    assert_eq!(everybody(&single), before);
    assert_eq!(everybody(&single), everybody(&together));
    sound(&single);
    drop((single, together));
    let log = |path| {
        let sql = "SELECT count(*), sum(length(bytes)) FROM log";
        sqlite(path).query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap()
    };
    assert_eq!(log(&path), log(&beside));
    drop(folder);
}

/// Events whose devices turn out to be people's are put in the order of those, once, and not where few people stand apart.
#[test]
fn columns_are_put_in_the_order_of_people_where_many_have_joined() {
    let (_folder, path) = place();
    let cdp = builder(&ManualClock::at(NOW)).open(path).unwrap();
    let visit = |n: u32, round: u32| {
        Event::page()
            .anonymous_id(format!("a{n}"))
            .message_id(format!("m{n}-{round}"))
            .at(NOW.before(hours(round)))
    };
    cdp.ingest((0..40).map(|n| visit(n, 1))).unwrap();
    let done = cdp.maintain().unwrap();
    assert_eq!((done.sealed, done.arranged), (5, 0), "everybody has one place");
    // Two devices of one person each, of which one was seen when the other had been, long before.
    let both = |n: u32| [visit(n, 2).user_id(format!("u{}", n % 20)).message_id(format!("b{n}"))];
    cdp.ingest((0..40).flat_map(both)).unwrap();
    let done = cdp.maintain().unwrap();
    assert_eq!(done.arranged, 80, "{done:?}");
    assert_eq!(cdp.maintain().unwrap().arranged, 0);
    // Of twenty people two more have events elsewhere: it is not worth writing all anew.
    let joined = |n: u32| [visit(100 + n, 3), visit(100 + n, 4).user_id(format!("u{n}"))];
    cdp.ingest((0..2).flat_map(joined)).unwrap();
    assert_eq!(cdp.maintain().unwrap().arranged, 0);
    // Devices that bear no event alone do not count, however many they are.
    cdp.ingest((0..20).map(|n| visit(200 + n, 5).user_id(format!("u{n}")))).unwrap();
    assert_eq!(cdp.maintain().unwrap().arranged, 0);
    cdp.ingest((2..4).flat_map(joined)).unwrap();
    assert_eq!(cdp.maintain().unwrap().arranged, 108);
    sound(&cdp);
}

/// However much room there is: it is done or waits, and nothing is lost.
#[test]
fn where_there_is_no_room_the_order_can_wait() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).seal_every(400).open(&path).unwrap();
    let visit = |n: u32| {
        let event = Event::page().anonymous_id(format!("a{}", n % 3_000)).at(NOW.before(hours(n % 900)));
        let event = if n < 3_000 { event } else { event.user_id(format!("u{}", n % 300)) };
        event.message_id(format!("m{n}"))
    };
    cdp.ingest((0..4_000).map(visit)).unwrap();
    let before = everybody(&cdp);
    drop(cdp);
    let conn = sqlite(&path);
    conn.execute_batch("PRAGMA journal_mode = delete; VACUUM;").unwrap();
    drop(conn);
    let whole = std::fs::read(&path).unwrap();
    let (mut waited, mut arranged) = (0, 0);
    for pages in [0, 1, 2, 3, 4, 6, 20, 60] {
        std::fs::write(&path, &whole).unwrap();
        let most = whole.len() as u64 + pages * 4_096;
        let cdp = builder(&clock).seal_every(400).max_file_bytes(most).open(&path).unwrap();
        if let Ok(done) = cdp.maintain() {
            waited += u64::from(done.arranged == 0);
            arranged += done.arranged;
        }
        assert_eq!(everybody(&cdp), before, "{pages}");
        sound(&cdp);
    }
    assert!(waited > 0 && arranged > 0, "{waited}, {arranged}");
}
