"""The hub as an actor: the real `HubNode` over a real database, which dies, loses power, and is put back to an earlier backup.

A venue node is one more of these (tests.simulation.node).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select

from hub import tables
from hub.errors import HubError
from hub.node import HubNode
from hub.services.arbiter import Asked, Result
from hub.services.devices import KnownDevice
from sync.claim import ClaimMessage
from sync.errors import HubUnreachable
from sync.store import open_engine
from tests.hubkit import LocalHub
from tests.simulation.witness import Witness
from tests.simulation.world import Machine, Process, seeded
from tests.unit.hub.venue.conftest import LocalUpstream
from tickets.admission import Denied, Granted
from tickets.ids import DeviceId, TicketId

FOR_OTHERS = frozenset({"relay", "heads", "lease_for", "rejoin_for", "certificate_for", "telemetry_for"})
"""Calls by which a venue node speaks for its devices."""


class Turn:
    """In place of the lock in which a hub's segments wait for each other: one thread plays everybody here and would wait for itself, so
    who comes second has no answer this time.
    """

    def __init__(self) -> None:
        self._taken = False

    def take(self, *, first: bool = False) -> Turn:
        _ = first
        return self

    def __enter__(self) -> None:
        if self._taken:
            raise HubUnreachable("another segment is being taken")
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False


class Desk:
    """The node as a claim finds it: claims that wait at the same moment are one group in one transaction (`hub.claim_desk`, whose thread
    nobody runs here).
    """

    def __init__(self, server: ServerProcess) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server.node, name)

    def claim(self, message: ClaimMessage, *, sender: KnownDevice) -> Granted | Denied:
        server, asked = self._server, Asked(message, sender.device)
        server.waiting.append(asked)
        server.world.point()  # another one may come in, which takes this one along
        if not any(one is asked for one in server.waiting):
            known = [result for one, result in server.answered if one is asked]
            server.answered = [(one, result) for one, result in server.answered if one is not asked]
            if not known:
                raise HubUnreachable("the group failed")
            (result,) = known
        else:
            group, server.waiting = server.waiting, []
            results = server.node.claims(group)
            server.answered += [pair for pair in zip(group, results, strict=True) if pair[0] is not asked]
            server.world.seen["grouped"] += len(group) > 1
            (result,) = [result for one, result in zip(group, results, strict=True) if one is asked]
        if isinstance(result, HubError):
            raise result
        return result


class ServerProcess(Process):
    """Serves each caller in a frame of its own, so that two calls interleave between their transactions."""

    concurrent = True
    node_id: str | None = None

    def __init__(self, machine: Machine, name: str, key: Ed25519PrivateKey, witness: Witness) -> None:
        super().__init__(machine, name)
        self._key, self._witness = key, witness
        self.node: HubNode
        self.waiting: list[Asked] = []
        self.answered: list[tuple[Asked, Result]] = []
        self._backup: dict[str, bytes] | None = None
        self._was_put_back = False

    def _start(self) -> None:
        engine = open_engine(self.machine.folder / "hub.db")
        self.node = HubNode(engine, self._key, clock=self.machine.clock, random_bytes=seeded(self.world))
        self.node._turn = Turn()  # type: ignore[assignment]
        if self._was_put_back:
            self.node.begin_again("simulated")
        self._was_put_back = False

    def _stop(self) -> None:
        self.waiting, self.answered = [], []
        if hasattr(self, "node"):
            self.node.engine.dispose()

    def serve(self, device: bytes, call: str, args: tuple[Any, ...], more: Mapping[str, Any]) -> Any:
        self.start_maybe()
        result = self.world.run(self, lambda: self._served(device, call, args, more))
        if result is None:
            raise HubUnreachable("down")
        return result[0]

    def start_maybe(self) -> None:
        if self.world.perfect:
            self.start()

    def _served(self, device: bytes, call: str, args: tuple[Any, ...], more: Mapping[str, Any]) -> tuple[Any]:
        node = cast(HubNode, Desk(self)) if call == "claim" else self.node
        answer = getattr(LocalUpstream(node, device) if call in FOR_OTHERS else LocalHub(node, device), call)(
            *args, **more
        )
        if call == "claim" and isinstance(answer, Granted):
            self._has_granted(args[0])
        return (answer,)

    def _has_granted(self, claim: Any) -> None:
        witness = self._witness
        is_news = claim.op not in witness.granted and claim.op not in witness.greens and not witness.hand_overs
        if is_news and claim.ticket in witness.cancelled:
            witness.seen_wrong.append(f"op {claim.op[:8]}: a cancelled ticket was granted")
        witness.granted.add(claim.op)

    # --- the office

    def cancel_some_ticket(self) -> None:
        def cancel() -> None:
            with self.node.read() as connection:
                found = connection.scalars(
                    select(tables.ticket.c.ticket)
                    .where(tables.ticket.c.state == "valid", tables.ticket.c.order.is_not(None))
                    .order_by(tables.ticket.c.ticket)
                ).all()
            if not found:
                return
            ticket = self.world.chance.choice(found)
            try:
                self.node.cancel_ticket(TicketId(ticket), by="office", reason="simulated")
            except HubError:
                return  # it was reversed in between
            with self.node.read() as connection:
                taken = connection.scalar(
                    select(func.coalesce(func.sum(tables.withdrawal.c.units), 0)).where(
                        tables.withdrawal.c.ticket == ticket
                    )
                )
            if not self._witness.hand_overs:  # else gates may be asking somebody who has not heard of it
                self._witness.withdrawn[ticket.hex(), self._witness.reign] = int(taken or 0)
            self._witness.cancelled.add(ticket.hex())
            self.world.seen["cancelled"] += 1
            self.world.note(f"cancelled {ticket.hex()[:8]}")

        self.world.run(self, cancel)

    def hand_over(self, node: DeviceId | None, name: str) -> None:
        def hand_over() -> None:
            self.node.hand_over(node, urls=() if node is None else (f"http://{name}.test",), by="office")
            self.world.seen["hand_overs"] += 1
            self.world.note(f"{name} is the arbiter")

        self._witness.hand_overs += 1
        self.world.run(self, hand_over)

    def revoke(self, device: DeviceId, label: str) -> None:
        def shut_out() -> None:
            self.node.revoke(device)
            self._witness.shut_out.add(label)
            self.world.seen["revoked"] += 1
            self.world.note(f"revoked {label}")

        self.world.run(self, shut_out)

    def back_up(self) -> None:
        self._backup = self.machine.copy_disk()
        self.world.note("backed up")

    def put_back(self) -> None:
        """The machine is lost; another one starts from the last backup."""
        if self._backup is None:
            return
        at_risk = self._lent()
        self.machine.put_back(self._backup)
        self._was_put_back = True
        witness = self._witness
        witness.reign += 1
        self.world.seen["hub_put_back"] += 1
        self.world.note("put back to its backup")
        engine = open_engine(self.machine.folder / "hub.db")
        with engine.begin() as connection:
            state = connection.execute(select(tables.ticket.c.ticket, tables.ticket.c.state)).all()
            known = {row.ticket.hex() for row in state if row.state == "cancelled"}
            lent = _lent(connection)
        engine.dispose()
        witness.cancelled &= known
        witness.at_risk |= at_risk - lent

    def returned(self) -> int:
        """Units of leases that came back."""
        with self.node.read() as connection:
            return int(connection.scalar(select(func.sum(tables.lease.c.returned))) or 0)

    def _lent(self) -> set[str]:
        engine = open_engine(self.machine.folder / "hub.db")
        with engine.begin() as connection:
            lent = _lent(connection)
        engine.dispose()
        return lent


def _lent(connection: Any) -> set[str]:
    """What is lent to whom, a name a unit."""
    found = set()
    for row in connection.execute(select(tables.lease)):
        found |= {f"{row.slot} {row.device.hex()} {row.incarnation} {unit}" for unit in range(row.quantity)}
    for row in connection.execute(select(tables.short_block)):
        found.add(f"block {row.length} {row.first} {row.device.hex()}")
    return found
