"""SQLite: rows under a unique message id, which know nothing of what they hold; then columns with two indices."""

import re
import sqlite3
from itertools import islice

from peer import WEEK, Peer
from sql import questions

MESSAGE_ID = re.compile(r'"messageId":"([^"]*)"')

# Of each search the first view after it, of each view the first order after it: the earliest way through.
FUNNEL = f"""
    WITH first AS (SELECT person, time FROM events WHERE name = 'Search'),
    second AS (SELECT person, time AS first, (SELECT min(v.time) FROM events AS v
        WHERE v.person = first.person AND v.name = 'Product Viewed' AND v.time > first.time) AS time FROM first),
    third AS (SELECT person, first, time AS second, (SELECT min(o.time) FROM events AS o
        WHERE o.person = second.person AND o.name = 'Order Completed' AND o.time > second.time) AS time FROM second),
    best AS (SELECT max(CASE WHEN time <= first + {WEEK} THEN 3 WHEN second <= first + {WEEK} THEN 2 ELSE 1 END) AS step
        FROM third GROUP BY person)
    SELECT count(*), count(*) FILTER (WHERE step >= 2), count(*) FILTER (WHERE step >= 3) FROM best"""


class This(Peer):
    conn = None

    def load(self):
        if self.conn:
            self.conn.close()
        self.conn = sqlite3.connect(self.clear("lite.db", "lite.db-wal", "lite.db-shm"), isolation_level=None)
        self.conn.executescript("""
            PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA cache_size = -65536;
            CREATE TABLE log (message_id TEXT NOT NULL UNIQUE, json TEXT NOT NULL) STRICT""")
        with open(self.events) as lines:
            rows = ((MESSAGE_ID.search(line)[1], line) for line in lines)
            # As many a commit as the crate's.
            while batch := list(islice(rows, 10_000)):
                self.conn.execute("BEGIN")
                self.conn.executemany("INSERT INTO log VALUES (?, ?)", batch)
                self.conn.execute("COMMIT")
        return self.conn.execute("SELECT count(*) FROM log").fetchall()

    def size(self):
        self.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return (self.folder / "lite.db").stat().st_size

    def prepare(self):
        with open(self.people) as lines:
            next(lines)
            people = [line.rstrip().split(",") for line in lines]
        self.conn.executescript("""
            PRAGMA journal_mode = delete; PRAGMA synchronous = off;
            CREATE TABLE people (identifier TEXT PRIMARY KEY, person INTEGER) WITHOUT ROWID;
            CREATE TABLE events (person INTEGER, name TEXT, time INTEGER, price INTEGER, revenue INTEGER, path TEXT,
                log INTEGER)""")
        self.conn.execute("BEGIN")
        self.conn.executemany("INSERT INTO people VALUES (?, ?)", people)
        self.conn.executescript("""
            INSERT INTO events SELECT person,
                CASE json ->> 'type' WHEN 'track' THEN json ->> 'event' ELSE '$' || (json ->> 'type') END,
                CAST(round((julianday(json ->> 'timestamp') - 2440587.5) * 86400000) AS INTEGER),
                CAST(round((json ->> '$.properties.price') * 100) AS INTEGER),
                CAST(round((json ->> '$.properties.revenue') * 100) AS INTEGER),
                json ->> '$.properties.path', log.rowid
                FROM log JOIN people ON identifier = coalesce(json ->> 'userId', json ->> 'anonymousId');
            CREATE INDEX by_time ON events (person, time, log);
            CREATE INDEX by_name ON events (name, person, time, price, revenue, path);
            CREATE TABLE profiles AS SELECT person, json ->> '$.traits.country' AS country, max(time)
                FROM events JOIN log ON log.rowid = events.log WHERE name = '$identify' GROUP BY person;
            CREATE INDEX by_country ON profiles (country, person);
            ANALYZE""")

    def funnel(self):
        return self.conn.execute(FUNNEL).fetchall()

    def history(self):
        found = []
        for user in self.asked:
            found += self.conn.execute(
                """SELECT message_id, json FROM events JOIN log ON log.rowid = events.log
                   WHERE person = (SELECT person FROM people WHERE identifier = ?) ORDER BY time DESC LIMIT 200""",
                [user],
            ).fetchall()
        return [row[:1] for row in found]


for question, sql in questions("/").items():
    setattr(This, question, lambda self, sql=sql: self.conn.execute(sql).fetchall())
