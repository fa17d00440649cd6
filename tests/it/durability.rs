//! What is acknowledged is there, what failed left nothing, and nobody else's file is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use customerdb::{
    Cdp, Durability, Error, Event, ManualClock, ProfileId, Rules, Segment, Source, all, days, did, has_trait,
};

use crate::support::{
    NOW, Seen, builder, define, everybody, ids, incompressible, names, partition, place, sound,
};

fn open(path: &Path) -> Cdp {
    builder(&ManualClock::at(NOW)).open(path).unwrap()
}

fn segments() -> [Segment; 3] {
    [
        Segment::new("lately", did("A").within(days(3))),
        Segment::new("spenders", did("Buy").sum("n").gte(20)),
        Segment::new("odd", all([has_trait("odd").eq(true), did("A")])),
    ]
}

/// Events with joins, traits, accounts, refusals and a bad one.
fn mixed(from: usize, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for n in from..from + count {
        let event = match n % 6 {
            0 => Event::track(if n % 4 == 0 { "A" } else { "Buy" }).property("n", n),
            1 => Event::identify()
                .with_trait("odd", n % 4 == 1)
                .with_trait("email", format!("u{}@x.io", n % 7)),
            2 => Event::group(format!("g{}", n % 3)).with_trait("size", n),
            3 => Event::page().named(format!("page {n}")),
            4 => Event::track(format!("Rare {n}")).external_id("crm", format!("{}", n % 9)),
            _ => Event::alias(format!("a{}", n % 5)),
        };
        events.push(
            event
                .message_id(format!("m{n}"))
                .user_id(format!("u{}", n % 11))
                .anonymous_id(format!("a{}", n % 17))
                .at(NOW.before(days(u32::try_from(n % 9).unwrap()))),
        );
    }
    events.push(Event::page().message_id("nobody's"));
    events
}

/// Everything that a failed call must leave alone.
#[derive(Debug, PartialEq)]
struct View {
    people: Vec<Seen>,
    ids: BTreeMap<String, ProfileId>,
    counts: [u64; 6],
    segments: Vec<String>,
    rules: Rules,
}

fn view(cdp: &Cdp) -> View {
    let stats = cdp.stats().unwrap();
    View {
        people: everybody(cdp),
        ids: ids(cdp),
        counts: [
            stats.events,
            stats.profiles,
            stats.identifiers,
            stats.links,
            stats.refusals,
            stats.quarantined,
        ],
        segments: cdp
            .segments()
            .unwrap()
            .into_iter()
            .map(|found| found.segment.to_value().to_string())
            .collect(),
        rules: cdp.rules(),
    }
}

/// Less, where there are many: ids, members of segments, the number of links.
type Brief = (BTreeMap<String, ProfileId>, Vec<(String, Vec<String>)>, u64, Rules);

fn brief(cdp: &Cdp) -> Brief {
    let segments = cdp.segments().unwrap().into_iter().map(|found| found.segment.name().to_owned());
    let members = segments.map(|name| (name.clone(), names(cdp, &name))).collect();
    (ids(cdp), members, cdp.stats().unwrap().links, cdp.rules())
}

// ---- a full disk ----

