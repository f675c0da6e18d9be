"""The messages between device and hub, version 1: what docs/protocol.md says, parsed at the edge into frozen values.

Everything is JSON. Bytes travel as lower-case hex, instants as ISO 8601 with a zone, rows as columns + rows. What does not have
this shape becomes one MessageError; keys that this version does not know are ignored, so that a newer peer can say more.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sync.chain import Segment
from sync.errors import MessageError, SegmentError
from sync.operation import BODY_BYTES_MAX, ReleaseReason
from sync.state import Role
from tickets.ids import DeviceId, Kid, OpId
from tickets.ids import device_id as parse_device_id
from tickets.ids import kid as parse_kid
from tickets.ids import op_id as parse_op_id

VERSION = 1
ENROL, CHANGES, OPERATIONS = "/v1/enrol", "/v1/changes", "/v1/operations"
CLAIM, RELEASE, LEASE, TELEMETRY = "/v1/claim", "/v1/release", "/v1/lease", "/v1/telemetry"
ARBITER, HEADS, REJOIN = "/v1/arbiter", "/v1/heads", "/v1/rejoin"
CERTIFICATE = "/v1/certificate"

REQUEST_BYTES_MAX = 1024 * 1024
PAGE_BYTES_MAX = 16 * 1024 * 1024
PAGE_ROWS_MAX = 10_000
WAIT_S_MAX = 60.0
CURSOR_CHARS_MAX = 512
CURSOR_SCHEMA = 2
"""The form of the feed. 1: no checksum, one scope. 2: checksum, a scope a role. A hub serves this one and the one before; a device
reads both.
"""
SCOPE = "venue"
"""Every table that any device follows."""
NODE_SCOPE = "node"
"""What the venue node follows: the same, with what it needs to be a hub to others (devices and their keys, whole rows)."""
SCOPES: Mapping[str, tuple[str, ...]] = {
    SCOPE: ("document", "key", "slot", "answer", "ticket", "used"),
    "kiosk": ("document", "key", "slot", "answer", "ticket", "used"),
    "gate": ("document", "key", "answer", "ticket", "used"),
    NODE_SCOPE: ("document", "device", "key", "slot", "answer", "ticket", "used"),
}
"""Which tables of the feed are whose: a scope a role. No table of the feed holds a guest's name; one that will is no gate's."""


def scope_of(role: Role) -> str:
    """The scope of a device of this role."""
    if role is Role.VENUE:
        return NODE_SCOPE
    return role.value if role.value in SCOPES else SCOPE


class Status(StrEnum):
    """The hub's answer to one operation. Whatever it is, the operation is kept by both ends and never sent again for its own sake."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """`token` from the one-time link; public keys of 32 bytes made on the device. `proof` is the identity key's signature over
    `proof_text()`, so that nobody enrols a key that they do not hold.
    """

    token: str
    device: DeviceId
    identity: bytes
    selling: bytes
    software: str
    proof: bytes = b""

    def proof_text(self) -> bytes:
        return b"kaisatsu/enrol/1" + self.token.encode() + self.device + self.identity + self.selling

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "token": self.token,
            "device": self.device.hex(),
            "identity": self.identity.hex(),
            "selling": self.selling.hex(),
            "software": self.software,
            "proof": self.proof.hex(),
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> EnrolRequest:
        with _reading("an enrolment"):
            row = _object(text)
            token = _text(row, "token", chars_max=128)
            return cls(
                token=token,
                device=parse_device_id(_text(row, "device")),
                identity=_bytes(row, "identity", 32),
                selling=_bytes(row, "selling", 32),
                software=_text(row, "software", chars_max=64),
                proof=_bytes(row, "proof", 64),
            )


@dataclass(frozen=True, slots=True)
class SignedText:
    """A text and the hub's signature over "kaisatsu/enrolled/1" || text. The text is kept and checked as it came."""

    text: str
    signature: bytes

    def to_row(self) -> dict[str, Any]:
        return {"protocol": VERSION, "text": self.text, "signature": self.signature.hex()}

    @classmethod
    def from_json(cls, text: bytes | str) -> SignedText:
        with _reading("an answer to an enrolment"):
            row = _object(text)
            return cls(text=_text(row, "text", chars_max=8192), signature=_bytes(row, "signature", 64))


