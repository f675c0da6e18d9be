"""The run-time directory's disk is full: no daemon dies of a health row that cannot be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import os, sys, time
from pathlib import Path
from sync.service.health import Board, Health, State
from sync.service import log
from tickets.clock import SystemClock
log.configure("test")
folder, clock = Path(sys.argv[1]), SystemClock()
filler = folder / "filler"

def fill():
    with filler.open("wb") as file:
        while True:
            try:
                os.write(file.fileno(), bytes(4096))
            except OSError:
                return

def publish(board, count):
    for number in range(count):
        board.publish(Health("hub", State.OK, clock.now_utc(), facts={"why": "x" * 3000, "number": number}))

fill()
late = Board(folder / "health.db")
publish(late, 5)
assert late.parts() == [] and late.read("hub", now=clock.now_utc(), age_s_max=9).state is State.UNKNOWN
filler.unlink()
publish(late, 5)
assert late.read("hub", now=clock.now_utc(), age_s_max=9).facts["number"] == 4
fill()
publish(late, 2000)
late.parts()
filler.unlink()
publish(late, 7)
assert late.read("hub", now=clock.now_utc(), age_s_max=9).facts["number"] == 6
late.close()
"""


def test_a_row_that_cannot_be_written_is_told_once_and_tried_again(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(place), sys.executable, "-c", CHILD, str(place)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no name space for a small file system here ({done.stderr.strip()[:80]})")
    assert done.returncode == 0, done.stderr
    said = [(row["event"], row["what"]) for row in map(json.loads, done.stderr.splitlines())]
    assert said.count(("health_unusable", "write")) == 2, "once each time the disk was full"
    assert said.count(("health_usable", "write")) == 2
    assert len(said) <= 10
