"""What the terminal says: status information, receipts, totals, completions, as bytes. It decides nothing."""

from dataclasses import dataclass
from datetime import datetime

from emulators.terminal.apdu import Apdu
from emulators.terminal.fields import bcd, encode, tlv
from emulators.terminal.ledger import Transaction

LINE_CHARS = 32
LAST_LINE = 0x81
SYSTEM_ERROR = 0xFF

# Field 8A and the place in the single totals (field 60): girocard, JCB, Mastercard, Amex, VISA, Diners, the others.
CARD_TYPES = {"GIROCARD": 5, "MASTERCARD": 6, "AMEX": 8, "VISA": 10, "DINERS": 12, "JCB": 14, "MAESTRO": 46}
TOTALS_ORDER = ("GIROCARD", "JCB", "MASTERCARD", "AMEX", "VISA", "DINERS")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which terminal this is. The card is always the same one, known by its last four digits only."""

    tid: int
    merchant: str
    last_four: str = "4771"
    version: str = "1.0.0"


def completion(data: bytes = b"") -> Apdu:
    return Apdu(0x060F, data)


def abort(code: int) -> Apdu:
    return Apdu(0x061E, bytes([code]))


def intermediate(status: int, *, t4_min: int | None = None) -> Apdu:
    """04 FF; `t4_min` is a new T4 in minutes, one byte of BCD behind the status."""
    return Apdu(0x04FF, bytes([status]) + (b"" if t4_min is None else bcd(t4_min, 1)))


def clock(at: datetime) -> list[tuple[int, bytes]]:
    return [(0x0C, bytes.fromhex(at.strftime("%H%M%S"))), (0x0D, bytes.fromhex(at.strftime("%m%d")))]


def status_information(
    transaction: Transaction, who: Identity, *, result: int | None = None, tid: int | None = None,
    amount: int | None = None, sync: bool = False,
) -> Apdu:  # fmt: skip
    """04 0F of a payment or reversal; `tid` and `amount` are for lies that a fault asks for."""
    at = datetime.fromisoformat(transaction.at)
    code = transaction.result if result is None else result
    items: list[tuple[int, bytes]] = [
        (0x27, bytes([code])),
        (0x04, bcd(transaction.amount if amount is None else amount, 6)),
        (0x0B, bcd(transaction.trace, 3)),
    ]
    if transaction.orig_trace is not None:
        items.append((0x37, bcd(transaction.orig_trace, 3)))
    items += [
        *clock(at),
        (0x0E, b"\x99\x12"),
        (0x17, b"\x00\x01"),
        (0x19, b"\x60"),
        (0x22, bytes.fromhex("EEEEEEEEEEEE" + who.last_four)),
        (0x29, bcd(who.tid if tid is None else tid, 4)),
        (0x2A, who.merchant.encode("ascii")[:15].ljust(15)),
    ]
    if code == 0:
        items.append((0x3B, f"{transaction.trace * 7919 % 1_000_000:06d}".encode() + b"\x00\x00"))
    items.append((0x49, bcd(transaction.currency, 2)))
    if transaction.receipt:
        items += [(0x87, bcd(transaction.receipt, 2)), (0x88, bcd(transaction.turnover, 3))]
    items += [
        (0x8A, bytes([CARD_TYPES.get(transaction.brand, 0xFF)])),
        (0x8B, transaction.brand.encode("ascii", "replace") + b"\x00"),
    ]
    container = tlv((0x2F, tlv((0x1F12, b"\x02"), (0x1F10, b"\x00"))))  # contactless, no cardholder verification
    if sync:
        container += tlv((0x1F1F, bcd(transaction.receipt, 2)))
    items.append((0x06, container))
    return Apdu(0x040F, encode(*items))


def failure(code: int, who: Identity, text: str) -> Apdu:
    """04 0F of a payment that never became a transaction."""
    return Apdu(0x040F, encode((0x27, bytes([code])), (0x29, bcd(who.tid, 4)), (0x3C, text.encode("ascii", "replace"))))


def totals(charged: list[Transaction], who: Identity, at: datetime) -> Apdu:
    """04 0F of 06 10 and 06 50: the sum, and field 60 with count and sum for each brand."""
    receipts = sorted(t.receipt for t in charged)
    groups = {name: [t for t in charged if t.brand == name] for name in TOTALS_ORDER}
    others = [t for t in charged if t.brand not in TOTALS_ORDER]
    single = bcd(receipts[0] if receipts else 0, 2) + bcd(receipts[-1] if receipts else 0, 2)
    for group in (*groups.values(), others):
        # One byte of count: beyond 255 the field cannot say it, and terminals do an end of day long before.
        single += bytes([min(len(group), 255)]) + bcd(sum(t.amount for t in group), 6)
    return Apdu(
        0x040F,
        encode(
            (0x27, b"\x00"), (0x04, bcd(sum(t.amount for t in charged), 6)), *clock(at), (0x29, bcd(who.tid, 4)),
            (0x60, single),
        ),
    )  # fmt: skip


def receipt_lines(transaction: Transaction, who: Identity, *, copy: str) -> list[str]:
    """The receipt of a payment or reversal, ASCII, at most 32 characters a line."""
    kind = "REVERSAL" if transaction.orig_trace is not None else "PAYMENT"
    outcome = "APPROVED" if transaction.result == 0 else f"NOT APPROVED {transaction.result:02X}"
    pairs = [
        ("TERMINAL", f"{who.tid:08d}"),
        ("TRACE", f"{transaction.trace:06d}"),
        ("RECEIPT", f"{transaction.receipt:04d}"),
        (transaction.brand, "************" + who.last_four),
        (f"TOTAL {transaction.currency}", f"{transaction.amount}"),
    ]
    body = [left + right.rjust(LINE_CHARS - len(left)) for left, right in pairs]
    return [copy.center(LINE_CHARS).rstrip(), kind, transaction.at[:16].replace("T", " "), *body, outcome]


def print_lines(lines: list[str]) -> list[Apdu]:
    """06 D1, a line each; the last one closes the receipt."""
    last = len(lines) - 1
    return [
        Apdu(0x06D1, bytes([LAST_LINE if i == last else 0x00]) + text.encode("ascii", "replace"))
        for i, text in enumerate(lines)
    ]


def text_block(lines: list[str], *, receipt_type: int) -> Apdu:
    """06 D3: the whole receipt in one container; 1F07 is 1 merchant, 2 customer, 3 administrative."""
    block = tlv(*((0x07, text.encode("ascii", "replace")) for text in lines), (0x09, b"\xff"))
    return Apdu(0x06D3, encode((0x06, tlv((0x1F07, bytes([receipt_type])), (0x25, block)))))
