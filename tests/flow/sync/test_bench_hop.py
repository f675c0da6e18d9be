"""The bench of the wire runs to its end, over real TLS; its figures are judged where it is run by hand."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.flow.sync.processes import ROOT

pytestmark = pytest.mark.flow


def test_the_quick_sample_of_the_hop_bench() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.hop", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = {row["figure"]: row["value"] for row in map(json.loads, done.stdout.splitlines())}
    assert {"claims_per_s", "claim_p99_ms", "claim_server_cpu_us", "claim_client_cpu_us"} <= rows.keys()
    assert rows["sign_us"] < rows["sign_library_us"]
    assert rows["verify_us"] < rows["verify_library_us"]
