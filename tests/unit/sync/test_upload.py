from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import select

from hub import tables
from hub.database import open_database
from hub.node import HubNode
from sync.chain import Segment
from sync.errors import HubRefused, HubUnreachable
from sync.journal import answer
from sync.protocol import Answer, Answers, Status
from sync.upload import Uploader
from tests.hubkit import Device, LocalHub, seeded
from tickets.ids import OpId


def uploader(device: Device, hub: LocalHub | None = None) -> Uploader:
    return Uploader(device.journal, device.state, hub or device.hub, clock=device.clock)


def drain(device: Device) -> int:
    total = 0
    while sent := uploader(device).step().operations:
        total += sent
    return total


def hub_bodies(node: HubNode) -> list[str]:
    with node.read() as connection:
        query = select(tables.operation.c.body).order_by(tables.operation.c.incarnation, tables.operation.c.seq)
        return list(connection.scalars(query))


def journal_bodies(device: Device) -> list[str]:
    from sync.journal import operation

    with device.journal.read() as connection:
        return list(connection.scalars(select(operation.c.body).order_by(operation.c.seq)))


def test_everything_arrives_once_in_order_to_the_letter(kiosk: Device, node: HubNode) -> None:
    kiosk.append(*(kiosk.sale() for _ in range(3)))
    assert kiosk.journal.unsent() == 4
    assert drain(kiosk) == 4
    assert hub_bodies(node) == journal_bodies(kiosk)
    assert kiosk.journal.unsent() == 0
    assert uploader(kiosk).step().operations == 0


def test_a_lost_answer_means_a_duplicate_not_a_second_sale(kiosk: Device, node: HubNode) -> None:
    class Lossy(LocalHub):
        def operations(self, segment: Segment) -> tuple[Answer, ...]:
            super().operations(segment)
            raise HubUnreachable("lost")

    kiosk.append(kiosk.sale())
    with pytest.raises(HubUnreachable):
        uploader(kiosk, Lossy(node, kiosk.identity.device)).step()
    assert kiosk.journal.unsent() == 2
    assert drain(kiosk) == 2
    with kiosk.journal.read() as connection:
        assert set(connection.scalars(select(answer.c.status))) == {Status.DUPLICATE}
    with node.read() as connection:
        assert len(connection.execute(select(tables.order)).all()) == 1


def test_a_rejected_operation_stays_and_holds_nothing_up(kiosk: Device, node: HubNode) -> None:
    bad, good = kiosk.sale(total_minor=1), kiosk.sale()
    kiosk.append(bad, good)
    assert drain(kiosk) == 3
    with kiosk.journal.read() as connection:
        rows = {row.op.hex(): row for row in connection.execute(select(answer))}
    assert rows[bad.op].status == Status.REJECTED
    assert rows[bad.op].reason == "total_is_not_the_sum_of_its_lines"
    assert rows[good.op].status == Status.ACCEPTED
    assert journal_bodies(kiosk) == hub_bodies(node)
    with node.read() as connection:
        assert connection.scalar(select(tables.trouble.c.kind)) == "rejected"


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # by pg_dump on both: tests/unit/hub/test_restore.py
def test_a_hub_restored_from_yesterday_is_given_back_what_it_lost(kiosk: Device, node: HubNode, tmp_path: Path) -> None:
    kiosk.append(kiosk.sale())
    drain(kiosk)
    with node.engine.connect() as connection:
        connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(tmp_path / "hub.db", tmp_path / "yesterday.db")
    for _ in range(3):
        kiosk.append(kiosk.sale())
        drain(kiosk)
    restored = HubNode(
        open_database(f"sqlite:///{tmp_path / 'yesterday.db'}"), node.key, clock=node.clock, random_bytes=seeded(9)
    )
    kiosk.hub.node = restored
    kiosk.append(kiosk.sale())
    drain(kiosk)
    assert hub_bodies(restored) == journal_bodies(kiosk)


def test_a_fork_is_refused_and_put_on_record(kiosk: Device, node: HubNode, tmp_path: Path) -> None:
    """Two copies of one disk: both go on from the same place."""
    from sync.journal import open_journal
    from sync.state import StateDir

    drain(kiosk)
    shutil.copytree(kiosk.state.path, tmp_path / "copy")
    twin = StateDir(tmp_path / "copy")
    other = Device(
        twin,
        kiosk.identity,
        open_journal(twin, clock=kiosk.clock, random_bytes=seeded(9)),
        kiosk.hub,
        kiosk.clock,
        seeded(9),
    )
    kiosk.append(kiosk.sale())
    other.append(other.sale())
    drain(kiosk)
    with pytest.raises(HubRefused) as caught:
        uploader(other).step()
    assert caught.value.error == "chain_fork"
    assert other.journal.unsent() == 1
    with node.read() as connection:
        assert connection.scalar(select(tables.trouble.c.kind)) == "chain_fork"


