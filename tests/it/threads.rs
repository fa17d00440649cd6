//! Threads that do everything at once: what each has done it sees at once, and all of it together is what one would have
//! done alone, one thread's deeds after the other's.
//!
//! The locks are those of the writer's turn, of the queue of calls that share a commit, and of the state in memory, beside
//! SQLite's own. How much is done is fixed, not how long it takes.

use std::sync::Barrier;

use customerdb::{Cdp, Durability, Event, ManualClock, Rules, Segment, all, days, did, has_trait};

use crate::kills::Dice;
use crate::support::{NOW, builder, everybody, place, sound};

const THREADS: u64 = 8;

/// How many deeds each thread does: fewer where they are slow.
const DEEDS: u64 = if cfg!(debug_assertions) { 40 } else { 160 };

fn segments() -> [Segment; 3] {
    [
        Segment::new("lately", did("A").within(days(3))),
        Segment::new("spenders", did("Buy").sum("n").gte(60)),
        Segment::new("odd", all([has_trait("odd").eq(true), did("A")])),
    ]
}

/// Somebody of whom only this thread tells, and a device of theirs.
fn own(thread: u64, dice: &mut Dice) -> (String, String) {
    (format!("t{thread}-u{}", dice.roll(4)), format!("t{thread}-a{}", dice.roll(6)))
}

fn event(thread: u64, deed: u64, part: u64, dice: &mut Dice) -> Event {
    let (user, device) = own(thread, dice);
    let event = match dice.roll(4) {
        0 => Event::track("A"),
        1 => Event::track("Buy").property("n", dice.roll(40)),
        2 => Event::identify().with_trait("odd", dice.roll(2) == 1),
        _ => Event::page(),
    };
    let event = if dice.roll(3) == 0 { event } else { event.user_id(user) };
    event.anonymous_id(device).message_id(format!("t{thread}-{deed}-{part}")).at(NOW.before(days(1)))
}

/// What all threads tell alike: it is taken once.
fn common(deed: u64) -> Event {
    Event::track("A").user_id(format!("common{}", deed % 5)).message_id(format!("common-{deed}")).at(NOW)
}

/// Does one thing, and looks at once whether it is done. `other` is another handle to the same database.
fn act(cdp: &Cdp, other: &Cdp, thread: u64, deed: u64) {
    let dice = &mut Dice::of(thread, deed);
    let (user, device) = own(thread, dice);
    let (user, device) = (format!("user_id:{user}"), format!("anonymous_id:{device}"));
    let shared = |number: u64| segments()[usize::try_from(number % 3).unwrap()].clone();
    match dice.roll(16) {
        0 => {
            cdp.erase(&user).unwrap();
            for handle in [cdp, other] {
                assert!(handle.profile(&user).unwrap().is_none());
                assert!(handle.is_suppressed(&user).unwrap());
            }
        }
        1 => _ = cdp.split(&device),
        2 => _ = cdp.link(&user, &device),
        3 => _ = cdp.define(shared(thread + deed)).unwrap(),
        4 => _ = cdp.undefine(shared(thread + deed).name()).unwrap(),
        5 => {
            let mut batch = cdp.begin().unwrap();
            batch
                .ingest([Event::page().user_id("nobody").message_id(format!("gone-{thread}-{deed}"))])
                .unwrap();
            batch.rollback();
        }
        6 => {
            let mut batch = cdp.begin().unwrap();
            batch.ingest((0..3).map(|part| event(thread, deed, part, dice))).unwrap();
            batch.commit().unwrap();
        }
        7 => {
            cdp.advance().unwrap();
            for person in other.profiles().unwrap().iter().take(5) {
                // It may have been erased since, or absorbed, and what is left of it is whole.
                if let Some(profile) = other.profile(person.id).unwrap() {
                    assert!(!profile.identifiers.is_empty());
                }
            }
        }
        8 => _ = cdp.maintain().unwrap(),
        9 => assert_eq!(other.check().unwrap(), []),
        _ => {
            let many = 1 + dice.roll(3);
            let mut events: Vec<Event> = (0..many).map(|part| event(thread, deed, part, dice)).collect();
            events.push(common(deed));
            let report = cdp.ingest(events).unwrap();
            assert_eq!(report.accepted + report.duplicates + report.rejected.len() as u64, many + 1);
            let kept = other.events(format!("user_id:common{}", deed % 5), usize::MAX).unwrap();
            assert!(kept.iter().any(|event| event.message_id == format!("common-{deed}")));
        }
    }
}

fn agree(cdp: &Cdp, other: &Cdp, alone: &Cdp) {
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                (0..DEEDS).for_each(|deed| act(cdp, other, thread, deed));
            });
        }
    });
    for thread in 0..THREADS {
        (0..DEEDS).for_each(|deed| act(alone, alone, thread, deed));
    }
    for segment in segments() {
        cdp.define(segment.clone()).unwrap();
        alone.define(segment).unwrap();
    }
    let found = everybody(cdp);
    assert_eq!(found, everybody(alone));
    assert_eq!(found, everybody(other));
    assert!(found.len() > 10, "{} people", found.len());
    sound(cdp);
    cdp.restitch().unwrap();
    assert_eq!(found, everybody(cdp));
}

#[test]
fn threads_that_do_everything_at_once_leave_what_one_would_have_left() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let open = || builder(&clock).rules(Rules::unlimited());
    let cdp = open().open(&path).unwrap();
    let reader = builder(&clock).open_read_only(&path).unwrap();
    agree(&cdp, &reader, &open().in_memory().unwrap());
    let after = everybody(&cdp);
    drop((cdp, reader));
    let cdp = open().open(&path).unwrap();
    assert_eq!(everybody(&cdp), after);
    sound(&cdp);
}

/// Where a commit waits for the disk, whoever leads waits for the others.
#[test]
fn so_they_do_where_commits_are_synced() {
    let clock = ManualClock::at(NOW);
    let (_folder, path) = place();
    let open = || builder(&clock).rules(Rules::unlimited()).durability(Durability::Full);
    let cdp = open().open(&path).unwrap();
    agree(&cdp, &cdp.clone(), &open().in_memory().unwrap());
}

#[test]
fn so_they_do_in_memory() {
    let clock = ManualClock::at(NOW);
    let open = || builder(&clock).rules(Rules::unlimited()).in_memory().unwrap();
    let cdp = open();
    agree(&cdp, &cdp.clone(), &open());
}
