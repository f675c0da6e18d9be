"""Why a sale cannot be made. Nothing here happens after money has moved."""

from __future__ import annotations


class SaleError(Exception):
    """Root. `code` is stable, for logs."""

    code = "sale"


class StockGone(SaleError):
    """The lease does not hold that many any more."""

    code = "sale.stock_gone"

    def __init__(self, slot: str, *, wanted: int, remaining: int) -> None:
        super().__init__(f"slot '{slot}': {wanted} wanted, {remaining} left here")
        self.slot = slot
        self.remaining = remaining


class NotReady(SaleError):
    """A part that a sale needs is not proven ready; `part` names it (printer, terminal, journal, key, catalogue)."""

    code = "sale.not_ready"

    def __init__(self, part: str) -> None:
        super().__init__(f"{part} is not ready")
        self.part = part
