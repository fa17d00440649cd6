"""ClickHouse, embedded (chdb): MergeTree sorted by name, person and time. It does not keep message ids unique."""

import json

from chdb import session

from peer import DAY, END, TO_MONDAY, WEEK, Peer

WEEKLY = f"intDiv(time + {TO_MONDAY}, {WEEK}) * {WEEK} - {TO_MONDAY}"
VIEWS = "FROM events WHERE name = 'Product Viewed'"
QUESTIONS = {
    "scan_count": f"SELECT {WEEKLY} AS week, count() {VIEWS} GROUP BY week",
    "scan_people": f"SELECT {WEEKLY} AS week, uniqExact(person) {VIEWS} GROUP BY week",
    "scan_sum": f"SELECT {WEEKLY} AS week, sum(price) {VIEWS} GROUP BY week",
    "views": f"""
        SELECT count() FROM (SELECT person {VIEWS} AND time > {END - 90 * DAY} AND time <= {END}
        GROUP BY person HAVING count() >= 5)""",
    "orders": f"""
        SELECT count() FROM (SELECT person FROM events WHERE name = 'Order Completed'
        AND time > {END - 30 * DAY} AND time <= {END} AND person IN (SELECT person FROM profiles WHERE country = 'CN')
        GROUP BY person HAVING count() >= 3)""",
    "funnel": f"""
        SELECT countIf(step >= 1), countIf(step >= 2), countIf(step >= 3) FROM (
            SELECT windowFunnel({WEEK}, 'strict_increase')(toUInt64(time), name = 'Search', name = 'Product Viewed',
                name = 'Order Completed') AS step
            FROM events WHERE name IN ('Search', 'Product Viewed', 'Order Completed') GROUP BY person)""",
    "retention": f"""
        SELECT first, intDiv(week - first, {WEEK}) AS n, count() FROM (
            SELECT groupUniqArray({WEEKLY}) AS weeks, arrayMin(weeks) AS first
            FROM events WHERE name = 'Search' GROUP BY person)
        ARRAY JOIN weeks AS week GROUP BY first, n""",
    "rfm": f"""
        WITH buyers AS (SELECT intDiv({END}, {DAY}) - intDiv(max(time), {DAY}) AS recency, count() AS frequency,
            sum(revenue) AS monetary FROM events WHERE name = 'Order Completed' AND time <= {END} GROUP BY person)
        SELECT r, f, m, count() FROM (
            SELECT 1 + intDiv(5 * (rank() OVER (ORDER BY recency DESC) - 1), count() OVER ()) AS r,
                1 + intDiv(5 * (rank() OVER (ORDER BY frequency) - 1), count() OVER ()) AS f,
                1 + intDiv(5 * (rank() OVER (ORDER BY monetary) - 1), count() OVER ()) AS m FROM buyers)
        GROUP BY r, f, m""",
    "trend": f"SELECT path, intDiv(time, {DAY}) * {DAY} AS day, count() FROM events WHERE name = '$page' GROUP BY path, day",
    "lifecycle": f"""
        WITH known AS (SELECT day, lagInFrame(day, 1, 0) OVER own AS before, leadInFrame(day, 1, 0) OVER own AS after
            FROM (SELECT DISTINCT person, toUInt32(intDiv(time, {DAY})) AS day FROM events WHERE name = '$page')
            WINDOW own AS (PARTITION BY person ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)),
        told AS (SELECT day, countIf(before = 0) AS fresh, countIf(before = day - 1) AS back,
            countIf(before > 0 AND before < day - 1) AS revived, countIf(after = 0 OR after > day + 1) AS asleep
            FROM known GROUP BY day)
        SELECT day * {DAY}, fresh, back, revived, lagInFrame(asleep, 1, 0) OVER (ORDER BY day ROWS 1 PRECEDING)
        FROM told""",
}


class This(Peer):
    session = None

    def ask(self, sql):
        return [json.loads(line) for line in self.session.query(sql, "JSONCompactEachRow").bytes().splitlines()]

    def load(self):
        if self.session:
            self.session.close()
        self.session = session.Session(str(self.clear("click")))
        for sql in (
            "CREATE DATABASE shop ENGINE = Atomic",
            "USE shop",
            """CREATE TABLE log (type LowCardinality(String), messageId UUID, timestamp DateTime64(3, 'UTC'),
                userId String, anonymousId String, event LowCardinality(String), name String, properties String,
                traits String, context String) ENGINE = MergeTree ORDER BY timestamp""",
            f"""INSERT INTO log SELECT * FROM file('{self.events}', JSONEachRow)
                SETTINGS date_time_input_format = 'best_effort', input_format_skip_unknown_fields = 1""",
        ):
            self.session.query(sql)
        return self.ask("SELECT count() FROM log")

    def size(self):
        sql = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'log'"
        return int(self.ask(sql)[0][0])

    def prepare(self):
        for sql in (
            "CREATE TABLE people (identifier String, person UInt32) ENGINE = MergeTree ORDER BY identifier",
            f"INSERT INTO people SELECT * FROM file('{self.people}', CSVWithNames)",
            """CREATE TABLE events (person UInt32, name LowCardinality(String), time Int64, price Int64, revenue Int64,
                path LowCardinality(String), message_id String, properties String, traits String, context String)
                ENGINE = MergeTree ORDER BY (name, person, time)""",
            """INSERT INTO events SELECT person, if(type = 'track', event, concat('$', type)),
                toUnixTimestamp64Milli(timestamp), toInt64(round(JSONExtractFloat(properties, 'price') * 100)),
                toInt64(round(JSONExtractFloat(properties, 'revenue') * 100)), JSONExtractString(properties, 'path'),
                toString(messageId), properties, traits, context
                FROM log JOIN people ON people.identifier = if(userId != '', userId, anonymousId)""",
            "OPTIMIZE TABLE events FINAL",
            "CREATE TABLE profiles (person UInt32, country LowCardinality(String)) ENGINE = MergeTree ORDER BY person",
            """INSERT INTO profiles SELECT person, argMax(JSONExtractString(traits, 'country'), time) FROM events
                WHERE name = '$identify' GROUP BY person""",
            "DROP TABLE log",
        ):
            self.session.query(sql)

    def history(self):
        found = []
        for user in self.asked:
            found += self.ask(f"""
                SELECT message_id, properties, traits, context FROM events
                WHERE person = (SELECT person FROM people WHERE identifier = '{user}') ORDER BY time DESC LIMIT 200""")
        return [row[:1] for row in found]


for question, sql in QUESTIONS.items():
    setattr(This, question, lambda self, sql=sql: self.ask(sql))
