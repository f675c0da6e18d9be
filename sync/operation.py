"""Operations: the facts a device appends and sends. Each is one JSON object, written once, never changed.

Every body has `op` (hex), `kind` and `at` (ISO 8601, UTC). Counts are computed from operations; nothing here is a counter.
A kind that a reader does not know is kept and relayed, not refused: a newer device speaks to an older hub. For the same reason each
body says by which schema it was written (`v`; without one it is of the first): what a later schema has changed beyond understanding is
kept as well, and only what claims to be understandable and is not is refused.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Hashable
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
SCHEMA = 2
"""How this version writes bodies. It reads 1 as well: the same, without `v` (tests/vectors/operations_1.json holds one of each)."""


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
        {"op": fields.pop("op"), "kind": operation.KIND, "v": SCHEMA, **fields},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    if len(body.encode()) > BODY_BYTES_MAX:
        raise MessageError(f"an operation of {len(body.encode())} bytes; {BODY_BYTES_MAX} are allowed")
    return body


def from_body(body: str) -> Operation | UnknownKind:
    """The operation that a body says. Raises MessageError for anything that is none: a field that is missing, or of another type
    than its class says (a whole number is no truth value, and digits in quotes are no number). Fields of a later version are ignored,
    and a body of a later schema that cannot be understood is an UnknownKind.
    """
    try:
        value = json.loads(body)
        if not isinstance(value, dict):
            raise TypeError("an object is expected")
        parse_op_id(value["op"])
        if datetime.fromisoformat(value["at"]).tzinfo is None:
            raise ValueError("'at' has no time zone")
        kind = _text(value["kind"], "", "kind")
        if not 1 <= len(kind) <= KIND_CHARS_MAX or not kind.isprintable():
            raise ValueError(f"'kind' is a word of at most {KIND_CHARS_MAX} characters")
        schema = value.get("v", 1)
        if type(schema) is not int or schema < 1:
            raise ValueError("'v' is the number of a schema")
        cls = KINDS.get(kind)
        if cls is None:
            return UnknownKind(op=value["op"], at=value["at"], kind=kind)
        try:
            operation: Operation = _reader(cast("Hashable", cls))(value, "", "")
        except (ValueError, TypeError):
            if schema > SCHEMA:
                return UnknownKind(op=value["op"], at=value["at"], kind=kind)
            raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MessageError(f"an operation that cannot be read: {error}") from error
    return operation


def op_of(operation: Operation | UnknownKind) -> OpId:
    return parse_op_id(operation.op)


Reader: TypeAlias = Callable[[Any, str, str], Any]
"""Makes of a JSON value what a field's type says. The two texts say where it stands: they are put together only where it is wrong,
because a hub reads ten thousand bodies a second.
"""


@cache
def _reader(expected: Any) -> Reader:
    """How to read what a type hint names. Knows the few forms that operations are made of; made once for each."""
    match get_origin(expected):
        case types.UnionType:  # T | None
            (inner,) = (part for part in get_args(expected) if part is not type(None))
            return _or_null(_reader(inner))
        case origin if origin is tuple:  # tuple[T, ...]
            return _list_of(_reader(get_args(expected)[0]))
    if dataclasses.is_dataclass(expected):
        return _object_of(cast("type[Any]", expected))
    if issubclass(expected, StrEnum):
        return _word_of(expected)
    return _SIMPLE[expected]


def _text(value: Any, prefix: str, name: str) -> str:
    if type(value) is not str:
        raise TypeError(f"'{prefix}{name}' is a text")
    if not value.isascii():
        value.encode()  # half a surrogate pair is no text: no database takes it
    if "\x00" in value:
        raise ValueError(f"'{prefix}{name}' has a NUL in it")  # PostgreSQL takes none
    return value


def _number(value: Any, prefix: str, name: str) -> int:
    if type(value) is not int:
        raise TypeError(f"'{prefix}{name}' is a whole number")
    return value


def _truth(value: Any, prefix: str, name: str) -> bool:
    if type(value) is not bool:
        raise TypeError(f"'{prefix}{name}' is a truth value")
    return value


_SIMPLE: dict[Any, Reader] = {str: _text, int: _number, bool: _truth}


def _or_null(inner: Reader) -> Reader:
    return lambda value, prefix, name: None if value is None else inner(value, prefix, name)


def _list_of(inner: Reader) -> Reader:
    def read(value: Any, prefix: str, name: str) -> tuple[Any, ...]:
        if type(value) is not list:
            raise TypeError(f"'{prefix}{name}' is a list")
        where = f"{prefix}{name}."
        return tuple([inner(item, where, str(number)) for number, item in enumerate(value)])

    return read


def _word_of(words: type[StrEnum]) -> Reader:
    known = {str(word): word for word in words}

    def read(value: Any, prefix: str, name: str) -> StrEnum:
        found = known.get(_text(value, prefix, name))
        if found is None:
            raise ValueError(f"'{prefix}{name}' is not one of: {', '.join(known)}")
        return found

    return read


def _object_of(cls: type[Any]) -> Reader:
    hints = get_type_hints(cls)
    fields = [
        (field.name, _reader(hints[field.name]), field.default is dataclasses.MISSING)
        for field in dataclasses.fields(cls)
    ]

    def read(value: Any, prefix: str, name: str) -> Any:
        if type(value) is not dict:
            raise TypeError(f"'{prefix}{name}' is an object")
        where = f"{prefix}{name}." if name else prefix
        given = {}
        for key, inner, needed in fields:
            if key in value:
                given[key] = inner(value[key], where, key)
            elif needed:
                raise ValueError(f"'{where}{key}' is missing")
        return cls(**given)

    return read
