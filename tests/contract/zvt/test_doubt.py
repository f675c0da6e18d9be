"""The line breaks, the terminal dies, answers lie: what the evidence says in the end is what the terminal's ledger holds.

Rule of every test: an outcome that is not UNKNOWN agrees with the ledger, and nobody is charged twice.
"""

from __future__ import annotations

import pytest

from kiosk.payment import Evidence, Outcome

PERSONALITIES = ["reverse", "decline", "keep"]


def agrees(till, evidence: Evidence, amount: int = 3300) -> None:
    """The evidence's outcome is the ledger's truth."""
    assert evidence.outcome in {Outcome.APPROVED_FINAL, Outcome.NOT_CHARGED}, evidence.code
    assert till.emulator.charged() == (amount if evidence.outcome is Outcome.APPROVED_FINAL else 0)


def test_lost_before_the_host_was_asked(start):
    till = start("--fault", "lost-before-host")
    request = till.request()
    doubt = till.authorise(request)
    assert doubt.outcome is Outcome.UNKNOWN
    found = till.query(request, doubt)
    agrees(till, found)
    assert found.outcome is Outcome.NOT_CHARGED
    till.paid()
    assert till.emulator.charged() == 3300


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_lost_after_the_host_said_yes_before_we_heard(start, personality):
    till = start("--fault", "lost-after-host-before-status", "--personality", personality)
    request = till.request()
    doubt = till.authorise(request)
    assert doubt.outcome is Outcome.UNKNOWN
    found = till.query(request, doubt)
    agrees(till, found)
    assert (found.outcome is Outcome.APPROVED_FINAL) is (personality == "keep")


@pytest.mark.parametrize(("personality", "pty"), [*((name, False) for name in PERSONALITIES), ("keep", True)])
def test_lost_after_status(start, personality, pty):
    till = start("--fault", "lost-after-status", "--personality", personality, pty=pty)
    request = till.request()
    held = till.authorise(request)
    assert held.outcome is Outcome.APPROVED_HELD
    doubt = till.terminal.confirm(held)
    assert doubt.outcome is Outcome.UNKNOWN
    found = till.query(request, held)
    agrees(till, found)
    assert (found.outcome is Outcome.APPROVED_FINAL) is (personality == "keep")


@pytest.mark.parametrize("personality", PERSONALITIES)
@pytest.mark.parametrize("decide", ["confirm", "void"])
def test_our_answer_is_lost(start, personality, decide):
    till = start("--fault", f"ack-lost:{personality}")
    request = till.request()
    held = till.authorise(request)
    doubt = till.terminal.confirm(held) if decide == "confirm" else till.terminal.void(held)
    assert doubt.outcome is Outcome.UNKNOWN
    agrees(till, till.query(request, doubt))


def test_lost_before_the_receipt(start):
    till = start("--fault", "lost-before-lines")
    request = till.request()
    doubt = till.terminal.confirm(till.authorise(request))
    assert doubt.outcome is Outcome.UNKNOWN
    found = till.query(request, doubt)
    agrees(till, found)
    assert found.outcome is Outcome.NOT_CHARGED


def test_lost_before_completion_is_unknown_then_charged_then_given_back(start):
    till = start("--fault", "lost-before-completion")
    request = till.request()
    doubt = till.terminal.confirm(till.authorise(request))
    assert doubt.outcome is Outcome.UNKNOWN, "without 06 0F there is no proof"
    found = till.query(request, doubt)
    assert found.outcome is Outcome.APPROVED_FINAL
    agrees(till, found)
    back = till.terminal.reverse(found, key="k1")
    assert (back.outcome, back.code) == (Outcome.NOT_CHARGED, "reversed")
    agrees(till, back)
    agrees(till, till.query(request, found))


def test_no_answer_to_the_payment(start):
    till = start("--fault", "no-answer")
    request = till.request()
    doubt = till.authorise(request)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "terminal_silent")
    agrees(till, till.query(request, doubt))


def test_late_status_in_the_next_payment_charges_nobody_for_another(start):
    """The first payment's 04 0F comes inside the second one: it is not answered, and never taken for it."""
    till = start("--fault", "late-status@payment=1")
    first = till.request()
    ended = till.authorise(first)
    assert ended.outcome is Outcome.CANCELLED
    assert till.query(first, ended).outcome is Outcome.NOT_CHARGED
    second = till.request()
    doubt = till.authorise(second)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "foreign_status")
    agrees(till, till.query(second, doubt))
    till.paid()
    assert till.emulator.charged() == 3300


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("repeat-wrong-tid", "other_terminal"),
        ("repeat-wrong-amount", "amount_differs"),
        ("repeat-old", "totals_disagree"),
    ],
)
def test_a_repeat_receipt_that_lies_is_not_believed(start, fault, code):
    till = start()
    till.paid(500)  # so that "the one before" is the baseline
    till.emulator.fault("lost-before-completion")
    request = till.request()
    doubt = till.terminal.confirm(till.authorise(request))
    till.emulator.fault(fault)
    found = till.query(request, doubt)
    assert (found.outcome, found.code) == (Outcome.UNKNOWN, code)
    assert found.receipt_no is None, "what was told is not ours to reverse"
    till.emulator.heal(fault)
    assert till.query(request, doubt).outcome is Outcome.APPROVED_FINAL
    assert till.emulator.charged() == 3800