ENROLLED_CONTEXT = b"kaisatsu/enrolled/1"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the hub makes of a device. `device` and `identity` are repeated, so that the signature binds the answer to the question."""

    device: DeviceId
    identity: bytes
    role: Role
    label: str
    gate: str | None
    kid: Kid | None
    certificate: str | None
    certificate_signature: bytes | None
    at: datetime

    def to_text(self) -> str:
        row = {
            "device": self.device.hex(),
            "identity": self.identity.hex(),
            "role": self.role,
            "label": self.label,
            "gate": self.gate,
            "kid": self.kid.hex() if self.kid else None,
            "certificate": self.certificate,
            "certificate_signature": self.certificate_signature.hex() if self.certificate_signature else None,
            "at": self.at.isoformat(),
        }
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Enrolled:
        with _reading("an answer to an enrolment"):
            row = _object(text)
            selling = row["kid"] is not None
            return cls(
                device=parse_device_id(_text(row, "device")),
                identity=_bytes(row, "identity", 32),
                role=Role(row["role"]),
                label=_text(row, "label", chars_max=64),
                gate=None if row["gate"] is None else _text(row, "gate", chars_max=64),
                kid=parse_kid(row["kid"]) if selling else None,
                certificate=_text(row, "certificate") if selling else None,
                certificate_signature=_bytes(row, "certificate_signature", 64) if selling else None,
                at=_instant(row, "at"),
            )


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a device stands in the feed. Opaque to devices: they keep the text and hand it back."""

    epoch: str
    position: int
    scope: str = SCOPE
    schema: int = CURSOR_SCHEMA
    xid: int = 0
    """With `position` the place in a feed whose order is (transaction, number); 0 where numbers alone order it."""

    @property
    def place(self) -> tuple[int, int]:
        """For comparing two cursors of one feed: its order is (transaction, number)."""
        return self.xid, self.position

    def encode(self) -> str:
        row: dict[str, Any] = {"epoch": self.epoch, "position": self.position, "scope": self.scope}
        row["schema"] = self.schema
        if self.xid:
            row["xid"] = self.xid
        return base64.urlsafe_b64encode(json.dumps(row, separators=(",", ":")).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        with _reading("a cursor"):
            if len(text) > CURSOR_CHARS_MAX:
                raise ValueError(f"at most {CURSOR_CHARS_MAX} characters are allowed")
            row = _object(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
            return cls(
                _text(row, "epoch"),
                _count(row, "position"),
                _text(row, "scope"),
                _count(row, "schema"),
                _count(row, "xid") if "xid" in row else 0,
            )


def has_reached(cursor_text: str | None, mark_text: str) -> bool:
    """Whether a cache that stands at `cursor_text` holds everything that the feed had brought at `mark_text`.

    Positions of one feed compare as numbers, transaction first where it has them; whose scope a cursor is of does not matter to
    that. Of two feeds (the hub was restored between) nothing can be said, and what cannot be said is no.
    """
    if cursor_text is None:
        return False
    try:
        cursor, mark = Cursor.decode(cursor_text), Cursor.decode(mark_text)
    except MessageError:
        return False
    return cursor.epoch == mark.epoch and _place(cursor) >= _place(mark)


def _place(cursor: Cursor) -> tuple[int, int]:
    return cursor.xid, cursor.position


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of one table of the feed in their latest form, and the keys of rows that are gone."""

    table: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    deletes: tuple[str, ...] = ()

    def as_mappings(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the feed. `more`: ask again at once. `at` is the hub's clock when it answered. `checksum` (sync.checksum) is what all
    rows that the device has after this page must come to; None where the hub cannot say it for this very place. `schema` is the form of
    cursor and rows. `relay` is what a venue node says of the hub behind it; a hub says nothing there.
    """

    cursor: str
    more: bool
    tables: tuple[TableRows, ...]
    at: datetime
    checksum: str | None = None
    schema: int = CURSOR_SCHEMA
    relay: Relayed | None = None

    @property
    def news(self) -> bool:
        """Whether it says anything beside rows: worth the end of a long poll."""
        return self.relay is not None and self.relay.acknowledged is not None

    def to_row(self) -> dict[str, Any]:
        row = {
            "protocol": VERSION,
            "cursor": self.cursor,
            "schema": self.schema,
            "more": self.more,
            "at": self.at.isoformat(),
            "checksum": self.checksum,
            "tables": [
                {"table": part.table, "columns": part.columns, "rows": part.rows, "deletes": part.deletes}
                for part in self.tables
            ],
        }
        return row if self.relay is None else row | {"relay": self.relay.to_row()}

    @classmethod
    def from_json(cls, text: bytes | str) -> Page:
        with _reading("a page of changes"):
            row = _object(text)
            return cls(
                cursor=_text(row, "cursor", chars_max=CURSOR_CHARS_MAX),
                more=_flag(row, "more"),
                tables=tuple(_table(part) for part in _list(row, "tables")),
                at=_instant(row, "at"),
                checksum=None if row.get("checksum") is None else _text(row, "checksum", chars_max=64),
                schema=_count(row, "schema") if "schema" in row else 1,
                relay=None if row.get("relay") is None else Relayed.from_row(row["relay"]),
            )


@dataclass(frozen=True, slots=True)
class Answer:
    op: OpId
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """How far the hub itself has a device's chain."""

    incarnation: int
    seq: int

    def to_text(self) -> str:
        return f"{self.incarnation}.{self.seq}"

    @classmethod
    def from_text(cls, text: str) -> Acknowledged:
        with _reading("'acknowledged'"):
            incarnation, _, seq = text.partition(".")
            if not (incarnation.isdecimal() and seq.isdecimal() and len(text) <= 32):
                raise ValueError("INCARNATION.SEQ is expected")
            return cls(int(incarnation), int(seq))


@dataclass(frozen=True, slots=True)
class Relayed:
    """What a venue node tells a device about the hub. `cursor`: whoever has read this page to its end (`more` false) has everything of
    the hub up to there, in the hub's own feed. `acknowledged`: the hub's copy of the device's chain, where that is news to it;
    `answers` are the hub's words on operations up to there that it did not plainly accept. `at`: the hub was last heard of.
    """

    cursor: str | None = None
    acknowledged: Acknowledged | None = None
    answers: tuple[Answer, ...] = ()
    at: datetime | None = None

    def to_row(self) -> dict[str, Any]:
        held = self.acknowledged
        return {
            "cursor": self.cursor,
            "acknowledged": None if held is None else {"incarnation": held.incarnation, "seq": held.seq},
            "answers": [{"op": item.op.hex(), "status": item.status, "reason": item.reason} for item in self.answers],
            "at": None if self.at is None else self.at.isoformat(),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Relayed:
        held = row["acknowledged"]
        return cls(
            cursor=None if row["cursor"] is None else _text(row, "cursor", chars_max=CURSOR_CHARS_MAX),
            acknowledged=None if held is None else Acknowledged(_count(held, "incarnation"), _count(held, "seq")),
            answers=tuple(
                Answer(parse_op_id(_text(item, "op")), Status(item["status"]), _text(item, "reason"))
                for item in _list(row, "answers", items_max=10_000)
            ),
            at=None if row["at"] is None else _instant(row, "at"),
        )


@dataclass(frozen=True, slots=True)
class Head:
    """Where the hub's copy of one incarnation of a device's chain ends."""

    incarnation: int
    seq: int
    hash: bytes


def heads_to_row(heads: tuple[Head, ...]) -> dict[str, Any]:
    rows = [{"incarnation": item.incarnation, "seq": item.seq, "hash": item.hash.hex()} for item in heads]
    return {"protocol": VERSION, "heads": rows}


def heads_from_json(text: bytes | str) -> tuple[Head, ...]:
    with _reading("heads of chains"):
        return tuple(
            Head(_count(row, "incarnation"), _count(row, "seq"), _bytes(row, "hash", 32))
            for row in _list(_object(text), "heads")
        )


@dataclass(frozen=True, slots=True)
class OnBehalf:
    """What a venue node adds to a message that it carries for another device: whose it is, and when it had it."""

    device: DeviceId
    received_at: datetime

    def to_row(self) -> dict[str, Any]:
        return {"device": self.device.hex(), "received_at": self.received_at.isoformat()}


def on_behalf(text: bytes | str) -> OnBehalf | None:
    """The `relayed` key of a message; None in one that comes from its own device."""
    raw = text.encode() if isinstance(text, str) else text
    if b'"relayed"' not in raw:
        return None  # nearly always: a segment of half a megabyte need not be parsed twice
    with _reading("'relayed'"):
        row = _object(text).get("relayed")
        return None if row is None else OnBehalf(parse_device_id(_text(row, "device")), _instant(row, "received_at"))


class Answers(tuple[Answer, ...]):
    """One answer an operation, in order; `cursor` is where the feed stood when their effects were in it, None from a hub of before."""

    cursor: str | None = None

    @classmethod
    def of(cls, answers: Iterable[Answer], *, cursor: str | None) -> Answers:
        made = cls(answers)
        made.cursor = cursor
        return made


def segment_to_row(segment: Segment) -> dict[str, Any]:
    return {
        "protocol": VERSION,
        "device": segment.device.hex(),
        "incarnation": segment.incarnation,
        "first": segment.first,
        "last": segment.last,
        "before": segment.before.hex(),
        "head": segment.head.hex(),
        "signature": segment.signature.hex(),
        "bodies": segment.bodies,
    }


def segment_from_json(text: bytes | str) -> Segment:
    with _reading("a segment"):
        row = _object(text)
        bodies = tuple(_list(row, "bodies"))
        if any(not isinstance(body, str) or len(body.encode()) > BODY_BYTES_MAX for body in bodies):
            raise ValueError(f"an operation is a text of at most {BODY_BYTES_MAX} bytes")
        incarnation = _count(row, "incarnation")
        if not 1 <= incarnation < 1 << 32:
            raise ValueError("an incarnation goes from 1 to 4294967295")
        return Segment(
            device=parse_device_id(_text(row, "device")),
            incarnation=incarnation,
            first=_count(row, "first"),
            last=_count(row, "last"),
            before=_bytes(row, "before", 32),
            head=_bytes(row, "head", 32),
            signature=_bytes(row, "signature", 64),
            bodies=bodies,
        )


def known_from_json(text: bytes | str) -> int:
    """The answer to a Rejoin: the last of this incarnation's operations that the hub has."""
    with _reading("an answer to a rejoin"):
        return _count(_object(text), "known_seq")


def answers_to_row(answers: tuple[Answer, ...]) -> dict[str, Any]:
    return {
        "protocol": VERSION,
        "cursor": answers.cursor if isinstance(answers, Answers) else None,
        "answers": [{"op": item.op.hex(), "status": item.status, "reason": item.reason} for item in answers],
    }


def answers_from_json(text: bytes | str) -> Answers:
    with _reading("an answer to operations"):
        message = _object(text)
        return Answers.of(
            (
                Answer(parse_op_id(_text(row, "op")), Status(row["status"]), _text(row, "reason"))
                for row in _list(message, "answers")
            ),
            cursor=None if message.get("cursor") is None else _text(message, "cursor", chars_max=CURSOR_CHARS_MAX),
        )


@dataclass(frozen=True, slots=True)
class ReleaseMessage:
    """`of` is the operation whose use is given back; `op` the release's own id, the same as in the journal."""

    op: OpId
    of: OpId
    reason: ReleaseReason
    gate: str
    at: datetime

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "op": self.op.hex(),
            "of": self.of.hex(),
            "reason": self.reason,
            "gate": self.gate,
            "at": self.at.isoformat(),
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> ReleaseMessage:
        with _reading("a release"):
            row = _object(text)
            return cls(
                op=parse_op_id(_text(row, "op")),
                of=parse_op_id(_text(row, "of")),
                reason=ReleaseReason(row["reason"]),
                gate=_text(row, "gate", chars_max=64),
                at=_instant(row, "at"),
            )


def ruling_epoch(text: bytes | str) -> int:
    """The answer to ARBITER: the epoch in which the answerer rules, 0 where it does not. Raises MessageError."""
    with _reading("a reign"):
        row = _object(text)
        return _count(row, "epoch") if row["rules"] is True else 0


HUB = "hub"
"""The hub's name as a lender; a venue node that lends on is named by its device id in hex."""


@dataclass(frozen=True, slots=True)
class SlotWish:
    """What a kiosk says of one slot: how much it has been lent and has returned *in total*, by lender, and how many units it wants on
    top of what this lender lent it (`more`, for the one who is asked). Totals only grow, so a wish that was lost, doubled or comes late
    changes nothing. `urgent`: a guest stands there.
    """

    slot: str
    more: int = 0
    lent: Mapping[str, int] = field(default_factory=dict)
    returned: Mapping[str, int] = field(default_factory=dict)
    urgent: bool = False

    def to_row(self) -> dict[str, Any]:
        return {
            "slot": self.slot,
            "more": self.more,
            "lent": dict(self.lent),
            "returned": dict(self.returned),
            "urgent": self.urgent,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> SlotWish:
        """Raises what `_reading` catches. A row of the previous release names a total (`quantity`) and never returns."""
        return cls(
            slot=_text(row, "slot", chars_max=64),
            more=_count(row, "quantity" if "quantity" in row else "more", limit=LEASE_UNITS_MAX),
            lent=_totals(row, "lent"),
            returned=_totals(row, "returned"),
            urgent=bool(row.get("urgent", False)),
        )


LEASE_UNITS_MAX = 100_000
LENDERS_MAX = 64


def _totals(row: Mapping[str, Any], name: str) -> dict[str, int]:
    value = row.get(name, {})
    if not isinstance(value, dict) or len(value) > LENDERS_MAX:
        raise ValueError(f"'{name}' is an object of totals by lender, {LENDERS_MAX} at most")
    return {str(lender)[:64]: _count(value, lender, limit=LEASE_UNITS_MAX) for lender in value}


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Leases belong to one incarnation of a journal: what an earlier one sold of them is not known here any more, so a new one starts
    with none. `blocks`: (length, how many blocks of short ids it holds in force when this is answered), lengths 6 and 8. `members`: the
    kiosks that a venue node lends on to.
    """

    incarnation: int
    slots: tuple[SlotWish, ...] = ()
    blocks: tuple[tuple[int, int], ...] = ()
    members: tuple[DeviceId, ...] = ()

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "incarnation": self.incarnation,
            "slots": [wish.to_row() for wish in self.slots],
            "blocks": [{"length": length, "count": count} for length, count in self.blocks],
            "members": [member.hex() for member in self.members],
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> LeaseRequest:
        with _reading("a request for a lease"):
            row = _object(text)
            slots = tuple(SlotWish.from_row(item) for item in _list(row, "slots", items_max=2_000))
            blocks = tuple(
                (_count(item, "length"), _count(item, "count", limit=1_000))
                for item in _list(row, "blocks", items_max=2)
            )
            if any(length not in BLOCK_LENGTHS for length, _ in blocks):
                raise ValueError("short ids come in lengths 6 and 8")
            members = row.get("members", [])
            if not isinstance(members, list) or len(members) > MEMBERS_MAX:
                raise ValueError(f"'members' is a list of {MEMBERS_MAX} device ids at most")
            return cls(
                incarnation=_count(row, "incarnation", limit=(1 << 32) - 1),
                slots=slots,
                blocks=blocks,
                members=tuple(parse_device_id(member) for member in members),
            )


MEMBERS_MAX = 500
BLOCK_LENGTHS = (6, 8)


@dataclass(frozen=True, slots=True)
class SlotGrant:
    """`quantity` and `returned` are this lender's totals; `free` is what it could still lend, to anyone. `back`: a person took so many
    units back: they are to be returned now, as far as they are not sold.
    """

    slot: str
    quantity: int
    free: int
    returned: int = 0
    back: int = 0

    def to_row(self) -> dict[str, Any]:
        return {
            "slot": self.slot,
            "quantity": self.quantity,
            "free": self.free,
            "returned": self.returned,
            "back": self.back,
        }


@dataclass(frozen=True, slots=True)
class BlockGrant:
    """Short ids `first` to `last` of `length` digits (8: before the check digit), to be printed until `until`; None: for ever."""

    length: int
    first: int
    last: int
    until: datetime | None = None

    def to_row(self) -> dict[str, Any]:
        until = None if self.until is None else self.until.isoformat()
        return {"length": self.length, "first": self.first, "last": self.last, "until": until}


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """All that this kiosk holds of what it asked about."""

    slots: tuple[SlotGrant, ...]
    blocks: tuple[BlockGrant, ...]
    at: datetime
    lender: str = HUB

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "at": self.at.isoformat(),
            "lender": self.lender,
            "slots": [item.to_row() for item in self.slots],
            "blocks": [item.to_row() for item in self.blocks],
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> LeaseAnswer:
        with _reading("an answer about leases"):
            row = _object(text)
            return cls(
                slots=tuple(
                    SlotGrant(
                        _text(item, "slot"),
                        _count(item, "quantity"),
                        _count(item, "free"),
                        _count(item, "returned") if "returned" in item else 0,
                        _count(item, "back") if "back" in item else 0,
                    )
                    for item in _list(row, "slots")
                ),
                blocks=tuple(_block(item) for item in _list(row, "blocks")),
                at=_instant(row, "at"),
                lender=_text(row, "lender", chars_max=64) if "lender" in row else HUB,
            )


@dataclass(frozen=True, slots=True)
class CertificateAnswer:
    """A kiosk's selling key as the hub vouches for it now: the certificate's exact text, and the hub's signature."""

    text: str
    signature: bytes

    def to_row(self) -> dict[str, Any]:
        return {"protocol": VERSION, "certificate": self.text, "signature": self.signature.hex()}

    @classmethod
    def from_json(cls, text: bytes | str) -> CertificateAnswer:
        with _reading("a certificate"):
            row = _object(text)
            return cls(_text(row, "certificate", chars_max=8192), _bytes(row, "signature", 64))


@dataclass(frozen=True, slots=True)
class Rejoin:
    """What a device holds, said to a hub that was restored: the journal's incarnation, the last of its operations that was ever
    acknowledged, and all that it was lent and has returned in that incarnation, the totals that its wishes name.
    """

    incarnation: int
    acknowledged: int
    slots: tuple[SlotWish, ...] = ()
    blocks: tuple[BlockGrant, ...] = ()

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "incarnation": self.incarnation,
            "acknowledged": self.acknowledged,
            "slots": [said.to_row() for said in self.slots],
            "blocks": [block.to_row() for block in self.blocks],
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> Rejoin:
        with _reading("what a device holds"):
            row = _object(text)
            return cls(
                incarnation=_count(row, "incarnation", limit=(1 << 32) - 1),
                acknowledged=_count(row, "acknowledged"),
                slots=tuple(SlotWish.from_row(item) for item in _list(row, "slots", items_max=5_000)),
                blocks=tuple(_block(item) for item in _list(row, "blocks", items_max=2_000)),
            )


@dataclass(frozen=True, slots=True)
class Telemetry:
    """How a device is. `parts` are its health rows: {"part", "state", "at", "stops", "facts"}; which there are, docs/protocol.md says.

    Messages may overtake each other: the latest is the one with the highest (`at`, `sequence`), `at` by the device's own clock. A device
    that counts no sequence sends 0.
    """

    at: datetime
    software: str
    unsent: int
    parts: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)
    sequence: int = 0

    def to_row(self) -> dict[str, Any]:
        return {
            "protocol": VERSION,
            "at": self.at.isoformat(),
            "software": self.software,
            "unsent": self.unsent,
            "sequence": self.sequence,
            "parts": [dict(part) for part in self.parts],
        }

    @classmethod
    def from_json(cls, text: bytes | str) -> Telemetry:
        with _reading("telemetry"):
            row = _object(text)
            return cls(
                at=_instant(row, "at"),
                software=_text(row, "software", chars_max=64),
                unsent=_count(row, "unsent"),
                parts=tuple(_part(item) for item in _list(row, "parts", items_max=64)),
                sequence=_count(row, "sequence") if "sequence" in row else 0,
            )


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the hub said no. `error` is stable; `detail` one line for people; `known_seq` where a chain stands (error chain_gap);
    `epoch` the reign that the answerer knows of (error epoch).
    """

    error: str
    detail: str
    known_seq: int | None = None
    epoch: int | None = None

    def to_row(self) -> dict[str, Any]:
        row = {"protocol": VERSION, "error": self.error, "detail": self.detail, "known_seq": self.known_seq}
        return row if self.epoch is None else {**row, "epoch": self.epoch}

    @classmethod
    def from_json(cls, text: bytes | str) -> Problem:
        with _reading("a refusal"):
            row = _object(text)
            known, epoch = row.get("known_seq"), row.get("epoch")
            return cls(
                _text(row, "error"),
                _text(row, "detail"),
                None if known is None else _count(row, "known_seq"),
                None if epoch is None else _count(row, "epoch"),
            )


class _reading:  # noqa: N801 used like a function
    """Turns what parsing raises into a MessageError that names the message."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyError):
            raise MessageError(f"{self._what}: {error} is missing") from error
        if isinstance(error, ValueError | TypeError | AttributeError | RecursionError | SegmentError):
            raise MessageError(f"{self._what} that cannot be read: {error}") from error


def _object(text: bytes | str) -> dict[str, Any]:
    row = json.loads(text)
    if not isinstance(row, dict):
        raise TypeError("an object is expected")
    return row


def _text(row: Mapping[str, Any], key: str, *, chars_max: int = 1 << 20) -> str:
    value = row[key]
    if not isinstance(value, str) or len(value) > chars_max:
        raise ValueError(f"'{key}' is a text of at most {chars_max} characters")
    return value


def _count(row: Mapping[str, Any], key: str, *, limit: int = (1 << 63) - 1) -> int:
    value = row[key]
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"'{key}' is a whole number from 0 to {limit}")
    return value


def _flag(row: Mapping[str, Any], key: str) -> bool:
    value = row[key]
    if not isinstance(value, bool):
        raise TypeError(f"'{key}' is true or false")
    return value


def _bytes(row: Mapping[str, Any], key: str, size: int) -> bytes:
    value = bytes.fromhex(_text(row, key))
    if len(value) != size:
        raise ValueError(f"'{key}' is {size} bytes of hex")
    return value


def _instant(row: Mapping[str, Any], key: str) -> datetime:
    value = datetime.fromisoformat(_text(row, key))
    if value.tzinfo is None:
        raise ValueError(f"'{key}' has no time zone")
    return value


def _list(row: Mapping[str, Any], key: str, *, items_max: int = 1_000_000) -> list[Any]:
    value = row[key]
    if not isinstance(value, list) or len(value) > items_max:
        raise ValueError(f"'{key}' is a list of at most {items_max}")
    return value


def _block(row: Mapping[str, Any]) -> BlockGrant:
    length, first, last = _count(row, "length"), _count(row, "first"), _count(row, "last")
    if length not in BLOCK_LENGTHS or not first <= last < 10**length:
        raise ValueError("a block is a range of numbers of length 6 or 8")
    return BlockGrant(length, first, last, None if row.get("until") is None else _instant(row, "until"))


def _table(row: Mapping[str, Any]) -> TableRows:
    columns = tuple(_list(row, "columns"))
    rows = tuple(tuple(item) for item in _list(row, "rows"))
    deletes = tuple(_list(row, "deletes"))
    if not all(isinstance(name, str) for name in columns + deletes):
        raise TypeError("columns and deletes are texts")
    if any(len(item) != len(columns) for item in rows):
        raise ValueError(f"table '{row['table']}': a row does not have {len(columns)} values")
    return TableRows(table=_text(row, "table", chars_max=64), columns=columns, rows=rows, deletes=deletes)


def _part(row: Mapping[str, Any]) -> dict[str, Any]:
    facts = row["facts"]
    if not isinstance(facts, dict):
        raise TypeError("facts are an object")
    return {
        "part": _text(row, "part", chars_max=64),
        "state": _text(row, "state", chars_max=32),
        "at": _instant(row, "at").isoformat(),
        "stops": _text(row, "stops", chars_max=64),
        "facts": facts,
    }
