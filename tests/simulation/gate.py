"""A gate as an actor: the real store, lane, ledger and rescue; guests hold tickets in front of it, pass, or turn back."""

from __future__ import annotations

from contextlib import suppress

from scanner.gate.answer import Answer
from scanner.gate.errors import JournalDamaged
from scanner.gate.lane import Lane
from scanner.gate.naming import DIGITS
from scanner.gate.rescue import open_or_set_aside
from scanner.gate.store import Store
from sync.claim import ClaimMessage
from sync.errors import HubRefused, HubUnreachable
from sync.operation import ReleaseReason
from sync.protocol import ReleaseMessage
from tests.simulation.device import Site
from tests.simulation.outside import Line
from tests.simulation.witness import Green, Paper, Witness
from tests.simulation.world import Process, seeded
from tickets.admission import Denied, Direction, Granted, VerdictKind
from tickets.catalogue import OfflinePolicy

GREEN = frozenset({VerdictKind.ADMIT, VerdictKind.ADMIT_AGAIN, VerdictKind.ATTENTION})
DEADLINE_S = 0.15


class _Arbiter:
    """`scanner.gate.lane.Arbiter` over the simulated line: an answer within the deadline, or silence."""

    def __init__(self, process: LaneProcess) -> None:
        self._process = process

    @property
    def _line(self) -> Line:
        """To whoever the newest statement names."""
        lane = self._process.lane
        said = None if lane is None else lane.store.known.arbiter
        return self._process.site.line(None if said is None or said.node is None else said.node.hex())

    def ask(self, claim: ClaimMessage) -> Granted | Denied | None:
        try:
            answer: Granted | Denied = self._line.claim(claim, deadline_s=DEADLINE_S)
        except (HubUnreachable, HubRefused):
            return None
        return answer

    def give_back(self, release: ReleaseMessage) -> None:
        with suppress(HubUnreachable, HubRefused):
            self._line.release(release)


class LaneProcess(Process):
    """The gate daemon's lane, without its sockets."""

    def __init__(self, site: Site, witness: Witness) -> None:
        super().__init__(site.machine, f"{site.label}.gate")
        self.site, self._witness = site, witness
        self.lane: Lane | None = None
        self._last: Answer | None = None

    def _start(self) -> None:
        self._open()

    def _open(self, *, condemned: str = "", once_more: bool = False) -> None:
        site = self.site
        journal, aside = open_or_set_aside(
            site.state,
            clock=self.machine.clock,
            random_bytes=seeded(self.world),
            condemned=condemned,
            once_more=once_more,
        )
        if aside is not None:
            self.world.seen["set_aside"] += 1
            self.world.note(f"journal set aside: {aside.why}")
        store = Store(site.state, journal)
        store.refresh()
        self.lane = Lane(
            store,
            gate=site.identity.gate or "",
            label=site.label,
            clock=self.machine.clock,
            random_bytes=seeded(self.world),
            arbiter=_Arbiter(self),
        )
        settled = self.lane.settle_interrupted()
        self.world.seen["interrupted"] += settled

    def _stop(self) -> None:
        if self.lane is not None:
            self.lane.store.close()
            self.lane.store.journal.engine.dispose()
        self.lane = self._last = None

    def mend(self) -> None:
        """As the daemon looks around: on with another journal where the hub contradicts this one."""

        def look() -> None:
            lane = self.lane
            assert lane is not None
            journal = lane.store.journal
            replaced = not journal.is_in_place(self.site.state)
            if replaced or journal.forked():
                lane.finish()
                self._stop()
                self._open(once_more=replaced)
            elif self.world.chance.random() < 0.5:
                forgotten = lane.forget_settled()
                self.world.seen["forgotten"] += forgotten
                if forgotten:
                    self._witness.relies_on_cache.add(self.site.label)

        self.world.run(self, look)

    def finish(self) -> None:
        self.world.run(self, lambda: self.lane.finish() if self.lane is not None else None)

    def scan(self, paper: Paper | None, *, digits: str | None = None) -> None:
        self.world.run(self, lambda: self._scan(paper, digits))

    def _scan(self, paper: Paper | None, digits: str | None) -> None:
        lane, chance = self.lane, self.world.chance
        assert lane is not None
        lane.direction = Direction.EXIT if chance.random() < 0.12 else Direction.ENTRY
        text = "T1:FORGED" if paper is None else paper.code
        source = "camera"
        if digits is not None:
            text, source = digits, DIGITS
        count = chance.randrange(1, 4) if chance.random() < 0.4 else None
        try:
            answer = lane.scan(text, source=source, count=count)
            if answer.verdict.kind is VerdictKind.CHOOSE:
                answer = lane.scan(text, source=source, count=chance.randrange(1, 4))
        except JournalDamaged as error:
            raise AssertionError("no journal is damaged here") from error
        verdict = answer.verdict
        self.world.note(f"{verdict.kind} {verdict.reason or ''} {_short(answer)} epoch {verdict.epoch}")
        if verdict.kind in GREEN:
            self._shine(answer)
        else:
            self.world.seen[f"refused_{verdict.reason}"] += 1
        self._last = answer if verdict.kind in GREEN else None
        self.world.point()  # the light is on, and nothing is chained yet
        if chance.random() < 0.8:  # else the next guest is already there
            lane.finish()
        if self._last is not None and chance.random() < 0.15:
            self._give_back(lane)

    def _shine(self, answer: Answer) -> None:
        claim, verdict = answer.claim, answer.verdict
        assert claim is not None
        catalogue = self._site_catalogue()
        product = None if catalogue is None else catalogue.product_of(answer.facts.variant)  # type: ignore[union-attr]
        self._witness.shows_green(
            Green(
                op=answer.op.hex(),
                ticket=claim.ticket.hex(),
                units=claim.units,
                window=claim.window,
                passage=str(claim.passage),
                gate=self.site.label,
                epoch=verdict.epoch,
                reign=self._witness.reign,
                strict=product is not None
                and product.offline is OfflinePolicy.REFUSE
                and lane_direction(answer) is Direction.ENTRY,
                at=answer.at,
            )
        )

    def _site_catalogue(self):  # type: ignore[no-untyped-def]
        return self.lane.store.known.catalogue if self.lane is not None else None

    def _give_back(self, lane: Lane) -> None:
        """Nobody went through, or staff undid it."""
        assert self._last is not None
        op, self._last = self._last.op, None
        self.world.seen["given_back"] += 1
        self._witness.doubtful.add(op.hex())
        if lane.release(op, ReleaseReason.NOT_PASSED):
            self._witness.given_back.add(op.hex())
            self.world.note(f"gave back {op.hex()[:8]}")
        self._witness.doubtful.discard(op.hex())


def lane_direction(answer: Answer) -> Direction:
    return answer.direction


def _short(answer: Answer) -> str:
    return (
        ""
        if answer.claim is None
        else f"{answer.claim.ticket.hex()[:8]} x{answer.claim.units} op {answer.op.hex()[:8]}"
    )
