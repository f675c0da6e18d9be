"""The description that is served holds for what is really sent: every call is in it, and every message fits its schema."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from starlette.routing import Route

from hub.node import HubNode
from hub.web import openapi
from hub.web.access import FromDevice, Who, access_of
from hub.web.app import create_app
from sync import snapshot
from sync.claim import ClaimMessage, answer_to_row
from sync.operation import ReleaseReason
from sync.protocol import (
    Acknowledged,
    Answer,
    Answers,
    BlockGrant,
    CertificateAnswer,
    Enrolled,
    EnrolRequest,
    Head,
    LeaseAnswer,
    LeaseRequest,
    OnBehalf,
    Page,
    Problem,
    Rejoin,
    Relayed,
    ReleaseMessage,
    SignedText,
    SlotGrant,
    SlotWish,
    Status,
    TableRows,
    Telemetry,
    answers_to_row,
    heads_to_row,
    segment_to_row,
)
from sync.snapshot import Manifest, NoSnapshot, SignedManifest
from sync.state import Role
from tests.hubkit import Device
from tickets.admission import Denied, Granted, Passage, Reason, Use
from tickets.ids import DeviceId

WISH = SlotWish("s", 10, {"hub": 20}, {"hub": 3}, urgent=True)
NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
DOCUMENT = json.loads(json.dumps(openapi.document()))


def check(name: str, row: Any) -> None:
    """Raises ValidationError."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(json.loads(json.dumps(row)))


def routes(node: HubNode) -> dict[tuple[str, str], Route]:
    found: dict[tuple[str, str], Route] = {}

    def walk(some: Any) -> None:
        for route in some:
            if hasattr(route, "original_router"):
                walk(route.original_router.routes)
            elif isinstance(route, Route) and route.path.startswith("/v1/"):
                for method in (route.methods or set()) - {"HEAD"}:
                    found[route.path, method.lower()] = route

    walk(create_app(node).routes)
    return found


def test_each_call_is_described_with_who_may_call_it(node: HubNode) -> None:
    found = routes(node)
    described = {(path, method) for path, calls in DOCUMENT["paths"].items() for method in calls}
    assert described == set(found), "a call without a description, or a description without a call"
    for (path, method), route in found.items():
        (access,) = access_of(route)
        told = DOCUMENT["paths"][path][method]
        assert told["x-who"] == access.who, path
        if access.who is Who.DEVICE:
            assert isinstance(access, FromDevice)
            assert set(told["x-roles"]) == set(access.roles), path
            assert told["security"] == [{"hop": []}]
            assert {"401", "403", "429", "503"} <= set(told["responses"])


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    text = json.dumps(DOCUMENT)
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(DOCUMENT["components"]["schemas"])
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


