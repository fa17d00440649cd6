//! Files of every format that was ever written are read, upgraded, and say what they said.
//!
//! Of each format a small file is kept in `tests/fixtures`, with the answers that it gave when it was made. See
//! `docs/format.md` for when there is to be another.

use std::fs;
use std::path::{Path, PathBuf};

use customerdb::{
    Attribution, Cdp, ComputedTrait, Event, Funnel, Interval, Lifecycle, ManualClock, Policy, Retention,
    RetentionRule, Segment, Sessions, TagRule, Trend, all, any, days, did, has_account, has_tag, has_trait,
};
use serde_json::{Value, json};

use crate::hostile::{rich, sqlite};
use crate::support::{NOW, builder, place, sound};

/// The files that are kept: by format, the first is 1.
fn kept() -> Vec<(PathBuf, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let named = |format: u32, end: &str| folder.join(format!("format-{format}.{end}"));
    (1..=current()).map(|format| (named(format, "db"), named(format, "json"))).collect()
}

/// The format that this version writes, as SQLite's header has it.
fn current() -> u32 {
    let (_folder, path) = place();
    drop(Cdp::open(&path).unwrap());
    let header = fs::read(&path).unwrap();
    u32::from_be_bytes(header[60..64].try_into().unwrap())
}

fn open(path: &Path) -> Cdp {
    builder(&ManualClock::at(NOW)).open(path).unwrap()
}

/// Everything that a file may be asked, but for what depends on its size and on how its log lies there.
fn answers(cdp: &Cdp) -> Value {
    let everybody: Vec<Value> = cdp
        .profiles()
        .unwrap()
        .iter()
        .map(|person| {
            let events = cdp.events(person.id, usize::MAX).unwrap();
            let profile = cdp.profile(person.id).unwrap().unwrap();
            let histories: Vec<Value> = profile
                .traits
                .keys()
                .map(|name| json!([name, cdp.trait_history(person.id, name).unwrap()]))
                .collect();
            json!({
                "person": person,
                "profile": profile,
                "events": events.iter().map(|event| &event.json).collect::<Vec<_>>(),
                "histories": histories,
                "consents": cdp.consents(person.id).unwrap(),
                "before": cdp.profile_at(person.id, NOW.before(days(3))).unwrap(),
            })
        })
        .collect();
    let segments: Vec<Value> = cdp
        .segments()
        .unwrap()
        .iter()
        .map(|found| {
            let name = found.segment.name();
            let (now, then) =
                (cdp.members(name).unwrap(), cdp.members_at(name, NOW.before(days(3))).unwrap());
            json!([found.segment.to_value(), found.members, now, then])
        })
        .collect();
    let stats = cdp.stats().unwrap();
    let suppressed: Vec<&str> =
        ["user_id:u4", "user_id:u0"].into_iter().filter(|id| cdp.is_suppressed(id).unwrap()).collect();
    let rules: Vec<Value> = cdp.retention_rules().unwrap().iter().map(RetentionRule::to_value).collect();
    json!({
        "everybody": everybody,
        "segments": segments,
        "changes": cdp.changes(0, usize::MAX).unwrap(),
        "journal": cdp.journal(0, usize::MAX).unwrap(),
        "refusals": cdp.refusals(0, usize::MAX).unwrap(),
        "decisions": cdp.decisions().unwrap(),
        "quarantine": cdp.quarantine(usize::MAX).unwrap(),
        "audit": cdp.audit(0, usize::MAX).unwrap(),
        "rules": cdp.rules().to_json(),
        "retention rules": rules,
        "suppressed": suppressed,
        "counts": [stats.events, stats.profiles, stats.identifiers, stats.links, stats.suppressed, stats.withheld],
        "trend": cdp.trend(&Trend::of(did("View")).every(Interval::Day)).unwrap(),
        "funnel": cdp.funnel(&Funnel::new([did("View"), did("$screen")]).within(days(7))).unwrap(),
        "retention": cdp.retention(&Retention::new(did("View"), did("View")).every(Interval::Day)).unwrap(),
        "lifecycle": cdp.lifecycle(&Lifecycle::of(did("View")).every(Interval::Day)).unwrap(),
        "sessions": cdp.sessions(&Sessions::default()).unwrap(),
        "attribution": cdp.attribution(&Attribution::of(did("Buy")).touches(did("View"), "n")).unwrap(),
    })
}

