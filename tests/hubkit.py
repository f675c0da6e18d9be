"""A hub without HTTP and devices without processes, for tests: everything else is the real code."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.command import make_link
from hub.database import open_database
from hub.errors import ChainGap, HubError
from hub.node import HubNode
from hub.services import devices, venue
from hub.services.snapshot import Shelf
from sync.chain import Segment
from sync.claim import ClaimMessage, answer_from_row, answer_to_row
from sync.client import SnapshotBody
from sync.enrol import enrol
from sync.errors import HubRefused, MessageError
from sync.journal import Journal, open_journal
from sync.operation import Admission, Mode, Paid, Sale, SoldLine, SoldTicket, TaxAmount
from sync.protocol import (
    CURSOR_SCHEMA,
    Acknowledged,
    Answers,
    CertificateAnswer,
    EnrolRequest,
    LeaseAnswer,
    LeaseRequest,
    Page,
    Problem,
    Rejoin,
    ReleaseMessage,
    SignedText,
    Telemetry,
    answers_from_json,
    answers_to_row,
    scope_of,
    segment_from_json,
    segment_to_row,
)
from sync.snapshot import Manifest, NoSnapshot, SignedManifest, answer_from_json
from sync.snapshot import answer_to_row as answer_to_row_of_snapshot
from sync.state import Identity, Role, StateDir
from tests.support import postgres
from tickets.admission import Denied, Granted, Passage
from tickets.clock import FixedClock
from tickets.code import TicketCode, sign
from tickets.ids import Kid, RandomBytes, TicketId

NOON = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
"""Noon in Tokyo."""
VENUE = json.loads((Path(__file__).parents[1] / "hub" / "demo_venue.json").read_text(encoding="utf-8"))
URL = "http://hub.test"


def seeded(seed: int) -> RandomBytes:
    return random.Random(seed).randbytes


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "hub.db"
        open_database(f"sqlite:///{path}").dispose()  # the last connection takes the log into the file
        assert not path.with_name("hub.db-wal").exists()
        return path.read_bytes()


ENGINES = ("sqlite", "postgresql")
"""The hub's tests run on both."""


def fresh_database(folder: Path, *, engine: str = "sqlite", name: str = "hub.db") -> str:
    """The URL of an empty hub database. It is migrated once a test run and then copied: half a second each time."""
    if engine == "postgresql":
        return postgres.fresh_url()
    (folder / name).write_bytes(_migrated())
    return f"sqlite:///{folder / name}"


def make_node(
    folder: Path, *, clock: FixedClock, random_bytes: RandomBytes, name: str = "hub.db", engine: str = "sqlite"
) -> HubNode:
    """A hub with the made-up venue, on one of ENGINES."""
    url = fresh_database(folder, engine=engine, name=name)
    key = Ed25519PrivateKey.from_private_bytes(random_bytes(32))
    node = HubNode(
        open_database(url),
        key,
        clock=clock,
        random_bytes=random_bytes,
        shelf=Shelf(folder / f"{name}.snapshots"),
    )
    with node.write() as connection:
        venue.publish_catalogue(connection, VENUE, now=clock.now_utc())
    return node


def open_some_slots(node: HubNode, *, days: int = 1, capacity: int = 20) -> None:
    with node.write() as connection:
        day = venue.catalogue(connection).venue.day
        for offset in range(days):
            venue.open_slots(
                connection,
                "athletics",
                day=day.of(node.clock.now_utc()) + timedelta(days=offset),
                times=[(14, 0), (15, 0)],
                minutes=30,
                capacity=capacity,
            )


