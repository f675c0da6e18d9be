"""The Square driver on a real connection to the emulated service."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cloud_rig import Service, asked, services

from kiosk.payment import AttemptId, Evidence, Method, OrderRef, PayRequest, Progress
from kiosk.payment.square import Options, SquareApi, SquareTerminal
from tickets.money import Money

TOKEN = "emulated-token"
QUICK = {
    "poll_s": 0.02, "connect_s": 2.0, "answer_s": 2.0, "search_s": 0.3, "confirm_s": 1.0, "cancel_s": 0.6, "grace_s": 5.0,
}  # fmt: skip
_names = itertools.count(1)


@dataclass
class Till:
    service: Service
    options: Options
    terminal: SquareTerminal
    progress: list[Progress] = field(default_factory=list)

    def fresh(self, session: Any = None) -> SquareTerminal:
        """A driver as a restarted process makes it: without any memory."""
        return SquareTerminal(SquareApi(self.options, TOKEN, session=session), self.options)

    def request(self, method: Method = Method.CARD, amount: int = 3300, deadline_s: int = 5) -> PayRequest:
        name = AttemptId(f"attempt-{next(_names)}")
        return PayRequest(name, OrderRef("o1"), Money(amount, "JPY"), method, deadline_s, self.terminal.baseline())

    def authorise(self, request: PayRequest) -> Evidence:
        self.progress.clear()
        return self.terminal.authorise(request, self.progress.append)

    def ask(self, request: PayRequest, seen: Evidence | None = None) -> Evidence:
        return asked(self.fresh(), request, seen)

    def paid(self, method: Method = Method.CARD, amount: int = 3300) -> tuple[PayRequest, Evidence]:
        request = self.request(method, amount)
        evidence = self.authorise(request)
        return request, self.terminal.confirm(evidence) if method is Method.CARD else evidence


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> Iterator[Any]:
    with services("square", tmp_path_factory.mktemp("square"), "--pause-ms", "20") as begin:
        yield begin


@pytest.fixture
def start(processes: Any, tmp_path: Path) -> Any:
    """`start("--fault", ...)`: a service and a driver for it."""

    def begin(*options: str, **more: Any) -> Till:
        service = processes(*options)
        token = tmp_path / "token"
        token.write_text(TOKEN + "\n")
        settings = Options(token, "L1EMULATED", "D1EMULATED", base_url=service.url, **{**QUICK, **more})
        return Till(service, settings, SquareTerminal(SquareApi(settings, TOKEN), settings))

    return begin
