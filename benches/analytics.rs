//! Questions about everybody.
//!
//! The reference is the same question as SQL over rows in SQLite that already know their person, indexed by person and
//! time; properties are read by SQLite's JSON functions.

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Folder, Outcome, Row, Way, asked, now, print, size, timed, workload};
use customerdb::{
    Attribution, By, Cdp, Error, Funnel, Interval, Lifecycle, ManualClock, Measure, Paths, Question,
    Retention, Rfm, Sessions, Source, Trend, days, did,
};
use rusqlite::{Connection, params};

/// A question: what it is called, the SQL for it, and how this crate is asked. Both say how many, and have to agree.
type Ask = fn(&Cdp) -> customerdb::Result<u64>;

/// The greatest number of steps of each person, as windows of starts.
const FUNNEL: &str = "
    WITH starts AS (SELECT person, at FROM events WHERE name = 'Search'),
    second AS (SELECT s.person, s.at AS first, min(e.at) AS at FROM starts s JOIN events e
        ON e.person = s.person AND e.name = 'Product Viewed' AND e.at > s.at AND e.at <= s.at + 604800000
        GROUP BY s.person, s.at),
    third AS (SELECT DISTINCT s.person FROM second s JOIN events e
        ON e.person = s.person AND e.name = 'Order Completed' AND e.at > s.at AND e.at <= s.first + 604800000)
    SELECT count(*) FROM third";

const SESSIONS: &str = "
    SELECT count(*) FROM (SELECT at - lag(at) OVER (PARTITION BY person ORDER BY at) AS gap FROM events)
    WHERE gap IS NULL OR gap > 1800000";

/// The first of January 1970 is a Thursday.
const RETENTION: &str = "
    WITH active AS (SELECT DISTINCT person, (at / 86400000 + 3) / 7 AS week FROM events WHERE name = 'Search'),
    firsts AS (SELECT person, min(week) AS week FROM active GROUP BY person)
    SELECT count(*) FROM active JOIN firsts USING (person) WHERE active.week = firsts.week + 1";

const UNIQUE: &str =
    "SELECT count(*) FROM (SELECT DISTINCT person, at / 86400000 FROM events WHERE name = 'Search')";

const SUMS: &str = "
    SELECT count(*) FROM (SELECT at / 86400000, sum(json_extract(json, '$.properties.revenue')) FROM events
    WHERE name = 'Order Completed' GROUP BY 1)";

const RFM: &str = "
    SELECT count(*) FROM (SELECT ntile(5) OVER (ORDER BY last), ntile(5) OVER (ORDER BY n), ntile(5) OVER (ORDER BY m)
    FROM (SELECT max(at) AS last, count(*) AS n, sum(json_extract(json, '$.properties.revenue')) AS m FROM events
    WHERE name = 'Order Completed' GROUP BY person))";

const BY: &str = "
    SELECT count(DISTINCT json_extract(json, '$.properties.path')) FROM events WHERE name = '$page'";

fn questions() -> [(&'static str, &'static str, Ask); 7] {
    [
        ("funnel of 3 steps in 7 days", FUNNEL, |cdp| {
            let steps = [did("Search"), did("Product Viewed"), did("Order Completed")];
            Ok(cdp.funnel(&Funnel::new(steps).within(days(7)))?.steps[2].count)
        }),
        ("sessions", SESSIONS, |cdp| Ok(cdp.sessions(&Sessions::default())?.sessions)),
        ("weekly retention", RETENTION, |cdp| {
            let question =
                Retention::new(did("Search"), did("Search")).every(Interval::Week).first_time().periods(1);
            Ok(cdp.retention(&question)?.cohorts.iter().map(|cohort| cohort.values[1]).sum())
        }),
        ("people a day", UNIQUE, |cdp| {
            let report = cdp.trend(&Trend::of(did("Search")).measure(Measure::Unique))?;
            Ok(report.series.iter().filter_map(|point| point.value.as_u64()).sum())
        }),
        ("revenue a day", SUMS, |cdp| {
            let report =
                cdp.trend(&Trend::of(did("Order Completed")).measure(Measure::Sum("revenue".into())))?;
            Ok(report.series.len() as u64)
        }),
        ("RFM", RFM, |cdp| Ok(cdp.rfm(&Rfm::new(did("Order Completed"), "revenue"))?.profiles.len() as u64)),
        ("trend by a property", BY, |cdp| {
            let report = cdp.trend(&Trend::of(did("$page")).by(By::property("path")))?;
            Ok(report.groups.map_or(0, |groups| groups.len() as u64))
        }),
    ]
}

