"""A venue node as an actor: the real `VenueNode` over a real database, following and relaying a step at a time, over the simulated line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from hub.venue.node import VenueNode
from hub.venue.upstream import Upstream
from sync.errors import HubRefused, HubUnreachable
from sync.state import StateDir
from sync.store import open_engine
from tests.simulation.outside import Line, Server
from tests.simulation.server import ServerProcess, Turn
from tests.simulation.witness import Witness
from tests.simulation.world import Machine, seeded

DATABASE = "venue.db"


class NodeProcess(ServerProcess):
    """Its two threads towards the hub are `errand`; devices are served as by the hub. `gone`: its machine is lost for good."""

    def __init__(self, machine: Machine, hub: ServerProcess, cut: set[tuple[bytes, str]], witness: Witness) -> None:
        super().__init__(machine, machine.name, hub._key, witness)
        self.identity = StateDir(machine.folder).identity()
        self.node_id = self.identity.device.hex()
        self._hub, self._cut = hub, cut
        self.gone = False

    @property
    def venue_node(self) -> VenueNode:
        return cast(VenueNode, self.node)

    def start(self) -> None:
        if not self.gone:
            super().start()

    def _line(self) -> Upstream:
        servers: list[Server] = [self._hub]
        return cast(Upstream, Line(self.world, self.identity.device, servers, self._cut))

    def _start(self) -> None:
        state = StateDir(self.machine.folder)
        node = VenueNode(
            open_engine(self.machine.folder / DATABASE),
            self.identity,
            state.identity_key(),
            upstream=self._line(),
            clock=self.machine.clock,
            random_bytes=seeded(self.world),
        )
        self.node = node
        node._turn = Turn()  # type: ignore[assignment]
        node._upstream_lock = Turn()  # type: ignore[assignment]

    def errand(self) -> bool:
        """Follow, then relay. Whether anything moved."""
        return bool(self.world.run(self, lambda: self._failing(self._follow) | self._failing(self._relay)))

    def _failing(self, what: Callable[[], bool]) -> bool:
        try:
            return what()
        except (HubUnreachable, HubRefused) as error:
            self.world.note(f"hub not reached: {error}")
            return False

    def _follow(self) -> bool:
        pulled = self.venue_node.pull(self._line(), wait_s=0, rows_max=200 if self.world.perfect else 12)
        return pulled.rows > 0 or pulled.more

    def _relay(self) -> bool:
        done = self.venue_node.push(self._line())
        self.world.seen["relayed"] += done
        if not done and self.world.chance.random() < 0.2:
            self.venue_node.push_telemetry(self._line())
        return done > 0

    def _has_granted(self, claim: Any) -> None:
        """What the hub cancelled it may not have heard of."""
        self._witness.granted.add(claim.op)
