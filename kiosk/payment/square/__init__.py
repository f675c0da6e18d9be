"""Square Terminal over the internet: cards with a hold, FeliCa e-money and QR final on approval.

    options     settings of one terminal
    api         the REST calls as values (over kiosk.payment.https)
    judge       what a checkout and its payments prove; pure
    driver      SquareTerminal: the payment contract
    totals      the day's sums

`connect(Options(...))` or `connect({"access_token_file": ..., ...})` is all a caller needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kiosk.payment import option_table
from kiosk.payment.contract import Terminal
from kiosk.payment.square.api import SquareApi
from kiosk.payment.square.driver import SquareTerminal
from kiosk.payment.square.options import Options


def connect(settings: Options | Mapping[str, Any]) -> Terminal:
    """The terminal of these settings. Reads the access token; opens no line yet. Raises ValueError, one line."""
    options = settings if isinstance(settings, Options) else option_table.read(settings, Options, where="square")
    token = option_table.secret(options.access_token_file, where="square: key 'access_token_file'")
    return SquareTerminal(SquareApi(options, token), options)


__all__ = ["Options", "SquareApi", "SquareTerminal", "connect"]