#[test]
fn a_batch_that_does_not_fit_leaves_memory_and_disk_as_they_were() {
    let (folder, base) = place();
    let cdp = open(&base);
    define(&cdp, &segments());
    cdp.ingest(mixed(0, 40)).unwrap();
    drop(cdp);
    let pages = std::fs::metadata(&base).unwrap().len() / 4096;
    let (mut failed, mut fitted) = (0, 0);
    for more in 0.. {
        let path = folder.path().join(format!("{more}.db"));
        std::fs::copy(&base, &path).unwrap();
        let clock = ManualClock::at(NOW);
        let limited = || builder(&clock).max_file_bytes((pages + more) * 4096).open(&path).unwrap();
        let cdp = limited();
        let before = view(&cdp);
        let source = Source::new("a source of its own");
        match cdp.ingest_from(&source, mixed(40, 300)) {
            Ok(report) => {
                assert_eq!((report.accepted, report.rejected.len()), (300, 1));
                fitted += 1;
            }
            Err(error) => {
                assert!(matches!(error, Error::Full), "{more} pages: {error:?}");
                assert_eq!(view(&cdp), before, "{more} pages, the handle");
                failed += 1;
            }
        }
        sound(&cdp);
        let after = view(&cdp);
        drop(cdp);
        let cdp = limited();
        assert_eq!(view(&cdp), after, "{more} pages, reopened");
        drop(cdp);
        let cdp = open(&path);
        let report = cdp.ingest_from(&source, mixed(40, 300)).unwrap();
        assert_eq!(report.accepted + report.duplicates, 300, "{more} pages, with room");
        assert_eq!(cdp.stats().unwrap().events, 340);
        sound(&cdp);
        if fitted == 3 {
            break;
        }
    }
    assert!(failed > 5, "the range of sizes is too short: {failed}");
}

/// When a statement fails because the disk is full, SQLite itself takes the transaction back. The writer saw none under
/// way any more, and kept the numbers of sources and event names that it had handed out in it: the next batch wrote
/// events under numbers that nobody, or somebody else, had.
#[test]
fn after_a_full_disk_new_names_and_sources_are_told_apart() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    drop(open(&path));
    let room = std::fs::metadata(&path).unwrap().len() + 40 * 4096;
    let cdp = builder(&clock).max_file_bytes(room).open(&path).unwrap();
    let large =
        |n: usize| Event::track(format!("Large {n}")).user_id("u1").property("x", incompressible(n, 9_000));
    let error = cdp.ingest_from(&Source::new("first"), (0..50).map(large)).unwrap_err();
    assert!(matches!(error, Error::Full), "{error:?}");
    let small = |name: &str| Event::track(name).user_id("u1").message_id(name).context_trait("by", name);
    cdp.ingest_from(&Source::new("second"), [small("Other"), small("Large 1")]).unwrap();
    cdp.ingest_from(&Source::new("first"), [small("Large 0")]).unwrap();
    for record in cdp.events("user_id:u1", 9).unwrap() {
        assert_eq!(record.name, record.message_id);
    }
    let sources: Vec<String> =
        cdp.trait_history("user_id:u1", "by").unwrap().into_iter().map(|said| said.source).collect();
    assert_eq!(sources, ["first", "second", "second"]);
    sound(&cdp);
}

#[test]
fn a_definition_and_rules_that_do_not_fit_leave_the_old_ones() {
    let (folder, base) = place();
    let cdp = open(&base);
    cdp.ingest((0..400).map(|n| Event::track("A").user_id(format!("u{n}")).anonymous_id(format!("a{n}"))))
        .unwrap();
    cdp.define(segments()[0].clone()).unwrap();
    drop(cdp);
    let pages = std::fs::metadata(&base).unwrap().len() / 4096;
    let mut failed = [0, 0];
    for more in 0..12 {
        let path = folder.path().join(format!("{more}.db"));
        std::fs::copy(&base, &path).unwrap();
        let clock = ManualClock::at(NOW);
        let cdp = builder(&clock).max_file_bytes((pages + more) * 4096).open(&path).unwrap();
        let before = brief(&cdp);
        if let Err(error) = cdp.define(Segment::new("everyone", did("A"))) {
            assert!(matches!(error, Error::Full), "{error:?}");
            assert_eq!(brief(&cdp), before);
            failed[0] += 1;
        }
        let before = brief(&cdp);
        if let Err(error) = cdp.set_rules(Rules::default().limit("anonymous_id", Some(1)).total(Some(1))) {
            assert!(matches!(error, Error::Full), "{error:?}");
            assert_eq!(brief(&cdp), before);
            failed[1] += 1;
        }
        sound(&cdp);
        let after = brief(&cdp);
        drop(cdp);
        assert_eq!(brief(&open(&path)), after);
    }
    assert!(failed.iter().all(|times| *times > 0), "the range of sizes is too short: {failed:?}");
}

// ---- batches ----

