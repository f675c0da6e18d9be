"""Payments over a real wire: whatever the evidence says is what the terminal's own ledger holds."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from kiosk.payment import Health, Outcome, Stage, TerminalLinkError
from kiosk.payment.zvt import HoldMode, Timers
from tickets.money import Money

QUICK = Timers(t3_s=1.0, t4_s=4.0, after_confirm_s=2.0, poll_s=0.02)


@pytest.mark.parametrize("pty", [False, True], ids=["tcp", "pty"])
def test_hold_then_proof(start, pty):
    till = start(pty=pty)
    assert till.terminal.open() is Health.READY
    assert till.terminal.caps.holds
    request = till.request()
    held = till.authorise(request)
    assert held.outcome is Outcome.APPROVED_HELD
    assert till.emulator.charged() == 0, "nothing is charged while we hold"
    proof = till.terminal.confirm(held)
    assert proof.outcome is Outcome.APPROVED_FINAL
    assert (proof.amount, proof.brand, proof.terminal_id) == (Money(3300, "JPY"), "VISA", "28004869")
    assert proof.receipt_no is not None
    assert proof.trace is not None
    assert "CUSTOMER COPY" in proof.customer_receipt
    assert "MERCHANT COPY" in proof.merchant_receipt
    assert proof.masked_id.startswith("*")
    assert till.emulator.charged() == 3300
    assert [event["event"] for event in till.emulator.entries()] == ["authorised", "held", "confirmed", "stored"]
    stages = [progress.stage for progress in till.progress]
    assert stages[0] is Stage.CONNECTING
    assert Stage.INSERT_CARD in stages
    assert Stage.PROCESSING in stages
    assert not till.progress[-1].may_cancel
    assert till.query(request, proof).outcome is Outcome.APPROVED_FINAL


def test_many_payments_add_up(start):
    till = start()
    for amount in (100, 3300, 3300, 50):
        till.paid(amount)
    assert till.emulator.charged() == 6750
    assert till.terminal.totals().total == Money(6750, "JPY")
    assert till.terminal.totals().by_brand == {"Visa": (4, Money(6750, "JPY"))}


def test_void_leaves_no_charge(start):
    till = start()
    request = till.request()
    voided = till.terminal.void(till.authorise(request))
    assert (voided.outcome, voided.code) == (Outcome.NOT_CHARGED, "voided")
    assert till.emulator.charged() == 0
    assert till.query(request, voided).outcome is Outcome.NOT_CHARGED
    till.paid()
    assert till.emulator.charged() == 3300


def test_a_hold_is_kept_alive_and_then_confirmed(start):
    till = start(timers=replace(QUICK, hold_extend_after_s=0.1))
    held = till.authorise(till.request())
    till.emulator.wait_for("frame", dir="in", name="negative acknowledgement 9C")
    till.emulator.wait_for("frame", dir="in", name="negative acknowledgement 9C")
    proof = till.terminal.confirm(held)
    assert proof.outcome is Outcome.APPROVED_FINAL
    assert till.emulator.charged() == 3300


def test_a_hold_that_nobody_decides_is_refused_by_the_driver(start):
    till = start(timers=replace(QUICK, hold_extends_max=1, hold_extend_after_s=0.2))
    request = till.request()
    held = till.authorise(request)
    till.emulator.wait_for("frame", dir="in", name="negative acknowledgement 66")
    late = till.terminal.confirm(held)
    assert (late.outcome, late.code) == (Outcome.NOT_CHARGED, "hold_expired")
    assert till.emulator.charged() == 0
    assert till.query(request, late).outcome is Outcome.NOT_CHARGED


def test_confirm_without_a_hold_is_no_proof(start):
    till = start()
    _, proof = till.paid()
    assert till.terminal.confirm(proof).outcome is Outcome.UNKNOWN
    assert till.terminal.void(proof).outcome is Outcome.UNKNOWN
    assert till.emulator.charged() == 3300


def test_nothing_else_is_asked_while_a_hold_stands(start):
    till = start()
    request = till.request()
    held = till.authorise(request)
    assert till.terminal.authorise(request, till.progress.append).outcome is Outcome.NOT_CHARGED
    assert till.terminal.query(request, seen=held).outcome is Outcome.IN_PROGRESS
    assert till.terminal.health() is Health.BUSY
    with pytest.raises(TerminalLinkError):
        till.terminal.baseline()
    with pytest.raises(TerminalLinkError):
        till.terminal.end_of_day()
    assert till.terminal.confirm(held).outcome is Outcome.APPROVED_FINAL
    assert till.emulator.charged() == 3300


def test_closing_refuses_a_hold(start):
    till = start()
    request = till.request()
    till.authorise(request)
    till.terminal.close()
    assert till.query(request).outcome is Outcome.NOT_CHARGED
    assert till.emulator.charged() == 0


@pytest.mark.parametrize(
    ("fault", "outcome", "code"),
    [
        ("decline=05", Outcome.DECLINED, "zvt_result_05"),
        ("decline=71", Outcome.DECLINED, "zvt_result_71"),
        ("cancel", Outcome.CANCELLED, "zvt_result_6c"),
        ("busy", Outcome.NOT_CHARGED, "terminal_busy"),
        ("not-supported=0601", Outcome.NOT_CHARGED, "not_supported"),
        ("needs-eod", Outcome.NOT_CHARGED, "zvt_result_f0"),
    ],
)
def test_no_charge_and_it_says_so(start, fault, outcome, code):
    till = start("--fault", fault)
    request = till.request()
    ended = till.authorise(request)
    assert (ended.outcome, ended.code) == (outcome, code)
    assert till.query(request, ended).outcome is Outcome.NOT_CHARGED
    assert till.emulator.charged() == 0
    if fault != "needs-eod":
        till.paid()
        assert till.emulator.charged() == 3300


def test_guest_cancels_at_the_kiosk(start):
    till = start("--attended")
    request = till.request()
    pressed = threading.Event()

    def watch(progress):
        if progress.stage is Stage.INSERT_CARD:
            till.terminal.cancel()
            pressed.set()

    ended = till.terminal.authorise(request, watch)
    assert pressed.is_set()
    assert ended.outcome is Outcome.CANCELLED
    assert till.emulator.charged() == 0


def test_deadline_asks_the_terminal_to_stop(start):
    till = start("--attended")
    request = till.request(deadline_s=1)
    assert till.authorise(request).outcome is Outcome.CANCELLED
    assert till.emulator.charged() == 0


def test_cancel_after_the_host_was_asked_changes_nothing(start):
    till = start()
    request = till.request()

    def watch(progress):
        if not progress.may_cancel and progress.stage is Stage.PROCESSING:
            till.terminal.cancel()

    held = till.terminal.authorise(request, watch)
    assert held.outcome is Outcome.APPROVED_HELD
    assert till.terminal.confirm(held).outcome is Outcome.APPROVED_FINAL
    assert till.emulator.charged() == 3300


def test_terminal_absent(start):
    till = start()
    request = till.request()
    till.emulator.end()
    assert till.terminal.health() is Health.OFFLINE
    ended = till.authorise(request)
    assert (ended.outcome, ended.code) == (Outcome.NOT_CHARGED, "terminal_absent")
    with pytest.raises(TerminalLinkError):
        till.terminal.baseline()
    doubt = till.terminal.query(request, seen=None)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "terminal_absent")
    till.emulator.start()
    assert till.terminal.open() is Health.READY
    till.paid()


def test_wrong_currency_is_not_even_sent(start):
    till = start(currency="EUR")
    with pytest.raises(TerminalLinkError, match="registration refused"):
        till.request()


def test_end_of_day(start):
    till = start()
    _, proof = till.paid()
    assert till.terminal.end_of_day().total == Money(3300, "JPY")
    assert till.terminal.totals().total == Money(0, "JPY")
    refused = till.terminal.reverse(proof, key="k")
    assert (refused.outcome, refused.code) == (Outcome.APPROVED_FINAL, "zvt_result_b5")


def test_needs_end_of_day(start):
    till = start("--fault", "needs-eod")
    assert till.terminal.open() is Health.NEEDS_END_OF_DAY
    till.terminal.end_of_day()
    assert till.terminal.health() is Health.READY


@pytest.mark.parametrize("fault", ["banner", "split", "glue", "slow=30"])
def test_a_wire_with_manners_of_its_own(start, fault):
    till = start("--fault", fault)
    request = till.request()
    held = till.authorise(request)
    proof = till.terminal.confirm(held)
    assert proof.outcome is Outcome.APPROVED_FINAL
    assert till.query(request, proof).outcome is Outcome.APPROVED_FINAL
    assert till.emulator.charged() == 3300


def test_print_lines_instead_of_blocks(start):
    till = start(text_blocks=False)
    _, proof = till.paid()
    assert "CUSTOMER COPY" in proof.customer_receipt
    assert "MERCHANT COPY" in proof.merchant_receipt


def test_a_terminal_that_does_not_hold_charges_at_once(start):
    till = start(hold=HoldMode.NEVER)
    request = till.request()
    proof = till.authorise(request)
    assert proof.outcome is Outcome.APPROVED_FINAL
    assert "CUSTOMER COPY" in proof.customer_receipt
    assert till.emulator.charged() == 3300


def test_wrong_amount_is_nobodys_payment(start):
    till = start("--fault", "wrong-amount")
    request = till.request()
    doubt = till.authorise(request)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "foreign_status")
    # Unanswered, the terminal takes it back by itself; that it failed and that the sums stand still proves it.
    assert till.query(request).outcome is Outcome.NOT_CHARGED
    assert till.emulator.charged() == 0


def test_wrong_amount_that_the_terminal_keeps_is_for_a_person(start):
    till = start("--fault", "wrong-amount", "--personality", "keep")
    request = till.request()
    assert till.authorise(request).outcome is Outcome.UNKNOWN
    found = till.query(request)
    assert (found.outcome, found.code) == (Outcome.UNKNOWN, "amount_differs")
    assert till.emulator.charged() == 3301


@pytest.mark.parametrize("fault", ["bad-crc@frame=8", "no-ack@frame=8", "bad-crc@frame=20", "no-ack@frame=20"])
def test_serial_noise_is_repaired(start, fault):
    till = start("--fault", fault, pty=True)
    request = till.request()
    proof = till.terminal.confirm(till.authorise(request))
    assert proof.outcome is Outcome.APPROVED_FINAL
    assert till.query(request, proof).outcome is Outcome.APPROVED_FINAL
    assert till.emulator.charged() == 3300
