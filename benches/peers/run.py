#!/usr/bin/env python3
"""Asks the crate, DuckDB, ClickHouse, Polars and SQLite the same questions of the same data: see README.md."""

import argparse
import datetime
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

SYSTEMS = {"customerdb": "customerdb", "duck": "DuckDB", "click": "ClickHouse", "polar": "Polars", "lite": "SQLite"}
# Those whom the crate is held against; SQLite stands beside them.
RIVALS = ["duck", "click", "polar"]
QUESTIONS = {
    "scan_count": "one event's count, weekly",
    "scan_people": "one event's people, weekly",
    "scan_sum": "one event's sum of a property, weekly",
    "views": "≥ 5 views in 90 days",
    "orders": "≥ 3 orders in 30 days, country CN",
    "funnel": "funnel of 3 steps in 7 days",
    "retention": "weekly retention",
    "rfm": "RFM quintiles",
    "trend": "daily trend by a property",
    "lifecycle": "daily lifecycle",
    "history": "200 latest events of each of some people",
}


class Side:
    """A system in a process of its own, which answers a line with a line."""

    def __init__(self, name, folder):
        crate = ["cargo", "bench", "--quiet", "--bench", "peers", "--", "serve", folder]
        command = crate if name == "customerdb" else [sys.executable, HERE / "peer.py", name, folder]
        self.name, self.seconds, self.peak = name, {}, 0
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question):
        """The answer, `None` if it has none; its seconds are kept."""
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{SYSTEMS[self.name]} ended over {question!r}")
        told = json.loads(line)
        if told["seconds"] is not None:
            self.seconds.setdefault(question, []).append(told["seconds"])
        self.peak = told["peak"]
        return told["answer"]

    def median(self, question):
        return statistics.median(self.seconds[question]) if question in self.seconds else None


def agree(question, answers):
    """Ends the run, with the difference, unless all answers are those of the crate."""
    rows = {name: sorted(map(tuple, rows)) for name, rows in answers.items() if rows is not None}
    own = rows["customerdb"]
    for name, theirs in rows.items():
        if theirs != own:
            lacking, surplus = sorted(set(own) - set(theirs)), sorted(set(theirs) - set(own))
            print(f"{question}: {SYSTEMS[name]} does not agree with the crate", file=sys.stderr)
            print(f"  only the crate: {lacking[:5]} ({len(lacking)} rows)", file=sys.stderr)
            print(f"  only {SYSTEMS[name]}: {surplus[:5]} ({len(surplus)} rows)", file=sys.stderr)
            sys.exit(1)


def table(sides, events, sizes):
    def row(label, cells, ratio):
        print("| " + " | ".join([label, *cells, ratio]) + " |")

    def shown(value, unit):
        return "–" if value is None else f"{value:,.1f}{unit}" if value < 10 else f"{value:,.0f}{unit}"

    row("", list(SYSTEMS.values()), "customerdb to the best of DuckDB, ClickHouse, Polars")
    row("---", ["---:"] * len(SYSTEMS), "---:")
    speeds = {name: side.median("load") and events / side.median("load") for name, side in sides.items()}
    unique = f"{speeds['customerdb'] / speeds['duck']:.2f} × DuckDB, {speeds['customerdb'] / speeds['lite']:.2f} × SQLite"
    row("load, events a second", [shown(speeds[name], "") for name in SYSTEMS], unique)
    mib = {name: size and size / 2**20 for name, size in sizes.items()}
    row("size after it", [shown(mib[name], " MiB") for name in SYSTEMS], f"{mib['customerdb'] / mib['lite']:.2f} × SQLite")
    row("prepared after it in", [shown(side.median("prepare"), " s") for side in sides.values()], "")
    for question, label in QUESTIONS.items():
        millis = {name: side.median(question) and side.median(question) * 1_000 for name, side in sides.items()}
        best = min(millis[name] for name in RIVALS)
        ratio = f"{best / millis['customerdb']:.2g} ×"
        if question == "history":
            ratio += f", {millis['lite'] / millis['customerdb']:.2g} × SQLite"
        row(label, [shown(millis[name], " ms") for name in SYSTEMS], ratio)
    row("peak memory", [shown(side.peak / 2**20, " MiB") for side in sides.values()], "")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="how many events, of a tenth as many people")
    parser.add_argument("--rounds", type=int, default=5, help="how often each question is timed, after once untimed")
    parser.add_argument("--loads", type=int, default=1, help="how often each loads")
    parser.add_argument("--folder", type=Path, default=ROOT / "target" / "peers", help="where the data and databases lie")
    options = parser.parse_args()
    folder = options.folder.resolve() / str(options.events)
    folder.mkdir(parents=True, exist_ok=True)

    subprocess.run(["cargo", "bench", "--bench", "peers", "--no-run"], cwd=ROOT, check=True)
    if not (folder / "asked.json").exists():
        say(f"writes {options.events:,} events")
        generate = ["cargo", "bench", "--quiet", "--bench", "peers", "--", "generate", str(options.events), folder]
        subprocess.run(generate, cwd=ROOT, check=True)

    sides = {name: Side(name, folder) for name in SYSTEMS}
    for turn in range(options.loads):
        for side in sides.values():
            say(f"load {turn + 1} of {options.loads}: {SYSTEMS[side.name]}")
            loaded = side.ask("load")
            if loaded not in (None, [[options.events]]):
                sys.exit(f"{SYSTEMS[side.name]} has loaded {loaded} events")
    sizes = {}
    for side in sides.values():
        if side.name == "polar":
            # It reads what DuckDB has prepared, and that is its file.
            side.ask("prepare")
        sizes[side.name] = side.ask("size")
        if side.name != "polar":
            say(f"people, types and indices: {SYSTEMS[side.name]}")
            side.ask("prepare")

    for turn in range(options.rounds + 1):
        say(f"round {turn} of {options.rounds}")
        for question in QUESTIONS:
            agree(question, {side.name: side.ask(question) for side in sides.values()})
        if turn == 0:
            for side in sides.values():
                before = ("load", "prepare")
                side.seconds = {name: side.seconds[name] for name in before if name in side.seconds}

    peers = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "chdb", "polars"))
    print(f"{options.events:,} events of {options.events // 10:,} people; medians of {options.rounds} rounds; "
          f"{datetime.date.today()}; {machine()}; {peers}; SQLite {sqlite3.sqlite_version}\n")
    asked = f"--events {options.events} --rounds {options.rounds} --loads {options.loads}"
    print(f"`python benches/peers/run.py {asked}`\n")
    table(sides, options.events, sizes)
    for side in sides.values():
        side.process.stdin.close()
        side.process.wait()


def machine():
    models = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} × {models[0] if models else '?'}, {memory:.0f} GiB"


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