/// Not a test: makes the file that is kept of today's format, and its answers.
#[test]
#[ignore = "run by hand, once for each format: it would replace what was written in its day"]
fn keep_a_file_of_todays_format() {
    let (_folder, path) = place();
    rich(&path);
    let cdp = open(&path);
    cdp.define(Segment::list("list", ["user_id:u0", "user_id:u9"])).unwrap();
    cdp.define_trait(ComputedTrait::sum("bought", did("View"), "n")).unwrap();
    cdp.define_tag(TagRule::new("viewer", did("View").at_least(2))).unwrap();
    cdp.tag("user_id:u1", "by hand", None).unwrap();
    cdp.set_policy("email", Policy::First).unwrap();
    let loose = any([has_tag("viewer"), has_trait("bought").gte(10), has_account(has_trait("size").gte(8))]);
    cdp.define(Segment::new("loose", all([loose])).live(false)).unwrap();
    cdp.link("user_id:u0", "phone:+8613800000002").unwrap();
    cdp.split("anonymous_id:a2").unwrap();
    cdp.ingest(["no event", r#"{"type":"track","userId":"u0"}"#]).unwrap();
    cdp.export("user_id:u1").unwrap();
    sound(&cdp);
    drop(cdp);
    sqlite(&path).execute_batch("PRAGMA journal_mode = delete; VACUUM;").unwrap();
    let (file, said) = kept().pop().unwrap();
    fs::copy(&path, file).unwrap();
    let answers = serde_json::to_string_pretty(&answers(&open(&path))).unwrap();
    fs::write(said, answers + "\n").unwrap();
}

#[test]
fn a_file_of_every_format_says_what_it_said() {
    for (file, said) in kept() {
        let (_folder, path) = place();
        fs::copy(&file, &path).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let said: Value = serde_json::from_str(&fs::read_to_string(said).unwrap()).unwrap();
        for _ in 0..2 {
            let cdp = open(&path);
            sound(&cdp);
            let found = answers(&cdp);
            for (name, said) in said.as_object().unwrap() {
                assert_eq!(&found[name], said, "{}: {name}", file.display());
            }
        }
        // A reader finds the same.
        let reader = builder(&ManualClock::at(NOW)).open_read_only(&path).unwrap();
        sound(&reader);
        assert_eq!(answers(&reader), said);
        drop(reader);
        // It goes on: what was there is known, what is new is taken in, and all of it can be told anew.
        let cdp = open(&path);
        let old = cdp.events("user_id:u1", 1).unwrap().remove(0).json;
        let report =
            cdp.ingest([old, Event::track("Buy").user_id("u1").message_id("new").to_json()]).unwrap();
        assert_eq!((report.duplicates, report.conflicts, report.accepted), (1, 0, 1));
        cdp.maintain().unwrap();
        cdp.restitch().unwrap();
        cdp.erase("user_id:u1").unwrap();
        sound(&cdp);
    }
}

/// A step from one format to the next that was changed after files had gone through it would leave files of two kinds under
/// one number.
#[test]
fn an_upgraded_file_has_the_tables_of_a_new_one() {
    let tables = |path: &Path| -> Vec<(String, String)> {
        let conn = sqlite(path);
        let mut select =
            conn.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let (_folder, new) = place();
    drop(open(&new));
    for (file, _) in kept() {
        let (_folder, path) = place();
        fs::copy(&file, &path).unwrap();
        drop(open(&path));
        assert_eq!(tables(&path), tables(&new), "{}", file.display());
    }
}
