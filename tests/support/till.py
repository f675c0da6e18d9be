"""A sale engine in a process of its own, to be killed: `python -m tests.support.till STATE_DIR RUN_DIR PORT [buy]`.

Prints one line an event. With `buy` it sells the family's order as soon as it may; without, it only clears up and says "open".
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from kiosk.payment.zvt import Options, TcpLink, ZvtTerminal
from kiosk.sale.assembly import build
from kiosk.visit import effect
from kiosk.visit.situation import Situation, Tender
from tickets.language import Language
from tickets.order import order_of


def main() -> None:
    state_dir, run_dir, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    terminal = ZvtTerminal(TcpLink("127.0.0.1", port), Options(password=123456))
    engine = build(state_dir=state_dir, run_dir=run_dir, terminal=terminal)
    engine.start()
    asked = "buy" not in sys.argv
    while True:
        said = engine.take()
        if said is None:
            time.sleep(0.002)
        elif isinstance(said, Situation):
            print("open" if said.block_reason is None else f"blocked {said.block_reason}", flush=True)
            if said.block_reason is None and not asked:
                asked = True
                order = order_of(said.catalogue, [(1, 2, None), (2, 1, None), (10, 1, None)])
                engine.perform(effect.BeginPayment(turn=1, order=order, tender=Tender.CARD, language=Language.JA))
                print("asked", flush=True)
        else:
            print(type(said).__name__, flush=True)


main()