@pytest.mark.parametrize("fault", ["repeat-none", "repeat-silent"])
@pytest.mark.parametrize("saw", [True, False])
def test_without_a_repeat_receipt_the_sums_prove_what_was_seen(start, fault, saw):
    """They end with the very receipt number that the attempt was told; without that number they prove nothing."""
    till = start()
    till.paid(500)
    till.emulator.fault("lost-before-completion" if saw else "lost-after-host-before-status")
    till.emulator.fault(fault)
    request = till.request()
    doubt = till.authorise(request)
    if saw:
        doubt = till.terminal.confirm(doubt)
    found = till.query(request, doubt if saw else None)
    if saw:
        assert (found.outcome, found.code) == (Outcome.APPROVED_FINAL, "totals_moved")
        assert found.receipt_no == doubt.receipt_no
        assert till.emulator.charged() == 3800
    else:
        assert (found.outcome, found.code) == (Outcome.NOT_CHARGED, "totals_unmoved")


def test_silent_repeat_with_unmoved_sums_proves_no_charge(start):
    till = start("--fault", "repeat-silent", "--fault", "lost-before-host")
    request = till.request()
    doubt = till.authorise(request)
    found = till.query(request, doubt)
    assert (found.outcome, found.code) == (Outcome.NOT_CHARGED, "totals_unmoved")


@pytest.mark.parametrize("pty", [False, True], ids=["tcp", "pty"])
def test_reversal(start, pty):
    till = start(pty=pty)
    till.paid(500)
    request, proof = till.paid()
    back = till.terminal.reverse(proof, key="k1")
    assert (back.outcome, back.code) == (Outcome.NOT_CHARGED, "reversed")
    assert (back.receipt_no, back.trace) == (proof.receipt_no, proof.trace), "the evidence still names the charge"
    again = till.terminal.reverse(proof, key="k2")
    assert (again.outcome, again.code) == (Outcome.NOT_CHARGED, "already_reversed")
    assert till.query(request, proof).outcome is Outcome.NOT_CHARGED
    assert till.emulator.charged() == 500


@pytest.mark.parametrize(
    ("fault", "outcome", "code"),
    [
        ("reversal=B4", Outcome.NOT_CHARGED, "already_reversed"),
        ("reversal=B5", Outcome.APPROVED_FINAL, "zvt_result_b5"),
        ("not-supported=0630", Outcome.APPROVED_FINAL, "not_supported"),
        ("busy=0630", Outcome.APPROVED_FINAL, "terminal_busy"),
    ],
)
def test_refused_reversal(start, fault, outcome, code):
    till = start()
    _, proof = till.paid()
    till.emulator.fault(fault)
    back = till.terminal.reverse(proof, key="k1")
    assert (back.outcome, back.code) == (outcome, code)


def test_lost_reversal_is_unknown_then_proven(start):
    till = start("--fault", "reversal-silent")
    request, proof = till.paid()
    doubt = till.terminal.reverse(proof, key="k1")
    assert doubt.outcome is Outcome.UNKNOWN
    agrees(till, till.query(request, doubt))
    assert till.emulator.charged() == 0


def test_reversal_without_a_terminal_was_never_sent(start):
    till = start()
    _, proof = till.paid()
    till.emulator.end()
    back = till.terminal.reverse(proof, key="k1")
    assert (back.outcome, back.code) == (Outcome.APPROVED_FINAL, "terminal_absent")
    till.emulator.start()
    assert till.terminal.reverse(back, key="k2").outcome is Outcome.NOT_CHARGED
    assert till.emulator.charged() == 0


def test_a_reversal_of_another_amount_is_refused_by_the_terminal(start):
    till = start(reverses_only_last=False)
    _, small = till.paid(500)
    _, proof = till.paid()
    mixed = till.terminal.reverse(Evidence.from_json(proof.to_json().replace("3300", "500")), key="k1")
    assert mixed.outcome is Outcome.APPROVED_FINAL
    assert till.terminal.reverse(small, key="k2").outcome is Outcome.NOT_CHARGED
    assert till.emulator.charged() == 3300


@pytest.mark.slow
@pytest.mark.parametrize("personality", PERSONALITIES)
def test_terminal_killed_at_every_message(start, personality):
    """kill -9 before each message of a payment is sent or handled; another process takes over the ledger."""
    till = start()
    till.paid()
    first = till.emulator.wait_for("frame", name="authorisation")["n"]
    approved = till.emulator.wait_for("frame", name="status information")["n"]
    last = till.emulator.wait_for("frame", name="completion")["n"] + 1
    # Every message from the approval on; before it no money hangs on a message, and every third will do.
    frames = [*range(first, approved, 3), *range(approved, last + 1)][:: 1 if personality == "reverse" else 2]
    assert len(frames) >= 5
    decided = set()
    for frame in frames:
        till = start("--personality", personality, "--fault", f"die@frame={frame}")
        request = till.request()
        held = till.authorise(request)
        answer = till.terminal.confirm(held) if held.outcome is Outcome.APPROVED_HELD else held
        till.emulator.end()
        till.emulator.start("--personality", personality)
        if answer.outcome is Outcome.UNKNOWN:
            answer = till.query(request, answer)
        agrees(till, answer)
        decided.add(answer.outcome)
        till.terminal.close()
        till.emulator.end()
    assert decided == {Outcome.NOT_CHARGED, Outcome.APPROVED_FINAL}
