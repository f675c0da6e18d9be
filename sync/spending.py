"""What a journal's sales have taken of leases and of digits, and how fast. Reads only operations it has not seen.

The journal's own operations are the judge: they survive whatever else of the kiosk was lost.
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select

from sync.errors import MessageError
from sync.journal import Journal, operation
from sync.operation import Sale, SaleReversed, from_body

RATE_TIME = timedelta(hours=1)
"""How fast a slot sells is what it sold within this time."""
_NEW = (
    select(operation.c.seq, operation.c.kind, operation.c.body)
    .where(operation.c.incarnation == bindparam("incarnation"), operation.c.seq > bindparam("seq"))
    .order_by(operation.c.seq)
)


class Spending:
    """`sold`: units by slot, reversed sales given back. `digits`: short ids given out by (day in UTC, their length)."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._seq = journal, 0
        self._sales: dict[str, Sale] = {}
        self._recent: dict[str, deque[tuple[datetime, int]]] = {}
        self.sold: Counter[str] = Counter()
        self.digits: Counter[tuple[str, int]] = Counter()

    def update(self) -> None:
        with self._journal.read() as connection:
            rows = connection.execute(_NEW, {"incarnation": self._journal.incarnation, "seq": self._seq}).all()
        for row in rows:
            self._seq = row.seq
            if row.kind not in (Sale.KIND, SaleReversed.KIND):
                continue
            try:
                what = from_body(row.body)
            except MessageError:
                continue  # the hub will say so; counting goes on
            if isinstance(what, Sale):
                self._count(what)
            elif isinstance(what, SaleReversed) and what.order in self._sales:
                for line in self._sales.pop(what.order).lines:
                    if line.slot is not None:
                        self.sold[line.slot] -= line.count
                        self._recent[line.slot].append((datetime.fromisoformat(what.at), -line.count))

    def recent(self, slot: str, *, now: datetime) -> int:
        """How many units of the slot were sold within RATE_TIME."""
        sales = self._recent.get(slot)
        if sales is None:
            return 0
        while sales and sales[0][0] <= now - RATE_TIME:
            sales.popleft()
        return sum(count for _, count in sales)

    def last_sale(self, slot: str) -> datetime | None:
        sales = self._recent.get(slot)
        return sales[-1][0] if sales else None

    def peak(self, lengths: tuple[int, ...]) -> int:
        """The most short ids of these lengths that one day has needed."""
        days: Counter[str] = Counter()
        for (day, length), count in self.digits.items():
            if length in lengths:
                days[day] += count
        return max(days.values(), default=0)

    def _count(self, sale: Sale) -> None:
        at = datetime.fromisoformat(sale.at)
        for ticket in sale.tickets:
            self.digits[sale.at[:10], len(ticket.short_id)] += 1
        if any(line.slot for line in sale.lines):
            self._sales[sale.order] = sale
        for line in sale.lines:
            if line.slot is not None:
                self.sold[line.slot] += line.count
                self._recent.setdefault(line.slot, deque()).append((at, line.count))
