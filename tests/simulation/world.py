"""The world that a venue's real code is put into: one thread, virtual time, and everything that can go wrong drawn from one seed.

A *machine* is a disk and a clock of its own; a *process* is what runs on it and can die alone. Real code is entered through
`World.run` and leaves it at *points*: each new connection to a database, each commit, each call to something outside. At a point the
process may die, the machine may lose its power, or somebody else may act first, at this very moment: so steps interleave as they do
between processes, and yet a seed replays exactly. Nobody acts while any transaction is open: SQLite allows one writer, and a second
one would only wait.

The world decides nothing about a venue. What is there is added by tests.simulation.venue; what must hold is asked by .invariants.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from tests.simulation.disk import Disk

T = TypeVar("T")

COMPILED: LRUCache[Any, Any] = LRUCache(4000)
"""Statements as compiled, for all engines of all seeds: each restart of a device would compile them anew, half of a seed's time."""
INTERLEAVE = 0.06
"""How often somebody else acts at a point."""
DEATHS = 0.035
"""How often a process dies in a step, at one of its first points."""
DEPTH_MAX = 2
"""So many may act inside each other's steps."""


@dataclass(slots=True, eq=False)
class Frame:
    """A process at work: it dies at its next point once its `life` is over, or when `fuse` points have passed."""

    process: Process
    life: int
    fuse: int | None = None


class Died(BaseException):
    """A process ends here, in the middle of whatever it did. No code under test may catch it."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.process.name)
        self.frame = frame


@dataclass(slots=True)
class Clock:
    """A machine's own idea of time: an offset and a drift against the world's, and jumps. `tickets.clock.Clock`."""

    world: World
    offset_s: float = 0.0
    drift: float = 0.0
    booted_s: float = 0.0

    def now_utc(self) -> datetime:
        elapsed_s = self.world.elapsed_s
        return self.world.began + timedelta(seconds=elapsed_s * (1 + self.drift) + self.offset_s)

    def monotonic_s(self) -> float:
        return (self.world.elapsed_s - self.booted_s) * (1 + self.drift)


class Machine:
    """A disk and a clock. `folder` changes with each restart of the disk: what the dead left open lies in the old one."""

    def __init__(self, world: World, name: str, folder: Path) -> None:
        self.world, self.name = world, name
        self._home, self._boots = folder, 0
        self.folder = folder
        self.clock = Clock(world)
        self.processes: list[Process] = []
        world.machines.append(self)
        world.disk.adopt(folder)

    @property
    def boot(self) -> str:
        """The kernel's id of this start of the machine."""
        return f"{self.name}-{self._boots}"

    def lose_power(self) -> None:
        """All its processes are gone, and what was not synced."""
        files, lost = self.world.disk.after_power_loss(self.folder, self.world.chance)
        self.world.seen["power_lost"] += 1
        self.world.seen["files_cut"] += lost
        self._again(files)

    def copy_disk(self) -> dict[str, bytes]:
        return self.world.disk.copy(self.folder)

    def put_back(self, files: dict[str, bytes]) -> None:
        """Its disk is as it was at an earlier time."""
        self._again(files)

    def _again(self, files: dict[str, bytes]) -> None:
        for process in self.processes:
            process.die()
        self._boots += 1
        self.folder = self._home.with_name(f"{self._home.name}.{self._boots}")
        self.world.disk.put(files, self.folder)
        self.clock.booted_s = self.world.elapsed_s


class Process:
    """Something that runs on a machine. Subclasses start the real code in `_start` and drop it in `_stop`.

    `concurrent`: it serves several callers at once, as a hub does; others do one thing after the other.
    """

    concurrent = False

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.world, self.name = machine, machine.world, name
        self.up = False
        self.busy = 0
        self.life = 0
        machine.processes.append(self)
        self.world.processes.append(self)

    def start(self) -> None:
        """Start it, if it is down. It may die in doing so."""
        if not self.up and not self.busy:
            self.world.run(self, self._start_up, starting=True)

    def _start_up(self) -> None:
        self._start()
        self.up = True

    def die(self) -> None:
        self.life += 1
        self.up = False
        self._stop()

    def _start(self) -> None:
        raise NotImplementedError

    def _stop(self) -> None:
        raise NotImplementedError


