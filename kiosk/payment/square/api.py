"""The calls of Square's Terminal, Payments, Refunds and Devices APIs that the driver needs, as values.

Each raises TerminalLinkError for an answer that proves nothing (5xx, 429, no JSON), so that the driver decides in one place what a
doubt is. The access token is a header of each request and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import requests

from kiosk.payment.errors import TerminalLinkError
from kiosk.payment.https import Answer, HttpsLine, text_at
from kiosk.payment.square.judge import Checkout, Payment, checkout_of, money_of, payment_of
from kiosk.payment.square.options import Options
from tickets.money import Money

PAGES_MAX = 50


class Busy(TerminalLinkError):
    """429: not done, ask later."""

    code = "terminal_busy"

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Refused(TerminalLinkError):
    """Another 4xx: a question that is not answered to us (a wrong token, a missing permission)."""


class NotFound(TerminalLinkError):
    """404 for a thing that was asked for by its id."""

    code = "not_found"


class SquareApi:
    def __init__(self, options: Options, token: str, *, session: requests.Session | None = None) -> None:
        headers = {
            "Authorization": f"Bearer {token}",
            "Square-Version": options.version,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        self._options = options
        self.line = HttpsLine(
            options.base_url,
            lambda _method, _path, _body: headers,
            connect_s=options.connect_s,
            answer_s=options.answer_s,
            session=session,
        )

    # -- money: the answer as it is, the driver judges what it proves -------------------------------------------------

    def create_checkout(self, *, key: str, checkout: Mapping[str, Any]) -> Answer:
        return self.line.call("POST", "/v2/terminals/checkouts", body={"idempotency_key": key, "checkout": checkout})

    def complete(self, payment_id: str) -> Answer:
        return self.line.call("POST", f"/v2/payments/{payment_id}/complete", body={})

    def cancel_payment(self, payment_id: str) -> Answer:
        return self.line.call("POST", f"/v2/payments/{payment_id}/cancel", body={})

    def refund(self, *, key: str, payment_id: str, amount: Money) -> Answer:
        money = {"amount": amount.minor, "currency": amount.currency}
        body = {"idempotency_key": key, "payment_id": payment_id, "amount_money": money}
        return self.line.call("POST", "/v2/refunds", body=body)

    def cancel_checkout(self, checkout_id: str) -> Answer:
        return self.line.call("POST", f"/v2/terminals/checkouts/{checkout_id}/cancel", body={})

    # -- asking ---------------------------------------------------------------------------------------------------------

    def checkout(self, checkout_id: str) -> Checkout:
        return checkout_of(self._got(f"/v2/terminals/checkouts/{checkout_id}", "checkout"))

    def payment(self, payment_id: str) -> Payment:
        return payment_of(self._got(f"/v2/payments/{payment_id}", "payment"))

    def refunded(self, refund_id: str) -> tuple[str, Money | None]:
        """A refund's status and amount."""
        raw = self._got(f"/v2/refunds/{refund_id}", "refund")
        return text_at(raw, "status"), money_of(raw.get("amount_money"))

    def device(self) -> tuple[str, datetime | None]:
        """The device's status category (AVAILABLE, NEEDS_ATTENTION, OFFLINE) and the service's clock."""
        answer = good(self.line.call("GET", f"/v2/devices/device:{self._options.device_id}"))
        device = answer.body.get("device")
        return text_at(device if isinstance(device, Mapping) else {}, "status", "category"), answer.at

    def search(self, *, begin: datetime, end: datetime) -> Iterator[Checkout]:
        """This device's checkouts created in that time (the API cannot filter by reference)."""
        # The service tells its time in whole seconds: what began within this one belongs to it.
        created = {"start_at": begin.isoformat(), "end_at": (end + timedelta(seconds=1)).isoformat()}
        query = {"filter": {"device_id": self._options.device_id, "created_at": created}}
        cursor = ""
        for _ in range(PAGES_MAX):
            body: dict[str, Any] = {"query": query, "limit": 100, **({"cursor": cursor} if cursor else {})}
            answer = good(self.line.call("POST", "/v2/terminals/checkouts/search", body=body))
            yield from (checkout_of(raw) for raw in _objects(answer, "checkouts"))
            cursor = text_at(answer.body, "cursor")
            if not cursor:
                return
        raise TerminalLinkError(f"a search of more than {PAGES_MAX} pages")

    def payments(self, *, begin: datetime, end: datetime) -> Iterator[Payment]:
        """The location's payments created in that time, oldest first."""
        yield from (payment_of(raw) for raw in self._listed("payments", begin=begin, end=end))

    def refunds(self, *, begin: datetime, end: datetime) -> Iterator[Mapping[str, Any]]:
        """The location's refunds created in that time: raw objects (payment_id, status, amount_money)."""
        yield from self._listed("refunds", begin=begin, end=end)

    def now(self) -> datetime:
        """The service's own clock. Raises TerminalLinkError if it does not tell."""
        at = self.device()[1]
        if at is None:
            raise TerminalLinkError("the service does not tell its time")
        return at

    def _got(self, path: str, name: str) -> Mapping[str, Any]:
        raw = good(self.line.call("GET", path)).body.get(name)
        if not isinstance(raw, Mapping) or not text_at(raw, "id"):
            raise TerminalLinkError(f"GET {path}: no {name} in the answer")
        return raw

    def _listed(self, what: str, *, begin: datetime, end: datetime) -> Iterator[Mapping[str, Any]]:
        query = {
            "begin_time": begin.isoformat(),
            # The list ends before `end_time`; a payment of this very second belongs to it.
            "end_time": (end + timedelta(seconds=1)).isoformat(),
            "sort_order": "ASC",
            "location_id": self._options.location_id,
            "limit": "100",
        }
        for _ in range(PAGES_MAX):
            answer = good(self.line.call("GET", f"/v2/{what}", query=query))
            yield from _objects(answer, what)
            cursor = text_at(answer.body, "cursor")
            if not cursor:
                return
            query["cursor"] = cursor
        raise TerminalLinkError(f"a list of more than {PAGES_MAX} pages")


def good(answer: Answer) -> Answer:
    """The answer if it is one. Raises Busy, NotFound or TerminalLinkError."""
    if answer.is_good:
        return answer
    if answer.status == 429:
        raise Busy("429", answer.retry_after_s)
    if answer.status == 404:
        raise NotFound("404")
    raise (Refused if answer.is_refused else TerminalLinkError)(f"{answer.status} {error_code(answer)}")


def error_code(answer: Answer) -> str:
    """The service's own word for a refusal, such as UNAUTHORIZED; the status where it has none."""
    errors = answer.body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], Mapping) else {}
    return text_at(first, "code") or f"http_{answer.status}"


def _objects(answer: Answer, name: str) -> list[Mapping[str, Any]]:
    found = answer.body.get(name, [])
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
