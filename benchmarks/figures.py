"""Figures as every bench prints them: one JSON line each, and the disk's own word where it matters."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path


def say(bench: str, figure: str, value: float, unit: str) -> None:
    """Plain names are ours and have a goal; a peer's end in its name."""
    print(json.dumps({"bench": bench, "figure": figure, "value": round(value, 3), "unit": unit}), flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` 0.95 for p95."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def quick(description: str) -> bool:
    """Whether --quick was asked for: the fixed sample that script/test runs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a small fixed sample; the goals hold without it")
    return bool(parser.parse_args().quick)


def fdatasync_ms(directory: Path, *, count: int = 200) -> list[float]:
    """How long this disk takes to append 4 KiB and sync it, in this very run."""
    block, taken = b"\0" * 4096, []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(count):
            started = time.perf_counter()
            os.write(file.fileno(), block)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - started) * 1000)
    return taken
