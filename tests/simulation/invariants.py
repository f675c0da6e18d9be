"""What must hold at rest, whatever happened: the design's invariants, asked of hub, devices and witness with the plainest means.

Nothing here calls a service of the hub but to compare its own word with what is counted anew.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from hub import tables
from hub.services import ledger
from kiosk.sale import stock
from kiosk.sale.tables import Taken, stock_taken
from sync import cache as cache_file
from sync import granted
from sync.cache import Cache
from sync.journal import answer, open_journal, operation
from sync.operation import Admission, Mode, Owed, PaymentDoubt, Release, Sale, from_body
from sync.protocol import Status
from tests.simulation.world import seeded

if TYPE_CHECKING:
    from tests.simulation.device import Site
    from tests.simulation.venue import Venue


class Books:
    """The hub's rows and the devices' journals, read once."""

    def __init__(self, venue: Venue) -> None:
        self.venue, self.witness = venue, venue.witness
        with venue.hub.node.read() as connection:
            self.operations = _all(connection, tables.operation)
            self.tickets = {row.ticket.hex(): row for row in _all(connection, tables.ticket)}
            self.used = {row.op.hex(): row for row in _all(connection, tables.used)}
            self.orders = {row.order.hex(): row for row in _all(connection, tables.order)}
            self.lines = _all(connection, tables.order_line)
            self.payments = _all(connection, tables.payment)
            self.slots = _all(connection, tables.slot)
            self.leases = _all(connection, tables.lease)
            self.withdrawals = _all(connection, tables.withdrawal)
            self.conflicts = ledger.all_conflicts(connection)
            self.caps = {
                (row.ticket.hex(), row.window): ledger.cap_of(
                    connection, _ledger_ticket(self.tickets[row.ticket.hex()]), row.window
                )
                for row in self.used.values()
                if row.ticket.hex() in self.tickets
            }
        self.said: dict[str, list[tuple[int, int, str]]] = {}
        self.unsent: dict[str, int] = {}
        self.rejected: dict[str, list[Any]] = {}
        self.labels = {site.identity.device: site.label for site in venue.sites}
        for site in venue.sites:
            self._read(site)

    def _read(self, site: Site) -> None:
        journal = open_journal(site.state, clock=site.machine.clock, random_bytes=seeded(site.world))
        journal.verify()
        with journal.read() as connection:
            rows = connection.execute(
                select(operation.c.incarnation, operation.c.seq, operation.c.body).order_by(
                    operation.c.incarnation, operation.c.seq
                )
            )
            self.said[site.label] = [(row.incarnation, row.seq, row.body) for row in rows]
            self.rejected[site.label] = list(
                connection.execute(select(answer).where(answer.c.status == Status.REJECTED))
            )
        self.unsent[site.label] = journal.unsent()
        journal.engine.dispose()

    def heard(self) -> list[Site]:
        """Devices that may still speak to the hub."""
        return [site for site in self.venue.sites if site.label not in self.witness.shut_out]

    def operations_of(self, kind: type[Any], *, by: Iterable[str] | None = None) -> list[Any]:
        """What devices said, from the hub's copy and their own, each once, in their order."""
        found: dict[str, Any] = {}
        rows = [(self.labels[row.device], row.incarnation, row.seq, row.body) for row in self.operations]
        rows += [(label, *row) for label, said in self.said.items() for row in said]
        for label, _, _, body in sorted(rows, key=lambda row: row[:3]):
            what = from_body(body)
            if isinstance(what, kind) and (by is None or label in by):
                found.setdefault(what.op, what)
        return list(found.values())


def broken(venue: Venue) -> list[str]:
    """Each broken promise in one line; empty when all hold."""
    books = Books(venue)
    checks = (
        _nothing_is_left_unsaid,
        _the_hub_has_what_was_said,
        _the_ledger_is_what_was_admitted,
        _confirmed_within_the_cap,
        _own_uses_never_flicker,
        _conflicts_are_the_excess,
        _money_adds_up,
        _paper_only_for_money,
        _paid_means_issued,
        _stock_adds_up,
        _digits_are_once,
        _caches_are_the_hub,
    )
    return [f"{check.__name__.strip('_')}: {line}" for check in checks for line in check(books)]


def _nothing_is_left_unsaid(books: Books) -> Iterator[str]:
    for node in books.venue.nodes:
        if not node.gone and (waiting := node.venue_node.waiting()):
            yield f"{node.name} holds {waiting} operations that the hub has not answered"
    for site in books.heard():
        if books.unsent[site.label]:
            yield f"{site.label} holds {books.unsent[site.label]} operations that the hub has not answered"
        for row in books.rejected[site.label]:
            yield f"{site.label}: {row.op.hex()[:8]} was rejected: {row.reason}"


