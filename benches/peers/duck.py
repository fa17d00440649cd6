"""DuckDB: one file, a primary key on the message id, columns about in order of arrival."""

import duckdb

from peer import NAMES, WEEK, Peer
from sql import questions

COLUMNS = (
    "{type: 'VARCHAR', messageId: 'UUID', timestamp: 'TIMESTAMP', userId: 'VARCHAR', anonymousId: 'VARCHAR',"
    " event: 'VARCHAR', name: 'VARCHAR', properties: 'JSON', traits: 'JSON', context: 'JSON'}"
)

# Of each search the first view after it, of each view the first order after it: the earliest way through.
FUNNEL = f"""
    WITH steps AS (
        SELECT s.person, s.time AS first, v.time AS second FROM (SELECT person, time FROM events WHERE name = 'Search') AS s
        ASOF LEFT JOIN (SELECT person, time FROM events WHERE name = 'Product Viewed') AS v
        ON s.person = v.person AND s.time < v.time),
    ways AS (
        SELECT s.person, CASE WHEN o.time <= first + {WEEK} THEN 3 WHEN second <= first + {WEEK} THEN 2 ELSE 1 END AS step
        FROM steps AS s ASOF LEFT JOIN (SELECT person, time FROM events WHERE name = 'Order Completed') AS o
        ON s.person = o.person AND second < o.time),
    best AS (SELECT max(step) AS step FROM ways GROUP BY person)
    SELECT count(*), count(*) FILTER (WHERE step >= 2), count(*) FILTER (WHERE step >= 3) FROM best"""

# Sorted apart, for with the order in one query it would not use the index.
HISTORY = """
    WITH own AS MATERIALIZED (SELECT time, message_id, properties, traits, context FROM events WHERE person = ?)
    SELECT message_id, properties, traits, context FROM own ORDER BY time DESC LIMIT 200"""


class This(Peer):
    conn = None

    def load(self):
        if self.conn:
            self.conn.close()
        self.conn = duckdb.connect(self.clear("duck.db", "duck.db.wal"))
        # Less than it would take, for others are in memory at the same time.
        self.conn.execute("SET memory_limit = '8GB'; SET preserve_insertion_order = false")
        self.conn.execute(f"""
            CREATE TABLE log (type VARCHAR, message_id UUID PRIMARY KEY, time TIMESTAMP, user_id VARCHAR,
                anonymous_id VARCHAR, event VARCHAR, name VARCHAR, properties JSON, traits JSON, context JSON);
            INSERT INTO log SELECT * FROM read_json('{self.events}', format = 'newline_delimited', columns = {COLUMNS})
        """)
        return self.conn.execute("SELECT count(*) FROM log").fetchall()

    def size(self):
        self.conn.execute("CHECKPOINT")
        return (self.folder / "duck.db").stat().st_size

    def prepare(self):
        names = ", ".join(f"'{name}'" for name in NAMES)
        cents = "round((properties->>'{}')::DOUBLE * 100)::BIGINT"
        self.conn.execute(f"""
            CREATE TABLE people AS SELECT * FROM read_csv('{self.people}');
            CREATE TYPE named AS ENUM ({names});
            CREATE TABLE events AS SELECT person::INTEGER AS person,
                CASE WHEN type = 'track' THEN event ELSE '$' || type END::named AS name, epoch_ms(time) AS time,
                {cents.format('price')} AS price, {cents.format('revenue')} AS revenue,
                properties->>'path' AS path, message_id::VARCHAR AS message_id, properties, traits, context
                FROM log JOIN people ON people.identifier = coalesce(log.user_id, log.anonymous_id);
            CREATE TABLE profiles AS SELECT person, arg_max(traits->>'country', time) AS country FROM events
                WHERE name = '$identify' GROUP BY person;
            DROP TABLE log;
            COPY events TO '{self.folder}/events.parquet' (COMPRESSION zstd);
            COPY profiles TO '{self.folder}/profiles.parquet';
            CREATE INDEX of_person ON events (person);
            CHECKPOINT
        """)

    def funnel(self):
        return self.conn.execute(FUNNEL).fetchall()

    def history(self):
        found = []
        for user in self.asked:
            person = self.conn.execute("SELECT person FROM people WHERE identifier = ?", [user]).fetchone()[0]
            found += self.conn.execute(HISTORY, [person]).fetchall()
        return [row[:1] for row in found]


for question, sql in questions("//").items():
    setattr(This, question, lambda self, sql=sql: self.conn.execute(sql).fetchall())