#[test]
fn a_dropped_batch_leaves_nothing() {
    let (_folder, path) = place();
    let cdp = open(&path);
    define(&cdp, &segments());
    cdp.ingest(mixed(0, 30)).unwrap();
    let before = view(&cdp);
    let mut batch = cdp.begin().unwrap();
    batch.ingest_from(&Source::new("new"), mixed(30, 60)).unwrap();
    assert_eq!(batch.report().unwrap().accepted, 60);
    // Whoever reads meanwhile, on this thread or another, sees what was committed.
    assert_eq!(view(&cdp), before);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(view(&cdp), before));
    });
    drop(batch);
    assert_eq!(view(&cdp), before);
    cdp.begin().unwrap().rollback();
    sound(&cdp);
    drop(cdp);
    let cdp = open(&path);
    assert_eq!(view(&cdp), before);
    let report = cdp.ingest_from(&Source::new("newer"), mixed(30, 60)).unwrap();
    assert_eq!(report.accepted, 60);
    assert_eq!(cdp.trait_history("user_id:u9", "odd").unwrap()[0].source, "newer");
    sound(&cdp);
}

#[test]
fn a_batch_is_seen_whole_when_it_is_committed() {
    let (_folder, path) = place();
    let cdp = open(&path);
    define(&cdp, &segments());
    let mut batch = cdp.begin().unwrap();
    for n in 0..6 {
        batch.ingest(mixed(n * 10, 10)).unwrap();
        assert_eq!(cdp.stats().unwrap().events, 0);
    }
    let report = batch.commit().unwrap();
    assert_eq!(report.accepted, 60);
    let positions: Vec<u64> = report.rejected.iter().map(|rejected| rejected.position).collect();
    assert_eq!(positions, [10, 21, 32, 43, 54, 65], "a position counts all events of the batch");
    let at_once = open(&path.with_extension("other"));
    define(&at_once, &segments());
    at_once.ingest(mixed(0, 60)).unwrap();
    assert_eq!(everybody(&cdp), everybody(&at_once));
}

#[test]
fn a_panic_in_the_callers_iterator_takes_the_batch_back_and_no_more() {
    let (_folder, path) = place();
    let cdp = open(&path);
    define(&cdp, &segments());
    cdp.ingest(mixed(0, 30)).unwrap();
    let before = view(&cdp);
    let events = mixed(30, 30).into_iter().enumerate();
    let events = events.map(|(n, event)| if n == 20 { panic!("as the test wants it") } else { event });
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cdp.ingest(events)));
    assert!(panicked.is_err());
    assert_eq!(view(&cdp), before);
    assert_eq!(cdp.ingest(mixed(30, 30)).unwrap().accepted, 30);
    sound(&cdp);
    let after = view(&cdp);
    drop(cdp);
    assert_eq!(view(&open(&path)), after);
}

#[test]
fn an_iterator_may_ask_the_file_that_it_feeds() {
    let (_folder, path) = place();
    let cdp = open(&path);
    cdp.ingest([Event::page().user_id("u0")]).unwrap();
    let events = (0..20).map(|n| {
        assert_eq!(cdp.profiles().unwrap().len(), 1);
        assert!(cdp.profile("user_id:u0").unwrap().is_some());
        Event::page().user_id(format!("u{n}")).message_id(format!("m{n}"))
    });
    assert_eq!(cdp.ingest(events).unwrap().accepted, 20);
    assert_eq!(cdp.profiles().unwrap().len(), 20);
}

