"""A device as the sync daemon would have left it: enrolled, with the made-up venue, its certified key, leases and digits.

What a hub does to make these rows is tested with a real hub in tests/flow/sync; here they are put down directly.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from sync import granted
from sync.certificate import Certificate, issue
from sync.journal import Journal, open_journal
from sync.state import Identity, Role, StateDir
from tickets.clock import SystemClock
from tickets.ids import DeviceId, Kid

VENUE = Path(__file__).resolve().parents[2] / "hub" / "demo_venue.json"
KID = Kid(bytes.fromhex("00000007"))


@dataclass(frozen=True, slots=True)
class Device:
    state: StateDir
    run_dir: Path
    journal: Journal
    hub_key: Ed25519PrivateKey
    selling_key: Ed25519PrivateKey
    slot: str


def selling_kiosk(directory: Path, *, seed: int = 1, lease: int = 20, sixes: int = 1000) -> Device:
    """A kiosk K2 that may sell everything, one athletics slot of `lease` places an hour from now."""
    return _device(directory, Role.KIOSK, label="K2", seed=seed, lease=lease, sixes=sixes)


def gate(directory: Path, *, seed: int = 2) -> Device:
    """Gate A, which knows K2's key."""
    return _device(directory, Role.GATE, label="A", seed=seed, lease=0, sixes=0)


def _device(directory: Path, role: Role, *, label: str, seed: int, lease: int, sixes: int) -> Device:
    state_dir, run_dir = directory / "state", directory / "run"
    state_dir.mkdir(parents=True)
    run_dir.mkdir()
    hub_key = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
    selling_key = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
    identity_key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    state = StateDir(state_dir)
    kiosk = role is Role.KIOSK
    state.save_identity(
        Identity(
            device=DeviceId(bytes([seed]) * 16),
            role=role,
            label=label,
            hub_url="http://127.0.0.1:9",
            hub_key=hub_key.public_key().public_bytes_raw(),
            gate=None if kiosk else label,
            kid=KID if kiosk else None,
        )
    )
    state.save_key("identity/key", identity_key)
    if kiosk:
        state.save_key("selling/key", selling_key)
    journal = open_journal(state, clock=SystemClock(), random_bytes=_counting(seed))
    slot = _grant(journal, hub_key, selling_key, lease=lease, sixes=sixes)
    return Device(state, run_dir, journal, hub_key, selling_key, slot)


def _grant(
    journal: Journal, hub_key: Ed25519PrivateKey, selling_key: Ed25519PrivateKey, *, lease: int, sixes: int
) -> str:
    now = datetime.now(UTC)
    public = selling_key.public_key().public_bytes_raw()
    begin, end = int((now - timedelta(days=1)).timestamp()), int((now + timedelta(days=400)).timestamp())
    text, signature = issue(
        Certificate(kid=KID, public=public, device="01" * 16, not_before=begin, expires=end, tickets_max=100_000),
        hub_key,
    )
    starts = now + timedelta(hours=1)
    slot = f"athletics-{starts:%Y%m%d%H%M}"
    with journal.write() as connection:
        connection.execute(
            insert(granted.document),
            {"name": granted.CATALOGUE, "text": VENUE.read_text(encoding="utf-8"), "at": now.isoformat()},
        )
        connection.execute(
            insert(granted.issuer_key),
            {
                "kid": KID,
                "public": public,
                "certificate": text,
                "signature": signature,
                "not_before": begin,
                "expires": end,
            },
        )
        if lease:
            connection.execute(
                insert(granted.lease),
                {
                    "slot": slot,
                    "product": "athletics",
                    "starts_at": starts.isoformat(),
                    "ends_at": (starts + timedelta(minutes=30)).isoformat(),
                    "capacity": 40,
                    "quantity": lease,
                    "free": 40,
                    "at": now.isoformat(),
                },
            )
        if sixes:
            connection.execute(
                insert(granted.short_block),
                [
                    {"length": 6, "first": 418000, "last": 418000 + sixes - 1},
                    {"length": 8, "first": 5027000, "last": 5027999},
                ],
            )
    return slot


def _counting(seed: int):
    """Random enough for ids, the same in every run."""
    state = [seed]

    def next_bytes(size: int) -> bytes:
        state[0] += 1
        return (state[0]).to_bytes(4, "big").rjust(size, b"\x5a")

    return next_bytes
