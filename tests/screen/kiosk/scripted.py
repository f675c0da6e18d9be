"""An engine that plays a script: it answers each effect as a till on a good day would, one word a look.

Stands in for the sale engine where screens are the matter; the real one is driven in tests/flow/sale.
"""

from __future__ import annotations

from collections import deque

from kiosk.visit import event as e
from kiosk.visit.effect import (
    BeginPayment,
    CallStaff,
    CancelPayment,
    ClearGuest,
    EngineEffect,
    HoldStock,
    PrintReceipt,
)
from kiosk.visit.situation import Situation


class ScriptedEngine:
    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._said: deque[Situation | e.EngineEvent] = deque()
        self.asked: list[EngineEffect] = []
        self.stopped = False
        self._silent = False

    def start(self) -> None:
        self._said.append(self._situation)

    def take(self) -> Situation | e.EngineEvent | None:
        """One word a look, so that each is drawn."""
        self._silent = not self._silent
        return self._said.popleft() if self._said and not self._silent else None

    def stop(self) -> None:
        self.stopped = True

    def perform(self, effect: EngineEffect) -> None:
        self.asked.append(effect)
        match effect:
            case HoldStock(turn=turn):
                self._said.append(e.StockHeld(turn))
            case BeginPayment(turn=turn, order=order):
                stage = e.PaymentStage
                for now, cancellable in ((stage.PRESENT_CARD, True), (stage.PROCESSING, False)):
                    self._said.append(e.PaymentProgress(turn, now, cancellable))
                self._said.append(e.Paid(turn))
                count = order.ticket_count
                for done in range(count):
                    self._said.append(e.Printing(turn, done, count, (e.PrintedPart("admission", done, count),)))
                self._said.append(e.Printed(turn))
            case PrintReceipt(turn=turn):
                self._said.append(e.ReceiptPrinted(turn))
            case CancelPayment(turn=turn):
                self._said.append(e.Cancelled(turn))
            case CallStaff() | ClearGuest():
                pass
