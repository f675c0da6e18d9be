"""A gate as a process: the real store, journal, lane, claim client, uploader and downloader; only reader and screen are a pipe.

    in   ("scan", code) | ("sync",) | ("end",)
    out  ("open",) | ("light", op, green, units, epoch) | ("synced",) | ("ended",)

What it sends is what a guest sees: the witness at the other end counts green lights and believes nothing else.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks._claims_venue import line, quiet
from scanner.gate import ledger
from scanner.gate.claim_client import ClaimClient
from scanner.gate.lane import Lane
from scanner.gate.rescue import open_or_set_aside
from scanner.gate.store import Store
from sync.claim import ClaimMessage
from sync.client import HttpHub
from sync.download import Downloader
from sync.errors import HubRefused, HubUnreachable
from sync.journal import open_journal
from sync.state import StateDir
from sync.upload import Uploader
from tickets.admission import Granted, Passage, VerdictKind
from tickets.clock import SystemClock

DEADLINE_MS = 600
"""Four times a gate's own, so that silence comes from kills and cuts and not from eight gates, an arbiter and a database on two cores."""
_GREEN = (VerdictKind.ADMIT, VerdictKind.ADMIT_AGAIN, VerdictKind.ATTENTION)


class _Syncing:
    """What the sync daemon does, on its own connection to the journal, at the moment it is told to."""

    def __init__(self, state: StateDir, hub: HttpHub) -> None:
        clock = SystemClock()
        self._journal = open_journal(state, clock=clock, random_bytes=os.urandom)
        self._uploader = Uploader(self._journal, state, hub, clock=clock)
        self._downloader = Downloader(self._journal, state, state.identity(), hub, clock=clock)
        self._downloader.open()

    def once(self) -> bool:
        """Whether everything was sent and everything there was is here."""
        try:
            while self._uploader.step().operations:
                pass
            while self._downloader.step(wait_s=0).more:
                pass
        except (HubUnreachable, HubRefused):
            return False
        return self._journal.unsent() == 0


def run(pipe: Any, folder: Path, url: str, pin: bytes | None) -> None:
    """Until it is told to end, or killed."""
    quiet()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    state, clock = StateDir(folder), SystemClock()
    journal, _ = open_or_set_aside(state, clock=clock, random_bytes=os.urandom)
    store = Store(state, journal)
    syncing = _Syncing(state, line(url, pin, state, deadline_s=2.0))
    store.refresh()
    while store.known.catalogue is None:
        if not syncing.once():
            time.sleep(0.05)
        store.refresh()
    deadline_s = DEADLINE_MS / 1000
    client = ClaimClient(
        lambda: [line(url, pin, state, deadline_s=deadline_s)], deadline_ms=DEADLINE_MS, epoch=lambda: store.known.epoch
    )
    lane = Lane(store, gate="A", label=folder.name, clock=clock, random_bytes=os.urandom, arbiter=client)
    lane.settle_interrupted()
    pipe.send(("open",))
    while True:
        what, *more = pipe.recv()
        if what == "scan":
            answer = lane.scan(more[0], source="camera", count=1)
            verdict = answer.verdict
            pipe.send(("light", answer.op.hex(), verdict.kind in _GREEN, verdict.units, verdict.epoch))
            lane.finish()
        elif what == "sync":
            syncing.once()
            pipe.send(("synced",))
        else:
            lane.finish()
            while not syncing.once():
                time.sleep(0.05)
            with journal.read() as connection:
                pipe.send(("ended", ledger.interrupted_count(connection)))
            client.close()
            return


def ask_many(
    pipe: Any, folder: Path, url: str, pin: bytes | None, tickets: list[tuple[str, str]], every_s: float
) -> None:
    """Claims alone, without a lane: one after another (`every_s` 0), or at random so often on average. Sends (milliseconds, silent) of
    each, and when the first began and the last ended.
    """
    import random

    quiet()
    state = StateDir(folder)
    client = ClaimClient(lambda: [line(url, pin, state, deadline_s=2.0)], deadline_ms=2000)
    while not client.up:
        time.sleep(0.01)
    pipe.send("ready")
    pipe.recv()
    chance = random.Random(folder.name)
    taken, silent, begun = [], 0, time.monotonic()
    due = begun + chance.random() * every_s
    for ticket, code in tickets:
        if every_s:
            time.sleep(max(0.0, due - time.monotonic()))
            due += chance.expovariate(1 / every_s)
        message = ClaimMessage(os.urandom(16).hex(), Passage.ENTRY, ticket, code, 1, "", "A", 1)
        started = time.perf_counter()
        answer = client.ask(message)
        taken.append((time.perf_counter() - started) * 1000)
        silent += not isinstance(answer, Granted)
    pipe.send((taken, silent, begun, time.monotonic()))
    client.close()
