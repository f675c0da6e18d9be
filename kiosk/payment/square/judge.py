"""What a Terminal checkout and its payments prove. Pure: no line, no clock.

A checkout's status says what the device did; only payments say where the money is. Whatever does not fit together (two payments,
another amount, a completed checkout without a payment) is *unknown*, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kiosk.payment.contract import Outcome
from kiosk.payment.https import text_at
from tickets.money import EXPONENT, Money

OPEN = frozenset({"PENDING", "IN_PROGRESS", "CANCEL_REQUESTED"})
DEAD = frozenset({"CANCELED", "FAILED"})
"""Payments that hold and took nothing."""

_CANCELLED = {"BUYER_CANCELED": "cancelled_by_guest", "SELLER_CANCELED": "cancelled_by_us", "TIMED_OUT": "timed_out"}


@dataclass(frozen=True, slots=True)
class Checkout:
    id: str
    status: str
    reference_id: str
    cancel_reason: str
    payment_ids: tuple[str, ...]
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class Payment:
    """`amounts`: every sum the payment names (asked, total, approved); they have to agree. None: no readable sum."""

    id: str
    status: str
    amounts: tuple[Money | None, ...]
    reference_id: str = ""
    checkout_id: str = ""
    brand: str | None = None
    masked_id: str | None = None
    entry: str | None = None
    terminal_id: str | None = None
    auth_code: str | None = None
    error: str = ""
    at: str | None = None
    refund_ids: tuple[str, ...] = ()


Finding = tuple[Outcome, str, Payment | None]


def judge(checkout: Checkout | None, payments: Sequence[Payment], amount: Money) -> Finding:
    """The outcome, its code, and the payment it rests on. APPROVED_HELD, APPROVED_FINAL, DECLINED, CANCELLED, NOT_CHARGED,
    IN_PROGRESS or UNKNOWN."""
    live = [payment for payment in payments if payment.status not in DEAD]
    if len(live) > 1:
        return Outcome.UNKNOWN, "two_payments", None
    if live:
        return _standing(live[0], amount)
    if checkout is None:
        return (Outcome.NOT_CHARGED, "payment_ended", None) if payments else (Outcome.UNKNOWN, "no_payment", None)
    if checkout.status in OPEN:
        return Outcome.IN_PROGRESS, "in_progress", None
    failed = next((payment for payment in payments if payment.status == "FAILED"), None)
    if failed is not None:
        return Outcome.DECLINED, f"square_{failed.error or 'failed'}".lower(), failed
    if checkout.status == "CANCELED":
        return Outcome.CANCELLED, _CANCELLED.get(checkout.cancel_reason, "cancelled"), None
    if payments:
        return Outcome.NOT_CHARGED, "payment_ended", payments[-1]
    return Outcome.UNKNOWN, "no_payment", None


def _standing(payment: Payment, amount: Money) -> Finding:
    if any(named != amount for named in payment.amounts):
        return Outcome.UNKNOWN, "amount_mismatch", payment
    match payment.status:
        case "APPROVED":
            return Outcome.APPROVED_HELD, "approved_held", payment
        case "COMPLETED":
            return Outcome.APPROVED_FINAL, "approved", payment
        case "PENDING":
            return Outcome.IN_PROGRESS, "in_progress", payment
        case _:
            return Outcome.UNKNOWN, "payment_status", payment


def checkout_of(raw: Mapping[str, Any]) -> Checkout:
    ids = raw.get("payment_ids")
    return Checkout(
        id=text_at(raw, "id"),
        status=text_at(raw, "status"),
        reference_id=text_at(raw, "reference_id"),
        cancel_reason=text_at(raw, "cancel_reason"),
        payment_ids=tuple(str(one) for one in ids) if isinstance(ids, list) else (),
        device_id=text_at(raw, "device_options", "device_id"),
    )


def payment_of(raw: Mapping[str, Any]) -> Payment:
    """A Payment object of the API; nothing of it but what the journal may keep (brand, last digits, ids)."""
    card = text_at(raw, "card_details", "card", "card_brand")
    felica = text_at(raw, "electronic_money_details", "felica_details", "felica_brand")
    wallet = text_at(raw, "wallet_details", "brand")
    last = text_at(raw, "card_details", "card", "last_4")
    errors = (raw.get("card_details") or {}).get("errors") if isinstance(raw.get("card_details"), Mapping) else None
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], Mapping) else {}
    refunds = raw.get("refund_ids")
    sums = [money_of(raw.get(name)) for name in ("amount_money", "total_money", "approved_money") if name in raw]
    return Payment(
        id=text_at(raw, "id"),
        status=text_at(raw, "status"),
        amounts=tuple(sums) or (None,),
        reference_id=text_at(raw, "reference_id"),
        checkout_id=text_at(raw, "terminal_checkout_id"),
        brand=card or felica or wallet or None,
        masked_id=(f"************{last}" if last else "")
        or text_at(raw, "electronic_money_details", "felica_details", "felica_masked_card_number")
        or None,
        entry=text_at(raw, "card_details", "entry_method") or None,
        terminal_id=text_at(raw, "electronic_money_details", "felica_details", "terminal_id") or None,
        auth_code=text_at(raw, "card_details", "auth_result_code") or None,
        error=text_at(first, "code"),
        at=text_at(raw, "created_at") or None,
        refund_ids=tuple(str(one) for one in refunds) if isinstance(refunds, list) else (),
    )


def money_of(raw: Any) -> Money | None:
    """`{"amount": minor units, "currency": ...}`; None for anything else."""
    if not isinstance(raw, Mapping) or type(raw.get("amount")) is not int or raw.get("currency") not in EXPONENT:
        return None
    return Money(raw["amount"], str(raw["currency"]))
