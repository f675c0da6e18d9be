from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import delete, select

from hub import tables
from hub.errors import CursorGone
from hub.node import HubNode
from hub.services import feed
from sync.errors import MessageError
from sync.protocol import Cursor
from sync.upload import Uploader
from tests.hubkit import Device
from tickets.ids import TicketId


def sell(kiosk: Device, count: int) -> None:
    kiosk.append(kiosk.sale(count=count))
    Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=kiosk.clock).step()


def test_pages_follow_each_other_without_gap_or_double(kiosk: Device, node: HubNode) -> None:
    sell(kiosk, 9)
    seen: list[str] = []
    cursor, more = None, True
    while more:
        page = node.changes(cursor, rows_max=4)
        assert sum(len(part.rows) for part in page.tables) <= 4
        seen += [row["ticket"] for part in page.tables if part.table == "ticket" for row in part.as_mappings()]
        cursor, more = page.cursor, page.more
    assert sorted(seen) == sorted(sold.ticket for sold in kiosk.sold)
    assert node.changes(cursor, rows_max=4).tables == ()


def test_a_row_that_changed_often_comes_once_in_its_latest_form_and_a_gone_one_as_a_tombstone(
    kiosk: Device, node: HubNode
) -> None:
    sell(kiosk, 2)
    cursor = node.changes(None, rows_max=100).cursor
    one, two = (TicketId(bytes.fromhex(sold.ticket)) for sold in kiosk.sold)
    for _ in range(3):
        with node.write() as connection:
            feed.touch(connection, "ticket", [one])
    node.cancel_ticket(one, by="office", reason="x")
    with node.write() as connection:
        connection.execute(delete(tables.ticket).where(tables.ticket.c.ticket == two))
        feed.touch(connection, "ticket", [two])
    (part,) = node.changes(cursor, rows_max=100).tables
    assert [(row["ticket"], row["state"]) for row in part.as_mappings()] == [(one.hex(), "cancelled")]
    assert part.deletes == (two.hex(),)
    with node.read() as connection:
        keys = connection.scalars(select(tables.change.c.key).where(tables.change.c.table == "ticket")).all()
    assert len(keys) == 7, "changes are only inserted"
    node.housekeep()
    with node.read() as connection:
        keys = connection.scalars(select(tables.change.c.key).where(tables.change.c.table == "ticket")).all()
    assert sorted(keys) == sorted([one.hex(), two.hex()]), "compacted"
    assert node.changes(cursor, rows_max=100).tables == (part,), "and the same to who comes late"


@pytest.mark.parametrize(
    "change",
    [{"epoch": "other"}, {"scope": "other"}, {"schema": 99}, {"position": 10**9, "xid": 10**9}],
    ids=lambda change: next(iter(change)),
)
def test_a_cursor_that_cannot_go_on_is_gone(kiosk: Device, node: HubNode, change: dict[str, object]) -> None:
    here = Cursor.decode(node.changes(None, rows_max=100).cursor)
    with pytest.raises(CursorGone):
        node.changes(dataclasses.replace(here, **change).encode(), rows_max=100)  # type: ignore[arg-type]
    with pytest.raises(MessageError):
        node.changes("?", rows_max=100)


def test_no_number_comes_twice_even_when_the_newest_change_was_rewritten(kiosk: Device, node: HubNode) -> None:
    """AUTOINCREMENT: a number that a device has passed is never given to another change."""
    sell(kiosk, 1)
    ticket = TicketId(bytes.fromhex(kiosk.sold[0].ticket))
    positions = []
    for _ in range(3):
        with node.write() as connection:
            feed.touch(connection, "ticket", [ticket])
            positions.append(feed.position(connection))
    assert positions == sorted(set(positions))
