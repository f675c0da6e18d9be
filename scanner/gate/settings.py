"""Settings of the gate, as `kaisatsu config write` leaves them for `python -m scanner.gate FILE`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tickets.admission import Direction

ARBITER_DEADLINE_MS = 150
"""How long a claim may stay unanswered, from the send (docs/decisions: claim, release and conflict)."""

NOBODY = "none"
"""The `arbiter_url` of a gate that asks nobody."""


class IssuerPolicy(StrEnum):
    """What a gate does with a well-formed code whose key it has not heard of. Such a code is never called forged."""

    ATTENTION = "attention"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Settings:
    """`state_dir` holds identity, journal and cache; `run_dir` the sockets, bells and health that a reboot may take.

    `gate` is a gate of the catalogue, None for the one this device was enrolled for. `language` is what staff read (ja or en).
    `arbiter_url` None: the arbiter is where the hub's statement says; an address: there, whatever the statement says of it; "none": nobody
    is asked, so each claim falls to the product's policy at once. `offline_minutes_max` > 0: without an answer nobody is let in on what was
    last heard longer ago, whatever the product allows. `verdict_stays_ms`: how long a plain verdict stays on the screen.
    """

    state_dir: Path
    run_dir: Path
    gate: str | None = None
    direction: Direction = Direction.ENTRY
    language: str = "ja"
    arbiter_url: str | None = None
    arbiter_deadline_ms: int = ARBITER_DEADLINE_MS
    offline_minutes_max: int = 0
    issuer_unknown: IssuerPolicy = IssuerPolicy.ATTENTION
    verdict_stays_ms: int = 3000

    def __post_init__(self) -> None:
        if self.language not in ("ja", "en"):
            raise ValueError(f"key 'language': '{self.language}' is not one of: ja, en")
        if not 1 <= self.arbiter_deadline_ms <= 5000:
            raise ValueError("key 'arbiter_deadline_ms': 1 to 5000 is allowed")
        if self.arbiter_url not in (None, NOBODY) and not self.arbiter_url.startswith(("http://", "https://")):
            raise ValueError(
                f"key 'arbiter_url': '{self.arbiter_url}' is neither an address (http://...) nor '{NOBODY}'"
            )
        if not 0 <= self.offline_minutes_max <= 60 * 24 * 30:
            raise ValueError("key 'offline_minutes_max': 0 (no limit) to 43200 is allowed")
        if not 500 <= self.verdict_stays_ms <= 60_000:
            raise ValueError("key 'verdict_stays_ms': 500 to 60000 is allowed")

    @property
    def reads_socket(self) -> Path:
        return self.run_dir / "gate.sock"

    @property
    def view_socket(self) -> Path:
        return self.run_dir / "gate-screen.sock"

    @property
    def own_bell(self) -> Path:
        return self.run_dir / "gate.bell"

    @property
    def sync_bell(self) -> Path:
        return self.run_dir / "sync.bell"

    @property
    def health_db(self) -> Path:
        return self.run_dir / "health.db"
