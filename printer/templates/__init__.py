"""Each kind of paper as a pure function of its facts: `paper(facts) -> Document`."""

from __future__ import annotations

from typing import TypeAlias, assert_never

from printer.document import Document
from printer.templates import claim, coupon, goods, receipt, ticket
from printer.templates.data import (
    ClaimKind,
    ClaimPaper,
    CouponPaper,
    GoodsPaper,
    PaperError,
    ReceiptLine,
    ReceiptPaper,
    TenderPaper,
    TicketPaper,
    VenuePaper,
)

Paper: TypeAlias = TicketPaper | CouponPaper | GoodsPaper | ReceiptPaper | ClaimPaper


def document(paper: Paper) -> Document:
    """The document of any of the five kinds of paper."""
    match paper:
        case TicketPaper():
            return ticket.document(paper)
        case CouponPaper():
            return coupon.document(paper)
        case GoodsPaper():
            return goods.document(paper)
        case ReceiptPaper():
            return receipt.document(paper)
        case ClaimPaper():
            return claim.document(paper)
        case never:
            assert_never(never)


__all__ = [
    "ClaimKind",
    "ClaimPaper",
    "CouponPaper",
    "GoodsPaper",
    "Paper",
    "PaperError",
    "ReceiptLine",
    "ReceiptPaper",
    "TenderPaper",
    "TicketPaper",
    "VenuePaper",
    "document",
]