/// A database in memory was shared by several connections without snapshots: while one thread wrote, the answers of
/// others failed after five seconds.
#[test]
fn in_memory_readers_wait_for_the_writer_and_a_batch_of_ones_own_is_told() {
    let cdp = Cdp::in_memory().unwrap();
    cdp.ingest([Event::page().user_id("u")]).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..200 {
                cdp.ingest([Event::page().user_id("u").message_id(format!("m{n}"))]).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    let events = cdp.profile("user_id:u").unwrap().unwrap().events;
                    assert!(events >= seen, "{events} after {seen}");
                    seen = events;
                }
            });
        }
    });
    assert_eq!(cdp.profile("user_id:u").unwrap().unwrap().events, 201);

    let mut batch = cdp.begin().unwrap();
    batch.ingest([Event::page().user_id("u").message_id("last")]).unwrap();
    assert!(matches!(cdp.profile("user_id:u"), Err(Error::Busy)));
    assert!(matches!(cdp.ingest([Event::page().user_id("u")]), Err(Error::Busy)), "it would wait for itself");
    batch.commit().unwrap();
    assert_eq!(cdp.profile("user_id:u").unwrap().unwrap().events, 202);
}

/// Rules made by code were not held to what rules read from the file are, and a file with them could not be opened.
#[test]
fn rules_that_could_not_be_read_back_are_refused() {
    for rules in [
        Rules::default().limit("email", Some(0)),
        Rules::default().total(Some(0)),
        Rules::default().order(["email", "email"]),
        Rules::default().member("properties.x", ""),
        Rules::default().member("properties.x", "a:b"),
    ] {
        let (_folder, path) = place();
        let cdp = open(&path);
        let error = cdp.set_rules(rules.clone()).unwrap_err();
        assert!(matches!(error, Error::Definition(_)), "{error:?}");
        assert_eq!(cdp.rules(), Rules::default());
        drop(cdp);
        assert_eq!(open(&path).rules(), Rules::default());
        let error = Cdp::builder().rules(rules).open(&path).unwrap_err();
        assert!(matches!(error, Error::Definition(_)), "{error:?}");
        assert_eq!(open(&path).rules(), Rules::default());
    }
}

#[test]
fn rules_are_the_same_after_reopening() {
    let rules = [
        Rules::unlimited(),
        Rules::default().limit("email", Some(7)).limit("user_id", None).total(None),
        Rules::default().order(["email", "external", "user_id"]).member("properties.card.no", "card"),
        Rules::default()
            .block("*", " 'Shop' ")
            .block("email", "A@b.io")
            .block_pattern("phone", "^\\+1")
            .unwrap(),
        Rules::default().default_region("CN").unwrap(),
    ];
    let (_folder, path) = place();
    for rules in rules {
        open(&path).set_rules(rules.clone()).unwrap();
        assert_eq!(open(&path).rules(), rules);
    }
}

// ---- who may open what ----

#[test]
fn a_second_writer_is_refused_at_once() {
    let (folder, path) = place();
    let cdp = open(&path);
    for _ in 0..2 {
        let error = Cdp::open(&path).unwrap_err();
        assert!(matches!(&error, Error::Locked { path: named } if *named == path), "{error:?}");
    }
    assert_eq!(child("second_writer", &path).wait().unwrap().code(), Some(0));
    // A clone keeps the file as long as it lives.
    let clone = cdp.clone();
    drop(cdp);
    assert!(matches!(Cdp::open(&path), Err(Error::Locked { .. })));
    drop(clone);
    drop(Cdp::open(&path).unwrap());
    drop(folder);
}

/// A process that is being started holds copies of everything that is open until its program begins. Such a copy kept
/// the lock of a file that was closed in that moment, and opening it again was refused.
#[test]
fn a_file_that_was_closed_can_be_opened_at_once_whatever_else_the_process_starts() {
    let (_folder, path) = place();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let mut started = Command::new(std::env::current_exe().unwrap());
                    let mut started = started.arg("--list").stdout(Stdio::null()).spawn().unwrap();
                    started.wait().unwrap();
                }
            });
        }
        let failed = (0..150).filter_map(|_| builder(&ManualClock::at(NOW)).open(&path).err()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
    });
}

