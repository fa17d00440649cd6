//! Segments: defined over all history, and kept right while events come in.
//!
//! The reference for a definition is one SQL query over rows that already know their person.

mod common;

use common::{Folder, Outcome, Row, Way, now, print, size, timed, workload, workload_of};
use customerdb::{Cdp, Condition, ManualClock, Segment, Source, all, days, did, did_not, has_trait, not};
use rusqlite::{Connection, params};

fn main() -> Outcome {
    let (events, rounds) = (size(300_000, 30_000), size(5, 3));
    // Fewer, for a round takes them in once for every number of segments.
    let incoming = size(60_000, 30_000);
    let rows: Vec<Row> = workload(events).collect();
    let folder = Folder::new("segment")?;
    println!("segment: {events} events to define over, {incoming} to take in, {rounds} rounds, medians");
    define(&folder, &rows, &folder.write("events.jsonl", &rows)?, rounds)?;
    let rows: Vec<Row> = workload(incoming).collect();
    let numbers = [(0, 0), (10, 10), (100, 100), (1_000, 10)];
    live(&folder, &folder.write("incoming.jsonl", &rows)?, (incoming, "40"), &numbers, rounds)?;
    for (each, told) in [(10, "10"), (2, "2")] {
        let rows: Vec<Row> = workload_of(incoming, incoming as u64 / each).collect();
        live(&folder, &folder.write("incoming.jsonl", &rows)?, (incoming, told), &numbers[..3], rounds)?;
    }
    Ok(())
}

/// A definition over all history.
fn define(folder: &Folder, rows: &[Row], file: &std::path::Path, rounds: usize) -> Outcome {
    let regulars = did("Product Viewed").at_least(3).within(days(30));
    let spenders = did("Order Completed").within(days(30)).sum("revenue").gte(500);
    let polar = all([has_trait("children").gte(1), has_trait("city").is_in(["Wuhan", "Lima"])]);
    let plain = plain(rows)?;
    let cdp = open(folder)?;
    cdp.ingest_file(file, &Source::new("bench"))?;
    let mut ways = [
        Way::new("SQLite: one GROUP BY, ≥ 3 views in 30 days", rows.len()),
        Way::new("customerdb: define, ≥ 3 views in 30 days", rows.len()),
        Way::new("customerdb: define, sum of a property ≥ 500 in 30 days", rows.len()),
        Way::new("customerdb: define, two traits", rows.len()),
        Way::new("customerdb: preview, ≥ 3 views in 30 days", rows.len()),
    ];
    for _ in 0..rounds {
        let (time, found) = timed(|| query(&plain));
        found?;
        ways[0].add(time);
        for (way, condition) in ways[1..].iter_mut().zip([&regulars, &spenders, &polar]) {
            let (time, members) = timed(|| cdp.define(Segment::new("bench", condition.clone())));
            members?;
            cdp.undefine("bench")?;
            way.add(time);
        }
        let (time, members) = timed(|| cdp.preview(regulars.clone()));
        members?;
        ways[4].add(time);
    }
    let people = cdp.stats()?.profiles;
    print(&format!("A definition over all history of {people} people"), "events", &ways);
    folder.clear("people.db");
    Ok(())
}

/// Events, so many a person, that come in while segments are live: a number of them, of which so many look at what comes
/// in.
fn live(
    folder: &Folder,
    file: &std::path::Path,
    (events, each): (usize, &str),
    numbers: &[(u64, u64)],
    rounds: usize,
) -> Outcome {
    let way = |(number, touched): &(u64, u64)| {
        Way::new(format!("customerdb: ingest_file, {number} live segments, {touched} touched"), events)
    };
    let mut ways: Vec<Way> = numbers.iter().map(way).collect();
    for _ in 0..rounds {
        for (way, &(number, touched)) in ways.iter_mut().zip(numbers) {
            folder.clear("people.db");
            let cdp = open(folder)?;
            for place in 0..number {
                let condition = if place < touched {
                    condition(place)
                } else {
                    did(&format!("Step {place}")).at_least(1 + place % 9).within(days(30))
                };
                cdp.define(Segment::new(format!("segment-{place}"), condition))?;
            }
            let (time, report) = timed(|| cdp.ingest_file(file, &Source::new("bench")));
            report?;
            way.add(time);
        }
    }
    print(&format!("Ingest with live segments, {each} events a person"), "events", &ways);
    Ok(())
}

/// A different condition for every place, of five kinds.
fn condition(place: u64) -> Condition {
    let window = days(7 + u32::try_from(place % 60).unwrap_or(0));
    match place % 5 {
        0 => did("Product Viewed").at_least(3 + place / 5).within(window),
        1 => did("Order Completed").within(window).sum("revenue").gte(500 + place),
        2 => all([has_trait("children").gte(1), has_trait("city").eq("Wuhan"), did("Search").within(window)]),
        3 => all([did("Product Added").within(window), did_not("Order Completed").within(window)]),
        _ => all([not(has_trait("plan").eq("gold")), did("$page").at_least(10 + place)]),
    }
}

fn open(folder: &Folder) -> customerdb::Result<Cdp> {
    Cdp::builder().clock(ManualClock::at(now())).open(folder.file("people.db"))
}

/// The events as rows in memory, each with its person.
#[expect(clippy::disallowed_methods, reason = "the reference is SQLite without this crate")]
fn plain(rows: &[Row]) -> rusqlite::Result<Connection> {
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(
        "CREATE TABLE events (person INTEGER, name TEXT, at INTEGER, json TEXT) STRICT; BEGIN",
    )?;
    {
        let mut insert = conn.prepare("INSERT INTO events VALUES (?1, ?2, ?3, ?4)")?;
        for row in rows {
            insert.execute(params![row.person, row.name, row.at, row.json])?;
        }
    }
    conn.execute_batch("COMMIT")?;
    Ok(conn)
}

fn query(conn: &Connection) -> rusqlite::Result<usize> {
    let sql = "SELECT person FROM events WHERE name = 'Product Viewed' AND at > ?1 GROUP BY person HAVING count(*) >= 3";
    let since = now().before(days(30)).as_micros() / 1_000;
    conn.prepare(sql)?
        .query_map([since], |row| row.get::<_, i64>(0))?
        .try_fold(0, |found, row| row.map(|_| found + 1))
}
