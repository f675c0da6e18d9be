"""What goes well, what a guest may do, and what the service refuses: each against the service's own ledger."""

from __future__ import annotations

import json
import threading

import pytest
from cloud_rig import agrees

from kiosk.payment import Health, Method, Outcome, TerminalLinkError
from kiosk.payment.square import connect
from tickets.money import Money


def test_a_card_is_held_until_our_word(start):
    till = start()
    request = till.request()
    held = till.authorise(request)
    assert held.outcome is Outcome.APPROVED_HELD
    assert (held.amount, held.brand, held.masked_id, held.entry) == (
        request.amount,
        "VISA",
        "************1111",
        "CONTACTLESS",
    )
    assert (till.service.charged(), till.service.standing()) == (0, 3300)
    assert till.terminal.query(request, seen=held).outcome is Outcome.IN_PROGRESS  # in our hands, nobody lets go of it
    proof = till.terminal.confirm(held)
    assert proof.outcome is Outcome.APPROVED_FINAL
    assert till.service.charged() == 3300
    found = till.ask(request, held)
    assert (found.outcome, found.provider_id, found.amount) == (
        Outcome.APPROVED_FINAL,
        proof.provider_id,
        request.amount,
    )


def test_a_hold_is_voided(start):
    till = start()
    held = till.authorise(till.request())
    assert till.terminal.void(held).outcome is Outcome.NOT_CHARGED
    assert (till.service.charged(), till.service.standing()) == (0, 0)


def test_closing_lets_go_of_a_hold(start):
    till = start()
    till.authorise(till.request())
    till.terminal.close()
    assert (till.service.charged(), till.service.standing()) == (0, 0)


@pytest.mark.parametrize(("method", "brand"), [(Method.FELICA, "FELICA_TRANSPORTATION"), (Method.QR, "PAYPAY")])
def test_e_money_and_qr_are_final_on_approval(start, method, brand):
    till = start()
    _, evidence = till.paid(method)
    assert (evidence.outcome, evidence.brand) == (Outcome.APPROVED_FINAL, brand)
    assert till.service.charged() == 3300
    assert till.terminal.reverse(evidence, key="r1").outcome is Outcome.NOT_CHARGED
    assert till.service.charged() == 0


@pytest.mark.parametrize(
    ("fault", "outcome", "code"),
    [
        ("decline", Outcome.DECLINED, "square_generic_decline"),
        ("buyer-cancels", Outcome.CANCELLED, "cancelled_by_guest"),
        ("timed-out", Outcome.CANCELLED, "timed_out"),
    ],
)
@pytest.mark.parametrize("method", list(Method))
def test_no_payment_and_why(start, fault, outcome, code, method):
    till = start("--fault", fault)
    request = till.request(method)
    evidence = till.authorise(request)
    assert (evidence.outcome, evidence.code) == (outcome, code)
    agrees(till.service, evidence, 3300)
    assert till.ask(request).outcome is Outcome.NOT_CHARGED


def test_the_guest_leaves(start):
    till = start("--fault", "no-guest")
    request = till.request()

    def watch(progress):
        if progress.may_cancel and progress.stage == "follow_terminal":
            threading.Thread(target=till.terminal.cancel).start()

    evidence = till.terminal.authorise(request, watch)
    assert (evidence.outcome, evidence.code) == (Outcome.CANCELLED, "cancelled_by_us")


def test_the_deadline_ends_it(start):
    till = start("--fault", "no-guest")
    evidence = till.authorise(till.request(deadline_s=1))
    assert (evidence.outcome, evidence.code) == (Outcome.CANCELLED, "cancelled_by_us")


def test_the_guest_pays_as_the_checkout_is_cancelled(start):
    till = start("--fault", "no-guest", "--fault", "tap-at-cancel")
    held = till.authorise(till.request(deadline_s=1))
    assert held.outcome is Outcome.APPROVED_HELD
    agrees(till.service, till.terminal.void(held), 3300)


def test_while_e_money_is_touched_nobody_offers_to_cancel(start):
    till = start("--attended")
    request = till.request(Method.FELICA)
    worker = threading.Thread(target=till.authorise, args=(request,))
    worker.start()
    till.service.wait_for("answered", operation="checkout")
    till.service.do(do="tap", brand="FELICA_ID")
    worker.join(10)
    assert [one.may_cancel for one in till.progress if one.stage == "follow_terminal"] in ([], [False])
    assert till.service.charged() == 3300


def test_refunds_in_parts_and_never_twice_under_one_key(start):
    till = start()
    _, proof = till.paid()
    first = till.terminal.refund(proof, amount=Money(1000, "JPY"), key="k1")
    assert (first.outcome, first.code, first.amount) == (Outcome.NOT_CHARGED, "refunded", Money(1000, "JPY"))
    assert till.terminal.refund(proof, amount=Money(1000, "JPY"), key="k1").code == "refunded"
    assert till.service.charged() == 2300
    too_much = till.terminal.refund(proof, amount=Money(2400, "JPY"), key="k2")
    assert (too_much.outcome, too_much.code) == (Outcome.APPROVED_FINAL, "square_refund_amount_invalid")
    assert till.service.charged() == 2300


