"""Operations: the facts a device appends and sends. Each is one JSON object, written once, never changed.

Every body has `op` (hex), `kind` and `at` (ISO 8601, UTC). Counts are computed from operations; nothing here is a counter.
A kind that a reader does not know is kept and relayed, not refused: a newer device speaks to an older hub.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, TypeAlias, cast, get_args, get_origin, get_type_hints

from sync.errors import MessageError
from tickets.admission import Passage, Reason
from tickets.ids import OpId
from tickets.ids import op_id as parse_op_id

BODY_BYTES_MAX = 64 * 1024
KIND_CHARS_MAX = 64


class ReleaseReason(StrEnum):
    NOT_PASSED = "not_passed"
    ABANDONED = "abandoned"
    UNDONE = "undone"


class Mode(StrEnum):
    """Who stands behind an admission: the arbiter in an epoch, or the gate's policy when nobody answered."""

    CONFIRMED = "confirmed"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Previous:
    """What is known of where an earlier incarnation ended: its last sequence number and hash (hex), null where nobody knows."""

    incarnation: int
    seq: int | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class Incarnation:
    """The first operation of each incarnation. `previous` is null in a device's first, else what is known of the last one's end."""

    KIND: ClassVar[str] = "incarnation"
    op: str
    at: str
    reason: str
    previous: Previous | None


@dataclass(frozen=True, slots=True)
class SoldTicket:
    """A ticket of a sale. `book` is shared by the coupons of one ride book, hex of 10 bytes; `part` of `parts` within it."""

    ticket: str
    kid: str
    variant: int
    uses: int
    language: str
    not_before: int
    expires: int
    short_id: str
    line: int
    slot: str | None = None
    book: str | None = None
    part: int = 1
    parts: int = 1


@dataclass(frozen=True, slots=True)
class SoldLine:
    variant: int
    count: int
    unit_minor: int
    tax_bp: int
    slot: str | None = None


@dataclass(frozen=True, slots=True)
class Paid:
    """How it was paid. `tender` is none (0 yen), card, ...; ids are the terminal's own; `masked` never more than first 6, last 4."""

    tender: str
    attempt: str | None = None
    terminal: str | None = None
    receipt: str | None = None
    trace: str | None = None
    brand: str | None = None
    masked: str | None = None


@dataclass(frozen=True, slots=True)
class TaxAmount:
    tax_bp: int
    gross_minor: int
    tax_minor: int


@dataclass(frozen=True, slots=True)
class Sale:
    """Money taken (or none due) and tickets valid, in one fact. `number` is what people say: device, date, counter."""

    KIND: ClassVar[str] = "sale"
    op: str
    at: str
    order: str
    number: str
    language: str
    currency: str
    total_minor: int
    lines: tuple[SoldLine, ...]
    tax: tuple[TaxAmount, ...]
    paid: Paid
    tickets: tuple[SoldTicket, ...]


@dataclass(frozen=True, slots=True)
class SaleReversed:
    """A sale taken back by itself: no byte of its coupons was sent. Its tickets are invalid from here on."""

    KIND: ClassVar[str] = "sale_reversed"
    op: str
    at: str
    order: str
    reason: str
    proof: Paid


@dataclass(frozen=True, slots=True)
class Owed:
    """Paid but not (wholly) handed over. `claim` is the number on the guest's screen or slip; `tickets` are those still owed."""

    KIND: ClassVar[str] = "owed"
    op: str
    at: str
    order: str
    claim: str
    tickets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PaymentDoubt:
    """An attempt whose outcome nobody can prove yet (処理未了): `state` unknown or stuck; or that is settled: paid or not_paid."""

    KIND: ClassVar[str] = "payment_doubt"
    op: str
    at: str
    attempt: str
    order: str
    amount_minor: int
    currency: str
    tender: str
    state: str
    claim: str


@dataclass(frozen=True, slots=True)
class Admission:
    """A use of a ticket that was let through. `code` is the whole ticket code where this gate knew no row of the ticket, so that
    whoever merges it can verify and insert the ticket; else null. `at` is the time of the scan. `interrupted`: the gate died before
    it had recorded its verdict, so nobody knows whether the light was green; the use counts, and somebody should look.
    """

    KIND: ClassVar[str] = "admission"
    op: str
    at: str
    ticket: str
    code: str | None
    passage: Passage
    units: int
    window: str
    gate: str
    mode: Mode
    epoch: int | None
    attention: Reason | None = None
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A scan that was refused. `number` is short and stands on the screen, so that the desk finds the scan by it. `ticket` is null
    for a code that names none.
    """

    KIND: ClassVar[str] = "refusal"
    op: str
    at: str
    ticket: str | None
    reason: Reason
    gate: str
    number: str


@dataclass(frozen=True, slots=True)
class Release:
    """The one inverse. `of` is the operation whose use is given back; arriving before it, it is that operation's tombstone."""

    KIND: ClassVar[str] = "release"
    op: str
    at: str
    of: str
    reason: ReleaseReason
    gate: str


