"""The benchmark runs to its end and prints the contract's lines; its figures are judged where it is run by hand."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.gate_device import ROOT

pytestmark = pytest.mark.flow


def test_the_quick_sample_of_the_verdict_bench() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.verdict", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = {row["figure"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert all(row["bench"] == "verdict" and row["value"] >= 0 for row in rows.values())
    assert {"p50_ms", "p99_ms", "fdatasync_p99_ms", "p50_ms_pyzbar"} <= rows.keys()
    assert rows["p50_ms"]["unit"] == "ms"
    assert rows["scans"]["value"] + rows["decode_misses"]["value"] == 60
