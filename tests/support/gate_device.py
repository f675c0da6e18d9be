"""A made-up gate device in a folder: real files, real keys, nothing mocked. Shared by the gate's tests and its benchmark."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, insert, update

from sync import cache, certificate, granted
from sync.journal import Journal, open_journal
from sync.state import Identity, Role, StateDir
from tickets import catalogue as ticket_catalogue
from tickets import code as ticket_code
from tickets.clock import FixedClock
from tickets.ids import DeviceId, Kid, TicketId

ROOT = Path(__file__).parent.parent.parent
NOON = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
"""12:00 in Tokyo on the business day that the tickets of these tests are for."""
DAY_START = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
DAY_END = DAY_START + timedelta(days=1)
KIOSK_KID = Kid(b"K001")


def key_of(name: str) -> Ed25519PrivateKey:
    """A fixed test key; never one of a device."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


HUB_KEY, KIOSK_KEY, STRANGER_KEY = key_of("hub"), key_of("kiosk"), key_of("stranger")


def catalogue_document() -> dict[str, Any]:
    """The demo venue, and beside it a product for each rule that the demo does not need."""
    document: dict[str, Any] = json.loads((ROOT / "hub" / "demo_venue.json").read_text(encoding="utf-8"))
    document["products"] += [
        _product("pass", kind="pass", uses_a_day=1, reentry="after_exit"),
        _product("group", group=True, reentry="none"),
        _product("strict", offline="refuse"),
        _product("show", reentry="after_exit"),
    ]
    document["variants"] += [
        {"number": 40, "product": "pass", "person": "adult", "price": 9000, "uses": 0},
        {"number": 50, "product": "group", "price": 5000, "uses": 8},
        {"number": 60, "product": "strict", "price": 9000},
        {"number": 70, "product": "show", "price": 500, "uses": 1},
        {"number": 71, "product": "show", "price": 900, "uses": 3, "proof": {"ja": "学生証", "en": "Student card"}},
    ]
    for gate in document["gates"]:
        if gate["gate"] == "A":
            gate["products"] += ["pass", "group", "strict", "show"]
    document["gates"].append(
        {"gate": "coaster", "name": {"ja": "コースター", "en": "Coaster"}, "products": ["group"], "units": 2}
    )
    return document


def _product(name: str, **more: Any) -> dict[str, Any]:
    return {
        "product": name,
        "kind": "admission",
        "tax_bp": 1000,
        "picture": "castle",
        "name": {"ja": name, "en": name},
        "note": {"ja": "", "en": ""},
        **more,
    }


CATALOGUE_TEXT = json.dumps(catalogue_document(), ensure_ascii=False)
CATALOGUE = ticket_catalogue.parse(CATALOGUE_TEXT)


def ticket_of(seed: str) -> TicketId:
    return TicketId(hashlib.sha256(seed.encode()).digest()[:10])


def signed(
    seed: str,
    *,
    variant: int = 1,
    uses: int = 1,
    key: Ed25519PrivateKey = KIOSK_KEY,
    kid: Kid = KIOSK_KID,
    not_before: datetime = DAY_START,
    expires: datetime = DAY_END,
) -> str:
    """The text of a ticket's QR."""
    return ticket_code.sign(
        ticket_code.TicketCode(
            kid=kid,
            ticket_id=ticket_of(seed),
            variant=variant,
            uses=uses,
            language=0,
            not_before=int(not_before.timestamp()),
            expires=int(expires.timestamp()),
        ),
        key,
    )


@dataclass
class SeededBytes:
    """Randomness as a parameter: the same seed, the same ids."""

    seed: int = 1
    source: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.source = random.Random(self.seed)

    def __call__(self, size: int) -> bytes:
        return self.source.randbytes(size)


