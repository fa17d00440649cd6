//! Taking in files for somebody who watches.

use std::io::{self, IsTerminal, Write};
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
        let taken = ingest_one(front, file, source).map_err(|error| Failure {
            message: format!("{error}; what was taken in before stays, and doing it again takes in the rest"),
            ..Failure::from(error)
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

fn ingest_one(front: &Front, file: &Path, source: &Source) -> Result<IngestReport> {
    let bar = ProgressBar::hidden();
    if io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
    }
    bar.set_prefix(clean(&file.display().to_string()));
    let told = |progress: Progress| {
        match progress.of {
            Some(size) => {
                bar.set_style(style("{prefix} {wide_bar} {percent}% {msg} {eta}"));
                bar.set_length(size);
            }
            None => bar.set_style(style("{prefix} {spinner} {bytes} {msg} {elapsed}")),
        }
        bar.set_position(progress.bytes);
        bar.set_message(format!("{} events", amount(progress.events)));
        ControlFlow::Continue(())
    };
    let taken = if file.as_os_str() == "-" {
        front.cdp.ingest_reader(io::stdin(), source, told)
    } else {
        front.cdp.ingest_file_with(file, source, told)
    };
    bar.finish_and_clear();
    taken
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
