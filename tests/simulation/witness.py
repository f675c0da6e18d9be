"""Who stands in the venue and sees: green lights, guests who pass or turn back, paper, what the office was told. Never looks into a
device or the hub; what it has seen is what their books are held against.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Green:
    """A light that was green. `reign`: how often the hub had been put back before; `epoch` None: by policy."""

    op: str
    ticket: str
    units: int
    window: str
    passage: str
    gate: str
    epoch: int | None
    reign: int
    strict: bool
    """The product's policy for silence is to refuse."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Paper:
    """A ticket in a guest's hand. `wanted`: the papers' attempt, None for an order of 0."""

    ticket: str
    code: str
    order: str
    kiosk: str


@dataclass
class Witness:
    greens: dict[str, Green] = field(default_factory=dict)
    given_back: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    """Uses that a gate was giving back when it died: they count or not, as its journal says."""
    papers: dict[str, Paper] = field(default_factory=dict)
    paid_when_printed: dict[str, frozenset[str]] = field(default_factory=dict)
    """By ticket: the attempts that the terminal had captured when its paper came out first."""
    cancelled: set[str] = field(default_factory=set)
    withdrawn: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Units that the office took, by ticket and reign."""
    granted: set[str] = field(default_factory=set)
    """Operations that the arbiter has granted at some time."""
    forgotten: set[str] = field(default_factory=set)
    """Operations that a gate lost with its disk: they may count or not."""
    put_back: set[str] = field(default_factory=set)
    """Gates whose disk was put back to an earlier time."""
    relies_on_cache: set[str] = field(default_factory=set)
    """Gates that let go of uses of their own which the hub had told back."""
    shut_out: set[str] = field(default_factory=set)
    """Kiosks that were revoked: what they have not told yet, nobody will hear."""
    reign: int = 0
    hand_overs: int = 0
    """How often somebody else was named the arbiter."""
    at_risk: set[str] = field(default_factory=set)
    """Slots and blocks that a restored hub may lend again."""
    seen_wrong: list[str] = field(default_factory=list)
    """What was wrong at the moment at which it happened."""

    def shows_green(self, green: Green) -> None:
        if green.op in self.greens:
            self.seen_wrong.append(f"op {green.op[:8]}: two green lights under one operation")
        if green.strict and green.epoch is None:
            self.seen_wrong.append(f"op {green.op[:8]}: green in silence, though the product's policy is to refuse")
        self.greens[green.op] = green

    @property
    def entered(self) -> dict[str, Green]:
        """Greens that were not given back."""
        return {op: green for op, green in self.greens.items() if op not in self.given_back}

    def printed_at(self, ticket: str, *, captured: dict[str, int]) -> None:
        """Paper came out. Whether it was paid by then is asked at rest, against the terminal's book as it was at this moment."""
        self.paid_when_printed.setdefault(ticket, frozenset(captured))

    def forgets(self, gate: str, *, since: dict[str, bytes], now: dict[str, bytes]) -> None:
        """A gate's disk goes back: what its journal gained in between is nowhere but where it was sent."""
        self.put_back.add(gate)
        self.forgotten |= _operations(now) - _operations(since)


def _operations(files: dict[str, bytes]) -> set[str]:
    """The scans in the journals among a disk's files, in hex, as SQLite reads them."""
    found: set[str] = set()
    with tempfile.TemporaryDirectory() as name:
        for file, content in files.items():
            (Path(name) / file).parent.mkdir(parents=True, exist_ok=True)
            (Path(name) / file).write_bytes(content)
        for file in sorted(Path(name).glob("journal*.db")):
            with contextlib.closing(sqlite3.connect(file)) as db:
                tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
                for table in ("pending", "operation"):
                    if table in tables:
                        found |= {row[0].hex() for row in db.execute(f"SELECT op FROM {table}")}
    return found
