"""A stuck payment keeps the card reader closed until a named person has said what they found."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from kiosk.payment.attempt import State
from kiosk.payment.contract import AttemptId, Evidence, Outcome
from kiosk.visit import event
from tests.support.counter import ROOT, counter

pytestmark = pytest.mark.flow


def kaisatsu(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "config", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def stuck(desk) -> str:
    """An attempt that nobody can decide: the terminal was exchanged for another one while it was open."""
    desk.start_engine()
    desk.wait_open()
    desk.program("terminal").tell({"do": "fault", "spec": "lost-before-completion"})
    desk.buy()
    assert isinstance(desk.outcome(), event.Unknown)
    desk.kill("terminal")
    desk.engine.stop()
    with desk.device.journal.read() as connection:
        attempt = connection.exec_driver_sql("SELECT attempt_id FROM payment_event LIMIT 1").scalar_one()
    from kiosk.sale.by_hand import ledger_of

    gone = Evidence(outcome=Outcome.UNKNOWN, code="terminal_exchanged", attempt_id=AttemptId(attempt))
    ledger_of(desk.device.state).step(AttemptId(attempt), State.STUCK, gone)
    desk.ledger_file.unlink()
    desk.start_terminal([])
    return attempt


def test_a_person_s_word_settles_it_and_the_next_guest_pays(tmp_path):
    with counter(tmp_path) as desk:
        attempt = stuck(desk)
        desk.start_engine()
        deadline = time.monotonic() + 10
        while not any(row["state"] == "stuck" for row in desk.operations("payment_doubt")):
            assert time.monotonic() < deadline, "the hub must hear that it is stuck"
            time.sleep(0.05)
        state = ("--state", str(desk.device.state.path))
        (listed,) = [json.loads(line) for line in kaisatsu("payment", "list", *state).stdout.splitlines()]
        assert (listed["attempt"], listed["state"], listed["amount_minor"]) == (attempt, "stuck", 7500)
        kept = kaisatsu("payment", "rule", attempt, "kept", "--by", "Tanaka", "--why", "x", *state)
        assert kept.returncode == 2
        assert len(kept.stderr.strip().splitlines()) == 1
        done = kaisatsu("payment", "rule", attempt, "refunded", "--by", "Tanaka", "--why", "in cash, slip 12", *state)
        assert done.returncode == 0, done.stderr
        assert desk.states()[-1] == "reversed"
        assert desk.operations("payment_doubt")[-1]["state"] == "not_paid"
        assert kaisatsu("payment", "list", *state).stdout == ""
        desk.situation = None
        desk.wait_open()
        desk.buy()
        assert isinstance(desk.outcome(), event.Paid)
        desk.wait(event.Printed)


def test_wrong_words_are_one_line(tmp_path):
    with counter(tmp_path) as desk:
        state = ("--state", str(desk.device.state.path))
        for words in (
            ("payment", "rule", "nobody", "refunded", "--by", "T", "--why", "x", *state),
            ("payment", "rule", "nobody", "lost", "--by", "T", "--why", "x", *state),
            ("payment", "list", "--state", str(tmp_path / "nowhere")),
        ):
            done = kaisatsu(*words)
            assert done.returncode == 2
            assert len(done.stderr.strip().splitlines()) == 1, done.stderr
