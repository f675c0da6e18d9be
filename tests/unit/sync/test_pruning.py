"""Deletion takes what is answered, covered and old, oldest first, and nothing that anyone still rests on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from hub.node import HubNode
from sync import journal
from sync.download import Downloader
from sync.journal import open_journal
from sync.operation import Sale
from sync.protocol import Cursor, has_reached
from sync.pruning import covered_seq, note_covered, note_given_back, note_lost, prune
from sync.upload import Uploader
from tests.hubkit import Device


def push(device: Device) -> None:
    uploader = Uploader(device.journal, device.state, device.hub, clock=device.clock)
    while uploader.step().operations:
        pass


def seqs(device: Device) -> list[int]:
    with device.journal.read() as connection:
        return list(connection.scalars(select(journal.operation.c.seq).order_by(journal.operation.c.seq)))


def cover(device: Device) -> int:
    pull = Downloader(device.journal, device.state, device.identity, device.hub, clock=device.clock)
    pull.open()
    while pull.step(wait_s=0).more:
        pass
    found = note_covered(device.journal, pull.cursors())
    pull.close()
    return found


@pytest.fixture
def sold(kiosk: Device) -> Device:
    for _ in range(5):
        kiosk.append(kiosk.sale())
        push(kiosk)
    return kiosk


def test_only_what_is_answered_covered_and_old_goes(sold: Device) -> None:
    now = sold.clock.now_utc()
    sold.append(sold.sale())  # 7: unsent
    assert prune(sold.journal, now=now + timedelta(days=99)).operations == 0, "no cache stands for it yet"
    assert cover(sold) == 6
    assert prune(sold.journal, now=now + timedelta(days=44)).operations == 0, "too young"
    assert prune(sold.journal, now=now + timedelta(days=46)).operations == 5
    assert seqs(sold) == [6, 7]


def test_the_chain_verifies_and_goes_on_after_deletion(sold: Device) -> None:
    cover(sold)
    prune(sold.journal, now=sold.clock.now_utc() + timedelta(days=46))
    again = open_journal(sold.state, clock=sold.clock, random_bytes=sold.random_bytes)
    again.verify()
    with again.write() as connection:
        assert again.append(connection, sold.sale()).seq == 7
    push(sold)
    assert again.unsent() == 0
    assert again.sent_segment(1) is None, "what is gone in part cannot be sent again"


def test_everything_that_was_deleted_is_at_the_hub(sold: Device, node: HubNode) -> None:
    cover(sold)
    prune(sold.journal, now=sold.clock.now_utc() + timedelta(days=46))
    from hub import tables

    with node.read() as connection:
        assert len(connection.scalars(select(tables.operation.c.seq)).all()) == 6


def test_oldest_go_first_in_bounded_steps(sold: Device) -> None:
    cover(sold)
    later = sold.clock.now_utc() + timedelta(days=46)
    first = prune(sold.journal, now=later, rows_max=2)
    assert (first.operations, first.more) == (2, True)
    assert seqs(sold) == [3, 4, 5, 6]


def test_a_rejected_operation_stays(kiosk: Device) -> None:
    with kiosk.journal.write() as connection:
        kiosk.journal.append_body(connection, b"\5" * 16, "sale", '{"op":"' + "05" * 16 + '","kind":"sale","at":"x"}')  # type: ignore[arg-type]
    for _ in range(2):
        kiosk.append(kiosk.sale())
        push(kiosk)
    cover(kiosk)
    prune(kiosk.journal, now=kiosk.clock.now_utc() + timedelta(days=46))
    assert seqs(kiosk) == [2, 4]
    with kiosk.journal.read() as connection:
        assert connection.scalars(select(journal.answer.c.status).where(journal.answer.c.op == b"\5" * 16)).one() == (
            "rejected"
        )


def test_a_cache_of_before_covers_nothing_new(sold: Device) -> None:
    pull = Downloader(sold.journal, sold.state, sold.identity, sold.hub, clock=sold.clock)
    pull.open()
    while pull.step(wait_s=0).more:
        pass
    sold.append(sold.sale())
    push(sold)
    assert note_covered(sold.journal, pull.cursors()) == 6
    assert note_covered(sold.journal, ()) == 6, "no cache at all covers nothing more"
    with sold.journal.read() as connection:
        assert covered_seq(connection, 1) == 6
    pull.close()
    assert Sale.KIND == "sale"


def test_a_cursor_of_another_feed_reaches_nothing() -> None:
    here, later = Cursor("a", 5).encode(), Cursor("a", 6).encode()
    assert has_reached(later, here)
    assert has_reached(here, here)
    assert not has_reached(here, later)
    assert not has_reached(Cursor("b", 99).encode(), here)
    assert not has_reached(None, here)
    assert not has_reached("nonsense", here)


def test_marks_of_a_feed_that_ended_hold_nothing_up_for_ever(sold: Device, node: HubNode) -> None:
    """The hub was restored, without a loss: nobody will ever reach what it named before."""
    node.begin_again("a test")
    sold.append(sold.sale())
    push(sold)
    assert cover(sold) == 7


def test_what_a_restored_hub_lost_is_laid_over_until_the_feed_has_brought_it_again(sold: Device) -> None:
    assert cover(sold) == 6
    held = Downloader(sold.journal, sold.state, sold.identity, sold.hub, clock=sold.clock)
    held.open()
    before = held.cursors()
    note_lost(sold.journal, 4)
    with sold.journal.read() as connection:
        assert covered_seq(connection, 1) == 4
    for first in (5, 6):
        sent = sold.journal.sent_segment(first)
        assert sent is not None
        sold.append(sold.sale())
        push(sold)  # the feed moves on; what is sent again is in it only now
        note_given_back(sold.journal, sent, sold.hub.operations(sent).cursor)
    assert note_covered(sold.journal, before) == 4
    held.close()
    assert cover(sold) == 8
