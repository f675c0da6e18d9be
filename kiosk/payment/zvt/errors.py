"""Bytes that are not ZVT. Raised inside the driver alone: above it they become an outcome."""

from __future__ import annotations

from kiosk.payment.errors import PaymentError, TerminalLinkError


class CodecError(PaymentError):
    """Bytes that cannot be read, or a value that cannot be written."""

    code = "zvt_codec"


class AttemptOpenError(TerminalLinkError):
    """An end of day was asked for while an attempt is not settled. Nothing was sent."""

    code = "attempt_open"
