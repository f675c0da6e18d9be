"""What the terminal did, in a file that outlives it: JSON lines, each one synced before the terminal goes on.

Lines: {"event", "trace", "receipt", "turnover", "amount", "currency", "brand", ...}. Events of a payment, in order:

  authorised   the host said yes; the card is debited unless it is taken back
  held         the till has been told (04 0F sent) and has not answered
  confirmed    the till said that the goods are issued
  stored       final: this is a charge
  reversed     taken back, with "reason"; not a charge
  declined     no charge, with "code" (host) or "reason"
and of others: cancelled (before the host, no trace), reversal (06 30, with "orig_trace"), closed (end of day).

Charged is the sum of `stored` amounts whose trace has no later `reversed`, and no `reversal` with it as orig_trace.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

NUMBER_MAX = 9999  # receipt numbers wrap here: two bytes of BCD


class State(StrEnum):
    AUTHORISED = "authorised"
    HELD = "held"
    CONFIRMED = "confirmed"
    STORED = "stored"
    REVERSED = "reversed"
    DECLINED = "declined"


OPEN = (State.AUTHORISED, State.HELD, State.CONFIRMED)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One payment or reversal as the ledger knows it. Amount in minor units; `result` as in field 27."""

    trace: int
    receipt: int
    turnover: int
    amount: int
    currency: int
    brand: str
    at: str
    state: State
    result: int = 0
    orig_trace: int | None = None
    closed: bool = False
    order: str = ""


class Ledger:
    """The file and what follows from it. Opening it reads all; a torn last line (a power cut) is cut off."""

    def __init__(self, path: Path, now: Callable[[], str]) -> None:
        self._now = now
        self.transactions: dict[int, Transaction] = {}
        self._turnover = 0
        self._receipt = 0
        self._trace = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        kept = self._load(path)
        os.truncate(path, kept)
        self._file = path.open("ab", buffering=0)

    def _load(self, path: Path) -> int:
        kept = 0
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                entry = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            self._apply(entry)
            kept += len(line)
        return kept

    def close(self) -> None:
        self._file.close()

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def last(self) -> Transaction | None:
        """The last transaction that reached the host."""
        return self.transactions[max(self.transactions)] if self.transactions else None

    @property
    def open(self) -> list[Transaction]:
        """Payments that are neither final nor taken back."""
        return [t for t in self.transactions.values() if t.state in OPEN]

    def charged(self) -> list[Transaction]:
        """Charges since the last end of day: stored payments that were not reversed."""
        return [
            t for t in self.transactions.values() if t.state is State.STORED and t.orig_trace is None and not t.closed
        ]

    def successful_order(self, order: str) -> Transaction | None:
        """The last successful payment, if it carries this order number: then an order comes twice."""
        stored = [t for t in self.transactions.values() if t.state is State.STORED and t.orig_trace is None]
        last = max(stored, key=lambda t: t.trace, default=None)
        return last if last is not None and last.order == order else None

    def by_receipt(self, receipt: int) -> Transaction | None:
        """The latest payment with this receipt number."""
        found = [t for t in self.transactions.values() if t.receipt == receipt and t.orig_trace is None]
        return max(found, key=lambda t: t.trace) if found else None

    # -- writing --------------------------------------------------------------------------------------------------

    def _append(self, event: str, **values: Any) -> None:
        entry = {"event": event, "at": self._now(), **values}
        self._file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
        os.fsync(self._file.fileno())
        self._apply(entry)

    def _apply(self, entry: dict[str, Any]) -> None:
        event, trace = entry["event"], entry.get("trace")
        self._trace = max(self._trace, trace or 0)
        if event == "closed":
            self.transactions = {k: replace(t, closed=True) for k, t in self.transactions.items()}
        elif event == "reversal":
            self.transactions[entry["trace"]] = self._read(entry, State.STORED)
            orig = self.transactions[entry["orig_trace"]]
            self.transactions[orig.trace] = replace(orig, state=State.REVERSED)
        elif event in {"authorised", "declined"} and trace not in self.transactions and trace is not None:
            self.transactions[trace] = self._read(entry, State(event))
        elif trace is not None:
            known = self.transactions[trace]
            self.transactions[trace] = replace(
                known,
                state=State(event),
                result=entry.get("result", known.result),
                amount=entry.get("amount", known.amount),
            )

    def _read(self, entry: dict[str, Any], state: State) -> Transaction:
        if entry["event"] == "authorised":  # a reversal repeats an old number, a refusal has none
            self._receipt = entry["receipt"]
        self._turnover = max(self._turnover, entry["turnover"])
        return Transaction(
            trace=entry["trace"], receipt=entry["receipt"], turnover=entry["turnover"], amount=entry["amount"],
            currency=entry["currency"], brand=entry["brand"], at=entry["at"], state=state,
            result=entry.get("result", 0), orig_trace=entry.get("orig_trace"), order=entry.get("order", ""),
        )  # fmt: skip

    def authorised(
        self, *, amount: int, currency: int, brand: str, order: str = "", receipt: int | None = None
    ) -> Transaction:
        """A new payment that the host approved, with the next trace, receipt and turnover numbers.

        `order` is the till's order number; `receipt` takes up the number of a payment that 1F1F has just taken back (ch. 4).
        """
        trace = self._trace + 1
        self._append(
            "authorised", trace=trace, receipt=receipt or self._receipt % NUMBER_MAX + 1, turnover=self._turnover + 1,
            amount=amount, currency=currency, brand=brand, **({"order": order} if order else {}),
        )  # fmt: skip
        return self.transactions[trace]

    def refused_by_host(self, *, amount: int, currency: int, brand: str, code: int) -> Transaction:
        trace = self._trace + 1
        self._append(
            "declined", trace=trace, receipt=0, turnover=0, amount=amount, currency=currency, brand=brand,
            result=code, code=f"{code:02X}",
        )  # fmt: skip
        return self.transactions[trace]

    def cancelled(self, *, amount: int, currency: int, code: int) -> None:
        self._append("cancelled", amount=amount, currency=currency, code=f"{code:02X}")

    def move(self, trace: int, state: State, **values: Any) -> Transaction:
        """The next event of a payment: held, confirmed, stored, reversed or declined."""
        known = self.transactions[trace]
        self._append(
            state.value, trace=trace, receipt=known.receipt, turnover=known.turnover, currency=known.currency,
            brand=known.brand, **{"amount": known.amount, **values},
        )  # fmt: skip
        return self.transactions[trace]

    def reversal(self, orig: Transaction) -> Transaction:
        """A reversal by the till (06 30): a transaction of its own, with the receipt number it takes back."""
        trace = self._trace + 1
        self._append(
            "reversal", trace=trace, orig_trace=orig.trace, receipt=orig.receipt, turnover=self._turnover + 1,
            amount=orig.amount, currency=orig.currency, brand=orig.brand,
        )  # fmt: skip
        return self.transactions[trace]

    def close_day(self, *, total: int, count: int) -> None:
        self._append("closed", total=total, count=count)