@dataclass
class World:
    """`chance` is the only source of randomness, `elapsed_s` the only time. `seen` counts what went wrong, by name."""

    seed: int
    began: datetime
    traced: bool = False
    elapsed_s: float = 0.0
    perfect: bool = False
    """At rest: nothing fails any more, nobody interleaves."""
    machines: list[Machine] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    actions: list[Callable[[], None]] = field(default_factory=list)
    """What others may do at a point."""
    rival: Callable[[], None] | None = None
    """Somebody who wants the very same of a server at the very same time: acts between its transactions, once."""
    tickers: list[Callable[[], None]] = field(default_factory=list)
    """What goes by the clock: called whenever time has passed."""
    late: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    """Requests still on their way."""
    seen: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What went wrong in a way that nothing may: an exception that no rule of the house explains."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.disk = Disk()
        self._stack: list[Frame] = []
        self._open = 0

    def note(self, text: str) -> None:
        if self.traced:
            who = "/".join(frame.process.name for frame in self._stack)
            self.trace.append(f"{self.elapsed_s:9.2f} {who or '-'}: {text}")

    def happens(self, share: float) -> bool:
        """Whether something with this probability goes wrong now."""
        return not self.perfect and self.chance.random() < share

    @contextmanager
    def opened(self) -> Iterator[World]:
        """Real code meets this world's disk and points from here on."""
        listeners: tuple[tuple[str, Callable[..., None]], ...] = (
            ("engine_connect", self._connected),
            ("begin", self._began),
            ("commit", self._commits),
            ("rollback", self._rolled_back),
        )
        self.disk.watch()
        one_dialect = mock.patch.multiple(  # a statement is compiled for a dialect, and all of these are the same
            SQLiteDialect_pysqlite, __hash__=lambda _self: 1, __eq__=lambda one, other: type(one) is type(other)
        )
        one_dialect.start()
        for name, listener in listeners:
            event.listen(Engine, name, listener)
        try:
            yield self
        finally:
            for name, listener in listeners:
                event.remove(Engine, name, listener)
            for process in self.processes:
                process.die()
            one_dialect.stop()
            self.disk.stop()

    def run(self, process: Process, what: Callable[[], T], *, starting: bool = False) -> T | None:
        """Let `process` do something. None when it is down, at work, or dies in it."""
        if (process.busy and not process.concurrent) or (not process.up and not starting):
            return None
        frame = Frame(process, process.life, self.chance.randrange(14) if self.happens(DEATHS) else None)
        self._stack.append(frame)
        process.busy += 1
        try:
            return what()
        except Died as died:
            if died.frame is not frame:
                raise
            self._bury(frame)
            return None
        finally:
            process.busy -= 1
            self._stack.pop()
            if not self._stack:
                self._open = 0

    def point(self, *, interleave: float = INTERLEAVE) -> None:
        """The process at work may die here, or somebody else act first: more likely where it waits for seconds."""
        if not self._stack or self.perfect:
            return
        frame = self._stack[-1]
        self._burn(frame)
        if self._open or len(self._stack) > DEPTH_MAX:
            return
        if self.rival is not None and frame.process.concurrent and self.chance.random() < 0.5:
            self.aside(self.rival)
        elif self.chance.random() < interleave:
            self.aside(self.chance.choice(self.actions))

    def aside(self, action: Callable[[], None]) -> None:
        """Somebody else acts while the process at work waits, as far as that can be now."""
        if not self._stack or self.perfect or self._open or len(self._stack) > DEPTH_MAX:
            return
        frame = self._stack[-1]
        self.seen["interleaved"] += 1
        if action is self.rival:
            self.rival = None
        action()
        if frame.process.life != frame.life:
            raise Died(frame)

    def wait(self, seconds: float) -> None:
        """Time passes for everyone."""
        self.elapsed_s += seconds
        for tick in self.tickers:
            tick()

    @property
    def at_work(self) -> Process | None:
        return self._stack[-1].process if self._stack else None

    def _burn(self, frame: Frame) -> None:
        if frame.process.life != frame.life:
            raise Died(frame)
        if frame.fuse is not None:
            frame.fuse -= 1
            if frame.fuse < 0:
                raise Died(frame)

    def _bury(self, frame: Frame) -> None:
        process = frame.process
        if process.life != frame.life:
            return  # whoever killed it has done the rest
        self.seen["crashed"] += 1
        power = self.chance.random() < 0.5
        self.note("loses its power" if power else "crashes")
        process.die()
        if power:
            process.machine.lose_power()

    # --- the databases' points

    def _connected(self, connection: Connection) -> None:
        connection.engine._compiled_cache = COMPILED
        if self._open == 0:
            self.point()

    def _began(self, _connection: Connection) -> None:
        self._open += 1

    def _commits(self, _connection: Connection) -> None:
        if self._stack and not self.perfect:
            self._burn(self._stack[-1])
        self._open = max(0, self._open - 1)

    def _rolled_back(self, _connection: Connection) -> None:
        self._open = max(0, self._open - 1)


def seeded(world: World) -> Callable[[int], bytes]:
    """Random bytes for the real code, from the world's own chance."""

    def random_bytes(size: int) -> bytes:
        return world.chance.randbytes(size)

    return random_bytes
