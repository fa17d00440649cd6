"""The questions in the SQL that DuckDB and SQLite share, but for how they divide whole numbers.

Their table is `events (person, name, time, price, revenue, path, …)`, times in milliseconds, money in whole cents, which
are exact and as fast as it gets; and `profiles (person, country)`. Answers are rows as `questions.rs` gives them.
"""

from peer import DAY, END, TO_MONDAY, WEEK


def questions(div):
    week = f"((time + {TO_MONDAY}) {div} {WEEK} * {WEEK} - {TO_MONDAY})"
    day = f"(time {div} {DAY} * {DAY})"

    def weekly(what):
        return f"SELECT {week} AS week, {what} FROM events WHERE name = 'Product Viewed' GROUP BY 1"

    def score(worse):
        return f"1 + 5 * (rank() OVER (ORDER BY {worse}) - 1) {div} count(*) OVER ()"

    return {
        "scan_count": weekly("count(*)"),
        "scan_people": weekly("count(DISTINCT person)"),
        "scan_sum": weekly("sum(price)"),
        "views": f"""
            SELECT count(*) FROM (SELECT person FROM events
            WHERE name = 'Product Viewed' AND time > {END - 90 * DAY} AND time <= {END}
            GROUP BY person HAVING count(*) >= 5) AS found""",
        "orders": f"""
            SELECT count(*) FROM (SELECT person FROM events
            WHERE name = 'Order Completed' AND time > {END - 30 * DAY} AND time <= {END}
            AND person IN (SELECT person FROM profiles WHERE country = 'CN')
            GROUP BY person HAVING count(*) >= 3) AS found""",
        "retention": f"""
            WITH active AS (SELECT DISTINCT person, {week} AS week FROM events WHERE name = 'Search'),
            firsts AS (SELECT person, min(week) AS first FROM active GROUP BY person)
            SELECT first, (week - first) {div} {WEEK}, count(*) FROM active JOIN firsts USING (person) GROUP BY 1, 2""",
        "rfm": f"""
            WITH buyers AS (SELECT {END} {div} {DAY} - max(time) {div} {DAY} AS recency, count(*) AS frequency,
                sum(revenue) AS monetary FROM events WHERE name = 'Order Completed' AND time <= {END} GROUP BY person)
            SELECT r, f, m, count(*) FROM (SELECT {score("recency DESC")} AS r, {score("frequency")} AS f,
                {score("monetary")} AS m FROM buyers) AS scored GROUP BY r, f, m""",
        "trend": f"SELECT path, {day} AS day, count(*) FROM events WHERE name = '$page' GROUP BY 1, 2",
        "lifecycle": f"""
            WITH active AS (SELECT DISTINCT person, time {div} {DAY} AS day FROM events WHERE name = '$page'),
            known AS (SELECT day, lag(day) OVER own AS before, lead(day) OVER own AS after FROM active
                WINDOW own AS (PARTITION BY person ORDER BY day)),
            told AS (
                SELECT day, count(*) FILTER (WHERE before IS NULL) AS fresh, count(*) FILTER (WHERE before = day - 1) AS back,
                    count(*) FILTER (WHERE before < day - 1) AS revived FROM known GROUP BY day),
            asleep AS (SELECT day + 1 AS day, count(*) AS dormant FROM known
                WHERE after IS NULL OR after > day + 1 GROUP BY day)
            SELECT day * {DAY}, fresh, back, revived, coalesce(dormant, 0)
            FROM told LEFT JOIN asleep USING (day)""",
    }
