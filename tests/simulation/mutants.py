"""Mutants of the real code: each breaks one promise of the house by a small patch at run time, and must be caught by a seed.

A mutant that no seed catches says that the simulation is blind there. Patches are of the code under test alone, never of the harness;
where a function is long, its source is changed in one place and compiled again, so that the rest of it stays what it is.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import bindparam, func, select

from hub import node as hub_node
from hub import tables
from hub.services import arbiter as hub_arbiter
from hub.services import ledger as hub_ledger
from hub.services import reckoning as hub_reckoning
from kiosk.payment import attempt as payment_attempt
from kiosk.sale import charge, stock
from kiosk.sale import ledger as sale_ledger
from kiosk.sale.tables import Taken, stock_taken
from printer import spool
from printer.spool import ledger as spool_ledger
from scanner.gate import ledger as gate_ledger
from scanner.gate import store as gate_store
from scanner.gate.lane import Lane
from sync import download, granted, grants, journal, leasing, upload
from sync import store as sync_store
from sync.journal import anchor, operation
from sync.state import StateDir
from tickets.ids import OpId

Mutant = Callable[[], contextlib.AbstractContextManager[None]]


def rewritten(owner: Any, name: str, old: str, new: str) -> mock._patch[Any]:
    """A function of the real code with one place of its source changed. Fails where that place is not there any more."""
    function = inspect.getattr_static(owner, name)
    plain = inspect.unwrap(function.__func__ if isinstance(function, staticmethod | classmethod) else function)
    source = textwrap.dedent(inspect.getsource(plain))
    assert source.count(old) == 1, f"{name}: {old!r} stands {source.count(old)} times in it"
    names: dict[str, Any] = {}
    exec(compile(source.replace(old, new), f"<mutant of {name}>", "exec"), plain.__globals__, names)
    return mock.patch.object(owner, name, names[plain.__name__])


@contextlib.contextmanager
def _all(*patches: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def journal_not_synced() -> contextlib.AbstractContextManager[None]:
    """A device's journal with synchronous=NORMAL: commits that a power cut takes back."""
    real = sync_store.open_engine

    def normal(path: Any, **more: Any) -> Any:
        more.setdefault("durability", sync_store.Durability.NORMAL)
        return real(path, **more)

    return _all(mock.patch.object(journal, "open_engine", normal))


def claim_before_pending() -> contextlib.AbstractContextManager[None]:
    """The claim leaves before its row is on the disk."""
    asked: dict[OpId, Any] = {}
    real_take, real_ask = gate_ledger.take, Lane._ask
    lanes: list[Lane] = []

    def scan_of(self: Lane, *args: Any, **more: Any) -> Any:
        lanes.append(self)
        try:
            return real_scan(self, *args, **more)
        finally:
            lanes.pop()

    def take(connection: Any, taken: Any) -> None:
        asked[taken.op] = real_ask(lanes[-1], taken)
        real_take(connection, taken)

    def ask(self: Lane, taken: Any) -> Any:
        return asked.pop(taken.op) if taken.op in asked else real_ask(self, taken)

    real_scan = Lane.scan
    return _all(
        mock.patch.object(Lane, "scan", scan_of),
        mock.patch.object(gate_ledger, "take", take),
        mock.patch.object(Lane, "_ask", ask),
    )


def print_before_proof() -> contextlib.AbstractContextManager[None]:
    """The print job is put down with the INTENT, not with the proof."""
    real = charge.Charge._begin

    def begin(self: Any, sale: Any, method: Any) -> Any:
        request = real(self, sale, method)
        book = self._ledger
        with book.journal.write() as connection:
            spool.enqueue(connection, sale.job_id, "tickets", sale.documents, boot=book.boot, now=book._clock.now_utc())
        return request

    return _all(mock.patch.object(charge.Charge, "_begin", begin))


