"""The terminal's own sum of the business day, from the location's payments and refunds; Square has no batch to close."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from kiosk.payment.contract import Totals
from kiosk.payment.errors import TerminalLinkError
from kiosk.payment.https import text_at
from kiosk.payment.square.api import SquareApi
from kiosk.payment.square.judge import Payment, money_of
from kiosk.payment.square.options import Options
from tickets.money import Money


def day_began(now: datetime, options: Options) -> datetime:
    """The last boundary of the business day at or before `now`, in the venue's offset."""
    local = now.astimezone(timezone(timedelta(minutes=options.utc_offset_minutes)))
    hour, minute = (int(part) for part in options.day_begins.split(":"))
    began = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return began if began <= local else began - timedelta(days=1)


def day_totals(api: SquareApi, options: Options) -> Totals:
    """Completed payments of this device since the day began, less refunds completed since then. Raises TerminalLinkError."""
    now = api.now()
    begin = day_began(now, options)
    sums: dict[str, tuple[int, Money]] = {}
    seen: dict[str, Payment] = {}
    for payment in api.payments(begin=begin, end=now):
        seen[payment.id] = payment
        if payment.device_id in ("", options.device_id) and payment.status == "COMPLETED":
            _add(sums, payment, payment.amounts[0], 1)
    for refund in api.refunds(begin=begin, end=now):
        if text_at(refund, "status") != "COMPLETED":
            continue
        payment_id = text_at(refund, "payment_id")
        payment = seen.get(payment_id) or api.payment(payment_id)
        amount = money_of(refund.get("amount_money"))
        if payment.device_id in ("", options.device_id):
            _add(sums, payment, None if amount is None else -amount, 0)
    total = Money(sum(amount.minor for _, amount in sums.values()), options.currency)
    return Totals(total=total, by_brand=sums)


def _add(sums: dict[str, tuple[int, Money]], payment: Payment, amount: Money | None, count: int) -> None:
    if amount is None:
        raise TerminalLinkError(f"payment {payment.id} names no amount")
    brand = payment.brand or "?"
    before, sum_before = sums.get(brand, (0, Money(0, amount.currency)))
    sums[brand] = (before + count, sum_before + amount)
