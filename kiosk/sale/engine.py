"""The sale engine: one thread that owns stock, terminal, ledger and paper, behind two queues.

The screen's thread calls `perform`, `take`, `start`, `stop` and nothing else; no code of the engine runs there, but for the wish
to cancel, which a terminal takes from any thread. What the guest is told comes after what it stands on is on disk.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from kiosk.payment.attempt import State, charge_evidence
from kiosk.payment.contract import AttemptId, Evidence, Method, Outcome, Progress, Stage, Terminal
from kiosk.payment.recovery import resolve
from kiosk.sale import recovery
from kiosk.sale.charge import Charge, Charged, InDoubt, NotCharged, Result
from kiosk.sale.errors import NotReady, SaleError, StockGone
from kiosk.sale.issue import IssuedTicket, Seller
from kiosk.sale.ledger import Ledger, Prepared, SaleRecord, paid_by
from kiosk.sale.outlook import Outlook
from kiosk.sale.papers import Papers
from kiosk.sale.readiness import PRINTER_AGE_S_MAX, printer_trouble
from kiosk.visit import effect, event
from kiosk.visit.event import EngineEvent
from kiosk.visit.port import INBOX_MAX, EngineStopped
from kiosk.visit.situation import Situation, Tender
from printer import encode, profile, spool
from printer.document import Document
from printer.encode.canvas import close_fonts
from printer.errors import PrinterError
from printer.templates import ClaimKind, PaperError
from sync.room import Level
from sync.service.doorbell import ring
from sync.service.health import Board
from tickets.clock import Clock
from tickets.ids import ORDER_ID_BYTES, OrderId, RandomBytes
from tickets.order import Order

log = structlog.get_logger()

IDLE_S = 0.25
PRINTING_S = 0.04
"""How often rows are looked at, at rest and while a guest watches the paper come out."""

DOUBT_S = 60.0
"""How long the engine keeps asking about a doubtful payment while the guest may still be standing there."""
DOUBT_PAUSE_S = 2.0

RULE_EVERY_S = 2.0
RULINGS_MAX = 5
"""A part that stays in doubt after so many tries will not come out for this guest: it is owed."""

LEASE_WAIT_S = 0.4
LEASE_PAUSE_S = 0.01
"""So long a guest who picked a slot waits for what the hub, the venue node or a neighbour can give of it. The screen does not: this is
the engine's thread.
"""

METHODS = {Tender.CARD: Method.CARD}
STAGES = {
    Stage.CONNECTING: event.PaymentStage.CONNECTING,
    Stage.INSERT_CARD: event.PaymentStage.PRESENT_CARD,
    Stage.FOLLOW_TERMINAL: event.PaymentStage.PRESENT_CARD,
    Stage.NOT_ACCEPTED: event.PaymentStage.PRESENT_CARD,
    Stage.ENTER_PIN: event.PaymentStage.ENTER_PIN,
    Stage.PIN_WRONG: event.PaymentStage.ENTER_PIN,
    Stage.REMOVE_CARD: event.PaymentStage.REMOVE_CARD,
    Stage.APPROVED: event.PaymentStage.CONFIRMING,
}


@dataclass(slots=True)
class Guest:
    """Whoever stands here: one order id until they have gone."""

    order_id: OrderId
    turn: int = 0
    sale: Prepared | None = None
    proof: Evidence | None = None
    told: tuple[int, str] | None = None
    receipt_turn: int | None = None
    ruled_s: float = float("-inf")
    rulings: int = 0
    is_owed: bool = False


class SaleEngine:
    """The real engine behind `kiosk.visit.port.Engine`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        terminal: Terminal,
        outlook: Outlook,
        board: Board,
        seller: Callable[[], Seller],
        papers: Callable[[], Papers],
        run_dir: Path,
        clock: Clock,
        random_bytes: RandomBytes,
    ) -> None:
        self._ledger = ledger
        self._terminal = terminal
        self._outlook = outlook
        self._board = board
        self._seller = seller
        self._papers = papers
        self._run_dir = run_dir
        self._clock = clock
        self._random_bytes = random_bytes
        self._charge = Charge(
            ledger, terminal, new_id=lambda: random_bytes(8).hex(), on_begun=lambda: ring(run_dir / "sync.bell")
        )
        self._inbox: queue.Queue[effect.EngineEffect] = queue.Queue(INBOX_MAX)
        self._outbox: queue.SimpleQueue[Situation | EngineEvent] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._failed = threading.Event()
        self._cancel_wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sale", daemon=False)
        self._profile_read: tuple[str, profile.Profile] | None = None
        self._guest = self._new_guest()

    # --- the screen's side

    def start(self) -> None:
        self._thread.start()

    def perform(self, what: effect.EngineEffect) -> None:
        if isinstance(what, effect.CancelPayment):
            self._cancel_wanted.set()  # it may come before the terminal was asked, or while it is
            self._terminal.cancel()
            return
        if isinstance(what, effect.CallStaff):
            self._outlook.call_staff(what.screen)  # a row and a log line; must not wait behind a payment
            return
        try:
            self._inbox.put_nowait(what)
        except queue.Full as error:
            raise EngineStopped("the sale engine does not take effects any more") from error

    def take(self) -> Situation | EngineEvent | None:
        try:
            return self._outbox.get_nowait()
        except queue.Empty:
            if self._failed.is_set():
                raise EngineStopped("the sale engine has ended") from None
            return None

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    # --- the engine's side

    def _run(self) -> None:
        try:
            self._ledger.announce()
            self._clear_up()  # before anything is said: a kiosk is open only once nothing of an earlier run is
            while not self._stopping.is_set():
                self._turn()
            self._ledger.close()
            ring(self._run_dir / "sync.bell")
        except Exception:
            log.exception("sale_engine_failed")
            self._failed.set()
        finally:
            self._terminal.close()

    def _turn(self) -> None:
        """One round: an effect if there is one, then a look at paper and situation."""
        try:
            what = self._inbox.get(timeout=PRINTING_S if self._guest.sale is not None else IDLE_S)
        except queue.Empty:
            pass
        else:
            self._perform(what)
        self._watch_paper()
        if self._guest.sale is None and self._outlook.wants_clearing_up():
            self._clear_up()
        self._tell_situation()

    def _perform(self, what: effect.EngineEffect) -> None:
        match what:
            case effect.HoldStock():
                self._hold(what)
            case effect.BeginPayment():
                self._sell(what)
            case effect.PrintReceipt():
                self._print_receipt(what)
            case effect.ClearGuest():
                self._let_go()
            case effect.CancelPayment() | effect.CallStaff():
                raise AssertionError("taken on the screen's thread")

    def _hold(self, what: effect.HoldStock) -> None:
        try:
            self._get_hold_of(dict(what.wanted))
            self._ledger.hold(self._guest.order_id, dict(what.wanted))
        except StockGone as gone:
            self._tell(event.StockRefused(turn=what.turn, slot=gone.slot, remaining=gone.remaining))
        except NotReady as error:
            log.warning("hold_refused", code=error.code, reason=str(error))
            self._tell(event.StockRefused(turn=what.turn, slot=next(iter(dict(what.wanted))), remaining=0))
        else:
            self._tell(event.StockHeld(turn=what.turn))

    def _get_hold_of(self, counts: Mapping[str, int]) -> None:
        """Ask for what the leases lack, and wait a little. Without a line nobody is asked, and nobody waits."""
        order = self._guest.order_id
        if self._ledger.has(order, counts) or not self._outlook.line_is_up():
            return
        self._ledger.wish(order, counts)
        ring(self._run_dir / "sync.bell")
        until_s = self._clock.monotonic_s() + LEASE_WAIT_S
        while self._clock.monotonic_s() < until_s and not self._stopping.is_set():
            if self._ledger.has(order, counts):
                return
            self._stopping.wait(LEASE_PAUSE_S)

    def _sell(self, what: effect.BeginPayment) -> None:
        guest = self._guest
        guest.turn = what.turn
        self._cancel_wanted.clear()
        try:
            if self._printer_trouble() is not None:
                raise NotReady("printer")
            if self._ledger.journal.room() is Level.STOP:
                raise NotReady("journal")
            sale = self._prepare(what.order, what)
            result = self._take_money(sale, what)
        except StockGone as gone:
            self._tell(event.StockRefused(turn=what.turn, slot=gone.slot, remaining=gone.remaining))
        except SaleError as error:
            log.warning("sale_refused", code=error.code, reason=str(error))
            terminal = isinstance(error, NotReady) and error.part == "terminal"
            reason = event.DeclineReason.TERMINAL if terminal else event.DeclineReason.NOT_READY
            self._tell(event.Declined(turn=what.turn, reason=reason))
        else:
            self._settle(guest, sale, what, result)

    def _prepare(self, order: Order, what: effect.BeginPayment) -> Prepared:
        papers = self._papers()

        def laid_out(number: str, at: datetime, tickets: Sequence[IssuedTicket]) -> Sequence[Document]:
            """The papers, each proven to fit this printer while nothing has been charged."""
            documents = papers.tickets(number, at, tickets, language=what.language)
            try:
                encode.check(documents, self._profile())
            except PrinterError as error:
                log.error("paper_unprintable", order=number, why=str(error))  # noqa: TRY400 the sentence is all there is
                raise NotReady("printer") from error
            finally:
                close_fonts()
            return documents

        return self._ledger.prepare(
            self._guest.order_id,
            order,
            language=what.language,
            seller=self._seller(),
            day=papers.catalogue.venue.day,
            papers=laid_out,
        )

    def _profile(self) -> profile.Profile:
        """Of the printer that the spool speaks to, as its health row names it."""
        facts = self._board.read("printer", now=self._clock.now_utc(), age_s_max=PRINTER_AGE_S_MAX).facts
        name = str(facts.get("profile", ""))
        if not name:
            raise NotReady("printer")
        if self._profile_read is None or self._profile_read[0] != name:
            self._profile_read = (name, profile.load(name))
        return self._profile_read[1]

    def _take_money(self, sale: Prepared, what: effect.BeginPayment) -> Result:
        if what.tender is None:
            assert sale.order.total.minor == 0, "only an order of 0 skips the terminal"
            self._ledger.complete(sale, paid_by("none", None, None), attempt=None, proof=None)
            return Charged()
        method = METHODS.get(what.tender)
        if method is None:
            raise NotReady("terminal")

        def watch(progress: Progress) -> None:
            if self._cancel_wanted.is_set() and progress.may_cancel:
                self._terminal.cancel()
            stage = STAGES.get(progress.stage, event.PaymentStage.PROCESSING)
            self._tell(event.PaymentProgress(turn=what.turn, stage=stage, cancellable=progress.may_cancel))

        return self._charge.take(
            sale,
            method,
            watch=watch,
            may_begin=lambda: not self._cancel_wanted.is_set(),
            may_issue=lambda: self._printer_trouble() is None,
        )

    def _settle(self, guest: Guest, sale: Prepared, what: effect.BeginPayment, result: Result) -> None:
        match result:
            case Charged():
                self._paid(guest, sale, what.turn)
            case NotCharged(by_guest=True):
                self._tell(event.Cancelled(turn=what.turn))
            case NotCharged(code=code):
                reason = event.DeclineReason.NOT_READY if code == "printer_left" else event.DeclineReason.DECLINED
                self._tell(event.Declined(turn=what.turn, reason=reason))
            case InDoubt(attempt=attempt):
                self._in_doubt(guest, sale, what, attempt)

    def _paid(self, guest: Guest, sale: Prepared, turn: int) -> None:
        ring(self._run_dir / "printer.bell")
        ring(self._run_dir / "sync.bell")
        guest.sale = sale
        guest.proof = self._proof(sale)
        self._tell(event.Paid(turn=turn))

    def _proof(self, sale: Prepared) -> Evidence | None:
        rows = self._ledger.rows_of_order(sale.ref)
        return charge_evidence(rows)

    def _in_doubt(self, guest: Guest, sale: Prepared, what: effect.BeginPayment, attempt: AttemptId) -> None:
        """Say so, keep asking while the guest may wait; never charge again, never issue without proof."""
        assert what.tender is not None
        record = _record(sale)
        claim = self._ledger.doubt(record, attempt, tender=what.tender, state="unknown")
        ring(self._run_dir / "sync.bell")
        self._tell(event.Unknown(turn=what.turn, claim=claim))
        job_id = f"{record.ref}-doubt-{attempt}"
        self._print_claim(job_id, ClaimKind.PAYMENT_UNKNOWN, record, claim, tickets=len(sale.tickets), owed=0)
        until = self._clock.monotonic_s() + DOUBT_S
        while self._clock.monotonic_s() < until and not self._guest_left() and not self._stopping.is_set():
            row = resolve(
                self._ledger.journal.engine,
                self._terminal,
                attempt_id=attempt,
                clock=self._clock,
                boot=self._ledger.boot,
                nothing_issued=False,
            )
            if row.evidence is not None and row.evidence.outcome is Outcome.APPROVED_FINAL:
                self._charge.finish(sale, attempt, METHODS[what.tender], row.evidence)
                self._ledger.doubt(record, attempt, tender=what.tender, state="paid")
                self._paid(guest, sale, what.turn)
                return
            if row.state in (State.NOT_CHARGED, State.VOIDED):
                self._ledger.doubt(record, attempt, tender=what.tender, state="not_paid")
                self._tell(event.Declined(turn=what.turn, reason=event.DeclineReason.DECLINED))
                return
            if row.state is State.STUCK:
                break
            self._stopping.wait(DOUBT_PAUSE_S)
        self._outlook.clearing_up_is_wanted()

    def _guest_left(self) -> bool:
        """Whether the next effect in the inbox is the guest's farewell; it stays there for its turn."""
        with self._inbox.mutex:
            return any(isinstance(waiting, effect.ClearGuest) for waiting in self._inbox.queue)

    def _watch_paper(self) -> None:
        guest = self._guest
        if guest.sale is None or guest.is_owed:
            return
        progress = self._ledger.progress(guest.sale.job_id)
        assert progress is not None, "a sale's papers are put down with it"
        self._rule_on(guest, progress)
        if guest.is_owed:
            return
        if progress.done == progress.total:
            self._tell_paper(guest, progress, "printed")
            self._watch_receipt(guest)
        elif self._printer_trouble() is not None:
            self._tell_paper(guest, progress, "trouble")
        else:
            self._tell_paper(guest, progress, "printing")

    def _rule_on(self, guest: Guest, progress: spool.Progress) -> None:
        """Parts in doubt are printed again while the guest stands here and the printer is well; not more often than it can answer.
        A paper that cannot be made at all is owed, with the rest.
        """
        assert guest.sale is not None
        if progress.state is spool.State.UNPRINTABLE:
            self._owe_now(guest, progress)
            return
        if progress.state not in (spool.State.IN_DOUBT, spool.State.REISSUED) and progress.ruled:
            return
        now_s = self._clock.monotonic_s()
        if self._printer_trouble() is not None or now_s - guest.ruled_s < RULE_EVERY_S:
            return
        guest.ruled_s = now_s
        guest.rulings += 1
        if guest.rulings > RULINGS_MAX:
            self._owe_now(guest, progress)
            return
        self._ledger.print_on(guest.sale.job_id)
        ring(self._run_dir / "printer.bell")

    def _owe_now(self, guest: Guest, progress: spool.Progress) -> None:
        """While the guest stands here: what does not come out is theirs under a number."""
        assert guest.sale is not None
        claim = self._owe(guest.sale)
        guest.is_owed = True
        self._tell(event.Owed(turn=guest.turn, claim=claim, done=progress.done, of=progress.total))

    def _tell_paper(self, guest: Guest, progress: spool.Progress, what: str) -> None:
        if guest.told == (progress.done, what):
            return
        guest.told = (progress.done, what)
        turn, done, of = guest.turn, progress.done, progress.total
        if what == "trouble":
            waits_for = event.WaitsFor.PAPER if self._printer_trouble() == "paper.out" else event.WaitsFor.PRINTER
            self._tell(event.PaperOut(turn=turn, done=done, of=of, waits_for=waits_for))
            return
        assert guest.sale is not None
        self._tell(event.Printing(turn=turn, done=done, of=of, parts=_parts(guest.sale, progress)))
        if what == "printed":
            self._tell(event.Printed(turn=turn))

    def _print_receipt(self, what: effect.PrintReceipt) -> None:
        guest = self._guest
        if guest.sale is None or guest.sale.order.total.minor == 0:
            self._tell(event.ReceiptFailed(turn=what.turn))
            return
        sale = guest.sale
        document = self._papers().receipt(sale.number, sale.at, sale.order, guest.proof, language=sale.language)
        self._ledger.print_also(_receipt_job(sale), "receipt", document)
        ring(self._run_dir / "printer.bell")
        guest.receipt_turn = what.turn

    def _watch_receipt(self, guest: Guest) -> None:
        if guest.receipt_turn is None or guest.sale is None:
            return
        progress = self._ledger.progress(_receipt_job(guest.sale))
        assert progress is not None
        if progress.done == progress.total:
            self._tell(event.ReceiptPrinted(turn=guest.receipt_turn))
            guest.receipt_turn = None
        elif progress.state in (spool.State.IN_DOUBT, spool.State.UNPRINTABLE):
            self._tell(event.ReceiptFailed(turn=guest.receipt_turn))
            guest.receipt_turn = None

    def _let_go(self) -> None:
        """The guest has gone. What they paid for and did not get is owed from here on; what they held is free."""
        guest = self._guest
        if guest.sale is None:
            self._ledger.let_go(guest.order_id.hex())
        else:
            progress = self._ledger.progress(guest.sale.job_id)
            if progress is not None and progress.done < progress.total and not guest.is_owed:
                self._owe(guest.sale)
        self._guest = self._new_guest()

    def _owe(self, sale: Prepared) -> str:
        """Owe what is not on paper; the number that guest and desk find it by."""
        record = _record(sale)
        ids = [ticket.sold.ticket for ticket in sale.tickets]
        claim, owed = self._ledger.owe(record, sale.job_id, ids)
        if owed:
            log.warning("tickets_owed", order=sale.number, owed=owed)
            job_id = f"{record.ref}-owed"
            self._print_claim(job_id, ClaimKind.TICKETS_OWED, record, claim, tickets=len(ids), owed=owed)
        ring(self._run_dir / "sync.bell")
        return claim

    def _print_claim(
        self, job_id: str, kind: ClaimKind, record: SaleRecord, claim: str, *, tickets: int, owed: int
    ) -> None:
        """A slip beside the number on the screen. It helps; that it cannot be made must never stop what it is about."""
        try:
            document = self._papers().claim(
                kind, claim, self._clock.now_utc(), record.amount, language=record.language, tickets=tickets, owed=owed
            )
            self._ledger.print_also(job_id, "claim", document)
        except (SaleError, PrinterError, PaperError) as error:
            log.warning("slip_not_made", order=record.number, why=str(error))
            return
        ring(self._run_dir / "printer.bell")

    def _clear_up(self) -> None:
        """Whatever an earlier run, or an earlier guest, left open; the kiosk takes no card before it is settled."""
        cleared = recovery.clear_up(self._ledger, self._terminal, clock=self._clock)
        self._outlook.unsettled(cleared.open_orders)
        for found in cleared.owed:  # the guest may still stand here: the screen is the next one's, the slip is theirs
            if found.owed:
                job_id = f"{found.record.ref}-owed"
                self._print_claim(
                    job_id, ClaimKind.TICKETS_OWED, found.record, found.claim, tickets=found.owed, owed=found.owed
                )
        ring(self._run_dir / "sync.bell")

    def _tell_situation(self) -> None:
        changed = self._outlook.look(self._terminal, busy=self._guest.sale is not None)
        if changed is not None:
            self._tell(changed)

    def _printer_trouble(self) -> str | None:
        return printer_trouble(self._board, now=self._clock.now_utc())

    def _tell(self, what: Situation | EngineEvent) -> None:
        self._outbox.put(what)

    def _new_guest(self) -> Guest:
        return Guest(order_id=OrderId(self._random_bytes(ORDER_ID_BYTES)))


def _record(sale: Prepared) -> SaleRecord:
    return SaleRecord(
        ref=sale.ref, number=sale.number, counter=sale.counter, language=sale.language, amount=sale.order.total
    )


def _receipt_job(sale: Prepared) -> str:
    return f"{sale.ref}-receipt"


def _parts(sale: Prepared, progress: spool.Progress) -> tuple[event.PrintedPart, ...]:
    """Per product, in printing order, how many papers are out."""
    done: dict[str, list[int]] = {}
    for ticket, part in zip(sale.tickets, progress.parts, strict=True):
        counts = done.setdefault(ticket.entitlement.product.product, [0, 0])
        counts[0] += part.state is spool.State.CONFIRMED
        counts[1] += 1
    return tuple(event.PrintedPart(product=product, done=out, of=of) for product, (out, of) in done.items())
