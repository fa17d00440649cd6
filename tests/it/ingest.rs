//! Taking events in: what is refused and why, what is kept of it, files in all their wrappings, and exactly once.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use customerdb::{Cdp, Error, Event, IngestReport, ManualClock, Party, Rules, Source, Timestamp, hours};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{NOW, builder, everybody, memory, place, sound};

/// A file of that name and content in a folder of its own.
fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn rejected(report: &IngestReport) -> Vec<(u64, &str)> {
    report.rejected.iter().map(|rejected| (rejected.position, &*rejected.reason)).collect()
}

fn lines(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        writeln!(text, r#"{{"type":"page","userId":"u{}","messageId":"m{n}"}}"#, n % 10).unwrap();
    }
    text
}

/// Runs what may hang, and fails if it does.
fn within_a_minute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(work()));
    told.recv_timeout(Duration::from_secs(60)).expect("it hangs, or it panicked")
}

#[test]
fn every_kind_of_bad_event_is_refused_at_its_line_with_its_reason_and_spoils_no_other() {
    let deep = format!(r#"{{"type":"page","userId":"u","x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    let bad = [
        ("nonsense", "not JSON: expected ident at column 2"),
        (r#"{"type":"page","userId":"u""#, "not JSON: EOF while parsing an object at column 27"),
        ("[1]", "not an object: found an array"),
        ("17", "not an object: found a number"),
        (r#"{"userId":"u"}"#, "type: missing"),
        (
            r#"{"type":"Page","userId":"u"}"#,
            "type: unknown type \"Page\", expected one of track, identify, page, screen, group, alias",
        ),
        (r#"{"type":"page"}"#, "userId: missing, and so are anonymousId and every other identifier"),
        (r#"{"type":"track","userId":"u"}"#, "event: missing"),
        (r#"{"type":"group","userId":"u"}"#, "groupId: missing"),
        (r#"{"type":"alias","userId":"u"}"#, "previousId: missing"),
        (r#"{"type":"page","userId":"u","timestamp":"yesterday"}"#, "timestamp: not a time: \"yesterday\""),
        (
            r#"{"type":"page","userId":"u","timestamp":"1969-12-31T23:59:59Z"}"#,
            "timestamp: outside the years 1970 to 2100: \"1969-12-31T23:59:59Z\"",
        ),
        (
            r#"{"type":"page","userId":"u","sentAt":4133980800000}"#,
            "sentAt: outside the years 1970 to 2100: 4133980800000",
        ),
        (
            r#"{"type":"page","userId":"u","timestamp":"2024-05-02T12:00:00.000001Z"}"#,
            "timestamp: 2024-05-02T12:00:00.000001Z is more than 24h ahead of the clock",
        ),
        (deep.as_str(), "nesting: deeper than 64"),
        (
            r#"{"type":"page","userId":"Null","anonymousId":" 'guest' "}"#,
            "userId: blocked, and so is every other identifier of the event",
        ),
        (
            r#"{"type":"identify","traits":{"email":"nonsense"}}"#,
            "email: not an e-mail address: \"n***\", and there is no other identifier",
        ),
    ];
    let mut text = String::new();
    for (index, (line, _)) in bad.iter().enumerate() {
        writeln!(text, "{line}\n\n{{\"type\":\"page\",\"userId\":\"good\",\"messageId\":\"m{index}\"}}")
            .unwrap();
    }
    let (_folder, path) = file("events.jsonl", text.as_bytes());
    let cdp = memory(Rules::default());
    let report = cdp.ingest_file(&path, &Source::new("web")).unwrap();
    assert_eq!(report.accepted, bad.len() as u64);
    let expected: Vec<(u64, &str)> = (1..).step_by(3).zip(bad.iter().map(|(_, reason)| *reason)).collect();
    assert_eq!(rejected(&report), expected);

    let kept = cdp.quarantine(usize::MAX).unwrap();
    assert_eq!(kept.len(), bad.len());
    for (entry, (line, reason)) in kept.iter().zip(bad) {
        assert_eq!((&*entry.raw, &*entry.reason, &*entry.source, entry.at), (line, reason, "web", NOW));
    }
    // The same as a batch: positions count from 0.
    let report = cdp.ingest(bad.iter().map(|(line, _)| *line)).unwrap();
    let expected: Vec<(u64, &str)> = (0..).zip(bad.iter().map(|(_, reason)| *reason)).collect();
    assert_eq!(rejected(&report), expected);
    assert_eq!(cdp.stats().unwrap().quarantined, 2 * bad.len() as u64, "once for each source");
    assert_eq!(cdp.purge_quarantine().unwrap(), 2 * bad.len());
    assert!(cdp.quarantine(1).unwrap().is_empty());
    assert_eq!(cdp.purge_quarantine().unwrap(), 0);
    sound(&cdp);
}

#[test]
fn what_is_not_text_is_kept_byte_by_byte_and_comes_back_when_asked_for() {
    let bytes = b"{\"type\":\"page\",\"userId\":\"\xFF\xFE\"}".to_vec();
    let cdp = memory(Rules::default());
    let report = cdp.ingest([bytes.clone()]).unwrap();
    assert_eq!(rejected(&report), [(0, "not JSON: not UTF-8 from byte 26 on")]);
    let (_folder, path) = file("events.jsonl", &bytes);
    let report = cdp.ingest_file(&path, &Source::new("file")).unwrap();
    assert_eq!(rejected(&report), [(1, "not JSON: not UTF-8 from byte 26 on")]);
    // Replayed, it is the same bytes still: the same reason, and no second entry.
    let report = cdp.replay_quarantine().unwrap();
    assert_eq!(rejected(&report).len(), 2);
    assert_eq!(report.rejected[0].reason, "not JSON: not UTF-8 from byte 26 on");
    let kept = cdp.quarantine(9).unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept[0].raw.starts_with("{\"type\":\"page\",\"userId\":\"\u{FFFD}"));
}

#[test]
fn the_quarantine_is_replayed_when_the_rules_are_put_right() {
    let cdp = memory(Rules::default().block("user_id", "shop-7"));
    let event = r#"{"type":"track","event":"Sale","userId":"Shop-7","messageId":"s1"}"#;
    let by_card = r#"{"type":"track","event":"Sale","messageId":"s2","properties":{"card":"c1"}}"#;
    let report = cdp.ingest([event, by_card, "nonsense"]).unwrap();
    assert_eq!((report.accepted, report.rejected.len()), (0, 3));
    assert_eq!(cdp.stats().unwrap().events, 0);

    let report = cdp.replay_quarantine().unwrap();
    assert_eq!((report.accepted, report.rejected.len()), (0, 3), "nothing has been put right yet");
    cdp.set_rules(Rules::default().member("properties.card", "card")).unwrap();
    let report = cdp.replay_quarantine().unwrap();
    assert_eq!((report.accepted, report.duplicates, report.profiles_created), (2, 0, 2));
    assert_eq!(rejected(&report), [(2, "not JSON: expected ident at column 2")]);
    assert_eq!(cdp.quarantine(9).unwrap().len(), 1);
    assert_eq!(cdp.profile("card:c1").unwrap().unwrap().events, 1);
    assert_eq!(cdp.profile("user_id:Shop-7").unwrap().unwrap().events, 1);
    assert_eq!(cdp.ingest([event, by_card]).unwrap().duplicates, 2);
    sound(&cdp);
}

/// A refused event that came again, mended, leaves the quarantine at the next replay as a duplicate.
#[test]
fn a_refused_event_that_was_accepted_in_the_meantime_is_let_go_of() {
    let cdp = memory(Rules::default().block("user_id", "u1"));
    let event = Event::page().user_id("u1").message_id("m1");
    assert_eq!(cdp.ingest([event.clone()]).unwrap().rejected.len(), 1);
    cdp.set_rules(Rules::default()).unwrap();
    assert_eq!(cdp.ingest([event]).unwrap().accepted, 1);
    let report = cdp.replay_quarantine().unwrap();
    assert_eq!((report.duplicates, report.accepted), (1, 0));
    assert!(cdp.quarantine(9).unwrap().is_empty());
}

#[test]
fn a_replayed_event_keeps_the_source_it_came_from() {
    let cdp = memory(Rules::default().block("user_id", "u1"));
    let source = Source::new("exchange").party(Party::Third);
    let event = Event::identify().user_id("u1").with_trait("city", "Lima");
    cdp.ingest_from(&source, [event.clone()]).unwrap();
    cdp.set_rules(Rules::default()).unwrap();
    assert_eq!(cdp.replay_quarantine().unwrap().accepted, 1);
    let profile = cdp.profile("user_id:u1").unwrap().unwrap();
    assert_eq!(profile.traits["city"].source, "exchange");
    // Its id is made of content and source, so it is a duplicate where it came from, and new elsewhere.
    assert_eq!(cdp.ingest_from(&source, [event.clone()]).unwrap().duplicates, 1);
    assert_eq!(cdp.ingest([event]).unwrap().accepted, 1);
}

#[test]
fn the_first_of_two_events_with_one_message_id_wins() {
    let cdp = memory(Rules::default());
    let said = |city: &str| Event::identify().user_id("u1").message_id("m1").with_trait("city", city).at(NOW);
    let report = cdp.ingest([said("Wuhan"), said("Wuhan"), said("Lima")]).unwrap();
    assert_eq!((report.accepted, report.duplicates, report.conflicts), (1, 2, 1));
    // Not even who they are matters, nor how much time lies between them, nor the source.
    let other = Event::page().user_id("u2").message_id("m1");
    let report = cdp.ingest_from(&Source::new("other"), [other]).unwrap();
    assert_eq!((report.accepted, report.duplicates, report.conflicts), (0, 1, 1));
    assert!(cdp.profile("user_id:u2").unwrap().is_none());
    // A client that sends again says so in sentAt and receivedAt; that is no conflict.
    let report = cdp.ingest([said("Wuhan").sent_at(NOW).received_at(NOW)]).unwrap();
    assert_eq!((report.duplicates, report.conflicts), (1, 0));
    // Nor is another spelling of the same JSON.
    let spelled = r#" {"traits" : {"city":"Wuhan"}, "timestamp":1714564800000, "messageId":"m1", "userId":"u1", "type":"identify"}"#;
    let report = cdp.ingest([spelled]).unwrap();
    assert_eq!((report.duplicates, report.conflicts), (1, 0));
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().value("city"), Some(&"Wuhan".into()));
}

#[test]
fn a_file_without_message_ids_changes_nothing_the_second_time() {
    let text = "{\"type\":\"page\",\"userId\":\"u1\",\"properties\":{\"a\":1,\"b\":2}}\n\
                {\"type\":\"page\",\"userId\":\"u1\",\"properties\":{\"a\":1,\"b\":3}}\n\
                {\"type\":\"page\",\"userId\":\"u1\",\"properties\":{\"b\":2.0,\"a\":1}}\n\
                {\"type\":\"page\",\"userId\":\"u1\",\"messageId\":\"\",\"properties\":{\"b\":2,\"a\":1}}\n\
                {\"type\":\"page\",\"userId\":\"u2\",\"messageId\":null}\n";
    let (_folder, path) = file("events.jsonl", text.as_bytes());
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    let report = cdp.ingest_file(&path, &Source::default()).unwrap();
    assert_eq!((report.accepted, report.duplicates, report.conflicts), (3, 2, 0), "content, not spelling");
    let before = everybody(&cdp);
    // Events without a time happened when they first came: later they are no others.
    clock.set(NOW.after(hours(1_000)));
    let report = cdp.ingest_file(&path, &Source::default()).unwrap();
    assert_eq!((report.accepted, report.duplicates, report.conflicts), (0, 5, 0));
    assert_eq!(everybody(&cdp), before);
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().last_seen, Some(NOW));
}

#[test]
fn lines_end_as_they_like_and_may_be_blank() {
    let event = |n: u32| format!(r#"{{"type":"page","userId":"u","messageId":"m{n}"}}"#);
    let text = format!(
        "\u{feff}{}\r\n\r\n   \n\t{}  \n{}\r\nnonsense\r\n{}",
        event(1),
        event(2),
        event(3),
        event(4)
    );
    for name in ["events.jsonl", "events.ndjson", "events", "EVENTS.JSONL"] {
        let (_folder, path) = file(name, text.as_bytes());
        let cdp = memory(Rules::default());
        let report = cdp.ingest_file(&path, &Source::default()).unwrap();
        assert_eq!(report.accepted, 4, "{name}");
        assert_eq!(rejected(&report), [(6, "not JSON: expected ident at column 2")]);
        assert_eq!(cdp.quarantine(1).unwrap()[0].raw, "nonsense");
    }
    for nothing in ["", "\n\n", "\u{feff}", " "] {
        let (_folder, path) = file("events.jsonl", nothing.as_bytes());
        assert_eq!(memory(Rules::default()).ingest_file(&path, &Source::default()).unwrap().events(), 0);
    }
}

#[test]
fn an_array_is_read_element_by_element_with_lines() {
    let text = "\u{feff}\n[\n {\"type\":\"page\",\"userId\":\"u1\"},\n {\"type\":\"page\"},\n {\"type\": \"page\",\n  \"userId\": \"u2\"}\n]\n";
    let (_folder, path) = file("events.json", text.as_bytes());
    let cdp = memory(Rules::default());
    let report = cdp.ingest_file(&path, &Source::default()).unwrap();
    assert_eq!(report.accepted, 2);
    assert_eq!(
        rejected(&report),
        [(4, "userId: missing, and so are anonymousId and every other identifier")]
    );
    assert_eq!(cdp.quarantine(1).unwrap()[0].raw, "{\"type\":\"page\"}");
    for (text, accepted, refused) in [
        ("[]", 0, 0),
        (" [ ] ", 0, 0),
        ("[{\"type\":\"page\",\"userId\":\"u1\"}", 1, 1),
        ("[{\"type\":\"page\",\"userId\":\"u1\"},]", 1, 1),
        // Without the comma nothing is lost either.
        ("[{\"type\":\"page\",\"userId\":\"u1\"}\n{\"type\":\"page\",\"userId\":\"u2\"}]", 2, 0),
        (
            "[{\"type\":\"page\",\"userId\":\"u1\"},{\"type\":\"page\",\"userId\":NaN},{\"type\":\"page\",\"userId\":\"u2\"}]",
            2,
            1,
        ),
        ("[{\"type\":\"page\",\"userId\":\"u1\"}]\n{\"type\":\"page\",\"userId\":\"u2\"}", 2, 0),
        ("[[{\"type\":\"page\",\"userId\":\"u1\"}]]", 0, 1),
        ("[", 0, 1),
    ] {
        let (_folder, path) = file("events.json", text.as_bytes());
        let cdp = memory(Rules::default());
        let report = cdp.ingest_file(&path, &Source::default()).unwrap();
        assert_eq!((report.accepted, report.rejected.len()), (accepted, refused), "{text}: {report:?}");
    }
}

#[cfg(feature = "compression")]
#[test]
fn packed_files_are_unpacked_whatever_they_are_called() {
    use std::io::Write as _;
    let text = lines(3_000);
    let gzip = |text: &str| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let (first, second) = text.split_at(text.len() / 2);
    let array = format!("[{}]", text.trim_end().replace('\n', ",\n"));
    for (name, packed) in [
        ("events.jsonl.gz", gzip(&text)),
        ("events.jsonl.zst", zstd(&text)),
        ("events", gzip(&text)),
        // What `cat a.gz b.gz` makes, and the same of zstd.
        ("events.gz", [gzip(first), gzip(second)].concat()),
        ("events.zst", [zstd(first), zstd(second)].concat()),
        ("events.json.gz", gzip(&array)),
    ] {
        let (_folder, path) = file(name, &packed);
        let report = memory(Rules::default()).ingest_file(&path, &Source::default()).unwrap();
        assert_eq!((report.accepted, report.rejected.len()), (3_000, 0), "{name}");
    }
    let whole = gzip(&text);
    let (_folder, path) = file("events.jsonl.gz", &whole[..whole.len() / 2]);
    let cdp = memory(Rules::default());
    let error = cdp.ingest_file(&path, &Source::default()).unwrap_err();
    assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error:?}");
    sound(&cdp);
}

#[test]
fn a_file_that_is_not_there_is_an_error_that_names_it() {
    let (_folder, path) = place();
    let error = memory(Rules::default()).ingest_file(&path, &Source::default()).unwrap_err();
    assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error:?}");
}

/// The reading thread runs ahead of the writing one and waits for it. When the writing one gave up in the middle of a
/// long file, nobody took from the reader any more, and the call waited for a thread that waited for it, for ever.
#[test]
fn a_cancelled_import_returns_and_keeps_what_was_committed() {
    let (kept, error, again) = within_a_minute(|| {
        let (_folder, path) = file("events.jsonl", lines(40_000).as_bytes());
        let cdp = memory(Rules::default());
        let mut calls = 0;
        let cancelled = cdp.ingest_file_with(&path, &Source::default(), |progress| {
            calls += 1;
            assert!(progress.events >= 10_000 && progress.of.is_some());
            ControlFlow::Break(())
        });
        assert_eq!(calls, 1);
        let kept = cdp.stats().unwrap().events;
        sound(&cdp);
        (kept, cancelled.unwrap_err(), cdp.ingest_file(&path, &Source::default()).unwrap())
    });
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert!((10_000..20_000).contains(&kept), "{kept}");
    assert_eq!((again.duplicates, again.accepted), (kept, 40_000 - kept));
}

/// The same, when it is the disk that has enough.
#[test]
fn an_import_that_fills_the_disk_returns_and_keeps_what_was_committed() {
    let (error, stats, again) = within_a_minute(|| {
        let (_folder, events) = file("events.jsonl", lines(60_000).as_bytes());
        let (_folder, path) = place();
        let clock = ManualClock::at(NOW);
        let cdp = builder(&clock).max_file_bytes(3_000_000).open(&path).unwrap();
        let error = cdp.ingest_file(&events, &Source::default()).unwrap_err();
        sound(&cdp);
        let stats = cdp.stats().unwrap();
        drop(cdp);
        let cdp = builder(&clock).open(&path).unwrap();
        let again = cdp.ingest_file(&events, &Source::default()).unwrap();
        sound(&cdp);
        (error, stats, again)
    });
    assert!(matches!(error, Error::Full), "{error:?}");
    assert_eq!(stats.events % 10, 0);
    assert_eq!((again.duplicates, again.accepted), (stats.events, 60_000 - stats.events));
}

/// The same, when the caller's own callback panics.
#[test]
fn a_panic_in_the_progress_callback_comes_out_and_leaves_the_handle_usable() {
    within_a_minute(|| {
        let (_folder, path) = file("events.jsonl", lines(40_000).as_bytes());
        let cdp = memory(Rules::default());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = cdp.ingest_file_with(&path, &Source::default(), |_| panic!("as the test wants it"));
        }));
        assert!(panicked.is_err());
        let kept = cdp.stats().unwrap().events;
        assert_eq!(cdp.ingest_file(&path, &Source::default()).unwrap().duplicates, kept);
    });
}

