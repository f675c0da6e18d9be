"""A second kiosk without a window: `python -m script.story.seller FILE`, FILE being a kiosk's own settings file.

The sale engine is the real one, with its journal, terminal, printer and leases; in place of the screen stand JSON lines. On standard
input `{"buy": SLOT, "count": N}`; on standard output what a screen would be told: open, blocked, stock, paid, and how each guest's visit
ended: printed, refused, declined, unknown.
"""

from __future__ import annotations

import json
import queue
import signal
import sys
import threading
import time
from typing import Any

from kiosk.payment.zvt import HoldMode, Options, connect
from kiosk.sale.assembly import build
from kiosk.settings import Settings
from kiosk.visit import effect, event
from kiosk.visit.port import Engine
from kiosk.visit.situation import Situation, SlotStock, Tender
from sync.service import log, settings
from tickets.language import Language
from tickets.order import order_of

ATHLETICS_ADULT = 20
PAUSE_S = 0.005


class Seller:
    """One guest after another."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._situation = Situation()
        self._turn = 0
        self._told: dict[str, int | None] = {}
        self._buying: tuple[SlotStock, int] | None = None
        self._was_open = False

    def take(self) -> bool:
        """The engine's next word. False when it has said nothing."""
        said = self._engine.take()
        match said:
            case None:
                return False
            case Situation():
                self._look(said)
            case event.StockHeld():
                assert self._buying is not None
                stock, count = self._buying
                order = order_of(self._situation.catalogue, [(ATHLETICS_ADULT, count, stock.slot)])  # type: ignore[arg-type]
                self._engine.perform(
                    effect.BeginPayment(turn=self._turn, order=order, tender=Tender.CARD, language=Language.JA)
                )
            case event.StockRefused(slot=slot, remaining=remaining):
                self._end("refused", slot=slot, remaining=remaining)
            case event.Paid():
                _say("paid")
            case event.Printed():
                self._end("printed")
            case event.Declined() | event.Cancelled() | event.Unknown() | event.Owed():
                self._end(type(said).__name__.lower())
            case _:
                pass
        return True

    def buy(self, slot: str, count: int) -> None:
        stock = next((one for one in self._situation.slots if one.slot.slot == slot), None)
        if stock is None:
            self._end("refused", slot=slot, remaining=0)
            return
        self._turn += 1
        self._buying = (stock, count)
        self._engine.perform(effect.HoldStock(turn=self._turn, wanted=((slot, count),)))

    def _look(self, situation: Situation) -> None:
        self._situation = situation
        is_open = situation.block_reason is None
        if is_open != self._was_open:
            self._was_open = is_open
            _say("open" if is_open else "blocked", reason=str(situation.block_reason))
        for stock in situation.slots:
            if self._told.get(stock.slot.slot) != stock.remaining:
                self._told[stock.slot.slot] = stock.remaining
                _say("stock", slot=stock.slot.slot, remaining=stock.remaining)

    def _end(self, what: str, **more: Any) -> None:
        self._engine.perform(effect.ClearGuest())
        _say("ended", how=what, **more)


def main(argv: list[str]) -> int:
    chosen = settings.load_or_exit(argv, Settings)
    log.configure("seller")
    options = Options(
        currency=chosen.terminal_currency, password=chosen.terminal_password, hold=HoldMode(chosen.terminal_hold)
    )
    terminal = connect(chosen.terminal_address, options)
    engine = build(state_dir=chosen.state_dir, run_dir=chosen.run_dir, terminal=terminal)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    wishes: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=lambda: [wishes.put(json.loads(line)) for line in sys.stdin], daemon=True).start()
    seller = Seller(engine)
    engine.start()
    while not stopping.is_set():
        while seller.take():
            pass
        if not wishes.empty():
            wish = wishes.get()
            seller.buy(wish["buy"], wish["count"])
        time.sleep(PAUSE_S)
    engine.stop()
    return 0


def _say(what: str, **more: Any) -> None:
    sys.stdout.write(json.dumps({"event": what, **more}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