def spool_resumes_alone() -> contextlib.AbstractContextManager[None]:
    """After a restart the spool prints what an earlier run left, before the sale engine has ruled on it."""
    part, job = spool_ledger.print_part, spool_ledger.print_job
    following = (
        select(part.c.job, part.c.seq, part.c.document, part.c["try"].label("tries"))
        .join(job, job.c.id == part.c.job)
        .where(part.c.state.in_(spool_ledger._PRINTABLE), bindparam("machine") != "")
        .order_by(job.c.created_at, part.c.seq)
        .limit(1)
    )
    begin = (
        spool_ledger.update(part)
        .where(
            part.c.job == bindparam("b_job"),
            part.c.seq == bindparam("b_seq"),
            part.c["try"] == bindparam("b_tries"),
            bindparam("machine") != "",
        )
        .values({"state": "sending", "try": part.c["try"] + 1, "process_id": bindparam("b_process_id"), "grade": None})
    )
    return _all(
        mock.patch.object(spool_ledger, "_next", following),
        mock.patch.object(spool_ledger, "_begin", begin),
    )


def doubt_taken_for_no() -> contextlib.AbstractContextManager[None]:
    """A payment that nobody can prove is taken for one that was not made."""
    return _all(mock.patch.object(charge, "state_after", _no_doubt(payment_attempt.state_after)))


def _no_doubt(real: Callable[..., Any]) -> Callable[..., Any]:
    def state_after(rows: Any, evidence: Any) -> Any:
        state = real(rows, evidence)
        return payment_attempt.State.NOT_CHARGED if state is payment_attempt.State.UNKNOWN else state

    return state_after


def reversed_sale_keeps_stock() -> contextlib.AbstractContextManager[None]:
    """A sale that was taken back still counts against the lease."""
    return _all(rewritten(sale_ledger.Ledger, "reversed", "stock.release(connection, record.ref, now=now)", "pass"))


def lease_forgets_earlier_runs() -> contextlib.AbstractContextManager[None]:
    """What was sold before the last restart is not counted against the lease."""

    def left(connection: Any, slot: Any, *, besides: str = "") -> int:
        boot = connection.scalar(select(spool_ledger.sale_boot.c.boot))
        taken = select(func.coalesce(func.sum(stock_taken.c.count), 0)).where(
            stock_taken.c.slot == slot.slot.slot,
            stock_taken.c.state != Taken.RELEASED,
            stock_taken.c.order != besides,
            stock_taken.c.boot == boot,
        )
        return slot.quantity - int(connection.scalar(taken))

    return _all(mock.patch.object(stock, "left", left))


def digits_given_back_too_early() -> contextlib.AbstractContextManager[None]:
    """Digits are given back when the order is paid, and stand on the next guest's ticket too."""
    from kiosk.sale import numbers

    real = sale_ledger.Ledger.complete

    def complete(self: Any, sale: Any, paid: Any, **more: Any) -> None:
        real(self, sale, paid, **more)
        with self.journal.write() as connection:
            numbers.give_back(connection, sale.ref)

    return _all(mock.patch.object(sale_ledger.Ledger, "complete", complete))


def late_release_ignored() -> contextlib.AbstractContextManager[None]:
    """A release that comes after its use gives nothing back."""
    return _all(rewritten(hub_ledger, "give_back", "if row is not None and not row.released:", "if False:"))


def tombstone_ignored() -> contextlib.AbstractContextManager[None]:
    """A claim that was given up before it came takes the ticket all the same."""
    return _all(
        rewritten(
            hub_arbiter,
            "_decide",
            "if op in group.tombstones:",
            "if False:",
        )
    )


def known_op_not_recognised() -> contextlib.AbstractContextManager[None]:
    """The same claim, come twice, is decided twice."""
    real = hub_arbiter.claims

    def claims(connection: Any, asked: Any, **more: Any) -> Any:
        def as_new(one: Any) -> Any:
            op = bytes.fromhex(one.message.op)
            known = connection.scalar(select(tables.claim_answer.c.op).where(tables.claim_answer.c.op == op))
            return one if known is None else replace(one, message=replace(one.message, op=bytes(reversed(op)).hex()))

        return real(connection, [as_new(one) for one in asked], **more)

    return _all(mock.patch.object(hub_arbiter, "claims", claims))


