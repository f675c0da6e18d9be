"""How a device is, and what the hub says when it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync.protocol.addresses import VERSION
from sync.protocol.fields import count_of, instant_of, list_of, object_of, reading, text_of


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
        with reading("telemetry"):
            row = object_of(text)
            return cls(
                at=instant_of(row, "at"),
                software=text_of(row, "software", chars_max=64),
                unsent=count_of(row, "unsent"),
                parts=tuple(_part(item) for item in list_of(row, "parts", items_max=64)),
                sequence=count_of(row, "sequence") if "sequence" in row else 0,
            )


def _part(row: Mapping[str, Any]) -> dict[str, Any]:
    facts = row["facts"]
    if not isinstance(facts, dict):
        raise TypeError("facts are an object")
    return {
        "part": text_of(row, "part", chars_max=64),
        "state": text_of(row, "state", chars_max=32),
        "at": instant_of(row, "at").isoformat(),
        "stops": text_of(row, "stops", chars_max=64),
        "facts": facts,
    }


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
        with reading("a refusal"):
            row = object_of(text)
            known, epoch = row.get("known_seq"), row.get("epoch")
            return cls(
                text_of(row, "error"),
                text_of(row, "detail"),
                None if known is None else count_of(row, "known_seq"),
                None if epoch is None else count_of(row, "epoch"),
            )
