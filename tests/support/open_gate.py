"""A gate in one process: real journal, real cache, real lane; only the arbiter is played, so that it can be told what to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from scanner.gate import tables
from scanner.gate.answer import Answer
from scanner.gate.lane import Arbiter, Lane
from scanner.gate.rescue import open_or_set_aside
from scanner.gate.settings import IssuerPolicy
from scanner.gate.store import Store
from sync import journal as journal_tables
from sync.cache import Cache
from sync.claim import ClaimMessage
from sync.journal import Journal
from sync.operation import Operation, UnknownKind, from_body
from sync.protocol import ReleaseMessage
from tests.support.gate_device import GateDevice, signed
from tickets.admission import Denied, Direction, Granted
from tickets.ids import OpId


@dataclass
class PlayedArbiter:
    """Answers what it was told to, a known op as before (as arbiters do), and keeps what it was asked. `looks` runs at the moment of
    the call.
    """

    answers: list[Granted | Denied | None] = field(default_factory=list)
    asked: list[ClaimMessage] = field(default_factory=list)
    looks: Callable[[ClaimMessage], None] = lambda _: None
    given: dict[str, Granted | Denied] = field(default_factory=dict)
    given_back: list[ReleaseMessage] = field(default_factory=list)

    def give_back(self, release: ReleaseMessage) -> None:
        self.given_back.append(release)

    def ask(self, claim: ClaimMessage) -> Granted | Denied | None:
        self.asked.append(claim)
        self.looks(claim)
        answer = self.given.get(claim.op) or (self.answers.pop(0) if self.answers else None)
        if answer is not None:
            self.given[claim.op] = answer
        return answer


class OpenGate:
    """A device, granted and open. `again()` is a restart."""

    def __init__(
        self,
        path: Path,
        *,
        gate: str = "A",
        arbiter: Arbiter | None = None,
        direction: Direction = Direction.ENTRY,
        issuer_unknown: IssuerPolicy = IssuerPolicy.ATTENTION,
        granted: bool = True,
    ) -> None:
        self.device = GateDevice(path, gate=gate)
        self._arbiter, self._direction, self._issuer_unknown = arbiter, direction, issuer_unknown
        self.feed: Cache = self.device.cache()
        self._open()
        self.syncing = self.device.journal()
        """The sync daemon's own connection: a gate learns of grants only from others' commits."""
        if granted:
            self.device.grant(self.syncing)

    def _open(self) -> None:
        self.journal: Journal
        self.journal, self.set_aside = open_or_set_aside(
            self.device.state, clock=self.device.clock, random_bytes=self.device.random_bytes
        )
        self.store = Store(self.device.state, self.journal, issuer_unknown=self._issuer_unknown)
        self.store.refresh()
        self.lane = Lane(
            self.store,
            gate=self.device.gate,
            label=self.device.gate,
            clock=self.device.clock,
            random_bytes=self.device.random_bytes,
            arbiter=self._arbiter,
            direction=self._direction,
        )

    def again(self) -> OpenGate:
        """Close without a word, as a crash does, and open again."""
        self.store.close()
        self.journal.engine.dispose()
        self._open()
        return self

    def scan(self, seed: str, *, count: int | None = None, finish: bool = True, **ticket: Any) -> Answer:
        return self.show(signed(seed, **ticket), count=count, finish=finish)

    def show(self, text: str, *, source: str = "camera", count: int | None = None, finish: bool = True) -> Answer:
        answer = self.lane.scan(text, source=source, count=count)
        if finish:
            self.lane.finish()
        return answer

    def operations(self) -> list[Operation | UnknownKind]:
        """What is chained, but for the incarnation's birth."""
        query = select(journal_tables.operation.c.body).order_by(
            journal_tables.operation.c.incarnation, journal_tables.operation.c.seq
        )
        with self.journal.read() as connection:
            return [from_body(body) for body in connection.scalars(query)][1:]

    def pending(self, op: OpId) -> Any:
        with self.journal.read() as connection:
            return connection.execute(select(tables.pending).where(tables.pending.c.op == op)).one_or_none()
