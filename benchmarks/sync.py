"""Replication between devices and hub: bootstrap, deltas, uploads, a backlog over a slow line, and a feed under concurrent writers.

Each part stands in a file of its own with the conditions it is measured under. SQLite and a PostgreSQL server of our own are both
measured; the machine's cores are shared by hub, database and whoever asks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import _sync_feed, _sync_snapshot, _sync_uploads
from benchmarks.figures import fdatasync_ms, percentile, quick
from benchmarks.figures import say as say_figure
from sync.service import log


def main() -> int:
    is_quick = quick(__doc__ or "")
    log.configure("bench-sync")  # standard output is for figures alone
    found: dict[str, float] = {}
    for row in _parts(is_quick=is_quick):
        found[row["figure"]] = float(row["value"])
        say_figure("sync", row["figure"], found[row["figure"]], row.get("unit", _unit(row["figure"])))
    with tempfile.TemporaryDirectory(prefix="kaisatsu-bench-") as directory:
        say_figure("sync", "fdatasync_p99_ms", percentile(fdatasync_ms(Path(directory)), 0.99), "ms")
    # Speed is judged by who reads the figures; a row that was missed is an error on any machine.
    return 0 if found["feed_missed"] == 0 and found["naive_missed"] > 0 else 1


def _parts(*, is_quick: bool) -> Iterator[dict[str, Any]]:
    yield from _sync_snapshot.run(quick=is_quick)
    yield from _sync_feed.run(quick=is_quick)
    yield from _sync_uploads.run(quick=is_quick)


def _unit(figure: str) -> str:
    endings = {"_ms": "ms", "_s": "s", "_mb": "MB"}
    return next((unit for ending, unit in endings.items() if figure.endswith(ending)), "count")


if __name__ == "__main__":
    raise SystemExit(main())
