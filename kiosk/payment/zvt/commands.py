"""What the kiosk says to the terminal (PA00P015, chapter 2). Builders only; nothing here sends.

`password` is the terminal's six-digit cashier password as a number.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from kiosk.payment.zvt import bcd, fields, tlv
from kiosk.payment.zvt.apdu import Apdu

REGISTRATION: Final = 0x0600
AUTHORISATION: Final = 0x0601
LOG_OFF: Final = 0x0602
TURNOVER_TOTALS: Final = 0x0610
RESET: Final = 0x0618
REPEAT_RECEIPT: Final = 0x0620
REVERSAL: Final = 0x0630
REFUND: Final = 0x0631
END_OF_DAY: Final = 0x0650
DIAGNOSIS: Final = 0x0670
INITIALISATION: Final = 0x0693
ABORT: Final = 0x06B0
STATUS_ENQUIRY: Final = 0x0501

OK = Apdu(0x8000)
"""Consent to a command of the terminal; to 04 0F with result 00: goods issued, the charge is final."""
WAIT = Apdu(0x849C)
"""To 04 0F: goods not issued yet, ask again in 2 s (PA00P015, 2.2.6 b)."""
REFUSE_GOODS = Apdu(0x8466)
"""To 04 0F: goods not issued, reverse (84 with anything but 00, 9C, 9D; 2.2.6 c)."""
NOT_SUPPORTED = Apdu(0x8483)
CANNOT_PRINT = Apdu(0x84CC)
"""To 06 D1 and 06 D3: the receipt cannot be taken; the terminal reverses (PA00P015, 2.2.8)."""

ECR_PRINTS_PAYMENT = 0x02
ECR_PRINTS_ADMIN = 0x04
SEND_INTERMEDIATE = 0x08
NO_AMOUNT_ENTRY_AT_TERMINAL = 0x10
NO_ADMIN_AT_TERMINAL = 0x20
RECEIPTS_AS_PRINT_LINES = 0x80
KIOSK_CONFIG = (
    ECR_PRINTS_PAYMENT
    | ECR_PRINTS_ADMIN
    | SEND_INTERMEDIATE
    | NO_AMOUNT_ENTRY_AT_TERMINAL
    | NO_ADMIN_AT_TERMINAL
    | RECEIPTS_AS_PRINT_LINES
)
"""0xBE: nobody may start a payment at the terminal itself, or "the last transaction" would not be ours."""

SEND_STATUS_INFO = 0x01
NO_PRINTING = 0x02

_PERMITTED_COMMANDS = 0x26
_COMMAND = 0x0A
_PRINT_TEXT_BLOCK = b"\x06\xd3"
_SEQUENCE_ID = 0x1F73
_MIRRORED = 0x1F1F
_ORDER = 0x1F0D
_CARD_READING = 0x1F15
_COMPARE_ORDERS = b"\x04"
_ORDER_NUMBER = re.compile(r"[0-9A-Za-x]{1,25}")


def registration(
    *,
    password: int,
    config: int = KIOSK_CONFIG,
    currency: int | None,
    service: int | None = None,
    text_blocks: bool = False,
    sequence_ids: bool = False,
) -> Apdu:
    """06 00. `currency` is the ISO 4217 number (392 for JPY); with `text_blocks` the terminal may send 06 D3; `sequence_ids`
    offers to number every message (chapter 5). `service` is the service byte; the kiosk opens no port for a terminal's own
    connection (20008), so none is named."""
    data = bcd.encode(password, size=3) + bytes([config])
    if currency is not None:
        data += bcd.encode(currency, size=2)
    if service is not None:
        data += bytes([fields.SERVICE, service])
    offered = b""
    if text_blocks:
        offered += tlv.Tlv(_PERMITTED_COMMANDS, tlv.Tlv(_COMMAND, _PRINT_TEXT_BLOCK).encode()).encode()
    if sequence_ids:
        offered += tlv.Tlv(_SEQUENCE_ID, bytes(3)).encode()
    if offered:
        data += fields.encode([(fields.TLV, offered)])
    return Apdu(REGISTRATION, data)


def authorisation(
    *,
    amount_minor: int,
    currency: int | None = None,
    answer_timeout_s: int | None = None,
    status_infos_max: int | None = None,
    mirrored: bytes | None = None,
    order: str | None = None,
) -> Apdu:
    """06 01. `mirrored` (1F1F): the identifier of the last transaction we saw, empty where we saw none, never a zero: the
    terminal takes back what lies between (chapter 4). `order` (1F0D): refused with B4 if the last successful payment had it.
    `answer_timeout_s` (field 01): how long the terminal waits for each answer to 04 0F before it reverses;
    `status_infos_max` (field 02): how often we may answer "wait"."""
    values = [(fields.AMOUNT, bcd.encode(amount_minor, size=6))]
    if currency is not None:
        values.append((fields.CURRENCY, bcd.encode(currency, size=2)))
    if answer_timeout_s is not None:
        values.append((fields.TIMEOUT, bytes([answer_timeout_s])))
    if status_infos_max is not None:
        values.append((fields.MAX_STATUS_INFOS, bytes([status_infos_max])))
    container = b""
    if mirrored is not None:
        container += tlv.Tlv(_MIRRORED, mirrored if any(mirrored) else b"").encode()
    if order is not None:
        container += tlv.Tlv(_CARD_READING, _COMPARE_ORDERS).encode()
        container += tlv.Tlv(_ORDER, order_number(order).encode("ascii")).encode()
    if container:
        values.append((fields.TLV, container))
    return Apdu(AUTHORISATION, fields.encode(values))


def order_number(order: str) -> str:
    """`order` as card complete takes it (chapter 7.2): up to 25 of 0-9, A-Z, a-x; anything else by its digest."""
    return order if _ORDER_NUMBER.fullmatch(order) else sha256(order.encode()).hexdigest()[:24].upper()


def partial_issue(*, amount_minor: int) -> Apdu:
    """84 9D: goods for `amount_minor` only. Known for completeness; the driver never sends it (PA00P015 warns of its receipts)."""
    return Apdu(0x849D, fields.encode([(fields.AMOUNT, bcd.encode(amount_minor, size=6))]))


def repeat_receipt(*, password: int, service: int = SEND_STATUS_INFO | NO_PRINTING) -> Apdu:
    """06 20. Without SEND_STATUS_INFO no 04 0F comes back, only paper."""
    return Apdu(REPEAT_RECEIPT, bcd.encode(password, size=3) + bytes([fields.SERVICE, service]))


def reversal(*, password: int, receipt_no: int, amount_minor: int | None = None, currency: int | None = None) -> Apdu:
    """06 30. Carried out only if the receipt number, and the amount where given, match a stored payment."""
    values = [(fields.RECEIPT_NO, bcd.encode(receipt_no, size=2))]
    if amount_minor is not None:
        values.append((fields.AMOUNT, bcd.encode(amount_minor, size=6)))
    if currency is not None:
        values.append((fields.CURRENCY, bcd.encode(currency, size=2)))
    return Apdu(REVERSAL, bcd.encode(password, size=3) + fields.encode(values))


def turnover_totals(*, password: int) -> Apdu:
    """06 10: the sums without closing."""
    return Apdu(TURNOVER_TOTALS, bcd.encode(password, size=3))


def end_of_day(*, password: int) -> Apdu:
    return Apdu(END_OF_DAY, bcd.encode(password, size=3))


def initialisation(*, password: int) -> Apdu:
    return Apdu(INITIALISATION, bcd.encode(password, size=3))


def diagnosis() -> Apdu:
    return Apdu(DIAGNOSIS)


def reset() -> Apdu:
    return Apdu(RESET)


def log_off() -> Apdu:
    return Apdu(LOG_OFF)


def abort() -> Apdu:
    """06 B0. Terminals honour it until the host has been contacted."""
    return Apdu(ABORT)


def status_enquiry(*, password: int | None = None, service: int | None = None) -> Apdu:
    """05 01."""
    data = b"" if password is None else bcd.encode(password, size=3)
    if service is not None:
        data += bytes([fields.SERVICE, service])
    return Apdu(STATUS_ENQUIRY, data)
