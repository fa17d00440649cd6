//! A process that is killed at any moment, in whatever it does: what it has acknowledged is there, once and whole.
//!
//! A child takes one step after the other, each of which follows from its number, and says so when one is done. It is
//! killed some milliseconds later, opened again by the next child, and killed again. After each time the file must be what
//! a database in memory says that took the same steps: all that were acknowledged, and at most one more.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use customerdb::{
    Cdp, CdpBuilder, ConsentDecision, Durability, Event, ManualClock, RetentionRule, Rules, Segment,
    SegmentSize, all, days, did, has_trait,
};

use crate::support::{NOW, Seen, everybody, incompressible, place, sound};

/// How often a child is killed: in CI, where tests are built with optimisation, as often as it says there.
const ROUNDS: u64 = if cfg!(debug_assertions) { 60 } else { 320 };

/// How many of them are of one file: on a small one, steps are quick, and more of them are cut short.
const ROUNDS_OF_A_FILE: u64 = 8;

const FILE: &str = "CUSTOMERDB_KILLED_FILE";
const SEED: &str = "CUSTOMERDB_KILLED_SEED";
const FROM: &str = "CUSTOMERDB_KILLED_FROM";

/// A linear congruential generator, by Knuth's MMIX, that begins anew at each step: it need not be good, but must be the
/// same in both processes.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64, step: u64) -> Self {
        let mut dice = Self((seed << 32) ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        dice.roll(2);
        dice
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Seals so often that a seal, or several of them merged, is a part of many commits.
pub(crate) fn busy() -> CdpBuilder {
    let clock = ManualClock::at(NOW);
    Cdp::builder().clock(clock).rules(Rules::unlimited()).seal_every(3).durability(Durability::Full)
}

fn event(dice: &mut Dice, id: String) -> Event {
    let event = match dice.roll(6) {
        0 | 1 => Event::track("A").property("n", dice.roll(9)),
        2 => {
            let text = incompressible(usize::try_from(dice.roll(1_000)).unwrap(), 900);
            Event::track("Buy").property("n", dice.roll(40)).property("text", text)
        }
        3 => Event::identify().with_trait("odd", dice.roll(2) == 1),
        4 => Event::group(format!("g{}", dice.roll(3))).with_trait("size", dice.roll(99)),
        _ => Event::identify().with_trait("email", format!("mail-{:02}@x.io", dice.roll(12))),
    };
    let event = if dice.roll(4) == 0 { event } else { event.user_id(format!("person-{:02}", dice.roll(12))) };
    event
        .anonymous_id(format!("device-{:02}", dice.roll(30)))
        .message_id(id)
        .at(NOW.before(days(u32::try_from(dice.roll(120)).unwrap())))
}

/// The segments that a step may define.
fn segments() -> [Segment; 4] {
    [
        Segment::new("lately", did("A").within(days(30))),
        Segment::new("spenders", did("Buy").sum("n").gte(60)),
        Segment::new("odd", all([has_trait("odd").eq(true), did("A")])),
        Segment::list("list", ["user_id:person-01", "user_id:person-02"]),
    ]
}

/// Takes a step. It may be refused, and then changes nothing: that follows from those before it, too.
pub(crate) fn take_step(cdp: &Cdp, seed: u64, step: u64) -> customerdb::Result<()> {
    let dice = &mut Dice::of(seed, step);
    let user = format!("user_id:person-{:02}", dice.roll(12));
    let device = format!("anonymous_id:device-{:02}", dice.roll(30));
    let done = match dice.roll(20) {
        0 => cdp.erase(user).map(drop),
        1 => cdp.erase(device).map(drop),
        2 => cdp.maintain().map(drop),
        3 => cdp.define(segments()[usize::try_from(dice.roll(4)).unwrap()].clone()).map(drop),
        4 => cdp
            .undefine(["lately", "spenders", "odd", "list"][usize::try_from(dice.roll(4)).unwrap()])
            .map(drop),
        5 => cdp.link(user, device).map(drop),
        6 => cdp.record_consent(device, ConsentDecision::granted("marketing")).map(drop),
        7 => cdp.rectify(user, "city", step).map(drop),
        8 => cdp.retain(RetentionRule::new("old", days(100)).event("A")),
        9 => cdp.restitch().map(drop),
        10 => {
            let mut batch = cdp.begin()?;
            for part in 0..3 {
                batch.ingest([event(dice, format!("m{step}-{part}"))])?;
            }
            batch.commit().map(drop)
        }
        _ => {
            let many = 1 + dice.roll(6);
            cdp.ingest((0..many).map(|n| event(dice, format!("m{step}-{n}")))).map(drop)
        }
    };
    match done {
        Err(
            customerdb::Error::Definition(_)
            | customerdb::Error::NotAnId(_)
            | customerdb::Error::UnknownSegment(_),
        ) => Ok(()),
        done => done,
    }
}

/// Everything that a step can change, so that one more or less is seen.
#[derive(Debug, PartialEq)]
pub(crate) struct View {
    people: Vec<Seen>,
    segments: Vec<SegmentSize>,
    counts: [u64; 6],
    /// What was done, but for what whoever opens a file does of its own accord.
    audit: Vec<String>,
}

pub(crate) fn view(cdp: &Cdp) -> View {
    let stats = cdp.stats().unwrap();
    let counts =
        [stats.events, stats.links, stats.identifiers, stats.suppressed, stats.quarantined, stats.refusals];
    let done = cdp.audit(0, usize::MAX).unwrap().into_iter().map(|entry| entry.action);
    let audit = done.filter(|action| action != "complete_erasures").collect();
    View { people: everybody(cdp), segments: cdp.segments().unwrap(), counts, audit }
}

/// Whether a step puts the file in order, which is several transactions.
#[cfg(target_os = "linux")]
pub(crate) fn is_maintenance(seed: u64, step: u64) -> bool {
    let dice = &mut Dice::of(seed, step);
    (dice.roll(12), dice.roll(30), dice.roll(20)).2 == 2
}

/// Not a test: what is killed.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn a_child_that_is_killed() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (seed, from) = (number(SEED), number(FROM));
    let mut out = std::io::stdout();
    let cdp = busy().open(&path).unwrap();
    for step in from.. {
        take_step(&cdp, seed, step).unwrap();
        writeln!(out, "done {step}").unwrap();
        out.flush().unwrap();
    }
}

