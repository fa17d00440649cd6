//! Files that are damaged, cut off, another's, or out of reach: an answer, or an error that says what and where; never a
//! panic, and never a write into what is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use customerdb::{
    Cdp, ConsentDecision, Error, Event, ManualClock, Party, Purpose, RetentionRule, Rules, Segment,
    SharedDevice, Source, Trend, all, consented_to, days, did, has_trait,
};

use crate::support::{NOW, builder, place};

/// How many bytes to flip; all with a number larger than the file. The tables whose flips nobody notices are told then.
const FLIPS: &str = "CUSTOMERDB_FLIPS";

/// After how many bytes the next is flipped: so that there are so many, unless another number is asked for.
fn step(bytes: usize, flips: usize) -> usize {
    let asked = std::env::var(FLIPS).ok().map(|text| text.parse().unwrap());
    bytes.div_ceil(asked.unwrap_or(flips)).max(1)
}

fn open(path: &Path) -> Result<Cdp, Error> {
    builder(&ManualClock::at(NOW)).seal_every(5).open(path)
}

fn open_read_only(path: &Path) -> Result<Cdp, Error> {
    builder(&ManualClock::at(NOW)).seal_every(5).open_read_only(path)
}

#[expect(clippy::disallowed_methods, reason = "damage comes from without")]
pub(crate) fn sqlite(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

/// A small file with something in almost every table, in pages of 512 bytes, so that it has many.
pub(crate) fn rich(path: &Path) -> Vec<u8> {
    let rules = Rules::default().shared_device(SharedDevice::Last);
    let cdp = builder(&ManualClock::at(NOW)).seal_every(5).rules(rules).open(path).unwrap();
    cdp.define(Segment::new("lately", did("View").within(days(3)))).unwrap();
    cdp.define(Segment::new("agreed", all([consented_to("marketing"), has_trait("odd").eq(true)]))).unwrap();
    cdp.define_purpose(Purpose::new("advertising").category("Advertising")).unwrap();
    cdp.retain(RetentionRule::new("bought", days(90)).party(Party::Third).anonymous()).unwrap();
    cdp.ingest((0..24_u32).map(|n| {
        let event = match n % 6 {
            0 | 3 => Event::track("View").property("n", n),
            1 => Event::identify().with_trait("odd", n % 4 == 1).with_trait("email", format!("u{n}@x.io")),
            2 => Event::group(format!("g{}", n % 3)).with_trait("size", n),
            4 => Event::screen().named(format!("screen {n}")),
            _ => Event::alias(format!("a{}", n % 3)),
        };
        let event = event.message_id(format!("m{n}")).at(NOW.before(days(n % 7)));
        let event = if n % 4 == 3 { event } else { event.user_id(format!("u{}", n % 5)) };
        event.anonymous_id(format!("a{}", n % 3))
    }))
    .unwrap();
    cdp.ingest_from(
        &Source::new("bought").party(Party::Third),
        [Event::page().anonymous_id("old").at(NOW.before(days(99)))],
    )
    .unwrap();
    cdp.maintain().unwrap();
    cdp.ingest([Event::page().message_id("nobody's")]).unwrap();
    cdp.record_consent("user_id:u1", ConsentDecision::granted("marketing").evidence("a box")).unwrap();
    cdp.record_consent("user_id:u2", ConsentDecision::denied("analytics")).unwrap();
    cdp.rectify("user_id:u0", "city", "Wuhan").unwrap();
    cdp.never("user_id:u0", "user_id:u1").unwrap();
    cdp.erase("user_id:u4").unwrap();
    cdp.ingest((0..3).map(|n| Event::track("Buy").user_id("u0").message_id(format!("late {n}")))).unwrap();
    drop(cdp);
    let conn = sqlite(path);
    conn.execute_batch("PRAGMA journal_mode = delete; PRAGMA page_size = 512; VACUUM;").unwrap();
    drop(conn);
    let cdp = open(path).unwrap();
    assert_eq!(cdp.check().unwrap(), []);
    drop(cdp);
    std::fs::read(path).unwrap()
}

/// Puts the bytes in the place of the file, without what was beside it.
fn put(path: &Path, bytes: &[u8]) {
    for beside in ["-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        let _ = std::fs::remove_file(name);
    }
    std::fs::write(path, bytes).unwrap();
}

/// What came of asking: the answers in words, and what was told to be wrong.
#[derive(Default, PartialEq, Clone, Debug)]
struct Told {
    answers: Vec<String>,
    faults: Vec<String>,
}

impl Told {
    fn note<T: serde::Serialize>(&mut self, what: &str, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.answers.push(format!("{what}: {}", serde_json::to_string(&answer).unwrap()));
                Some(answer)
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() > 10, "{what}: {text:?} says nothing");
                self.faults.push(format!("{what}: {text}"));
                None
            }
        }
    }

    /// Asks everything that a file may be asked, and lets it be written to.
    fn ask(&mut self, cdp: &Cdp, write: bool) {
        if let Some(problems) = self.note("check", cdp.check()) {
            self.faults
                .extend(problems.into_iter().map(|problem| format!("{}: {}", problem.table, problem.what)));
        }
        self.note("stats", cdp.stats());
        self.note("profiles", cdp.profiles());
        for id in ["user_id:u0", "user_id:u1", "anonymous_id:a1"] {
            self.note("profile", cdp.profile(id));
            self.note("events", cdp.events(id, 9));
        }
        self.note("members", cdp.members("lately"));
        self.note("trend", cdp.trend(&Trend::of(did("View"))));
        if write {
            let event = Event::track("View").user_id("u0").anonymous_id("a1").message_id("new");
            let report = cdp.ingest([event, Event::identify().user_id("u9").with_trait("city", "Kyiv")]);
            self.note("ingest", report.map(|report| (report.accepted, report.duplicates, report.merges)));
            self.note("advance", cdp.advance());
        }
    }

    /// Everything that comes of a file when it is read, and then written to.
    fn of(path: &Path, bytes: &[u8]) -> Self {
        let mut told = Self::default();
        put(path, bytes);
        match open_read_only(path) {
            Ok(cdp) => told.ask(&cdp, false),
            Err(error) => told.faults.push(format!("reading: {error}")),
        }
        assert!(std::fs::read(path).unwrap() == bytes, "who reads does not write");
        match open(path) {
            Ok(cdp) => told.ask(&cdp, true),
            Err(error) => told.faults.push(format!("writing: {error}")),
        }
        told
    }
}

