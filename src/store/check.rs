//! Whether the file is sound, and what it holds.

use rustc_hash::FxHashSet;
use serde::Serialize;

use super::{Db, Result};
use crate::identity::{Hand, Identities, Node, ProfileNo};
use crate::profile::ANALYTICS;

/// What a file holds, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Accepted events.
    pub events: u64,
    /// Accepted events whose every identifier is blocked by a later rule: they belong to nobody.
    pub orphans: u64,
    /// People: the connected components of the identity graph.
    pub profiles: u64,
    /// Identifiers that belong to a profile.
    pub identifiers: u64,
    /// Pairs of identifiers that events bore together, once for each source.
    pub links: u64,
    /// How often an identifier was left out of an event's resolution, by a limit or because of its form.
    pub refusals: u64,
    /// Defined segments.
    pub segments: u64,
    /// Refused events that are kept.
    pub quarantined: u64,
    /// Identifiers of people who were erased: nothing comes in under them.
    pub suppressed: u64,
    /// Events that were counted and let go, each time that they came, because of whom they are of: somebody who denied
    /// consent for `analytics`, or withdrew it.
    pub withheld: u64,
    /// The size of the database file in bytes.
    pub file_bytes: u64,
    /// The size of the write-ahead log in bytes, 0 if there is none.
    pub wal_bytes: u64,
    /// Blocks of sealed columns.
    pub blocks: u64,
    /// Accepted events that are not sealed into columns yet.
    pub tail: u64,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// Where: a table, or `sqlite` for what SQLite's own check says.
    pub table: String,
    /// What is wrong there.
    pub what: String,
}

/// An invariant of ours: its table, what it says when it does not hold, and a query that counts the offenders. The queries
/// see the log as the table `events`.
struct Invariant {
    table: &'static str,
    broken: &'static str,
    count: &'static str,
}