class LocalHub:
    """`sync.client.Hub` on a node in this process, every message through its JSON form, as the web shell does it."""

    def __init__(self, node: HubNode, device: bytes | None = None) -> None:
        self.node, self.device = node, device
        self.schema = CURSOR_SCHEMA

    def enrol(self, request: EnrolRequest) -> SignedText:
        answer = self._call(lambda: self.node.enrol(EnrolRequest.from_json(json.dumps(request.to_row()))))
        return SignedText.from_json(json.dumps(answer.to_row()))

    def changes(
        self,
        cursor: str | None,
        *,
        wait_s: float,
        rows_max: int,
        seen: str | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> Page:
        sender = self._sender()
        page = self._call(
            lambda: self.node.changes(
                cursor,
                rows_max=rows_max,
                scope=scope_of(sender.role),
                schema=self.schema,
                sender=sender,
                seen=seen,
                acknowledged=acknowledged,
            )
        )
        return Page.from_json(json.dumps(page.to_row()))

    def snapshot(self, *, wait_s: float) -> SignedManifest | NoSnapshot:
        scope = scope_of(self._sender().role)
        answer = self._call(lambda: self.node.snapshot(scope=scope))
        return answer_from_json(json.dumps(answer_to_row_of_snapshot(answer)))

    @contextmanager
    def snapshot_file(self, manifest: Manifest, *, start: int) -> Iterator[SnapshotBody]:
        path = self.node.snapshot_file(manifest.sha256, scope=scope_of(self._sender().role))
        if path is None:
            raise HubRefused("gone", status=404, error="snapshot_gone")
        with path.open("rb") as file:
            file.seek(start)
            yield SnapshotBody(start, iter(lambda: file.read(1000), b""))

    def operations(self, segment: Segment) -> Answers:
        sender, sent = self._sender(), segment_from_json(json.dumps(segment_to_row(segment)))
        answers = self._call(lambda: self.node.operations(sent, sender=sender))
        return answers_from_json(json.dumps(answers_to_row(answers)))

    def claim(self, claim: ClaimMessage, *, deadline_s: float) -> Granted | Denied:
        sender = self._sender()
        answer = self._call(lambda: self.node.claim(ClaimMessage.from_json(claim.to_json()), sender=sender))
        row = answer_to_row(claim.op, answer, epoch=claim.epoch)
        return answer_from_row(row, op=claim.op, epoch=claim.epoch)

    def release(self, release: ReleaseMessage) -> None:
        sender = self._sender()
        message = ReleaseMessage.from_json(json.dumps(release.to_row()))
        self._call(lambda: self.node.release(message, sender=sender))

    def lease(self, wanted: LeaseRequest) -> LeaseAnswer:
        sender = self._sender()
        message = LeaseRequest.from_json(json.dumps(wanted.to_row()))
        answer = self._call(lambda: self.node.lease(message, sender=sender))
        return LeaseAnswer.from_json(json.dumps(answer.to_row()))

    def certificate(self) -> CertificateAnswer:
        sender = self._sender()
        answer = self._call(lambda: self.node.certificate(sender=sender))
        return CertificateAnswer.from_json(json.dumps(answer.to_row()))

    def telemetry(self, telemetry: Telemetry) -> None:
        sender = self._sender()
        message = Telemetry.from_json(json.dumps(telemetry.to_row()))
        self._call(lambda: self.node.telemetry(message, sender=sender))

    def _sender(self) -> devices.KnownDevice:
        with self.node.read() as connection:
            found = devices.find(connection, self.device)  # type: ignore[arg-type]
        if found is None or found.revoked:
            raise HubRefused("revoked", status=401, error="revoked")
        return found

    def rejoin(self, held: Rejoin) -> int:
        sender, said = self._sender(), Rejoin.from_json(json.dumps(held.to_row()))
        return int(self._call(lambda: self.node.rejoin(said, sender=sender)))

    def _call(self, what: Callable[[], Any]) -> Any:
        try:
            return what()
        except HubError as error:
            problem = Problem(error.error, str(error), error.known_seq if isinstance(error, ChainGap) else None)
            problem = Problem.from_json(json.dumps(problem.to_row()))
            raise HubRefused(
                problem.detail, status=error.status, error=problem.error, known_seq=problem.known_seq
            ) from error
        except MessageError as error:
            raise HubRefused(str(error), status=400, error="message") from error


@dataclass
class Device:
    """An enrolled device of a test."""

    state: StateDir
    identity: Identity
    journal: Journal
    hub: LocalHub
    clock: FixedClock
    random_bytes: RandomBytes
    counter: int = 0
    sold: list[SoldTicket] = field(default_factory=list)

    @property
    def known(self) -> devices.KnownDevice:
        return self.hub._sender()

    def sale(
        self,
        *,
        variant: int = 1,
        price: int = 1800,
        count: int = 1,
        uses: int = 1,
        slot: str | None = None,
        **changes: Any,
    ) -> Sale:
        """A sale as the kiosk would append it, with `count` tickets of one variant."""
        self.counter += 1
        now = self.clock.now_utc()
        assert self.identity.kid is not None
        tickets = tuple(
            SoldTicket(
                ticket=self.random_bytes(10).hex(),
                kid=self.identity.kid.hex(),
                variant=variant,
                uses=uses,
                language="ja",
                not_before=int(now.timestamp()) - 3600,
                expires=int(now.timestamp()) + 36_000,
                short_id=f"{self.counter * 100 + number:06d}",
                line=0,
                slot=slot,
            )
            for number in range(count)
        )
        self.sold.extend(tickets)
        total = price * count
        values: dict[str, Any] = {
            "op": self.random_bytes(16).hex(),
            "at": now.isoformat(),
            "order": self.random_bytes(10).hex(),
            "number": f"{self.identity.label}-1123-{self.counter:04d}",
            "language": "ja",
            "currency": "JPY",
            "total_minor": total,
            "lines": (SoldLine(variant=variant, count=count, unit_minor=price, tax_bp=1000, slot=slot),),
            "tax": (TaxAmount(tax_bp=1000, gross_minor=total, tax_minor=total * 1000 // 11000),),
            "paid": Paid(tender="card", attempt="a", terminal="52500041", receipt="1", masked="541333******0013"),
            "tickets": tickets,
        }
        return Sale(**(values | changes))

    def admission(
        self, ticket: str, *, code: str | None = None, units: int = 1, op: str | None = None, **changes: Any
    ) -> Admission:
        values: dict[str, Any] = {
            "op": op or self.random_bytes(16).hex(),
            "at": self.clock.now_utc().isoformat(),
            "ticket": ticket,
            "code": code,
            "passage": Passage.ENTRY,
            "units": units,
            "window": "",
            "gate": self.identity.gate or "A",
            "mode": Mode.POLICY,
            "epoch": None,
        }
        return Admission(**(values | changes))

    def claim(self, ticket: str, *, op: str | None = None, **changes: Any) -> ClaimMessage:
        values: dict[str, Any] = {
            "op": op or self.random_bytes(16).hex(),
            "kind": Passage.ENTRY,
            "ticket": ticket,
            "code": None,
            "units": 1,
            "window": "",
            "gate": self.identity.gate or "A",
            "epoch": 1,
        }
        return ClaimMessage(**(values | changes))

    def append(self, *operations: Any) -> None:
        with self.journal.write() as connection:
            for operation in operations:
                self.journal.append(connection, operation)

    def code_of(self, ticket: SoldTicket) -> str:
        """The ticket's code, signed with this kiosk's own key."""
        code = TicketCode(
            kid=Kid(bytes.fromhex(ticket.kid)),
            ticket_id=TicketId(bytes.fromhex(ticket.ticket)),
            variant=ticket.variant,
            uses=ticket.uses,
            language=0,
            not_before=ticket.not_before,
            expires=ticket.expires,
        )
        return sign(code, self.state.selling_key())


def make_device(
    node: HubNode, folder: Path, *, role: Role, label: str, clock: FixedClock, random_bytes: RandomBytes
) -> Device:
    gate = label if role is Role.GATE else None
    link = make_link(node, role=role, label=label, gate=gate, base_url=URL)
    state = StateDir(folder / f"{role}-{label}")
    identity = enrol(link, state, clock=clock, random_bytes=random_bytes, hub=LocalHub(node))
    journal = open_journal(state, clock=clock, random_bytes=random_bytes)
    return Device(state, identity, journal, LocalHub(node, identity.device), clock, random_bytes)
