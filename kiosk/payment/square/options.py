"""How one Square Terminal is set up. Values only; the access token stays in its own file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kiosk.payment.https import check_base_url
from tickets.money import EXPONENT

FELICA = ("FELICA_ALL", "FELICA_ID", "FELICA_QUICPAY", "FELICA_TRANSPORTATION_GROUP")


@dataclass(frozen=True, slots=True)
class Options:
    """`device_id` as the Devices API pairs it, without `device:`. `holds_cards`: a card waits for our word (delayed capture),
    for `hold_minutes` at most; then Square lets go of it. `felica` is the payment type of e-money.

    `grace_s`: how long after its deadline a checkout that was never seen is still waited for. `stuck_s`: after that long a
    checkout that Square does not end is a person's. `day_begins` (HH:MM) at `utc_offset_minutes` bounds the totals.
    """

    access_token_file: Path
    location_id: str
    device_id: str
    base_url: str = "https://connect.squareup.com"
    version: str = "2026-09-16"
    currency: str = "JPY"
    holds_cards: bool = True
    hold_minutes: int = 10
    felica: str = "FELICA_ALL"
    poll_s: float = 1.0
    connect_s: float = 5.0
    answer_s: float = 10.0
    search_s: float = 10.0
    confirm_s: float = 20.0
    cancel_s: float = 30.0
    grace_s: float = 60.0
    stuck_s: float = 900.0
    day_begins: str = "05:00"
    utc_offset_minutes: int = 540

    def __post_init__(self) -> None:
        check_base_url(self.base_url)
        for name in ("location_id", "device_id"):
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", getattr(self, name)):
                raise ValueError(f"key '{name}': 1 to 64 letters, digits, - and _ are allowed")
        if self.currency not in EXPONENT:
            raise ValueError(f"key 'currency': one of {', '.join(sorted(EXPONENT))} is allowed")
        if self.felica not in FELICA:
            raise ValueError(f"key 'felica': one of {', '.join(FELICA)} is allowed")
        if not 1 <= self.hold_minutes <= 36 * 60:
            raise ValueError("key 'hold_minutes': 1 to 2160 is allowed")
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", self.day_begins):
            raise ValueError("key 'day_begins': HH:MM is allowed")
        if not -14 * 60 <= self.utc_offset_minutes <= 14 * 60:
            raise ValueError("key 'utc_offset_minutes': -840 to 840 is allowed")
        for name in ("poll_s", "connect_s", "answer_s", "search_s", "confirm_s", "cancel_s", "grace_s", "stuck_s"):
            if not 0 < getattr(self, name) <= 86_400:
                raise ValueError(f"key '{name}': more than 0 seconds and at most a day is allowed")