const INVARIANTS: [Invariant; 30] = [
    Invariant {
        table: "profiles",
        broken: "profiles are not numbered without gaps",
        count: "SELECT count(*) FROM profiles HAVING count(*) <> coalesce(max(profile) + 1, 0)",
    },
    Invariant {
        table: "settings",
        broken: "counters that are no numbers, or less than nothing",
        count: "SELECT count(*) FROM settings WHERE (typeof(value) <> 'integer' OR value < 0) AND name IN ('version', 'links', 'traits',
                'traits_home', 'traits_indexed', 'traits_moved', 'gathered', 'layout', 'moves', 'ranks', 'withheld', 'erasures_waiting')",
    },
    Invariant {
        table: "identifiers",
        broken: "identifiers are not numbered without gaps",
        count: "SELECT count(*) FROM identifiers HAVING count(*) <> coalesce(max(node) + 1, 0)",
    },
    Invariant {
        table: "identifiers",
        broken: "identifiers of namespaces or profiles that are not there",
        count: "SELECT count(*) FROM identifiers WHERE namespace NOT IN (SELECT namespace FROM namespaces)
                OR profile IS NOT NULL AND profile NOT IN (SELECT profile FROM profiles)",
    },
    Invariant {
        table: "event_names",
        broken: "names of events are not numbered from 1 without gaps",
        count: "SELECT count(*) FROM event_names HAVING count(*) <> coalesce(max(name), 0) OR min(name) < 1",
    },
    Invariant {
        table: "links",
        broken: "links from sources that are not there",
        count: "SELECT count(*) FROM (SELECT source FROM links UNION ALL SELECT source FROM fresh_links) WHERE source NOT IN (SELECT source FROM sources)",
    },
    Invariant {
        table: "traits",
        broken: "trait values from sources that are not there",
        count: "SELECT count(*) FROM traits WHERE source NOT IN (SELECT source FROM sources)",
    },
    Invariant {
        table: "identifiers",
        broken: "identifiers that are there twice",
        count: "SELECT count(*) FROM (SELECT 1 FROM identifiers WHERE value <> '' GROUP BY namespace, value HAVING count(*) > 1)",
    },
    Invariant {
        table: "identifiers",
        broken: "identifiers that were let go of, and still belong to somebody or are named",
        count: "SELECT count(*) FROM identifiers WHERE value = '' AND (profile IS NOT NULL
                OR node IN (SELECT node FROM refusals) OR node IN (SELECT a FROM decisions)
                OR node IN (SELECT b FROM decisions) OR node IN (SELECT node FROM list_members)
                OR node IN (SELECT node FROM consents) OR node IN (SELECT node FROM pins)
                OR node IN (SELECT node FROM given_tags) OR node IN (SELECT node FROM unborne)
                OR node IN (SELECT node FROM first_days))",
    },
    Invariant {
        table: "links",
        broken: "links to an identifier that is in no profile",
        count: "SELECT count(*) FROM (SELECT a, b FROM links UNION ALL SELECT a, b FROM fresh_links) l WHERE
                NOT EXISTS (SELECT 1 FROM identifiers WHERE node = l.a AND profile IS NOT NULL) OR
                NOT EXISTS (SELECT 1 FROM identifiers WHERE node = l.b AND profile IS NOT NULL)",
    },
    Invariant {
        table: "links",
        broken: "links that nothing, or more than there is, bears witness to",
        count: "SELECT count(*) FROM (
                    SELECT min(count) AS least, sum(count) AS count, max(last_seen < first_seen) AS turned
                    FROM (SELECT a, b, source, count, first_seen, last_seen FROM links
                        UNION ALL SELECT a, b, source, count, first_seen, last_seen FROM fresh_links)
                    GROUP BY a, b, source)
                WHERE least < 1 OR turned
                OR count > (SELECT count(*) FROM events) + (SELECT count(*) FROM decisions)",
    },
    Invariant {
        table: "refusals",
        broken: "refusals of events that are not there, or of another's",
        count: "SELECT count(*) FROM refusals r WHERE message_id NOT LIKE 'link:%' AND
                NOT EXISTS (SELECT 1 FROM events e WHERE e.message_id = r.message_id AND e.node IS NOT NULL)",
    },
    Invariant {
        table: "decisions",
        broken: "decisions on identifiers that are not there",
        count: "SELECT count(*) FROM decisions WHERE
                a >= (SELECT count(*) FROM identifiers) OR b >= (SELECT count(*) FROM identifiers)",
    },
    Invariant {
        table: "anonymous_events",
        broken: "anonymous events that are not there, or belong to nobody",
        count: "SELECT count(*) FROM anonymous_events a WHERE
                NOT EXISTS (SELECT 1 FROM events e WHERE e.event = a.event AND e.node IS NOT NULL)",
    },
    Invariant {
        table: "sightings",
        broken: "sightings by events that are not there, or of somebody else",
        count: "SELECT count(*) FROM sightings s WHERE
                NOT EXISTS (SELECT 1 FROM events e WHERE e.message_id = s.message_id AND e.node = s.node)",
    },
    Invariant {
        table: "events",
        broken: "events of an identifier that is in no profile",
        count: "SELECT count(*) FROM events e WHERE node IS NOT NULL AND
                NOT EXISTS (SELECT 1 FROM identifiers i WHERE i.node = e.node AND i.profile IS NOT NULL)",
    },
    Invariant {
        table: "traits",
        broken: "trait values that no event of the identifier asserted",
        count: "SELECT count(*) FROM traits t WHERE NOT EXISTS (SELECT 1 FROM events e
                    WHERE e.event = t.event AND e.message_id = t.message_id AND e.node = t.node)",
    },
    Invariant {
        table: "traits",
        broken: "trait values that are not found by whose they are",
        count: "SELECT count(*) FROM traits t WHERE event < (SELECT value FROM settings WHERE name = 'traits_home')
                AND NOT EXISTS (SELECT 1 FROM traits_by_node i WHERE (i.node, i.at, i.event) = (t.node, t.at, t.event))",
    },
    Invariant {
        table: "traits_by_node",
        broken: "trait values that are found and not there, or wait to be found",
        count: "SELECT count(*) FROM traits_by_node i WHERE NOT EXISTS (SELECT 1 FROM traits t
                    WHERE t.event = i.event AND (t.node, t.at) = (i.node, i.at)
                    AND t.event < (SELECT value FROM settings WHERE name = 'traits_home'))",
    },
    Invariant {
        table: "traits",
        broken: "assertions that are no object with a trait",
        count: "SELECT count(*) FROM traits WHERE NOT json_valid(said) OR json_type(said) <> 'object' OR said = '{}'",
    },
    Invariant {
        table: "account_traits",
        broken: "account traits that no event asserted, or that are no object with a trait",
        count: "SELECT count(*) FROM account_traits t WHERE NOT json_valid(said) OR json_type(said) <> 'object' OR said = '{}'
                OR NOT EXISTS (SELECT 1 FROM events e WHERE e.event = t.event AND e.message_id = t.message_id)",
    },
    Invariant {
        table: "account_members",
        broken: "account members whom no event of the identifier made one",
        count: "SELECT count(*) FROM account_members m WHERE
                NOT EXISTS (SELECT 1 FROM events e WHERE e.message_id = m.message_id AND e.node = m.node)",
    },
    Invariant {
        table: "merges",
        broken: "merges of profiles that are not there, or were merged before",
        count: "SELECT count(*) - count(DISTINCT profile) + sum(profile NOT IN (SELECT profile FROM profiles)) FROM merges HAVING count(*) > 0",
    },
    Invariant {
        table: "journal",
        broken: "joins and splits of profiles that are not there",
        count: "SELECT count(*) FROM journal WHERE profile NOT IN (SELECT profile FROM profiles)
                OR other NOT IN (SELECT profile FROM profiles)",
    },
    Invariant {
        table: "standings",
        broken: "members of segments whose profile was merged into another",
        count: "SELECT count(*) FROM standings JOIN merges USING (profile)",
    },
    Invariant {
        table: "list_members",
        broken: "lists with identifiers that are not there",
        count: "SELECT count(*) FROM list_members WHERE node >= (SELECT count(*) FROM identifiers)",
    },
    Invariant {
        table: "given_tags",
        broken: "tags given to identifiers that are not there",
        count: "SELECT count(*) FROM given_tags WHERE node >= (SELECT count(*) FROM identifiers)",
    },
    Invariant {
        table: "consents",
        broken: "decisions on consent of identifiers that are not there",
        count: "SELECT count(*) FROM consents WHERE node >= (SELECT count(*) FROM identifiers)",
    },
    Invariant {
        table: "pins",
        broken: "values set right for identifiers that are not there",
        count: "SELECT count(*) FROM pins WHERE node >= (SELECT count(*) FROM identifiers)",
    },
    Invariant {
        table: "assumed_user_ids",
        broken: "assumed user ids of events that are not there",
        count: "SELECT count(*) FROM assumed_user_ids a WHERE NOT EXISTS (SELECT 1 FROM events WHERE event = a.event)",
    },
];

