"""The claim: what a gate asks the venue's arbiter before it takes value from a ticket. Final words.

    claim   {"op", "kind", "ticket", "code", "units", "window", "gate", "epoch"}
    answer  {"op", "answer": "granted" | "denied", "epoch", "left", "reason", "first": {"at", "gate"} | null}

The whole code travels with it, so that an arbiter which has no row of the ticket can verify it and insert the row. A known op
gets the same answer again. `epoch` is the reign the gate lives in: an arbiter of another one says so (409 `epoch`) and answers nothing
else, so an answer always has the epoch of its claim.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sync.errors import MessageError
from tickets.admission import Denied, Granted, Passage, Reason, Use
from tickets.code import CODE_CHARS_MAX
from tickets.ids import OpId
from tickets.ids import op_id as parse_op_id
from tickets.ids import ticket_id as parse_ticket_id

UNITS_MAX = 65535
PLACE_CHARS_MAX = 64
"""Of a gate's name and of a window."""
EPOCH_FIRST = 1
"""The reign that every venue begins in. It rises by a statement that the hub signs (sync.arbiter) and in no other way. A number in an
answer raises nothing: one forged answer would make every true one old for ever.
"""


@dataclass(frozen=True, slots=True)
class ClaimMessage:
    """`kind` is entry, reentry or exit; `code` null where the ticket was found by its digits."""

    op: str
    kind: Passage
    ticket: str
    code: str | None
    units: int
    window: str
    gate: str
    epoch: int

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> ClaimMessage:
        """Raises MessageError."""
        try:
            row = json.loads(text)
            parse_op_id(row["op"])
            parse_ticket_id(row["ticket"])
            code, units, epoch = row["code"], row["units"], row["epoch"]
            if code is not None and (not isinstance(code, str) or len(code) > CODE_CHARS_MAX):
                raise ValueError(f"a code has at most {CODE_CHARS_MAX} characters")
            if type(units) is not int or not 0 <= units <= UNITS_MAX:
                raise ValueError(f"units go from 0 to {UNITS_MAX}")
            if type(epoch) is not int or epoch < 0:
                raise ValueError("an epoch is a whole number from 0 up")
            return cls(
                op=row["op"],
                kind=Passage(row["kind"]),
                ticket=row["ticket"],
                code=code,
                units=units,
                window=place(row["window"], "window"),
                gate=place(row["gate"], "gate"),
                epoch=epoch,
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise MessageError(f"a claim that cannot be read: {error}") from error


def place(value: Any, name: str) -> str:
    """A gate's name or a window, as every database and every screen takes it. Raises ValueError."""
    if not isinstance(value, str) or len(value) > PLACE_CHARS_MAX:
        raise ValueError(f"'{name}' is a text of at most {PLACE_CHARS_MAX} characters")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise ValueError(f"'{name}' has no control characters and no half of a surrogate pair")
    return value


def answer_to_row(op: str, answer: Granted | Denied, *, epoch: int) -> dict[str, Any]:
    if isinstance(answer, Granted):
        return {"op": op, "answer": "granted", "epoch": epoch, "left": answer.left, "reason": None, "first": None}
    first = None if answer.first is None else {"at": answer.first.at.isoformat(), "gate": answer.first.gate}
    return {"op": op, "answer": "denied", "epoch": epoch, "left": None, "reason": answer.reason, "first": first}


def answer_from_row(row: Any, *, op: str, epoch: int | None = None) -> Granted | Denied:
    """The arbiter's answer to `op`, in the reign `epoch` where that is given. Raises MessageError."""
    try:
        if row["op"] != op:
            raise ValueError("an answer to another claim")
        if epoch is not None and row["epoch"] != epoch:
            raise ValueError(f"an answer of epoch {row['epoch']} in epoch {epoch}")
        if row["answer"] == "granted":
            return Granted(epoch=int(row["epoch"]), left=None if row["left"] is None else int(row["left"]))
        if row["answer"] != "denied":
            raise ValueError("an answer is granted or denied")
        first = row["first"]
        use = None
        if first is not None:
            at = datetime.fromisoformat(first["at"])
            use = Use(op=OpId(bytes(16)), passage=Passage.ENTRY, units=0, window="", at=at, gate=str(first["gate"]))
        return Denied(Reason(row["reason"]), use)
    except (ValueError, KeyError, TypeError) as error:
        raise MessageError(f"an answer to a claim that cannot be read: {error}") from error
