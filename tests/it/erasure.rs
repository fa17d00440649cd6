//! Somebody erased is in no answer and in no file, and everything else is as if they had never been.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use customerdb::{
    Cause, Cdp, Change, ChangeCause, ConsentDecision, ConsentState, Durability, Error, Event, ManualClock,
    Purpose, Receipt, Rules, Segment, SegmentMove, Source, consented_to, days, did, has_account,
    has_identifier, has_trait,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::hostile::sqlite;
use crate::reference::{NAMES, Told, agree, answer, binds, book, decide, deed, history, ingest, open_book};
use crate::support::{NOW, builder, cases, define, everybody, ids, memory, partition, place, sound};

fn segments() -> [Segment; 5] {
    [
        Segment::new("agreed", consented_to("marketing")),
        Segment::new("lookers", did("Look").at_least(2)),
        Segment::new("wuhan", has_trait("city").eq("Wuhan")),
        Segment::new("mail", has_identifier("email")),
        Segment::new("by m1", has_account(has_trait("by").starts_with("m1"))),
    ]
}

fn fresh(rules: Rules) -> Cdp {
    let cdp = memory(rules);
    define(&cdp, &segments());
    cdp
}

// ---- as if they had never been ----

/// Of a history what is left without somebody's events, and without their identifiers in others'.
fn without(told: &[Told], events: &BTreeSet<String>, gone: &BTreeSet<String>) -> Vec<Told> {
    let mut left = Vec::new();
    for event in told.iter().filter(|event| !events.contains(&event.message_id)) {
        let mut event = event.clone();
        event.ids.retain(|id| !gone.contains(id));
        let is_theirs = |previous: &&str| {
            ["user_id", "anonymous_id"].iter().any(|name| gone.contains(&format!("{name}:{previous}")))
        };
        if event.previous.as_ref().is_some_and(is_theirs) {
            event.previous = Some("");
        }
        if !event.ids.is_empty() || event.previous.is_some_and(|previous| !previous.is_empty()) {
            left.push(event);
        }
    }
    left
}

/// Erases whoever holds an identifier, and gives the history that is left.
fn erase(cdp: &Cdp, told: &[Told], id: &str) -> Vec<Told> {
    let person = cdp.profile(id).unwrap();
    let gone: BTreeSet<String> = match &person {
        Some(person) => person.identifiers.iter().map(ToString::to_string).collect(),
        None => BTreeSet::from([id.to_owned()]),
    };
    let events: BTreeSet<String> =
        cdp.events(id, usize::MAX).unwrap().into_iter().map(|event| event.message_id).collect();
    let left = without(told, &events, &gone);
    let receipt = cdp.erase(id).unwrap();
    assert!(receipt.complete);
    assert_eq!(receipt.events, (told.len() - left.len()) as u64, "{receipt:?}");
    if let Some(person) = person {
        assert_eq!(receipt.identifiers, person.identifiers.len() as u64);
        assert_eq!(receipt.memberships, person.segments.len() as u64);
        assert!(cdp.profile(person.id).unwrap().is_none());
    }
    for id in &gone {
        assert!(cdp.profile(id).unwrap().is_none(), "{id}");
        assert!(cdp.is_suppressed(id).unwrap());
    }
    left
}

/// A history in the order in which a replay tells it.
fn in_order(told: &[Told]) -> Vec<Told> {
    let mut told = told.to_vec();
    told.sort_by(|a, b| (a.at, &a.message_id).cmp(&(b.at, &b.message_id)));
    told
}

proptest! {
    #![proptest_config(cases(48))]

    /// Whoever is erased, whatever hands have decided and rules refused: what is left is what a history means without them.
    #[test]
    fn what_is_left_is_what_the_model_makes_of_the_rest(
        told in history(28, true),
        deeds in prop::collection::vec(deed(), 0..6),
        book in book(),
        whom in prop::collection::vec(0..NAMES.len(), 1..3),
    ) {
        let cdp = fresh(book.rules());
        ingest(&cdp, &told);
        for deed in &deeds {
            decide(&cdp, deed);
        }
        cdp.restitch().unwrap();
        let mut left = told;
        for name in whom {
            left = erase(&cdp, &left, NAMES[name]);
            sound(&cdp);
            let expected = answer(&left, &book, &cdp.decisions().unwrap());
            if !binds(&cdp) && !expected.binds {
                agree(&cdp, &expected);
            }
            cdp.restitch().unwrap();
            agree(&cdp, &expected);
            sound(&cdp);
        }
    }

    /// A database that never knew them has the same people, traits, accounts and segments, and the same answers later on.
    #[test]
    fn a_database_that_never_knew_them_is_the_same(
        told in history(28, true),
        later in history(8, true),
        book in prop_oneof![book(), open_book()],
        said in prop::collection::vec((0..NAMES.len(), any::<bool>()), 0..5),
        whom in prop::collection::vec(0..NAMES.len(), 1..3),
    ) {
        let cdp = fresh(book.rules());
        ingest(&cdp, &in_order(&told));
        let decision =
            |agreed| ConsentDecision::new("marketing", if agreed { ConsentState::Granted } else { ConsentState::Denied });
        for (name, agreed) in &said {
            cdp.record_consent(NAMES[*name], decision(*agreed)).unwrap();
        }
        let mut left = told.clone();
        for name in &whom {
            left = erase(&cdp, &left, NAMES[*name]);
        }
        let never = fresh(book.rules());
        ingest(&never, &in_order(&left));
        for (name, agreed) in said.iter().filter(|(name, _)| !cdp.is_suppressed(NAMES[*name]).unwrap()) {
            never.record_consent(NAMES[*name], decision(*agreed)).unwrap();
        }
        if !binds(&cdp) && !binds(&never) {
            prop_assert_eq!(everybody(&cdp), everybody(&never));
        }
        cdp.restitch().unwrap();
        never.restitch().unwrap();
        prop_assert_eq!(everybody(&cdp), everybody(&never));
        let counts = |cdp: &Cdp| {
            let stats = cdp.stats().unwrap();
            (stats.events, stats.identifiers, stats.links, stats.refusals, stats.quarantined)
        };
        prop_assert_eq!(counts(&cdp), counts(&never));

        // All of it once more: nothing comes back.
        let (before, found) = (everybody(&cdp), ids(&cdp));
        for event in &told {
            let report = cdp.ingest([event.json().to_string()]).unwrap();
            prop_assert_eq!((report.accepted, report.conflicts), (0, 0), "{:?}", event);
        }
        prop_assert_eq!(cdp.quarantine(99).unwrap(), []);
        prop_assert_eq!(everybody(&cdp), before);
        prop_assert_eq!(ids(&cdp), found);

        // What bears none of theirs goes on as if nothing had been.
        let gone = |id: &String| cdp.is_suppressed(id).unwrap();
        let mut later = later;
        later.retain(|event| {
            let previous = event.previous.into_iter();
            let mut previous = previous.flat_map(|id| [format!("user_id:{id}"), format!("anonymous_id:{id}")]);
            !event.ids.iter().any(gone) && !previous.any(|id| gone(&id))
        });
        for event in &mut later {
            event.message_id = format!("later-{}", event.message_id);
        }
        ingest(&cdp, &later);
        ingest(&never, &later);
        cdp.restitch().unwrap();
        never.restitch().unwrap();
        prop_assert_eq!(everybody(&cdp), everybody(&never));
        sound(&cdp);
    }
}

