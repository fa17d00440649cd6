//! What the targets share: a small database, and everything that one may ask of a file.

use customerdb::{Cdp, Durability, Event, ManualClock, Timestamp, Trend, days, did};

/// The instant that is called now: noon of the first of May 2024.
pub const NOW: Timestamp = Timestamp::from_millis(1_714_564_800_000);

/// A database that seals after each few events.
pub fn builder() -> customerdb::CdpBuilder {
    Cdp::builder().clock(ManualClock::at(NOW)).durability(Durability::Normal).seal_every(5)
}

/// A database in memory with some people in it.
pub fn people() -> Cdp {
    let cdp = builder().in_memory().unwrap();
    let event = |n: u32| {
        let event = match n % 4 {
            0 => Event::track("View").property("n", n).property("tags", vec!["a", "b"]),
            1 => Event::identify().with_trait("city", "Wuhan").with_trait("born", "1990-02-28"),
            2 => Event::group("g").with_trait("size", n),
            _ => Event::page().named("home"),
        };
        // Some have visited before it was known who they were.
        let event = if n < 10 { event } else { event.user_id(format!("u{}", n % 3)) };
        event.anonymous_id(format!("a{}", n % 5)).at(NOW.before(days(n)))
    };
    cdp.ingest((0..24).map(event)).unwrap();
    assert!(cdp.maintain().unwrap().arranged > 0, "sealed events are in the order of people");
    cdp.ingest((24..28).map(event)).unwrap();
    cdp
}

/// Asks everything that a file may be asked: an answer or an error, and no panic.
pub fn ask(cdp: &Cdp) {
    let _ = (cdp.check(), cdp.stats(), cdp.trend(&Trend::of(did("View"))), cdp.graph());
    let _ = (cdp.changes(0, 9), cdp.audit(0, 9), cdp.quarantine(9), cdp.segments());
    for person in cdp.profiles().into_iter().flatten().take(3) {
        let _ = (cdp.profile(person.id), cdp.events(person.id, 9), cdp.export(person.id));
    }
}