/// Lets a child take steps, and kills it a while after it has taken its first. Gives the step after the last one that it
/// told of.
fn run_and_kill(path: &Path, seed: u64, from: u64, after: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::a_child_that_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .env(SEED, seed.to_string())
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The last line may be cut off in the middle: it counts when its end has come.
    let told = |line: &str| line.strip_prefix("done ")?.strip_suffix('\n')?.parse::<u64>().ok();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut last = None;
    let mut line = String::new();
    while last.is_none() {
        line.clear();
        assert!(
            lines.read_line(&mut line).unwrap() > 0,
            "the child has ended by itself, seed {seed}, step {from}"
        );
        last = told(&line);
    }
    let listening = std::thread::spawn(move || {
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            last = told(&line).or(last);
            line.clear();
        }
        last
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    listening.join().unwrap().map_or(from, |last| last + 1)
}

#[test]
fn whatever_a_process_does_when_it_is_killed_the_file_is_as_after_a_whole_step() {
    let (mut steps, mut unheard) = (0, 0);
    for file in 0..ROUNDS.div_ceil(ROUNDS_OF_A_FILE) {
        let (_folder, path) = place();
        // What the file must be, told by one that nobody kills.
        let model = busy().durability(Durability::Normal).in_memory().unwrap();
        let mut taken = 0;
        for round in 0..ROUNDS_OF_A_FILE {
            let after = Dice::of(file, round).roll(if round % 2 == 0 { 6_000 } else { 40_000 });
            let acknowledged = run_and_kill(&path, file, taken, Duration::from_micros(after));
            let whence = format!("file {file}, round {round}, steps {taken} to {acknowledged}");
            for step in taken..acknowledged {
                take_step(&model, file, step).unwrap();
            }
            taken = acknowledged;
            if round % 3 == 0 {
                // A reader may be the first to find what the dead left.
                let reader = busy().open_read_only(&path).unwrap();
                assert_eq!(reader.check().unwrap(), [], "{whence}");
            }
            let cdp = busy().open(&path).unwrap();
            assert_eq!(cdp.check().unwrap(), [], "{whence}");
            let found = view(&cdp);
            if found != view(&model) {
                // One more may be done than the child had the time to tell of.
                take_step(&model, file, taken).unwrap();
                taken += 1;
                unheard += 1;
                assert_eq!(found, view(&model), "{whence}, and the next");
            }
            drop(cdp);
        }
        let cdp = busy().open(&path).unwrap();
        let grown = everybody(&cdp);
        cdp.restitch().unwrap();
        assert_eq!(everybody(&cdp), grown, "file {file}, told anew");
        sound(&cdp);
        steps += taken;
    }
    println!("{steps} steps, {unheard} times one was done that was not heard of");
    assert!(steps > ROUNDS, "the children came to nothing: {steps}");
}