def _the_hub_has_what_was_said(books: Books) -> Iterator[str]:
    """No gap in an incarnation, each operation once, and word for word."""
    at_hub: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for row in books.operations:
        at_hub[books.labels[row.device], row.incarnation][row.seq] = row.body
    for (label, incarnation), rows in sorted(at_hub.items()):
        if sorted(rows) != list(range(1, len(rows) + 1)):
            yield f"{label}.{incarnation}: the hub's numbers have a gap"
    for site in books.heard():
        for incarnation, seq, body in books.said[site.label]:
            if at_hub[site.label, incarnation].get(seq) != body:
                yield f"{site.label}.{incarnation}.{seq} is not at the hub as it was said"
    effective = Counter(row.op for row in books.operations if row.status == Status.ACCEPTED)
    for op, count in effective.items():
        if count > 1:
            yield f"{op.hex()[:8]} counts {count} times"


def _the_ledger_is_what_was_admitted(books: Books) -> Iterator[str]:
    """Every green light that was not given back counts, once, as shown; and nothing counts that nobody saw."""
    witness = books.witness
    admissions = {what.op: what for what in books.operations_of(Admission)}
    interrupted = {op for op, what in admissions.items() if what.interrupted}
    released = {what.of for what in books.operations_of(Release)}
    live = {op for op, row in books.used.items() if not row.released}
    unsure = witness.forgotten | witness.doubtful
    for op, green in witness.greens.items():
        if op in unsure:
            continue
        if op in witness.given_back:
            if op in live:
                yield f"{green.gate}: {op[:8]} was given back and still counts"
            continue
        row = books.used.get(op)
        if row is None or row.released:
            yield f"{green.gate}: green light {op[:8]} does not count"
        elif (row.ticket.hex(), row.units, row.window) != (green.ticket, green.units, green.window):
            yield f"{green.gate}: green light {op[:8]} counts as something else"
    for op in sorted(live - set(witness.greens) - interrupted - unsure):
        yield f"{op[:8]} counts, and nobody saw it (said: {op in admissions}, given back: {op in released})"
    for op in sorted(released & live - unsure):
        yield f"{op[:8]} is released in a journal and still counts"


def _confirmed_within_the_cap(books: Books) -> Iterator[str]:
    """While gates could ask: no ticket used twice, no book overdrawn. A hub that was put back begins a reign of its own."""
    units: Counter[tuple[str, str, tuple[int, int]]] = Counter()
    for op, green in books.witness.entered.items():
        if green.epoch is not None and op not in books.witness.forgotten | books.witness.doubtful:
            units[green.ticket, green.window, (green.reign, green.epoch)] += green.units
    for (ticket, window, reign), count in sorted(units.items()):
        cap = books.caps.get((ticket, window), 0)
        gone = 0 if window else books.witness.withdrawn[ticket, reign[0]]
        if cap and count + gone > cap:
            yield f"ticket {ticket[:8]} {window}: {count} confirmed, {gone} withdrawn of {cap} (reign {reign})"


def _own_uses_never_flicker(books: Books) -> Iterator[str]:
    """What a gate has let in by itself it never forgets: alone it admits no more than the cap, with or without an answer. Uses that it
    has let go of are the hub's to remember, and a hub that was put back may learn of them later than their guest comes again.
    """
    units: Counter[tuple[str, str, str, int]] = Counter()
    for op, green in books.witness.entered.items():
        if green.gate not in books.witness.put_back and op not in books.witness.doubtful:
            reign = green.reign if green.gate in books.witness.relies_on_cache else 0
            units[green.gate, green.ticket, green.window, reign] += green.units
    for (gate, ticket, window, _), count in sorted(units.items()):
        cap = books.caps.get((ticket, window), 0)
        if cap and count > cap:
            yield f"gate {gate} alone let ticket {ticket[:8]} {window} in {count} times of {cap}"


def _conflicts_are_the_excess(books: Books) -> Iterator[str]:
    spent: Counter[tuple[str, str]] = Counter()
    for row in books.used.values():
        if not row.released:
            spent[row.ticket.hex(), row.window] += row.units
    beyond: Counter[tuple[str, str]] = Counter()
    for conflict in books.conflicts:
        beyond[conflict.ticket.hex(), conflict.window] += conflict.beyond
        row = books.used[conflict.op.hex()]
        if row.released or (row.mode == Mode.CONFIRMED and not _apart(books)):
            yield f"{conflict.op.hex()[:8]} is reported, though it was confirmed or given back"
    withdrawn: Counter[str] = Counter()
    for row in books.withdrawals:
        withdrawn[row.ticket.hex()] += row.units
    for ticket, row in books.tickets.items():
        if row.withdrawn != withdrawn[ticket]:
            yield f"ticket {ticket[:8]}: {row.withdrawn} units are withdrawn, {withdrawn[ticket]} were"
    for key, count in sorted(spent.items()):
        cap = books.caps.get(key, 0)
        gone = 0 if key[1] else withdrawn[key[0]]  # what limits a day cannot be withdrawn
        excess = max(0, min(count, count + gone - cap)) if cap else 0
        if excess != beyond[key]:
            yield f"ticket {key[0][:8]} {key[1]}: {excess} too many, {beyond[key]} reported"


