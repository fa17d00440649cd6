//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use customerdb::{Durability, Party, Timestamp};

use crate::analyse::AskAnalysis;
use crate::config::durability_of;
use crate::consent::AskConsent;
use crate::graph::LIMIT;
use crate::privacy::AskPrivacy;
use crate::request::ENTRIES;

/// An embedded customer data platform from a shell: events in, people out, in one file.
///
/// An ID is an identifier (`user_id:u1`, `email:ann@example.com`) or a profile id. Commands that only read work
/// beside a process that writes to the file.
///
/// Exit status: 0; 1 if `ingest --strict` met an event that was refused, `check` found a problem, or `erase` is not
/// complete yet; 2 if the command could not be done.
#[derive(Debug, Parser)]
#[command(name = "cdp", version, verbatim_doc_comment, override_usage = USAGE, after_long_help = AFTER, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// The database file; a command that writes makes a new one if there is none.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) db: Option<PathBuf>,
    /// Settings in a JSON file; see the end of `--help`.
    #[arg(long, value_name = "CONFIG.json", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// What a commit outlives: a power cut (full), or the end of the process (normal, faster).
    #[arg(long, value_name = "full|normal", value_parser = durability_of, global = true)]
    pub(crate) durability: Option<Durability>,
    /// Print the answer as JSON instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Answer requests, one JSON object a line, from standard input on standard output.
    Run,
    /// Take in files of events: JSON lines or a JSON array, also packed with gzip or zstd.
    Ingest {
        /// The name of the source that the events come from.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// Whose data it is.
        #[arg(long, value_name = "first|second|third")]
        party: Option<Party>,
        /// Exit with status 1 if an event was refused.
        #[arg(long)]
        strict: bool,
        /// The files; `-` is standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Put a backup in the place of the file, which nobody may have open; who was erased since stays erased.
    Restore {
        /// A file that `backup` has made.
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
    },
    #[command(flatten)]
    Ask(Ask),
}