MANIFEST = Manifest(
    schema=2,
    cursor="c",
    size=10,
    sha256="0a" * 32,
    content_size=20,
    content_sha256="0b" * 32,
    url=snapshot.file_path("0a" * 32),
    built_at=NOW,
    tickets=1,
    uses=0,
)
MESSAGES: list[tuple[str, Any]] = [
    ("Problem", Problem("chain_gap", "operations are missing", 7).to_row()),
    ("Problem", Problem("busy", "later").to_row()),
    ("Problem", Problem("epoch", "another arbiter rules", epoch=3).to_row()),
    ("Reign", {"protocol": 1, "epoch": 2, "rules": False}),
    ("Rejoined", {"protocol": 1, "known_seq": 17}),
    (
        "EnrolRequest",
        EnrolRequest("t", b"d" * 16, b"i" * 32, b"s" * 32, "kaisatsu", b"p" * 64).to_row(),  # type: ignore[arg-type]
    ),
    ("SignedText", SignedText("text", b"s" * 64).to_row()),
    (
        "Enrolled",
        json.loads(Enrolled(b"d" * 16, b"i" * 32, Role.KIOSK, "K2", None, b"kidd", "{}", b"s" * 64, NOW).to_text()),  # type: ignore[arg-type]
    ),
    (
        "Enrolled",
        json.loads(Enrolled(b"d" * 16, b"i" * 32, Role.GATE, "A", "A", None, None, None, NOW).to_text()),  # type: ignore[arg-type]
    ),
    (
        "Page",
        Page("c", False, (TableRows("ticket", ("ticket", "uses"), (("00" * 10, 1),), ("11" * 10,)),), NOW).to_row(),
    ),
    ("Answers", answers_to_row((Answer(b"o" * 16, Status.CONFLICT, "already_used"),))),  # type: ignore[arg-type]
    ("Answers", answers_to_row(Answers.of((Answer(b"o" * 16, Status.ACCEPTED),), cursor="c"))),  # type: ignore[arg-type]
    ("Claim", json.loads(ClaimMessage("0a" * 16, Passage.ENTRY, "0b" * 10, "T1:X", 1, "", "A", 1).to_json())),
    ("Claim", json.loads(ClaimMessage("0a" * 16, Passage.EXIT, "0b" * 10, None, 0, "2026-11-23", "A", 1).to_json())),
    ("ClaimAnswer", answer_to_row("0a" * 16, Granted(epoch=1, left=None), epoch=1)),
    ("ClaimAnswer", answer_to_row("0a" * 16, Denied(Reason.EXHAUSTED, None), epoch=1)),
    (
        "ClaimAnswer",
        answer_to_row(
            "0a" * 16,
            Denied(Reason.ALREADY_USED, Use(b"o" * 16, Passage.ENTRY, 1, "", NOW, "A")),  # type: ignore[arg-type]
            epoch=1,
        ),
    ),
    ("Release", ReleaseMessage(b"o" * 16, b"f" * 16, ReleaseReason.NOT_PASSED, "A", NOW).to_row()),  # type: ignore[arg-type]
    ("LeaseRequest", LeaseRequest(1, (WISH,), ((6, 3), (8, 0)), (DeviceId(b"m" * 16),)).to_row()),
    ("CertificateAnswer", CertificateAnswer("{}", b"s" * 64).to_row()),
    ("Rejoin", Rejoin(2, 7, (WISH,), (BlockGrant(6, 1, 99, NOW), BlockGrant(8, 1, 9))).to_row()),
    (
        "LeaseRequest",
        LeaseRequest(1, (), ()).to_row() | {"relayed": OnBehalf(b"d" * 16, NOW).to_row()},  # type: ignore[arg-type]
    ),
    ("Heads", heads_to_row((Head(1, 7, b"h" * 32),))),
    (
        "Page",
        Page(
            "c",
            False,
            (),
            NOW,
            relay=Relayed("c", Acknowledged(1, 7), (Answer(b"o" * 16, Status.REJECTED, "revoked"),), NOW),  # type: ignore[arg-type]
        ).to_row(),
    ),
    (
        "LeaseAnswer",
        LeaseAnswer((SlotGrant("s", 10, 3),), (BlockGrant(6, 1, 99, NOW), BlockGrant(8, 1, 9)), NOW).to_row(),
    ),
    ("SnapshotAnswer", snapshot.answer_to_row(SignedManifest.sign(MANIFEST, Ed25519PrivateKey.generate()))),
    ("SnapshotAnswer", snapshot.answer_to_row(NoSnapshot.BUILDING)),
    ("SnapshotManifest", json.loads(MANIFEST.to_text())),
    (
        "Telemetry",
        Telemetry(
            NOW, "kaisatsu", 3, ({"part": "hub", "state": "ok", "at": NOW.isoformat(), "stops": "", "facts": {}},)
        ).to_row(),
    ),
]


@pytest.mark.parametrize(("name", "row"), MESSAGES)
def test_a_real_message_fits_its_schema_and_none_of_its_keys_may_be_missing(name: str, row: dict[str, Any]) -> None:
    check(name, row)
    schema = DOCUMENT["components"]["schemas"][name]
    assert set(row) <= set(schema["properties"]), "a key that the description does not know"
    for key in schema["required"]:
        with pytest.raises(ValidationError):
            check(name, {other: value for other, value in row.items() if other != key})


def test_a_real_segment_fits(kiosk: Device) -> None:
    kiosk.append(kiosk.sale())
    segment = kiosk.journal.next_segment(kiosk.state)
    assert segment is not None
    check("Segment", segment_to_row(segment))
    assert {field.name for field in dataclasses.fields(segment)} <= set(
        DOCUMENT["components"]["schemas"]["Segment"]["properties"]
    )


def test_every_schema_is_tried() -> None:
    tried = {name for name, _ in MESSAGES} | {"Segment", "Done", "SlotWish", "Block"}
    assert tried == set(DOCUMENT["components"]["schemas"])


def test_it_is_served_to_anyone_with_the_headers_that_it_promises(node: HubNode) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    with TestClient(create_app(node)) as client:
        answer = client.get(openapi.PATH)
        refused = client.post("/v1/claim", content=b"{}")
    assert answer.json() == DOCUMENT
    assert refused.status_code == 401
    check("Problem", refused.json())
    for found in (answer, refused):
        for header in openapi.HEADERS:
            assert header in found.headers
