"""Gates that fight for the same tickets while arbiter and gates are killed and lines are cut, judged by a witness.

The witness sees what guests see: which light went green at which gate for which ticket, and whose word the gate had for it. It reads
neither journals nor the ledger until all is over; then what the hub reports must be exactly what the witness saw, but for scans whose
gate died before anybody could see its light: those may count, once each.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from sqlalchemy import select

from benchmarks import _claims_gate
from benchmarks._claims_venue import STRICT, Arbiter, Cut, Venue, Wire, Wires, processes, sold
from hub.services import ledger
from hub.tables import used

BOOK_USES = 10
HOT = 6
"""Tickets in play at one time: few enough that gates meet at them."""
SCANS_BEYOND = 5
PARTITION_S = (0.05, 0.6)
ENDS_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Ticket:
    ticket: str
    code: str
    cap: int
    strict: bool


@dataclass
class Witness:
    """Units by ticket: `confirmed` on the arbiter's word, `green` on any, `maybe` where a gate died before its light was seen."""

    confirmed: Counter[str] = field(default_factory=Counter)
    green: Counter[str] = field(default_factory=Counter)
    maybe: Counter[str] = field(default_factory=Counter)
    ops: set[str] = field(default_factory=set)
    scans: int = 0

    def light(self, ticket: Ticket, op: str, *, green: bool, units: int, epoch: int | None) -> None:
        self.scans += 1
        if green:
            self.ops.add(op)
            self.green[ticket.ticket] += units
            self.confirmed[ticket.ticket] += units if epoch is not None else 0

    def went_dark(self, ticket: Ticket) -> None:
        self.scans += 1
        self.maybe[ticket.ticket] += 1