def count_without_lock() -> contextlib.AbstractContextManager[None]:
    """The arbiter counts in one transaction and inserts in the next."""
    real, real_rows = hub_node.HubNode.claim, hub_arbiter._Driver.rows

    def claim(self: Any, message: Any, *, sender: Any) -> Any:
        mine = bytes.fromhex(message.ticket)
        with self.read() as connection:
            driver = hub_arbiter._Driver(connection)
            before = driver.rows(hub_arbiter._USES, [mine])
            driver.close()

        def rows(driver: Any, text: str, keys: Any) -> Any:
            found = real_rows(driver, text, keys)
            if text != hub_arbiter._USES or mine not in keys:
                return found
            return [*before, *(row for row in found if bytes(row[0]) != mine)]

        with mock.patch.object(hub_arbiter._Driver, "rows", rows):
            return real(self, message, sender=sender)

    return _all(mock.patch.object(hub_node.HubNode, "claim", claim))


def upload_answered_before_it_is_kept() -> contextlib.AbstractContextManager[None]:
    """The hub answers an upload whose commit a power cut takes back."""
    from tests.simulation import server

    real = sync_store.open_engine

    def normal(path: Any, **more: Any) -> Any:
        more.setdefault("durability", sync_store.Durability.NORMAL)
        return real(path, **more)

    return _all(mock.patch.object(server, "open_engine", normal))


def acknowledged_without_an_answer() -> contextlib.AbstractContextManager[None]:
    """A device takes a segment for delivered when its answer is lost, or it never got there."""
    real = upload.Uploader.step

    def step(self: Any) -> Any:
        segment = self._journal.next_segment(self._state)
        try:
            return real(self)
        except upload.HubUnreachable:
            if segment is not None:
                self._journal.acknowledge(segment, [], at=self._clock.now_utc().isoformat())
            raise

    return _all(mock.patch.object(upload.Uploader, "step", step))


def overlay_dropped_on_ack() -> contextlib.AbstractContextManager[None]:
    """A gate forgets its own use as soon as the hub has answered it, before the cache has heard of it."""
    real = gate_store.Store.overlay

    def overlay(self: Any, connection: Any, seen: Any) -> Any:
        acked = connection.execute(
            select(operation.c.op).where(
                operation.c.seq <= select(func.coalesce(func.max(anchor.c.seq), 0)).scalar_subquery()
            )
        ).scalars()
        gone = {OpId(op) for op in acked}
        facts = real(self, connection, seen)
        cached = {use.op for use in getattr(seen.facts, "used", ())}
        if not hasattr(facts, "used"):
            return facts
        return replace(facts, used=tuple(use for use in facts.used if use.op in cached or use.op not in gone))

    return _all(mock.patch.object(gate_store.Store, "overlay", overlay))


def policy_under_a_new_op() -> contextlib.AbstractContextManager[None]:
    """In silence a guest is let in under another operation than the one that was asked for."""
    real = gate_ledger.settle

    def settle(connection: Any, own: Any, taken: Any, verdict: Any, **more: Any) -> bool:
        if verdict.epoch is not None or verdict.kind is gate_ledger.VerdictKind.REFUSE:
            return real(connection, own, taken, verdict, **more)
        fresh = OpId(bytes(reversed(taken.op)))
        other = replace(taken, op=fresh)
        gate_ledger.take(connection, other)
        connection.execute(
            gate_ledger.update(gate_ledger.pending).where(gate_ledger.pending.c.op == taken.op).values(chained=1)
        )
        return real(connection, own, other, verdict, **more)

    return _all(mock.patch.object(gate_ledger, "settle", settle))


