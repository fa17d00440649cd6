//! What lies in memory, measured by the operating system in a process of its own: nothing else is in the way there, and
//! what an allocator or a growing vector takes beyond the need counts.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::common::{Outcome, resident, size, timed};
use crate::identity::interner::Interner;

/// The word after which a process is told that it is to measure something, and what.
const MEASURE: &str = "--measure";

/// What a process of its own has measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) time: Duration,
    /// Resident memory that was added, in bytes.
    pub(crate) resident: u64,
    /// The same at its highest.
    pub(crate) peak: u64,
    /// What else was timed, for one thing.
    pub(crate) other: Duration,
}

/// Measures in a new process what [`measure`] knows by that name; `None` where memory cannot be asked for.
pub(crate) fn apart(what: &str, arguments: &[&str]) -> Result<Option<Measured>, Box<dyn std::error::Error>> {
    let run = Command::new(std::env::current_exe()?).arg(MEASURE).arg(what).args(arguments).output()?;
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into());
    }
    let text = String::from_utf8(run.stdout)?;
    let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [time, resident, peak, other] = numbers[..] else { return Ok(None) };
    let (time, other) = (Duration::from_nanos(time), Duration::from_nanos(other));
    Ok(Some(Measured { time, resident, peak, other }))
}

/// What this process was started to measure, if it was: the name and its arguments.
pub(crate) fn asked() -> Option<Vec<String>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != MEASURE);
    arguments.next().map(|_| arguments.collect())
}

/// Does the work, and tells how long it took, what it left in memory, and what `other` gives, who sees what was made.
pub(crate) fn measure<T>(
    work: impl FnOnce() -> Result<T, Box<dyn std::error::Error>>,
    other: impl FnOnce(&T) -> Result<Duration, Box<dyn std::error::Error>>,
) -> Outcome {
    let before = resident();
    let (time, made) = timed(work);
    let made = made?;
    let after = resident();
    let other = other(&made)?;
    if let (Some((before, _)), Some((after, peak))) = (before, after) {
        let added = |bytes: u64| bytes.saturating_sub(before);
        println!("{} {} {} {}", time.as_nanos(), added(after), added(peak), other.as_nanos());
    }
    Ok(())
}

/// The namespace and the value of the identifier of that number: of each person a user id of 8 bytes, an e-mail address
/// of about 29, and two devices' UUIDs of 36.
pub(crate) fn identifier(number: usize, value: &mut String) -> u16 {
    let person = number / 4;
    value.clear();
    let mixed = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let written = match number % 4 {
        0 => write!(value, "u{person:07}"),
        1 => write!(value, "given.name.{person}@mail.example"),
        _ => write!(
            value,
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{number:012x}",
            mixed >> 32,
            mixed >> 16 & 0xFFFF,
            mixed >> 4 & 0xFFF,
            mixed & 0xFFF
        ),
    };
    written.map_or(0, |()| [0, 1, 2, 2][number % 4])
}

pub(crate) fn bench() -> Outcome {
    let count = size(5_000_000, 500_000);
    let mut value = String::new();
    let bytes: usize = (0..count)
        .map(|number| {
            identifier(number, &mut value);
            value.len()
        })
        .sum();
    println!(
        "\nstitch: {count} identifiers by number and back, bytes of resident memory each; the values have {:.1}",
        each(bytes as u64, count)
    );
    println!("  {:<58}{:>10}{:>10}{:>12}", "", "bytes", "at peak", "ns");
    for (name, what) in
        [("a HashMap of strings and a Vec of them", "map"), ("customerdb's interner", "interner")]
    {
        let Some(found) = apart(what, &[&count.to_string()])? else { continue };
        println!(
            "  {name:<58}{:>10.1}{:>10.1}{:>12.0}",
            each(found.resident, count),
            each(found.peak, count),
            each(u64::try_from(found.time.as_nanos())?, count)
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
pub(crate) fn each(all: u64, count: usize) -> f64 {
    all as f64 / count as f64
}

pub(crate) fn map(count: usize) -> Outcome {
    let fill = || {
        let (mut numbers, mut names, mut value) = (HashMap::new(), Vec::new(), String::new());
        for number in 0..count {
            let name = (identifier(number, &mut value), value.clone());
            numbers.insert(name.clone(), number);
            names.push(name);
        }
        Ok((numbers, names))
    };
    measure(fill, |_| Ok(Duration::ZERO))
}

pub(crate) fn interner(count: usize) -> Outcome {
    let fill = || {
        let (mut interner, mut value) = (Interner::default(), String::new());
        for number in 0..count {
            let kind = identifier(number, &mut value);
            interner.push(kind, &value);
        }
        Ok(interner)
    };
    measure(fill, |_| Ok(Duration::ZERO))
}
