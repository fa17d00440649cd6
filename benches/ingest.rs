//! From a file of JSON lines to a committed database, beside SQLite rows that know nothing of people.
//!
//! The references store the same text. They do not parse it, resolve nobody, and are told the message id: they say
//! what the disk and SQLite alone cost on this machine, now. `--events N` and `--rounds N` say how much is done.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{Folder, Outcome, Row, Way, asked, print, ratio, regulars, resident, size, timed, workload_of};
use customerdb::{Cdp, Durability, Source};
use rusqlite::{Connection, params};

/// As many as `ingest_file` commits together.
const BATCH: usize = 10_000;

/// Events of a person, on average.
const EACH: usize = 10;

/// What is taken in comes in so many parts and one more, which finds all of them held.
const PARTS: usize = 10;

/// How many events of a person are asked for, and how often everybody concerned is asked.
const LATEST: usize = 200;
const REPEATS: usize = 20;

/// The word after which this is a process of its own that opens a file.
const OPEN: &str = "--open";

fn main() -> Outcome {
    if let Some(path) = std::env::args().skip_while(|argument| argument != OPEN).nth(1) {
        return open(Path::new(&path));
    }
    let events = asked("--events").unwrap_or_else(|| size(1_000_000, 100_000));
    let rounds = asked("--rounds").unwrap_or_else(|| size(3, 2)).max(1);
    let folder = Folder::new("ingest")?;
    let parts = parts(&folder, events)?;
    let bytes =
        parts.iter().try_fold(0, |sum, part| Ok::<_, std::io::Error>(sum + part.metadata()?.len()))?;
    let all = events + events / PARTS;
    println!(
        "ingest: {events} events of {} people and a tenth more, {} bytes each, {rounds} rounds, medians",
        events / EACH,
        bytes / all as u64
    );
    let mut figures = bulk(&folder, &parts, events, rounds)?;
    figures.extend(kept(&folder, events, rounds)?);
    figures.extend(calls(&folder, &parts[0], rounds)?);
    println!("\nHow often as fast as its reference, or what share of it; what is to be reached");
    for (what, found, reach) in figures {
        println!("  {what:<66}{found:>12}   {reach}");
    }
    Ok(())
}

/// What was compared, what came out, and what is to be reached.
type Figure = (&'static str, String, &'static str);

/// All events from files, by commits of 10,000s.
fn bulk(
    folder: &Folder,
    parts: &[PathBuf],
    events: usize,
    rounds: usize,
) -> Result<Vec<Figure>, Box<dyn std::error::Error>> {
    let part = events / PARTS;
    let all = part * parts.len();
    let mut ways = [
        Way::new("SQLite rows: no index, no parse", all),
        Way::new("SQLite rows: UNIQUE (message_id), no parse", all),
        Way::new("customerdb: ingest_file", all),
    ];
    let mut held = [
        Way::new("customerdb: ingest_file, a tenth of the events held", part),
        Way::new("customerdb: ingest_file, all events held", part),
        Way::new("customerdb: ingest_file once more, all duplicates", part),
    ];
    let mut unique_bytes = 0;
    for _ in 0..rounds {
        for (way, unique) in ways.iter_mut().zip([false, true]) {
            let conn = plain(folder, unique, "full")?;
            let (time, stored) = timed(|| parts.iter().try_for_each(|part| store(&conn, part)));
            stored?;
            way.add(time);
            drop(conn);
            unique_bytes = folder.file("plain.db").metadata()?.len();
        }
        folder.clear("people.db");
        let cdp = Cdp::open(folder.file("people.db"))?;
        let mut times = Vec::new();
        for file in parts {
            let (time, report) = timed(|| cdp.ingest_file(file, &Source::new("bench")));
            assert_eq!(report?.accepted, part as u64);
            times.push(time);
        }
        ways[2].add(times.iter().sum());
        held[0].add(times[1]);
        held[1].add(times[PARTS]);
        let (time, report) = timed(|| cdp.ingest_file(&parts[PARTS], &Source::new("bench")));
        assert_eq!(report?.duplicates, part as u64);
        held[2].add(time);
    }
    folder.clear("plain.db");
    print("In bulk, durability full", "events", &ways);
    print("The same, by what is held before", "events", &held);
    let bytes = folder.file("people.db").metadata()?.len();
    #[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
    let share = bytes as f64 / unique_bytes as f64;
    println!(
        "\nsize of the file: {bytes} bytes, of SQLite rows under UNIQUE (message_id): {unique_bytes} bytes"
    );
    Ok(vec![
        ("ingest_file : SQLite rows without index and parse", ratio(&ways[0], &ways[2]), "≥ 0.40 ×"),
        ("ingest_file : SQLite rows under UNIQUE (message_id)", ratio(&ways[1], &ways[2]), "≥ 4 ×"),
        (
            "ingest_file with all events held : with a tenth of them held",
            ratio(&held[0], &held[1]),
            "≥ 0.85 ×",
        ),
        ("size of the file : SQLite rows under UNIQUE (message_id)", format!("{share:.2} ×"), "≤ 0.33 ×"),
    ])
}

