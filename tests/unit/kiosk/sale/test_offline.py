"""A kiosk without a line goes on as long as it has paper: what has no stock limit needs no lease, and digits never run out."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kiosk.sale.issue import Seller
from kiosk.sale.ledger import Ledger, paid_by
from printer.document import Document, Feed, Mark
from sync import granted
from sync.operation import Sale, from_body
from tests.support.device import KID, selling_kiosk
from tickets.clock import FixedClock
from tickets.ids import OrderId
from tickets.language import Language
from tickets.order import order_of
from tickets.short_id import parse

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
SALES = 2_000


@pytest.fixture
def folder() -> Iterator[Path]:
    """On a disk that need not sync: power loss is another test's subject, and this one commits four thousand times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def test_two_thousand_sales_without_a_line(folder):
    """The engine's own steps, each its transaction: numbered, digits taken, signed, made true. No lease, no hub, no end."""
    device = selling_kiosk(folder, sixes=600)
    with device.journal.read() as connection:
        catalogue = granted.catalogue(connection)
        nines = sum(len(block) for block in granted.short_blocks(connection, 8))
    random_bytes = random.Random(3).randbytes
    ledger = Ledger(device.journal, label="K2", boot="b", clock=FixedClock(NOW), random_bytes=random_bytes)
    order = order_of(catalogue, [(1, 1, None)])
    for _ in range(SALES):
        sale = ledger.prepare(
            OrderId(random_bytes(10)),
            order,
            language=Language.JA,
            seller=Seller(KID, device.selling_key),
            day=catalogue.venue.day,
            papers=lambda number, at, tickets: (Document("ticket", number, "ja", (Feed(8), Mark())),),
        )
        ledger.complete(sale, paid_by("none", None, None), attempt=None, proof=None)
    with device.journal.read() as connection:
        rows = connection.exec_driver_sql("SELECT body FROM operation WHERE kind = 'sale'").all()
    sold = [what for (body,) in rows if isinstance(what := from_body(body), Sale)]
    digits = [ticket.short_id for sale in sold for ticket in sale.tickets]
    assert len(sold) == len(set(digits)) == len({sale.number for sale in sold}) == SALES
    assert Counter(map(len, digits)) == {6: 600, 9: nines, 12: SALES - 600 - nines}
    assert all(parse(text) == text for text in digits)
    device.journal.verify()
