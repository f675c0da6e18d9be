"""PayPay's dynamic QR code on the kiosk's own screen, over the Open Payment API (OPA).

    options     settings of one merchant's line
    auth        the signature of a request (HMAC-SHA256)
    api         the calls as values (over kiosk.payment.https)
    driver      PayPayTerminal: the payment contract

`connect(Options(...))` or `connect({"api_key_file": ..., ...})` is all a caller needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kiosk.payment import option_table
from kiosk.payment.contract import Terminal
from kiosk.payment.paypay.api import PayPayApi
from kiosk.payment.paypay.auth import Signer
from kiosk.payment.paypay.driver import PayPayTerminal
from kiosk.payment.paypay.options import Options


def connect(settings: Options | Mapping[str, Any]) -> Terminal:
    """The line of these settings. Reads key and secret; opens nothing yet. Raises ValueError, one line."""
    options = settings if isinstance(settings, Options) else option_table.read(settings, Options, where="paypay")
    key = option_table.secret(options.api_key_file, where="paypay: key 'api_key_file'")
    secret = option_table.secret(options.api_secret_file, where="paypay: key 'api_secret_file'")
    return PayPayTerminal(PayPayApi(options, Signer(key, secret)), options)


__all__ = ["Options", "PayPayApi", "PayPayTerminal", "Signer", "connect"]