def interrupted_scans_forgotten() -> contextlib.AbstractContextManager[None]:
    """After a crash nobody asks what became of the scan that was under way."""
    return _all(mock.patch.object(Lane, "settle_interrupted", return_value=0))


def abandoned_claim_not_released() -> contextlib.AbstractContextManager[None]:
    """A guest is refused in silence, and the claim that is still on its way burns the ticket."""
    return _all(
        rewritten(
            Lane,
            "_settle_row",
            "self._op() if verdict.reason in _SILENT else None",
            "None",
        )
    )


def incarnation_unchanged() -> contextlib.AbstractContextManager[None]:
    """A journal begun after another was set aside takes up the old one's numbers."""
    return _all(
        mock.patch.object(StateDir, "incarnation", return_value=0),
    )


def cursor_before_rows() -> contextlib.AbstractContextManager[None]:
    """The feed's cursor is moved before the rows are there."""

    def lay_down(target: Any, page: Any, *more: Any, **named: Any) -> Any:
        if page.tables:
            with target.engine.begin() as connection:
                download.cache_file.move_cursor(connection, page.cursor)
        return real(target, page, *more, **named)

    real = download._lay_down
    return _all(mock.patch.object(download, "_lay_down", lay_down))


def granted_use_counts_again() -> contextlib.AbstractContextManager[None]:
    """An admission that the hub knows by its claim is counted a second time when it is uploaded."""
    real = hub_ledger.admit

    def admit(connection: Any, what: Any, *, device: Any, now: Any) -> Any:
        known = connection.scalar(select(hub_ledger.used.c.op).where(hub_ledger.used.c.op == bytes.fromhex(what.op)))
        if known is None:
            return real(connection, what, device=device, now=now)
        return real(connection, replace(what, op=bytes(reversed(known)).hex()), device=device, now=now)

    return _all(mock.patch.object(hub_ledger, "admit", admit))


def money_back_for_paper() -> contextlib.AbstractContextManager[None]:
    """The money goes back, though paper is already out."""
    from kiosk.sale import ruling

    real = ruling.next_move

    def next_move(case: Any) -> Any:
        move = real(case)
        return ruling.Move.GIVE_BACK if move is ruling.Move.OWE else move

    from kiosk.sale import recovery

    return _all(mock.patch.object(recovery, "next_move", next_move))


def uses_forgotten_before_they_are_told_back() -> contextlib.AbstractContextManager[None]:
    """A gate lets go of its own settled uses by their age alone, whatever its caches hold."""
    return _all(
        mock.patch.object(gate_ledger, "covered", lambda connection, journal, ops: frozenset(ops)),
        mock.patch.object(gate_store.Store, "told_back", lambda self, uses: frozenset(uses)),
    )


def cache_trusted_before_it_is_synced() -> contextlib.AbstractContextManager[None]:
    """A gate lets go of a use as soon as the cache in force shows it, which a power cut may take back."""
    return _all(mock.patch.object(gate_ledger, "covered", lambda connection, journal, ops: frozenset(ops)))


def late_lease_request_believed() -> contextlib.AbstractContextManager[None]:
    """The hub takes the totals of the last request that came, though it was on its way for long, and forgets what it lent since."""
    return _all(
        rewritten(
            hub_reckoning,
            "take_totals",
            "lent = max(said.lent.get(lender, 0), 0 if held is None else held.quantity)",
            "lent = said.lent.get(lender, 0)",
        )
    )


