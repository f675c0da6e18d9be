"""Each durable step of a sale, one transaction a method. The engine decides the order of the steps, this module what commits
together; nothing outside happens here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import OperationalError

from kiosk.payment import journal as payments
from kiosk.payment.attempt import Row, State, request_of
from kiosk.payment.contract import AttemptId, Evidence, OrderRef, PayRequest
from kiosk.payment.tables import create as create_payment
from kiosk.sale import numbers, stock
from kiosk.sale.errors import NotReady
from kiosk.sale.issue import IssuedTicket, Seller, digits_needed, issue, sale_operation
from kiosk.sale.tables import create as create_sale
from kiosk.sale.tables import sale_order
from printer import spool
from printer.document import Document
from sync import granted
from sync.journal import Journal
from sync.operation import Owed, Paid, PaymentDoubt, SaleReversed
from tickets.business_day import BusinessDay
from tickets.clock import Clock
from tickets.ids import OP_ID_BYTES, OrderId, RandomBytes
from tickets.language import Language
from tickets.money import Money
from tickets.order import Order

log = structlog.get_logger()

BEGUN = "begun"
"""The state of a payment that the terminal is about to be asked for; settled by its sale, or by `not_paid`."""
_ORDER = select(sale_order).where(sale_order.c.order == bindparam("order"))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sale that only waits for its money: numbered, its tickets signed but not valid, its papers ready to be put down."""

    order_id: OrderId
    order: Order
    number: str
    counter: int
    language: Language
    at: datetime
    tickets: tuple[IssuedTicket, ...]
    documents: tuple[Document, ...]

    @property
    def ref(self) -> OrderRef:
        return OrderRef(self.order_id.hex())

    @property
    def job_id(self) -> str:
        return f"{self.ref}-tickets"


@dataclass(frozen=True, slots=True)
class SaleRecord:
    """What the journal keeps of an order from its first step on, for whoever clears up after a crash."""

    ref: OrderRef
    number: str
    counter: int
    language: Language
    amount: Money


@contextmanager
def _recordable() -> Iterator[None]:
    """Before money has moved a journal that cannot be written (disk full, locked for too long) only means that nothing is sold."""
    try:
        yield
    except OperationalError as error:
        log.error("journal_unwritable", why=str(error.orig))  # noqa: TRY400 the reason is the whole story
        raise NotReady("journal") from error


