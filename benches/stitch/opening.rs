//! A file of many people: how long it takes to open, what it takes in memory then, and to look somebody up.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use customerdb::{Cdp, Durability, Event, ManualClock, Rules};
use rusqlite::{Connection, OpenFlags};

use crate::common::{Dice, Folder, Outcome, Way, now, print, size, timed};
use crate::memory::{apart, each, identifier, measure};

const BATCH: usize = 50_000;

/// How many people are looked up.
const LOOKUPS: u64 = 20_000;

fn cdp(path: &Path) -> customerdb::Result<Cdp> {
    Cdp::builder().clock(ManualClock::at(now())).rules(Rules::unlimited()).open(path)
}

/// The `place`th identifier of somebody: a user id, an e-mail address, or one of two UUIDs.
fn of(person: usize, place: usize) -> String {
    let mut value = String::new();
    identifier(person * 4 + place, &mut value);
    value
}

/// What happened to somebody: a visit on one device, a sign-up on another, and, of every second person, a sign-in on the
/// first, which joins two profiles.
fn story(person: usize) -> impl Iterator<Item = Event> {
    let visit = Event::track("Search").anonymous_id(of(person, 3)).message_id(format!("v{person}")).at(now());
    let up = Event::identify().user_id(of(person, 0)).with_trait("email", of(person, 1));
    let up = up.anonymous_id(of(person, 2)).message_id(format!("u{person}")).at(now());
    let back = (person.is_multiple_of(2)).then(|| {
        let back = Event::track("Signed In").user_id(of(person, 0)).anonymous_id(of(person, 3));
        back.message_id(format!("b{person}")).at(now())
    });
    [visit, up].into_iter().chain(back)
}

pub(crate) fn bench() -> Outcome {
    let (people, rounds) = (size(1_250_000, 50_000), size(5, 3));
    let folder = Folder::new("stitch")?;
    let path = folder.file("people.db");
    {
        let builder = Cdp::builder().clock(ManualClock::at(now())).rules(Rules::unlimited());
        let cdp = builder.durability(Durability::Normal).open(&path)?;
        let mut next = 0;
        while next < people {
            let until = people.min(next + BATCH / 4);
            cdp.ingest((next..until).flat_map(story))?;
            next = until;
        }
    }
    let identifiers = people * 4;
    println!("\nstitch: a file of {identifiers} identifiers of {people} people, {rounds} rounds, medians");
    let mut opening = [
        Way::new("SQLite: reading the rows into a HashMap and a Vec", identifiers),
        Way::new("SQLite: reading the rows, and no more", identifiers),
        Way::new("customerdb: Cdp::open", identifiers),
    ];
    let mut lookup = [
        Way::new("SQLite: two SELECTs by a number", 1),
        Way::new("customerdb: Cdp::profile by identifier", 1),
    ];
    let name = path.to_string_lossy().into_owned();
    let mut memory = None;
    for _ in 0..rounds {
        opening[0].add(timed(|| read_rows(&path, true)).0);
        opening[1].add(timed(|| read_rows(&path, false)).0);
        lookup[0].add(select(&path, people)?);
        if let Some(found) = apart("open", &[&name, &people.to_string()])? {
            opening[2].add(found.time);
            lookup[1].add(found.other);
            memory = Some(found);
        }
    }
    print("Opening it", "identifiers", &opening);
    if let Some(found) = memory {
        println!(
            "  resident memory when it is open: {:.1} bytes an identifier, {:.1} at its peak",
            each(found.resident, identifiers),
            each(found.peak, identifiers)
        );
    }
    print("Looking up one of the people after another, each for the second time", "people", &lookup);
    Ok(())
}

/// In a process of its own: opens the file, then looks people up.
pub(crate) fn open(path: &str, people: usize) -> Outcome {
    let look = |cdp: &Cdp| {
        let mut fastest = Duration::MAX;
        for _ in 0..2 {
            let mut dice = Dice::new(21);
            let (time, found) = timed(|| {
                (0..LOOKUPS).try_for_each(|_| {
                    let person = usize::try_from(dice.below(people as u64)).unwrap_or(0);
                    let name = format!("anonymous_id:{}", of(person, 2));
                    cdp.profile(name).map(|found| assert!(found.is_some_and(|found| found.events > 0)))
                })
            });
            found?;
            fastest = fastest.min(time);
        }
        Ok(fastest / u32::try_from(LOOKUPS)?)
    };
    measure(|| Ok(cdp(Path::new(path))?), look)
}

/// What a program does that keeps identifiers as rows and wants them in memory.
fn read_rows(path: &Path, keep: bool) -> Outcome {
    let conn = reader(path)?;
    let mut select = conn.prepare("SELECT namespace, value, profile FROM identifiers ORDER BY node")?;
    let mut rows = select.query([])?;
    let (mut numbers, mut profiles) = (HashMap::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (kind, value, profile) =
            (row.get::<_, u16>(0)?, row.get_ref(1)?.as_str()?, row.get::<_, Option<u32>>(2)?);
        if keep {
            numbers.insert((kind, Box::<str>::from(value)), profiles.len());
            profiles.push(profile);
        } else {
            black_box((kind, value, profile));
        }
    }
    black_box((numbers, profiles));
    Ok(())
}

/// How long it takes SQLite to find an identifier, and whose it is, by their numbers.
#[expect(clippy::cast_possible_truncation, reason = "numbers of people are small")]
fn select(path: &Path, people: usize) -> Result<Duration, Box<dyn std::error::Error>> {
    let conn = reader(path)?;
    let mut identifier = conn.prepare("SELECT value, profile FROM identifiers WHERE node = ?1")?;
    let mut profile = conn.prepare("SELECT id FROM profiles WHERE profile = ?1")?;
    let mut fastest = Duration::MAX;
    for _ in 0..2 {
        let mut dice = Dice::new(22);
        let (time, found) = timed(|| {
            (0..LOOKUPS).try_for_each(|_| {
                let person = dice.below(people as u64);
                let (value, holder) = identifier.query_row([person], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Option<u32>>(1)?))
                })?;
                let id = profile.query_row([holder.unwrap_or(0)], |row| row.get::<_, Vec<u8>>(0))?;
                black_box((value, id));
                Ok::<_, rusqlite::Error>(())
            })
        });
        found?;
        fastest = fastest.min(time);
    }
    Ok(fastest / LOOKUPS as u32)
}

fn reader(path: &Path) -> Result<Connection, Box<dyn std::error::Error>> {
    #[expect(clippy::disallowed_methods, reason = "the reference is plain SQLite")]
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.pragma_update(None, "cache_size", -65_536)?;
    Ok(conn)
}
