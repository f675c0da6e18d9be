"""The lane: one scan after another, each from text to verdict. The walk that everything else at a gate serves.

    look (code, cache) -> one transaction: overlay, decide, PENDING -> claim -> settle -> verdict -> chained, after the light

Two promises. Green stands on a synced row: what cannot be recorded is not admitted. And each scan leaves exactly one chained
operation under its own op id, at the latest in the transaction of this lane's next scan; a refusal is chained before it is shown.

Deciding happens inside the transaction that records it (BEGIN IMMEDIATE), so that two processes of one device cannot both see the
last use of a ticket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, assert_never

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from scanner.gate import ledger
from scanner.gate.answer import Answer, Taken, Trouble
from scanner.gate.deciding import (
    Wish,
    before_settling,
    data_old,
    moment_of,
    offline_minutes,
    policy_of,
    wish_of,
)
from scanner.gate.errors import NotDurable
from scanner.gate.store import Seen, Store
from sync.claim import ClaimMessage
from sync.operation import ReleaseReason
from sync.protocol import ReleaseMessage
from tickets.admission import (
    Choose,
    Claim,
    Denied,
    Direction,
    Granted,
    NoTicket,
    Reason,
    Refuse,
    Scan,
    TicketFacts,
    Verdict,
    VerdictKind,
    refused,
    settle,
)
from tickets.catalogue import Catalogue, OfflinePolicy
from tickets.clock import Clock
from tickets.ids import OP_ID_BYTES, OpId, RandomBytes, TicketId

UNCHAINED_MAX = 64
"""Settled scans kept in memory while the journal cannot be written. What does not fit is settled at the next start."""

CHECKPOINT_COMMITS = 200
"""About the pages after which SQLite would do it by itself, in the middle of a scan."""

SETTLED_KEPT = timedelta(days=2)
"""A settled scan's row is kept for the day's counts and for whoever asks the next morning."""
FORGET_AT_ONCE = 500

_SILENT = (Reason.NO_ANSWER, Reason.DATA_OLD)
"""Refused because nobody answered: the claim may have arrived all the same, and must then take nothing."""

_log = structlog.get_logger()


class Arbiter(Protocol):
    def ask(self, claim: ClaimMessage) -> Granted | Denied | None:
        """The answer, or None for silence: no line, too late, or nothing that can be read. Never raises."""
        ...

    def give_back(self, release: ReleaseMessage) -> None:
        """Pass on, where there is a line, what is chained already: a use is given back. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class _Settled:
    """Shown, or about to be, and not chained yet."""

    taken: Taken
    verdict: Verdict
    at: datetime
    number: str | None


