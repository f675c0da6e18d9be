"""kill -9 at any moment of a sale: nobody pays for nothing, nobody gets something for nothing, nothing is printed unasked."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import cv2
import pytest
import zxingcpp

from tests.support.counter import ROOT, counter

pytestmark = pytest.mark.flow

KILLS = 8


class Till:
    def __init__(self, desk, *, buy: bool) -> None:
        arguments = [sys.executable, "-m", "tests.support.till", str(desk.device.state.path), str(desk.device.run_dir)]
        self.process = subprocess.Popen(
            [*arguments, str(desk.port_of["terminal"]), *(["buy"] if buy else [])],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def wait(self, word: str) -> None:
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"the till ended before it said '{word}'")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def test_killed_at_any_moment_the_money_still_adds_up(tmp_path):
    moments = random.Random(20261123)
    with counter(tmp_path) as desk:
        for kill in range(KILLS):
            till = Till(desk, buy=True)
            till.wait("asked")
            time.sleep(moments.uniform(0, 0.75) * (kill + 1) / KILLS)
            till.kill()
            cleared = Till(desk, buy=False)
            cleared.wait(
                "open"
            )  # the spool, alive all the time, may have printed on until the new run announced itself
            printed_before = len(desk.papers())
            settle(desk)
            cleared.kill()
            check(desk, printed_before)
        ended = {row["event"] for row in map(json.loads, desk.ledger_file.read_text().splitlines())}
        assert "stored" in ended, "at least one kill came after the charge; otherwise this shows nothing"


def settle(desk) -> None:
    """Until no attempt is open and no paper waits: what `open` promises for the card, and the spool's last part."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with desk.device.journal.read() as connection:
            waiting = connection.exec_driver_sql(
                "SELECT count(*) FROM print_part WHERE state IN ('queued', 'sending', 'in_doubt', 'reissued')"
            ).scalar_one()
        if waiting == 0:
            return
        time.sleep(0.05)
    raise AssertionError(f"{waiting} papers still wait for a ruling")


def check(desk, printed_before: int) -> None:
    assert desk.charged_minor() == desk.sold_minor(), "what the terminal holds is the price of the sales that stand"
    sales = {row["order"]: row for row in desk.operations("sale")}
    reversed_orders = {row["order"] for row in desk.operations("sale_reversed")}
    owed = {ticket for row in desk.operations("owed") for ticket in row["tickets"]}
    with desk.device.journal.read() as connection:
        parts = connection.exec_driver_sql("SELECT job, seq, state FROM print_part ORDER BY job, seq").all()
    confirmed = {(job.removesuffix("-tickets"), seq) for job, seq, state in parts if state == "confirmed"}
    for order, sale in sales.items():
        for seq, ticket in enumerate(sale["tickets"], start=1):
            if order in reversed_orders:
                assert (order, seq) not in confirmed, "a ticket of a reversed sale is on paper"
            else:
                assert ((order, seq) in confirmed) != (ticket["ticket"] in owed), "each paid ticket is on paper or owed"
    codes = [
        found for paper in desk.papers()[printed_before:] if (found := zxingcpp.read_barcodes(cv2.imread(str(paper))))
    ]
    assert len(codes) <= 1, "the coupon being printed may finish; no other starts by itself (a claim slip has no code)"
