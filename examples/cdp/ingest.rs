//! Taking in files for somebody who watches.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use customerdb::{IngestReport, Progress, Result, Source};
use indicatif::{ProgressBar, ProgressStyle};

use crate::answer::{Rejected, Report, Summary};
use crate::command::Front;
use crate::failure::Failure;
use crate::table::{amount, clean};

/// Takes in files one after the other, and tells what is refused on standard error.
pub(crate) fn ingest(
    front: &Front,
    files: &[PathBuf],
    source: &Source,
    strict: bool,
) -> Result<Summary, Failure> {
    let clock = ProgressBar::hidden();
    let mut report = Report::default();
    for file in files {
        let name = file.display().to_string();
        let mut told = 0;
        let taken = ingest_one(front, file, source, &mut told).map_err(|error| {
            let failure = Failure::from(error);
            match report.events() + told {
                0 => failure,
                events => {
                    let events = amount(events);
                    let kept = format!("{events} events came before it and are kept; try again for the rest");
                    Failure { message: format!("{failure} ({kept})"), ..failure }
                }
            }
        })?;
        let taken = Report::of(taken, |line, reason| Rejected::FileLine { file: name.clone(), line, reason });
        for rejected in &taken.rejected {
            // Refusals are in the report and in quarantine too, so a closed pipe loses nothing.
            let _ = writeln!(io::stderr(), "{rejected}");
        }
        report.add(taken);
    }
    let millis = clock.elapsed().as_millis().max(1);
    let rate = u128::from(report.events()) * 1_000 / millis;
    let events_a_second = u64::try_from(rate).unwrap_or(u64::MAX);
    Ok(Summary { report, people: front.cdp.stats()?.profiles, events_a_second, strict })
}

/// Takes in one file; `told` is how many of its events were committed, also when it fails.
fn ingest_one(front: &Front, file: &Path, source: &Source, told: &mut u64) -> Result<IngestReport> {
    let input = file.as_os_str() == "-";
    let template = if input {
        "{prefix} {spinner} {bytes} {msg} {elapsed}"
    } else {
        "{prefix} {wide_bar} {percent}% {msg} {eta}"
    };
    // Drawn on standard error, and not at all where that is no terminal.
    let bar = ProgressBar::new(0).with_style(style(template)).with_prefix(clean(&file.display().to_string()));
    let tell = |progress: Progress| {
        *told = progress.events;
        bar.set_length(progress.of.unwrap_or_default());
        bar.set_position(progress.bytes);
        bar.set_message(format!("{} events", amount(progress.events)));
        ControlFlow::Continue(())
    };
    let taken = if input {
        front.cdp.ingest_reader(io::stdin(), source, tell)
    } else {
        front.cdp.ingest_file_with(file, source, tell)
    };
    bar.finish_and_clear();
    taken
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
