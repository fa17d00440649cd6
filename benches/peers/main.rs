//! The crate's side of `run.py`, which asks other databases the same questions: see README.md here.
//!
//! `generate EVENTS FOLDER` writes the data. `serve FOLDER` reads the name of a question a line, and answers each with
//! a line of JSON: the seconds that it took, and the answer. Without either it answers all of them once, over little.

#[path = "../common/mod.rs"]
mod common;
mod questions;

use std::fs::File;
use std::io::{BufRead as _, BufWriter, Write as _, stdin, stdout};
use std::path::{Path, PathBuf};

use common::{Folder, Outcome, regulars, resident, workload_of};
use questions::{NAMES, Side};
use serde_json::json;

/// Events of a person, on average.
const EACH: usize = 10;

/// Whose events are asked for: up to so many of the regulars.
const ASKED: u64 = 10;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["generate", events, folder] => generate(events.parse()?, Path::new(folder)),
        ["serve", folder] => serve(folder.into()),
        _ => {
            println!("peers: `python benches/peers/run.py` compares; here, each question is answered once");
            let folder = Folder::new("peers")?;
            once(&folder.file(""))
        }
    }
}

/// Writes the events, which person each identifier belongs to, and whose history is asked for.
fn generate(events: usize, folder: &Path) -> Outcome {
    let people = (events / EACH).max(10);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(folder.join("events.jsonl"))?);
    // Which identifiers of a person are seen, and which devices an event bears together with the user.
    let mut seen = vec![0_u8; people];
    for row in workload_of(events, people as u64) {
        writeln!(file, "{}", row.json)?;
        let device = 1 << row.device;
        seen[usize::try_from(row.person)?] |= device | if row.known { device << 2 | 16 } else { 0 };
    }
    file.flush()?;
    let mut file = BufWriter::new(File::create(folder.join("people.csv"))?);
    writeln!(file, "identifier,person")?;
    for (person, seen) in seen.iter().enumerate() {
        if seen & 16 != 0 {
            writeln!(file, "user-{person},{}", person * 3)?;
        }
        for device in (0..2).filter(|device| seen >> device & 1 != 0) {
            // A device that nobody ever logged in on is somebody of their own.
            let own = if seen >> (device + 2) & 1 != 0 { 0 } else { device + 1 };
            writeln!(file, "device-{person}-{device},{}", person * 3 + own)?;
        }
    }
    file.flush()?;
    let asked: Vec<String> = (0..regulars(people as u64).min(ASKED)).map(|n| format!("user-{n}")).collect();
    Ok(std::fs::write(folder.join("asked.json"), json!(asked).to_string())?)
}

/// Asks everything of few events.
fn once(folder: &Path) -> Outcome {
    generate(20_000, folder)?;
    let mut side = Side::new(folder.to_owned());
    for question in ["load"].iter().chain(&NAMES) {
        let (time, answer) = side.ask(question)?;
        let rows = answer.as_array().map_or(0, Vec::len);
        assert!(rows > 0, "{question} has no answer");
        println!("  {question:<16}{rows:>6} rows {:>10.1} ms", time.as_secs_f64() * 1_000.0);
    }
    Ok(())
}

/// Answers each line of the input with a line.
fn serve(folder: PathBuf) -> Outcome {
    let mut side = Side::new(folder);
    for line in stdin().lock().lines() {
        let (time, answer) = side.ask(line?.trim())?;
        let peak = resident().map(|(_, peak)| peak);
        println!("{}", json!({"seconds": time.as_secs_f64(), "answer": answer, "peak": peak}));
        stdout().flush()?;
    }
    Ok(())
}