def test_half_the_answers_are_no_answer(kiosk: Device, node: HubNode) -> None:
    class Short(LocalHub):
        def operations(self, segment: Segment) -> tuple[Answer, ...]:
            return super().operations(segment)[:-1]

    kiosk.append(kiosk.sale())
    with pytest.raises(HubUnreachable):
        uploader(kiosk, Short(node, kiosk.identity.device)).step()
    assert kiosk.journal.unsent() == 2


def test_what_only_a_node_had_is_shown_to_the_hub_before_anything_new(kiosk: Device, node: HubNode) -> None:
    """Acknowledged by a venue node that died: the hub gets it, once, before what came after; the first look costs nothing more."""

    class Node(LocalHub):
        """Takes everything, and keeps it to itself."""

        def operations(self, segment: Segment) -> Answers:
            return Answers.of((Answer(OpId(bytes(16)), Status.ACCEPTED) for _ in segment.bodies), cursor=None)

    kiosk.append(kiosk.sale())
    drain(kiosk)
    at_node = Uploader(kiosk.journal, kiosk.state, Node(node), clock=kiosk.clock, at_hub=False)
    for _ in range(3):
        kiosk.append(kiosk.sale())
        assert at_node.step().operations == 1
    assert (kiosk.journal.acknowledged_seq(), kiosk.journal.hub_seq(), kiosk.journal.unsent()) == (5, 2, 0)
    at_node.use(kiosk.hub, at_hub=True)
    assert at_node.step().operations == 0, "nothing is new"
    assert hub_bodies(node) == journal_bodies(kiosk)
    kiosk.append(kiosk.sale())
    assert at_node.step().operations == 1
    assert hub_bodies(node) == journal_bodies(kiosk)
    assert kiosk.journal.hub_seq() == kiosk.journal.acknowledged_seq() == 6
    with kiosk.journal.read() as connection:
        assert connection.execute(select(answer)).all()


def test_the_hubs_no_replaces_a_nodes_yes(kiosk: Device) -> None:
    what = kiosk.sale()
    kiosk.append(what)
    drain(kiosk)
    op = OpId(bytes.fromhex(what.op))
    kiosk.journal.settle(2, [(op, "conflict", "already_used")], at="2026-11-23T00:00:00+00:00")
    with kiosk.journal.read() as connection:
        [row] = connection.execute(select(answer).where(answer.c.op == op))
    assert (row.status, row.reason) == ("conflict", "already_used")


def test_segments_get_smaller_while_the_hub_has_too_much_to_do_and_grow_again(kiosk: Device) -> None:
    class Tired(LocalHub):
        sizes: list[int]

        def operations(self, segment: Segment) -> tuple[Answer, ...]:
            self.sizes.append(len(segment.bodies))
            if len(self.sizes) <= 4:
                raise HubUnreachable("the hub answered 503", slow=True, retry_after_s=1)
            return super().operations(segment)

    kiosk.append(*(kiosk.sale() for _ in range(599)))
    hub = Tired(kiosk.hub.node, kiosk.identity.device)
    hub.sizes = []
    sending = uploader(kiosk, hub)
    for _ in range(4):
        with pytest.raises(HubUnreachable):
            sending.step()
    assert sending.batch.operations == 31
    while sending.step().operations:
        pass
    assert len(set(hub.sizes[:5])) == 1, "what was cut once is sent as it was cut"
    assert hub.sizes[0] > 300
    assert hub.sizes[5:7] == [31 + 50, 31 + 100], "what is cut later is smaller, and grows"
    assert kiosk.journal.unsent() == 0


def test_a_line_that_is_simply_not_there_makes_nothing_smaller(kiosk: Device) -> None:
    class Away(LocalHub):
        def operations(self, segment: Segment) -> tuple[Answer, ...]:
            raise HubUnreachable("no line to the hub")

    kiosk.append(kiosk.sale())
    sending = uploader(kiosk, Away(kiosk.hub.node, kiosk.identity.device))
    for _ in range(5):
        with pytest.raises(HubUnreachable):
            sending.step()
    assert sending.batch.operations == 500
