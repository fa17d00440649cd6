//! A customer database from a shell, and from any other language.
//!
//! A thin front over the public API: a demo, a tool for operators, and a bridge for programs.
//!
//! ```text
//! cargo run --release --example cdp -- --db shop.db ingest events.jsonl.gz
//! cargo run --release --example cdp -- --help
//! ```

mod analyse;
mod answer;
mod args;
mod ask;
mod backup;
mod clock;
mod command;
mod config;
mod consent;
mod failure;
mod graph;
mod ingest;
mod members;
mod privacy;
mod request;
mod run;
mod show;
mod suggest;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::answer::Answer;
use crate::args::{Args, Verb};
use crate::config::Config;
use crate::failure::Failure;

fn main() -> ExitCode {
    let trouble = match work(Args::parse()) {
        Ok(status) => return status,
        // Whoever was to read the answer has heard enough.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Err(Trouble::Output(error)) => error.to_string(),
        Err(Trouble::Failure(failure)) => failure.message,
    };
    // If this cannot be written, nobody is left to be told.
    let _ = writeln!(io::stderr(), "cdp: {}", table::clean(&trouble));
    ExitCode::from(2)
}

/// Why the work was not done.
enum Trouble {
    Failure(Failure),
    /// Requests could not be read, or answers not be written.
    Output(io::Error),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn work(args: Args) -> Result<ExitCode, Trouble> {
    let Some(db) = args.db else {
        Args::command().error(ErrorKind::MissingRequiredArgument, "--db FILE is missing").exit();
    };
    let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let config = config.durability(args.durability);
    let answer: Box<dyn Answer> = match args.verb {
        Verb::Run => {
            let front = config.open(&db)?;
            run::run(&front, io::stdin().lock(), io::stdout().lock())?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Ingest { source, party, strict, files } => {
            let source = request::source_of(source, party);
            Box::new(ingest::ingest(&config.open(&db)?, &files, &source, strict)?)
        }
        Verb::Restore { backup } => Box::new(backup::Back::from(config, &backup, &db)?),
        Verb::Ask(ask) => {
            let command = ask.command()?;
            let front = if command.only_reads() { config.open_read_only(&db)? } else { config.open(&db)? };
            command.perform(&front)?
        }
    };
    let text = if args.json { answer.to_json().map_err(io::Error::from)? + "\n" } else { answer.to_string() };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::from(u8::from(answer.is_alarm())))
}
