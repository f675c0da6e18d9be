"""The papers of one family's day, as facts; the same in all tests of the printer."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone

from printer.document import Image
from printer.templates import (
    ClaimKind,
    ClaimPaper,
    CouponPaper,
    GoodsPaper,
    ReceiptLine,
    ReceiptPaper,
    TenderPaper,
    TicketPaper,
    VenuePaper,
)
from tickets.catalogue import Issuer
from tickets.money import Money, tax_lines

JST = timezone(timedelta(hours=9))
AT = datetime(2026, 11, 23, 10, 23, tzinfo=JST)
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
ISSUER = Issuer("株式会社しおさい観光", "しおさい市海岸通1-2-3", "03-0000-0000", "T9999999999999")


def code(number: int) -> str:
    """A text as long as the largest ticket code: T1: and 174 characters of Base45, 45 modules a side at M."""
    state = number * 2654435761 % 2**32
    marks = []
    for _ in range(174):
        state = (state * 1103515245 + 12345) % 2**31
        marks.append(ALPHABET[(state >> 16) % 45])
    return "T1:" + "".join(marks)


def logo(side: int = 56) -> Image:
    """A black disc with a white sun and a wave cut out of it."""
    rows = bytearray()
    for y in range(side):
        bits = 0
        for x in range(side):
            dx, dy = x - side / 2 + 0.5, y - side / 2 + 0.5
            disc = dx * dx + dy * dy < (side / 2) ** 2
            sun = dx * dx + (dy + side * 0.12) ** 2 < (side * 0.17) ** 2
            wave = abs(dy - side * 0.1 - side * 0.05 * [0, 1, 0, -1][int(x // (side / 9)) % 4]) < side * 0.045
            bits = bits << 1 | (disc and not sun and not wave)
        rows += bits.to_bytes((side + 7) // 8, "big")
    return Image(side, side, bytes(rows))


VENUE = VenuePaper({"ja": "しおさい海浜公園", "en": "Shiosai Seaside Park"}, ISSUER, logo())
DEVICE = {"ja": "2号機", "en": "Kiosk 2"}
RULES = (
    {"ja": "再入園もこのQRをかざしてください。", "en": "Show this code again to re-enter."},
    {"ja": "払い戻し・再発行はできません。", "en": "No refund, no reissue."},
    {"ja": "感熱紙のため、高温と光を避けてください。", "en": "Thermal paper: keep away from heat and light."},
)


def ticket(number: int = 1, *, lang: str = "ja", people: int = 1, slot: bool = True, parts: int = 13) -> TicketPaper:
    return TicketPaper(
        id=f"sale-1/{number}",
        lang=lang,
        venue=VENUE,
        product={"ja": "入園券", "en": "Park admission"},
        variant={"ja": "大人", "en": "Adult"},
        day=date(2026, 11, 23),
        code=code(number),
        short_id=f"{418151 + number}",
        price=Money(1800 * people, "JPY"),
        serial="K2-26112300417",
        issued_at=AT,
        device=DEVICE,
        part=number,
        parts=parts,
        people=people,
        starts=time(10, 30) if slot else None,
        holiday=True,
        conditions=RULES,
    )


def coupon(part: int = 4, *, lang: str = "ja") -> CouponPaper:
    return CouponPaper(
        id=f"sale-1/book/{part}",
        lang=lang,
        venue=VENUE,
        product={"ja": "のりもの回数券", "en": "Ride book"},
        valid_until=date(2027, 5, 22),
        code=code(100 + part),
        short_id=f"{418179 + part}",
        book="5027-3318",
        book_price=Money(3000, "JPY"),
        part=part,
        parts=10,
        conditions=(
            {"ja": "切り離し可。払い戻し・再発行はできません。", "en": "May be torn off. No refund, no reissue."},
        ),
    )


def goods(*, lang: str = "ja") -> GoodsPaper:
    return GoodsPaper(
        id="sale-1/goods/1",
        lang=lang,
        venue=VENUE,
        product={"ja": "名物ラムネ", "en": "Ramune soda"},
        quantity=2,
        where={"ja": "売店", "en": "Shop"},
        valid_until=date(2026, 11, 23),
        code=code(300),
        short_id="418199",
        price=Money(432, "JPY"),
        tax_bp=800,
        serial="K2-26112300418",
        issued_at=AT,
        device=DEVICE,
        part=13,
        parts=13,
    )


def receipt(*, lang: str = "ja", copy: int = 0) -> ReceiptPaper:
    lines = (
        ReceiptLine({"ja": "入園券 大人", "en": "Park admission, adult"}, Money(1800, "JPY"), 2, 1000),
        ReceiptLine({"ja": "入園券 小人", "en": "Park admission, child"}, Money(900, "JPY"), 1, 1000),
        ReceiptLine({"ja": "のりもの回数券 10回", "en": "Ride book, 10 rides"}, Money(3000, "JPY"), 1, 1000),
        ReceiptLine({"ja": "名物ラムネ（お持ち帰り）", "en": "Ramune soda (take-away)"}, Money(216, "JPY"), 2, 800),
    )
    return ReceiptPaper(
        id="sale-1/receipt",
        lang=lang,
        venue=VENUE,
        number="2-000417",
        issued_at=AT + timedelta(minutes=1),
        device=DEVICE,
        lines=lines,
        taxes=tax_lines(((line.tax_bp, line.amount) for line in lines), currency="JPY"),
        total=Money(7932, "JPY"),
        tenders=(
            TenderPaper(
                {"ja": "交通系IC", "en": "Transit IC"},
                Money(7932, "JPY"),
                card="JE*** **** **** 2204",
                slip="04172",
                balance=Money(3068, "JPY"),
            ),
        ),
        purpose={"ja": "入園料・回数券代ほか", "en": "admission, ride book"},
        copy=copy,
    )


def claim(*, lang: str = "ja", kind: ClaimKind = ClaimKind.PAYMENT_UNKNOWN) -> ClaimPaper:
    owed = kind is ClaimKind.TICKETS_OWED
    return ClaimPaper(
        id="sale-1/claim",
        lang=lang,
        venue=VENUE,
        kind=kind,
        number="K2-4172",
        at=AT,
        device=DEVICE,
        tender={"ja": "交通系IC", "en": "Transit IC"},
        amount=Money(7932, "JPY"),
        desk={"ja": "総合案内（2階）", "en": "Information, 2nd floor"},
        ask_until=date(2027, 1, 17),
        card="JE*** **** **** 2204",
        tickets=13 if owed else 0,
        owed=6 if owed else 0,
    )


def dithered(width: int = 560, height: int = 400) -> Image:
    """A picture full of noise, as a dithered photo is, in which byte pairs of real-time commands do occur."""
    state, bits = 12345, bytearray()
    for _ in range((width + 7) // 8 * height):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        bits.append(state >> 56)
    for at in range(0, len(bits) - 2, 997):
        bits[at : at + 2] = bytes((0x10, (0x04, 0x05, 0x14)[at % 3]))
    return Image(width, height, bytes(bits))