// ---- in no file ----

/// In which files of a database any of some texts stands, in any case.
pub(crate) fn found_in(path: &Path, texts: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let folder = path.parent().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let bytes = fs::read(&file).unwrap().to_ascii_lowercase();
        for text in texts {
            let text = text.to_ascii_lowercase();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(format!("{text} in {}", file.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    found
}

/// What a person says of how they are dealt with.
fn has_a_say(cdp: &Cdp) {
    cdp.rectify("user_id:secret-user", "city", "secret-city-three").unwrap();
    cdp.rectify("user_id:secret-user", "name", "secret-name").unwrap();
    assert!(cdp.unpin("user_id:secret-user", "name").unwrap());
    cdp.define_purpose(Purpose::new("advertising").category("Advertising")).unwrap();
    let agreed = ConsentDecision::granted("marketing").source("secret-source").evidence("secret-evidence");
    cdp.record_consent("email:secret.mail@example.com", agreed).unwrap();
    assert!(cdp.export("user_id:secret-user").unwrap().is_some());
    // Nothing is kept of what they do from now on, but for what they decide.
    cdp.record_consent("user_id:secret-user", ConsentDecision::denied("analytics")).unwrap();
    let refused = Event::page()
        .anonymous_id("secret-device")
        .context("consent", json!({"categoryPreferences": {"Advertising": false}}))
        .property("x", "secret-withheld")
        .message_id("secret-message-8");
    assert_eq!(cdp.ingest([refused]).unwrap().withheld, 1);
    assert_eq!(cdp.consents("user_id:secret-user").unwrap().len(), 3);
}

/// Everything that a person can leave in a database, beside others with whom they had to do. Gives what must not be found
/// any more once they are erased.
pub(crate) fn lives(cdp: &Cdp) -> Vec<String> {
    let segments = [
        Segment::new("searchers", did("Search")),
        Segment::new("cities", has_trait("city").exists()),
        Segment::new("of gold", has_account(has_trait("plan").eq("secret-plan"))),
        Segment::list("testers", ["user_id:secret-user", "user_id:other"]),
    ];
    let login = Event::identify()
        .user_id("secret-user")
        .anonymous_id("secret-device")
        .with_trait("email", "Secret.Mail@Example.com")
        .with_trait("phone", "+86 138 7777 0002")
        .with_trait("city", "secret-city-one")
        .with_trait("notes", json!({"deep": ["secret-note", {"deeper": "secret-deeper"}]}))
        .message_id("secret-message-1")
        .at(NOW.before(days(9)));
    let other = Event::identify().user_id("other").with_trait("city", "Lima").message_id("o1");
    cdp.ingest([login, other]).unwrap();
    define(cdp, &segments);
    cdp.ingest([
        Event::track("Search")
            .anonymous_id("secret-device")
            .property("q", "secret-query")
            .message_id("secret-message-2"),
        Event::identify()
            .user_id("secret-user")
            .with_trait("city", "secret-city-two")
            .message_id("secret-message-3"),
        Event::page().user_id("secret-user").external_id("crm", "secret-crm").context("ip", "secret-ip"),
        Event::group("secret-account")
            .user_id("secret-user")
            .with_trait("plan", "secret-plan")
            .message_id("secret-message-4"),
        Event::group("acme")
            .user_id("secret-user")
            .with_trait("plan", "secret-plan")
            .message_id("secret-message-5"),
        Event::group("acme").user_id("other").with_trait("size", 3).message_id("o2"),
        // A second user is refused, and so is a value that cannot be an identifier.
        Event::alias("secret-second").user_id("secret-user").message_id("secret-message-6"),
        Event::identify()
            .user_id("secret-user")
            .with_trait("email", "secret-malformed")
            .message_id("secret-message-7"),
    ])
    .unwrap();
    // Others on their device, with their address, and in one breath with them.
    cdp.ingest([
        Event::track("Search")
            .user_id("other")
            .anonymous_id("secret-device")
            .property("n", 1.5)
            .message_id("o3"),
        Event::identify().user_id("other").with_trait("email", "SECRET.mail@example.com").message_id("o4"),
        Event::group("acme").user_id("other").with_trait("email", "secret.mail@example.com").message_id("o5"),
        Event::alias("secret-device").user_id("other").message_id("o6"),
    ])
    .unwrap();
    cdp.tag("user_id:secret-user", "secret-tag", None).unwrap();
    cdp.link("user_id:secret-user", "email:secret-linked@example.com").unwrap();
    cdp.never("user_id:secret-user", "user_id:secret-never").unwrap();
    cdp.unlink("user_id:secret-user", "device_id:secret-unlinked").unwrap();
    // What was refused, and names them: as JSON, and as what is none.
    cdp.ingest([
        r#"{"type":"track","userId":"secret-user","traits":{"x":"secret-refused"}}"#,
        r#"{"type":"track","event":"A","userId":"secret-user","secret-broken"#,
        r#"{"type":"nothing","a":{"mail":"Secret.Mail@example.com"}}"#,
        r#"{"type":"track","userId":"other"}"#,
    ])
    .unwrap();
    has_a_say(cdp);
    let secrets = [
        "secret-user",
        "secret-device",
        "secret.mail@example.com",
        "+8613877770002",
        "138 7777 0002",
        "secret-city-one",
        "secret-city-two",
        "secret-city-three",
        "secret-name",
        "secret-source",
        "secret-evidence",
        "secret-withheld",
        "secret-note",
        "secret-deeper",
        "secret-query",
        "secret-crm",
        "secret-ip",
        "secret-account",
        "secret-plan",
        "secret-second",
        "secret-malformed",
        "secret-tag",
        "secret-linked",
        "secret-never",
        "secret-unlinked",
        "secret-refused",
        "secret-broken",
        "secret-message",
        "secret",
    ];
    secrets.map(str::to_owned).to_vec()
}

/// The segment that names the account's plan is the application's text, and stays.
pub(crate) fn forget_definition(cdp: &Cdp) {
    cdp.undefine("of gold").unwrap();
    cdp.define(Segment::new("of gold", has_account(has_trait("plan").exists()))).unwrap();
}

fn open(path: &Path) -> Cdp {
    builder(&ManualClock::at(NOW)).open(path).unwrap()
}

#[test]
fn nothing_of_somebody_erased_is_left_in_any_file() {
    let (_folder, path) = place();
    let cdp = open(&path);
    let secrets = lives(&cdp);
    assert_eq!(found_in(&path, &secrets[..1]).len(), 1, "what is looked for is found as long as it is there");
    forget_definition(&cdp);
    let (profile, others) = (cdp.profile("user_id:secret-user").unwrap().unwrap(), partition(&cdp).len() - 1);
    assert_eq!(profile.identifiers.len(), 6, "{:?}", profile.identifiers);
    let cursor = cdp.changes(0, usize::MAX).unwrap().last().unwrap().cursor;

    let receipt = cdp.erase("phone:+86 138 7777 0002").unwrap();
    assert!(receipt.complete);
    assert_eq!(found_in(&path, &secrets), Vec::<String>::new());
    assert_eq!((receipt.identifiers, receipt.events, receipt.quarantined), (6, 8, 3));
    assert_eq!((receipt.memberships, receipt.redacted, receipt.deliveries), (4, 4, 0));
    assert_eq!((receipt.traits, receipt.consents, receipt.definitions), (7, 3, 0));
    assert_eq!(cdp.stats().unwrap().wal_bytes, 0);
    sound(&cdp);

    // A list had kept in memory, beside who is on it, whom it was made of, and the definition gave that away.
    let defined = cdp.segments().unwrap();
    let defined: Vec<String> = defined.iter().map(|found| found.segment.to_value().to_string()).collect();
    assert!(!defined.concat().contains("secret"), "{defined:?}");

    // The others are there, with what was theirs.
    assert_eq!(partition(&cdp), vec![vec!["user_id:other".to_owned()]]);
    assert_eq!(others, 1);
    let other = cdp.profile("user_id:other").unwrap().unwrap();
    assert_eq!((other.events, other.traits.len()), (6, 1));
    assert_eq!(other.accounts.len(), 1);
    assert_eq!(other.accounts[0].traits.keys().collect::<Vec<_>>(), ["size"]);
    let kept: Vec<String> =
        cdp.events("user_id:other", 9).unwrap().into_iter().map(|event| event.json).collect();
    assert!(kept.iter().any(|json| json.contains(r#""n":1.5"#)), "{kept:?}");
    assert_eq!(other.segments, ["cities", "searchers", "testers"]);
    assert_eq!(cdp.quarantine(9).unwrap().len(), 1);

    // What was done is accounted for, and the one by whom they were named is known by a keyed hash.
    let audited = cdp.audit(0, usize::MAX).unwrap();
    let told: Vec<&str> = audited.iter().map(|entry| entry.action.as_str()).collect();
    for action in ["link", "never", "unlink", "rectify", "unpin", "consent", "export"] {
        assert!(told.contains(&action), "{action}: {told:?}");
    }
    assert_eq!(told[told.len() - 2..], ["erase", "complete_erasures"]);
    let name = cdp.audit_name(&"phone:+86 138 7777 0002".parse().unwrap()).unwrap();
    assert_eq!(
        audited[told.len() - 2].details,
        json!({"about": [name], "identifiers": 6, "events": 8, "quarantined": 3, "redacted": 4})
    );

    // The journals tell that somebody is gone, and not who; and that an account is not what it was.
    let changes = cdp.changes(0, usize::MAX).unwrap();
    let theirs: Vec<_> = changes.iter().filter(|change| change.profile == profile.id).collect();
    assert_eq!(theirs.len(), 4);
    for change in theirs {
        assert_eq!((change.change, &change.cause), (SegmentMove::Exited, &ChangeCause::Erasure));
        assert_eq!(change.member.to_string(), format!("profile:{}", profile.id));
        assert!(change.cursor > cursor);
    }
    let last =
        changes.iter().rfind(|change| change.segment == "of gold" && change.profile == other.id).unwrap();
    assert_eq!((last.change, &last.cause), (SegmentMove::Exited, &ChangeCause::Erasure));
    assert_eq!(cdp.journal(0, 99).unwrap(), []);
    assert_eq!((cdp.decisions().unwrap(), cdp.refusals(0, 99).unwrap()), (vec![], vec![]));
    assert!(cdp.profile(profile.id).unwrap().is_none());
    assert!(cdp.link(profile.id, "user_id:other").is_err());

    // Nor is anything left for who opens the file, or erases them once more.
    let before = everybody(&cdp);
    drop(cdp);
    let cdp = open(&path);
    assert_eq!(everybody(&cdp), before);
    sound(&cdp);
    let again = cdp.erase("user_id:secret-user").unwrap();
    assert_eq!((again.identifiers, again.events, again.quarantined, again.complete), (0, 0, 0, true));
    drop(cdp);
    assert_eq!(found_in(&path, &secrets), Vec::<String>::new());
}

/// Erases somebody while another program reads what was there before, as long as its connection is not dropped.
pub(crate) fn held_up(path: &Path) -> (Cdp, Vec<String>, rusqlite::Connection, Receipt) {
    let cdp = open(path);
    let secrets = lives(&cdp);
    forget_definition(&cdp);
    #[expect(clippy::disallowed_methods, reason = "another program, which reads as long as it likes")]
    let reader = rusqlite::Connection::open(path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM identifiers").unwrap();
    let receipt = cdp.erase("user_id:secret-user").unwrap();
    (cdp, secrets, reader, receipt)
}

#[test]
fn while_somebody_reads_what_was_there_an_erasure_is_not_complete() {
    let (_folder, path) = place();
    let (cdp, secrets, reader, receipt) = held_up(&path);
    assert!(!receipt.complete);
    assert_eq!((receipt.identifiers, receipt.events), (6, 8));
    assert!(cdp.profile("user_id:secret-user").unwrap().is_none(), "nobody finds them any more");
    assert!(!found_in(&path, &secrets[..1]).is_empty(), "the reader still does");
    let early = cdp.maintain().unwrap();
    assert_eq!((early.erasures, early.waiting), (0, 1));
    // Others go on meanwhile.
    cdp.ingest([Event::page().user_id("other").message_id("o9")]).unwrap();
    reader.execute_batch("COMMIT").unwrap();
    let done = cdp.maintain().unwrap();
    assert_eq!((done.erasures, done.waiting), (1, 0));
    assert!(done.wal_bytes > 0);
    assert_eq!(found_in(&path, &secrets), Vec::<String>::new());
    assert_eq!(cdp.maintain().unwrap().erasures, 0);
    sound(&cdp);
}

#[test]
fn what_a_crash_cut_short_is_completed_by_whoever_opens_the_file() {
    let (_folder, path) = place();
    let (cdp, secrets, reader, receipt) = held_up(&path);
    assert!(!receipt.complete);
    drop(cdp);
    drop(reader);
    let cdp = open(&path);
    assert_eq!(found_in(&path, &secrets), Vec::<String>::new());
    assert_eq!(cdp.maintain().unwrap().erasures, 0);
}

/// `secure_delete` overwrites what is deleted where it lies, and that was thought to be enough. But where SQLite rebuilds a
/// page, copies of rows that went to the next page stay in its unused part: in a table with rows of all lengths, one person
/// in ten was still to be read in the file.
#[test]
fn unused_parts_of_pages_hold_nobody_either() {
    let (_folder, path) = place();
    let cdp = open(&path);
    let person = |n: u64| format!("secret-{n:04}-person");
    let mut state = 1_u64;
    // Linear congruential, by Knuth's MMIX: it need not be good, and must be the same each time.
    let mut dice = |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let mut number = 0;
    for batch in 0..60_u64 {
        let mut events = Vec::new();
        for _ in 0..80 {
            let whom = person(dice(150));
            let long = "x".repeat([0, 1, 5, 20, 100, 700, 1_500][usize::try_from(dice(7)).unwrap()]);
            number += 1;
            events.push(
                Event::identify()
                    .user_id(&whom)
                    .with_trait(
                        "name".repeat(usize::try_from(1 + dice(4)).unwrap()),
                        format!("{whom} {long}"),
                    )
                    .message_id(format!("{}-{number}-{whom}", dice(1_000_000_007))),
            );
        }
        cdp.ingest(events).unwrap();
        if batch >= 10 {
            let whom = person(batch * 2);
            assert!(cdp.erase(format!("user_id:{whom}")).unwrap().complete);
            assert_eq!(found_in(&path, &[whom]), Vec::<String>::new(), "after {batch} batches");
        }
    }
    sound(&cdp);
}

// ---- a crash ----

const FILE: &str = "CUSTOMERDB_ERASURE_FILE";

/// Not a test: a child that takes people in and erases them until it is killed.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn a_child_that_erases() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let cdp = builder(&ManualClock::at(NOW)).durability(Durability::Full).open(&path).unwrap();
    let mut out = std::io::stdout();
    let first = usize::try_from(cdp.stats().unwrap().events).unwrap();
    for n in first.. {
        let whom = format!("secret-{n:05}");
        let login = |device: &str| Event::identify().user_id(&whom).anonymous_id(format!("{whom}-{device}"));
        cdp.ingest([
            login("a").with_trait("city", format!("{whom}-city")).message_id(format!("{whom}-1")),
            login("b").message_id(format!("{whom}-2")),
            Event::page()
                .user_id(format!("other-{n}"))
                .anonymous_id(format!("{whom}-a"))
                .message_id(format!("o{n}")),
        ])
        .unwrap();
        writeln!(out, "took {whom}").unwrap();
        out.flush().unwrap();
        assert!(cdp.erase(format!("anonymous_id:{whom}-b")).unwrap().complete);
        writeln!(out, "erased {whom}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_process_killed_while_it_erases_leaves_somebody_whole_or_nothing_of_them() {
    let (_folder, path) = place();
    define(&open(&path), &segments());
    let (mut erased, mut whole, mut between) = (0, 0, 0);
    for round in 0..20_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "erasure::a_child_that_erases", "--ignored", "--nocapture", "--test-threads=1"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<String>>());
        std::thread::sleep(Duration::from_millis(60 + round * 97 % 400));
        child.kill().unwrap();
        child.wait().unwrap();
        let heard = listening.join().unwrap();
        let told = |word: &str| -> Vec<String> {
            let whom = heard.iter().filter_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()));
            whom.filter(|whom| whom.len() == "secret-00000".len()).collect()
        };
        let acknowledged = told("erased");
        erased += acknowledged.len();
        // As the files lie there: before anybody has opened them.
        assert_eq!(found_in(&path, &acknowledged), Vec::<String>::new());
        let cdp = open(&path);
        sound(&cdp);
        for whom in told("took").into_iter().filter(|whom| !acknowledged.contains(whom)) {
            if let Some(person) = cdp.profile(format!("user_id:{whom}")).unwrap() {
                assert_eq!(
                    (person.identifiers.len(), person.events, person.traits.len()),
                    (3, 2, 1),
                    "{whom}"
                );
                whole += 1;
                assert!(cdp.erase(format!("user_id:{whom}")).unwrap().complete);
            } else {
                between += 1;
            }
            assert_eq!(found_in(&path, &[whom]), Vec::<String>::new());
        }
        // The child may have been killed before it could tell of somebody.
        for person in
            cdp.profiles().unwrap().into_iter().filter(|person| person.name.value().starts_with("secret"))
        {
            assert_eq!(cdp.erase(&person.name).unwrap().events, 2);
            whole += 1;
        }
        assert_eq!(cdp.maintain().unwrap().waiting, 0);
        assert_eq!(found_in(&path, &["secret".to_owned()]), Vec::<String>::new());
    }
    assert!(erased > 10, "the children came to nothing: {erased}, {whole} whole, {between} in between");
}

// ---- the suppression list ----

#[test]
fn what_is_theirs_is_refused_and_what_is_anothers_is_taken_without_theirs() {
    let (_folder, path) = place();
    let cdp = open(&path);
    cdp.ingest([Event::identify()
        .user_id("ann")
        .anonymous_id("secret-d7")
        .with_trait("email", "secret@x.io")])
        .unwrap();
    cdp.erase("user_id:ann").unwrap();
    let report = cdp
        .ingest([
            // Whose the event is, is its strongest identifier's to say.
            Event::page().user_id("ann").message_id("1"),
            Event::page().user_id("ann").anonymous_id("d9").message_id("2"),
            Event::identify().with_trait("email", " Secret@X.io").anonymous_id("d9").message_id("3"),
            Event::page().anonymous_id("secret-d7").message_id("4"),
            Event::alias("secret-d7").user_id("ann").message_id("5"),
            // What is somebody else's loses the rest.
            Event::identify()
                .user_id("bob")
                .anonymous_id("secret-d7")
                .with_trait("email", "secret@x.io")
                .message_id("6"),
            Event::alias("secret-d7").user_id("bob").message_id("7"),
            Event::page().user_id("bob").external_id("crm", "77").message_id("8"),
        ])
        .unwrap();
    assert_eq!((report.accepted, report.profiles_created), (3, 1));
    let refused: Vec<(u64, &str)> =
        report.rejected.iter().map(|event| (event.position, event.reason.as_str())).collect();
    let reason =
        |name: &str| format!("{name}: suppressed: whose it is was erased, and nothing is kept of it");
    let (user, email, device) = (reason("user_id"), reason("email"), reason("anonymous_id"));
    assert_eq!(refused, [(0, &*user), (1, &*user), (2, &*email), (3, &*device), (4, &*user)]);
    assert_eq!(partition(&cdp), vec![vec!["external:crm:77".to_owned(), "user_id:bob".to_owned()]]);
    let bob = cdp.profile("user_id:bob").unwrap().unwrap();
    assert_eq!((bob.events, bob.traits.len()), (3, 0));

    // What cannot be taken in and names them is not kept either; the rest is.
    let report = cdp
        .ingest([
            r#"{"type":"track","userId":"ann"}"#,
            r#"{"type":"track","event":"A","anonymousId":"secret-d7""#,
            r#"{"type":"track","event":7,"properties":{"to":"secret@x.io"}}"#,
            r#"{"type":"track","userId":"bob"}"#,
        ])
        .unwrap();
    assert_eq!(report.rejected.len(), 4);
    assert!(report.rejected[0].reason.ends_with("; not kept, for it names somebody who was erased"));
    let kept = cdp.quarantine(9).unwrap();
    assert_eq!((kept.len(), kept[0].raw.as_str()), (1, r#"{"type":"track","userId":"bob"}"#));

    // What was taken in without a part of it is the same event when it comes again.
    let again = Event::identify().user_id("bob").anonymous_id("secret-d7").with_trait("email", "secret@x.io");
    let report = cdp.ingest([again.message_id("6")]).unwrap();
    assert_eq!((report.duplicates, report.conflicts), (1, 0));
    let nameless = || Event::page().user_id("bob").anonymous_id("secret-d7").property("n", 1);
    assert_eq!(cdp.ingest([nameless()]).unwrap().accepted, 1);
    assert_eq!(cdp.ingest([nameless()]).unwrap().duplicates, 1);

    // A hand does not bring them back by accident.
    for refused in [
        cdp.link("user_id:bob", "user_id:ann").unwrap_err(),
        cdp.tag("email:secret@x.io", "vip", None).unwrap_err(),
        cdp.define(Segment::list("list", ["anonymous_id:secret-d7"])).unwrap_err(),
    ] {
        assert!(refused.to_string().contains("suppressed"), "{refused}");
    }
    cdp.maintain().unwrap();
    assert_eq!(found_in(&path, &["secret".to_owned()]), Vec::<String>::new());

    // Until the suppression is lifted, by name.
    assert_eq!(cdp.stats().unwrap().suppressed, 3);
    assert!(cdp.is_suppressed("email:SECRET@x.io").unwrap());
    assert!(cdp.lift_suppression("email:SECRET@x.io").unwrap());
    assert!(!cdp.lift_suppression("email:SECRET@x.io").unwrap());
    let report = cdp.ingest([Event::identify().with_trait("email", "secret@x.io").message_id("9")]).unwrap();
    assert_eq!(report.accepted, 1);
    assert!(cdp.profile("email:secret@x.io").unwrap().is_some());
    assert!(matches!(cdp.lift_suppression("nobody"), Err(Error::NotAnId(_))));
    sound(&cdp);
}

/// What an alias names was a device as long as an event bore it as one. With the device erased, the same alias spoke of a
/// user nobody had heard of when it was imported again: its own name was taken out of it, and it came in under an address
/// that a limit had kept from them.
#[test]
fn an_alias_that_speaks_of_an_erased_device_does_not_come_back() {
    let cdp = memory(Rules::default().limit("email", Some(1)));
    let alias = r#"{"type":"alias","messageId":"1","previousId":"x1","traits":{"email":"e1@x.io"},
        "context":{"traits":{"email":"e4@x.io"}}}"#;
    let login = r#"{"type":"identify","messageId":"2","anonymousId":"x1","traits":{"email":"e1@x.io"}}"#;
    cdp.ingest([alias, login]).unwrap();
    assert_eq!(
        partition(&cdp),
        vec![vec!["anonymous_id:x1".to_owned(), "email:e1@x.io".to_owned()]],
        "the alias means the device"
    );
    assert_eq!(cdp.erase("anonymous_id:x1").unwrap().events, 2);
    assert_eq!(cdp.ingest([alias, login]).unwrap().accepted, 0);
    assert_eq!(cdp.profiles().unwrap(), []);
    sound(&cdp);
}

#[test]
fn somebody_unknown_can_be_kept_from_coming_in() {
    let cdp = memory(Rules::default());
    cdp.ingest([r#"{"type":"track","userId":"ann"}"#]).unwrap();
    let receipt = cdp.erase("user_id:ann").unwrap();
    assert_eq!((receipt.identifiers, receipt.quarantined, receipt.complete), (0, 1, true));
    assert_eq!(cdp.ingest([Event::page().user_id("ann")]).unwrap().rejected.len(), 1);
    assert_eq!(cdp.profiles().unwrap(), []);
    let nobody = "01900000-0000-7000-8000-000000000000";
    assert_eq!(cdp.erase(nobody).unwrap().identifiers, 0);
    assert!(matches!(cdp.erase("ann"), Err(Error::NotAnId(_))));
    sound(&cdp);
}

#[test]
fn several_people_are_erased_with_a_receipt_each() {
    let (_folder, path) = place();
    let cdp = open(&path);
    let page = |user: &str| Event::page().user_id(user).message_id(format!("{user}-1"));
    cdp.ingest([page("secret-a"), page("secret-b"), page("secret-b").message_id("2"), page("c")]).unwrap();
    assert!(matches!(cdp.erase_all(["user_id:secret-a", "nobody"]), Err(Error::NotAnId(_))));
    assert_eq!(cdp.profiles().unwrap().len(), 3);
    let receipts = cdp.erase_all(["user_id:secret-a", "user_id:secret-b", "user_id:secret-a"]).unwrap();
    let told: Vec<_> = receipts.iter().map(|one| (one.identifiers, one.events, one.complete)).collect();
    assert_eq!(told, [(1, 1, true), (1, 2, true), (0, 0, true)]);
    assert_eq!(found_in(&path, &["secret".to_owned()]), Vec::<String>::new());
    assert_eq!(partition(&cdp), vec![vec!["user_id:c".to_owned()]]);
    sound(&cdp);
}

/// A value that rules block by now is nobody's, and no evidence leads to the events that bear it.
#[test]
fn an_identifier_that_rules_block_can_be_erased_too() {
    let (_folder, path) = place();
    let cdp = open(&path);
    cdp.ingest([
        Event::page().anonymous_id("secret-kiosk").message_id("1"),
        Event::page().anonymous_id("secret-kiosk").user_id("bob").message_id("2"),
    ])
    .unwrap();
    cdp.set_rules(Rules::default().block("anonymous_id", "secret-kiosk")).unwrap();
    cdp.ingest([Event::page().anonymous_id("secret-kiosk").user_id("cat").message_id("3")]).unwrap();
    let receipt = cdp.erase("anonymous_id:secret-kiosk").unwrap();
    assert_eq!((receipt.identifiers, receipt.events, receipt.redacted), (1, 1, 2));
    assert_eq!(receipt.definitions, 1, "the rules still spell it");
    cdp.set_rules(Rules::default()).unwrap();
    cdp.maintain().unwrap();
    assert_eq!(partition(&cdp), vec![vec!["user_id:bob".to_owned()], vec!["user_id:cat".to_owned()]]);
    sound(&cdp);
}

#[test]
fn other_profiles_that_only_theirs_kept_together_fall_apart_again() {
    let cdp = memory(Rules::unlimited());
    let both =
        |a: &str, b: &str, id: &str| Event::identify().external_id(a, "1").external_id(b, "1").message_id(id);
    // One person who is cut in two; what remains of the evidence is the other's alone.
    cdp.ingest([both("a", "b", "1"), both("b", "c", "2"), both("c", "d", "3")]).unwrap();
    assert_eq!(partition(&cdp).len(), 1);
    cdp.unlink("external:b:1", "external:c:1").unwrap();
    assert_eq!(partition(&cdp).len(), 2);
    let kept = cdp.profile("external:d:1").unwrap().unwrap().id;
    let receipt = cdp.erase("external:a:1").unwrap();
    // The second event was of b, and bore c.
    assert_eq!((receipt.identifiers, receipt.events, receipt.redacted), (2, 2, 0));
    let left = cdp.profile("external:c:1").unwrap().unwrap();
    assert_eq!((left.id, left.events, left.identifiers.len()), (kept, 1, 2));
    assert_eq!(cdp.decisions().unwrap(), []);
    assert!(
        cdp.journal(0, 9)
            .unwrap()
            .iter()
            .all(|entry| { entry.change == Change::Joined || !matches!(entry.cause, Cause::Event { .. }) })
    );
    sound(&cdp);
}

/// The key of the hashes may be the application's: then the file alone tells nobody who is on the list.
#[test]
fn a_key_of_the_application_is_in_no_file() {
    let (_folder, path) = place();
    let with = |key: &str| builder(&ManualClock::at(NOW)).hash_key(key).open(&path);
    let cdp = with("a key from a safe place").unwrap();
    cdp.ingest([Event::page().user_id("ann")]).unwrap();
    cdp.erase("user_id:ann").unwrap();
    drop(cdp);
    assert_eq!(found_in(&path, &["a key from a safe place".to_owned()]), Vec::<String>::new());
    for wrong in [with("another").unwrap_err(), Cdp::open(&path).unwrap_err()] {
        assert!(wrong.to_string().starts_with("hash_key: "), "{wrong}");
    }
    let reader = Cdp::open_read_only(&path).unwrap();
    assert!(reader.profiles().unwrap().is_empty());
    // What is hashed, it cannot find.
    let ann = "user_id:ann".parse().unwrap();
    for missing in [reader.is_suppressed("user_id:ann").unwrap_err(), reader.audit_name(&ann).unwrap_err()] {
        assert!(missing.to_string().starts_with("hash_key: missing"), "{missing}");
    }
    let cdp = with("a key from a safe place").unwrap();
    assert!(cdp.is_suppressed("user_id:ann").unwrap());
    let name = cdp.audit_name(&ann).unwrap();
    drop(cdp);
    let keyed = |key: &str| builder(&ManualClock::at(NOW)).hash_key(key).open_read_only(&path);
    assert!(keyed("another").unwrap_err().to_string().starts_with("hash_key: not the key"));
    assert_eq!(keyed("a key from a safe place").unwrap().audit_name(&ann).unwrap(), name);

    let own = path.with_extension("own");
    let cdp = open(&own);
    cdp.erase("user_id:ann").unwrap();
    drop(cdp);
    let late = builder(&ManualClock::at(NOW)).hash_key("late").open(&own).unwrap_err();
    assert!(late.to_string().contains("made with a key of its own"), "{late}");
}

#[test]
fn an_erasure_waits_for_its_turn_and_tells_who_listens() {
    let cdp = memory(Rules::default());
    define(&cdp, &[Segment::new("lately", did("$page").within(days(3)))]);
    cdp.ingest_from(&Source::new("web"), [Event::page().user_id("ann").at(NOW)]).unwrap();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&seen);
    let _subscription = cdp
        .subscribe(move |changes| {
            log.lock().unwrap().extend(changes.iter().map(|change| change.cause.clone()));
        })
        .unwrap();
    let batch = cdp.begin().unwrap();
    assert!(matches!(cdp.erase("user_id:ann"), Err(Error::Busy)));
    drop(batch);
    cdp.erase("user_id:ann").unwrap();
    assert_eq!(*seen.lock().unwrap(), [ChangeCause::Erasure]);
}

/// Evidence that has not been brought to its place yet is not brought there by an erasure, which may have no room for it.
#[test]
fn erasing_somebody_needs_no_room_for_the_evidence_of_others() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let unsealed = || builder(&clock).seal_every(1 << 16);
    let cdp = unsealed().open(&path).unwrap();
    let events = (0..4_000).map(|n| {
        let page = Event::page().at(NOW).message_id(format!("message-{n}"));
        page.user_id(format!("u{n}")).anonymous_id(format!("a{n}"))
    });
    cdp.ingest(events).unwrap();
    drop(cdp);
    let size = fs::metadata(&path).unwrap().len();
    let cdp = unsealed().max_file_bytes(size + (64 << 10)).open(&path).unwrap();
    assert!(cdp.erase("user_id:u7").unwrap().complete);
    assert_eq!(cdp.graph().unwrap().links().len(), 3_999);
    sound(&cdp);
}

/// Nor is what others have said brought into its index, though it is time for it.
#[test]
fn erasing_somebody_needs_no_room_for_what_others_have_said() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).seal_every(1 << 16).open(&path).unwrap();
    let said = |n: u32| {
        let event = Event::identify().at(NOW).message_id(format!("message-{n}"));
        event.user_id(format!("u{n}")).with_trait("number", n)
    };
    cdp.ingest((0..4_000).map(said)).unwrap();
    drop(cdp);
    let size = fs::metadata(&path).unwrap().len();
    let cdp = builder(&clock).seal_every(1 << 10).max_file_bytes(size + (32 << 10)).open(&path).unwrap();
    assert!(cdp.erase("user_id:u7").unwrap().complete);
    assert_eq!(cdp.profile("user_id:u8").unwrap().unwrap().traits["number"].value, 8);
    sound(&cdp);
    drop(cdp);

    let cdp = builder(&clock).seal_every(1 << 10).open(&path).unwrap();
    cdp.ingest([said(4_000)]).unwrap();
    let brought = || {
        let sql = "SELECT count(*) FROM traits_by_node";
        sqlite(&path).query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!(brought(), 4_000);
    assert!(cdp.erase("user_id:u8").unwrap().complete);
    assert_eq!((brought(), cdp.profiles().unwrap().len()), (3_999, 3_999));
    sound(&cdp);
}

/// A secret, and how it came into a file.
type Story<'s> = (&'s str, &'s dyn Fn(&Cdp));

/// What once were identifiers of theirs and are none by now, as an alias named a device or the rules are others, goes too.
#[test]
fn what_once_were_their_identifiers_is_left_in_no_file_either() {
    let raw = |cdp: &Cdp, id: &str, event: &Value| {
        let mut event = event.clone();
        event["messageId"] = json!(id);
        assert_eq!(cdp.ingest([event.to_string()]).unwrap().accepted, 1);
    };
    let ann = |member: &str, value: Value| json!({"type": "identify", "userId": "secret-ann", member: value});
    let rules = Rules::default;
    let stories: [Story<'_>; 5] = [
        ("secret-tablet", &|cdp| {
            raw(cdp, "1", &json!({"type": "alias", "userId": "secret-ann", "previousId": "secret-tablet"}));
            raw(cdp, "2", &json!({"type": "page", "anonymousId": "secret-tablet"}));
        }),
        ("secret@ann.example", &|cdp| {
            cdp.set_rules(rules().member("properties.mail", "email")).unwrap();
            raw(cdp, "1", &ann("properties", json!({"mail": " Secret@ANN.example"})));
            cdp.set_rules(rules()).unwrap();
        }),
        ("13877770002", &|cdp| {
            cdp.set_rules(rules().default_region("CN").unwrap()).unwrap();
            raw(cdp, "1", &ann("traits", json!({"phone": "138 7777 0002"})));
            cdp.set_rules(rules().default_region("DE").unwrap()).unwrap();
        }),
        ("secret@corp.example", &|cdp| {
            raw(cdp, "1", &ann("traits", json!({"email": "secret@corp.example"})));
            cdp.set_rules(rules().block_pattern("email", "@corp.example$").unwrap()).unwrap();
        }),
        ("secret-card", &|cdp| {
            cdp.set_rules(rules().member("properties.card", "card")).unwrap();
            raw(cdp, "1", &ann("properties", json!({"card": "Secret-Card"})));
            cdp.set_rules(rules()).unwrap();
        }),
    ];
    for (secret, story) in stories {
        let (_folder, path) = place();
        let cdp = open(&path);
        // Whose identifier is blocked is nobody's too, and is to come back with them when the rules say so.
        raw(&cdp, "3", &json!({"type": "page", "userId": "bob"}));
        let bob = cdp.profile("user_id:bob").unwrap().unwrap().id;
        story(&cdp);
        let secrets = [secret.to_owned(), "secret-ann".to_owned()];
        let rules = cdp.rules();
        cdp.set_rules(rules.clone().block("user_id", "bob")).unwrap();
        raw(&cdp, "4", &json!({"type": "page", "userId": "secret-ann", "properties": {"with": "bob"}}));
        assert!(found_in(&path, &secrets).len() >= 2);
        let id = cdp.profile("user_id:secret-ann").unwrap().unwrap().id.to_string();
        // What others' events say in words is theirs.
        assert!(cdp.erase("user_id:secret-ann").unwrap().complete, "{secret}");
        drop(cdp);
        let left = "SELECT count(*) FROM identifiers WHERE value NOT IN ('', 'bob')";
        let count = sqlite(&path).query_row(left, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count, 0, "{secret}");
        let cdp = open(&path);
        sound(&cdp);
        assert!(cdp.profile(&id).unwrap().is_none() && cdp.export(&id).unwrap().is_none(), "{secret}");
        cdp.set_rules(rules).unwrap();
        assert_eq!(cdp.profile("user_id:bob").unwrap().unwrap().id, bob, "{secret}");
        sound(&cdp);
    }
}

/// What an event of somebody else bears as well stays: it is theirs, and what it means depends on it.
#[test]
fn what_others_bear_too_is_not_let_go_of() {
    let cdp = memory(Rules::default());
    let bears =
        |user: &str, id: &str| Event::identify().user_id(user).anonymous_id("kiosk").message_id(id).at(NOW);
    cdp.ingest([bears("ann", "1"), bears("bob", "2")]).unwrap();
    cdp.set_rules(Rules::default().block("anonymous_id", "kiosk").limit("user_id", Some(5))).unwrap();
    cdp.erase("user_id:ann").unwrap();
    // That it was borne as a device says what an alias means by it: nothing, as it is blocked.
    cdp.ingest([Event::alias("kiosk").user_id("carl").message_id("3").at(NOW)]).unwrap();
    assert_eq!(partition(&cdp), [["user_id:bob"], ["user_id:carl"]]);
    assert_eq!(cdp.restitch().unwrap().changed, 0);
    sound(&cdp);
}

/// Words that are in the events of many are in what the log is compressed with, in clear; the many may turn out to be one.
#[test]
fn the_words_of_somebody_with_many_devices_are_not_in_the_dictionary() {
    let (_folder, path) = place();
    let cdp = Cdp::builder().clock(ManualClock::at(NOW)).durability(Durability::Normal).open(&path).unwrap();
    let event = |n: u32, id: String| {
        let name = if n.is_multiple_of(4) { "Secretroezq" } else { "nobody in particular" };
        let event = Event::track("Product Viewed").message_id(format!("m{n}")).at(NOW).property("by", name);
        event.anonymous_id(id)
    };
    let id = |n: u32| {
        if n.is_multiple_of(4) {
            format!("secret-device-{}", n / 4 % 30)
        } else {
            format!("other-{}", n % 301)
        }
    };
    let dictionaries = || sqlite(&path).query_row("SELECT count(*) FROM dictionaries", [], |row| row.get(0));
    let mut made = 0;
    while dictionaries() == Ok(0) {
        assert!(made < 20_000, "no dictionary is made");
        cdp.ingest((made..made + 500).map(|n| event(n, id(n)))).unwrap();
        made += 500;
        std::thread::sleep(Duration::from_millis(20));
    }
    cdp.ingest((made..made + 500).map(|n| event(n, id(n)))).unwrap();
    cdp.ingest(
        (0..30).map(|n| Event::identify().user_id("secret-ann").anonymous_id(format!("secret-device-{n}"))),
    )
    .unwrap();
    let secrets = ["secretroezq".to_owned(), "secret-device".to_owned()];
    assert!(
        found_in(&path, &secrets[..1]).iter().any(|found| found.contains("customers.db")),
        "it is in clear"
    );
    let others = cdp.events("anonymous_id:other-7", 9).unwrap();
    // Whoever bears what many bear leaves nothing in it.
    assert!(cdp.erase("anonymous_id:other-8").unwrap().complete);
    assert_eq!(dictionaries(), Ok(1));
    assert!(cdp.erase("user_id:secret-ann").unwrap().complete);
    assert_eq!(found_in(&path, &secrets), Vec::<String>::new());
    assert_eq!(dictionaries(), Ok(0));
    assert_eq!(cdp.events("anonymous_id:other-7", 9).unwrap(), others);
    sound(&cdp);
    // It goes on, with another one.
    while dictionaries() == Ok(0) {
        assert!(made < 40_000, "no dictionary is made again");
        made += 500;
        cdp.ingest((made..made + 500).map(|n| event(n, format!("other-{}", n % 301)))).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(cdp);
    let cdp = Cdp::builder().clock(ManualClock::at(NOW)).open(&path).unwrap();
    assert_eq!(cdp.events("anonymous_id:other-7", 1).unwrap().len(), 1);
    sound(&cdp);
}
