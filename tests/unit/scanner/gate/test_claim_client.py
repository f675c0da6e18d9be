"""The claim's deadline holds, whatever the other end does; everything that is no answer is silence."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import pytest

from scanner.gate.claim_client import ClaimClient
from sync.claim import ClaimMessage
from sync.errors import HubUnreachable
from tickets.admission import Denied, Granted, Passage, Reason

CLAIM = ClaimMessage("00" * 16, Passage.ENTRY, "11" * 10, None, 1, "", "A", 0)
YES = Granted(epoch=1, left=0)


class PlayedLine:
    def __init__(self, does: Callable[[], Granted | Denied]) -> None:
        self.does = does

    def claim(self, claim: ClaimMessage, *, deadline_s: float) -> Granted | Denied:
        assert deadline_s == pytest.approx(0.15)
        return self.does()


def test_an_answer_in_time_is_the_answer() -> None:
    for answer in (YES, Denied(Reason.ALREADY_USED)):
        client = ClaimClient(lambda answer=answer: PlayedLine(lambda: answer), deadline_ms=150)  # type: ignore[misc]
        assert client.ask(CLAIM) == answer
        assert client.ask(CLAIM) == answer
        client.close()


@pytest.mark.parametrize("error", [HubUnreachable("gone"), ValueError("no message"), ConnectionResetError()])
def test_whatever_is_no_answer_is_silence_and_the_next_claim_is_asked_again(error: Exception) -> None:
    answers: queue.SimpleQueue[object] = queue.SimpleQueue()
    answers.put(error)
    answers.put(YES)

    def does() -> Granted | Denied:
        found = answers.get()
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, Granted)
        return found

    client = ClaimClient(lambda: PlayedLine(does), deadline_ms=150)
    assert client.ask(CLAIM) is None
    assert client.ask(CLAIM) == YES
    client.close()


def test_the_deadline_holds_and_a_hanging_call_costs_the_next_guest_nothing() -> None:
    free, entered = threading.Event(), threading.Event()

    def hang() -> Granted | Denied:
        entered.set()
        free.wait(10)
        return YES

    client = ClaimClient(lambda: PlayedLine(hang), deadline_ms=150)
    started = time.monotonic()
    assert client.ask(CLAIM) is None
    assert 0.14 <= time.monotonic() - started < 1.0  # this machine is shared; alone it is 0.150
    assert entered.is_set()
    started = time.monotonic()
    assert client.ask(CLAIM) is None
    assert time.monotonic() - started < 0.1  # at once
    free.set()
    client.close()


def test_a_line_that_cannot_be_made_is_silence() -> None:
    def connect() -> PlayedLine:
        raise OSError("no route")

    client = ClaimClient(connect, deadline_ms=150)
    assert client.ask(CLAIM) is None
    assert client.ask(CLAIM) is None
    client.close()