/// The lock was on the name, not on the file: through a symbolic link a second writer got in.
#[cfg(unix)]
#[test]
fn a_second_writer_is_refused_by_whatever_name_it_comes() {
    let (folder, path) = place();
    let cdp = open(&path);
    cdp.ingest([Event::page().user_id("u1")]).unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let error = Cdp::open(&link).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    let roundabout =
        folder.path().join(".").join("..").join(folder.path().file_name().unwrap()).join("customers.db");
    assert!(matches!(Cdp::open(roundabout), Err(Error::Locked { .. })));
    // Beside another name of the same file lies no lock, and nobody would know of a log there.
    let other = folder.path().join("other.db");
    std::fs::hard_link(&path, &other).unwrap();
    let error = Cdp::open(&other).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("2 names"), "{error}");
    assert_eq!(cdp.ingest([Event::page().user_id("u2")]).unwrap().accepted, 1);
    drop(cdp);
    assert!(matches!(Cdp::open(&path), Err(Error::Io { .. })));
    std::fs::remove_file(other).unwrap();
    assert_eq!(open(&link).profiles().unwrap().len(), 2);
}

#[test]
fn a_reader_sees_every_commit_as_it_comes() {
    let (_folder, path) = place();
    let cdp = open(&path);
    define(&cdp, &segments());
    let reader = builder(&ManualClock::at(NOW)).open_read_only(&path).unwrap();
    for n in 0..8 {
        cdp.ingest(mixed(n * 20, 20)).unwrap();
        if n == 3 {
            cdp.set_rules(Rules::default().limit("anonymous_id", Some(1))).unwrap();
        }
        if n == 5 {
            cdp.undefine("odd").unwrap();
        }
        assert_eq!(view(&reader), view(&cdp), "after batch {n}");
        sound(&reader);
    }
    // Not what is not committed.
    let before = view(&cdp);
    let mut batch = cdp.begin().unwrap();
    batch.ingest(mixed(900, 20)).unwrap();
    assert_eq!(view(&reader), before);
    batch.commit().unwrap();
    assert_eq!(view(&reader), view(&cdp));
    let after = view(&cdp);
    // The writer goes, another one comes.
    drop(cdp);
    assert_eq!(view(&reader), after);
    let cdp = open(&path);
    cdp.ingest(mixed(1_000, 30)).unwrap();
    assert_eq!(view(&reader), view(&cdp));
}

#[test]
fn a_reader_sees_what_another_process_writes() {
    let (_folder, path) = place();
    drop(open(&path));
    let reader = builder(&ManualClock::at(NOW)).open_read_only(&path).unwrap();
    let mut writer = child("writer", &path);
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    for _ in 0..20 {
        let acknowledged: usize =
            lines.by_ref().find_map(|line| line.strip_prefix("ack ")?.parse().ok()).unwrap();
        assert!(reader.stats().unwrap().events >= acknowledged as u64);
        let id = format!("user_id:u{}", (acknowledged - 1) % 7);
        assert!(reader.profile(id).unwrap().is_some());
        sound(&reader);
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    sound(&reader);
}

#[test]
fn a_reader_may_not_write() {
    let (_folder, path) = place();
    let cdp = open(&path);
    cdp.ingest([Event::page().user_id("u1")]).unwrap();
    define(&cdp, &segments());
    let before = view(&cdp);
    let reader = Cdp::open_read_only(&path).unwrap();
    let refused = [
        reader.ingest([Event::page().user_id("u2")]).err(),
        reader.ingest_reader(&b"{}"[..], &Source::default(), |_| std::ops::ControlFlow::Continue(())).err(),
        reader.begin().err(),
        reader.define(Segment::new("x", did("A"))).err(),
        reader.undefine("odd").err(),
        reader.set_rules(Rules::unlimited()).err(),
        reader.advance().err(),
        reader.replay_quarantine().err(),
        reader.purge_quarantine().err(),
    ];
    for (n, error) in refused.into_iter().enumerate() {
        assert!(matches!(error, Some(Error::ReadOnly)), "{n}: {error:?}");
    }
    assert_eq!(view(&cdp), before);
}

#[expect(clippy::disallowed_methods, reason = "these files are another application's")]
fn sqlite(path: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch(sql).unwrap();
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let (folder, path) = place();
    let other = folder.path().join("other.db");
    sqlite(&other, "CREATE TABLE t (x); INSERT INTO t VALUES (1);");
    let marked = folder.path().join("marked.db");
    sqlite(&marked, "PRAGMA application_id = 77; PRAGMA user_version = 1; CREATE TABLE t (x);");
    let wal = folder.path().join("wal.db");
    sqlite(&wal, "PRAGMA journal_mode = wal; CREATE TABLE t (x);");
    let text = folder.path().join("text");
    std::fs::write(&text, "dear diary\n".repeat(1_000)).unwrap();
    let short = folder.path().join("short");
    std::fs::write(&short, "x").unwrap();
    for (path, reason) in [
        (&other, "it is a SQLite database with application id 0"),
        (&marked, "it is a SQLite database with application id 77"),
        (&wal, "it is a SQLite database with application id 0"),
        (&text, "it is no SQLite database, or an encrypted one"),
        // As much as SQLite makes of it.
        (&short, "it is a SQLite database with application id 0"),
    ] {
        let before = std::fs::read(path).unwrap();
        for result in [Cdp::open(path), Cdp::open_read_only(path)] {
            let error = result.unwrap_err();
            let Error::NotACdpFile { path: named, reason: found } = &error else { panic!("{error:?}") };
            assert_eq!((named, &**found), (path, reason));
        }
        assert_eq!(std::fs::read(path).unwrap(), before, "{}", path.display());
    }
    for result in [Cdp::open(folder.path()), Cdp::open_read_only(folder.path())] {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::NotACdpFile { .. }), "{error:?}");
    }
    let left: BTreeSet<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let named = |name: &&String| !name.starts_with("wal.db");
    assert_eq!(left.iter().filter(named).collect::<Vec<_>>(), ["marked.db", "other.db", "short", "text"]);

    let error = Cdp::open_read_only(&path).unwrap_err();
    assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error:?}");
    assert!(!path.exists(), "reading makes no file");
    let nowhere = folder.path().join("no such folder").join("x.db");
    let error = Cdp::open(&nowhere).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
}

