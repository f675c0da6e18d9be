"""The PayPay driver on a real connection to the emulated service."""

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
from kiosk.payment.paypay import Options, PayPayApi, PayPayTerminal, Signer
from tickets.money import Money

SIGNER = Signer("emulated-key", "emulated-secret")
QUICK = {"poll_s": 0.02, "connect_s": 2.0, "answer_s": 2.0, "cancel_s": 0.6, "confirm_s": 0.4, "grace_s": 5.0}
_names = itertools.count(1)


@dataclass
class Till:
    service: Service
    options: Options
    terminal: PayPayTerminal
    progress: list[Progress] = field(default_factory=list)

    def fresh(self, session: Any = None, **more: Any) -> PayPayTerminal:
        """A driver as a restarted process makes it: without any memory."""
        return PayPayTerminal(PayPayApi(self.options, SIGNER, session=session, **more), self.options)

    def request(self, amount: int = 3300, deadline_s: int = 5) -> PayRequest:
        name = AttemptId(f"attempt-{next(_names)}")
        return PayRequest(name, OrderRef("o1"), Money(amount, "JPY"), Method.QR, deadline_s, self.terminal.baseline())

    def authorise(self, request: PayRequest) -> Evidence:
        self.progress.clear()
        return self.terminal.authorise(request, self.progress.append)

    def ask(self, request: PayRequest, seen: Evidence | None = None) -> Evidence:
        return asked(self.fresh(), request, seen)

    def paid(self, amount: int = 3300) -> tuple[PayRequest, Evidence]:
        request = self.request(amount)
        return request, self.authorise(request)


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> Iterator[Any]:
    with services("paypay", tmp_path_factory.mktemp("paypay"), "--pause-ms", "20") as begin:
        yield begin


@pytest.fixture
def start(processes: Any, tmp_path: Path) -> Any:
    """`start("--fault", ...)`: a service and a driver for it."""

    def begin(*options: str, **more: Any) -> Till:
        service = processes(*options)
        settings = Options(
            tmp_path / "key", tmp_path / "secret", "M1EMULATED", base_url=service.url, **{**QUICK, **more}
        )
        return Till(service, settings, PayPayTerminal(PayPayApi(settings, SIGNER), settings))

    return begin
