"""What the terminal's last transaction says about an attempt whose outcome is not known (payments.md, 2.4). Pure.

The last transaction is compared with the baseline taken before the attempt, with what was seen during it, and with the
terminal's sums. Where two of them disagree the answer is UNKNOWN: a person is cheaper than a wrong guess about money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kiosk.payment.contract import Evidence, Outcome
from kiosk.payment.zvt.messages import StatusInfo


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the terminal knows: its last transaction (None: it has none, or would not say) and the sum of its turnover."""

    terminal_id: str | None = None
    last: StatusInfo | None = None
    total_minor: int | None = None
    receipt_no_last: int | None = None
    """The last receipt number that the sums name (field 60)."""

    def to_mapping(self) -> dict[str, Any]:
        """JSON values for the journal."""
        last = self.last
        return {
            "terminal_id": self.terminal_id,
            "total_minor": self.total_minor,
            "receipt_no_last": self.receipt_no_last,
            "last": None
            if last is None
            else {
                "trace": last.trace,
                "receipt_no": last.receipt_no,
                "turnover": last.turnover,
                "amount_minor": last.amount_minor,
                "original_trace": last.original_trace,
                "result": last.result,
                "terminal_id": last.terminal_id,
                "unique_id": last.unique_id,
            },
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Snapshot:
        """The inverse; keys that are missing count as not known."""
        last = values.get("last")
        names = (
            *(
                "result",
                "trace",
                "receipt_no",
                "turnover",
                "amount_minor",
                "original_trace",
                "terminal_id",
                "unique_id",
            ),
        )
        return cls(
            terminal_id=values.get("terminal_id"),
            total_minor=values.get("total_minor"),
            receipt_no_last=values.get("receipt_no_last"),
            last=None if last is None else StatusInfo(**{name: last.get(name) for name in names}),
        )


def judge(*, amount_minor: int, before: Snapshot, now: Snapshot, seen: Evidence | None) -> tuple[Outcome, str]:
    """Outcome and a stable code: APPROVED_FINAL, NOT_CHARGED or UNKNOWN."""
    outcome, code = _by_last(amount_minor, before, now, seen)
    if outcome is Outcome.UNKNOWN:
        return outcome, code
    moved = _moved(before, now)
    expected = amount_minor if outcome is Outcome.APPROVED_FINAL else 0
    if moved is not None and moved != expected:
        return Outcome.UNKNOWN, "totals_disagree"
    return outcome, code


def same_transaction(one: StatusInfo, other: StatusInfo) -> bool:
    """Equal in each counter that both name, and they name at least one in common."""
    pairs = [(a, b) for a, b in zip(one.identity, other.identity, strict=True) if a is not None and b is not None]
    return bool(pairs) and all(a == b for a, b in pairs)


def _by_last(amount_minor: int, before: Snapshot, now: Snapshot, seen: Evidence | None) -> tuple[Outcome, str]:
    if before.terminal_id and now.terminal_id and before.terminal_id != now.terminal_id:
        return Outcome.UNKNOWN, "other_terminal"
    last = now.last
    if last is None:
        return _without_last(amount_minor, before, now, seen)
    if last.terminal_id and before.terminal_id and last.terminal_id != before.terminal_id:
        return Outcome.UNKNOWN, "other_terminal"
    if not last.is_complete or not any(value is not None for value in last.identity):
        return Outcome.UNKNOWN, "last_unreadable"
    if before.last is not None and same_transaction(last, before.last):
        return Outcome.NOT_CHARGED, "last_is_baseline"
    if last.original_trace is not None:
        return _reversal(last, before, seen)
    if last.amount_minor is not None and last.amount_minor != amount_minor:
        failed = not last.is_success and _moved(before, now) == 0
        return (Outcome.NOT_CHARGED, "last_failed") if failed else (Outcome.UNKNOWN, "amount_differs")
    if seen is not None and not is_seen(last, seen):
        return Outcome.UNKNOWN, "not_ours"
    if seen is None and last.is_success and not _is_next(before.last, last):
        return Outcome.UNKNOWN, "not_next"
    if not last.is_success:
        return Outcome.NOT_CHARGED, "last_failed"
    return (Outcome.APPROVED_FINAL, "last_is_ours") if last.amount_minor is not None else (Outcome.UNKNOWN, "no_amount")


def _without_last(amount_minor: int, before: Snapshot, now: Snapshot, seen: Evidence | None) -> tuple[Outcome, str]:
    """Nothing to compare but the sums: standing still proves that nothing was charged; moving says by how much, not what.

    It says what where they end with the very receipt number that the attempt was told, and did not before. "No last transaction" alone proves nothing: some terminals answer a repeat receipt without any 04 0F.
    """
    if _moved(before, now) == 0:
        return Outcome.NOT_CHARGED, "totals_unmoved"
    named = None if seen is None else seen.receipt_no
    if named and named == now.receipt_no_last != before.receipt_no_last and _moved(before, now) == amount_minor:
        return Outcome.APPROVED_FINAL, "totals_moved"
    return Outcome.UNKNOWN, "no_last_transaction"


def _reversal(last: StatusInfo, before: Snapshot, seen: Evidence | None) -> tuple[Outcome, str]:
    if not last.is_success:
        return Outcome.UNKNOWN, "reversal_failed"
    if seen is not None and seen.trace is not None:
        ours = last.original_trace == seen.trace
        return (Outcome.NOT_CHARGED, "reversed") if ours else (Outcome.UNKNOWN, "other_reversed")
    if before.last is not None and before.last.trace == last.original_trace:
        return Outcome.UNKNOWN, "other_reversed"
    return Outcome.NOT_CHARGED, "reversed"


def _is_next(before: StatusInfo | None, last: StatusInfo) -> bool:
    """Whether `last` can be the only transaction since `before`: one further in receipt number or trace. A terminal may count
    one of them oddly, but two payments since the baseline (another till's) move both by more."""
    if before is None:
        return True
    steps = [
        now % wrap == (then + 1) % wrap
        for then, now, wrap in ((before.receipt_no, last.receipt_no, 9999), (before.trace, last.trace, 999_999))
        if then and now
    ]
    return not steps or any(steps)


def is_seen(last: StatusInfo, seen: Evidence) -> bool:
    """Equal in every counter that both name."""
    pairs = ((last.trace, seen.trace), (last.receipt_no, seen.receipt_no), (last.turnover, seen.turnover))
    return all(a == b for a, b in pairs if a is not None and b is not None)


def _moved(before: Snapshot, now: Snapshot) -> int | None:
    if before.total_minor is None or now.total_minor is None:
        return None
    return now.total_minor - before.total_minor