#[test]
fn a_newer_file_is_refused_and_left_as_it_is() {
    let (_folder, path) = place();
    let cdp = open(&path);
    cdp.ingest([Event::page().user_id("u1")]).unwrap();
    drop(cdp);
    sqlite(&path, "PRAGMA user_version = 999; PRAGMA wal_checkpoint(TRUNCATE);");
    let before = std::fs::read(&path).unwrap();
    for result in [Cdp::open(&path), Cdp::open_read_only(&path)] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::NewerFormat { found: 999, .. }), "{error:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let (_folder, path) = place();
    let cdp = open(&path);
    cdp.ingest(mixed(0, 200)).unwrap();
    drop(cdp);
    let whole = std::fs::read(&path).unwrap();
    for cut in [whole.len() / 2, 4096, 100] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let found = builder(&ManualClock::at(NOW)).open(&path).and_then(|cdp| cdp.check());
        assert!(found.as_ref().map_or(true, |problems| !problems.is_empty()), "{cut}: {found:?}");
    }
    for seed in 0..40_usize {
        let mut bytes = whole.clone();
        for n in 0..60 {
            let place = 4096 + (seed * 7_919 + n * 104_729) % (bytes.len() - 4096);
            bytes[place] ^= 0x55;
        }
        std::fs::write(&path, &bytes).unwrap();
        let Ok(cdp) = builder(&ManualClock::at(NOW)).open(&path) else { continue };
        let _ = (cdp.check(), cdp.profiles(), cdp.profile("user_id:u1"), cdp.stats(), cdp.graph());
        let _ = (cdp.ingest(mixed(200, 20)), cdp.set_rules(Rules::unlimited()));
    }
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, path) = place();
    let cdp = open(&path);
    cdp.ingest([Event::page().user_id("u1")]).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 2);
}

// ---- many threads ----

