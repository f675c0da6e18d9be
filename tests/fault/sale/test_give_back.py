"""A sale of which nothing was printed goes back whole after a restart, whatever the terminal does meanwhile."""

from __future__ import annotations

import time

import pytest

from kiosk.visit import effect, event
from tests.support.counter import counter

pytestmark = pytest.mark.flow


def until(so, what: str, *, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def paid_and_nothing_printed(desk) -> None:
    """The spool is gone just after it said that all is well: the guest pays, no byte is sent, the power goes."""
    desk.start_engine()
    desk.wait_open()
    desk.kill("spool")
    desk.buy()
    assert isinstance(desk.outcome(), event.Paid)
    desk.engine.stop()
    assert desk.charged_minor() == desk.sold_minor() == 7500


def test_with_the_terminal_there(tmp_path):
    with counter(tmp_path) as desk:
        paid_and_nothing_printed(desk)
        desk.start_engine()
        until(lambda: desk.operations("sale_reversed"), "the sale was not taken back")
        assert desk.charged_minor() == desk.sold_minor() == 0
        assert desk.operations("owed") == []
        desk.start_spool()
        desk.situation = None
        desk.wait_open()
        assert desk.papers() == []


def test_with_the_terminal_starting_after_the_kiosk(tmp_path):
    with counter(tmp_path) as desk:
        paid_and_nothing_printed(desk)
        desk.kill("terminal")
        desk.start_engine()
        desk.start_spool()
        time.sleep(1.0)  # long enough for the first clearing up to find the terminal away
        assert desk.operations("owed") == [], "money that is to go back must not become tickets"
        assert desk.papers() == []
        desk.start_terminal([])
        until(lambda: desk.operations("sale_reversed"), "the sale was not taken back")
        assert desk.charged_minor() == desk.sold_minor() == 0
        assert desk.operations("owed") == []
        desk.situation = None
        desk.wait_open()
        desk.buy([(1, 1, None)])
        assert isinstance(desk.outcome(), event.Paid), "the terminal is free for the next guest"
        desk.wait(event.Printed)
        assert desk.charged_minor() == desk.sold_minor() == 1800


def test_with_the_reversal_s_answer_lost(tmp_path):
    """The terminal is killed the moment it is asked to reverse; whatever it did, its ledger and ours agree in the end."""
    with counter(tmp_path) as desk:
        paid_and_nothing_printed(desk)
        desk.program("terminal").tell({"do": "fault", "spec": "no-answer=0630"})
        desk.start_engine()
        until(lambda: "reversal_sent" in desk.states(), "no reversal was sent")
        desk.kill("terminal")
        desk.start_terminal([])
        until(lambda: desk.operations("sale_reversed"), "the sale was not taken back", timeout_s=60)
        assert desk.charged_minor() == desk.sold_minor() == 0
        assert desk.operations("owed") == []


def test_two_doubts_on_one_order_are_two_slips_and_the_kiosk_goes_on(tmp_path):
    with counter(tmp_path, terminal=["--fault", "lost-after-host-before-status"]) as desk:
        desk.start_engine()
        desk.wait_open()
        desk.buy()
        assert isinstance(desk.outcome(), event.Unknown)
        assert isinstance(desk.outcome(timeout_s=60), event.Declined)
        desk.program("terminal").tell({"do": "fault", "spec": "lost-after-host-before-status"})
        desk.buy()
        assert isinstance(desk.outcome(), event.Unknown)
        assert isinstance(desk.outcome(timeout_s=60), event.Declined)
        desk.buy()
        assert isinstance(desk.outcome(), event.Paid)
        desk.wait(event.Printed)
        assert desk.charged_minor() == desk.sold_minor() == 7500


def test_attempts_that_fail_use_up_no_digits(tmp_path):
    with counter(tmp_path, terminal=["--fault", "decline=05:always"]) as desk:
        desk.start_engine()
        desk.wait_open()
        for _ in range(3):
            desk.buy()
            assert isinstance(desk.outcome(), event.Declined)
        desk.engine.perform(effect.ClearGuest())
        desk.buy([(1, 1, None)])
        assert isinstance(desk.outcome(), event.Declined)
        with desk.device.journal.read() as connection:
            taken = connection.exec_driver_sql("SELECT length, count(*) FROM short_id_taken GROUP BY length").all()
        assert dict(tuple(row) for row in taken) == {6: 3, 8: 10}, "one order's worth, whoever tried how often"