class Ledger:
    """The sale engine's view of the journal. One writer: the engine's thread."""

    def __init__(self, journal: Journal, *, label: str, boot: str, clock: Clock, random_bytes: RandomBytes) -> None:
        self.journal = journal
        self.label = label
        self.boot = boot
        self._clock = clock
        self._random_bytes = random_bytes
        create_payment(journal.engine)
        create_sale(journal.engine)
        spool.create(journal.engine)

    def announce(self) -> None:
        """The first write of a run: from here on the spool prints only what this run puts down or rules on."""
        with self.journal.write() as connection:
            spool.announce_boot(connection, self.boot, now=self._clock.now_utc())
            stock.say_selling(connection, is_open=True, now=self._clock.now_utc())

    def close(self) -> None:
        """The last write of a run that was told to stop: what it has not sold may be given back."""
        with self.journal.write() as connection:
            stock.say_selling(connection, is_open=False, now=self._clock.now_utc())

    def wish(self, order_id: OrderId, counts: Mapping[str, int]) -> None:
        """A guest wants more than the leases have."""
        with self.journal.write() as connection:
            stock.wish(connection, order_id.hex(), counts, now=self._clock.now_utc())

    def has(self, order_id: OrderId, counts: Mapping[str, int]) -> bool:
        """Whether the leases have these now, for this order."""
        with self.journal.read() as connection:
            leases = {lease.slot.slot: lease for lease in granted.slot_leases(connection)}
            return all(
                slot in leases and stock.left(connection, leases[slot], besides=order_id.hex()) >= count
                for slot, count in counts.items()
            )

    def hold(self, order_id: OrderId, counts: Mapping[str, int]) -> None:
        """Hold exactly these slots for a guest who is choosing. Raises StockGone, NotReady."""
        with _recordable(), self.journal.write() as connection:
            stock.hold(connection, order_id.hex(), counts, boot=self.boot, now=self._clock.now_utc())

    def let_go(self, ref: str) -> None:
        """An order that was not paid: its stock and its digits are free. Not for one whose payment is in doubt."""
        with self.journal.write() as connection:
            stock.release(connection, ref, now=self._clock.now_utc())
            numbers.give_back(connection, ref)

    def prepare(
        self,
        order_id: OrderId,
        order: Order,
        *,
        language: Language,
        seller: Seller,
        day: BusinessDay,
        papers: Callable[[str, datetime, Sequence[IssuedTicket]], Sequence[Document]],
    ) -> Prepared:
        """Number the order, hold its stock and sign its tickets. Raises StockGone; then nothing is kept."""
        now = self._clock.now_utc()
        today, ref = day.of(now), order_id.hex()
        six, nine = digits_needed(order, sold_at=now, day=day)
        with _recordable(), self.journal.write() as connection:
            stock.hold(connection, ref, stock.wanted(order), boot=self.boot, now=now)
            earlier = connection.execute(_ORDER, {"order": ref}).first()  # a declined card, and another one now
            counter = earlier.counter if earlier is not None else numbers.next_counter(connection, today)
            number = earlier.number if earlier is not None else numbers.order_number(self.label, today, counter)
            sixes, nines = numbers.take_short_ids(connection, ref, six=six, nine=nine, random_bytes=self._random_bytes)
            row = {
                "order": ref,
                "number": number,
                "business_day": today.isoformat() if earlier is None else earlier.business_day,
                "counter": counter,
                "language": str(language),
                "body": json.dumps({"total_minor": order.total.minor, "currency": order.currency}),
                "at": now.isoformat(),
            }
            connection.execute(insert(sale_order).on_conflict_do_update(index_elements=["order"], set_=row), row)
        tickets = issue(
            order,
            sold_at=now,
            day=day,
            language=language,
            seller=seller,
            six=sixes,
            nine=nines,
            random_bytes=self._random_bytes,
        )
        documents = tuple(papers(number, now, tickets))
        return Prepared(order_id, order, number, counter, language, now, tickets, documents)

    def intend(self, request: PayRequest) -> None:
        """The INTENT, and in the same transaction the word of it that leaves the device: should this machine never come back, the
        office knows which guest's card the terminal was asked about. Raises NotReady: then the terminal is not asked.
        """
        with _recordable(), self.journal.write() as connection:
            payments.begin(connection, request=request, at=self._clock.now_utc(), boot=self.boot)
            self._tell_attempt(connection, request, BEGUN)

    def end(self, attempt: AttemptId, state: State, evidence: Evidence) -> None:
        """The row that proves an attempt not charged, and the word of it."""
        with self.journal.write() as connection:
            self._step(connection, attempt, state, evidence)
            self._tell_attempt(connection, request_of(payments.rows(connection, attempt)), "not_paid")

    def tell_ended(self, attempt: AttemptId) -> None:
        """The word that an attempt of an earlier run, of which only the beginning was told, was never charged."""
        with self.journal.write() as connection:
            self._tell_attempt(connection, request_of(payments.rows(connection, attempt)), "not_paid")

    def _tell_attempt(self, connection: Connection, request: PayRequest, state: str) -> None:
        """Without a claim number: a guest is given one only when there is a doubt."""
        said = PaymentDoubt(
            op=self._op(),
            at=self._clock.now_utc().isoformat(),
            attempt=request.attempt_id,
            order=request.order_ref,
            amount_minor=request.amount.minor,
            currency=request.amount.currency,
            tender=request.method,
            state=state,
            claim="",
        )
        self.journal.append(connection, said)

    def step(self, attempt: AttemptId, state: State, evidence: Evidence | None = None) -> None:
        """One payment row, durable before this returns."""
        with self.journal.write() as connection:
            self._step(connection, attempt, state, evidence)

    def rows(self, attempt: AttemptId) -> tuple[Row, ...]:
        with self.journal.read() as connection:
            return payments.rows(connection, attempt)

    def rows_of_order(self, ref: OrderRef) -> tuple[Row, ...]:
        """The rows of the order's newest attempt; empty where none was made."""
        with self.journal.read() as connection:
            newest = payments.last_of_order(connection, ref)
            return payments.rows(connection, newest[-1].attempt_id) if newest else ()

    def unsettled(self) -> tuple[Row, ...]:
        with self.journal.read() as connection:
            return payments.unsettled(connection)

    def complete(self, sale: Prepared, paid: Paid, *, attempt: AttemptId | None, proof: Evidence | None) -> None:
        """The transaction that makes a sale true: charge proven, tickets valid, stock sold, papers put down."""
        now = self._clock.now_utc()
        with self.journal.write() as connection:
            if attempt is not None:
                self._step(connection, attempt, State.CONFIRMED, proof)
            operation = sale_operation(
                sale.order,
                sale.tickets,
                op=self._op(),
                at=now,
                order_id=sale.ref,
                number=sale.number,
                language=sale.language,
                paid=paid,
            )
            self.journal.append(connection, operation)
            stock.sell(connection, sale.ref, now=now)
            spool.enqueue(connection, sale.job_id, "tickets", sale.documents, boot=self.boot, now=now)

    def print_also(self, job_id: str, kind: str, document: Document) -> None:
        """A paper beside the tickets: receipt, claim slip."""
        with self.journal.write() as connection:
            spool.enqueue(connection, job_id, kind, (document,), boot=self.boot, now=self._clock.now_utc())

    def progress(self, job_id: str) -> spool.Progress | None:
        with self.journal.read() as connection:
            return spool.progress(connection, job_id)

    def print_on(self, job_id: str) -> None:
        """What is not confirmed is printed, what may be on paper already as 再発行: its code is the same and admits once."""
        with self.journal.write() as connection:
            spool.rule(connection, job_id, spool.Decision.PRINT, boot=self.boot, now=self._clock.now_utc())

    def drop_job(self, job_id: str) -> None:
        with self.journal.write() as connection:
            spool.rule(connection, job_id, spool.Decision.VOID, boot=self.boot, now=self._clock.now_utc())

    def doubt(self, record: SaleRecord, attempt: AttemptId, *, tender: str, state: str) -> str:
        """Tell the hub that a payment is in doubt, or no longer. Returns the claim number."""
        with self.journal.write() as connection:
            claim = self._claim(connection, record, "payment_unknown")
            self.journal.append(
                connection,
                PaymentDoubt(
                    op=self._op(),
                    at=self._clock.now_utc().isoformat(),
                    attempt=attempt,
                    order=record.ref,
                    amount_minor=record.amount.minor,
                    currency=record.amount.currency,
                    tender=tender,
                    state=state,
                    claim=claim,
                ),
            )
            return claim

    def owe(self, record: SaleRecord, job_id: str, ticket_ids: Sequence[str]) -> tuple[str, int]:
        """Stop printing a job and owe what is not on paper. Returns (claim number, how many); (claim, 0) when all was printed."""
        with self.journal.write() as connection:
            return self._owe(connection, record, job_id, ticket_ids)

    def keep(
        self, record: SaleRecord, job_id: str, attempt: AttemptId, proof: Evidence, ticket_ids: Sequence[str]
    ) -> None:
        """A charge that the terminal will not give back: it stands, and what is not on paper is owed."""
        with self.journal.write() as connection:
            self._step(connection, attempt, State.CONFIRMED, proof)
            self._owe(connection, record, job_id, ticket_ids)

    def reversed(
        self, record: SaleRecord, job_id: str, *, attempt: AttemptId | None, proof: Evidence | None, paid: Paid
    ) -> None:
        """A sale of which nothing was handed over is taken back: money proven returned, tickets invalid, stock free."""
        now = self._clock.now_utc()
        with self.journal.write() as connection:
            if attempt is not None:
                self._step(connection, attempt, State.REVERSED, proof)
            self.journal.append(
                connection,
                SaleReversed(
                    op=self._op(), at=now.isoformat(), order=record.ref, reason="nothing was printed", proof=paid
                ),
            )
            stock.release(connection, record.ref, now=now)
            spool.rule(connection, job_id, spool.Decision.VOID, boot=self.boot, now=now)

    def record(self, ref: str) -> SaleRecord | None:
        with self.journal.read() as connection:
            row = connection.execute(_ORDER, {"order": ref}).first()
        if row is None:
            return None
        body = json.loads(row.body)
        return SaleRecord(
            ref=OrderRef(row.order),
            number=row.number,
            counter=row.counter,
            language=Language(row.language),
            amount=Money(body["total_minor"], body["currency"]),
        )

    def _owe(
        self, connection: Connection, record: SaleRecord, job_id: str, ticket_ids: Sequence[str]
    ) -> tuple[str, int]:
        now = self._clock.now_utc()
        claim = self._claim(connection, record, "tickets_owed")
        ruled = spool.rule(connection, job_id, spool.Decision.OWE, boot=self.boot, now=now)
        missing = tuple(ticket_ids[part.seq - 1] for part in ruled.parts if part.state is spool.State.OWED)
        if missing:
            owed = Owed(op=self._op(), at=now.isoformat(), order=record.ref, claim=claim, tickets=missing)
            self.journal.append(connection, owed)
        return claim, len(missing)

    def _step(self, connection: Connection, attempt: AttemptId, state: State, evidence: Evidence | None) -> None:
        payments.append(
            connection, attempt_id=attempt, state=state, at=self._clock.now_utc(), boot=self.boot, evidence=evidence
        )

    def _claim(self, connection: Connection, record: SaleRecord, reason: str) -> str:
        return numbers.claim(
            connection, record.ref, record.counter, label=self.label, reason=reason, now=self._clock.now_utc()
        )

    def _op(self) -> str:
        return self._random_bytes(OP_ID_BYTES).hex()


def paid_by(tender: str, attempt: AttemptId | None, evidence: Evidence | None) -> Paid:
    """The payment as a sale's operation tells it: the terminal's ids, and of the card no more than its mask."""
    if evidence is None:
        return Paid(tender=tender, attempt=attempt)
    return Paid(
        tender=tender,
        attempt=attempt,
        terminal=evidence.terminal_id,
        receipt=None if evidence.receipt_no is None else str(evidence.receipt_no),
        trace=None if evidence.trace is None else str(evidence.trace),
        brand=evidence.brand,
        masked=evidence.masked_id,
    )
