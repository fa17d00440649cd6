//! The questions, by the names that `run.py` knows them by, and the crate's answers as rows of numbers and text.

use std::path::PathBuf;
use std::time::Duration;

use customerdb::{
    By, Cdp, Condition, Error, Funnel, Interval, Lifecycle, ManualClock, Measure, Retention, Rfm, Segment,
    Source, Timestamp, Trend, TrendPoint, all, days, did, has_trait,
};
use serde_json::{Value, json};

use crate::common::{now, timed};

/// What a question gives: how long it took, and the rows.
pub(crate) type Answered = Result<(Duration, Value), Box<dyn std::error::Error>>;

/// All questions that need no more than the data.
pub(crate) const NAMES: [&str; 11] = [
    "scan_count",
    "scan_people",
    "scan_sum",
    "views",
    "orders",
    "funnel",
    "retention",
    "rfm",
    "trend",
    "lifecycle",
    "history",
];

/// The database, and where it is.
pub(crate) struct Side {
    folder: PathBuf,
    cdp: Option<Cdp>,
    /// Whose events are asked for.
    asked: Vec<String>,
}

impl Side {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, cdp: None, asked: Vec::new() }
    }

    pub(crate) fn ask(&mut self, question: &str) -> Answered {
        let database = self.folder.join("customers.db");
        match question {
            "load" => {
                self.cdp = None;
                for beside in ["", "-wal", "-shm", "-lock"] {
                    let _ = std::fs::remove_file(self.folder.join(format!("customers.db{beside}")));
                }
                self.asked = serde_json::from_slice(&std::fs::read(self.folder.join("asked.json"))?)?;
                let cdp = Cdp::builder().clock(ManualClock::at(now())).open(database)?;
                let file = self.folder.join("events.jsonl");
                let (time, report) = timed(|| cdp.ingest_file(file, &Source::new("bench")));
                let report = report?;
                self.cdp = Some(cdp);
                Ok((time, json!([[report.accepted]])))
            }
            "prepare" => {
                let cdp = self.cdp.as_ref().ok_or("load first")?;
                ask(|| cdp.maintain(), |done| json!([[done.arranged]]))
            }
            "size" => Ok((Duration::ZERO, json!(database.metadata()?.len()))),
            _ => {
                let cdp = self.cdp.as_ref().ok_or("load first")?;
                answer(cdp, question, &self.asked)
            }
        }
    }
}

/// A question asked and timed; what is put into rows afterwards is not.
fn ask<T>(work: impl FnOnce() -> Result<T, Error>, rows: impl FnOnce(T) -> Value) -> Answered {
    let (time, found) = timed(work);
    Ok((time, rows(found?)))
}

fn answer(cdp: &Cdp, question: &str, asked: &[String]) -> Answered {
    let weekly = |measure| Trend::of(did("Product Viewed")).every(Interval::Week).measure(measure);
    match question {
        "scan_count" => ask(|| cdp.trend(&weekly(Measure::Total)), |report| series(&report.series)),
        "scan_people" => ask(|| cdp.trend(&weekly(Measure::Unique)), |report| series(&report.series)),
        "scan_sum" => ask(
            || cdp.trend(&weekly(Measure::Sum("price".into()))),
            |report| {
                report.series.iter().map(|point| json!([millis(point.start), cents(&point.value)])).collect()
            },
        ),
        "views" => members(cdp, did("Product Viewed").at_least(5).within(days(90))),
        "orders" => {
            let orders = did("Order Completed").at_least(3).within(days(30));
            members(cdp, all([orders, has_trait("country").eq("CN")]))
        }
        "funnel" => {
            let steps = [did("Search"), did("Product Viewed"), did("Order Completed")];
            ask(
                || cdp.funnel(&Funnel::new(steps).within(days(7))),
                |report| json!([report.steps.iter().map(|step| step.count).collect::<Vec<_>>()]),
            )
        }
        "retention" => {
            let question = Retention::new(did("Search"), did("Search")).every(Interval::Week).first_time();
            ask(
                || cdp.retention(&question),
                |report| {
                    let row = |start, values: &[u64]| {
                        let back = values.iter().enumerate().filter(|(_, count)| **count > 0);
                        back.map(|(week, count)| json!([start, week, count])).collect::<Vec<_>>()
                    };
                    report.cohorts.iter().flat_map(|own| row(millis(own.start), &own.values)).collect()
                },
            )
        }
        "rfm" => ask(
            || cdp.rfm(&Rfm::new(did("Order Completed"), "revenue").without_profiles()),
            |report| {
                let cells = report.cells.iter().flatten();
                cells.map(|cell| json!([cell.r, cell.f, cell.m, cell.people])).collect()
            },
        ),
        "trend" => ask(
            || cdp.trend(&Trend::of(did("$page")).by(By::property("path"))),
            |report| {
                let groups = report.groups.iter().flatten();
                let points =
                    groups.flat_map(|group| group.series.iter().map(move |point| (&group.value, point)));
                let counted = points.filter(|(_, point)| point.value != 0);
                counted.map(|(path, point)| json!([path, millis(point.start), point.value])).collect()
            },
        ),
        "lifecycle" => ask(
            || cdp.lifecycle(&Lifecycle::of(did("$page"))),
            |report| {
                let row = |day: &customerdb::LifecyclePeriod| {
                    json!([millis(day.start), day.new, day.returning, day.resurrecting, day.dormant])
                };
                report.periods.iter().map(row).collect()
            },
        ),
        "history" => ask(
            || {
                asked
                    .iter()
                    .map(|user| cdp.events(format!("user_id:{user}"), 200))
                    .collect::<Result<Vec<_>, _>>()
            },
            |found| found.iter().flatten().map(|event| json!([event.message_id])).collect(),
        ),
        other => Err(format!("no such question: {other}").into()),
    }
}

/// How many people meet a condition: the size of a segment that is worked out when it is asked for.
fn members(cdp: &Cdp, condition: Condition) -> Answered {
    cdp.define(Segment::new("peers", condition).live(false))?;
    let answered = ask(|| cdp.segments(), |sizes| json!([[sizes[0].members]]));
    cdp.undefine("peers")?;
    answered
}

fn series(points: &[TrendPoint]) -> Value {
    points.iter().map(|point| json!([millis(point.start), point.value])).collect()
}

fn millis(at: Timestamp) -> i64 {
    at.as_micros() / 1_000
}

/// An amount in hundredths. The digits are those that the crate gave: no float is between.
fn cents(amount: &Value) -> i64 {
    let text = amount.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{part:0<2}").parse().unwrap_or(-1)
}