/// What is answered in one go.
#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    /// Show everything known of a person.
    Profile {
        /// An identifier or a profile id.
        id: String,
        /// What was known at that time (RFC 3339) instead of now.
        #[arg(long, value_name = "T")]
        at: Option<Timestamp>,
    },
    /// List everyone.
    Profiles,
    /// Show a person's events, the newest first.
    Events {
        /// An identifier or a profile id.
        id: String,
        /// How many at most; all of them by default.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show every value that a person's trait has had, the oldest first.
    #[command(name = "trait_history", alias = "trait-history")]
    TraitHistory {
        /// An identifier or a profile id.
        id: String,
        /// The trait's name.
        #[arg(value_name = "TRAIT")]
        name: String,
    },
    /// Say why two identifiers are one person, or why they are not.
    Explain {
        /// An identifier or a profile id.
        a: String,
        /// Another.
        b: String,
    },
    /// Join two identifiers by hand; limits are obeyed unless it is forced.
    Link {
        /// An identifier or a profile id.
        a: String,
        /// Another.
        b: String,
        /// In spite of limits and earlier cuts.
        #[arg(long)]
        force: bool,
    },
    /// Decide that two identifiers are never one person.
    Never {
        /// An identifier or a profile id.
        a: String,
        /// Another.
        b: String,
    },
    /// Take the evidence between two identifiers away, and remember it.
    Unlink {
        /// An identifier or a profile id.
        a: String,
        /// Another.
        b: String,
    },
    /// Cut an identifier off from all others, or take away all evidence from a source.
    Split {
        /// An identifier.
        #[arg(required_unless_present = "source", conflicts_with = "source")]
        id: Option<String>,
        /// The name of a source.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
    /// List the decisions by hand that stand.
    Decisions,
    /// Take a decision by hand back.
    #[command(name = "take_back", alias = "take-back")]
    TakeBack {
        /// Its number, as `decisions` lists it.
        decision: i64,
    },
    /// List identifiers that were left out of events, and why.
    Refusals {
        /// Begin after this cursor.
        #[arg(long, value_name = "CURSOR", default_value_t = 0)]
        after: i64,
        /// How many to list at most.
        #[arg(long, value_name = "N", default_value_t = ENTRIES)]
        limit: usize,
    },
    /// List joins and splits of profiles, the earliest first.
    Journal {
        /// Begin after this cursor.
        #[arg(long, value_name = "CURSOR", default_value_t = 0)]
        after: i64,
        /// How many to list at most.
        #[arg(long, value_name = "N", default_value_t = ENTRIES)]
        limit: usize,
    },
    /// Say what other rules of identity would do to the profiles, and change nothing.
    Simulate {
        /// A file that holds the rules to change, those left out stay; `-` is standard input.
        #[arg(value_name = "RULES.json")]
        changes: PathBuf,
    },
    /// Replay all evidence in event-time order.
    Restitch,
    /// Show which identifiers and which joins hold most together, of everyone or of one person.
    Graph {
        /// An identifier or a profile id; everyone by default.
        id: Option<String>,
        /// How many components, hubs and bridges to show at most.
        #[arg(long, value_name = "N", default_value_t = LIMIT)]
        limit: usize,
        /// Print the graph as a picture in DOT, the language of Graphviz, instead.
        #[arg(long)]
        dot: bool,
        /// Show identifiers in the picture in full.
        #[arg(long, requires = "dot")]
        unmasked: bool,
    },
    /// List pairs of profiles that may be one person, each with its reasons; nobody is joined.
    Suggest {
        /// A file that holds what to compare and how; `-` is standard input.
        #[arg(value_name = "MATCHING.json")]
        matching: PathBuf,
        /// How many pairs at most, the strongest; as the file says by default.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Define a segment, in place of one of that name.
    #[command(visible_alias = "define")]
    Segment {
        /// The segment's name.
        name: String,
        /// A file that holds a condition, {"condition": …} or {"members": [ids]}; `-` is standard input.
        #[arg(value_name = "DEFINITION.json")]
        definition: PathBuf,
    },
    /// Remove a segment.
    Undefine {
        /// The segment's name.
        name: String,
    },
    /// List the segments with their sizes.
    Segments,
    /// List a segment's members.
    Members {
        /// The segment's name.
        name: String,
        /// Who was a member at that time (RFC 3339) instead of now.
        #[arg(long, value_name = "T")]
        at: Option<Timestamp>,
    },
    /// Count those who meet a condition, and name the first 1,000, without defining anything.
    Preview {
        /// A file that holds a condition, or {"condition": …}; `-` is standard input.
        #[arg(value_name = "DEFINITION.json")]
        definition: PathBuf,
        /// Who met it at that time (RFC 3339) instead of now.
        #[arg(long, value_name = "T")]
        at: Option<Timestamp>,
    },
    /// Put people on a list that is kept by hand.
    Add {
        /// The list's name.
        name: String,
        /// Identifiers or profile ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Take people off a list that is kept by hand.
    Remove {
        /// The list's name.
        name: String,
        /// Identifiers or profile ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Say why somebody is a member of a segment, or is not.
    Why {
        /// The segment's name, or a file that holds a condition (`-` is standard input).
        #[arg(value_name = "NAME|CONDITION.json")]
        asked: String,
        /// An identifier or a profile id.
        id: String,
    },
    /// List who entered and left segments, the earliest first.
    Changes {
        /// Begin after this cursor.
        #[arg(long, value_name = "CURSOR", default_value_t = 0)]
        after: i64,
        /// How many to list at most.
        #[arg(long, value_name = "N", default_value_t = ENTRIES)]
        limit: usize,
    },
    /// Define a trait that is worked out of events, in place of one of that name.
    #[command(name = "define_trait", alias = "define-trait")]
    DefineTrait {
        /// A file that holds {"name": …, "event": …, "sum": …} or the like; `-` is standard input.
        #[arg(value_name = "TRAIT.json")]
        definition: PathBuf,
    },
    /// Define a rule by which people carry a tag, in place of one for that tag.
    #[command(name = "define_tag", alias = "define-tag")]
    DefineTag {
        /// A file that holds {"name": …, "condition": …}; `-` is standard input.
        #[arg(value_name = "TAG.json")]
        definition: PathBuf,
    },
    /// Give somebody a tag by hand.
    Tag {
        /// An identifier or a profile id.
        id: String,
        /// The tag's name.
        #[arg(value_name = "TAG")]
        name: String,
        /// When it ends (RFC 3339).
        #[arg(long, value_name = "T")]
        expires: Option<Timestamp>,
    },
    /// Take a tag away that was given by hand.
    Untag {
        /// An identifier or a profile id.
        id: String,
        /// The tag's name.
        #[arg(value_name = "TAG")]
        name: String,
    },
    /// Say which of several values of a trait stands.
    Policy {
        /// The trait's name.
        #[arg(value_name = "TRAIT")]
        name: String,
        /// latest, first, max, min or union.
        #[arg(value_name = "POLICY", required_unless_present = "sources", conflicts_with = "sources")]
        policy: Option<String>,
        /// The latest value of the source that stands first here.
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        sources: Vec<String>,
    },
    /// Show the rules of identity, or change them; all events are replayed under new ones.
    Rules {
        /// A file that holds the rules to change, those left out stay; `-` is standard input.
        #[arg(value_name = "RULES.json")]
        changes: Option<PathBuf>,
    },
    /// List refused events, take them in once more, or let go of them.
    Quarantine {
        /// How many to list at most.
        #[arg(long, value_name = "N", default_value_t = ENTRIES, conflicts_with_all = ["replay", "purge"])]
        limit: usize,
        /// Take all of them in once more.
        #[arg(long, conflicts_with = "purge")]
        replay: bool,
        /// Let go of all of them.
        #[arg(long)]
        purge: bool,
    },
    #[command(flatten)]
    Consent(AskConsent),
    #[command(flatten)]
    Privacy(AskPrivacy),
    /// Copy the database into a new file, also while somebody writes to it.
    Backup {
        /// The new file.
        #[arg(value_name = "COPY")]
        path: PathBuf,
    },
    /// Show what the file holds, in numbers.
    Stats,
    /// Look for damage.
    Check,
    #[command(flatten)]
    Analyse(AskAnalysis),
}

const USAGE: &str = "cdp --db FILE [OPTIONS] COMMAND …";

const AFTER: &str = r#"Examples:
  cdp --db shop.db ingest --source web events.jsonl.gz more.json
  zcat events.gz | cdp --db shop.db ingest --source ads --party third --strict -
  cdp --db shop.db profile email:ann@example.com
  cdp --db shop.db profiles
  cdp --db shop.db events user_id:u1 --limit 20
  cdp --db shop.db trait_history user_id:u1 city
  cdp --db shop.db profile user_id:u1 --at 2024-05-01T00:00:00Z
  cdp --db shop.db explain user_id:u1 anonymous_id:a7
  cdp --db shop.db link user_id:u1 phone:+8613800000002
  cdp --db shop.db link --force user_id:u1 user_id:u2
  cdp --db shop.db never user_id:father user_id:son
  cdp --db shop.db unlink user_id:u1 anonymous_id:kiosk
  cdp --db shop.db split email:info@shop.example
  cdp --db shop.db split --source import-2019
  cdp --db shop.db decisions
  cdp --db shop.db take_back 3
  cdp --db shop.db refusals --limit 20
  cdp --db shop.db journal --after 100
  echo '{"limits": {"user_id": {"max": null}}}' | cdp --db shop.db simulate -
  cdp --db shop.db restitch
  cdp --db shop.db graph
  cdp --db shop.db graph user_id:u1 --dot | dot -Tsvg > u1.svg
  cdp --db shop.db suggest matching.json --limit 20
  echo '{"event": "Order Completed", "count": {"gte": 3}}' | cdp --db shop.db segment loyal -
  cdp --db shop.db undefine loyal
  cdp --db shop.db segments
  cdp --db shop.db members loyal --at 2024-05-01T00:00:00Z
  cdp --db shop.db preview condition.json
  echo '{"members": ["user_id:u1"]}' | cdp --db shop.db segment testers -
  cdp --db shop.db add testers user_id:u2 email:ann@example.com
  cdp --db shop.db remove testers user_id:u2
  cdp --db shop.db why loyal user_id:u1
  cdp --db shop.db changes --after 100
  echo '{"name": "revenue", "event": "Order Completed", "sum": "total"}' | cdp --db shop.db define_trait -
  echo '{"name": "polar", "condition": {"event": "Search", "within": "30d"}}' | cdp --db shop.db define_tag -
  cdp --db shop.db tag user_id:u1 vip --expires 2025-01-01T00:00:00Z
  cdp --db shop.db untag user_id:u1 vip
  cdp --db shop.db policy city --sources crm,web
  echo '{"limits": {"email": {"max": 2}}}' | cdp --db shop.db rules -
  cdp --db shop.db quarantine --limit 20
  cdp --db shop.db quarantine --replay
  cdp --db shop.db erase email:ann@example.com
  cdp --db shop.db lift_suppression email:ann@example.com
  cdp --db shop.db retention_rule bought --party third --anonymous --older_than 90d
  cdp --db shop.db retention_rule bought --lift
  cdp --db shop.db retention_rules
  cdp --db shop.db maintain
  cdp --db shop.db consent user_id:u1 marketing granted --policy-version 2024-05 --evidence "box ticked"
  cdp --db shop.db consents user_id:u1
  echo '{"name": "advertising", "categories": ["Advertising"]}' | cdp --db shop.db define_purpose -
  cdp --db shop.db purposes
  cdp --db shop.db consent_merge most_restrictive
  cdp --db shop.db rectify user_id:u1 city Wuhan
  cdp --db shop.db unpin user_id:u1 city
  cdp --db shop.db export user_id:u1 > u1.json
  cdp --db shop.db audit --after 100
  cdp --db shop.db backup monday.db
  cdp --db shop.db restore monday.db
  cdp --db shop.db stats --json
  cdp --db shop.db check
  echo '{"steps": ["View", "Cart", "Order"], "within": "7d", "by": {"property": "channel"}}' | cdp --db shop.db funnel -
  echo '{"start": "View", "return": "View", "period": "week", "periods": 8}' | cdp --db shop.db retention -
  echo '{"event": "Order", "interval": "month", "measure": {"sum": "revenue"}}' | cdp --db shop.db trend -
  echo '{"event": "View", "interval": "week"}' | cdp --db shop.db lifecycle -
  echo '{"gap": "30m"}' | cdp --db shop.db sessions -
  echo '{"from_event": "View", "depth": 3, "top": 20}' | cdp --db shop.db paths -
  echo '{"conversion": "Order", "touch": "$page", "channel": "context.campaign.source", "model": "markov"}' |
    cdp --db shop.db attribution -
  echo '{"event": "Order", "value": "revenue"}' | cdp --db shop.db rfm -
  echo '{"do": "profile", "id": "user_id:u1"}' | cdp --db shop.db run

Configuration file (every member may be left out):
  {
    "rules": {"limits": {"email": {"max": 2}}},   changes the rules of identity when the file is opened
                                                  for writing, as the command of that name does
    "max_event_bytes": 1048576,                   refuses larger events
    "max_ahead": "24h",                           refuses events further ahead of the clock; null: none
    "max_file_bytes": 10737418240,                lets the file grow no further
    "zone": "Europe/Berlin",                      where birthdays, days, weeks and months begin as they do
                                                  there; UTC
    "durability": "full"                          or "normal"; --durability goes before it
  }"#;
