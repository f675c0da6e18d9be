"""What each kind of paper says, as plain facts of the ledger. Nothing here is formatted, nothing here is a guest's name or number.

Times are aware and already in the venue's zone: paper shows the venue's wall clock, not the machine's. Texts are by language
tag, `ja` always there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum

from printer.document import Image
from tickets.catalogue import Issuer
from tickets.language import Texts
from tickets.money import Money, TaxLine


class PaperError(ValueError):
    """Facts that contradict each other, such as lines that do not add up. Nothing is printed from them."""

    code = "printer.paper"


@dataclass(frozen=True, slots=True)
class VenuePaper:
    """The head of every paper. `logo` is one bit a dot, at most 80 dots high."""

    name: Texts
    issuer: Issuer
    logo: Image | None = None


@dataclass(frozen=True, slots=True)
class TicketPaper:
    """An admission or a timed ticket. `valid_until` after `day` makes it a pass. `people` > 1 is one code for a group.

    `serial` is the ticket's number on paper (such as K2-26112300417), `part` of `parts` counts the papers of the sale.
    `attention` is what the gate will want to see; `conditions` are whole sentences, one a line.
    """

    id: str
    lang: str
    venue: VenuePaper
    product: Texts
    variant: Texts | None
    day: date
    code: str
    short_id: str
    price: Money
    serial: str
    issued_at: datetime
    device: Texts
    part: int
    parts: int
    people: int = 1
    starts: time | None = None
    valid_until: date | None = None
    holiday: bool = False
    attention: Texts | None = None
    conditions: tuple[Texts, ...] = ()


@dataclass(frozen=True, slots=True)
class CouponPaper:
    """Coupon `part` of `parts` of a ride book (綴り券), `rides` rides each. `book` is the number all its coupons share."""

    id: str
    lang: str
    venue: VenuePaper
    product: Texts
    valid_until: date
    code: str
    short_id: str
    book: str
    book_price: Money
    part: int
    parts: int
    rides: int = 1
    conditions: tuple[Texts, ...] = ()


@dataclass(frozen=True, slots=True)
class GoodsPaper:
    """An exchange ticket (引換券): `quantity` of a thing that `where` hands out until `valid_until`. `tax_bp` 800 is marked ※."""

    id: str
    lang: str
    venue: VenuePaper
    product: Texts
    quantity: int
    where: Texts
    valid_until: date
    code: str
    short_id: str
    price: Money
    tax_bp: int
    serial: str
    issued_at: datetime
    device: Texts
    part: int
    parts: int
    conditions: tuple[Texts, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """One line of a receipt; `tax_bp` in hundredths of a percent, 800 is the reduced rate and marked ※."""

    name: Texts
    unit: Money
    quantity: int
    tax_bp: int

    @property
    def amount(self) -> Money:
        return self.unit * self.quantity


@dataclass(frozen=True, slots=True)
class TenderPaper:
    """How it was paid. Saying so keeps a card receipt out of stamp duty. `card` is masked (first 6, last 4 at most) or empty."""

    name: Texts
    amount: Money
    card: str = ""
    slip: str = ""
    balance: Money | None = None


@dataclass(frozen=True, slots=True)
class ReceiptPaper:
    """領収書, at the same time 適格簡易請求書 where the issuer is registered. `taxes` come from the ledger, rounded once a rate;
    `copy` 0 is the original, n the n-th reissue.
    """

    id: str
    lang: str
    venue: VenuePaper
    number: str
    issued_at: datetime
    device: Texts
    lines: tuple[ReceiptLine, ...]
    taxes: tuple[TaxLine, ...]
    total: Money
    tenders: tuple[TenderPaper, ...]
    purpose: Texts
    copy: int = 0

    def __post_init__(self) -> None:
        amounts = Money(0, self.total.currency)
        for line in self.lines:
            amounts += line.amount
        gross = Money(0, self.total.currency)
        for tax in self.taxes:
            gross += tax.gross
        paid = Money(0, self.total.currency)
        for tender in self.tenders:
            paid += tender.amount
        if not amounts == gross == paid == self.total:
            raise PaperError(
                f"receipt {self.number}: lines {amounts.minor}, rates {gross.minor}, tenders {paid.minor}, total {self.total.minor}"
            )
        if len({tax.rate_bp for tax in self.taxes}) != len(self.taxes):
            raise PaperError(f"receipt {self.number}: a rate stands twice; tax is rounded once a rate")


class ClaimKind(StrEnum):
    """Why a guest holds a claim slip: the payment's outcome is not known yet (処理未了), or paid tickets could not be printed."""

    PAYMENT_UNKNOWN = "payment_unknown"
    TICKETS_OWED = "tickets_owed"


@dataclass(frozen=True, slots=True)
class ClaimPaper:
    """`number` is what the desk asks for. `owed` of `tickets` papers are missing (tickets_owed)."""

    id: str
    lang: str
    venue: VenuePaper
    kind: ClaimKind
    number: str
    at: datetime
    device: Texts
    tender: Texts
    amount: Money
    desk: Texts
    ask_until: date
    card: str = ""
    tickets: int = 0
    owed: int = 0
