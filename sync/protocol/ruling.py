"""Releases, and who rules. A claim itself is sync.claim."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.claim import place
from sync.operation import ReleaseReason
from sync.protocol.addresses import VERSION
from sync.protocol.fields import count_of, instant_of, object_of, reading, text_of
from tickets.ids import OpId
from tickets.ids import op_id as parse_op_id


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
        with reading("a release"):
            row = object_of(text)
            return cls(
                op=parse_op_id(text_of(row, "op")),
                of=parse_op_id(text_of(row, "of")),
                reason=ReleaseReason(row["reason"]),
                gate=place(row["gate"], "gate"),
                at=instant_of(row, "at"),
            )


def ruling_epoch(text: bytes | str) -> int:
    """The answer to ARBITER: the epoch in which the answerer rules, 0 where it does not. Raises MessageError."""
    with reading("a reign"):
        row = object_of(text)
        return count_of(row, "epoch") if row["rules"] is True else 0
