"""What PayPay's side knows and does: codes, payments, refunds, and the guest's phone. Speaks no HTTP."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from emulators.web import Books, Faults

ONCE = {
    "no-guest", "slow-guest", "declined", "wrong-amount", "expired", "paid-at-delete", "paid-at-delete-quietly", "refund-pending",
    "refund-failed",
}  # fmt: skip
LASTING = {"details-lag"}
GRAMMAR = """ of PayPay (the next code, deletion or refund)
  no-guest              nobody pays the next code
  slow-guest            the guest takes ten times as long
  declined              its payment ends FAILED
  wrong-amount          it is paid with one yen more than was asked for
  expired               it expires at once: nobody can pay it
  paid-at-delete        the guest pays it at the moment it is to be deleted: DYNAMIC_QR_ALREADY_PAID
  paid-at-delete-quietly  the same, and the deletion is answered SUCCESS
  refund-pending        the refund stays CREATED until {"do": "settle-refunds"}; refund-failed: it ends FAILED
 lasting
  details-lag=N         the details of a paid code say CREATED N times before they say COMPLETED"""

CODE_LIFE_S = 300


class Refused(Exception):
    """A request that is read and not done."""

    def __init__(self, status: int, code: str, code_id: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.code_id = code_id


NOT_FOUND = Refused(400, "DYNAMIC_QR_PAYMENT_NOT_FOUND", "01652075")
BAD = Refused(400, "DYNAMIC_QR_BAD_REQUEST", "01650000")


@dataclass(slots=True)
class Service:
    """One merchant and its guests."""

    books: Books
    faults: Faults
    now: Callable[[], datetime]
    pause_s: float
    attended: bool
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_payment: dict[str, str] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    guests: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue)
    count: int = 0

    def reset(self) -> None:
        """A new merchant: nothing is known any more."""
        for task in self.tasks:
            task.cancel()
        for rows in (self.codes, self.by_payment, self.refunds):
            rows.clear()
        self.faults.clear()

    def _epoch_s(self) -> int:
        return int(self.now().timestamp())

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        name, money = body.get("merchantPaymentId"), body.get("amount") or {}
        if not isinstance(name, str) or not 1 <= len(name) <= 64 or body.get("codeType") != "ORDER_QR":
            raise Refused(400, "INVALID_REQUEST_PARAMS", "08100006")
        if type(money.get("amount")) is not int or money["amount"] < 1 or money.get("currency") != "JPY":
            raise Refused(400, "INVALID_REQUEST_PARAMS", "08100006")
        if name in self.by_payment:
            raise Refused(400, "DUPLICATE_DYNAMIC_QR_REQUEST", "01652073")
        self.count += 1
        code_id = f"04-EMULATED{self.count:06d}"
        life_s = 0 if self.faults.take("expired") else CODE_LIFE_S
        code = {
            "codeId": code_id, "url": f"https://qr.paypay.example/{code_id}", "deeplink": f"paypay://payment?link_key={code_id}",
            "expiryDate": self._epoch_s() + life_s, "merchantPaymentId": name, "amount": money, "codeType": "ORDER_QR",
            "requestedAt": body.get("requestedAt", 0), "orderDescription": body.get("orderDescription", ""),
            "isAuthorization": False,
        }  # fmt: skip
        self.codes[code_id] = {**code, "status": "CREATED", "deleted": False, "calledOff": False, "lag": 0}
        self.by_payment[name] = code_id
        self.books.write("code", reference=name, amount=money["amount"])
        if not self.faults.take("no-guest"):
            task = asyncio.get_running_loop().create_task(self._guest(self.codes[code_id]))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return code

    def details(self, name: str) -> dict[str, Any]:
        code = self._of(name)
        if code["deleted"] and code["status"] == "CREATED":
            raise NOT_FOUND
        if code["status"] == "CREATED" or code["lag"] > 0:
            code["lag"] -= 1
            return {"status": "CREATED", "acceptedAt": 0, "requestedAt": code["requestedAt"], "merchantPaymentId": name}
        refunds = [one for one in self.refunds.values() if one["paymentId"] == code["paymentId"]]
        return {
            "paymentId": code["paymentId"], "status": code["status"], "acceptedAt": code["acceptedAt"],
            "merchantPaymentId": name, "amount": code["paid"], "requestedAt": code["requestedAt"],
            "refunds": {"data": refunds},
        }  # fmt: skip

    def delete(self, code_id: str) -> None:
        code = self.codes.get(code_id)
        if code is None or (code["deleted"] and code["status"] == "CREATED"):
            raise Refused(404, "DYNAMIC_QR_NOT_FOUND", "01652072")
        if self.faults.take("paid-at-delete"):
            self._pay(code)
        elif self.faults.take("paid-at-delete-quietly"):
            self._pay(code)
            return
        if code["status"] != "CREATED":
            raise Refused(400, "DYNAMIC_QR_ALREADY_PAID", "01652074")
        code["deleted"] = True
        self.books.write("deleted", reference=code["merchantPaymentId"])

    def cancel(self, name: str) -> None:
        code = self._of(name)
        code["calledOff"] = True
        if code["status"] == "COMPLETED":
            self._call_off(code)
        elif code["status"] == "REFUNDED":
            raise Refused(400, "ORDER_NOT_REVERSIBLE", "00200044")

    def refund(self, body: dict[str, Any]) -> dict[str, Any]:
        name, money = body.get("merchantRefundId"), body.get("amount") or {}
        if not isinstance(name, str) or not 1 <= len(name) <= 64 or type(money.get("amount")) is not int:
            raise Refused(400, "INVALID_PARAMS", "00200004")
        if name in self.refunds:
            return self.refunds[name]
        code = next((one for one in self.codes.values() if one.get("paymentId") == body.get("paymentId")), None)
        if code is None:
            raise Refused(404, "RESOURCE_NOT_FOUND", "00200001")
        if code["status"] not in {"COMPLETED", "REFUNDED"}:
            raise Refused(400, "UNACCEPTABLE_OP", "00200013")
        if any(one["paymentId"] == code["paymentId"] and one["status"] != "FAILED" for one in self.refunds.values()):
            raise Refused(400, "UNACCEPTABLE_OP", "00200014")  # multiple refunds are not allowed
        if not 1 <= money["amount"] <= code["paid"]["amount"]:
            raise Refused(400, "INVALID_PARAMS", "00200015")
        refund = {
            "status": "CREATED", "acceptedAt": self._epoch_s(), "merchantRefundId": name, "paymentId": code["paymentId"],
            "amount": money, "requestedAt": body.get("requestedAt", 0), "reason": "",
        }  # fmt: skip
        self.refunds[name] = refund
        self.books.write("refund_asked", refund=name, payment=code["paymentId"], amount=money["amount"])
        if self.faults.take("refund-failed"):
            refund["status"] = "FAILED"
        elif not self.faults.take("refund-pending"):
            self._refunded(refund)
        return refund

    def refund_details(self, name: str) -> dict[str, Any]:
        if name not in self.refunds:
            raise Refused(404, "NO_SUCH_REFUND_ORDER", "00200018")
        return self.refunds[name]

    def tell(self) -> None:
        """Let the details of every payment say what is so."""
        for code in self.codes.values():
            code["lag"] = 0

    def settle_refunds(self) -> None:
        for refund in self.refunds.values():
            if refund["status"] == "CREATED":
                self._refunded(refund)

    # -- the guest's phone ----------------------------------------------------------------------------------------------

    async def _guest(self, code: dict[str, Any]) -> None:
        if self.attended:
            guest = await self.guests.get()
            if guest["do"] != "pay":
                return
        else:
            await asyncio.sleep(self.pause_s * (10 if self.faults.take("slow-guest") else 1))
        if code["deleted"] or self._epoch_s() >= code["expiryDate"] or code["status"] != "CREATED":
            self.books.write("phone_refused", reference=code["merchantPaymentId"])
            return
        if self.faults.take("declined"):
            self._name(code, "FAILED")
            self.books.write("declined", reference=code["merchantPaymentId"])
            return
        self._pay(code)

    def _pay(self, code: dict[str, Any]) -> None:
        self._name(code, "COMPLETED")
        code["lag"] = int(self.faults.value("details-lag") or 0)
        said = {"reference": code["merchantPaymentId"], "payment": code["paymentId"], "amount": code["paid"]["amount"]}
        self.books.write("authorised", **said)
        self.books.write("captured", **said)
        if code["calledOff"]:
            self._call_off(code)

    def _name(self, code: dict[str, Any], status: str) -> None:
        self.count += 1
        more = 1 if self.faults.take("wrong-amount") else 0
        code["paymentId"] = f"{self.count:020d}"
        code["acceptedAt"] = self._epoch_s()
        code["paid"] = {**code["amount"], "amount": code["amount"]["amount"] + more}
        code["status"] = status

    def _call_off(self, code: dict[str, Any]) -> None:
        code["status"] = "FAILED"
        amount = code["paid"]["amount"]
        self.books.write("refunded", refund="cancel", payment=code["paymentId"], amount=amount)

    def _refunded(self, refund: dict[str, Any]) -> None:
        refund["status"] = "REFUNDED"
        code = next(one for one in self.codes.values() if one.get("paymentId") == refund["paymentId"])
        code["status"] = "REFUNDED"
        amount = refund["amount"]["amount"]
        self.books.write("refunded", refund=refund["merchantRefundId"], payment=refund["paymentId"], amount=amount)

    def _of(self, name: str) -> dict[str, Any]:
        if name not in self.by_payment:
            raise NOT_FOUND
        return self.codes[self.by_payment[name]]