/// The same, or what it panicked with.
fn tried(path: &Path, bytes: &[u8]) -> Result<Told, String> {
    catch_unwind(AssertUnwindSafe(|| Told::of(path, bytes))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

/// Whose each page is.
fn owners(path: &Path) -> BTreeMap<usize, String> {
    let conn = sqlite(path);
    let mut select = conn.prepare("SELECT pageno, name FROM dbstat").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_flipped_byte_is_an_answer_or_an_error_and_no_panic() {
    let (_folder, path) = place();
    let whole = rich(&path);
    let owners = owners(&path);
    let sound = Told::of(&path, &whole);
    assert_eq!(sound.faults, [""; 0]);
    let step = step(whole.len(), 250);
    let (mut panics, mut flips, mut noticed) = (Vec::new(), 0, 0);
    let mut unnoticed: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for from in (0..whole.len()).step_by(step) {
        // Another place in each stretch, and another bit, the same in every run.
        let at = (from + (from / step * 7_919) % step).min(whole.len() - 1);
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at * 31 / 7 % 8);
        flips += 1;
        let of = unnoticed.entry(owners.get(&(at / 512 + 1)).map_or("free", |name| name)).or_default();
        of[0] += 1;
        match tried(&path, &bytes) {
            Err(panic) => panics.push(format!("byte {at}: {panic}")),
            Ok(told) if told.faults.is_empty() => {
                of[1] += 1;
                of[2] += usize::from(told != sound);
            }
            Ok(_) => noticed += 1,
        }
    }
    if std::env::var_os(FLIPS).is_some() {
        for (table, [flips, unnoticed, other]) in unnoticed {
            println!("{table}: {flips} flips, {unnoticed} not noticed, {other} of them with other answers");
        }
    }
    assert_eq!(panics, [""; 0]);
    assert!(noticed * 4 > flips, "{noticed} of {flips} were noticed");
}

#[test]
fn a_file_that_was_cut_off_at_any_page_is_told_of() {
    let (_folder, path) = place();
    let whole = rich(&path);
    for cut in (512..whole.len()).step_by(512) {
        let told = tried(&path, &whole[..cut]);
        assert!(told.as_ref().is_ok_and(|told| !told.faults.is_empty()), "{cut}: {told:?}");
    }
    // A piece of a page, and of the first page.
    for cut in [1, 15, 16, 99, 100, 511, 700, whole.len() - 1] {
        let told = tried(&path, &whole[..cut]);
        assert!(told.as_ref().is_ok_and(|told| !told.faults.is_empty()), "{cut}: {told:?}");
    }
    // Nothing at all is a file that somebody is about to fill, which a reader does not.
    put(&path, &[]);
    assert!(matches!(open_read_only(&path), Err(Error::NotACdpFile { .. })));
    assert_eq!(open(&path).unwrap().check().unwrap(), []);
}

/// Bytes in which what people did is kept are under checksums: whichever of them is flipped, somebody is told.
#[test]
fn a_flip_in_bytes_under_a_checksum_is_found() {
    let (_folder, path) = place();
    rich(&path);
    // Of a thousand identifiers, and of merges, there are packed copies.
    let cdp = open(&path).unwrap();
    let event = |way: &str, n: usize| Event::page().message_id(format!("{way} {n}"));
    let user = |event: Event, n: usize| event.user_id(format!("many {n}"));
    let device = |event: Event, n: usize| event.anonymous_id(format!("many {n}"));
    cdp.ingest((0..1_000).map(|n| user(event("user", n), n))).unwrap();
    cdp.ingest((0..1_000).map(|n| device(event("device", n), n))).unwrap();
    cdp.ingest((0..1_000).map(|n| user(device(event("both", n), n), n))).unwrap();
    drop(cdp);
    let whole = std::fs::read(&path).unwrap();
    for (table, column) in [
        ("log", "bytes"),
        ("seals", "bloom"),
        ("ranks", "bytes"),
        ("blocks", "bytes"),
        ("message_ids", "bytes"),
        ("packed_identifiers", "bytes"),
        ("packed_holders", "bytes"),
        ("packed_merges", "bytes"),
        ("audit", "hash"),
    ] {
        put(&path, &whole);
        let conn = sqlite(&path);
        let mut select = conn.prepare(&format!("SELECT rowid, {column} FROM {table}")).unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let rows: Vec<(i64, Vec<u8>)> = rows.map(Result::unwrap).collect();
        drop(select);
        drop(conn);
        assert!(!rows.is_empty(), "{table} has no row");
        let length: usize = rows.iter().map(|(_, bytes)| bytes.len()).sum();
        let step = step(length, 7);
        let places = rows.iter().flat_map(|(row, bytes)| (0..bytes.len()).map(move |at| (*row, bytes, at)));
        for (row, bytes, at) in places.step_by(step) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            put(&path, &whole);
            let conn = sqlite(&path);
            conn.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2"), (flipped, row))
                .unwrap();
            drop(conn);
            let mut told = Told::default();
            match open_read_only(&path) {
                Ok(cdp) => told.ask(&cdp, false),
                Err(error) => told.faults.push(error.to_string()),
            }
            assert!(!told.faults.is_empty(), "{table}, row {row}, byte {at}");
        }
    }
}

/// The number of the last profile alone once said how much memory opening a file asks for, and a gap was not noticed.
#[test]
fn profiles_that_are_not_numbered_one_by_one_are_told_when_a_file_is_opened() {
    let (_folder, path) = place();
    rich(&path);
    let whole = std::fs::read(&path).unwrap();
    for damage in [
        "UPDATE profiles SET profile = 4000000000 WHERE profile = (SELECT max(profile) FROM profiles)",
        "UPDATE profiles SET profile = -5 WHERE profile = 0",
        "DELETE FROM profiles WHERE profile = 1",
    ] {
        put(&path, &whole);
        sqlite(&path).execute_batch(&format!("PRAGMA foreign_keys = OFF; {damage};")).unwrap();
        assert!(matches!(open(&path), Err(Error::Damaged(_))), "{damage}");
        assert!(matches!(open_read_only(&path), Err(Error::Damaged(_))), "{damage}");
    }
}

/// Numbers that lead nowhere, or say how much there is: each question has an answer or an error, at once.
#[test]
fn a_number_that_is_damaged_is_an_answer_or_an_error_and_asks_for_no_memory() {
    let (_folder, path) = place();
    rich(&path);
    let whole = std::fs::read(&path).unwrap();
    for damage in [
        "UPDATE profiles SET founder = 77777",
        "UPDATE profiles SET founder = 4000000000 WHERE profile = 1",
        "UPDATE namespaces SET name = 'user_ie' WHERE name = 'user_id'",
        "UPDATE event_names SET name = 134217729 WHERE name = 1",
        "UPDATE event_names SET name = 4000000000 WHERE name = 1",
        "UPDATE seals SET buckets = 4294967295",
    ] {
        put(&path, &whole);
        sqlite(&path).execute_batch(&format!("PRAGMA foreign_keys = OFF; {damage};")).unwrap();
        let told = open(&path).and_then(|cdp| {
            let people = cdp.profiles()?;
            let faults = cdp.check();
            let _ = (cdp.changes(0, usize::MAX), cdp.stats(), cdp.trend(&Trend::of(did("View"))));
            let _ = (cdp.members("lately"), cdp.members("agreed"), cdp.journal(0, 99));
            for person in &people {
                let _ = cdp.profile(person.id.to_string());
                for id in &person.identifiers {
                    let _ = (cdp.profile(id), cdp.profile_at(id, NOW), cdp.events(id, 9), cdp.export(id));
                }
            }
            faults
        });
        let is_renamed = damage.contains("namespaces");
        assert!(is_renamed || told.is_err() || told.is_ok_and(|faults| !faults.is_empty()), "{damage}");
    }
}

/// Everything in a folder, by name. What SQLite keeps beside a file in WAL mode while it is looked at is left out.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let beside = |path: &PathBuf| ["-wal", "-shm"].iter().any(|end| path.to_str().unwrap().ends_with(end));
    let entries =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !beside(path));
    entries.map(|path| (path.clone(), std::fs::read(&path).ok())).collect()
}