#[test]
fn threads_that_write_and_read_at_once_agree_in_the_end() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).rules(Rules::unlimited()).open(&path).unwrap();
    define(&cdp, &segments());
    let reader = builder(&clock).open_read_only(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let (cdp, reader, clock) = (&cdp, &reader, &clock);
            scope.spawn(move || {
                for turn in 0..12 {
                    match (thread + turn) % 6 {
                        // All threads send the same events: each is taken once.
                        0..=2 => _ = cdp.ingest(mixed((turn * 8 + thread) % 90, 10)).unwrap(),
                        3 => {
                            let mut batch = cdp.begin().unwrap();
                            batch.ingest(mixed(turn * 5, 10)).unwrap();
                            if turn % 2 == 0 { _ = batch.commit().unwrap() } else { batch.rollback() }
                        }
                        4 => {
                            let handle = if thread % 2 == 0 { cdp } else { reader };
                            for person in handle.profiles().unwrap() {
                                // It may have been absorbed since, but not forgotten.
                                assert!(handle.profile(person.id).unwrap().is_some());
                            }
                            assert_eq!(handle.check().unwrap(), []);
                        }
                        _ => match thread % 4 {
                            0 => cdp.advance().unwrap(),
                            1 => _ = cdp.set_rules(Rules::unlimited()).unwrap(),
                            2 => _ = cdp.define(segments()[turn % 3].clone()).unwrap(),
                            _ => clock.set(NOW.after(days(u32::try_from(turn % 3).unwrap()))),
                        },
                    }
                }
            });
        }
    });
    cdp.ingest(mixed(0, 100)).unwrap();
    clock.set(NOW);
    assert_eq!(everybody(&reader), everybody(&cdp));
    sound(&cdp);
    let alone = builder(&clock).rules(Rules::unlimited()).in_memory().unwrap();
    define(&alone, &segments());
    alone.ingest(mixed(0, 100)).unwrap();
    assert_eq!(everybody(&cdp), everybody(&alone));
    let after = view(&cdp);
    drop(cdp);
    assert_eq!(view(&open(&path)), after);
}

#[test]
fn threads_agree_on_a_database_in_memory_too() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).rules(Rules::unlimited()).in_memory().unwrap();
    define(&cdp, &segments());
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let cdp = &cdp;
            scope.spawn(move || {
                for turn in 0..10 {
                    cdp.ingest(mixed((turn * 8 + thread) % 90, 10)).unwrap();
                    for person in cdp.profiles().unwrap() {
                        assert!(cdp.profile(person.id).unwrap().is_some());
                    }
                }
            });
        }
    });
    cdp.ingest(mixed(0, 100)).unwrap();
    let alone = builder(&clock).rules(Rules::unlimited()).in_memory().unwrap();
    define(&alone, &segments());
    alone.ingest(mixed(0, 100)).unwrap();
    assert_eq!(everybody(&cdp), everybody(&alone));
    sound(&cdp);
}