impl Db {
    /// Everything that is wrong with the file: what SQLite's own checks find, and broken invariants of ours.
    pub(crate) fn problems(&self) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        let mut add = |table: &str, what: String| problems.push(Problem { table: table.into(), what });
        let mut integrity = self.conn.prepare("PRAGMA integrity_check")?;
        for line in integrity.query_map([], |row| row.get::<_, String>(0))? {
            match line? {
                line if line == "ok" => {}
                line => add("sqlite", line),
            }
        }
        let mut foreign = self.conn.prepare("PRAGMA foreign_key_check")?;
        for row in foreign.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(2)?)))? {
            let (table, parent) = row?;
            add(&table, format!("a row that refers to a missing row of {parent}"));
        }
        let standings = self.faults_of_standings()?.into_iter().chain(self.faults_of_changes()?);
        for (table, what) in self.faults_of_log()?.into_iter().chain(standings) {
            add(table, what);
        }
        self.lay_out_log()?;
        for invariant in &INVARIANTS {
            let mut select = self.conn.prepare(invariant.count)?;
            let broken = select.query([])?.next()?.map_or(Ok(0), |row| row.get::<_, u64>(0))?;
            if broken > 0 {
                add(invariant.table, format!("{}: {broken}", invariant.broken));
            }
        }
        problems.extend(self.audit_problems()?);
        Ok(problems)
    }

    /// Where rows, their packed copies and what is in memory of them differ.
    pub(crate) fn differences(
        &self,
        held: &Identities,
        hand: &Hand,
        refusing: &FxHashSet<Node>,
    ) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        let mut add = |table: &str, what: String| problems.push(Problem { table: table.into(), what });
        let (unpacked, faults) = self.identities_and_faults()?;
        for (table, chunks) in faults {
            if let Some(first) = chunks.first() {
                let what = "packed copies that are missing or contradict their checksum";
                add(table, format!("{what}: {}, the first is {first}", chunks.len()));
            }
        }
        let rows = self.identities_by_rows()?;
        if !same(&unpacked, &rows) {
            add("packed_identifiers", "rows and their packed copies hold different identities".into());
        }
        let days = rows.interner.nodes().all(|node| rows.day(node) == held.day(node));
        for (table, same, what) in [
            ("identifiers", same(&rows, held), "identities"),
            ("first_days", days, "days on which identifiers were first seen"),
            ("unborne", rows.unborne == held.unborne, "identifiers that no event has borne as anonymousId"),
            ("shared_devices", rows.shared == held.shared, "shared devices"),
            ("decisions", self.hand()? == *hand, "decisions"),
            ("consents", self.refusing(ANALYTICS)? == *refusing, "decisions on consent"),
        ] {
            if !same {
                add(table, format!("memory and file hold different {what}"));
            }
        }
        let people: FxHashSet<ProfileNo> =
            rows.partition.roots().filter_map(|root| rows.partition.profile(root)).collect();
        for (profile, founder) in self.standing_profiles()? {
            if people.contains(&profile) && rows.partition.profile(founder) != Some(profile) {
                add("profiles", "a profile whose founder is somebody else's".into());
            }
        }
        Ok(problems)
    }

    /// What the file holds.
    pub(crate) fn stats(&self, identities: &Identities, wal_bytes: u64) -> Result<Stats> {
        let ((events, orphans), (blocks, tail)) = (self.count_events()?, self.count_blocks()?);
        let count = |sql: &str| self.conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, u64>(0));
        Ok(Stats {
            events,
            orphans,
            profiles: identities.partition.sets() as u64,
            identifiers: identities.partition.held() as u64,
            links: self.count_links()?,
            refusals: count("SELECT count(*) FROM refusals")?,
            segments: count("SELECT count(*) FROM segments")?,
            quarantined: count("SELECT count(*) FROM quarantine")?,
            suppressed: count("SELECT count(*) FROM suppressed")?,
            withheld: self.withheld()?,
            file_bytes: count("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?,
            wal_bytes,
            blocks,
            tail,
        })
    }
}

