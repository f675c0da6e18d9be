"""One scan by a gate that dies at a step of its walk: `python -m tests.support.killed_lane STATE DATABASE KEY CODE STEP`.

STEP is before_claim, before_answer, before_light, before_chained, or none. Prints the verdict where it lives long enough.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.database import open_database
from hub.node import HubNode
from scanner.gate.lane import Lane
from scanner.gate.rescue import open_or_set_aside
from scanner.gate.store import Store
from sync.claim import ClaimMessage
from sync.protocol import ReleaseMessage
from sync.state import StateDir
from tests.hubkit import NOON, LocalHub
from tickets.admission import Denied, Granted
from tickets.clock import FixedClock


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Arbiter:
    def __init__(self, hub: LocalHub, step: str) -> None:
        self.hub, self.step = hub, step

    def ask(self, claim: ClaimMessage) -> Granted | Denied | None:
        if self.step == "before_claim":
            die()
        answer = self.hub.claim(claim, deadline_s=1)
        if self.step == "before_answer":
            die()
        return answer

    def give_back(self, release: ReleaseMessage) -> None:
        self.hub.release(release)


def open_lane(state: StateDir, node: HubNode, step: str) -> Lane:
    journal, _ = open_or_set_aside(state, clock=FixedClock(NOON), random_bytes=os.urandom)
    store = Store(state, journal)
    store.refresh()
    arbiter = Arbiter(LocalHub(node, state.identity().device), step)
    return Lane(store, gate="A", label="A", clock=FixedClock(NOON), random_bytes=os.urandom, arbiter=arbiter)


def main(folder: str, database: str, key: str, code: str, step: str) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key))
    node = HubNode(open_database(database), private, clock=FixedClock(NOON), random_bytes=os.urandom)
    lane = open_lane(StateDir(Path(folder)), node, step)
    if step == "before_light":
        settle: Any = lane._settle

        def settled_and_dead(*arguments: Any) -> Any:
            settle(*arguments)
            die()

        lane._settle = settled_and_dead  # type: ignore[method-assign]
    answer = lane.scan(code, source="camera")
    print(answer.verdict.kind, flush=True)
    if step == "before_chained":
        die()
    lane.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