def test_a_refund_that_is_pending_is_unknown_until_it_has_ended(start):
    till = start("--fault", "refund-pending")
    request, proof = till.paid()
    assert till.terminal.reverse(proof, key="r1").outcome is Outcome.UNKNOWN
    assert till.fresh().query(request, seen=proof).outcome is Outcome.IN_PROGRESS
    assert till.terminal.reverse(proof, key="r2").outcome is Outcome.UNKNOWN  # no second refund is asked for
    assert len(till.service.entries("refund_asked")) == 1
    till.service.do(do="settle-refunds")
    agrees(till.service, till.ask(request, proof), 3300)
    assert till.service.charged() == 0
    assert till.terminal.reverse(proof, key="r3").code == "already_reversed"


def test_a_refund_that_is_rejected_leaves_the_charge(start):
    till = start("--fault", "refund-rejected")
    request, proof = till.paid()
    refused = till.terminal.reverse(proof, key="r1")
    assert (refused.outcome, refused.code) == (Outcome.APPROVED_FINAL, "refund_rejected")
    agrees(till.service, till.ask(request, proof), 3300)


def test_totals_are_the_day_s_of_this_device_over_pages(start):
    till = start("--fault", "page=2")
    for _ in range(3):
        till.paid()
    _, last = till.paid(Method.FELICA, 500)
    till.terminal.reverse(last, key="r1")
    till.authorise(till.request())  # held, not taken
    totals = till.terminal.totals()
    assert totals.total == Money(till.service.charged(), "JPY") == Money(9900, "JPY")
    assert totals.by_brand == {"VISA": (3, Money(9900, "JPY")), "FELICA_TRANSPORTATION": (1, Money(0, "JPY"))}


def test_health_and_an_offline_device(start):
    till = start()
    assert till.terminal.open() is Health.READY
    till.service.fault("offline")
    assert till.terminal.health() is Health.OFFLINE
    with pytest.raises(TerminalLinkError):
        till.terminal.baseline()
    till.service.heal("offline")
    till.service.fault("401")
    assert till.terminal.health() is Health.OUT_OF_ORDER
    till.service.fault("503-before")
    assert till.terminal.health() is Health.OFFLINE
    till.service.end()
    assert till.terminal.health() is Health.OFFLINE


def test_a_device_that_goes_offline_after_the_baseline(start):
    till = start()
    request = till.request(deadline_s=1)
    till.service.fault("offline")
    evidence = till.authorise(request)
    assert (evidence.outcome, evidence.code) == (Outcome.CANCELLED, "cancelled_by_us")


def test_a_service_that_is_not_there_took_nothing(start):
    till = start()
    request = till.request()
    till.service.end()
    evidence = till.authorise(request)
    assert (evidence.outcome, evidence.code) == (Outcome.NOT_CHARGED, "terminal_absent")


def test_neither_token_nor_card_stands_in_the_evidence(start):
    till = start()
    _, proof = till.paid()
    text = proof.to_json()
    assert "emulated-token" not in text
    assert "exp_" not in text
    assert json.loads(text)["masked_id"] == "************1111"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"colour": 1}, "square: unknown key 'colour'"),
        ({"poll_s": "1"}, "square: key 'poll_s': a number is expected, found '1'"),
        ({"holds_cards": 1}, "square: key 'holds_cards': true or false is expected, found 1"),
        (
            {"base_url": "http://connect.squareup.com"},
            "square: key 'base_url': 'http://connect.squareup.com': https://",
        ),
        ({"felica": "WAON"}, "square: key 'felica': one of FELICA_ALL"),
        ({"access_token_file": "/nowhere/token"}, "square: key 'access_token_file': /nowhere/token cannot be read"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path, change, line):
    (tmp_path / "token").write_text("t\n")
    table = {"access_token_file": str(tmp_path / "token"), "location_id": "L1", "device_id": "D1"}
    connect(table)
    with pytest.raises(ValueError) as told:
        connect({**table, **change})
    assert str(told.value).startswith(line)
    assert "\n" not in str(told.value)
    with pytest.raises(ValueError, match="key 'device_id' is missing"):
        connect({"access_token_file": str(tmp_path / "token"), "location_id": "L1"})


def test_another_terminal_s_payments_are_not_in_our_totals(start):
    from dataclasses import replace

    from kiosk.payment.square import SquareApi, SquareTerminal

    till = start()
    till.paid()
    _, theirs = till.paid(Method.FELICA, 900)
    till.terminal.refund(theirs, amount=Money(400, "JPY"), key="k1")
    options = replace(till.options, device_id="D2")
    other = SquareTerminal(SquareApi(options, "emulated-token"), options)
    other._api.now = (
        till.terminal._api.now
    )  # the emulator has one Terminal: the other's device cannot be asked for the time
    assert other.totals().total == Money(0, "JPY")
    assert till.terminal.totals().total == Money(3800, "JPY")


def test_a_guest_who_leaves_while_the_checkout_is_searched_is_no_reason_to_hurry(start):
    till = start("--fault", "reset-before@create", poll_s=0.1, search_s=1.0)
    request = till.request()
    till.terminal.authorise(request, lambda _progress: till.terminal._stop.set())
    assert sum("search" in line for line in till.terminal._api.line.trace) <= 12