@dataclass
class Booth:
    """A gate's place: its process, the pipe to it, its line, and what was held in front of it."""

    number: int
    venue: Venue
    wire: Wire
    process: Any = None
    pipe: Any = None
    busy: Ticket | str | None = "opening"

    def open(self) -> None:
        near, far = processes.Pipe()
        arguments = (far, self.venue.gates[self.number].path, self.venue.url(self.wire.port), self.venue.pin)
        self.process = processes.Process(target=_claims_gate.run, args=arguments, daemon=True)
        self.process.start()
        far.close()
        self.pipe, self.busy = near, "opening"

    def show(self, ticket: Ticket) -> None:
        self.busy = ticket
        self.pipe.send(("scan", ticket.code))

    def sync(self) -> None:
        self.busy = "syncing"
        self.pipe.send(("sync",))

    def hear(self, witness: Witness) -> None:
        """One message, or the end of the process."""
        try:
            what, *more = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            if isinstance(self.busy, Ticket):
                witness.went_dark(self.busy)
            self.busy = "dead"
            return
        if what == "light":
            assert isinstance(self.busy, Ticket)
            op, green, units, epoch = more
            witness.light(self.busy, op, green=green, units=units, epoch=epoch)
        self.busy = None if what != "ended" else "ended"

    def kill(self, witness: Witness) -> None:
        """SIGKILL. What it had shown before is still in the pipe."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        while self.busy != "dead":
            self.hear(witness)
        self.pipe.close()


class Story:
    """One engine's share of the contended part."""

    def __init__(self, venue: Venue, arbiter: Arbiter, *, seed: int) -> None:
        self.venue, self.arbiter, self.chance = venue, arbiter, random.Random(seed)
        self.witness = Witness()
        self.kills = self.partitions = 0
        self.tickets: dict[str, Ticket] = {}
        self._wires = Wires()
        self._booths = [Booth(n, venue, self._wires.to(arbiter.port)) for n in range(len(venue.gates))]
        self._cut_until: dict[int, float] = {}
        self._arbiter_back_s: float | None = None

    def play(self, *, kills: int, partitions: int, scans: int) -> None:
        pool = self._stock(scans)
        self.arbiter.start()
        for booth in self._booths:
            booth.open()
        hot = [pool.pop() for _ in range(HOT)]
        shown: Counter[str] = Counter()
        events = ["gate"] * (kills - kills // 4) + ["arbiter"] * (kills // 4) + ["cut"] * partitions
        self.chance.shuffle(events)
        every = max(1, scans // (len(events) + 1))
        asked = 0
        while asked < scans or events:
            self._let_time_pass()
            idle = [booth for booth in self._booths if booth.busy is None]
            if not idle:
                self._listen(0.02)
                continue
            place = self.chance.randrange(HOT)
            ticket = hot[place]
            for booth in self.chance.sample(idle, min(len(idle), self.chance.choice((1, 2, 4, 8)))):
                if self.chance.random() < 0.06:
                    booth.sync()
                    continue
                booth.show(ticket)
                asked += 1
                shown[ticket.ticket] += 1
                if events and asked % every == 0:
                    self._happen(events.pop(), booth)
            if shown[ticket.ticket] >= ticket.cap + SCANS_BEYOND and pool:
                hot[place] = pool.pop()
            self._listen(0)
        self._end()

    def _stock(self, scans: int) -> list[Ticket]:
        made: list[Ticket] = []
        each = max(8, scans // 40)
        for cap, variant, known in (
            (1, 1, True),
            (1, 1, False),
            (BOOK_USES, 1, True),
            (BOOK_USES, 1, False),
            (1, STRICT, True),
            (BOOK_USES, STRICT, True),
        ):
            count = each if cap == 1 else max(3, each // 4)
            found = sold(self.venue, count=count, uses=cap, variant=variant, known=known)
            made += [Ticket(ticket, code, cap, variant == STRICT) for ticket, code in found]
        self.chance.shuffle(made)
        self.tickets = {ticket.ticket: ticket for ticket in made}
        return made

    def _happen(self, what: str, booth: Booth) -> None:
        if what == "cut":
            wire = self.chance.choice(self._booths)
            wire.wire.be(self.chance.choice((Cut.CUT, Cut.BLACKHOLE, Cut.HALF)))
            self._cut_until[wire.number] = time.monotonic() + self.chance.uniform(*PARTITION_S)
            self.partitions += 1
            return
        time.sleep(self.chance.random() * 0.012)  # anywhere in a scan's walk
        if what == "gate":
            booth.kill(self.witness)
            booth.open()
        else:
            self.arbiter.kill(self.chance.randrange(8))
            self._arbiter_back_s = time.monotonic() + self.chance.random() * 0.3
        self.kills += 1

    def _let_time_pass(self) -> None:
        now_s = time.monotonic()
        for number in [number for number, until_s in self._cut_until.items() if until_s <= now_s]:
            del self._cut_until[number]
            self._booths[number].wire.be(Cut.WHOLE)
        if self._arbiter_back_s is not None and self._arbiter_back_s <= now_s:
            self._arbiter_back_s = None
            self.arbiter.start()

    def _listen(self, timeout_s: float) -> None:
        for pipe in wait([booth.pipe for booth in self._booths], timeout_s):
            booth = next(booth for booth in self._booths if booth.pipe is pipe)
            booth.hear(self.witness)
            if booth.busy == "dead":
                raise SystemExit(f"claims: gate {booth.number} ended by itself")

    def _end(self) -> None:
        """Every line whole, everybody there, everything sent."""
        self._arbiter_back_s = None
        self.arbiter.start()
        for booth in self._booths:
            booth.wire.be(Cut.WHOLE)
        ends_s = time.monotonic() + ENDS_WITHIN_S
        while any(booth.busy != "ended" for booth in self._booths):
            for booth in self._booths:
                if booth.busy is None:
                    booth.busy = "ending"
                    booth.pipe.send(("end",))
            waiting = [booth.pipe for booth in self._booths if booth.busy != "ended"]
            for pipe in wait(waiting, 0.1):
                next(booth for booth in self._booths if booth.pipe is pipe).hear(self.witness)
            if time.monotonic() > ends_s:
                raise SystemExit("claims: the gates' backlog was not sent")
        for booth in self._booths:
            booth.process.join(10)
        self._wires.close()

    def judge(self) -> dict[str, int]:
        """What guests saw against what the hub says."""
        witness, figures = self.witness, Counter[str]()
        with self.venue.node.read() as connection:
            reported: Counter[str] = Counter()
            for conflict in ledger.all_conflicts(connection):
                reported[conflict.ticket.hex()] += conflict.beyond
            held = {row.op.hex() for row in connection.execute(select(used.c.op).where(used.c.released == 0))}
        for ticket in self.tickets.values():
            seen = witness.green if ticket.strict else witness.confirmed
            over = max(0, seen[ticket.ticket] - ticket.cap)
            figures["double_admissions" if ticket.cap == 1 else "overdrawn_books"] += over > 0
            least = max(0, witness.green[ticket.ticket] - ticket.cap)
            most = max(0, witness.green[ticket.ticket] + witness.maybe[ticket.ticket] - ticket.cap)
            figures["excess"] += least
            figures["excess_unreported"] += max(0, least - reported[ticket.ticket])
            figures["reported_falsely"] += max(0, reported[ticket.ticket] - most)
        figures["uses_lost"] = len(witness.ops - held)
        figures["green_lights"] = len(witness.ops)
        figures["confirmed_units"] = sum(witness.confirmed.values())
        figures["scans"] = witness.scans
        figures["kills"], figures["partitions"] = self.kills, self.partitions
        return dict(figures)