/// Whether two are the same identities, however their sets came about.
fn same(a: &Identities, b: &Identities) -> bool {
    a.interner.len() == b.interner.len()
        && a.next_profile == b.next_profile
        && a.interner.nodes().all(|node| {
            a.interner.kind(node) == b.interner.kind(node)
                && a.interner.value(node) == b.interner.value(node)
                && a.partition.profile(node) == b.partition.profile(node)
        })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use crate::{Cdp, Event, Problem, Segment, Source, has_trait};

    /// What a check says of a small file to which damage was done.
    fn told(damage: &str) -> Vec<Problem> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("customers.db");
        let cdp = Cdp::open(&path).unwrap();
        let known = Event::identify().user_id("u1").anonymous_id("a1").with_trait("city", "Lima");
        let events = [known, Event::group("acme").user_id("u2").with_trait("size", 7)];
        cdp.define(Segment::new("known", has_trait("city"))).unwrap();
        cdp.ingest_from(&Source::new("web"), events).unwrap();
        assert_eq!(cdp.check().unwrap(), []);
        drop(cdp);
        #[expect(clippy::disallowed_methods, reason = "damage is not done through the front door")]
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        Cdp::open_read_only(&path).unwrap().check().unwrap()
    }

    #[test]
    fn damage_to_what_is_made_from_the_log_is_found() {
        for (damage, table) in [
            ("UPDATE traits SET event = event + 100", "traits"),
            ("UPDATE traits SET node = node + 1", "traits"),
            ("UPDATE traits SET said = '[1'", "traits"),
            ("UPDATE traits SET said = '{}'", "traits"),
            ("INSERT INTO traits_by_node SELECT node, at, event FROM traits", "traits_by_node"),
            ("INSERT INTO settings VALUES ('traits_home', 7)", "traits"),
            ("INSERT INTO settings VALUES ('traits_home', -1)", "settings"),
            ("INSERT OR REPLACE INTO settings VALUES ('traits_moved', 'x')", "settings"),
            ("INSERT INTO journal VALUES (1, 0, 'joined', 0, 99, 'rules', NULL)", "journal"),
            ("UPDATE account_traits SET event = event + 100", "account_traits"),
            ("UPDATE account_traits SET said = '7'", "account_traits"),
            ("UPDATE standings SET stands = x'8e030e', wake = 7", "standings"),
            ("UPDATE standings SET stands = x'80'", "standings"),
            ("INSERT INTO members VALUES (1, 1)", "members"),
            ("DELETE FROM members", "members"),
            ("UPDATE standings SET wake = 7", "standings"),
            ("INSERT INTO standings VALUES (99, 7, x'0A0E')", "standings"),
            ("INSERT INTO standings VALUES (-1, 7, x'0A0E')", "standings"),
            ("UPDATE segment_changes SET entered = 0", "segment_changes"),
            ("UPDATE segment_changes SET segments = 'nonsense'", "segment_changes"),
            ("UPDATE segment_changes SET segments = '{\"a\":\"known\"}'", "segment_changes"),
            ("UPDATE segment_changes SET segments = '[]'", "segment_changes"),
            ("UPDATE segment_changes SET segments = '[\"known\",\"known\"]'", "segment_changes"),
            ("UPDATE segment_changes SET cause = 'chance'", "segment_changes"),
            ("UPDATE segment_changes SET profile = 99", "segment_changes"),
            ("UPDATE segment_changes SET change = change + 10", "segment_changes"),
            ("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'segment_changes'", "segment_changes"),
            ("DELETE FROM segment_changes", "segment_changes"),
            ("UPDATE segment_changes SET segments = '[\"others\"]'", "segment_changes"),
            ("UPDATE fresh_links SET source = 99", "links"),
            ("UPDATE fresh_links SET b = 99", "links"),
            ("UPDATE fresh_links SET last_seen = first_seen - 1", "links"),
            (
                "INSERT INTO fresh_links SELECT number + 10 * n.value, a, b, source, first_seen, last_seen, count, message_id
                 FROM fresh_links, (SELECT 1 AS value UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) n",
                "links",
            ),
        ] {
            let problems = told(damage);
            assert!(problems.iter().any(|problem| problem.table == table), "{damage}: {problems:?}");
        }
    }

    #[test]
    fn whoever_is_a_member_in_anothers_place_is_told_as_that_one_is() {
        let told: Vec<String> =
            told("UPDATE members SET profile = 1").into_iter().map(|problem| problem.what).collect();
        assert!(told.contains(&"members who are missing: 1".to_owned()), "{told:?}");
        assert!(told.contains(&"members who do not stand to their segment so: 1".to_owned()), "{told:?}");
    }
}
