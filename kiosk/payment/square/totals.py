"""The terminal's own sum of the business day, from the location's payments and refunds; Square has no batch to close.

Which payments are this Terminal's is told by its checkouts: a payment names the device by another id than the one it was asked by.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import structlog

from kiosk.payment.contract import Totals
from kiosk.payment.errors import TerminalLinkError
from kiosk.payment.https import text_at
from kiosk.payment.square.api import NotFound, SquareApi
from kiosk.payment.square.judge import Payment, money_of
from kiosk.payment.square.options import Options
from tickets.money import Money

log = structlog.get_logger()

CHECKOUT_BEFORE = timedelta(minutes=10)
"""A payment follows its checkout by five minutes at most (the API's longest deadline)."""


def day_began(now: datetime, options: Options) -> datetime:
    """The last boundary of the business day at or before `now`, in the venue's offset."""
    local = now.astimezone(timezone(timedelta(minutes=options.utc_offset_minutes)))
    hour, minute = (int(part) for part in options.day_begins.split(":"))
    began = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return began if began <= local else began - timedelta(days=1)


def day_totals(api: SquareApi, options: Options) -> Totals:
    """Completed payments of this Terminal since the day began, less its refunds completed since then. Raises TerminalLinkError."""
    now = api.now()
    begin = day_began(now, options)
    checkouts = api.search(begin=begin - CHECKOUT_BEFORE, end=now)
    ours = {payment_id for checkout in checkouts for payment_id in checkout.payment_ids}
    sums: dict[str, tuple[int, Money]] = {}
    seen: dict[str, Payment] = {}
    for payment in api.payments(begin=begin, end=now):
        seen[payment.id] = payment
        if payment.id in ours and payment.status == "COMPLETED":
            _add(sums, payment, payment.amounts[0], 1)
    for refund in api.refunds(begin=begin, end=now):
        if text_at(refund, "status") != "COMPLETED":
            continue
        payment_id = text_at(refund, "payment_id")
        payment = seen.get(payment_id) or api.payment(payment_id)
        if payment_id in ours or (payment_id not in seen and _is_ours(api, payment, options)):
            amount = money_of(refund.get("amount_money"))
            _add(sums, payment, None if amount is None else -amount, 0)
    total = Money(sum(amount.minor for _, amount in sums.values()), options.currency)
    return Totals(total=total, by_brand=sums)


def _is_ours(api: SquareApi, payment: Payment, options: Options) -> bool:
    """Whether a payment of an earlier day was taken at this Terminal. Square forgets checkouts after 30 days."""
    if not payment.checkout_id:
        return False
    try:
        return api.checkout(payment.checkout_id).device_id == options.device_id
    except NotFound:
        log.warning("refund_of_forgotten_checkout", payment=payment.id)
        return False


def _add(sums: dict[str, tuple[int, Money]], payment: Payment, amount: Money | None, count: int) -> None:
    if amount is None:
        raise TerminalLinkError(f"payment {payment.id} names no amount")
    brand = payment.brand or "?"
    before, sum_before = sums.get(brand, (0, Money(0, amount.currency)))
    sums[brand] = (before + count, sum_before + amount)