def _apart(books: Books) -> bool:
    """Whether more than one ruled here, or somebody forgot: what each has confirmed may come to more than the cap, and is reported."""
    return bool(books.witness.reign or books.witness.put_back or books.witness.hand_overs)


def _captured(books: Books) -> dict[str, int]:
    return {
        attempt: amount
        for sale in books.venue.sales
        if sale.machine.name not in books.witness.shut_out
        for attempt, amount in sale.book.captured().items()
    }


def _open_doubts(books: Books) -> set[str]:
    """Attempts that wait for a person, as the kiosks have said."""
    last = {what.attempt: what.state for what in books.operations_of(PaymentDoubt)}
    return {attempt for attempt, state in last.items() if state in ("unknown", "stuck")}


def _heard_payments(books: Books) -> list[Any]:
    out = {site.identity.device for site in books.venue.sites if site.label in books.witness.shut_out}
    return [row for row in books.payments if books.orders[row.order.hex()].device not in out]


def _money_adds_up(books: Books) -> Iterator[str]:
    """captured - refunded = price of the sales that stand + what is in doubt and said to be: attempt by attempt, and in all."""
    captured, doubts = _captured(books), _open_doubts(books)
    booked: Counter[str] = Counter()
    charges: Counter[str] = Counter()
    for row in _heard_payments(books):
        if row.attempt is not None:
            booked[row.attempt] += row.amount_minor
            charges[row.attempt] += row.kind == "charge"
        elif row.amount_minor:
            yield f"order {row.order.hex()[:8]}: {row.amount_minor} without an attempt"
    for attempt in sorted({*captured, *booked}):
        if charges[attempt] > 1:
            yield f"attempt {attempt} is booked {charges[attempt]} times"
        if attempt not in doubts and captured.get(attempt, 0) != booked[attempt]:
            yield f"attempt {attempt}: {captured.get(attempt, 0)} captured, {booked[attempt]} booked, and no doubt is open"
    for row in books.orders.values():
        total = sum(line.count * line.unit_minor for line in books.lines if line.order == row.order)
        if total != row.total_minor:
            yield f"order {row.number}: its lines are {total}, its total {row.total_minor}"
    paid = sum(row.total_minor for row in books.orders.values() if row.state == "paid" and _is_heard(books, row))
    net = sum(row.amount_minor for row in _heard_payments(books))
    if paid != net:
        yield f"orders that stand are {paid}, payments {net}"


def _is_heard(books: Books, row: Any) -> bool:
    return books.labels[row.device] not in books.witness.shut_out


def _paper_only_for_money(books: Books) -> Iterator[str]:
    """When a ticket came out, its charge was proven; and no paper belongs to a sale that was taken back."""
    sales = {sold.ticket: sale for sale in books.operations_of(Sale) for sold in sale.tickets}
    for ticket in sorted(books.witness.papers):
        sale = sales.get(ticket)
        if sale is None:
            yield f"ticket {ticket[:8]} is on paper and in no sale"
            continue
        if sale.total_minor and sale.paid.attempt not in books.witness.paid_when_printed[ticket]:
            yield f"ticket {ticket[:8]} was printed before its charge was proven"
        row = books.orders.get(sale.order)
        if row is not None and row.state == "reversed":
            yield f"ticket {ticket[:8]} is on paper, and its sale was taken back"


def _paid_means_issued(books: Books) -> Iterator[str]:
    """Every ticket of a sale that stands is on paper, or owed under a number, or its payment waits for a person."""
    owed = {ticket for what in books.operations_of(Owed) for ticket in what.tickets}
    doubts = _open_doubts(books)
    for sale in books.operations_of(Sale):
        row = books.orders.get(sale.order)
        if row is None or row.state != "paid" or sale.paid.attempt in doubts or not _is_heard(books, row):
            continue
        for sold in sale.tickets:
            if sold.ticket not in books.witness.papers and sold.ticket not in owed:
                yield f"ticket {sold.ticket[:8]} of {sale.number} was paid, and is neither on paper nor owed"