#[test]
fn an_event_of_exactly_the_largest_size_is_taken_and_one_byte_more_is_not() {
    let sized = |bytes: usize| {
        let frame = r#"{"type":"page","userId":"u","x":""}"#;
        let text = frame.replace("\"\"}", &format!("\"{}\"}}", "x".repeat(bytes - frame.len())));
        assert_eq!(text.len(), bytes);
        text
    };
    let most = 1 << 20;
    let cdp = memory(Rules::default());
    let report = cdp.ingest([sized(most), sized(most + 1)]).unwrap();
    assert_eq!(report.accepted, 1);
    assert_eq!(rejected(&report), [(1, "payload: 1048577 bytes, at most 1048576 allowed")]);
    let cdp = Cdp::builder().max_event_bytes(100).in_memory().unwrap();
    let report = cdp.ingest([sized(100), sized(101)]).unwrap();
    assert_eq!(rejected(&report), [(1, "payload: 101 bytes, at most 100 allowed")]);
    // What is made by code is held to the same.
    let made = Event::page().user_id("u").property("x", "x".repeat(100));
    assert!(cdp.ingest([made]).unwrap().rejected[0].reason.ends_with("at most 100 allowed"));
}

/// What was accepted under a larger limit than the default one was read back under the default one: conditions saw no
/// properties in it, a re-sent copy in another spelling was a conflict, and new rules failed, the file being damaged.
#[test]
fn an_event_that_was_large_when_it_was_accepted_stays_readable() {
    let sized = |bytes: usize| {
        format!(r#"{{"type":"page","userId":"u","properties":{{"x":"{}"}}}}"#, "x".repeat(bytes))
    };
    let cdp = Cdp::builder().max_event_bytes(3 << 20).in_memory().unwrap();
    assert_eq!(cdp.ingest([sized(2 << 20)]).unwrap().accepted, 1);
    cdp.define(customerdb::Segment::new("x", customerdb::did("$page").where_property("x").starts_with("xx")))
        .unwrap();
    assert_eq!(cdp.members("x").unwrap().len(), 1);
    let report = cdp.ingest([format!(" {}", sized(2 << 20))]).unwrap();
    assert_eq!((report.duplicates, report.conflicts), (1, 0));
    cdp.set_rules(Rules::unlimited()).unwrap();
    assert_eq!(cdp.members("x").unwrap().len(), 1);
}

#[test]
fn nesting_of_64_is_taken_and_65_is_not() {
    let nested = |depth: usize| {
        let inner = "[".repeat(depth - 1) + &"]".repeat(depth - 1);
        format!(r#"{{"type":"page","userId":"u","x":{inner}}}"#)
    };
    let cdp = memory(Rules::default());
    let report = cdp.ingest([nested(64), nested(65)]).unwrap();
    assert_eq!((report.accepted, rejected(&report)), (1, vec![(1, "nesting: deeper than 64")]));
    // Brackets in strings nest nothing.
    let text = json!({"type": "page", "userId": "u", "x": "[{".repeat(100)}).to_string();
    assert_eq!(cdp.ingest([text]).unwrap().accepted, 1);
}

#[test]
fn times_at_the_edges_are_taken() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    let event = |at: &str| format!(r#"{{"type":"page","userId":"u {at}","timestamp":"{at}"}}"#);
    let edges = ["1970-01-01T00:00:00Z", "2024-05-02T12:00:00Z", "2024-05-02T13:00:00+01:00"];
    let report = cdp.ingest(edges.map(event)).unwrap();
    assert_eq!((report.accepted, report.rejected.len()), (3, 0));
    let cdp = builder(&clock).max_ahead(None).in_memory().unwrap();
    let report = cdp.ingest(["2100-12-31T23:59:59.999999Z", "2101-01-01T00:00:00Z"].map(event)).unwrap();
    assert_eq!((report.accepted, report.rejected.len()), (1, 1));
    // Now moves on, and what was too far ahead no longer is.
    let cdp = builder(&clock).in_memory().unwrap();
    assert_eq!(cdp.ingest([event("2024-05-02T13:00:00Z")]).unwrap().rejected.len(), 1);
    clock.set(NOW.after(hours(1)));
    assert_eq!(cdp.replay_quarantine().unwrap().accepted, 1);
}

#[test]
fn an_event_comes_back_to_the_letter() {
    let text = "{ \"type\":\"page\", \"userId\":\"u1\",\"integrations\":{\"All\":false},\"x\":1.50,\"é\":\"\\u00e9\", \
                \"timestamp\":\"2024-05-01T14:00:00+02:00\" }";
    let cdp = memory(Rules::default());
    cdp.ingest([text]).unwrap();
    let records = cdp.events("user_id:u1", 9).unwrap();
    assert_eq!((&*records[0].json, records[0].at, &*records[0].name), (text, NOW, "$page"));
    let cdp2 = memory(Rules::default());
    let made = Event::page().user_id("u1").message_id("m").member("integrations", json!({"All": false}));
    cdp2.ingest([made.clone()]).unwrap();
    assert_eq!(Event::from_json(&cdp2.events("user_id:u1", 9).unwrap()[0].json).unwrap(), made);
}

#[test]
fn the_time_of_an_event_follows_the_rule_of_the_spec() {
    let cdp = memory(Rules::default());
    let t = |minute: i64| Timestamp::from_micros(NOW.as_micros() - 3_600_000_000 + minute * 60_000_000);
    for (n, (event, expected)) in [
        (Event::page().at(t(1)).original_timestamp(t(2)).sent_at(t(3)).received_at(t(9)), t(1)),
        (Event::page().original_timestamp(t(2)).sent_at(t(3)).received_at(t(9)), t(8)),
        (Event::page().original_timestamp(t(2)).received_at(t(9)), t(2)),
        (Event::page().original_timestamp(t(2)).sent_at(t(3)), t(2)),
        (Event::page().sent_at(t(3)).received_at(t(9)), t(9)),
        (Event::page().sent_at(t(3)), NOW),
        (Event::page(), NOW),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("u{n}");
        cdp.ingest([event.user_id(&user)]).unwrap();
        assert_eq!(
            cdp.profile(format!("user_id:{user}")).unwrap().unwrap().first_seen,
            Some(expected),
            "{n}"
        );
    }
}

#[test]
fn counts_of_profiles_are_those_of_the_whole_call() {
    let page = |user: Option<&str>, anonymous: &str| {
        let event = Event::page().anonymous_id(anonymous);
        user.map_or(event.clone(), |user| event.user_id(user))
    };
    let cdp = memory(Rules::default());
    let report =
        cdp.ingest([page(None, "a1"), page(None, "a2"), page(None, "a3"), page(Some("u1"), "a1")]).unwrap();
    assert_eq!((report.profiles_created, report.merges), (3, 0));
    let report = cdp.ingest([page(Some("u1"), "a2"), page(Some("u2"), "a4")]).unwrap();
    assert_eq!((report.profiles_created, report.merges), (1, 1));
    // A stranger who is met and recognised within one call was never a profile of its own.
    let report = cdp.ingest([page(None, "a5"), page(Some("u2"), "a5")]).unwrap();
    assert_eq!((report.profiles_created, report.merges), (0, 0));
}

/// Counting from the number of profiles before the writer's turn came, a call counted the people whom another had
/// made while it waited as its own.
#[test]
fn counts_of_profiles_leave_out_what_another_writer_did_in_between() {
    let cdp = memory(Rules::default());
    let batch = cdp.begin().unwrap();
    let waiting = std::thread::spawn({
        let cdp = cdp.clone();
        move || cdp.ingest([Event::identify().user_id("u1").anonymous_id("a1")]).unwrap()
    });
    // The other thread stands in line by now, or gets its turn later: both must count the same.
    std::thread::sleep(Duration::from_millis(200));
    let mut batch = batch;
    batch.ingest([Event::page().user_id("u1"), Event::page().anonymous_id("a1")]).unwrap();
    batch.commit().unwrap();
    let report = waiting.join().unwrap();
    assert_eq!((report.accepted, report.profiles_created, report.merges), (1, 0, 1));
}