def return_not_journalled_before_sent() -> contextlib.AbstractContextManager[None]:
    """A kiosk tells the hub what it gives back, and writes it down when the answer is there."""
    real_request, real_apply = leasing.LeaseKeeper._request, grants.apply_lease
    real_give_back = grants.give_back
    unwritten: dict[str, tuple[int, int, str]] = {}

    def give_back(_connection: Any, slot: str, units: int, *, incarnation: int, lender: str) -> None:
        unwritten[slot] = (units, incarnation, lender)

    def step(self: Any, **more: Any) -> bool:
        unwritten.clear()
        return real_step(self, **more)

    def request(self: Any, needs: Any, now_s: float) -> Any:
        wanted = real_request(self, needs, now_s)
        with self._journal.read() as connection:
            rows = self._lent_rows(connection)
        wishes = {wish.slot: wish for wish in wanted.slots}
        for slot, (units, _, lender) in unwritten.items():
            wish = wishes.get(slot) or granted.totals(rows, slot)
            wishes[slot] = replace(wish, returned={**wish.returned, lender: wish.returned.get(lender, 0) + units})
        return replace(wanted, slots=tuple(wishes[slot] for slot in sorted(wishes)))

    def apply_lease(connection: Any, answer: Any, *, incarnation: int) -> None:
        for slot, (units, born, lender) in unwritten.items():
            real_give_back(connection, slot, units, incarnation=born, lender=lender)
        real_apply(connection, answer, incarnation=incarnation)

    real_step = leasing.LeaseKeeper.step
    return _all(
        mock.patch.object(grants, "give_back", give_back),
        mock.patch.object(grants, "apply_lease", apply_lease),
        mock.patch.object(leasing.LeaseKeeper, "_request", request),
        mock.patch.object(leasing.LeaseKeeper, "step", step),
    )


def group_decided_apart() -> contextlib.AbstractContextManager[None]:
    """Claims of one group do not see each other: each is decided on what was there before all of them."""
    return _all(rewritten(hub_arbiter, "_decide", "book.uses.append(taken)", "pass"))


MUTANTS: dict[str, Mutant] = {
    make.__name__: make
    for make in (
        journal_not_synced,
        claim_before_pending,
        print_before_proof,
        spool_resumes_alone,
        doubt_taken_for_no,
        reversed_sale_keeps_stock,
        lease_forgets_earlier_runs,
        digits_given_back_too_early,
        late_release_ignored,
        tombstone_ignored,
        known_op_not_recognised,
        count_without_lock,
        upload_answered_before_it_is_kept,
        acknowledged_without_an_answer,
        overlay_dropped_on_ack,
        policy_under_a_new_op,
        interrupted_scans_forgotten,
        abandoned_claim_not_released,
        incarnation_unchanged,
        cursor_before_rows,
        granted_use_counts_again,
        money_back_for_paper,
    )
}

UNPROVEN: dict[str, Mutant] = {
    make.__name__: make
    for make in (
        uses_forgotten_before_they_are_told_back,
        cache_trusted_before_it_is_synced,
        late_lease_request_believed,
        return_not_journalled_before_sent,
        group_decided_apart,
    )
}
"""Written, and not seen to be caught by a seed yet: they promise nothing until the simulation is deep enough there."""

SEEDS_MAX = 80
"""So many seeds a mutant may get away with before it has escaped."""
_CAUGHT = Path(__file__).with_name("caught.json")


def caught() -> dict[str, int]:
    """By mutant, the seed that caught it last time anyone looked."""
    found: dict[str, int] = json.loads(_CAUGHT.read_text(encoding="utf-8"))
    return found


def write_caught(found: dict[str, int]) -> None:
    _CAUGHT.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", encoding="utf-8")


def first_to_catch(name: str, made: Path, *, known: int | None = None) -> int | None:
    """The seed that shows a mutant up: `known` if it still does, else the first there is. None when it escapes.

    What a seed plays changes with the code it plays it to, so that a seed that caught a mutant once need not do so for ever; that one
    of the first SEEDS_MAX does is the promise. A seed that is broken without the mutant as well proves nothing, and is passed over.
    """
    from tests.simulation import venue

    for seed in ([] if known is None else [known]) + list(range(SEEDS_MAX)):
        if venue.run(seed, made, mutant=MUTANTS[name]).violations and not venue.run(seed, made).violations:
            return seed
    return None
