//! What the benches share: one seeded workload, a stopwatch, and a table.
//!
//! Every bench prints its figure and, measured in the same run, a reference beside it. On a shared machine the
//! seconds move from run to run; read the ratios.

#![allow(dead_code, reason = "each bench takes the part that it needs")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use customerdb::Timestamp;

/// What a bench's `main` gives.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// The instant at which the workload ends: 2026-01-01T00:00:00Z. It spreads over the 90 days before.
pub(crate) const END: i64 = 1_767_225_600_000;
const SPREAD: u64 = 90 * 86_400_000;

/// Events of a person, on average.
const EVENTS_EACH: u64 = 40;

/// The end of the workload, as the clock's now.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(END)
}

/// The number after a word of the command line, as in `--events 1000000`.
pub(crate) fn asked(word: &str) -> Option<usize> {
    std::env::args().skip_while(|argument| argument != word).nth(1)?.parse().ok()
}

/// `full`, or with `--quick`, or under `cargo test`, the smaller `quick`.
pub(crate) fn size(full: usize, quick: usize) -> usize {
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    if asked("--quick") || !asked("--bench") { quick } else { full }
}

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014): the same numbers
/// on every machine, for ever.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(crate) fn pick<'p>(&mut self, of: &[&'p str]) -> &'p str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xFFFF,
            high & 0xFFF,
            low >> 48 & 0x3FFF | 0x8000,
            low & 0xFFFF_FFFF_FFFF
        )
    }

    fn words(&mut self, n: u64) -> String {
        let words: Vec<&str> = (0..n).map(|_| self.pick(&WORDS)).collect();
        words.join(" ")
    }
}

const WORDS: [&str; 32] = [
    "polar", "family", "cabin", "ice", "whale", "winter", "summer", "light", "boots", "parka", "wool", "map",
    "camera", "lens", "tent", "stove", "rope", "sledge", "kayak", "harbour", "glacier", "island", "penguin",
    "seal", "south", "north", "cape", "strait", "morning", "evening", "warm", "blue",
];

const PATHS: [&str; 6] =
    ["/", "/search", "/cruises/antarctica", "/gear/boots", "/account/orders", "/checkout"];

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/138.0 Mobile",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 Safari",
];

/// An event of the workload, as a row for a database that knows nothing of people.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) message_id: String,
    /// The number of the person.
    pub(crate) person: u64,
    /// Which of the person's two devices.
    pub(crate) device: u64,
    /// Whether the event bears the person's `userId` beside the device.
    pub(crate) known: bool,
    /// The name that conditions know it by.
    pub(crate) name: &'static str,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    /// The whole event, about 530 bytes of JSON.
    pub(crate) json: String,
}

/// `n` events in order of arrival, the same at every run: about 530 bytes each, random UUIDs as message ids, one in
/// twenty an identify, two anonymous ids a person, and properties of six kinds that fill about 200 bytes.
pub(crate) fn workload(n: usize) -> impl Iterator<Item = Row> {
    workload_of(n, (n as u64 / EVENTS_EACH).max(10))
}

/// The same, of that many people.
pub(crate) fn workload_of(n: usize, people: u64) -> impl Iterator<Item = Row> {
    let mut dice = Dice::new(0x000C_D9C1_06E2);
    (0..n as u64).map(move |number| row(&mut dice, people, number * SPREAD / n.max(1) as u64))
}

/// How many people are regulars, the first ones: of ten events a person, a regular has 200 more.
pub(crate) fn regulars(people: u64) -> u64 {
    (people / 10_000).max(1)
}

