"""Answers are lost, the service lies or stops, the driver is killed at every exchange: what is said is what the ledger holds.

Rule of every test: an outcome other than UNKNOWN and IN_PROGRESS agrees with the service's ledger, nothing is posted twice, and
nobody is charged twice.
"""

from __future__ import annotations

import pytest
from cloud_rig import AGAIN, Cut, agrees, in_a_victim

from kiosk.payment import Evidence, Method, Outcome
from tickets.money import Money

LOST_BEFORE = ["reset-before", "503-before"]
LOST_AFTER = ["reset-after", "503-after", "html-after"]


def settled(till, request, evidence: Evidence) -> Evidence:
    """`evidence`, or, if it is a doubt, what a restarted driver finds out; the service's clock passes every patience."""
    if evidence.outcome is Outcome.APPROVED_HELD:
        evidence = till.terminal.confirm(evidence)
    if evidence.outcome in {Outcome.UNKNOWN, Outcome.IN_PROGRESS}:
        till.service.fault("clock=600")
        evidence = till.ask(request)
    agrees(till.service, evidence, request.amount.minor)
    assert len(till.service.entries("checkout")) <= 1
    assert till.service.standing() == 0
    return evidence


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("fault", LOST_BEFORE)
def test_the_order_never_arrived(start, fault, method):
    till = start("--fault", f"{fault}@create")
    request = till.request(method)
    doubt = till.authorise(request)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "terminal_silent")
    # It may still be on its way: not before its deadline and the grace have passed is it called never arrived.
    assert till.fresh().query(request, seen=doubt).outcome is Outcome.IN_PROGRESS
    till.service.fault("clock=8")
    assert till.fresh().query(request, seen=doubt).outcome is Outcome.IN_PROGRESS
    till.service.heal("clock")
    found = settled(till, request, doubt)
    assert (found.outcome, found.code) == (Outcome.NOT_CHARGED, "never_arrived")
    assert till.service.entries("checkout") == []


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("fault", LOST_AFTER)
def test_the_order_s_answer_is_lost_and_the_checkout_is_found(start, fault, method):
    till = start("--fault", f"{fault}@create", "--fault", "page=1")
    for _ in range(3):  # older checkouts of the same device fill the pages
        till.authorise(till.request())
        till.terminal._held = None
    request = till.request(method)
    taken = till.authorise(request)
    assert taken.outcome is (Outcome.APPROVED_HELD if method is Method.CARD else Outcome.APPROVED_FINAL)
    references = [row["reference"] for row in till.service.entries("checkout")]
    assert references.count(request.attempt_id) == 1


@pytest.mark.parametrize("operation", ["search", "checkout", "payment"])
@pytest.mark.parametrize("fault", ["reset-before", "reset-after", "503-after", "html-after", "401", "429=0"])
def test_a_lost_question_is_asked_again(start, operation, fault):
    extra = ["--fault", "reset-after@create"] if operation == "search" else []
    till = start("--fault", f"{fault}@{operation}", *extra)
    request = till.request()
    held = till.authorise(request)
    assert held.outcome is Outcome.APPROVED_HELD
    settled(till, request, held)
    assert till.service.charged() == 3300


@pytest.mark.parametrize(("fault", "code"), [("401", "square_unauthorized"), ("429=1", "terminal_busy")])
def test_a_refused_order_took_nothing(start, fault, code):
    till = start("--fault", f"{fault}@create")
    request = till.request()
    evidence = till.authorise(request)
    assert (evidence.outcome, evidence.code) == (Outcome.NOT_CHARGED, code)
    assert till.service.entries("checkout") == []


@pytest.mark.parametrize("fault", [*LOST_BEFORE, *LOST_AFTER, "401", "429=0", "429=9"])
@pytest.mark.parametrize("decide", ["confirm", "void"])
def test_our_word_on_the_hold_is_lost(start, fault, decide):
    operation = {"confirm": "complete", "void": "cancel-payment"}[decide]
    till = start("--fault", f"{fault}@{operation}")
    request = till.request()
    held = till.authorise(request)
    answer = getattr(till.terminal, decide)(held)
    if answer.outcome is Outcome.UNKNOWN:
        assert till.service.charged() == 0
        answer = till.ask(request, held)
    agrees(till.service, answer, 3300)
    assert till.service.standing() == 0
    stored = fault in LOST_AFTER or fault == "429=0"
    wanted = Outcome.APPROVED_FINAL if decide == "confirm" and stored else Outcome.NOT_CHARGED
    assert answer.outcome is wanted


@pytest.mark.parametrize("fault", [*LOST_BEFORE, *LOST_AFTER, "401", "429=1"])
def test_a_reversal_is_lost(start, fault):
    till = start("--fault", f"{fault}@create-refund")
    request, proof = till.paid()
    answer = till.terminal.reverse(proof, key="r1")
    found = answer if answer.outcome is not Outcome.UNKNOWN else till.ask(request, proof)
    agrees(till.service, found, 3300)
    if found.outcome is Outcome.APPROVED_FINAL:  # so it is sent again, as recovery would, under a key of its own
        agrees(till.service, till.terminal.reverse(proof, key="r2"), 3300)
    assert till.service.charged() == 0
    assert len(till.service.entries("refunded")) == 1


