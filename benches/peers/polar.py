"""Polars: everything in memory, from the Parquet file that `duck.py` leaves, by time."""

import polars as pl

from peer import DAY, END, TO_MONDAY, WEEK, Peer

time, person = pl.col("time"), pl.col("person")
WEEKLY = ((time + TO_MONDAY) // WEEK * WEEK - TO_MONDAY).alias("week")
PAYLOAD = ["message_id", "properties", "traits", "context"]


class This(Peer):
    def size(self):
        return (self.folder / "events.parquet").stat().st_size

    def prepare(self):
        events = pl.read_parquet(self.folder / "events.parquet")
        # What nobody counts stays as it came, and is found by its place.
        self.payload = events.select(PAYLOAD)
        events = events.drop(PAYLOAD).with_row_index("place")
        kinds = {name: pl.Enum(sorted(events[name].drop_nulls().unique())) for name in ("name", "path")}
        self.all = events.cast(kinds).sort(time).lazy()
        self.profiles = pl.read_parquet(self.folder / "profiles.parquet").lazy()
        people = pl.read_csv(self.people)
        self.persons = dict(zip(people["identifier"], people["person"]))

    def of(self, name):
        return self.all.filter(pl.col("name") == name)

    def scan_count(self):
        return rows(self.of("Product Viewed").group_by(WEEKLY).len())

    def scan_people(self):
        return rows(self.of("Product Viewed").group_by(WEEKLY).agg(person.n_unique()), "in-memory")

    def scan_sum(self):
        return rows(self.of("Product Viewed").group_by(WEEKLY).agg(pl.col("price").sum()))

    def views(self):
        events = self.of("Product Viewed").filter(time > END - 90 * DAY, time <= END)
        return rows(events.group_by("person").len().filter(pl.col("len") >= 5).select(pl.len()))

    def orders(self):
        events = self.of("Order Completed").filter(time > END - 30 * DAY, time <= END)
        here = self.profiles.filter(pl.col("country") == "CN")
        often = events.group_by("person").len().filter(pl.col("len") >= 3)
        return rows(often.join(here, on="person", how="semi").select(pl.len()))

    def funnel(self):
        """Of each search the first view after it, of each view the first order after it: the earliest way through."""

        def then(left, since, name):
            right = self.of(name).select("person", time.alias(name))
            return left.sort(since, nulls_last=True).join_asof(
                right, left_on=since, right_on=name, by="person", strategy="forward", allow_exact_matches=False,
                coalesce=False, check_sortedness=False,
            )

        ways = then(self.of("Search").select("person", "time"), "time", "Product Viewed")
        ways = then(ways.filter(pl.col("Product Viewed") <= time + WEEK), "Product Viewed", "Order Completed")
        through = (pl.col("Order Completed") <= time + WEEK).fill_null(False)
        best = ways.group_by("person").agg(through.any().alias("through"))
        first = self.of("Search").select(person.n_unique().alias("first"))
        last = best.select(pl.len().alias("second"), pl.col("through").sum())
        return rows(pl.concat([first, last], how="horizontal"), "in-memory")

    def retention(self):
        weeks = self.of("Search").select("person", WEEKLY).unique()
        first = weeks.group_by("person").agg(pl.col("week").min().alias("first"))
        after = ((pl.col("week") - pl.col("first")) // WEEK).alias("n")
        return rows(weeks.join(first, on="person").group_by("first", after).len())

    def rfm(self):
        buyers = self.of("Order Completed").filter(time <= END).group_by("person").agg(
            (END // DAY - time.max() // DAY).alias("r"), pl.len().alias("f"), pl.col("revenue").sum().alias("m")
        )

        def score(name, descending):
            worse = pl.col(name).rank("min", descending=descending).cast(pl.Int64) - 1
            return (1 + 5 * worse // pl.len()).alias(name)

        return rows(buyers.select(score("r", True), score("f", False), score("m", False)).group_by("r", "f", "m").len())

    def trend(self):
        day = (time // DAY * DAY).alias("day")
        return rows(self.of("$page").group_by(pl.col("path").cast(pl.String), day).len())

    def lifecycle(self):
        day, before, after = pl.col("day"), pl.col("before"), pl.col("after")
        active = self.of("$page").select("person", (time // DAY).alias("day")).unique().sort("person", "day")
        same = lambda step: pl.when(person == person.shift(step)).then(day.shift(step))
        known = active.with_columns(same(1).alias("before"), same(-1).alias("after"))
        told = known.group_by("day").agg(
            before.is_null().sum().alias("new"),
            (before == day - 1).sum().alias("returning"),
            (before < day - 1).sum().alias("resurrecting"),
            (after.is_null() | (after > day + 1)).sum().alias("asleep"),
        )
        dormant = pl.col("asleep").shift(1).fill_null(0)
        return rows(told.sort("day").select(day * DAY, "new", "returning", "resurrecting", dormant))

    def history(self):
        found = []
        for user in self.asked:
            own = self.all.filter(person == self.persons[user]).sort(time, descending=True).head(200)
            found += self.payload[own.collect()["place"]].rows()
        return [row[:1] for row in found]


def rows(frame, engine="streaming"):
    return frame.collect(engine=engine).rows()
