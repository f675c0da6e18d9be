"""Why a sale cannot be made. Each has a message key for the guest's screen; nothing here happens after money has moved."""

from __future__ import annotations


class SaleError(Exception):
    """Root. `code` is stable for logs; `reason` is the message key that the screen shows."""

    code = "sale"
    reason = "blocked.sale"


class StockGone(SaleError):
    """The lease does not hold that many any more."""

    code = "sale.stock_gone"
    reason = "refused.stock"


class NoShortIds(SaleError):
    """The blocks of short ids are used up and the hub has not been reached for more."""

    code = "sale.no_short_ids"
    reason = "blocked.numbers"


class NotReady(SaleError):
    """A part that a sale needs is not proven ready; `part` names it (printer, terminal, journal, key, catalogue)."""

    code = "sale.not_ready"

    def __init__(self, part: str) -> None:
        super().__init__(f"{part} is not ready")
        self.part = part
        self.reason = f"blocked.{part}"
