//! Two known people turn out to be one, and the disk knows it: one event here, an update of all rows of one of them in a
//! store whose rows bear the profile's id.

use customerdb::{Cdp, Durability, Event, ManualClock, Rules};
use rusqlite::{Connection, params};

use crate::common::{Folder, Outcome, Way, now, print, size, timed};

/// How many pairs of people are joined, one pair after the other.
const PAIRS: usize = 100;

pub(crate) fn bench() -> Outcome {
    let (events, rounds) = (size(1_000, 200), size(5, 3));
    println!("\nstitch: {PAIRS} joins of two people with {events} events each, {rounds} rounds, medians");
    let title = format!("A join on the disk, one of them has {events} events");
    for (durability, synchronous) in [(Durability::Normal, "normal"), (Durability::Full, "full")] {
        let mut ways = [
            Way::new("SQLite: UPDATE events SET profile, by an index", PAIRS),
            Way::new("customerdb: an event that bears both names", PAIRS),
        ];
        for _ in 0..rounds {
            let folder = Folder::new("stitch-join")?;
            let mut conn = rows(&folder, events, synchronous)?;
            let (time, done) = timed(|| (0..PAIRS).try_for_each(|pair| rewrite(&mut conn, pair)));
            done?;
            ways[0].add(time);
            let cdp = people(&folder, events, durability)?;
            let (time, done) = timed(|| (0..PAIRS).try_for_each(|pair| cdp.ingest([join(pair)]).map(|_| ())));
            done?;
            ways[1].add(time);
            assert_eq!(usize::try_from(cdp.stats()?.profiles)?, PAIRS, "one of each two people is left");
        }
        print(&format!("{title} (synchronous = {synchronous})"), "joins", &ways);
    }
    Ok(())
}

/// Events of everybody in turn, as they would come, in a store whose rows say whose they are.
fn rows(folder: &Folder, events: usize, synchronous: &str) -> rusqlite::Result<Connection> {
    #[expect(clippy::disallowed_methods, reason = "the reference is plain SQLite")]
    let mut conn = Connection::open(folder.file("rows.db"))?;
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", synchronous)?;
    conn.pragma_update(None, "cache_size", -65_536)?;
    conn.execute_batch(
        "CREATE TABLE events (event INTEGER PRIMARY KEY, profile INTEGER, at INTEGER, json TEXT) STRICT;
         CREATE INDEX events_by_profile ON events (profile, at);",
    )?;
    let transaction = conn.transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO events (profile, at, json) VALUES (?1, ?2, ?3)")?;
        for number in 0..events * PAIRS * 2 {
            insert.execute(params![number % (PAIRS * 2), number, visit(number).to_json()])?;
        }
    }
    transaction.commit()?;
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(conn)
}

fn rewrite(conn: &mut Connection, pair: usize) -> rusqlite::Result<()> {
    let transaction = conn.transaction()?;
    transaction
        .prepare_cached("UPDATE events SET profile = ?2 WHERE profile = ?1")?
        .execute([pair * 2 + 1, pair * 2])?;
    transaction.commit()
}

/// The `number`th event, everybody in turn.
fn visit(number: usize) -> Event {
    let device = format!("device-{}", number % (PAIRS * 2));
    Event::track("Search")
        .anonymous_id(device)
        .message_id(format!("m{number}"))
        .property("n", number)
        .at(now())
}

fn join(pair: usize) -> Event {
    let [one, other] = [pair * 2, pair * 2 + 1].map(|device| format!("device-{device}"));
    Event::track("Search")
        .anonymous_id(one)
        .external_id("anonymous_id", other)
        .message_id(format!("join-{pair}"))
        .at(now())
}

fn people(folder: &Folder, events: usize, durability: Durability) -> customerdb::Result<Cdp> {
    let builder =
        Cdp::builder().clock(ManualClock::at(now())).rules(Rules::unlimited()).durability(durability);
    let cdp = builder.open(folder.file("people.db"))?;
    for from in (0..events * PAIRS * 2).step_by(10_000) {
        cdp.ingest((from..(from + 10_000).min(events * PAIRS * 2)).map(visit))?;
    }
    Ok(cdp)
}
