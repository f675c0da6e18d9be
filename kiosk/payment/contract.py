"""What a payment terminal is to the rest of the kiosk, whatever it speaks on its wire.

One worker thread owns a terminal and calls it synchronously, one attempt at a time; only `cancel` may come from another thread.
The sale engine writes a journal row around every call that can move money; no driver writes the journal. A driver never raises
for money doubt: it answers `Outcome.UNKNOWN`, and a financial command is never repeated blindly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NewType, Protocol

from kiosk.payment.errors import EvidenceError
from kiosk.payment.masking import mask_number, mask_text
from tickets.money import Money, MoneyError

AttemptId = NewType("AttemptId", str)
OrderRef = NewType("OrderRef", str)

Baseline = Mapping[str, Any]
"""What the terminal knew before an attempt, as JSON values. Opaque: written to the journal, handed back in `PayRequest`."""


class Outcome(StrEnum):
    """Where the attempt's money stands now, as far as it is proven."""

    APPROVED_HELD = "approved_held"
    """Authorised, the terminal waits for our word. Not charged yet: no ticket is valid."""
    APPROVED_FINAL = "approved_final"
    """Charged, proven."""
    DECLINED = "declined"
    """Refused by bank or card. Not charged."""
    CANCELLED = "cancelled"
    """Ended by the guest, by us, or by the terminal's own time-out. Not charged."""
    NOT_CHARGED = "not_charged"
    """Proven that nothing is charged now: never sent, refused, voided or reversed."""
    IN_PROGRESS = "in_progress"
    """The terminal is still working on it: ask again."""
    UNKNOWN = "unknown"
    """Not known (処理未了). Query, and until then neither issue nor charge again."""

    @property
    def is_proven_uncharged(self) -> bool:
        return self in {Outcome.DECLINED, Outcome.CANCELLED, Outcome.NOT_CHARGED}


class Method(StrEnum):
    """What the guest chose to pay with."""

    CARD = "card"
    FELICA = "felica"
    QR = "qr"


class Health(StrEnum):
    """What the terminal can do now."""

    READY = "ready"
    BUSY = "busy"
    NEEDS_END_OF_DAY = "needs_end_of_day"
    NEEDS_SERVICE = "needs_service"
    OFFLINE = "offline"
    OUT_OF_ORDER = "out_of_order"


class Stage(StrEnum):
    """What the guest's screen says while the terminal works; the screen's words hang on `Progress.message_key`."""

    CONNECTING = "connecting"
    INSERT_CARD = "insert_card"
    FOLLOW_TERMINAL = "follow_terminal"
    ENTER_PIN = "enter_pin"
    PIN_WRONG = "pin_wrong"
    PROCESSING = "processing"
    NOT_ACCEPTED = "not_accepted"
    CREDIT_LOW = "credit_low"
    REMOVE_CARD = "remove_card"
    APPROVED = "approved"
    DECLINED = "declined"
    REVERSING = "reversing"


@dataclass(frozen=True, slots=True)
class Progress:
    """One thing to show. `hint` is the terminal's own text in its own language: small print at most, never the message.

    `qr`: what a QR code on the kiosk's own screen holds, for the guest's phone; it is shown until a Progress without it.
    """

    stage: Stage
    hint: str | None = None
    may_cancel: bool = False
    qr: str | None = None

    @property
    def message_key(self) -> str:
        return f"pay.{self.stage}"


