//! A copy of a file that is in use is one whole state of it, and what comes back from it brings back nobody who was erased.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use customerdb::{
    Cdp, ChangeCause, ConsentDecision, Error, Event, ManualClock, Party, RetentionRule, Rules, Segment,
    SegmentMove, Source, days, did,
};
use proptest::prelude::*;

use crate::erasure::{forget_definition, found_in, held_up, lives};
use crate::reference::{NAMES, history, ingest};
use crate::support::{NOW, builder, cases, define, everybody, ids, incompressible, partition, place, sound};

fn open(path: &Path) -> Cdp {
    builder(&ManualClock::at(NOW)).open(path).unwrap()
}

fn restore(backup: &Path, path: &Path) -> customerdb::Result<customerdb::Restored> {
    builder(&ManualClock::at(NOW)).restore(backup, path)
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn page(n: usize) -> Event {
    Event::track("A").user_id(format!("u{}", n % 50)).message_id(format!("m{n}"))
}

/// So large that a copy of it takes several handfuls of pages.
fn large(cdp: &Cdp) {
    let text = |n: usize| incompressible(n, 20_000);
    cdp.ingest((0..200).map(|n| page(n).property("text", text(n)))).unwrap();
}

// ---- the copy ----

#[test]
fn a_backup_is_a_file_by_itself_that_says_the_same() {
    let (folder, path) = place();
    let cdp = open(&path);
    lives(&cdp);
    let copy = folder.path().join("copy.db");
    cdp.backup(&copy).unwrap();
    assert_eq!(
        entries(folder.path()),
        [
            "copy.db",
            "copy.db-lock",
            "customers.db",
            "customers.db-lock",
            "customers.db-shm",
            "customers.db-wal"
        ]
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (before, found) = (everybody(&cdp), ids(&cdp));
    // Through the one that is opened for reading, too, and from a database in memory.
    let again = folder.path().join("again.db");
    builder(&ManualClock::at(NOW)).open_read_only(&path).unwrap().backup(&again).unwrap();
    drop(cdp);
    for copy in [&copy, &again] {
        let reader = builder(&ManualClock::at(NOW)).open_read_only(copy).unwrap();
        assert_eq!((everybody(&reader), ids(&reader)), (before.clone(), found.clone()));
        sound(&reader);
        drop(reader);
        let cdp = open(copy);
        assert_eq!((everybody(&cdp), ids(&cdp)), (before.clone(), found.clone()));
        assert_eq!(cdp.ingest([Event::page().user_id("new")]).unwrap().accepted, 1);
        sound(&cdp);
    }
    let memory = builder(&ManualClock::at(NOW)).in_memory().unwrap();
    lives(&memory);
    let kept = folder.path().join("kept.db");
    memory.backup(&kept).unwrap();
    assert_eq!(everybody(&open(&kept)), everybody(&memory));
}

#[test]
fn a_backup_takes_nothings_place() {
    let (folder, path) = place();
    let cdp = open(&path);
    cdp.ingest([page(1)]).unwrap();
    let other = folder.path().join("other");
    for (name, content) in [("other", "dear diary"), ("empty", ""), ("gone.db-wal", "what a crash has left")]
    {
        fs::write(folder.path().join(name), content).unwrap();
    }
    for taken in [&path, &other, &folder.path().join("empty"), &folder.path().join("gone.db")] {
        let error = cdp.backup(taken).unwrap_err();
        match &error {
            Error::Locked { path: named } => assert_eq!((named, taken), (&path, &path)),
            Error::Io { path: named, source } => {
                assert_eq!(source.kind(), std::io::ErrorKind::AlreadyExists);
                assert!(named.to_str().unwrap().starts_with(taken.to_str().unwrap()), "{error}");
            }
            _ => panic!("{error:?}"),
        }
    }
    assert_eq!(fs::read_to_string(&other).unwrap(), "dear diary");
    assert!(!entries(folder.path()).iter().any(|name| name.ends_with("-part") || name == "gone.db"));
    for nowhere in [folder.path().join("no such folder").join("x.db"), folder.path().join("..")] {
        assert!(matches!(cdp.backup(&nowhere), Err(Error::Io { .. } | Error::Locked { .. })), "{nowhere:?}");
    }
}

#[test]
fn a_backup_is_what_was_there_when_it_began_whatever_comes_meanwhile() {
    let (folder, path) = place();
    let cdp = open(&path);
    large(&cdp);
    let before = everybody(&cdp);
    let copy = folder.path().join("copy.db");
    let (mut told, mut next) = (Vec::new(), 1_000);
    cdp.backup_with(&copy, |progress| {
        told.push((progress.bytes, progress.of));
        // The one who looks on writes, and puts the file in order.
        cdp.ingest((next..next + 20).map(page)).unwrap();
        cdp.maintain().unwrap();
        next += 20;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(told.len() > 3, "{told:?}");
    assert!(told.is_sorted_by(|a, b| a.0 < b.0 && a.1 == b.1), "{told:?}");
    assert_eq!(told.last().map(|last| (last.0, last.0)), Some(*told.last().unwrap()));
    assert_eq!(fs::metadata(&copy).unwrap().len(), told[0].1);
    let copied = open(&copy);
    sound(&copied);
    assert_eq!(everybody(&copied), before);
    assert_eq!(cdp.stats().unwrap().events, 200 + 20 * told.len() as u64);
    sound(&cdp);
}

#[test]
fn a_backup_beside_a_thread_that_writes_is_a_whole_beginning() {
    const EACH: usize = 30;
    let (folder, path) = place();
    let cdp = open(&path);
    define(&cdp, &[Segment::new("lately", did("A").within(days(3)))]);
    large(&cdp);
    let (acknowledged, done) = (AtomicU64::new(200), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in 0.. {
                let first = 200 + batch * EACH;
                cdp.ingest((first..first + EACH).map(page)).unwrap();
                acknowledged.store((first + EACH) as u64, Ordering::SeqCst);
                if done.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for round in 0..6 {
            let copy = folder.path().join(format!("{round}.db"));
            let least = acknowledged.load(Ordering::SeqCst);
            cdp.backup(&copy).unwrap();
            let most = acknowledged.load(Ordering::SeqCst) + EACH as u64;
            let copied = open(&copy);
            sound(&copied);
            let events = copied.stats().unwrap().events;
            assert!((least..=most).contains(&events), "{events} of {least} to {most}");
            assert_eq!((events - 200) % EACH as u64, 0, "half a batch");
            let mut kept: Vec<String> = everybody(&copied).into_iter().flat_map(|seen| seen.events).collect();
            kept.sort_by_key(|id| id[1..].parse::<u64>().unwrap());
            assert!(kept.iter().enumerate().all(|(n, id)| *id == format!("m{n}")));
            assert_eq!(kept.len() as u64, events);
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_backup_that_is_stopped_leaves_nothing() {
    let (folder, path) = place();
    let cdp = open(&path);
    large(&cdp);
    let copy = folder.path().join("copy.db");
    for after in 1..4 {
        let mut told = 0;
        let stopped = cdp.backup_with(&copy, |_| {
            told += 1;
            if told == after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(Error::Cancelled)));
        assert!(
            !entries(folder.path()).iter().any(|name| name.starts_with("copy.db") && name != "copy.db-lock")
        );
    }
    // Nor does a disk that is full, as far as one can have it.
    #[cfg(target_os = "linux")]
    if fs::metadata("/dev/full").is_ok() {
        let error = cdp.backup("/dev/full").unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
    }
    cdp.backup(&copy).unwrap();
    sound(&open(&copy));
}

const FILE: &str = "CUSTOMERDB_BACKUP_FILE";
const AFTER: &str = "CUSTOMERDB_BACKUP_AFTER";

/// Not a test: a child that ends in the middle of a backup.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn a_child_that_ends_in_the_middle() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let after: usize = std::env::var(AFTER).unwrap().parse().unwrap();
    let mut told = 0;
    let _ = open(&path).backup_with(path.with_extension("copy"), |_| {
        told += 1;
        if told == after {
            std::process::abort();
        }
        ControlFlow::Continue(())
    });
    unreachable!("the file is too small to end after {after} steps");
}

#[test]
fn a_process_that_ends_in_the_middle_leaves_no_file_that_looks_whole() {
    let (folder, path) = place();
    let cdp = open(&path);
    large(&cdp);
    let before = everybody(&cdp);
    drop(cdp);
    let copy = path.with_extension("copy");
    let part = folder.path().join("customers.copy-part");
    for after in 1..4 {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "backup::a_child_that_ends_in_the_middle", "--ignored"])
            .env(FILE, &path)
            .env(AFTER, after.to_string())
            .output()
            .unwrap()
            .status;
        assert_eq!(status.code(), None, "it was to be killed");
        assert!(!copy.exists());
        assert!(part.exists());
        // Nor is the part taken for a database: not even page 1 is there, or SQLite takes all of it back.
        if let Ok(reader) = builder(&ManualClock::at(NOW)).open_read_only(&part) {
            panic!("{:?}", reader.stats());
        }
    }
    // The next one clears it away.
    let cdp = open(&path);
    cdp.backup(&copy).unwrap();
    assert!(!part.exists());
    assert_eq!(everybody(&open(&copy)), before);
}

/// A copy is made page by page, and takes along what unused parts of pages hold of somebody whose erasure a reader holds
/// up.
#[test]
fn a_backup_holds_nobody_whose_erasure_is_not_complete() {
    let (folder, path) = place();
    let (cdp, secrets, _reader, receipt) = held_up(&path);
    assert!(!receipt.complete);
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy.db");
    cdp.backup(&copy).unwrap();
    assert!(!found_in(&path, &secrets[..1]).is_empty(), "it is there as long as the reader is");
    assert_eq!(found_in(&copy, &secrets), Vec::<String>::new());
    let copied = open(&copy);
    sound(&copied);
    assert_eq!(everybody(&copied), everybody(&cdp));
    assert_eq!(copied.maintain().unwrap().erasures, 0);
    drop(folder);
}

// ---- back again ----

#[test]
fn who_was_erased_since_does_not_come_back_from_a_backup() {
    let (folder, path) = place();
    let cdp = open(&path);
    let secrets = lives(&cdp);
    forget_definition(&cdp);
    let elsewhere = tempfile::tempdir().unwrap();
    let backup = elsewhere.path().join("monday.db");
    cdp.backup(&backup).unwrap();
    cdp.ingest([Event::page().user_id("later"), Event::page().user_id("other").message_id("o7")]).unwrap();
    cdp.erase("phone:+86 138 7777 0002").unwrap();
    let expected = everybody(&cdp);
    drop(cdp);

    assert!(!found_in(&backup, &secrets[..1]).is_empty(), "the backup has them");
    let restored = restore(&backup, &path).unwrap();
    assert_eq!((restored.replaced, restored.people, restored.identifiers, restored.events), (true, 1, 6, 8));
    assert_eq!((restored.redacted, restored.quarantined, restored.dropped), (4, 3, 0));
    assert_eq!(found_in(&path, &secrets), Vec::<String>::new());
    assert_eq!(entries(folder.path()), ["customers.db", "customers.db-lock"]);
    assert!(!found_in(&backup, &secrets[..1]).is_empty(), "which stays as it is");

    let cdp = open(&path);
    sound(&cdp);
    let mut expected: Vec<_> =
        expected.into_iter().filter(|seen| !seen.identifiers.contains("user_id:later")).collect();
    expected[0].events.retain(|id| id != "o7");
    assert_eq!(everybody(&cdp), expected);
    assert!(cdp.is_suppressed("email:secret.mail@example.com").unwrap());
    assert_eq!(cdp.ingest([Event::page().user_id("secret-user")]).unwrap().rejected.len(), 1);
    let done = cdp.audit(0, usize::MAX).unwrap();
    let told: Vec<&str> = done.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(told[told.len() - 3..], ["erase", "restore", "complete_erasures"]);
    assert_eq!(done[told.len() - 2].details["people"], 1);
    cdp.maintain().unwrap();
    drop(cdp);
    assert_eq!(found_in(&path, &secrets), Vec::<String>::new());
}

#[test]
fn the_list_of_the_file_stands_and_not_the_backups() {
    let (folder, path) = place();
    let backup = folder.path().join("backup.db");
    let cdp = open(&path);
    cdp.ingest([page(1), page(2), page(3)]).unwrap();
    cdp.erase_all(["user_id:u1", "user_id:u2"]).unwrap();
    cdp.backup(&backup).unwrap();
    assert!(cdp.lift_suppression("user_id:u1").unwrap());
    // Nobody knows them yet, and they are in quarantine only.
    cdp.erase("user_id:unknown").unwrap();
    drop(cdp);
    let bad = r#"{"type":"track","userId":"unknown"}"#;
    let aside = open(&backup);
    aside.ingest([bad]).unwrap();
    assert_eq!(aside.quarantine(9).unwrap().len(), 1);
    drop(aside);
    let restored = restore(&backup, &path).unwrap();
    assert_eq!((restored.people, restored.quarantined), (0, 1));
    let cdp = open(&path);
    assert!(!cdp.is_suppressed("user_id:u1").unwrap());
    assert!(cdp.is_suppressed("user_id:u2").unwrap() && cdp.is_suppressed("user_id:unknown").unwrap());
    assert_eq!(cdp.quarantine(9).unwrap(), []);
    assert_eq!(partition(&cdp), vec![vec!["user_id:u3".to_owned()]]);
    sound(&cdp);
}

/// A kiosk had glued people together when the backup was made, and was cut off since: who is erased is one of them. What
/// the file knows of the others is theirs; what it has forgotten altogether was the one's, and goes.
#[test]
fn of_people_who_were_one_in_the_backup_only_the_erased_one_goes() {
    let (folder, path) = place();
    let backup = folder.path().join("backup.db");
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).rules(Rules::unlimited()).open(&path).unwrap();
    let old = NOW.before(days(100));
    cdp.define(Segment::new("buyers", did("Order"))).unwrap();
    let seen = |user: &str, device: &str, id: &str| {
        Event::track("Order").user_id(user).anonymous_id(device).message_id(id)
    };
    cdp.ingest([seen("ann", "kiosk", "1"), seen("bob", "kiosk", "2"), seen("cat", "kiosk", "3")]).unwrap();
    cdp.ingest([Event::page().anonymous_id("kiosk").message_id("4").at(old)]).unwrap();
    let bought = Source::new("bought").party(Party::Third);
    cdp.ingest_from(&bought, [seen("ann", "forgotten", "5").at(old)]).unwrap();
    cdp.ingest([Event::page().anonymous_id("forgotten").message_id("6").at(old)]).unwrap();
    assert_eq!(cdp.profiles().unwrap().len(), 1);
    cdp.backup(&backup).unwrap();

    cdp.split("anonymous_id:kiosk").unwrap();
    cdp.retain(RetentionRule::new("bought", days(90)).party(Party::Third)).unwrap();
    cdp.retain(RetentionRule::new("pages", days(90)).event("$page")).unwrap();
    assert_eq!(cdp.maintain().unwrap().retained, 3);
    cdp.erase("user_id:ann").unwrap();
    assert!(!cdp.is_suppressed("anonymous_id:forgotten").unwrap(), "nothing was known of it any more");
    drop(cdp);

    let restored = restore(&backup, &path).unwrap();
    // Ann's order, what was bought, and the page of the device that was hers.
    assert_eq!((restored.people, restored.identifiers, restored.events, restored.dropped), (1, 2, 3, 1));
    let cdp = open(&path);
    let left = partition(&cdp);
    assert_eq!(
        left,
        vec![vec!["anonymous_id:kiosk".to_owned(), "user_id:bob".to_owned(), "user_id:cat".to_owned()]]
    );
    assert_eq!(cdp.profile("user_id:bob").unwrap().unwrap().events, 2);
    // Their past is hers too; that they are members is told anew.
    let told: Vec<_> =
        cdp.changes(0, 9).unwrap().into_iter().map(|c| (c.segment, c.change, c.cause)).collect();
    assert_eq!(told, [("buyers".to_owned(), SegmentMove::Entered, ChangeCause::Erasure)]);
    assert!(cdp.retention_rules().unwrap().is_empty(), "rules are those of the backup");
    // What was dropped stays known.
    assert_eq!(
        cdp.ingest([Event::page().anonymous_id("kiosk").message_id("4").at(old)]).unwrap().duplicates,
        1
    );
    sound(&cdp);
}

#[test]
fn only_a_file_that_nobody_has_open_is_replaced_and_only_by_a_backup_of_it() {
    let (folder, path) = place();
    let backup = folder.path().join("backup.db");
    let cdp = open(&path);
    large(&cdp);
    cdp.backup(&backup).unwrap();
    let after = everybody(&cdp);
    assert!(matches!(restore(&backup, &path), Err(Error::Locked { .. })));
    drop(cdp);
    let reader = builder(&ManualClock::at(NOW)).open_read_only(&path).unwrap();
    let error = restore(&backup, &path).unwrap_err();
    assert!(matches!(error, Error::Busy), "{error:?}");
    assert_eq!(everybody(&reader), after);
    drop(reader);

    let other = folder.path().join("other.db");
    drop(open(&other));
    let error = restore(&backup, &other).unwrap_err();
    assert!(error.to_string().starts_with("backup: not a backup of the file"), "{error}");
    let text = folder.path().join("text");
    fs::write(&text, "dear diary").unwrap();
    for (from, to) in [(&text, &path), (&backup, &text)] {
        let error = restore(from, to).unwrap_err();
        assert!(matches!(&error, Error::NotACdpFile { path, .. } if *path == text), "{error:?}");
    }
    assert!(matches!(restore(&folder.path().join("none"), &path), Err(Error::Io { .. })));
    // A backup that is not sound replaces nothing.
    let damaged = folder.path().join("damaged.db");
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0x55);
    fs::write(&damaged, &bytes).unwrap();
    let error = restore(&damaged, &path).unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error:?}");
    let left = entries(folder.path());
    assert!(!left.iter().any(|name| name.contains("-part")), "{left:?}");
    let cdp = open(&path);
    assert_eq!(everybody(&cdp), after);
    sound(&cdp);
    drop(cdp);
    // And a sound one does.
    assert_eq!(restore(&backup, &path).unwrap().people, 0);
    assert_eq!(everybody(&open(&path)), after);
}

#[test]
fn where_the_file_is_lost_nothing_is_known_of_who_was_erased() {
    let (folder, path) = place();
    let backup = folder.path().join("backup.db");
    let cdp = open(&path);
    cdp.ingest([page(1), page(2)]).unwrap();
    cdp.backup(&backup).unwrap();
    cdp.erase("user_id:u1").unwrap();
    drop(cdp);
    let lost = folder.path().join("lost.db");
    let restored = restore(&backup, &lost).unwrap();
    assert_eq!((restored.replaced, restored.people), (false, 0));
    let cdp = open(&lost);
    assert_eq!(partition(&cdp).len(), 2);
    sound(&cdp);
    drop(cdp);
    // A log that was left behind would be taken for the new file's.
    fs::remove_file(&lost).unwrap();
    fs::write(folder.path().join("lost.db-wal"), "left behind").unwrap();
    let error = restore(&backup, &lost).unwrap_err();
    assert!(error.to_string().contains("lost.db-wal"), "{error}");
}

#[test]
fn a_key_of_the_application_is_needed_for_a_backup_too() {
    let (folder, path) = place();
    let backup = folder.path().join("backup.db");
    let with = |key: &str| builder(&ManualClock::at(NOW)).hash_key(key);
    let cdp = with("a key").open(&path).unwrap();
    cdp.ingest([page(1), page(2)]).unwrap();
    cdp.backup(&backup).unwrap();
    cdp.erase("user_id:u1").unwrap();
    drop(cdp);
    for wrong in [restore(&backup, &path), with("another").restore(&backup, &path)] {
        assert!(wrong.unwrap_err().to_string().starts_with("hash_key: "));
    }
    assert_eq!(with("a key").restore(&backup, &path).unwrap().people, 1);
    assert_eq!(with("a key").open(&path).unwrap().profiles().unwrap().len(), 1);
}

/// A decision on consent is as old as the backup, and so is everything else.
#[test]
fn what_was_decided_since_is_gone() {
    let (folder, path) = place();
    let backup = folder.path().join("backup.db");
    let cdp = open(&path);
    cdp.ingest([page(1)]).unwrap();
    cdp.record_consent("user_id:u1", ConsentDecision::granted("marketing")).unwrap();
    cdp.backup(&backup).unwrap();
    cdp.record_consent("user_id:u1", ConsentDecision::withdrawn("marketing")).unwrap();
    define(&cdp, &[Segment::new("lately", did("A"))]);
    drop(cdp);
    restore(&backup, &path).unwrap();
    let cdp = open(&path);
    assert_eq!(cdp.consents("user_id:u1").unwrap().len(), 1);
    assert!(cdp.members("lately").is_err());
}

proptest! {
    #![proptest_config(cases(24))]

    /// Whatever came after the backup, and whoever was erased: the file is what the backup is without them.
    #[test]
    fn what_comes_back_is_the_backup_without_who_was_erased(
        told in history(28, true),
        at in 0.0..1.0,
        whom in prop::collection::vec(0..NAMES.len(), 1..3),
    ) {
        let (folder, path) = place();
        let backup = folder.path().join("backup.db");
        let clock = ManualClock::at(NOW);
        let cdp = builder(&clock).rules(Rules::unlimited()).open(&path).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let until = (told.len() as f64 * at) as usize;
        ingest(&cdp, &told[..until]);
        cdp.backup(&backup).unwrap();
        ingest(&cdp, &told[until..]);
        let mut gone = BTreeSet::new();
        for name in whom {
            if let Some(person) = cdp.profile(NAMES[name]).unwrap() {
                gone.extend(person.identifiers.iter().map(ToString::to_string));
            }
            cdp.erase(NAMES[name]).unwrap();
        }
        drop(cdp);
        restore(&backup, &path).unwrap();

        // The same by hand: without limits nobody was less in the file than in the backup.
        let by_hand = open(&backup);
        for id in &gone {
            by_hand.erase(id).unwrap();
        }
        let cdp = open(&path);
        sound(&cdp);
        prop_assert_eq!(everybody(&cdp), everybody(&by_hand));
        for id in &gone {
            prop_assert!(cdp.profile(id).unwrap().is_none());
            prop_assert!(cdp.is_suppressed(id).unwrap());
        }
        // And all of it once more brings nobody back.
        let left = partition(&cdp);
        for event in &told[..until] {
            let report = cdp.ingest([event.json().to_string()]).unwrap();
            prop_assert_eq!((report.accepted, report.conflicts), (0, 0), "{:?}", event);
        }
        prop_assert_eq!(partition(&cdp), left);
    }
}
