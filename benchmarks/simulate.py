"""A venue's real code under a thousand seeds, and what became of every promise; then mutants of that code, each of which must be caught.

    python -m benchmarks.simulate [--seeds N] [--quick] [--seed K [--trace]] [--mutant NAME] [--find]

Two kiosks, two gates, a hub and in one seed of four two venue nodes over a simulated line, clocks and disks (tests/simulation); crashes, power loss, cuts, late and doubled
messages, wrong clocks, a restored hub, a restored gate, cancelled tickets, revoked kiosks. `violations` and `mutants_escaped` are 0. A seed
replays exactly: `--seed K --trace` prints what happened in it. A mutant meets first the seed that caught it last, and others only if
it gets away; `--find` plays the mutants alone and writes down the seeds that caught them (tests/simulation/caught.json).
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.pool
import sys
import time
from collections import Counter
from collections.abc import Iterable

from benchmarks.figures import say
from tests.simulation import venue
from tests.simulation.mutants import MUTANTS, caught, first_to_catch, write_caught

BENCH = "simulate"
SEEDS, SEEDS_QUICK = 1000, 24
CHUNK = 20
PROCESSES = 2


def _chunk(seeds: list[int]) -> tuple[list[tuple[int, list[str]]], int, int, Counter[str]]:
    """(violations by seed, admissions, sales, what went wrong) of some seeds, in a process of its own."""
    broken, admissions, sales, seen = [], 0, 0, Counter[str]()
    with venue.template() as made:
        for seed in seeds:
            outcome = venue.run(seed, made)
            if outcome.violations:
                broken.append((seed, outcome.violations))
            admissions += outcome.admissions
            sales += outcome.sales
            seen += outcome.seen
    return broken, admissions, sales, seen


def _mutant(task: tuple[str, int | None]) -> tuple[str, int | None]:
    name, known = task
    with venue.template() as made:
        return name, first_to_catch(name, made, known=known)


def _run_seeds(pool: multiprocessing.pool.Pool, count: int) -> int:
    chunks = [list(range(count))[start : start + CHUNK] for start in range(0, count, CHUNK)]
    admissions = sales = violations = 0
    seen = Counter[str]()
    for broken, entered, sold, went_wrong in pool.imap_unordered(_chunk, chunks):
        admissions, sales, seen = admissions + entered, sales + sold, seen + went_wrong
        violations += len(broken)
        for seed, lines in broken:
            for line in lines:
                sys.stderr.write(f"seed {seed}: {line}\n")
    say(BENCH, "seeds", count, "seeds")
    say(BENCH, "admissions", admissions, "admissions")
    say(BENCH, "sales", sales, "sales")
    say(BENCH, "violations", violations, "seeds")
    for what in (
        "crashed",
        "power_lost",
        "files_cut",
        "partitions",
        "late",
        "interleaved",
        "interrupted",
        "clock_jumps",
    ):
        say(BENCH, what, seen[what], "events")
    for what in (
        "hub_put_back",
        "disk_put_back",
        "set_aside",
        "cancelled",
        "revoked",
        "given_back",
        "unknown",
        "papers",
        "forgotten",
        "returned",
        "grouped",
        "relayed",
        "hand_overs",
        "nodes_lost",
        "went_round",
    ):
        say(BENCH, what, seen[what], "events")
    return violations


def _run_mutants(pool: multiprocessing.pool.Pool, names: Iterable[str], *, anew: bool) -> int:
    known = caught()
    found: dict[str, int | None] = {}
    for name, seed in pool.imap_unordered(_mutant, [(name, known.get(name)) for name in names]):
        found[name] = seed
        if anew and seed is not None:
            known[name] = seed
            write_caught({name: seed for name, seed in known.items() if name in MUTANTS})
    escaped = sorted(name for name, seed in found.items() if seed is None)
    say(BENCH, "mutants", len(found), "mutants")
    say(BENCH, "mutants_escaped", len(escaped), "mutants")
    for name in escaped:
        sys.stderr.write(f"mutant {name} escaped\n")
    return len(escaped)


def _replay(seed: int, *, trace: bool, mutant: str | None) -> int:
    with venue.template() as made:
        outcome = venue.run(seed, made, traced=trace, mutant=MUTANTS[mutant] if mutant else None)
    for line in outcome.trace:
        print(line)
    for line in outcome.violations:
        print(f"violation: {line}")
    say(BENCH, "violations", len(outcome.violations), "promises")
    return 1 if outcome.violations else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seeds; mutants on the seeds that caught them")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"how many; {SEEDS} without it")
    parser.add_argument("--seed", type=int, metavar="K", help="this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: all that happened, a line each")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="with --seed: under this mutant")
    parser.add_argument("--find", action="store_true", help="look anew for the seeds that catch the mutants")
    given = parser.parse_args()
    if given.seed is not None:
        return _replay(given.seed, trace=given.trace, mutant=given.mutant)
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        wrong = 0 if given.find else _run_seeds(pool, SEEDS_QUICK if given.quick else given.seeds)
        wrong += _run_mutants(pool, MUTANTS, anew=given.find)
    say(BENCH, "took_s", time.monotonic() - began, "s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
