"""Claims: how many a second, how soon, and never one too many.

    python -m benchmarks.claims [--quick]

Eight gates and one arbiter on this machine, clients included. `claims_per_s_*`: processes with the gates' own claim client and signed
line, one claim after another each, fresh tickets, every answer durable before it is given; SQLite with one process, PostgreSQL with two
workers. `claim_p99_ms` at 50 a second, arriving at random. Then the contended part (benchmarks/_claims_contended.py): whole gates but
for camera and screen, tickets and 10-ride books, known to the arbiter and not, half of them of a product that nobody is let in on without
its word, while arbiter and gates are killed and lines are cut, blackholed and cut one way. Goals: `claims_per_s` >= 800, `claim_p99_ms` <=
20; `kills` >= 200, `partitions` >= 100, `double_admissions` 0, `overdrawn_books` 0, `excess_unreported` 0, `reported_falsely` 0, `uses_lost` 0.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import _claims_gate
from benchmarks._claims_contended import Story
from benchmarks._claims_venue import TLS, Venue, processes, quiet, sold, venue_in
from benchmarks.figures import percentile, quick, say

BENCH = "claims"
GATES = 8
WORKERS = 2
GOALS_NONE = ("double_admissions", "overdrawn_books", "excess_unreported", "reported_falsely", "uses_lost")


def asked(venue: Venue, *, each: int, every_s: float, workers: int) -> tuple[float, list[float], int]:
    """(claims a second, milliseconds of each, how many were not granted) of eight gates at once."""
    arbiter = venue.arbiter(workers=workers)
    arbiter.start()
    running = []
    for state in venue.gates:
        near, far = processes.Pipe()
        tickets = sold(venue, count=each, uses=1)
        arguments = (far, state.path, venue.url(arbiter.port), venue.pin, tickets, every_s)
        process = processes.Process(target=_claims_gate.ask_many, args=arguments, daemon=True)
        process.start()
        running.append((process, near))
    for _, pipe in running:
        pipe.recv()
    for _, pipe in running:
        pipe.send("go")
    told: list[Any] = [pipe.recv() for _, pipe in running]
    for process, _ in running:
        process.join(10)
    arbiter.stop()
    taken = [value for values, *_ in told for value in values]
    took_s = max(row[3] for row in told) - min(row[2] for row in told)
    return len(taken) / took_s, taken, sum(row[1] for row in told)


@contextmanager
def engine(name: str, folder: Path) -> Iterator[Venue]:
    """A fresh venue on SQLite or on a PostgreSQL server of our own."""
    if name == "sqlite":
        yield venue_in(folder, f"sqlite:///{folder}/hub.db", gates=GATES)
        return
    from tests.support import postgres

    server = postgres.Server()
    try:
        venue = venue_in(folder, server.url(server.fresh()), gates=GATES)
        yield venue
        venue.node.engine.dispose()
    finally:
        server.stop()


def contend(
    venue: Venue, *, kills: int, partitions: int, scans: int, workers: int, seed: int, mutant: str = ""
) -> dict[str, int]:
    arbiter = venue.arbiter(workers=workers, mutant=mutant)
    story = Story(venue, arbiter, seed=seed)
    story.play(kills=kills, partitions=partitions, scans=scans)
    arbiter.stop()
    return story.judge()


def main() -> int:
    small = quick(str(__doc__).splitlines()[0])
    quiet()
    rates: dict[str, float] = {}
    slowest: list[float] = []
    sums: Counter[str] = Counter()
    say(BENCH, "tls", int(TLS), "yes")
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:  # the disk we live on
        for name in ("sqlite", "postgresql"):
            workers = 1 if name == "sqlite" else WORKERS
            with engine(name, Path(folder) / name) as venue:
                rate, taken, lost = asked(venue, each=60 if small else 600, every_s=0, workers=workers)
                rates[name] = rate
                say(BENCH, f"claims_per_s_{name}", rate, "claims/s")
                say(BENCH, f"claim_busy_p99_ms_{name}", percentile(taken, 0.99), "ms")
                _, paced, silent = asked(venue, each=8 if small else 90, every_s=GATES / 50, workers=workers)
                slowest.append(percentile(paced, 0.99))
                say(BENCH, f"claim_p50_ms_{name}", percentile(paced, 0.50), "ms")
                say(BENCH, f"claim_p99_ms_{name}", slowest[-1], "ms")
                if lost + silent:
                    raise SystemExit(f"{BENCH}: {lost + silent} claims were not granted")
                share = 0.6 if name == "sqlite" else 0.4
                begun = time.monotonic()
                found = contend(
                    venue,
                    kills=round((20 if small else 205) * share),
                    partitions=round((12 if small else 105) * share),
                    scans=round((500 if small else 6000) * share),
                    workers=workers,
                    seed=len(name),
                )
                say(BENCH, f"contended_{name}_s", time.monotonic() - begun, "s")
                sums.update(found)
    say(BENCH, "claims_per_s", min(rates.values()), "claims/s")
    say(BENCH, "claim_p99_ms", max(slowest), "ms")
    for figure in ("scans", "green_lights", "confirmed_units", "excess", "kills", "partitions", *GOALS_NONE):
        say(BENCH, figure, sums[figure], "")
    return 1 if any(sums[figure] for figure in GOALS_NONE) else 0


if __name__ == "__main__":
    sys.exit(main())