/// Calls that wait for their turn share a commit. Each still gets the report that it would have got by itself, in some
/// order of the calls.
#[test]
fn small_calls_of_many_threads_are_counted_each_by_itself() {
    const THREADS: usize = 8;
    const CALLS: usize = 60;
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).open(&path).unwrap();
    // Every event is sent by two threads; logins join devices to users, so that calls join what others have founded.
    let event = |number: usize| {
        let page = Event::page().anonymous_id(format!("a{}", number % 17)).message_id(format!("m{number}"));
        if number.is_multiple_of(5) { page.user_id(format!("u{}", number % 17)) } else { page }
    };
    let reports: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (cdp, event) = (&cdp, &event);
                scope.spawn(move || {
                    let mut reports = Vec::new();
                    for call in 0..CALLS {
                        let number = (thread / 2) * CALLS + call;
                        // One in seven is refused, and bothers none of the others.
                        let refused = (call % 7 == 0).then(|| Event::track("").user_id("u"));
                        let report = cdp.ingest([event(number)].into_iter().chain(refused)).unwrap();
                        assert_eq!(report.accepted + report.duplicates, 1);
                        let positions: Vec<u64> =
                            report.rejected.iter().map(|event| event.position).collect();
                        assert_eq!(positions, if call % 7 == 0 { vec![1] } else { vec![] });
                        // What is acknowledged is there.
                        assert!(cdp.profile(format!("anonymous_id:a{}", number % 17)).unwrap().is_some());
                        reports.push(report);
                    }
                    reports
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |count: fn(&customerdb::IngestReport) -> u64| reports.iter().map(count).sum::<u64>();
    let distinct = (THREADS / 2 * CALLS) as u64;
    assert_eq!(sum(|report| report.accepted), distinct);
    assert_eq!(sum(|report| report.duplicates), distinct);
    assert_eq!(cdp.stats().unwrap().events, distinct);
    let people = cdp.profiles().unwrap().len() as u64;
    assert_eq!(sum(|report| report.profiles_created) - sum(|report| report.merges), people);
    sound(&cdp);
    let after = view(&cdp);
    drop(cdp);
    assert_eq!(view(&open(&path)), after);
}

// ---- another process ----

const ROLE: &str = "CUSTOMERDB_TEST_ROLE";
const FILE: &str = "CUSTOMERDB_TEST_FILE";

/// This test binary once more, as a child that does what its role says.
fn child(role: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "durability::a_child_of_another_test",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test: what children do.
#[test]
#[ignore = "run by other tests, in a process of its own"]
fn a_child_of_another_test() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(FILE).unwrap());
    match &*role {
        "second_writer" => {
            let error = Cdp::open(&path).unwrap_err();
            assert!(matches!(error, Error::Locked { .. }), "{error:?}");
        }
        "writer" => {
            let clock = ManualClock::at(NOW);
            let cdp = builder(&clock).durability(Durability::Full).open(&path).unwrap();
            let mut out = std::io::stdout();
            for n in usize::try_from(cdp.stats().unwrap().events).unwrap().. {
                let event = Event::track("A").message_id(format!("k{n}")).user_id(format!("u{}", n % 7));
                let report =
                    cdp.ingest([event.anonymous_id(format!("a{}", n / 10)).property("n", n)]).unwrap();
                assert_eq!(report.accepted, 1);
                writeln!(out, "ack {}", n + 1).unwrap();
                out.flush().unwrap();
            }
        }
        other => panic!("no such role: {other}"),
    }
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_acknowledged() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    define(&open(&path), &segments());
    let mut acknowledged = 0;
    for round in 0..30_u64 {
        let mut writer = child("writer", &path);
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let listening = std::thread::spawn(move || {
            // The last line may be cut off in the middle.
            lines
                .map_while(Result::ok)
                .filter_map(|line| line.strip_prefix("ack ")?.parse::<u64>().ok())
                .max()
        });
        std::thread::sleep(Duration::from_millis(5 + round * 37 % 90));
        writer.kill().unwrap();
        writer.wait().unwrap();
        acknowledged = acknowledged.max(listening.join().unwrap().unwrap_or(0));
        if round % 3 == 0 {
            // A reader may be the first to find what the dead left.
            let reader = builder(&clock).open_read_only(&path).unwrap();
            assert!(reader.stats().unwrap().events >= acknowledged);
            sound(&reader);
        }
        let cdp = open(&path);
        sound(&cdp);
        let stats = cdp.stats().unwrap();
        // One more may have been committed than the child had the time to tell of.
        assert!(stats.events >= acknowledged, "{} of {acknowledged}", stats.events);
        acknowledged = stats.events;
        let kept: Vec<String> = cdp
            .profiles()
            .unwrap()
            .into_iter()
            .flat_map(|person| cdp.events(person.id, usize::MAX).unwrap())
            .map(|record| record.message_id)
            .collect();
        let once: BTreeSet<&String> = kept.iter().collect();
        assert_eq!((kept.len() as u64, once.len()), (stats.events, kept.len()));
        assert!((0..stats.events).all(|n| once.contains(&format!("k{n}"))));
    }
    assert!(acknowledged > 30, "the children came to nothing: {acknowledged}");
    let cdp = open(&path);
    everybody(&cdp);
    assert_eq!(names(&cdp, "lately").len(), partition(&cdp).len());
}
