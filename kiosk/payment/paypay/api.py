"""The calls of PayPay's Open Payment API that the driver needs, as values.

Requests are stamped with the service's own time, learned from its answers: a kiosk whose clock is wrong would be refused.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from kiosk.payment.errors import TerminalLinkError
from kiosk.payment.https import Answer, HttpsLine, text_at
from kiosk.payment.paypay.auth import CONTENT_TYPE, Signer
from kiosk.payment.paypay.options import Options
from tickets.money import EXPONENT, Money

NOT_FOUND = "DYNAMIC_QR_PAYMENT_NOT_FOUND"
PROBE = "kaisatsu-probe"
"""A payment id that no attempt has: asking for it tells whether the service answers us."""


class Refused(TerminalLinkError):
    """The service read a question and refused to answer it (key, rate, maintenance)."""

    code = "terminal_link"

    def __init__(self, status: int, word: str, retry_after_s: float) -> None:
        super().__init__(f"{status} {word}")
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Details:
    """A payment as the service tells it. `status` CREATED also where it knows none. Minor units `given` back, and `waiting`."""

    status: str
    payment_id: str = ""
    amount: Money | None = None
    accepted_at: str | None = None
    given: int | None = None
    waiting: int = 0


class PayPayApi:
    def __init__(
        self,
        options: Options,
        signer: Signer,
        *,
        session: requests.Session | None = None,
        now_s: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._options = options
        self._signer = signer
        self._now_s = now_s
        self._nonce = nonce
        self._ahead_s = 0.0
        self.line = HttpsLine(
            options.base_url, self._signed, connect_s=options.connect_s, answer_s=options.answer_s, session=session
        )

    # -- acting: the answer as it is, the driver judges what it proves ------------------------------------------------

    def create_code(self, *, payment_id: str, amount: Money) -> Answer:
        named = {"storeId": self._options.store_id, "terminalId": self._options.terminal_id}
        body = {
            "merchantPaymentId": payment_id,
            "amount": {"amount": amount.minor, "currency": amount.currency},
            "codeType": "ORDER_QR",
            "orderDescription": self._options.description,
            "isAuthorization": False,
            "requestedAt": self.epoch_s(),
            **{name: value for name, value in named.items() if value},
        }
        return self._call("POST", "/v2/codes", body)

    def delete_code(self, code_id: str) -> Answer:
        return self._call("DELETE", f"/v2/codes/{code_id}")

    def cancel(self, payment_id: str) -> Answer:
        """Cancel whatever becomes of a payment: also one that is only paid afterwards."""
        return self._call("DELETE", f"/v2/payments/{payment_id}")

    def refund(self, *, refund_id: str, payment_id: str, amount: Money) -> Answer:
        body = {
            "merchantRefundId": refund_id,
            "paymentId": payment_id,
            "amount": {"amount": amount.minor, "currency": amount.currency},
            "requestedAt": self.epoch_s(),
        }
        return self._call("POST", "/v2/refunds", body)

    # -- asking: TerminalLinkError for what proves nothing --------------------------------------------------------------

    def details(self, payment_id: str) -> tuple[Details, datetime | None]:
        """The payment of a code, and the service's time."""
        answer = self._call("GET", f"/v2/codes/payments/{payment_id}")
        if answer.status in {400, 404} and word(answer) == NOT_FOUND:
            return Details("CREATED"), answer.at
        return _details(_data(answer)), answer.at

    def refund_status(self, refund_id: str) -> tuple[str, Money | None] | None:
        """CREATED, REFUNDED or FAILED, and the amount; None where there is no such refund."""
        answer = self._call("GET", f"/v2/refunds/{refund_id}")
        if answer.status == 404:
            return None
        data = _data(answer)
        return text_at(data, "status"), _money(data.get("amount"))

    def probe(self) -> datetime:
        """The service's time, if it takes our key. Raises TerminalLinkError."""
        before_s = self._ahead_s
        try:
            at = self.details(PROBE)[1]
        except Refused as error:
            # Refused for our clock? The answer told the time, and a question may be asked again.
            if error.status != 401 or abs(self._ahead_s - before_s) < 1:
                raise
            at = self.details(PROBE)[1]
        if at is None:
            raise TerminalLinkError("the service does not tell its time")
        return at

    def epoch_s(self) -> int:
        return int(self._now_s() + self._ahead_s)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        answer = self.line.call(method, path, body=body)
        if answer.at is not None:
            self._ahead_s = answer.at.timestamp() - self._now_s()
        return answer

    def _signed(self, method: str, path: str, body: bytes | None) -> Mapping[str, str]:
        signature = self._signer.header(
            method=method, path=path, body=body, epoch_s=self.epoch_s(), nonce=self._nonce()
        )
        return {
            "Authorization": signature,
            "Content-Type": CONTENT_TYPE,
            "X-ASSUME-MERCHANT": self._options.merchant_id,
        }


def word(answer: Answer) -> str:
    """The service's own word for how it went, such as SUCCESS or DYNAMIC_QR_ALREADY_PAID."""
    return text_at(answer.body, "resultInfo", "code") or f"http_{answer.status}"


def _data(answer: Answer) -> Mapping[str, Any]:
    data = answer.body.get("data")
    if not answer.is_good or not isinstance(data, Mapping):
        raise Refused(answer.status, word(answer), answer.retry_after_s)
    return data


def _details(data: Mapping[str, Any]) -> Details:
    given: int | None = None
    waiting = 0
    inner = data.get("refunds")
    rows = inner.get("data") if isinstance(inner, Mapping) else None
    if isinstance(rows, list):
        given = 0
        for row in rows:
            amount = _money(row.get("amount")) if isinstance(row, Mapping) else None
            if amount is None:
                raise TerminalLinkError("a refund names no amount")
            given += amount.minor if text_at(row, "status") == "REFUNDED" else 0
            waiting += amount.minor if text_at(row, "status") == "CREATED" else 0
    accepted = data.get("acceptedAt")
    return Details(
        status=text_at(data, "status"),
        payment_id=text_at(data, "paymentId"),
        amount=_money(data.get("amount")),
        accepted_at=str(accepted) if type(accepted) is int and accepted else None,
        given=given,
        waiting=waiting,
    )


def _money(raw: Any) -> Money | None:
    if not isinstance(raw, Mapping) or type(raw.get("amount")) is not int or raw.get("currency") not in EXPONENT:
        return None
    return Money(raw["amount"], str(raw["currency"]))
