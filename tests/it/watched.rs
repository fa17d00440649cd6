//! Long calls that somebody watches, and ends.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use customerdb::{
    Cdp, Error, Event, ManualClock, Party, RetentionRule, Rules, Segment, Source, days, did, hours,
};

use crate::support::{NOW, builder, everybody, place, sound};

const PEOPLE: u32 = 500;

/// A shop whose people have four events each, of a third party's those that are old.
fn shop(cdp: &Cdp) {
    let at = |n: u32| NOW.before(hours(n % 900));
    let own = (0..PEOPLE * 3).map(|n| {
        Event::track(["View", "Order"][(n % 2) as usize])
            .user_id(format!("u{}", n % PEOPLE))
            .anonymous_id(format!("a{}", n % PEOPLE))
            .at(at(n))
    });
    cdp.ingest(own).unwrap();
    let bought = (0..PEOPLE).map(|n| Event::track("Seen").anonymous_id(format!("a{n}")).at(at(n)));
    cdp.ingest_from(&Source::new("ads").party(Party::Third), bought).unwrap();
}

type Call = (&'static str, fn(&Cdp) -> Result<(), Error>);

/// Calls that go through many events.
const CALLS: [Call; 8] = [
    ("restitch", |cdp| cdp.restitch().map(drop)),
    ("set_rules", |cdp| cdp.set_rules(Rules::default().limit("email", Some(9))).map(drop)),
    ("simulate", |cdp| cdp.simulate(Rules::default().limit("email", Some(3))).map(drop)),
    ("split_source", |cdp| cdp.split_source("default").map(drop)),
    ("define", |cdp| cdp.define(Segment::new("viewers", did("View").at_least(1).within(days(9)))).map(drop)),
    ("preview_at", |cdp| cdp.preview_at(did("View"), NOW.before(days(3))).map(drop)),
    ("sessions", |cdp| cdp.sessions(&customerdb::Sessions::default()).map(drop)),
    ("maintain", |cdp| cdp.maintain().map(drop)),
];

#[test]
fn a_call_that_is_ended_changes_nothing_and_works_when_it_is_made_again() {
    let (_folder, path) = place();
    let cdp = builder(&ManualClock::at(NOW)).open(&path).unwrap();
    shop(&cdp);
    cdp.retain(RetentionRule::new("ads", days(10)).party(Party::Third)).unwrap();
    let state = || (everybody(&cdp), cdp.stats().unwrap().events, cdp.rules(), cdp.segments().unwrap().len());
    let impatient = cdp.watched(|_| ControlFlow::Break(()));
    for (name, call) in CALLS {
        let before = state();
        assert!(matches!(call(&impatient), Err(Error::Cancelled)), "{name}");
        assert_eq!(before, state(), "{name}");
        sound(&cdp);
        call(&cdp).unwrap();
    }
    sound(&cdp);
}

#[test]
fn who_watches_is_told_more_and_more_events() {
    let cdp = builder(&ManualClock::at(NOW)).in_memory().unwrap();
    shop(&cdp);
    let told = Arc::new(Mutex::new(Vec::new()));
    let watched = cdp.watched({
        let told = Arc::clone(&told);
        move |events| {
            told.lock().unwrap().push(events);
            ControlFlow::Continue(())
        }
    });
    watched.restitch().unwrap();
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.len() >= 2 && told.is_sorted() && told[0] >= 1_000, "{told:?}");
    assert!(told.last().is_some_and(|last| *last <= 10 * u64::from(PEOPLE) * 4), "{told:?}");
}

#[test]
fn other_handles_are_not_watched_and_calls_that_share_a_commit_do_not_share_a_watcher() {
    let cdp = builder(&ManualClock::at(NOW)).in_memory().unwrap();
    shop(&cdp);
    let told = Arc::new(AtomicU64::new(0));
    let watched = cdp.watched({
        let told = Arc::clone(&told);
        move |_| {
            told.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Break(())
        }
    });
    cdp.restitch().unwrap();
    watched.clone().restitch().unwrap_err();
    let seen = told.load(Ordering::Relaxed);
    assert_eq!(seen, 1);
    cdp.restitch().unwrap();
    watched.ingest([Event::track("View").user_id("new").at(NOW)]).unwrap();
    assert_eq!(told.load(Ordering::Relaxed), seen, "a short call is over before anybody is told");
    assert_eq!(cdp.profile("user_id:new").unwrap().unwrap().first_seen, Some(NOW));
}