def test_cancel_requested_for_ever(start):
    till = start("--fault", "no-guest", "--fault", "cancel-stuck")
    request = till.request(deadline_s=1)
    doubt = till.authorise(request)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "cancel_unanswered")
    assert till.fresh().query(request, seen=doubt).outcome is Outcome.IN_PROGRESS
    till.service.fault("clock=901")
    found = till.ask(request, doubt)
    assert (found.outcome, found.code) == (Outcome.UNKNOWN, "cancel_unanswered")
    assert found.code not in AGAIN  # a person's


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize(("fault", "code"), [("two-payments", "two_payments"), ("wrong-amount", "amount_mismatch")])
def test_what_does_not_fit_together_is_unknown(start, fault, code, method):
    till = start("--fault", fault)
    request = till.request(method)
    doubt = till.authorise(request)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, code)
    found = till.ask(request, doubt)
    if method is Method.CARD:  # only held: let go of, so nobody is charged
        agrees(till.service, found, 3300)
        assert (till.service.charged(), till.service.standing()) == (0, 0)
    else:
        assert (found.outcome, found.code) == (Outcome.UNKNOWN, code)


def test_a_completed_checkout_names_its_payment_late(start):
    till = start("--fault", "late-payment")
    request = till.request()
    assert settled(till, request, till.authorise(request)).outcome is Outcome.APPROVED_FINAL


def test_the_hold_ended_before_our_word(start):
    till = start("--fault", "hold-ends")
    request = till.request()
    answer = till.terminal.confirm(till.authorise(request))
    assert (answer.outcome, answer.code) == (Outcome.NOT_CHARGED, "hold_expired")
    agrees(till.service, answer, 3300)


def test_a_hold_ends_by_itself(start):
    till = start("--speed", "3000")
    held = till.authorise(till.request())
    till.service.wait_for("cancelled")
    answer = till.terminal.confirm(held)
    assert (answer.outcome, answer.code) == (Outcome.NOT_CHARGED, "hold_expired")


@pytest.mark.parametrize("skew_s", [-7200, 7200, 86_400])
def test_the_clocks_disagree(start, skew_s):
    till = start("--fault", f"clock={skew_s}", "--fault", "reset-after@create")
    request = till.request()
    held = till.authorise(request)
    assert held.outcome is Outcome.APPROVED_HELD
    assert till.terminal.confirm(held).outcome is Outcome.APPROVED_FINAL
    agrees(till.service, till.ask(request), 3300)
    assert till.terminal.totals().total == Money(3300, "JPY")


def test_a_replayed_order_is_no_second_checkout_and_the_driver_does_not_rely_on_it(start):
    till = start("--fault", "503-after@create", "--fault", "forget-key")
    request = till.request()
    settled(till, request, till.authorise(request))
    assert len(till.service.entries("checkout")) == 1
    assert till.service.charged() == 3300


def test_two_checkouts_of_one_attempt_are_a_person_s(start):
    till = start("--fault", "forget-key")
    request, _ = till.paid()
    till.terminal._api.create_checkout(key=request.attempt_id, checkout=till.terminal._checkout(request))
    found = till.ask(request)
    assert (found.outcome, found.code) == (Outcome.UNKNOWN, "two_checkouts")


def test_a_query_without_a_baseline_guesses_nothing(start):
    till = start()
    request, proof = till.paid()
    blind = type(request)(request.attempt_id, request.order_ref, request.amount, request.method, 5, {})
    assert till.fresh().query(blind, seen=proof).code == "no_baseline"


def test_a_query_moves_no_money_and_may_be_repeated(start):
    till = start()
    request, proof = till.paid(Method.FELICA)
    before = till.service.entries()
    assert {till.ask(request, proof).outcome for _ in range(3)} == {Outcome.APPROVED_FINAL}
    assert till.service.entries() == before


EXCHANGES_MAX = 40


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("story", ["card", "void", "felica", "reverse"])
def test_killed_at_every_exchange(start, story, after):
    """The driver's process is killed before the n-th request or after its answer, for every n until the story ends by itself."""
    till = start("--pause-ms", "8", poll_s=0.005)
    taken = 0
    for n in range(1, EXCHANGES_MAX):
        request = till.request(Method.FELICA if story == "felica" else Method.CARD)

        def work(request=request, n=n):
            terminal = till.fresh(Cut(n, after=after))
            answer = terminal.authorise(request, lambda _progress: None)
            if story == "void":
                terminal.void(answer)
            elif story != "felica":
                answer = terminal.confirm(answer)
            if story == "reverse":
                terminal.reverse(answer, key=f"r{n}")

        killed = in_a_victim(work)
        found = till.fresh().query(request, seen=None)
        till.service.fault("clock=600")
        if found.outcome in {Outcome.UNKNOWN, Outcome.IN_PROGRESS}:
            found = till.ask(request)
        till.service.heal("clock")
        assert found.outcome in {Outcome.APPROVED_FINAL, Outcome.NOT_CHARGED}, (n, found)
        taken += 3300 if found.outcome is Outcome.APPROVED_FINAL else 0
        assert till.service.charged() == taken, (n, found)
        assert till.service.standing() == 0, n
        references = [row["reference"] for row in till.service.entries("checkout")]
        assert len(references) == len(set(references))
        if not killed:
            break
    assert not killed
    assert n > 4
