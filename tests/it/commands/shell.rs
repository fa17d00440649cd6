//! The example `cdp` as people use it: what is printed, and the exit status.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Session, cdp};

const GOOD: &str = r#"{"type":"identify","userId":"u1","anonymousId":"d7","messageId":"m1","timestamp":"2024-05-01T10:00:00Z","traits":{"city":"Wuhan"}}"#;

/// What came of a command line.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    status: Option<i32>,
}

fn said(output: Output) -> Said {
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        status: output.status.code(),
    }
}

/// Runs a command in a folder, on `test.db`.
fn run_in(folder: &Path, arguments: &[&str]) -> Said {
    said(cdp().current_dir(folder).args(["--db", "test.db"]).args(arguments).output().unwrap())
}

/// Runs a command with something on its standard input.
fn pipe_in(folder: &Path, arguments: &[&str], input: &[u8]) -> Said {
    let mut command = cdp();
    command.current_dir(folder).args(["--db", "test.db"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that cannot begin may be gone before it has read what it does not need.
    if let Err(error) = child.stdin.take().unwrap().write_all(input) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
    said(child.wait_with_output().unwrap())
}

/// The figure that stands beside `name`.
fn figure(text: &str, name: &str) -> String {
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.trim().to_owned()
}

#[test]
fn a_file_with_bad_lines_is_taken_in_and_they_are_told_with_their_places() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("events.jsonl"), format!("{GOOD}\nno event\n{GOOD}\n")).unwrap();
    let first = run_in(folder.path(), &["ingest", "events.jsonl"]);
    assert_eq!(first.status, Some(0), "{first:?}");
    assert!(
        first.err.starts_with("events.jsonl:2: not JSON: ") && first.err.lines().count() == 1,
        "{first:?}"
    );
    for (name, expected) in [
        ("events", "3"),
        ("accepted", "1"),
        ("duplicates", "1"),
        ("conflicts", "0"),
        ("rejected", "1"),
        ("people", "1"),
        ("merges", "0"),
    ] {
        assert_eq!(figure(&first.out, &format!("{name} ")), expected, "{name}: {}", first.out);
    }
    assert!(first.out.contains("events a second"), "{}", first.out);

    let strict = run_in(folder.path(), &["ingest", "--strict", "events.jsonl"]);
    assert_eq!(strict.status, Some(1), "{strict:?}");
    let clean = pipe_in(folder.path(), &["ingest", "--strict", "-"], GOOD.as_bytes());
    assert_eq!((clean.status, clean.err.as_str()), (Some(0), ""), "{clean:?}");
    let bad = pipe_in(folder.path(), &["ingest", "--json", "-"], b"no event\n");
    assert!(bad.err.starts_with("-:1: not JSON: "), "{bad:?}");
    let report: Value = serde_json::from_str(&bad.out).unwrap();
    assert_eq!((&report["accepted"], &report["rejected"][0]["line"]), (&json!(0), &json!(1)));
}