@dataclass(frozen=True, slots=True)
class PayRequest:
    """One attempt. `attempt_id` is its identity towards us, `baseline` what `Terminal.baseline()` said just before it.

    After `deadline_s` the driver asks the terminal to stop; the outcome still comes from the terminal.
    """

    attempt_id: AttemptId
    order_ref: OrderRef
    amount: Money
    method: Method
    deadline_s: int
    baseline: Baseline = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.amount.minor <= 0:
            raise ValueError("a payment is more than nothing: an order of 0 needs no terminal")

    def to_json(self) -> str:
        return _dump(self)

    @classmethod
    def from_json(cls, text: str) -> PayRequest:
        """Raises EvidenceError for anything that is not a stored request."""
        values = _load(text, cls)
        try:
            return cls(
                attempt_id=AttemptId(str(values["attempt_id"])),
                order_ref=OrderRef(str(values["order_ref"])),
                amount=_money(values["amount"]),
                method=Method(values["method"]),
                deadline_s=int(values["deadline_s"]),
                baseline=dict(values["baseline"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceError(f"a stored payment request cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the terminal said, normalised and masked, as it goes into the journal.

    `code` is ours and stable (`approved`, `terminal_silent`, `zvt_result_6c`, ...), `text` the terminal's words. `at` is the
    terminal's own clock, as it wrote it. `raw` describes the frames that matter, with card data left out. Card numbers in any
    text field are masked here, whoever built the value.
    """

    outcome: Outcome
    code: str
    attempt_id: AttemptId | None = None
    amount: Money | None = None
    brand: str | None = None
    masked_id: str | None = None
    entry: str | None = None
    terminal_id: str | None = None
    receipt_no: int | None = None
    trace: int | None = None
    turnover: int | None = None
    auth_code: str | None = None
    provider_id: str | None = None
    at: str | None = None
    customer_receipt: str | None = None
    merchant_receipt: str | None = None
    balance_before: Money | None = None
    balance_after: Money | None = None
    text: str | None = None
    raw: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.masked_id is not None:
            object.__setattr__(self, "masked_id", mask_number(self.masked_id))
        for name in ("customer_receipt", "merchant_receipt", "text"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, mask_text(value))
        object.__setattr__(self, "raw", tuple(mask_text(line) for line in self.raw))

    def to_json(self) -> str:
        """The exact text for the journal's `evidence` column; fields without a value are left out."""
        return _dump(self)

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """Raises EvidenceError. Keys of a later release are passed over, so that going back a release loses no payment."""
        values = _load(text, cls)
        try:
            values["outcome"] = Outcome(values["outcome"])
            for name in ("amount", "balance_before", "balance_after"):
                if values.get(name) is not None:
                    values[name] = _money(values[name])
            values["raw"] = tuple(str(line) for line in values.get("raw", ()))
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceError(f"stored payment evidence cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Caps:
    """What this terminal can do; asked after `open`.

    `holds`: an approval waits for our word. `voids_after_confirm`: `reverse` works without the card.
    """

    holds: bool
    voids_after_confirm: bool
    refunds_partly: bool
    queries_by_attempt: bool
    ends_day: bool
    tells_balance: bool
    methods: frozenset[Method]
    currencies: frozenset[str]


@dataclass(frozen=True, slots=True)
class Totals:
    """The terminal's own sum since its last end of day, and per brand (count, sum); None where it does not say."""

    total: Money
    by_brand: Mapping[str, tuple[int, Money]] = field(default_factory=dict)
    receipt_no_first: int | None = None
    receipt_no_last: int | None = None


Watcher = Callable[[Progress], None]


class Terminal(Protocol):
    """A payment terminal. See the module for threads and for who writes what."""

    @property
    def caps(self) -> Caps: ...

    def open(self) -> Health:
        """Connect and register; safe to call again. Health.OFFLINE when it cannot be reached."""
        ...

    def close(self) -> None:
        """Let go of the wire. A hold that still stands is refused."""
        ...

    def health(self) -> Health:
        """Ask the terminal how it is; moves no money."""
        ...

    def baseline(self) -> Baseline:
        """What the terminal knows last, for the INTENT row. Raises TerminalLinkError when it cannot say: do not authorise."""
        ...

    def authorise(self, request: PayRequest, watch: Watcher) -> Evidence:
        """Take the payment. APPROVED_HELD (terminals that hold), APPROVED_FINAL, DECLINED, CANCELLED, NOT_CHARGED or UNKNOWN.

        `watch` is called in the calling thread. While held, the driver keeps the hold alive until `confirm` or `void`; at its
        own limit it refuses the hold, and `confirm` then says so.
        """
        ...

    def confirm(self, held: Evidence) -> Evidence:
        """Make the held charge final. APPROVED_FINAL only with proof; NOT_CHARGED if it ended otherwise, proven; else UNKNOWN."""
        ...

    def void(self, held: Evidence) -> Evidence:
        """Refuse the hold. NOT_CHARGED with proof, else UNKNOWN."""
        ...

    def reverse(self, charged: Evidence, *, key: str) -> Evidence:
        """Give a final charge back whole. NOT_CHARGED with proof, APPROVED_FINAL if refused or never sent, else UNKNOWN."""
        ...

    def refund(self, charged: Evidence, *, amount: Money, key: str) -> Evidence:
        """Give part of a charge back where `caps.refunds_partly`; otherwise APPROVED_FINAL with code `not_supported`."""
        ...

    def query(self, request: PayRequest, *, seen: Evidence | None) -> Evidence:
        """Find out what became of an attempt; moves no money, may be repeated. `seen`: the last evidence of it that names
        a trace or receipt number. APPROVED_FINAL, NOT_CHARGED, IN_PROGRESS or UNKNOWN."""
        ...

    def cancel(self) -> None:
        """Ask the terminal to stop the running `authorise`; from any thread, best effort. The outcome comes from there."""
        ...

    def totals(self) -> Totals:
        """The terminal's sums. Raises TerminalLinkError."""
        ...

    def end_of_day(self) -> Totals:
        """Close the terminal's day. Never while an attempt is open: afterwards nothing of it can be reversed."""
        ...


def _dump(value: PayRequest | Evidence) -> str:
    plain = {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    kept = {name: item for name, item in plain.items() if item is not None and item != []}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _plain(value: Any) -> Any:
    match value:
        case Money():
            return {"minor": value.minor, "currency": value.currency}
        case tuple():
            return list(value)
        case Mapping():
            return dict(value)
        case _:
            return value


def _load(text: str, cls: type[PayRequest] | type[Evidence]) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"a payment row holds no JSON: {error}") from error
    if not isinstance(values, dict):
        raise EvidenceError("a payment row holds no JSON object")
    known = {item.name for item in fields(cls)}
    return {name: value for name, value in values.items() if name in known}


def _money(value: Any) -> Money:
    try:
        return Money(int(value["minor"]), str(value["currency"]))
    except MoneyError as error:
        raise EvidenceError(f"a stored amount cannot be read: {error}") from error
