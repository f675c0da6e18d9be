"""What the screens show: frozen values with every text already in the guest's language. A screen lays out and binds, nothing else.

A text may hold line breaks; nothing is wrapped by a screen. `touch` is the event that a touch of the thing means, None where it
cannot be touched. `name` stays the same in all languages, so that a pointer can be led to it from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kiosk.visit.event import PaymentStage, Touch
from kiosk.visit.state import Overlay


@dataclass(frozen=True, slots=True)
class Amount:
    """Money as a screen sets it: figures large, the unit smaller, before or after them. `word` stands for both (無料)."""

    figures: str
    unit: str
    unit_first: bool
    word: str = ""
    suffix: str = ""

    @property
    def plain(self) -> str:
        if self.word:
            return self.word
        return (self.unit + self.figures if self.unit_first else self.figures + self.unit) + self.suffix


@dataclass(frozen=True, slots=True)
class Key:
    """Something to touch with a word and an icon. `short` is the word where a panel has little room, else empty."""

    name: str
    label: str
    icon: str
    touch: Touch | None
    note: str = ""
    short: str = ""


class StubKind(StrEnum):
    """`ONWARD` is the one yellow thing of a screen; `HINT` says what to choose; `PLAIN` acts, but leads nowhere new."""

    ONWARD = "onward"
    HINT = "hint"
    PLAIN = "plain"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Stub:
    kind: StubKind
    text: str = ""
    icon: str = ""
    name: str = "next"
    touch: Touch | None = None
    short: str = ""
    """The text where a panel has little room, else empty."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What I have and what it costs, and the way on."""

    title: str
    text: str
    icon: str
    total_label: str
    total: Amount | None
    stub: Stub


class StationState(StrEnum):
    PASSED = "passed"
    HERE = "here"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class Station:
    label: str
    state: StationState


@dataclass(frozen=True, slots=True)
class OverlayView:
    kind: Overlay
    title: str
    text: str
    figure: str
    unit: str
    go_on: Key
    leave: Key | None


@dataclass(frozen=True, slots=True)
class Frame:
    """What every screen has around its own question."""

    venue: str
    date: str
    date_short: str
    clock: str
    stations: tuple[Station, ...]
    question: str
    help: str
    bar: Bar
    keys: tuple[Key, ...]
    lowered: bool
    overlay: OverlayView | None = None


class Mark(StrEnum):
    """How much is left; a shape beside its word."""

    PLENTY = "plenty"
    FEW = "few"
    SOLD_OUT = "sold_out"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Left:
    mark: Mark
    text: str


@dataclass(frozen=True, slots=True)
class TicketView:
    """The ticket that grows. Rows are (label, value); an empty value is still to be chosen. `stub` says when the code comes."""

    picture: str
    title: str
    rows: tuple[tuple[str, str], ...]
    stub: str


@dataclass(frozen=True, slots=True)
class AttractView:
    frame: Frame
    title: str
    others: str
    languages: tuple[Key, ...]
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ProductView:
    name: str
    title: str
    note: str
    picture: str
    price: Amount
    left: Left
    touch: Touch | None


@dataclass(frozen=True, slots=True)
class ProductsView:
    frame: Frame
    products: tuple[ProductView, ...]
    more: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class SlotView:
    name: str
    time: str
    time_first: bool
    word: str
    left: Left
    touch: Touch | None


@dataclass(frozen=True, slots=True)
class SlotsView:
    frame: Frame
    ticket: TicketView
    slots: tuple[SlotView, ...]
    more: tuple[Key, ...]
    notice: str


@dataclass(frozen=True, slots=True)
class CounterView:
    """One person type, or the one counter of a product without."""

    title: str
    note: str
    price: Amount
    count: int
    minus: Key
    plus: Key


@dataclass(frozen=True, slots=True)
class PeopleView:
    frame: Frame
    ticket: TicketView
    counters: tuple[CounterView, ...]
    notice: str


@dataclass(frozen=True, slots=True)
class LineView:
    picture: str
    title: str
    note: str
    count: str
    amount: Amount


@dataclass(frozen=True, slots=True)
class TaxView:
    rate: str
    gross: Amount
    label: str
    tax: Amount


@dataclass(frozen=True, slots=True)
class BasketView:
    frame: Frame
    lines: tuple[LineView, ...]
    taxes: tuple[TaxView, ...]
    keys: tuple[Key, ...]
    notice: str
    notice_bold: str
    held: str
    notes: str


@dataclass(frozen=True, slots=True)
class ChangeView:
    frame: Frame
    lines: tuple[tuple[LineView, Key], ...]


@dataclass(frozen=True, slots=True)
class TenderView:
    """`trouble` says why it cannot be used, in place of `note`."""

    name: str
    title: str
    note: str
    icon: str
    trouble: str
    unusable: str
    touch: Touch | None


@dataclass(frozen=True, slots=True)
class MethodView:
    frame: Frame
    amount_label: str
    amount: Amount
    tax: str
    pieces_label: str
    pieces: str
    pieces_unit: str
    people: str
    tenders: tuple[TenderView, ...]


@dataclass(frozen=True, slots=True)
class PayingView:
    frame: Frame
    stage: PaymentStage
    title: str
    text: str
    text_bold: str
    amount: str
    status: str
    status_note: str


@dataclass(frozen=True, slots=True)
class PartView:
    title: str
    done: int
    of: int
    at: int | None
    """Index of the piece being printed, None where none is."""


@dataclass(frozen=True, slots=True)
class PrintingView:
    frame: Frame
    title: str
    figure: str
    of: str
    share: float
    parts: tuple[PartView, ...]
    status: str
    status_note: str
    paper_out: bool


@dataclass(frozen=True, slots=True)
class TakeView:
    frame: Frame
    title: str
    text: str
    text_bold: str
    text_after: str
    question: str
    receipt: Key | None
    note: str


@dataclass(frozen=True, slots=True)
class ThanksView:
    frame: Frame
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class ClaimView:
    """An unknown payment or owed tickets: a number to photograph, and what happens next. `steps` are (title, note, state)."""

    frame: Frame
    icon: str
    title: str
    text: str
    text_bold: str
    claim_label: str
    claim: str
    fact_label: str
    fact: Amount
    fact_note: str
    steps: tuple[tuple[str, str, StationState], ...]


@dataclass(frozen=True, slots=True)
class BlockedView:
    frame: Frame
    title: str
    text: str
    other: str
    other_text: str


View = (
    AttractView
    | ProductsView
    | SlotsView
    | PeopleView
    | BasketView
    | ChangeView
    | MethodView
    | PayingView
    | PrintingView
    | TakeView
    | ThanksView
    | ClaimView
    | BlockedView
)
