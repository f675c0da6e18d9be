"""What Square's side knows and does: checkouts, payments, refunds, and the guest at the Terminal. Speaks no HTTP."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from emulators.web import Books, Faults

ONCE = {
    "two-payments", "wrong-amount", "decline", "buyer-cancels", "no-guest", "timed-out", "cancel-stuck", "tap-at-cancel",
    "late-payment", "forget-key", "hold-ends", "refund-pending", "refund-rejected",
}  # fmt: skip
LASTING = {"offline", "page"}
GRAMMAR = """ of Square (the next checkout or refund)
  decline, buyer-cancels, no-guest, timed-out   what the guest does, or the device
  two-payments          the checkout ends COMPLETED with two payments
  wrong-amount          the payment is one unit more than was asked for
  late-payment          the checkout is COMPLETED three answers before its payment is named
  cancel-stuck          CANCEL_REQUESTED for ever
  tap-at-cancel         the guest pays at the moment the checkout is to be cancelled
  forget-key            the idempotency key of the next checkout is forgotten: the same one again is a second checkout
  hold-ends             the hold is cancelled by Square before it can be completed
  refund-pending        the refund stays PENDING until {"do": "settle-refunds"}; refund-rejected: it ends REJECTED
 lasting
  offline               the device is offline: checkouts stay PENDING
  page=N                searches and lists give N a page"""

BRANDS = {"CARD_PRESENT": "VISA", "QR_CODE": "PAYPAY", "FELICA_ID": "FELICA_ID", "FELICA_QUICPAY": "FELICA_QP"}


class Refused(Exception):
    """A request that is read and not done."""

    def __init__(self, status: int, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class Service:
    """One merchant, one location, one Terminal."""

    books: Books
    faults: Faults
    now: Callable[[], datetime]
    location_id: str
    device_id: str
    pause_s: float
    attended: bool
    speed: float = 1.0
    checkouts: dict[str, dict[str, Any]] = field(default_factory=dict)
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    guests: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    count: int = 0
    late: dict[str, int] = field(default_factory=dict)

    def reset(self) -> None:
        """A new merchant: nothing is known any more."""
        for task in self.tasks:
            task.cancel()
        for rows in (self.checkouts, self.payments, self.refunds, self.keys, self.late):
            rows.clear()
        self.faults.clear()

    def _id(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count:06d}EMULATED"

    def _stamp(self) -> str:
        return self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # -- checkouts ------------------------------------------------------------------------------------------------------

    def create_checkout(self, body: dict[str, Any]) -> dict[str, Any]:
        key, asked = body.get("idempotency_key"), body.get("checkout")
        if not isinstance(key, str) or not 1 <= len(key) <= 64 or not isinstance(asked, dict):
            raise Refused(400, "MISSING_REQUIRED_PARAMETER", "idempotency_key, checkout")
        money = asked.get("amount_money") or {}
        if type(money.get("amount")) is not int or money["amount"] < 1 or money.get("currency") != "JPY":
            raise Refused(400, "INVALID_VALUE", "amount_money")
        if len(asked.get("reference_id", "")) > 40:
            raise Refused(400, "VALUE_TOO_LONG", "reference_id")
        if (asked.get("device_options") or {}).get("device_id") != self.device_id:
            raise Refused(404, "NOT_FOUND", "device_id")
        kind = asked.get("payment_type", "CARD_PRESENT")
        if kind != "CARD_PRESENT" and (asked.get("payment_options") or {}).get("autocomplete") is False:
            raise Refused(400, "BAD_REQUEST", "delayed capture is for card payments alone")
        if key in self.keys:
            known, text = self.keys[key]
            if text != repr(asked):
                raise Refused(400, "IDEMPOTENCY_KEY_REUSED")
            return self.checkouts[known]
        checkout = {
            **asked, "id": self._id("CHK"), "status": "PENDING", "created_at": self._stamp(),
            "updated_at": self._stamp(), "payment_ids": [], "payment_type": kind, "location_id": self.location_id,
        }  # fmt: skip
        self.checkouts[checkout["id"]] = checkout
        if not self.faults.take("forget-key"):
            self.keys[key] = (checkout["id"], repr(asked))
        self.books.write(
            "checkout", checkout=checkout["id"], reference=asked.get("reference_id"), amount=money["amount"]
        )
        self._spawn(self._serve(checkout))
        return checkout

    def cancel_checkout(self, checkout_id: str) -> dict[str, Any]:
        checkout = self.found(self.checkouts, checkout_id)
        match checkout["status"]:
            case "PENDING":
                self._end(checkout, "CANCELED", "SELLER_CANCELED")
            case "IN_PROGRESS":
                checkout["status"] = "CANCEL_REQUESTED"
                if self.faults.take("tap-at-cancel"):
                    self._pay(checkout)
                elif not self.faults.take("cancel-stuck"):
                    self._spawn(self._cancelled_soon(checkout))
            case "CANCEL_REQUESTED":
                pass
            case _:
                raise Refused(400, "BAD_REQUEST", "the checkout has ended")
        return checkout

    def look(self, checkout_id: str) -> dict[str, Any]:
        checkout = self.found(self.checkouts, checkout_id)
        if self.late.get(checkout_id, 0) > 0 and checkout["status"] == "COMPLETED":
            self.late[checkout_id] -= 1
            return {**checkout, "payment_ids": []}
        return checkout

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = (body.get("query") or {}).get("filter") or {}
        created = wanted.get("created_at") or {}
        begin = _time(created.get("start_at")) or self.now() - timedelta(hours=24)
        end = _time(created.get("end_at")) or self.now()
        found = [
            self.look(one["id"]) for one in self.checkouts.values()
            if wanted.get("device_id") in (None, one["device_options"]["device_id"])
            and wanted.get("status") in (None, one["status"]) and begin <= _at(one) <= end
        ]  # fmt: skip
        return self._page("checkouts", found[::-1], body.get("cursor"), body.get("limit"))

    def listed(self, what: str, query: dict[str, str]) -> dict[str, Any]:
        begin = _time(query.get("begin_time")) or self.now() - timedelta(days=365)
        end = _time(query.get("end_time")) or self.now()
        rows = self.payments if what == "payments" else self.refunds
        found = [one for one in rows.values() if begin <= _at(one) < end]
        if query.get("location_id") not in (None, self.location_id):
            found = []
        found = found if query.get("sort_order") == "ASC" else found[::-1]
        return self._page(what, found, query.get("cursor"), query.get("limit"))

    def device(self, device_id: str) -> dict[str, Any]:
        if device_id != f"device:{self.device_id}":
            raise Refused(404, "NOT_FOUND")
        category = "OFFLINE" if self.faults.value("offline") is not None else "AVAILABLE"
        attributes = {"type": "TERMINAL", "manufacturer": "Square", "name": "Emulated"}
        return {"id": device_id, "attributes": attributes, "status": {"category": category}}

    # -- payments -----------------------------------------------------------------------------------------------------

    def complete(self, payment_id: str) -> dict[str, Any]:
        payment = self.found(self.payments, payment_id)
        if payment["status"] == "APPROVED" and self.faults.take("hold-ends"):
            self._cancelled(payment)
        if payment["status"] != "APPROVED":
            raise Refused(400, "BAD_REQUEST", f"the payment is {payment['status']}")
        self._captured(payment)
        return payment

    def cancel_payment(self, payment_id: str) -> dict[str, Any]:
        payment = self.found(self.payments, payment_id)
        if payment["status"] != "APPROVED":
            raise Refused(400, "BAD_REQUEST", f"the payment is {payment['status']}")
        self._cancelled(payment)
        return payment

    def refund(self, body: dict[str, Any]) -> dict[str, Any]:
        key, money = body.get("idempotency_key"), body.get("amount_money") or {}
        if not isinstance(key, str) or not 1 <= len(key) <= 45:
            raise Refused(400, "VALUE_TOO_LONG", "idempotency_key")
        text = repr((body.get("payment_id"), money))
        if key in self.keys:
            known, before = self.keys[key]
            if before != text:
                raise Refused(400, "IDEMPOTENCY_KEY_REUSED")
            return self.refunds[known]
        payment = self.found(self.payments, str(body.get("payment_id")))
        given = sum(
            self.refunds[one]["amount_money"]["amount"] for one in payment["refund_ids"]
            if self.refunds[one]["status"] in {"PENDING", "COMPLETED"}
        )  # fmt: skip
        if payment["status"] != "COMPLETED":
            raise Refused(400, "PAYMENT_NOT_REFUNDABLE")
        if type(money.get("amount")) is not int or money["amount"] < 1 or money.get("currency") != "JPY":
            raise Refused(400, "INVALID_VALUE", "amount_money")
        if given + money["amount"] > payment["total_money"]["amount"]:
            raise Refused(400, "REFUND_AMOUNT_INVALID")
        status = "PENDING"
        refund = {
            "id": self._id("RFD"), "status": status, "amount_money": money, "payment_id": payment["id"],
            "created_at": self._stamp(), "location_id": self.location_id,
        }  # fmt: skip
        self.refunds[refund["id"]] = refund
        self.keys[key] = (refund["id"], text)
        payment["refund_ids"].append(refund["id"])
        self.books.write("refund_asked", refund=refund["id"], payment=payment["id"], amount=money["amount"])
        if self.faults.take("refund-rejected"):
            refund["status"] = "REJECTED"
        elif not self.faults.take("refund-pending"):
            self._refunded(refund)
        return refund

    def settle_refunds(self) -> None:
        for refund in self.refunds.values():
            if refund["status"] == "PENDING":
                self._refunded(refund)

    # -- the guest --------------------------------------------------------------------------------------------------------

    async def _serve(self, checkout: dict[str, Any]) -> None:
        deadline_s = _duration_s(checkout.get("deadline_duration", "PT5M")) / self.speed
        ends = asyncio.get_running_loop().time() + deadline_s
        await asyncio.sleep(self.pause_s / 2)
        while self.faults.value("offline") is not None and checkout["status"] == "PENDING":
            if asyncio.get_running_loop().time() >= ends:
                return self._end(checkout, "CANCELED", "TIMED_OUT")
            await asyncio.sleep(0.02)
        if checkout["status"] != "PENDING":
            return None
        checkout["status"] = "IN_PROGRESS"
        guest: dict[str, Any] = {"do": "tap"}
        if self.faults.take("timed-out"):
            return self._end(checkout, "CANCELED", "TIMED_OUT")
        if self.faults.take("no-guest"):
            return None
        if self.faults.take("buyer-cancels"):
            guest = {"do": "cancel"}
        elif self.faults.take("decline"):
            guest = {"do": "decline"}
        elif self.attended:
            guest = await self.guests.get()
        else:
            await asyncio.sleep(self.pause_s / 2)
        if checkout["status"] != "IN_PROGRESS":
            return None
        match guest["do"]:
            case "cancel":
                self._end(checkout, "CANCELED", "BUYER_CANCELED")
            case "decline":
                self._declined(checkout)
                self._end(checkout, "CANCELED", "BUYER_CANCELED")
            case _:
                self._pay(checkout, brand=guest.get("brand"))
        return None

    async def _cancelled_soon(self, checkout: dict[str, Any]) -> None:
        await asyncio.sleep(self.pause_s / 2)
        if checkout["status"] == "CANCEL_REQUESTED":
            self._end(checkout, "CANCELED", "SELLER_CANCELED")

    def _pay(self, checkout: dict[str, Any], *, brand: Any = None) -> None:
        options = checkout.get("payment_options") or {}
        held = options.get("autocomplete") is False
        more = 1 if self.faults.take("wrong-amount") else 0
        for _ in range(2 if self.faults.take("two-payments") else 1):
            payment = self._payment(checkout, "APPROVED", more, brand)
            self.books.write("authorised", **self._said(payment))
            if held:
                delay_s = _duration_s(options.get("delay_duration", "PT36H")) / self.speed
                asyncio.get_running_loop().call_later(delay_s, self._let_go, payment)
            else:
                self._captured(payment)
        if self.faults.take("late-payment"):
            self.late[checkout["id"]] = 3
        self._end(checkout, "COMPLETED", None)

    def _payment(self, checkout: dict[str, Any], status: str, more: int, brand: Any) -> dict[str, Any]:
        money = {**checkout["amount_money"], "amount": checkout["amount_money"]["amount"] + more}
        kind = checkout["payment_type"]
        name = str(brand or BRANDS.get(kind, "FELICA_TRANSPORTATION"))
        payment: dict[str, Any] = {
            "id": self._id("PAY"), "status": status, "amount_money": money, "total_money": money,
            "approved_money": money, "created_at": self._stamp(), "reference_id": checkout.get("reference_id"),
            "terminal_checkout_id": checkout["id"], "location_id": self.location_id, "refund_ids": [],
            "device_details": {"device_id": "DEVICE_INSTALLATION_ID:3022CBCC", "device_name": "Emulated"}, "receipt_number": "R2u7",
        }  # fmt: skip
        if kind == "CARD_PRESENT":
            card = {"card_brand": name, "last_4": "1111", "exp_month": 11, "exp_year": 2030}
            payment |= {
                "source_type": "CARD",
                "card_details": {"status": "AUTHORIZED", "card": card, "entry_method": "CONTACTLESS"},
            }
        elif kind == "QR_CODE":
            payment |= {"source_type": "WALLET", "wallet_details": {"status": "AUTHORIZED", "brand": name}}
        else:
            felica = {
                "felica_brand": name,
                "felica_masked_card_number": "JE***********1234",
                "terminal_id": "3300000000001",
            }
            payment |= {"source_type": "ELECTRONIC_MONEY", "electronic_money_details": {"felica_details": felica}}
        self.payments[payment["id"]] = payment
        checkout["payment_ids"].append(payment["id"])
        return payment

    def _declined(self, checkout: dict[str, Any]) -> None:
        payment = self._payment(checkout, "FAILED", 0, None)
        payment.setdefault("card_details", {})["errors"] = [
            {"category": "PAYMENT_METHOD_ERROR", "code": "GENERIC_DECLINE"}
        ]
        self.books.write("declined", **self._said(payment))

    def _captured(self, payment: dict[str, Any]) -> None:
        payment["status"] = "COMPLETED"
        self.books.write("captured", **self._said(payment))

    def _cancelled(self, payment: dict[str, Any]) -> None:
        payment["status"] = "CANCELED"
        self.books.write("cancelled", **self._said(payment))

    def _let_go(self, payment: dict[str, Any]) -> None:
        if payment["status"] == "APPROVED":
            self._cancelled(payment)

    def _refunded(self, refund: dict[str, Any]) -> None:
        refund["status"] = "COMPLETED"
        amount = refund["amount_money"]["amount"]
        self.books.write("refunded", refund=refund["id"], payment=refund["payment_id"], amount=amount)

    def _end(self, checkout: dict[str, Any], status: str, reason: str | None) -> None:
        checkout["status"] = status
        checkout["updated_at"] = self._stamp()
        if reason is not None:
            checkout["cancel_reason"] = reason

    def _said(self, payment: dict[str, Any]) -> dict[str, Any]:
        amount = payment["amount_money"]["amount"]
        return {"payment": payment["id"], "reference": payment["reference_id"], "amount": amount}

    def _page(self, name: str, rows: list[dict[str, Any]], cursor: Any, limit: Any) -> dict[str, Any]:
        begin = int(cursor) if isinstance(cursor, str) and cursor.isdecimal() else 0
        count = int(self.faults.value("page") or limit or 100)
        more = {"cursor": str(begin + count)} if begin + count < len(rows) else {}
        return {name: rows[begin : begin + count], **more}

    @staticmethod
    def found(rows: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
        if key not in rows:
            raise Refused(404, "NOT_FOUND", key)
        return rows[key]


def _at(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["created_at"])


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError as error:
        raise Refused(400, "INVALID_TIME", text) from error


def _duration_s(text: str) -> float:
    match = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", text)
    if match is None:
        raise Refused(400, "INVALID_VALUE", "duration")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
