//! From a file of JSON lines to a committed database, beside SQLite rows that know nothing of people.
//!
//! The references store the same text. They do not parse it, resolve nobody, and are told the message id: they say
//! what the disk and SQLite alone cost on this machine, now.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::thread;

use common::{Folder, Outcome, Row, Way, print, size, timed, workload};
use customerdb::{Cdp, Durability, Source};
use rusqlite::{Connection, params};

/// As many as `ingest_file` commits together.
const BATCH: usize = 10_000;

fn main() -> Outcome {
    let (events, rounds) = (size(500_000, 100_000), size(5, 3));
    let singles = size(20_000, 2_000);
    let rows: Vec<Row> = workload(events).collect();
    let folder = Folder::new("ingest")?;
    let file = folder.write("events.jsonl", &rows)?;
    let bytes = usize::try_from(file.metadata()?.len())? / events;
    println!("ingest: {events} events of {bytes} bytes, {rounds} rounds, medians");

    let mut bulk = [
        Way::new("SQLite rows: no index, no parse", events),
        Way::new("SQLite rows: UNIQUE (message_id), no parse", events),
        Way::new("customerdb: ingest_file", events),
        Way::new("customerdb: ingest_file once more, all duplicates", events),
    ];
    let mut single = [
        Way::new("SQLite rows: UNIQUE (message_id), a row a commit", singles),
        Way::new("customerdb: ingest, an event a call", singles),
    ];
    let safe = size(8_000, 1_600);
    let mut threads =
        [Way::new("customerdb: 1 thread", safe), Way::new("customerdb: 8 threads, who share commits", safe)];
    for _ in 0..rounds {
        for (way, many) in threads.iter_mut().zip([1, 8]) {
            folder.clear("people.db");
            let cdp = Cdp::open(folder.file("people.db"))?;
            let (time, stored) = timed(|| each_alone(&cdp, &rows[..safe], many));
            stored?;
            assert_eq!(cdp.stats()?.events, safe as u64);
            way.add(time);
        }
        for (way, unique) in bulk.iter_mut().zip([false, true]) {
            let conn = plain(&folder, unique, "full")?;
            let (time, stored) = timed(|| store(&conn, &file, &rows));
            stored?;
            way.add(time);
        }
        folder.clear("people.db");
        let cdp = Cdp::open(folder.file("people.db"))?;
        let (time, report) = timed(|| cdp.ingest_file(&file, &Source::new("bench")));
        assert_eq!(report?.accepted, events as u64);
        bulk[2].add(time);
        let (time, report) = timed(|| cdp.ingest_file(&file, &Source::new("bench")));
        assert_eq!(report?.duplicates, events as u64);
        bulk[3].add(time);
        drop(cdp);

        let few = &rows[..singles.min(rows.len())];
        let conn = plain(&folder, true, "normal")?;
        let (time, stored) =
            timed(|| few.iter().try_for_each(|row| insert(&conn, &row.message_id, &row.json)));
        stored?;
        single[0].add(time);
        folder.clear("people.db");
        let cdp = Cdp::builder().durability(Durability::Normal).open(folder.file("people.db"))?;
        let (time, stored) =
            timed(|| few.iter().try_for_each(|row| cdp.ingest([row.json.as_str()]).map(|_| ())));
        stored?;
        single[1].add(time);
    }
    print("In bulk, durability full", "events", &bulk);
    print("One by one, durability normal", "events", &single);
    print("One by one, durability full", "events", &threads);
    Ok(())
}

/// Takes events in by calls of one event each, from several threads.
fn each_alone(cdp: &Cdp, rows: &[Row], threads: usize) -> Outcome {
    let calls = |rows: &[Row]| rows.iter().try_for_each(|row| cdp.ingest([row.json.as_str()]).map(|_| ()));
    let done: Result<(), customerdb::Error> = thread::scope(|scope| {
        let parts = rows.chunks(rows.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|part| scope.spawn(move || calls(part))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    });
    Ok(done?)
}

/// A new database with one table of events.
#[expect(clippy::disallowed_methods, reason = "the reference is SQLite without this crate")]
fn plain(folder: &Folder, unique: bool, synchronous: &str) -> rusqlite::Result<Connection> {
    folder.clear("plain.db");
    let conn = Connection::open(folder.file("plain.db"))?;
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", synchronous)?;
    conn.pragma_update(None, "cache_size", -65_536)?;
    let unique = if unique { "UNIQUE" } else { "" };
    conn.execute_batch(&format!(
        "CREATE TABLE events (message_id TEXT NOT NULL {unique}, json TEXT NOT NULL) STRICT"
    ))?;
    Ok(conn)
}

fn store(conn: &Connection, file: &Path, rows: &[Row]) -> Outcome {
    let mut lines = BufReader::with_capacity(1 << 18, File::open(file)?).lines();
    for batch in rows.chunks(BATCH) {
        let transaction = conn.unchecked_transaction()?;
        for (row, line) in batch.iter().zip(&mut lines) {
            insert(conn, &row.message_id, &line?)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

fn insert(conn: &Connection, message_id: &str, json: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO events VALUES (?1, ?2)")?.execute(params![message_id, json]).map(|_| ())
}