fn main() -> Outcome {
    let events = asked("--events").unwrap_or_else(|| size(300_000, 20_000));
    let rounds = size(5, 2);
    let rows: Vec<Row> = workload(events).collect();
    let folder = Folder::new("analytics")?;
    println!("analytics: {events} events, {rounds} rounds, medians");
    let plain = plain(&rows)?;
    let cdp = Cdp::builder().clock(ManualClock::at(now())).open(folder.file("people.db"))?;
    cdp.ingest_file(folder.write("events.jsonl", &rows)?, &Source::new("bench"))?;
    for (name, sql, ask) in questions() {
        let mut ways =
            [Way::new(format!("SQLite: {name}"), events), Way::new(format!("customerdb: {name}"), events)];
        for _ in 0..rounds {
            let (time, found) = timed(|| plain.query_row(sql, [], |row| row.get::<_, u64>(0)));
            let expected = found?;
            ways[0].add(time);
            let (time, found) = timed(|| ask(&cdp));
            let found = found?;
            ways[1].add(time);
            // The reference takes a person as given; devices that nobody logged in on are people of their own here.
            assert!(found.abs_diff(expected) <= expected / 2 + 5, "{name}: {found}, in SQL {expected}");
        }
        print(name, "events", &ways);
    }
    drop(cdp);
    cancelled(&folder.file("people.db"))
}

/// How long whoever asks may wait until a question ends that they do not want any more: the longest time in which they are
/// not heard, and the longest that it goes on after it was told to stop. The first time, what it reads is not at hand yet.
fn cancelled(path: &Path) -> Outcome {
    println!("\nuntil a question ends that is not wanted any more, milliseconds   to be reached: 50");
    println!("  {:<30}{:>16}{:>16}{:>16}", "", "unheard, first", "unheard, again", "told to stop");
    let paths = || Trend::of(did("$page")).by(By::property("path"));
    heard(path, "sessions", &Sessions::default())?;
    heard(path, "funnel", &Funnel::new([did("Search"), did("Product Viewed"), did("Order Completed")]))?;
    heard(path, "retention", &Retention::new(did("Search"), did("Search")).every(Interval::Week))?;
    heard(path, "retention by a property", &Retention::new(did("$page"), did("*")).by(By::property("path")))?;
    heard(path, "lifecycle", &Lifecycle::of(did("$page")))?;
    heard(path, "trend by a property", &paths())?;
    heard(path, "trend by a trait", &Trend::of(did("$page")).by(By::with_trait("city")))?;
    heard(path, "people by a property", &paths().measure(Measure::Unique))?;
    heard(path, "paths", &Paths::from_event(did("Search")))?;
    heard(path, "attribution", &Attribution::of(did("Order Completed")).touches(did("$page"), "path"))?;
    heard(path, "RFM", &Rfm::new(did("Order Completed"), "revenue"))
}

#[expect(clippy::disallowed_methods, reason = "a stopwatch")]
fn heard<Q: Question>(path: &Path, name: &str, question: &Q) -> Outcome {
    let cdp = Cdp::builder().clock(ManualClock::at(now())).open_read_only(path)?;
    let (mut silences, mut calls) = (Vec::new(), 0_u32);
    for _ in 0..2 {
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        calls = 0;
        cdp.analyse(question, |_| {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            calls += 1;
            ControlFlow::Continue(())
        })?;
        silences.push(longest.max(last.elapsed()));
    }
    let mut goes_on = Duration::ZERO;
    for stop in (0..16).map(|sixteenth| 1 + calls * sixteenth / 16) {
        let (mut heard, mut told) = (0, None);
        let answer = cdp.analyse(question, |_| {
            heard += 1;
            if heard < stop {
                return ControlFlow::Continue(());
            }
            told.get_or_insert_with(Instant::now);
            ControlFlow::Break(())
        });
        if let (Err(Error::Cancelled), Some(told)) = (answer.map(drop), told) {
            goes_on = goes_on.max(told.elapsed());
        }
    }
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    let [first, again] = [millis(silences[0]), millis(silences[1])];
    println!("  {name:<30}{first:>16.1}{again:>16.1}{:>16.1}", millis(goes_on));
    Ok(())
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
    conn.execute_batch("COMMIT; CREATE INDEX by_person ON events (person, name, at)")?;
    Ok(conn)
}