#[cfg(feature = "compression")]
#[test]
fn packed_files_are_unpacked_and_their_source_is_kept() {
    let folder = TempDir::new().unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(GOOD.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    std::fs::write(folder.path().join("events.jsonl.gz"), &packed).unwrap();
    let taken = run_in(folder.path(), &["ingest", "--source", "crm", "--party", "second", "events.jsonl.gz"]);
    assert_eq!((taken.status, figure(&taken.out, "accepted").as_str()), (Some(0), "1"), "{taken:?}");
    let again = pipe_in(folder.path(), &["ingest", "-"], &packed);
    assert_eq!(figure(&again.out, "duplicates"), "1", "{again:?}");
    let history = run_in(folder.path(), &["trait_history", "user_id:u1", "city"]);
    assert_eq!(history.out, "2024-05-01T10:00:00Z  Wuhan  crm  m1\n");
}

#[test]
fn answers_are_printed_for_reading_or_as_the_raw_object() {
    let folder = TempDir::new().unwrap();
    pipe_in(folder.path(), &["ingest", "-"], GOOD.as_bytes());
    let profile = run_in(folder.path(), &["profile", "anonymous_id:d7"]);
    assert!(profile.out.starts_with("user_id:u1\n") && profile.out.contains("city  Wuhan"), "{profile:?}");
    let raw = run_in(folder.path(), &["--json", "events", "user_id:u1", "--limit", "1"]);
    assert_eq!(raw.out, format!("{{\"events\":[{GOOD}]}}\n"));
    let events = run_in(folder.path(), &["events", "user_id:u1"]);
    assert_eq!(events.out, "2024-05-01T10:00:00Z  $identify  m1  city: Wuhan\n");
    let why = run_in(folder.path(), &["explain", "user_id:u1", "anonymous_id:d7"]);
    assert!(why.out.starts_with("user_id:u1 and anonymous_id:d7 are one person\n"), "{why:?}");
    assert!(why.out.contains("the first m1"), "{why:?}");
    let nobody = run_in(folder.path(), &["profile", "user_id:u9"]);
    assert_eq!((nobody.status, nobody.out.as_str()), (Some(0), "nobody goes by user_id:u9\n"));
    assert_eq!(figure(&run_in(folder.path(), &["stats"]).out, "people"), "1");
    assert_eq!(run_in(folder.path(), &["profiles"]).out, "1 person\n  user_id:u1  anonymous_id:d7\n");
    let check = run_in(folder.path(), &["check"]);
    assert_eq!((check.status, check.out.as_str()), (Some(0), "sound\n"));
}

#[test]
fn a_segment_is_defined_from_a_file_or_from_standard_input() {
    let folder = TempDir::new().unwrap();
    pipe_in(folder.path(), &["ingest", "-"], GOOD.as_bytes());
    let condition = br#"{"trait": "city", "eq": "Wuhan"}"#;
    let defined = pipe_in(folder.path(), &["segment", "wuhan", "-"], condition);
    assert_eq!((defined.status, defined.out.as_str()), (Some(0), "1 member\n"), "{defined:?}");
    std::fs::write(folder.path().join("all.json"), r#"{"condition": {"all": []}}"#).unwrap();
    assert_eq!(run_in(folder.path(), &["segment", "all", "all.json"]).out, "1 member\n");
    assert_eq!(run_in(folder.path(), &["preview", "all.json"]).out, "1 member\n  user_id:u1\n");
    let before = run_in(folder.path(), &["members", "wuhan", "--at", "2024-04-01T00:00:00Z"]);
    assert_eq!(before.out, "0 members\n");
    let segments = run_in(folder.path(), &["segments"]).out;
    assert!(segments.starts_with("all    1 member  {\"all\":[]}\nwuhan  1 member  "), "{segments}");
    assert_eq!(run_in(folder.path(), &["undefine", "all"]).status, Some(0));
    let gone = run_in(folder.path(), &["members", "all"]);
    assert_eq!((gone.status, gone.err.as_str()), (Some(2), "cdp: no segment is named \"all\"\n"));
    let wrong = pipe_in(folder.path(), &["segment", "wrong", "-"], br#"{"trait": "city", "equals": 1}"#);
    assert_eq!(wrong.status, Some(2));
    assert!(wrong.err.contains("\"equals\""), "{wrong:?}");
}

#[test]
fn refused_events_are_listed_replayed_and_purged() {
    let folder = TempDir::new().unwrap();
    pipe_in(folder.path(), &["ingest", "-"], b"no event\n\x1b[2J\n");
    let listed = run_in(folder.path(), &["quarantine"]);
    assert!(listed.out.contains("\n  no event\n"), "{listed:?}");
    assert!(!listed.out.contains('\x1b'), "what came must not steer the terminal: {listed:?}");
    assert_eq!(run_in(folder.path(), &["quarantine", "--limit", "1"]).out.lines().count(), 2);
    assert_eq!(figure(&run_in(folder.path(), &["quarantine", "--replay"]).out, "rejected"), "2");
    assert_eq!(run_in(folder.path(), &["quarantine", "--purge"]).out, "let go of 2 refused events\n");
    assert_eq!(run_in(folder.path(), &["quarantine"]).out, "nothing in quarantine\n");
}

#[test]
fn reading_commands_work_beside_a_writer_and_writing_ones_say_who_is_in_the_way() {
    let mut session = Session::with_two_people();
    let folder = session.folder.path().to_owned();
    assert!(run_in(&folder, &["profiles"]).out.starts_with("2 people\n"));
    session.ok(&json!({"do": "ingest", "events": [{"type": "page", "userId": "u3"}]}));
    assert!(run_in(&folder, &["profiles"]).out.starts_with("3 people\n"));
    let locked = pipe_in(&folder, &["ingest", "-"], GOOD.as_bytes());
    assert_eq!(locked.status, Some(2), "{locked:?}");
    assert!(locked.err.contains("open for writing elsewhere"), "{locked:?}");
}

#[test]
fn a_file_that_is_not_there_is_named_and_not_made_by_reading() {
    let folder = TempDir::new().unwrap();
    let missing = run_in(folder.path(), &["profiles"]);
    assert_eq!((missing.status, missing.out.as_str()), (Some(2), ""));
    assert!(missing.err.starts_with("cdp: test.db: "), "{missing:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let missing = run_in(folder.path(), &["ingest", "events.jsonl"]);
    assert_eq!(missing.status, Some(2));
    assert!(missing.err.starts_with("cdp: events.jsonl: "), "{missing:?}");
    for command in ["profiles", "run"] {
        let directory = said(cdp().current_dir(folder.path()).args(["--db", ".", command]).output().unwrap());
        assert_eq!(
            (directory.status, directory.err.as_str()),
            (Some(2), "cdp: . is not a customer database: it is a directory\n")
        );
    }
}

#[test]
fn settings_come_from_a_file_and_mistakes_in_it_are_told_by_their_path() {
    let folder = TempDir::new().unwrap();
    let config = |text: &str| std::fs::write(folder.path().join("config.json"), text).unwrap();
    config(
        r#"{"rules": {"blocked": {"anonymous_id": ["d7"]}}, "max_event_bytes": 200, "max_ahead": null,
            "max_file_bytes": 100000000, "durability": "normal"}"#,
    );
    let large = GOOD.replace("Wuhan", &"W".repeat(200)).replace("m1", "m2");
    let late = GOOD.replace("m1", "m3").replace("2024", "2099").replace("u1", "u2");
    let input = format!("{GOOD}\n{large}\n{late}\n");
    let taken = pipe_in(folder.path(), &["--config", "config.json", "ingest", "-"], input.as_bytes());
    assert_eq!((figure(&taken.out, "accepted").as_str(), taken.err.lines().count()), ("2", 1), "{taken:?}");
    assert!(taken.err.starts_with("-:2: "), "{taken:?}");
    assert_eq!(run_in(folder.path(), &["profiles"]).out, "2 people\n  user_id:u1\n  user_id:u2\n");
    for (text, message) in [
        (r#"{"max_bytes": 1}"#, "cdp: config.json: max_bytes: unknown member"),
        (r#"{"rules": {"limits": {"email": {"most": 1}}}}"#, "cdp: config.json: rules.limits.email: "),
        (r#"{"max_ahead": "1y"}"#, "cdp: config.json: max_ahead: not a duration: \"1y\""),
        (r#"{"durability": "half"}"#, "cdp: config.json: durability: not a durability: \"half\""),
        ("{", "cdp: config.json: not JSON: "),
    ] {
        config(text);
        let refused = run_in(folder.path(), &["--config", "config.json", "profiles"]);
        assert_eq!(refused.status, Some(2), "{text}: {refused:?}");
        assert!(refused.err.starts_with(message), "{text}: {refused:?}");
    }
}

/// An import of more than the reader may read ahead used to wait for ever once a batch failed: the reader waited
/// for room, and the writer, which had given up, for the reader.
#[test]
fn an_import_that_fills_the_file_ends_and_keeps_nothing_of_the_batch() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"max_file_bytes": 300000}"#).unwrap();
    let lines: Vec<String> = (0..20_000).map(|n| GOOD.replace("u1", &format!("u{n}"))).collect();
    std::fs::write(folder.path().join("events.jsonl"), lines.join("\n").replace("\"messageId\":\"m1\",", ""))
        .unwrap();
    let full = run_in(folder.path(), &["--config", "config.json", "ingest", "events.jsonl"]);
    assert_eq!((full.status, full.out.as_str()), (Some(2), ""), "{full:?}");
    assert!(full.err.starts_with("cdp: the disk is full"), "{full:?}");
    assert_eq!(figure(&run_in(folder.path(), &["stats"]).out, "events "), "0");
    assert_eq!(run_in(folder.path(), &["check"]).out, "sound\n");
}

#[test]
fn new_rules_say_what_they_did() {
    let folder = TempDir::new().unwrap();
    let second = GOOD.replace("u1", "u2").replace("m1", "m2");
    pipe_in(folder.path(), &["ingest", "-"], format!("{GOOD}\n{second}\n").as_bytes());
    let set = pipe_in(folder.path(), &["rules", "-"], br#"{"limits": {"user_id": {"max": null}}}"#);
    assert_eq!((figure(&set.out, "people before").as_str(), figure(&set.out, "joined").as_str()), ("2", "1"));
    assert!(set.out.contains("user_id:u1 + user_id:u2 → user_id:u1"), "{set:?}");
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = TempDir::new().unwrap();
    pipe_in(folder.path(), &["ingest", "-"], GOOD.as_bytes());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = cdp();
    command.current_dir(folder.path()).args(["--db", "test.db", "events", "user_id:u1"]);
    let left =
        said(command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap());
    assert_eq!((left.status, left.err.as_str()), (Some(0), ""));
}

#[test]
fn a_backup_comes_back_without_who_was_erased_since() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| run_in(folder.path(), arguments);
    pipe_in(folder.path(), &["ingest", "-"], GOOD.as_bytes());
    assert_eq!(run(&["backup", "monday.db"]).status, Some(0));
    let again = run(&["backup", "monday.db"]);
    assert_eq!(again.status, Some(2));
    assert!(again.err.contains("monday.db: "), "{again:?}");
    assert_eq!(run(&["erase", "user_id:u1"]).status, Some(0));
    let back = run(&["restore", "monday.db"]);
    assert_eq!(
        (figure(&back.out, "people erased since"), back.status),
        ("1".to_owned(), Some(0)),
        "{back:?}"
    );
    assert_eq!(run(&["stats", "--json"]).out.matches("\"events\":0,").count(), 1);
    std::fs::remove_file(folder.path().join("test.db")).unwrap();
    let lost = run(&["restore", "monday.db", "--json"]);
    assert!(lost.out.starts_with("{\"replaced\":false,"), "{lost:?}");
    assert!(run(&["profile", "user_id:u1"]).out.starts_with("user_id:u1"));
    let asked = pipe_in(folder.path(), &["run"], br#"{"do":"backup","path":"tuesday.db"}"#);
    assert_eq!(asked.out, "{\"ok\":{}}\n");
    assert!(folder.path().join("tuesday.db").exists());
}

#[test]
fn help_shows_every_command_with_an_example() {
    let help = said(cdp().arg("--help").output().unwrap());
    assert_eq!(help.status, Some(0));
    let (list, examples) = help.out.split_once("Examples:").unwrap();
    let commands = list.split_once("Commands:\n").unwrap().1.lines().take_while(|line| !line.is_empty());
    let mut count = 0;
    for name in commands.map(|line| line.split_whitespace().next().unwrap()) {
        assert!(examples.contains(&format!("cdp --db shop.db {name}")), "{name}");
        count += 1;
    }
    assert!(count >= 26, "{count}");
    let nothing = said(cdp().arg("stats").output().unwrap());
    assert_eq!(nothing.status, Some(2));
    assert!(nothing.err.contains("--db"), "{nothing:?}");
}

#[test]
fn suggest_prints_a_waterfall_for_each_pair() {
    let folder = TempDir::new().unwrap();
    let known = |user: &str, name: &str| json!({"type": "identify", "userId": user, "messageId": user, "traits": {"name": name, "born": 1980}});
    let events = format!("{}\n{}\n", known("u1", "Martha"), known("u2", "Marhta"));
    assert_eq!(pipe_in(folder.path(), &["ingest", "-"], events.as_bytes()).status, Some(0));
    let matching = r#"{
        "compare": [{"trait": "name", "levels": [{"jaro_winkler": 0.9, "m": 0.75, "u": 0.125}, {"else": true, "m": 0.25, "u": 0.875}]},
            {"trait": "city", "levels": [{"exact": true, "m": 0.5, "u": 0.5}, {"else": true, "m": 0.5, "u": 0.5}]}],
        "block": [["born"]], "prior": 0.5}"#;
    std::fs::write(folder.path().join("matching.json"), matching).unwrap();
    let said = run_in(folder.path(), &["suggest", "matching.json", "--limit", "5"]);
    let expected = "\
1 of 1 pairs compared may be one person, 1 shown

user_id:u1 and user_id:u2
  prior                                                        +0.00
  name            jaro_winkler ≥ 0.9  Martha  Marhta           +2.58
  city            missing                                      +0.00
  weight in bits  probability 0.8571                           +2.58
";
    let squeezed = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!((said.status, squeezed(&said.out)), (Some(0), squeezed(expected)), "{said:?}");
    let wrong = pipe_in(folder.path(), &["suggest", "-"], br#"{"block": []}"#);
    assert_eq!(wrong.status, Some(2), "{wrong:?}");
    assert!(wrong.err.contains("-: compare: no trait is compared"), "{wrong:?}");
}