class Lane:
    """One owner thread. `gate` is the catalogue's word, `label` what stands before the numbers it gives out.

    `trust_clock`: the time was said by a person (`--at`), so it needs no floor. `heard_at`: when this device last had all that the hub
    knew, None where nobody can say; asked only where silence meets a limit (`offline_minutes_max`, or the product's own).
    """

    def __init__(
        self,
        store: Store,
        *,
        gate: str,
        label: str,
        clock: Clock,
        random_bytes: RandomBytes,
        arbiter: Arbiter | None = None,
        direction: Direction = Direction.ENTRY,
        trust_clock: bool = False,
        heard_at: Callable[[], datetime | None] | None = None,
        offline_minutes_max: int = 0,
    ) -> None:
        self._store = store
        self._journal = store.journal
        self.gate = gate
        self.direction = direction
        self._label = label
        self._clock = clock
        self._random_bytes = random_bytes
        self._arbiter = arbiter
        self._trust_clock = trust_clock
        self._heard_at = heard_at or (lambda: store.known.heard_at)
        self._offline_minutes_max = offline_minutes_max
        self._unchained: list[_Settled] = []
        self._unwritten_numbers = 0
        self._something_chained = False
        self._commits = 0
        ledger.checkpoint_by_hand(self._journal)

    @property
    def store(self) -> Store:
        return self._store

    @property
    def unchained(self) -> int:
        return len(self._unchained)

    def take_chained(self) -> bool:
        """Whether anything was chained since the last call: then the sync daemon has something to send."""
        chained, self._something_chained = self._something_chained, False
        return chained

    def scan(self, text: str, *, source: str, count: int | None = None) -> Answer:
        """From a text to a verdict that may be shown. Raises JournalDamaged alone; the caller sets the journal aside and asks again.

        After an admission `finish` is due, once the light is on.
        """
        op, at = self._op(), self._clock.now_utc()
        self._refresh()
        catalogue = self._store.known.catalogue
        seen = self._store.look(text, source=source, at=at)
        if catalogue is None:
            return self._unprepared(op, text, source, at, seen)
        scan = Scan(self.gate, self.direction, count)
        moment = moment_of(at, heard_at=None if self._trust_clock else self._store.known.heard_at)
        wish: Wish = Refuse(Reason.NO_ANSWER)
        facts, number, taken = seen.alone, None, None
        try:
            with ledger.durable(self._journal) as connection:
                facts = self._store.overlay(connection, seen)
                wish = wish_of(facts, seen, scan, moment, catalogue)
                match wish:
                    case Refuse(reason=reason):
                        number = self._number(connection, at, catalogue)
                        ledger.refuse(
                            connection,
                            self._journal,
                            op,
                            at=at,
                            ticket=None if isinstance(facts, NoTicket) else facts.ticket.hex(),
                            reason=reason,
                            gate=self.gate,
                            number=number,
                        )
                        chained = self._chain(connection)
                    case Claim():
                        taken = Taken(
                            op, at, self.gate, wish, policy_of(wish, facts, catalogue), seen.code, seen.row_known
                        )
                        ledger.take(connection, taken)
                        chained = self._chain(connection)
                    case Choose():
                        chained = 0  # nothing has happened yet
                    case _ as never:
                        assert_never(never)
        except NotDurable as error:
            return self._unrecorded(op, text, source, at, seen, wish, facts, error)
        self._forget(chained, also=isinstance(wish, Refuse))
        verdict = before_settling(wish)
        if taken is not None:
            minutes = offline_minutes(taken.claim, facts, catalogue, most=self._offline_minutes_max)
            verdict, number = self._settle(taken, minutes)
        return Answer(
            op=op,
            text=text,
            source=source,
            at=at,
            gate=self.gate,
            direction=self.direction,
            facts=facts,
            seen=seen,
            verdict=verdict,
            claim=None if taken is None else taken.claim,
            number=number,
        )

    def finish(self) -> None:
        """Chain what has been settled and shown. After the light; raises JournalDamaged alone."""
        self._tidy()  # before the commit: the first one after it starts the log anew and syncs twice
        if not self._unchained:
            return
        try:
            with ledger.durable(self._journal) as connection:
                chained = self._chain(connection)
        except NotDurable as error:
            _log.error("scan_unchained", scans=len(self._unchained), why=str(error))
            return
        self._forget(chained)

    def release(self, of: OpId, reason: ReleaseReason) -> bool:
        """Give a use back: nobody passed, or staff undid it. False when it could not be, or had been before."""
        self.finish()
        try:
            with ledger.durable(self._journal) as connection:
                at, op = self._clock.now_utc(), self._op()
                released = ledger.release(connection, self._journal, op, of=of, reason=reason, at=at, gate=self.gate)
            if released and self._arbiter is not None:
                self._arbiter.give_back(ReleaseMessage(op, of, reason, self.gate, at))
            self._something_chained |= released
            return released
        except NotDurable as error:
            _log.error("release_unrecorded", why=str(error))
            return False

    def settle_interrupted(self) -> int:
        """At start, before the first scan: settle each PENDING row without a verdict, and chain it. Returns how many there were.

        The arbiter knows whether it granted. Wherever the light may have been green the use counts: when nobody answers, whatever the
        policy, and when it is denied now but silence would have let the guest in then. Raises JournalDamaged or NotDurable.
        """
        with self._journal.read() as connection:
            interrupted = ledger.open_scans(connection)
        self._something_chained |= bool(interrupted)
        for taken in interrupted:
            answer = self._ask(taken)
            if isinstance(answer, Denied) and taken.policy is OfflinePolicy.ADMIT_AND_REPORT:
                answer = None
            verdict = settle(taken.claim, answer, OfflinePolicy.ADMIT_AND_REPORT)
            at = self._clock.now_utc()
            with ledger.durable(self._journal) as connection:
                number = None
                if verdict.kind is VerdictKind.REFUSE:
                    number = self._number(connection, at, self._store.known.catalogue)
                ledger.settle(connection, self._journal, taken, verdict, at=at, number=number, interrupted=True)
            _log.warning("scan_interrupted", op=taken.op.hex(), verdict=verdict.kind)
        return len(interrupted)

    def forget_settled(self) -> int:
        """Drop rows of scans that are long over: answered by the hub and told back by it, or nothing was taken. Returns how many.

        A use stays until every cache has it, whatever its age: until then this row is all that keeps its ticket used here. That the cache
        in force shows it is not enough: a power cut takes back what that file has not synced, and another generation may come.
        """
        before = self._clock.now_utc() - SETTLED_KEPT
        try:
            with self._journal.read() as connection:
                found = ledger.settled_long_ago(connection, before=before, most=FORGET_AT_ONCE)
                everywhere = ledger.covered(connection, self._journal, (OpId(row.op) for row in found))
            told = everywhere & self._store.told_back({OpId(row.op): TicketId(row.ticket) for row in found})
            over = [
                OpId(row.op) for row in found if row.verdict == VerdictKind.REFUSE or row.released or row.op in told
            ]
            if over:
                with ledger.durable(self._journal) as connection:
                    ledger.drop(connection, over)
        except (NotDurable, DBAPIError) as error:
            _log.warning("scans_not_forgotten", why=str(error))
            return 0
        return len(over)

    def _settle(self, taken: Taken, offline_minutes: int) -> tuple[Verdict, str | None]:
        """What the world says to a claim that is durable here. A refusal is chained at once, an admission after its light."""
        answer = self._ask(taken)
        at = self._clock.now_utc()
        old = answer is None and data_old(
            offline_minutes, heard_at=self._heard_at() if offline_minutes else None, at=at
        )
        verdict = settle(taken.claim, answer, taken.policy, data_old=old)
        if verdict.kind is not VerdictKind.REFUSE:
            self._keep(_Settled(taken, verdict, at, None))
            return verdict, None
        try:
            with ledger.durable(self._journal) as connection:
                number = self._number(connection, at, self._store.known.catalogue)
                self._settle_row(connection, taken, verdict, at, number)
            self._something_chained = True
        except NotDurable as error:
            _log.error("refusal_unrecorded", why=str(error))
            number = self._number_from_memory()
            self._keep(_Settled(taken, verdict, at, number))
            return verdict, number
        return verdict, number

    def _ask(self, taken: Taken) -> Granted | Denied | None:
        """The arbiter's answer. A grant of another reign than this gate lives in counts as silence, and changes nothing here."""
        epoch = self._store.known.epoch
        if self._arbiter is None:
            return None
        claim = taken.claim
        answer = self._arbiter.ask(
            ClaimMessage(
                op=taken.op.hex(),
                kind=claim.passage,
                ticket=claim.ticket.hex(),
                code=taken.code,
                units=claim.units,
                window=claim.window,
                gate=taken.gate,
                epoch=epoch,
            )
        )
        if isinstance(answer, Granted) and answer.epoch != epoch:
            _log.error("arbiter_of_another_epoch", epoch=answer.epoch, reigns=epoch)
            return None
        return answer

    def _chain(self, connection: Connection) -> int:
        """Chain all that is settled, inside the caller's transaction. Returns how many; they are forgotten once it has committed."""
        for settled in self._unchained:
            self._settle_row(connection, settled.taken, settled.verdict, settled.at, settled.number)
        return len(self._unchained)

    def _settle_row(
        self, connection: Connection, taken: Taken, verdict: Verdict, at: datetime, number: str | None
    ) -> None:
        abandon = self._op() if verdict.reason in _SILENT else None
        ledger.settle(connection, self._journal, taken, verdict, at=at, number=number, abandon=abandon)
        if abandon is not None and self._arbiter is not None:
            # Whether this commits or not: nobody was let in on it, and a release that is not chained now is chained with its scan later.
            self._arbiter.give_back(ReleaseMessage(abandon, taken.op, ReleaseReason.ABANDONED, taken.gate, at))

    def _forget(self, chained: int, *, also: bool = False) -> None:
        """What the committed transaction has chained; `also` whether there was an operation beside the settled ones."""
        del self._unchained[:chained]
        self._something_chained |= also or chained > 0
        self._commits += 1

    def _tidy(self) -> None:
        """Keep the log short, where nobody waits."""
        if self._commits >= CHECKPOINT_COMMITS:
            self._commits = 0
            ledger.checkpoint(self._journal)

    def _keep(self, settled: _Settled) -> None:
        if len(self._unchained) < UNCHAINED_MAX:
            self._unchained.append(settled)

    def _refresh(self) -> None:
        try:
            self._store.refresh()
        except DBAPIError as error:
            _log.error("grants_unread", why=str(error.orig))

    def _number(self, connection: Connection, at: datetime, catalogue: Catalogue | None) -> str:
        day = at.date() if catalogue is None else catalogue.venue.day.of(at)
        return ledger.next_number(connection, day=day.isoformat(), label=self._label)

    def _number_from_memory(self) -> str:
        """For a refusal that could not be written: still something to say at the desk, told apart by its 9."""
        self._unwritten_numbers += 1
        return ledger.spoken_number(self._label, 9000 + self._unwritten_numbers)

    def _unprepared(self, op: OpId, text: str, source: str, at: datetime, seen: Seen) -> Answer:
        """Before the first contact with the hub nothing can be decided, and nothing is recorded."""
        verdict = Verdict(VerdictKind.REFUSE, Reason.NO_ANSWER)
        return Answer(
            op,
            text,
            source,
            at,
            self.gate,
            self.direction,
            seen.alone,
            seen,
            verdict,
            trouble=Trouble.NO_CATALOGUE,
        )

    def _unrecorded(
        self,
        op: OpId,
        text: str,
        source: str,
        at: datetime,
        seen: Seen,
        wish: Wish,
        facts: TicketFacts | NoTicket,
        error: NotDurable,
    ) -> Answer:
        """The journal cannot be written: what would be refused is refused, everything else has to wait. Never green."""
        _log.error("scan_unrecorded", why=str(error))
        verdict = refused(wish if isinstance(wish, Refuse) else Refuse(Reason.NO_ANSWER))
        return Answer(
            op,
            text,
            source,
            at,
            self.gate,
            self.direction,
            facts,
            seen,
            verdict,
            number=self._number_from_memory(),
            trouble=Trouble.NOT_RECORDED,
        )

    def _op(self) -> OpId:
        return OpId(self._random_bytes(OP_ID_BYTES))
