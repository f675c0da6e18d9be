"""Answers are lost and the driver is killed at every exchange: what is said is what the service's ledger holds."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from cloud_rig import Cut, agrees, in_a_victim

from kiosk.payment import Outcome

LOST_BEFORE = ["reset-before", "503-before"]
LOST_AFTER = ["reset-after", "503-after", "html-after"]
LOST = [*LOST_BEFORE, *LOST_AFTER]


@pytest.mark.parametrize("fault", LOST)
def test_a_code_that_nobody_saw_is_not_charged(start, fault):
    till = start("--fault", "no-guest", "--fault", f"{fault}@create")
    request = till.request()
    evidence = till.authorise(request)
    assert (evidence.outcome, evidence.code) == (Outcome.NOT_CHARGED, "code_not_shown")
    assert not any(one.qr for one in till.progress)
    agrees(till.service, evidence, 3300)
    assert len(till.service.entries("code")) <= 1


@pytest.mark.parametrize(("fault", "code"), [("401", "paypay_unauthorized"), ("429=1", "terminal_busy")])
def test_a_refused_code_took_nothing(start, fault, code):
    till = start("--fault", f"{fault}@create")
    evidence = till.authorise(till.request())
    assert (evidence.outcome, evidence.code) == (Outcome.NOT_CHARGED, code)
    assert till.service.entries("code") == []


@pytest.mark.parametrize("fault", [*LOST, "401", "429=0"])
def test_a_lost_question_is_asked_again(start, fault):
    till = start()
    request = till.request()
    till.service.fault(f"{fault}@details")
    evidence = till.authorise(request)
    assert evidence.outcome is Outcome.APPROVED_FINAL
    agrees(till.service, evidence, 3300)


@pytest.mark.parametrize("fault", [*LOST, "401", "429=0"])
@pytest.mark.parametrize("paid", [False, True])
def test_the_deletion_s_answer_is_lost(start, fault, paid):
    more = ["--fault", "paid-at-delete"] if paid else []
    till = start("--fault", "no-guest", "--fault", f"{fault}@delete", *more)
    request = till.request(deadline_s=0)
    evidence = till.authorise(request)
    assert evidence.outcome is (Outcome.APPROVED_FINAL if paid else Outcome.CANCELLED)
    agrees(till.service, evidence, 3300)
    agrees(till.service, till.ask(request) if paid else till.terminal.query(request, seen=evidence), 3300)


def test_a_deletion_that_never_gets_through_is_unknown_until_the_code_has_expired(start):
    till = start("--fault", "no-guest", "--fault", "503-before@delete:always")
    request = till.request(deadline_s=0)
    doubt = till.authorise(request)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "terminal_silent")
    assert till.fresh().query(request, seen=doubt).outcome is Outcome.IN_PROGRESS
    till.service.fault("clock=303")  # expired by now, but within the grace
    assert till.fresh().query(request, seen=doubt).outcome is not Outcome.NOT_CHARGED
    till.service.heal("clock")
    till.service.fault("clock=600")
    found = till.ask(request, doubt)
    assert (found.outcome, found.code) == (Outcome.NOT_CHARGED, "expired")
    agrees(till.service, found, 3300)


@pytest.mark.parametrize("fault", [*LOST, "401", "429=1"])
@pytest.mark.parametrize("operation", ["create-refund", "refund"])
def test_a_reversal_is_lost(start, fault, operation):
    till = start()
    request, proof = till.paid()
    till.service.fault(f"{fault}@{operation}")
    answer = till.terminal.reverse(proof, key="r1")
    found = answer if answer.outcome is not Outcome.UNKNOWN else till.ask(request, proof)
    agrees(till.service, found, 3300)
    if found.outcome is Outcome.APPROVED_FINAL:
        agrees(till.service, till.terminal.reverse(proof, key="r2"), 3300)
    assert till.service.charged() == 0
    assert len(till.service.entries("refunded")) == 1


def test_another_amount_is_unknown(start):
    till = start("--fault", "wrong-amount")
    request = till.request()
    doubt = till.authorise(request)
    assert (doubt.outcome, doubt.code) == (Outcome.UNKNOWN, "amount_mismatch")
    assert till.ask(request, doubt).code == "amount_mismatch"


def test_a_payment_without_its_id_is_cancelled_by_ours(start):
    till = start()
    request, proof = till.paid()
    assert till.terminal.reverse(replace(proof, provider_id=None), key="r1").outcome is Outcome.NOT_CHARGED
    agrees(till.service, till.ask(request), 3300)
    assert till.service.charged() == 0


def test_a_query_without_a_baseline_guesses_nothing(start):
    till = start("--fault", "no-guest")
    request = till.request(deadline_s=0)
    till.authorise(request)
    blind = type(request)(request.attempt_id, request.order_ref, request.amount, request.method, 5, {})
    assert till.fresh().query(blind, seen=None).code == "no_baseline"


def _phone_is_done(till, request) -> bool:
    """Whether the guest of this attempt's code, if there is one, has paid or found it gone."""
    told = [row["event"] for row in till.service.entries() if row.get("reference") == request.attempt_id]
    return told != ["code"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("story", ["paid", "leaves", "reverse"])
def test_killed_at_every_exchange(start, story, after):
    """The driver's process is killed before the n-th request or after its answer, for every n until the story ends by itself."""
    till = start("--fault", "slow=0@create", poll_s=0.005)
    taken = 0
    for n in range(1, 60):
        if story == "leaves":
            till.service.fault("slow-guest")
        request = till.request()

        def work(request=request, n=n):
            terminal = till.fresh(Cut(n, after=after))
            answer = terminal.authorise(request, lambda one: one.qr and story == "leaves" and terminal.cancel())
            if story == "reverse":
                terminal.reverse(answer, key=f"r{n}")

        killed = in_a_victim(work)
        while till.service.entries("code") and not _phone_is_done(till, request):
            threading.Event().wait(0.005)
        till.service.fault("clock=600")
        found = till.ask(request)
        till.service.heal("clock")
        assert found.outcome in {Outcome.APPROVED_FINAL, Outcome.NOT_CHARGED}, (n, found)
        taken += 3300 if found.outcome is Outcome.APPROVED_FINAL else 0
        assert till.service.charged() == taken, (n, found)
        references = [row["reference"] for row in till.service.entries("code")]
        assert len(references) == len(set(references))
        if not killed:
            break
    assert not killed
    assert n > 2  # at least: no code yet, a code, a question