def _stock_adds_up(books: Books) -> Iterator[str]:
    """leased unsold + sold + free + at risk = stock, at the hub and in each kiosk; never oversold."""
    sold: Counter[tuple[str, bytes]] = Counter()
    for line in books.lines:
        row = books.orders[line.order.hex()]
        if line.slot is not None and row.state == "paid":
            sold[line.slot, row.device] += line.count
    for slot in books.slots:
        at_risk = sum(name.startswith(f"{slot.slot} ") for name in books.witness.at_risk)
        total = sum(count for (name, _), count in sold.items() if name == slot.slot)
        leased = 0
        if total > slot.capacity + at_risk:
            yield f"slot {slot.slot}: {total} sold of {slot.capacity} ({at_risk} at risk)"
        for device, label in books.labels.items():
            mine = [row for row in books.leases if (row.slot, row.device) == (slot.slot, device)]
            lent = sum(row.quantity - row.returned for row in mine)
            leased += max(0, lent - sold[slot.slot, device])
            if sold[slot.slot, device] > lent + at_risk:
                yield f"slot {slot.slot}: {label} sold {sold[slot.slot, device]} of the {lent} it was lent"
        drawers = (slot.leased, slot.sold, slot.free, slot.at_risk)
        beyond = max(0, leased + total - slot.capacity)
        if drawers != (leased, total, slot.capacity + beyond - leased - total, 0) or beyond > at_risk:
            yield f"slot {slot.slot}: booked {drawers}; {leased} leased unsold and {total} sold of {slot.capacity} ({at_risk} at risk)"
    for site in books.venue.kiosks:
        if site.label not in books.witness.shut_out:
            yield from _kiosk_stock(books, site, sold)


def _kiosk_stock(books: Books, site: Site, sold: Counter[tuple[str, bytes]]) -> Iterator[str]:
    journal = open_journal(site.state, clock=site.machine.clock, random_bytes=seeded(site.world))
    with journal.read() as connection:
        for lease in granted.slot_leases(connection):
            name = lease.slot.slot
            held = sum(
                row.count
                for row in connection.execute(select(stock_taken).where(stock_taken.c.slot == name))
                if row.state == Taken.HELD
            )
            left, gone = stock.left(connection, lease), sold[name, site.identity.device]
            if left + held + gone != lease.quantity or left < 0:
                yield f"{site.label} {name}: {left} left, {held} held, {gone} sold of {lease.quantity} lent"
    journal.engine.dispose()


def _digits_are_once(books: Books) -> Iterator[str]:
    """No short id twice among tickets that are usable at the same time."""
    if any(name.startswith("block") for name in books.witness.at_risk):
        return
    by_digits: dict[str, list[Any]] = defaultdict(list)
    for row in books.tickets.values():
        if row.short_id:
            by_digits[row.short_id].append(row)
    for digits, rows in sorted(by_digits.items()):
        rows.sort(key=lambda row: row.not_before)
        for one, other in pairwise(rows):
            if other.not_before < one.expires and {one.state, other.state} <= {"valid"}:
                yield f"{digits} stands on two tickets of one day"


def _caches_are_the_hub(books: Books) -> Iterator[str]:
    tickets = {
        (row.ticket, row.variant, row.uses, row.state, row.short_id, row.withdrawn) for row in books.tickets.values()
    }
    uses = {_use(books, row) for row in books.used.values()}
    for site in books.heard():
        journal = open_journal(site.state, clock=site.machine.clock, random_bytes=seeded(site.world))
        with journal.read() as connection:
            number = granted.generation(connection)
        journal.engine.dispose()
        if number is None:
            yield f"{site.label} has no cache"
            continue
        held = Cache.open(site.state.cache(number))
        with held.engine.begin() as connection:
            here = {
                (row.ticket, row.variant, row.uses, row.state, row.short_id, row.withdrawn)
                for row in _all(connection, cache_file.ticket)
            }
            mine = {_use(books, row) for row in _all(connection, cache_file.used)}
        held.close()
        if here != tickets:
            yield f"{site.label}: {len(tickets - here)} tickets of the hub are missing, {len(here - tickets)} are wrong"
        if (
            books.witness.hand_overs
        ):  # a node may have granted what was given up before its hub heard of it: it counts for nothing
            mine = {row for row in mine if row in uses or row[0].hex() in books.used or not row[4]}
        if mine != uses:
            yield f"{site.label}: {len(uses - mine)} uses of the hub are missing, {len(mine - uses)} are wrong"


def _use(books: Books, row: Any) -> tuple[Any, ...]:
    """A venue node that ruled has a time, a word and an order of its own for what it granted."""
    own = () if books.witness.hand_overs else (row.at, row.mode, row.arrival)
    return (row.op, row.ticket, row.passage, row.units, row.released, *own)


def _all(connection: Any, table: Any) -> list[Any]:
    return list(connection.execute(select(table)).all())


def _ledger_ticket(row: Any) -> ledger.LedgerTicket:
    return ledger.LedgerTicket(row.ticket, row.variant, row.uses, row.state)