@dataclass(frozen=True, slots=True)
class UnknownKind:
    """A kind of a later version: kept as it came."""

    op: str
    at: str
    kind: str


Operation: TypeAlias = Incarnation | Sale | SaleReversed | Owed | PaymentDoubt | Admission | Refusal | Release
KINDS: dict[str, type[Operation]] = {
    cls.KIND: cls for cls in (Incarnation, Sale, SaleReversed, Owed, PaymentDoubt, Admission, Refusal, Release)
}


def to_body(operation: Operation) -> str:
    """The text to append. Keys stand in a fixed order so that a person can read a journal."""
    fields = dataclasses.asdict(operation)
    body = json.dumps(
        {"op": fields.pop("op"), "kind": operation.KIND, **fields}, ensure_ascii=False, separators=(",", ":")
    )
    if len(body.encode()) > BODY_BYTES_MAX:
        raise MessageError(f"an operation of {len(body.encode())} bytes; {BODY_BYTES_MAX} are allowed")
    return body


def from_body(body: str) -> Operation | UnknownKind:
    """The operation that a body says. Raises MessageError for anything that is none: a field that is missing, or of another type
    than its class says (a whole number is no truth value, and digits in quotes are no number). Fields of a later version are ignored.
    """
    try:
        value = json.loads(body)
        if not isinstance(value, dict):
            raise TypeError("an object is expected")
        parse_op_id(value["op"])
        if datetime.fromisoformat(value["at"]).tzinfo is None:
            raise ValueError("'at' has no time zone")
        kind = _checked(str, value["kind"], "kind")
        if not 1 <= len(kind) <= KIND_CHARS_MAX or not kind.isprintable():
            raise ValueError(f"'kind' is a word of at most {KIND_CHARS_MAX} characters")
        cls = KINDS.get(kind)
        if cls is None:
            return UnknownKind(op=value["op"], at=value["at"], kind=kind)
        operation: Operation = _part(cls, value, "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MessageError(f"an operation that cannot be read: {error}") from error
    return operation


def op_of(operation: Operation | UnknownKind) -> OpId:
    return parse_op_id(operation.op)


@cache
def _hints(cls: Any) -> dict[str, tuple[Any, bool]]:
    """Of each field: its type, and whether it must be there."""
    types = get_type_hints(cls)
    return {field.name: (types[field.name], field.default is dataclasses.MISSING) for field in dataclasses.fields(cls)}


def _part(cls: type[Any], row: dict[str, Any], where: str) -> Any:
    fields = {}
    for name, (expected, needed) in _hints(cast("Hashable", cls)).items():
        if name in row:
            fields[name] = _checked(expected, row[name], f"{where}{name}")
        elif needed:
            raise ValueError(f"'{where}{name}' is missing")
    return cls(**fields)


def _checked(expected: Any, value: Any, where: str) -> Any:
    """A JSON value as the type that a field's hint names. Knows the few forms that operations are made of."""
    match get_origin(expected):
        case types.UnionType:  # T | None
            (inner,) = (part for part in get_args(expected) if part is not type(None))
            return None if value is None else _checked(inner, value, where)
        case origin if origin is tuple:  # tuple[T, ...]
            if not isinstance(value, list):
                raise TypeError(f"'{where}' is a list")
            inner = get_args(expected)[0]
            return tuple(_checked(inner, item, f"{where}.{number}") for number, item in enumerate(value))
    if dataclasses.is_dataclass(expected):
        if not isinstance(value, dict):
            raise TypeError(f"'{where}' is an object")
        return _part(cast("type[Any]", expected), value, f"{where}.")
    kind = str if issubclass(expected, StrEnum) else expected
    if type(value) is not kind:
        raise TypeError(f"'{where}' is a {_WORDS[kind]}")
    if kind is str:
        value.encode()  # half a surrogate pair is no text: no database takes it
    if expected is kind:
        return value
    try:
        return expected(value)
    except ValueError as error:
        raise ValueError(f"'{where}' is not one of: {', '.join(expected)}") from error


_WORDS = {str: "text", int: "whole number", bool: "truth value"}