@dataclass
class GateDevice:
    """An enrolled gate in a folder, with what the hub granted it."""

    path: Path
    gate: str = "A"
    role: Role = Role.GATE
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOON))
    random_bytes: SeededBytes = field(default_factory=SeededBytes)

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.state = StateDir(self.path)
        self.state.save_identity(
            Identity(
                device=DeviceId(hashlib.sha256(str(self.gate).encode()).digest()[:16]),
                role=self.role,
                label=self.gate,
                hub_url="http://127.0.0.1:1",
                hub_key=HUB_KEY.public_key().public_bytes_raw(),
                gate=self.gate if self.role is Role.GATE else None,
            )
        )
        self.state.save_key("identity/key", key_of(f"gate {self.gate}"))

    def journal(self) -> Journal:
        return open_journal(self.state, clock=self.clock, random_bytes=self.random_bytes)

    def grant(
        self,
        journal: Journal,
        *,
        catalogue: str = CATALOGUE_TEXT,
        generation: int | None = 1,
        at: datetime = NOON - timedelta(minutes=5),
    ) -> None:
        """What the sync daemon writes after its first contact: catalogue, the kiosk's certified key, the cache's number."""
        rows = [{"name": granted.CATALOGUE, "text": catalogue, "at": at.isoformat()}]
        if generation is not None:
            rows.append({"name": granted.GENERATION, "text": str(generation), "at": at.isoformat()})
        with journal.write() as connection:
            connection.execute(delete(granted.document))
            connection.execute(insert(granted.document), rows)
        self.grant_key(journal)

    def grant_key(
        self,
        journal: Journal,
        *,
        kid: Kid = KIOSK_KID,
        key: Ed25519PrivateKey = KIOSK_KEY,
        not_before: int = 0,
        expires: int = 2**32 - 1,
        products: tuple[str, ...] = (),
    ) -> None:
        public = key.public_key().public_bytes_raw()
        text, signature = certificate.issue(
            certificate.Certificate(kid, public, "00" * 16, not_before, expires, 100_000, products), HUB_KEY
        )
        with journal.write() as connection:
            connection.execute(delete(granted.issuer_key).where(granted.issuer_key.c.kid == kid))
            connection.execute(
                insert(granted.issuer_key),
                {
                    "kid": kid,
                    "public": public,
                    "certificate": text,
                    "signature": signature,
                    "not_before": not_before,
                    "expires": expires,
                    "revoked_at": None,
                },
            )

    def revoke(self, journal: Journal, *, kid: Kid = KIOSK_KID) -> None:
        with journal.write() as connection:
            connection.execute(
                update(granted.issuer_key)
                .where(granted.issuer_key.c.kid == kid)
                .values(revoked_at=int(NOON.timestamp()))
            )

    def cache(self, generation: int = 1) -> cache.Cache:
        """A generation to write into, as the sync daemon does."""
        return cache.Cache.create(self.state.cache(generation))


def cache_ticket(
    into: cache.Cache,
    seed: str,
    *,
    variant: int = 1,
    uses: int = 1,
    state: str = "valid",
    short_id: str = "000000",
    not_before: datetime = DAY_START,
    expires: datetime = DAY_END,
) -> None:
    """A row as the change feed brings it."""
    with into.engine.begin() as connection:
        cache.apply(
            connection,
            "ticket",
            columns=["ticket", "variant", "uses", "state", "not_before", "expires", "language", "short_id"],
            rows=[
                [
                    ticket_of(seed).hex(),
                    variant,
                    uses,
                    state,
                    int(not_before.timestamp()),
                    int(expires.timestamp()),
                    "ja",
                    short_id,
                ]
            ],
            deletes=[],
        )


def cache_use(
    into: cache.Cache,
    seed: str,
    *,
    op: bytes,
    units: int = 1,
    passage: str = "entry",
    window: str = "",
    at: datetime = NOON - timedelta(hours=1),
    gate: str = "B",
    released: int = 0,
) -> None:
    with into.engine.begin() as connection:
        cache.apply(
            connection,
            "used",
            columns=["op", "ticket", "passage", "units", "window", "at", "gate", "released"],
            rows=[[op.hex(), ticket_of(seed).hex(), passage, units, window, at.isoformat(), gate, released]],
            deletes=[],
        )