/// What the file that `bulk` leaves costs to open, and a person's latest events.
fn kept(folder: &Folder, events: usize, rounds: usize) -> Result<Vec<Figure>, Box<dyn std::error::Error>> {
    let mut opened: Vec<(Duration, u64)> =
        (0..rounds).map(|_| opened(&folder.file("people.db"))).collect::<Result<_, _>>()?;
    opened.sort();
    let (time, resident) = opened[rounds / 2];

    let people = (events / EACH) as u64;
    let users: Vec<u64> = (0..regulars(people).min(20)).collect();
    let conn = by_person(folder, events + events / PARTS, people)?;
    let cdp = Cdp::open(folder.file("people.db"))?;
    let mut ways = [
        Way::new("SQLite rows: index (person, time)", users.len() * REPEATS),
        Way::new("customerdb: events", users.len() * REPEATS),
    ];
    let asked = |latest: &dyn Fn(u64) -> Result<usize, Box<dyn std::error::Error>>| {
        let (time, found) = timed(|| {
            (0..REPEATS).try_fold(0, |sum, _| {
                users
                    .iter()
                    .try_fold(sum, |sum, user| Ok::<_, Box<dyn std::error::Error>>(sum + latest(*user)?))
            })
        });
        found.map(|found| (time, found))
    };
    for _ in 0..rounds {
        let (time, expected) = asked(&|user| Ok(latest(&conn, user)?))?;
        ways[0].add(time);
        let (time, found) = asked(&|user| Ok(cdp.events(format!("user_id:user-{user}"), LATEST)?.len()))?;
        ways[1].add(time);
        assert_eq!(found, expected);
    }
    folder.clear("plain.db");
    print("A person's latest 200 events", "people", &ways);
    Ok(vec![
        ("open", format!("{time:.1?}"), "≤ 1 s of 10,000,000 events"),
        ("memory after open", format!("{} MiB", resident >> 20), "≤ 400 MB of 10,000,000 events"),
        ("a person's 200 events : SQLite index (person, time)", ratio(&ways[0], &ways[1]), "≥ 1 ×"),
    ])
}

/// Events one by one, a call each.
fn calls(folder: &Folder, file: &Path, rounds: usize) -> Result<Vec<Figure>, Box<dyn std::error::Error>> {
    let (singles, safe) = (size(20_000, 2_000), size(8_000, 1_600));
    let lines: Vec<String> =
        BufReader::new(File::open(file)?).lines().take(singles).collect::<Result<_, _>>()?;
    let safe = &lines[..safe.min(lines.len())];
    let mut single = [
        Way::new("SQLite rows: no index, a row a commit", lines.len()),
        Way::new("customerdb: ingest, an event a call", lines.len()),
    ];
    let mut threads = [
        Way::new("customerdb: 1 thread", safe.len()),
        Way::new("customerdb: 8 threads, who share commits", safe.len()),
    ];
    for _ in 0..rounds {
        let conn = plain(folder, false, "normal")?;
        let (time, stored) = timed(|| lines.iter().try_for_each(|line| insert(&conn, line)));
        stored?;
        single[0].add(time);
        folder.clear("people.db");
        let cdp = Cdp::builder().durability(Durability::Normal).open(folder.file("people.db"))?;
        let (time, stored) = timed(|| each_alone(&cdp, &lines, 1));
        stored?;
        single[1].add(time);
        drop(cdp);
        for (way, many) in threads.iter_mut().zip([1, 8]) {
            folder.clear("people.db");
            let cdp = Cdp::open(folder.file("people.db"))?;
            let (time, stored) = timed(|| each_alone(&cdp, safe, many));
            stored?;
            assert_eq!(cdp.stats()?.events, safe.len() as u64);
            way.add(time);
        }
    }
    print("One by one, durability normal", "events", &single);
    print("One by one, durability full", "events", &threads);
    Ok(vec![
        (
            "an event a call, normal : SQLite rows without index, a row a commit",
            ratio(&single[0], &single[1]),
            "≥ 0.5 ×",
        ),
        ("an event a call, full, 8 threads : 1 thread", ratio(&threads[0], &threads[1]), "≥ 5 ×"),
    ])
}

