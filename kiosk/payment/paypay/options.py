"""How one line to PayPay is set up. Values only; key and secret stay in files of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kiosk.payment.https import check_base_url


@dataclass(frozen=True, slots=True)
class Options:
    """`merchant_id` is the merchant that the key acts for. `store_id`, `terminal_id`: the merchant's own names, may be empty.

    `poll_s`: PayPay asks for 4 to 5 s between two questions. `code_life_s`: how long a code can be paid when nobody deletes it;
    after a restart it takes that and `grace_s` until an unpaid code is called so.
    """

    api_key_file: Path
    api_secret_file: Path
    merchant_id: str
    base_url: str = "https://apigw.paypay.ne.jp"
    store_id: str = ""
    terminal_id: str = ""
    description: str = "Tickets"
    poll_s: float = 4.5
    connect_s: float = 5.0
    answer_s: float = 30.0
    cancel_s: float = 30.0
    confirm_s: float = 30.0
    code_life_s: float = 300.0
    grace_s: float = 60.0

    def __post_init__(self) -> None:
        check_base_url(self.base_url)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.merchant_id):
            raise ValueError("key 'merchant_id': 1 to 64 letters, digits, - and _ are allowed")
        for name in ("store_id", "terminal_id", "description"):
            if len(getattr(self, name)) > 255 or not getattr(self, name).isprintable():
                raise ValueError(f"key '{name}': up to 255 printable characters are allowed")
        for name in ("poll_s", "connect_s", "answer_s", "cancel_s", "confirm_s", "code_life_s", "grace_s"):
            if not 0 < getattr(self, name) <= 86_400:
                raise ValueError(f"key '{name}': more than 0 seconds and at most a day is allowed")