#[test]
fn what_is_no_file_of_ours_is_named_and_left_alone() {
    let (folder, path) = place();
    let whole = rich(&path);
    let others = tempfile::tempdir().unwrap();
    let other = |name: &str, bytes: &[u8]| {
        let path = others.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    // Our bytes behind another's beginning, a header and nothing else, another's mark, and a future format.
    let mut marked = whole.clone();
    marked[68..72].copy_from_slice(b"GPKG");
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&7_u32.to_be_bytes());
    let text = "name,email\nAnn,ann@example.com\n".repeat(400);
    let paths = [
        other("marked.db", &marked),
        other("newer.db", &newer),
        other("text.csv", text.as_bytes()),
        other("nearly.db", &[b"SQLite format 4\0", &whole[16..]].concat()),
        other("zeros", &[0; 4_096]),
        other("shorter", &[0xff; 99]),
    ];
    let folders = others.path().join("folder");
    std::fs::create_dir(&folders).unwrap();
    let before = contents(others.path());
    for path in paths.iter().chain([&folders]) {
        for result in [open(path), open_read_only(path)] {
            let error = result.unwrap_err();
            let (Error::NotACdpFile { path: named, .. } | Error::NewerFormat { path: named, .. }) = &error
            else {
                panic!("{}: {error:?}", path.display());
            };
            assert_eq!(named, path);
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    }
    assert!(contents(others.path()) == before, "something was written");
    assert!(matches!(open(&paths[1]), Err(Error::NewerFormat { found: 7, .. })));
    drop(folder);
}

#[cfg(unix)]
mod permissions {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    const FOLDER: &str = "CUSTOMERDB_TEST_FOLDER";

    /// Somebody who may do everything is no test of what they may not: then a child that is nobody goes on.
    #[test]
    fn a_file_that_may_not_be_read_or_written_is_an_error_that_names_it() {
        let (folder, path) = place();
        rich(&path);
        let mode = |path: &Path, mode: u32| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let closed = folder.path().join("closed.db");
        std::fs::copy(&path, &closed).unwrap();
        mode(&closed, 0o000);
        let fixed = folder.path().join("fixed.db");
        std::fs::copy(&path, &fixed).unwrap();
        mode(&fixed, 0o444);
        let shut = folder.path().join("shut");
        std::fs::create_dir(&shut).unwrap();
        let within = shut.join("customers.db");
        std::fs::copy(&path, &within).unwrap();
        mode(&within, 0o666);
        mode(&shut, 0o555);
        mode(folder.path(), 0o777);
        let before = contents(&shut);
        if std::fs::File::open(&closed).is_err() {
            refused(folder.path());
        } else {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let child = child.args(["--exact", "hostile::permissions::a_child_that_is_nobody", "--ignored"]);
            match child.env(FOLDER, folder.path()).uid(65_534).gid(65_534).output() {
                Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
                Err(error) => println!("not tried, as nobody may run this test: {error}"),
            }
        }
        assert!(contents(&shut) == before, "something was written");
        mode(&shut, 0o777);
    }

    #[test]
    #[ignore = "run by another test"]
    fn a_child_that_is_nobody() {
        let Some(folder) = std::env::var_os(FOLDER) else { return };
        refused(Path::new(&folder));
    }

    fn refused(folder: &Path) {
        let named = |error: &Error, path: &Path| {
            assert!(matches!(error, Error::Io { .. }), "{error:?}");
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{error} does not name {}",
                path.display()
            );
        };
        let closed = folder.join("closed.db");
        named(&open(&closed).unwrap_err(), &closed);
        named(&open_read_only(&closed).unwrap_err(), &closed);
        let fixed = folder.join("fixed.db");
        named(&open(&fixed).unwrap_err(), &fixed);
        assert_eq!(open_read_only(&fixed).unwrap().check().unwrap(), []);
        // Beside a file in a folder that may not be written to there is no place for a lock, and none for the memory
        // that readers share.
        let within = folder.join("shut").join("customers.db");
        named(&open(&within).unwrap_err(), &within);
        match open_read_only(&within) {
            Ok(cdp) => assert_eq!(cdp.check().unwrap(), []),
            Err(error) => named(&error, &within),
        }
        let new = folder.join("shut").join("new.db");
        named(&open(&new).unwrap_err(), &new);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_before_it_is_opened() {
        let (folder, _) = place();
        let socket = folder.path().join("socket");
        let listening = UnixListener::bind(&socket).unwrap();
        for result in [open(&socket), open_read_only(&socket)] {
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::NotACdpFile { path, .. } if *path == socket), "{error:?}");
        }
        drop(listening);
        let left: BTreeSet<PathBuf> = contents(folder.path()).into_keys().collect();
        assert_eq!(left, [socket].into());
    }
}