/// Writes the workload in parts of equal size.
fn parts(folder: &Folder, events: usize) -> std::io::Result<Vec<PathBuf>> {
    let part = events / PARTS;
    let mut rows = workload_of(part * (PARTS + 1), (events / EACH) as u64);
    (0..=PARTS)
        .map(|number| {
            let path = folder.file(&format!("events-{number}.jsonl"));
            let mut file = BufWriter::with_capacity(1 << 18, File::create(&path)?);
            rows.by_ref().take(part).try_for_each(|row| writeln!(file, "{}", row.json))?;
            file.flush().map(|()| path)
        })
        .collect()
}

/// Takes events in by calls of one event each, from several threads.
fn each_alone(cdp: &Cdp, lines: &[String], threads: usize) -> Outcome {
    let calls = |lines: &[String]| lines.iter().try_for_each(|line| cdp.ingest([line.as_str()]).map(|_| ()));
    let done: Result<(), customerdb::Error> = thread::scope(|scope| {
        let parts = lines.chunks(lines.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|part| scope.spawn(move || calls(part))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    });
    Ok(done?)
}

/// Opens a file in a process of its own: how long it took, and what is resident then.
fn opened(path: &Path) -> Result<(Duration, u64), Box<dyn std::error::Error>> {
    let run = Command::new(std::env::current_exe()?).arg(OPEN).arg(path).output()?;
    let told = String::from_utf8(run.stdout)?;
    let (time, resident) = told.trim().split_once(' ').ok_or("a process that was to open the file failed")?;
    Ok((Duration::from_nanos(time.parse()?), resident.parse()?))
}

/// What `opened` starts.
fn open(path: &Path) -> Outcome {
    let (time, cdp) = timed(|| Cdp::open(path));
    let cdp = cdp?;
    println!("{} {}", time.as_nanos(), resident().map_or(0, |(now, _)| now));
    drop(cdp);
    Ok(())
}

/// A new database of SQLite's own.
#[expect(clippy::disallowed_methods, reason = "the reference is SQLite without this crate")]
fn empty(folder: &Folder, synchronous: &str) -> rusqlite::Result<Connection> {
    folder.clear("plain.db");
    let conn = Connection::open(folder.file("plain.db"))?;
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", synchronous)?;
    conn.pragma_update(None, "cache_size", -65_536)?;
    Ok(conn)
}

/// The same with one table of events.
fn plain(folder: &Folder, unique: bool, synchronous: &str) -> rusqlite::Result<Connection> {
    let conn = empty(folder, synchronous)?;
    let unique = if unique { "UNIQUE" } else { "" };
    conn.execute_batch(&format!(
        "CREATE TABLE events (message_id TEXT NOT NULL {unique}, json TEXT NOT NULL) STRICT"
    ))?;
    Ok(conn)
}

/// The same events as rows that already know their person, with an index that leads to the latest.
fn by_person(folder: &Folder, events: usize, people: u64) -> rusqlite::Result<Connection> {
    let conn = empty(folder, "off")?;
    conn.execute_batch("CREATE TABLE events (person INTEGER, at INTEGER, json TEXT) STRICT; BEGIN")?;
    {
        let mut insert = conn.prepare("INSERT INTO events VALUES (?1, ?2, ?3)")?;
        for Row { person, at, json, .. } in workload_of(events, people) {
            insert.execute(params![person, at, json])?;
        }
    }
    conn.execute_batch("COMMIT; CREATE INDEX of_person ON events (person, at)")?;
    Ok(conn)
}

fn latest(conn: &Connection, person: u64) -> rusqlite::Result<usize> {
    let sql = "SELECT at, json FROM events WHERE person = ?1 ORDER BY at DESC LIMIT ?2";
    let mut asked = conn.prepare_cached(sql)?;
    let found = asked
        .query_map(params![person, LATEST], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    Ok(found.collect::<Result<Vec<_>, _>>()?.len())
}

fn store(conn: &Connection, file: &Path) -> Outcome {
    let mut lines = BufReader::with_capacity(1 << 18, File::open(file)?).lines().peekable();
    while lines.peek().is_some() {
        let transaction = conn.unchecked_transaction()?;
        for line in lines.by_ref().take(BATCH) {
            insert(conn, &line?)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

fn insert(conn: &Connection, json: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO events VALUES (?1, ?2)")?
        .execute(params![message_id(json), json])
        .map(|_| ())
}

/// The message id of an event of the workload, by the place where it always stands.
fn message_id(json: &str) -> &str {
    let (_, rest) = json.split_once(r#""messageId":""#).unwrap_or_default();
    rest.split_once('"').unwrap_or_default().0
}
