"""Operations on their way to the hub, and what it answers to each; relayed ones in their device's name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sync.chain import Segment
from sync.operation import BODY_BYTES_MAX
from sync.protocol.addresses import CURSOR_CHARS_MAX, VERSION
from sync.protocol.fields import bytes_of, count_of, instant_of, list_of, object_of, reading, text_of
from tickets.ids import DeviceId, OpId
from tickets.ids import device_id as parse_device_id
from tickets.ids import op_id as parse_op_id


class Status(StrEnum):
    """The hub's answer to one operation. Whatever it is, the operation is kept by both ends and never sent again for its own sake."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Answer:
    op: OpId
    status: Status
    reason: str = ""


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
    with reading("a segment"):
        row = object_of(text)
        bodies = tuple(list_of(row, "bodies"))
        if any(not isinstance(body, str) or len(body.encode()) > BODY_BYTES_MAX for body in bodies):
            raise ValueError(f"an operation is a text of at most {BODY_BYTES_MAX} bytes")
        incarnation = count_of(row, "incarnation")
        if not 1 <= incarnation < 1 << 32:
            raise ValueError("an incarnation goes from 1 to 4294967295")
        return Segment(
            device=parse_device_id(text_of(row, "device")),
            incarnation=incarnation,
            first=count_of(row, "first"),
            last=count_of(row, "last"),
            before=bytes_of(row, "before", 32),
            head=bytes_of(row, "head", 32),
            signature=bytes_of(row, "signature", 64),
            bodies=bodies,
        )


def answers_to_row(answers: tuple[Answer, ...]) -> dict[str, Any]:
    return {
        "protocol": VERSION,
        "cursor": answers.cursor if isinstance(answers, Answers) else None,
        "answers": [{"op": item.op.hex(), "status": item.status, "reason": item.reason} for item in answers],
    }


def answers_from_json(text: bytes | str) -> Answers:
    with reading("an answer to operations"):
        message = object_of(text)
        return Answers.of(
            (
                Answer(parse_op_id(text_of(row, "op")), Status(row["status"]), text_of(row, "reason"))
                for row in list_of(message, "answers")
            ),
            cursor=None if message.get("cursor") is None else text_of(message, "cursor", chars_max=CURSOR_CHARS_MAX),
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
    with reading("heads of chains"):
        return tuple(
            Head(count_of(row, "incarnation"), count_of(row, "seq"), bytes_of(row, "hash", 32))
            for row in list_of(object_of(text), "heads")
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
    with reading("'relayed'"):
        row = object_of(text).get("relayed")
        return (
            None if row is None else OnBehalf(parse_device_id(text_of(row, "device")), instant_of(row, "received_at"))
        )
