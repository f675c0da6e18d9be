"""What the sales of a segment took, until it is reckoned: their slots and the tickets of their keys.

A slot's row and a key's row are one for all sales of a kiosk. Reckoned sale by sale, each in a savepoint, a segment writes the same row five
hundred times in one transaction, and PostgreSQL walks past every earlier version of it each time. Nothing between two sales asks for the
figures, so once is enough; the one exception is a sale taken back (see `uploads`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from hub.services import certificates, reckoning
from sync.operation import Sale
from tickets.ids import Kid, kid


@dataclass(slots=True)
class Spent:
    """Not written anywhere: whoever takes back the sales forgets this too."""

    slots: set[str] = field(default_factory=set)
    tickets: Counter[Kid] = field(default_factory=Counter)

    def note(self, what: Sale) -> None:
        """The rows of this sale are written, or will be before `reckon`."""
        self.slots.update(line.slot for line in what.lines if line.slot is not None)
        self.tickets.update(kid(sold.kid) for sold in what.tickets)

    def reckon(self, connection: Connection, *, now: datetime) -> None:
        """Bring slots and keys up to date with all that was noted, and forget it. Raises database errors."""
        reckoning.after_sales(connection, self.slots, now=now)
        certificates.count(connection, self.tickets, now=now)
        self.slots.clear()
        self.tickets.clear()