fn row(dice: &mut Dice, people: u64, since_start: u64) -> Row {
    // The product makes some people much busier than others; a few regulars have hundreds of events, of however many.
    let person = if dice.below(500) == 0 {
        dice.below(regulars(people))
    } else {
        dice.below(people) * dice.below(people) / people
    };
    let device = dice.below(2);
    let at = END - i64::try_from(SPREAD - since_start).unwrap_or(0) - 1;
    let time = Timestamp::from_millis(at);
    let message_id = dice.uuid();
    let (name, body) =
        if dice.below(20) == 0 { ("$identify", traits(dice, person)) } else { properties(dice) };
    let kind = match name {
        "$identify" => r#""type":"identify""#.to_owned(),
        "$page" => format!(r#""type":"page","name":"{}""#, dice.words(2)),
        name => format!(r#""type":"track","event":"{name}""#),
    };
    // Who is logged in is known by both; everybody else by the device alone.
    let known = name == "$identify" || dice.below(3) == 0;
    let user = if known { format!(r#""userId":"user-{person}","#) } else { String::new() };
    let (path, agent) = (dice.pick(&PATHS), dice.pick(&AGENTS));
    let address = dice.next().to_be_bytes();
    let json = format!(
        r#"{{{kind},"messageId":"{message_id}","timestamp":"{time}",{user}"anonymousId":"device-{person}-{device}",{body},"context":{{"ip":"{}.{}.{}.{}","locale":"{}","page":{{"path":"{path}"}},"userAgent":"{agent}"}}}}"#,
        address[0],
        address[1],
        address[2],
        address[3],
        dice.pick(&["zh-CN", "en-GB", "de-DE", "es-CL"]),
    );
    Row { message_id, person, device, known, name, at, json }
}

fn traits(dice: &mut Dice, person: u64) -> String {
    let city = dice.pick(&["Wuhan", "Lima", "Oslo", "Ushuaia", "Leipzig"]);
    let country = match city {
        "Wuhan" => "CN",
        "Lima" => "PE",
        "Oslo" => "NO",
        "Ushuaia" => "AR",
        _ => "DE",
    };
    let (children, note) = (dice.below(4), dice.words(12));
    format!(
        r#""traits":{{"email":"person.{person}@mail.example","city":"{city}","country":"{country}","children":{children},"plan":"{}","interests":["{}","{}"],"note":"{note}"}}"#,
        dice.pick(&["free", "silver", "gold"]),
        dice.pick(&WORDS),
        dice.pick(&WORDS),
    )
}

fn properties(dice: &mut Dice) -> (&'static str, String) {
    let mut body = String::from(r#""properties":{"#);
    let kind = dice.below(10);
    let name = match kind {
        0..=3 => {
            let _ = write!(body, r#""path":"{}","title":"{}""#, dice.pick(&PATHS), dice.words(5));
            if dice.below(2) == 0 {
                let _ =
                    write!(body, r#","referrer":"https://{}.example/{}""#, dice.pick(&WORDS), dice.uuid());
            }
            "$page"
        }
        4..=5 => {
            let _ = write!(
                body,
                r#""query":"{}","results":{},"filters":{{"month":{},"nights":[{},{}]}}"#,
                dice.words(4),
                dice.below(400),
                1 + dice.below(12),
                5 + dice.below(5),
                10 + dice.below(20)
            );
            "Search"
        }
        6..=7 => {
            let _ = write!(
                body,
                r#""sku":"S{}","name":"{}","price":{}.{:02},"stock":{}"#,
                dice.below(5_000),
                dice.words(4),
                5 + dice.below(900),
                dice.below(100),
                dice.below(2) == 0
            );
            "Product Viewed"
        }
        8 => {
            let _ = write!(
                body,
                r#""cart_id":"{}","sku":"S{}","quantity":{}"#,
                dice.uuid(),
                dice.below(5_000),
                1 + dice.below(3)
            );
            "Product Added"
        }
        _ => {
            let _ = write!(
                body,
                r#""order_id":"O{}","revenue":{}.{:02},"currency":"{}","products":[{{"sku":"S{}","quantity":1}},{{"sku":"S{}","quantity":{}}}]"#,
                dice.next() >> 24,
                20 + dice.below(2_000),
                dice.below(100),
                dice.pick(&["CNY", "EUR", "USD"]),
                dice.below(5_000),
                dice.below(5_000),
                2 + dice.below(4)
            );
            "Order Completed"
        }
    };
    // Up to about 200 bytes with text, as the experiments, campaigns and notes of real trackers do.
    while body.len() < 180 {
        let _ = write!(body, r#","{}_{}":"{}""#, dice.pick(&WORDS), dice.below(100), dice.words(3));
    }
    body.push('}');
    (name, body)
}

/// Where a bench keeps its files: on the disk that the build is on, as `/tmp` may be memory.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty folder, gone when it is dropped.
    pub(crate) fn new(name: &str) -> std::io::Result<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// A name for a new file.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Deletes a database and what lies beside it.
    pub(crate) fn clear(&self, name: &str) {
        for beside in ["", "-wal", "-shm", "-lock"] {
            let _ = std::fs::remove_file(self.file(&format!("{name}{beside}")));
        }
    }

    /// Writes the workload as JSON lines.
    pub(crate) fn write(&self, name: &str, rows: &[Row]) -> std::io::Result<PathBuf> {
        let path = self.file(name);
        let mut file = BufWriter::new(File::create(&path)?);
        for row in rows {
            writeln!(file, "{}", row.json)?;
        }
        file.flush()?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How long a piece of work takes, and what it gives.
#[expect(clippy::disallowed_methods, reason = "a bench measures the time that really passes")]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let given = work();
    (start.elapsed(), given)
}

/// The resident memory of this process in bytes, now and at its highest; `None` where Linux does not tell.
pub(crate) fn resident() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

/// One way of doing the work, and how long it took in each round.
#[derive(Debug)]
pub(crate) struct Way {
    name: String,
    /// How many things (events, people) a round does.
    things: usize,
    rounds: Vec<Duration>,
}

impl Way {
    pub(crate) fn new(name: impl Into<String>, things: usize) -> Self {
        Self { name: name.into(), things, rounds: Vec::new() }
    }

    pub(crate) fn add(&mut self, round: Duration) {
        self.rounds.push(round);
    }

    /// Seconds for one thing, the median of the rounds.
    #[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
    fn each(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort();
        rounds.get(rounds.len() / 2).map_or(f64::NAN, Duration::as_secs_f64) / self.things as f64
    }
}

/// How many times as fast as the reference a way is.
pub(crate) fn ratio(reference: &Way, way: &Way) -> String {
    format!("{:.2} ×", reference.each() / way.each())
}

/// Prints what was measured, with a ratio to the first way, which is the reference.
pub(crate) fn print(title: &str, things: &str, ways: &[Way]) {
    let Some(reference) = ways.first() else { return };
    println!("\n{title}");
    println!("  {:<58}{:>14}{:>12}{:>9}", "", "s per 100,000", format!("{things}/s"), "time");
    for way in ways {
        let each = way.each();
        println!(
            "  {:<58}{:>14.3}{:>12}{:>8.2}×",
            way.name,
            each * 100_000.0,
            grouped(1.0 / each),
            each / reference.each()
        );
    }
}

/// A whole number with commas.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
