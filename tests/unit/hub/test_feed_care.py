"""Chores of the feed, who gets what of it, and the form before this one."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select, update

from hub import tables
from hub.errors import CursorGone, SchemaTooOld
from hub.node import HubNode
from hub.services import balance, feed, housekeeping
from sync.cache import FEED_TABLES
from sync.checksum import COLUMNS, digest, to_text
from sync.protocol import CURSOR_SCHEMA, SCOPES, Cursor, Page, scope_of
from sync.state import Role
from sync.upload import Uploader
from tests.hubkit import Device, open_some_slots
from tickets.ids import TicketId


def sell(kiosk: Device, count: int) -> None:
    kiosk.append(kiosk.sale(count=count))
    Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=kiosk.clock).step()


def remove(node: HubNode, ticket: str) -> None:
    with node.write() as connection:
        connection.execute(delete(tables.ticket).where(tables.ticket.c.ticket == bytes.fromhex(ticket)))
        feed.touch(connection, "ticket", [bytes.fromhex(ticket)])


def by_hand(node: HubNode) -> str:
    """The checksum from the documented definition and the tables alone."""
    total = 0
    with node.read() as connection:
        for row in connection.execute(select(tables.ticket)):
            total += digest("ticket", [getattr(row, name) for name in COLUMNS["ticket"]])
        for row in connection.execute(select(tables.used)):
            total += digest("used", [getattr(row, name) for name in COLUMNS["used"]])
    return to_text(total)


def drain(node: HubNode, cursor: str | None = None, *, scope: str = "venue") -> Page:
    page = node.changes(cursor, rows_max=100, scope=scope)
    while page.more:
        page = node.changes(page.cursor, rows_max=100, scope=scope)
    return page


def test_the_checksum_is_that_of_the_tables_at_every_step(kiosk: Device, gate: Device, node: HubNode) -> None:
    assert drain(node).checksum == by_hand(node) == "0" * 16
    sell(kiosk, 3)
    one, two = (sold.ticket for sold in kiosk.sold[:2])
    assert drain(node).checksum == by_hand(node)
    node.housekeep()
    node.claim(gate.claim(one), sender=gate.known)
    node.cancel_ticket(TicketId(bytes.fromhex(two)), by="office", reason="雨")
    assert drain(node).checksum == by_hand(node)
    node.housekeep()
    remove(node, kiosk.sold[2].ticket)
    assert drain(node).checksum == by_hand(node)
    node.housekeep()
    assert drain(node).checksum == by_hand(node) != "0" * 16


def test_the_digest_is_the_documented_one() -> None:
    values = [bytes.fromhex("00112233445566778899"), 3, 10, "valid", 1, 2, "ja", "000123", 0]
    assert list(FEED_TABLES["ticket"].c.keys()) == list(COLUMNS["ticket"])
    assert list(FEED_TABLES["used"].c.keys()) == list(COLUMNS["used"])
    assert f"{digest('ticket', values):016x}" == "ea62d6a65f56cc00"
    assert digest("ticket", ["00112233445566778899", *values[1:]]) == digest("ticket", values)


def test_a_row_that_changed_without_a_word_is_found_put_into_the_feed_and_told(kiosk: Device, node: HubNode) -> None:
    sell(kiosk, 2)
    page = drain(node)
    while node.housekeep().folded:
        pass
    with node.write() as connection:
        forgotten = bytes.fromhex(kiosk.sold[0].ticket)
        connection.execute(update(tables.ticket).where(tables.ticket.c.ticket == forgotten).values(state="blocked"))
    assert node.changes(page.cursor, rows_max=10).tables == (), "nobody said so"
    assert any(node.housekeep().repaired for _ in range(3))
    (part,) = node.changes(page.cursor, rows_max=10).tables
    assert [(row["ticket"], row["state"]) for row in part.as_mappings()] == [(forgotten.hex(), "blocked")]
    assert drain(node, page.cursor).checksum == by_hand(node)
    with node.read() as connection:
        assert "feed_repaired" in connection.scalars(select(tables.trouble.c.kind)).all()
    assert not any(node.housekeep().repaired for _ in range(4))


def test_a_deletion_is_kept_for_45_days_and_then_older_cursors_are_gone(kiosk: Device, node: HubNode) -> None:
    sell(kiosk, 2)
    old = drain(node).cursor
    remove(node, kiosk.sold[0].ticket)
    newer = drain(node, old).cursor
    sell(kiosk, 1)
    node.housekeep()
    first = node.clock.now_utc()
    for days in (1, 44):
        node.clock.now = first + timedelta(days=days)  # type: ignore[attr-defined]
        assert node.housekeep().buried == 0
    assert any(part.deletes for part in node.changes(old, rows_max=100).tables)
    node.clock.now = first + timedelta(days=46)  # type: ignore[attr-defined]
    assert node.housekeep().buried == 1
    with pytest.raises(CursorGone):
        node.changes(old, rows_max=100)
    assert [part.table for part in node.changes(newer, rows_max=100).tables] == ["ticket"]
    everything = drain(node, None)
    assert everything.checksum == by_hand(node)
    with node.read() as connection:
        gone = select(func.count()).where(tables.change.c.key == kiosk.sold[0].ticket)
        assert connection.scalar(gone) == 0


def test_a_device_that_pages_from_the_start_arrives_however_late_the_deletions_lie(
    kiosk: Device, node: HubNode
) -> None:
    """Where no snapshot exists, it would else be sent back to the start for ever."""
    sell(kiosk, 4)
    remove(node, kiosk.sold[0].ticket)
    node.clock.now = node.clock.now_utc() + timedelta(days=50)  # type: ignore[attr-defined]
    for _ in range(4):
        node.housekeep()
        sell(kiosk, 1)
        node.clock.now = node.clock.now_utc() + timedelta(days=50)  # type: ignore[attr-defined]
    with node.read() as connection:
        floor = feed.cursor_floor(connection)
    cursor, seen, below = None, set(), 0
    while True:
        page = node.changes(cursor, rows_max=2)
        seen |= {row["ticket"] for part in page.tables if part.table == "ticket" for row in part.as_mappings()}
        cursor = page.cursor
        if not page.more:
            break
        below += Cursor.decode(cursor).place < floor
    assert below, "the floor lay beyond the first page"
    assert seen == {sold.ticket for sold in kiosk.sold[1:]}
    assert Cursor.decode(cursor).begun == (0, 0), "from here on it is as any other"


def test_fewer_than_45_days_cannot_be_set(kiosk: Device, node: HubNode) -> None:
    sell(kiosk, 1)
    node.tombstone_days = 1
    remove(node, kiosk.sold[0].ticket)
    node.housekeep()
    node.clock.now = node.clock.now_utc() + timedelta(days=10)  # type: ignore[attr-defined]
    assert node.housekeep().buried == 0
    assert housekeeping.TOMBSTONE_DAYS_MIN == 45


def test_each_role_gets_its_scope_and_a_wider_cursor_goes_on_in_a_narrower_one(kiosk: Device, node: HubNode) -> None:
    open_some_slots(node)
    sell(kiosk, 1)
    at_gate, at_kiosk = (node.changes(None, rows_max=100, scope=scope) for scope in ("gate", "kiosk"))
    assert {part.table for part in at_gate.tables} == {"document", "key", "ticket"}
    assert {part.table for part in at_kiosk.tables} == {"document", "key", "slot", "ticket"}
    assert Cursor.decode(at_gate.cursor).scope == "gate"
    assert node.changes(at_kiosk.cursor, rows_max=10, scope="gate").tables == ()
    with pytest.raises(CursorGone):
        node.changes(at_gate.cursor, rows_max=10, scope="kiosk")
    assert set(SCOPES["gate"]) < set(SCOPES["kiosk"]) <= set(SCOPES["venue"]) == set(feed.FEEDS)
    assert [scope_of(role) for role in Role] == ["kiosk", "gate", "node"]
    assert set(SCOPES["node"]) == set(feed.NODE_FEEDS) > set(SCOPES["venue"])


def test_a_device_of_the_schema_before_is_served_and_goes_on_when_it_is_updated(kiosk: Device, node: HubNode) -> None:
    """Schema 1 is what devices spoke before scopes and checksums: no `schema` in the request, cursors of four keys."""
    sell(kiosk, 2)
    old = node.changes(None, rows_max=100, schema=1)
    row = old.to_row()
    assert (row["checksum"], row["schema"]) == (None, 1)
    cursor = json.loads(base64.urlsafe_b64decode(old.cursor + "=" * (-len(old.cursor) % 4)))
    assert set(cursor) - {"xid"} == {"epoch", "position", "scope", "schema"}
    assert cursor["schema"] == 1
    sell(kiosk, 1)
    assert len(node.changes(old.cursor, rows_max=100, schema=1).tables) == 1
    updated = node.changes(old.cursor, rows_max=100)
    assert [len(part.rows) for part in updated.tables] == [1]
    assert (updated.schema, updated.checksum) == (CURSOR_SCHEMA, by_hand(node))
    with pytest.raises(CursorGone):
        node.changes(updated.cursor, rows_max=100, schema=1)  # a device that was taken back begins anew
    with pytest.raises(SchemaTooOld):
        node.changes(None, rows_max=100, schema=0)
    assert node.changes(None, rows_max=100, schema=CURSOR_SCHEMA + 1).schema == CURSOR_SCHEMA


def test_the_feed_begins_again_from_the_tables_alone(kiosk: Device, node: HubNode) -> None:
    sell(kiosk, 3)
    before = drain(node)
    with node.read() as connection:
        epoch = feed.epoch(connection)
    node.begin_again("a test")
    with pytest.raises(CursorGone):
        node.changes(before.cursor, rows_max=100)
    page = node.changes(None, rows_max=100)
    assert {row["ticket"] for part in page.tables if part.table == "ticket" for row in part.as_mappings()} == {
        sold.ticket for sold in kiosk.sold
    }
    assert page.checksum == by_hand(node)
    assert Cursor.decode(page.cursor).epoch != epoch
    assert dataclasses.replace(page, cursor="", checksum=None).tables


def test_a_sum_is_worked_out_while_another_thread_forgets_them(node: HubNode) -> None:
    class Cleared(dict[tuple[object, ...], int]):
        """Another thread's `clear` comes right after the look."""

        def __contains__(self, key: object) -> bool:
            found = super().__contains__(key)
            self.clear()
            return found

    memo = balance.Memo()
    with node.read() as connection:
        total = balance.at(connection, memo)
        memo.known = Cleared(memo.known)
        assert total is not None
        assert balance.at(connection, memo) == total
