"""What the peers share: where the data are, and the loop in which a peer answers `run.py`.

Each peer runs in a process of its own, so that its memory is its own: `python peer.py duck FOLDER` reads the name of a
question a line, and answers each with a line of JSON, as the crate does. A peer is a class with `load`, which takes the
events in and is timed; `prepare`, which gives it what its users would have (a person in each row, typed columns, the
latest traits) and is not; `size` in bytes; and a method for each question, which returns rows.
"""

import importlib
import json
import resource
import shutil
import sys
import time
from pathlib import Path

DAY = 86_400_000
WEEK = 7 * DAY
END = 1_767_225_600_000  # the crate's clock: 2026-01-01T00:00:00Z
# The first of January 1970 is a Thursday: weeks from Monday begin three days before.
TO_MONDAY = 3 * DAY
NAMES = ["$identify", "$page", "Search", "Product Viewed", "Product Added", "Order Completed"]


class Peer:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.events = self.folder / "events.jsonl"
        self.people = self.folder / "people.csv"
        self.asked = json.loads((self.folder / "asked.json").read_text())

    def clear(self, *names):
        """Deletes what an earlier load left, and gives the first path."""
        for path in map(self.folder.joinpath, names):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return self.folder / names[0]


def serve(peer):
    for line in sys.stdin:
        question = line.strip()
        answer = getattr(peer, question, None)
        if answer is None:
            seconds, rows = None, None
        else:
            begin = time.perf_counter()
            rows = answer()
            seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "answer": rows, "peak": peak}), flush=True)


if __name__ == "__main__":
    sys.modules["peer"] = sys.modules["__main__"]
    serve(importlib.import_module(sys.argv[1]).This(sys.argv[2]))
