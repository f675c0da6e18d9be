"""How facts are written on paper: money, days, times, people, in Japanese and in English.

Paper speaks Japanese first, because gates and desks read it; under it stands English for a guest who chose another language.
"""

from __future__ import annotations

from datetime import date, datetime, time

from tickets.language import Texts, text_in
from tickets.money import Money

REDUCED_RATE_BP = 800
"""軽減税率: 8 %. Lines at this rate carry ※ (消費税法 57 条の 4; by custom ※ with a note)."""

REDUCED_MARK = "※"
_WEEKDAYS_JA = "月火水木金土日"
_WEEKDAYS_EN = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS_EN = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SIGNS = {"JPY": "¥", "EUR": "€", "USD": "$", "KRW": "₩"}


def other(texts: Texts, lang: str) -> str:
    """The English line of a text for a guest whose language is not Japanese; empty where there is none or it says the same."""
    if lang == "ja":
        return ""
    english = text_in(texts, "en")
    return "" if english == texts["ja"] else english


def _digits(money: Money) -> str:
    whole, rest = divmod(abs(money.minor), 10**money.exponent)
    return f"{whole:,}" + (f".{rest:0{money.exponent}d}" if money.exponent else "")


def signed(money: Money) -> str:
    """¥3,600; on receipts and in English."""
    return ("-" if money.minor < 0 else "") + _SIGNS[money.currency] + _digits(money)


def yen(money: Money) -> str:
    """3,600円; other currencies with their sign in front."""
    if money.currency != "JPY":
        return signed(money)
    return ("-" if money.minor < 0 else "") + _digits(money) + "円"


def clock(at: time | datetime) -> str:
    return f"{at.hour}:{at.minute:02d}"


def day_ja(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"


def weekday_ja(day: date, *, holiday: bool = False) -> str:
    return f"（{_WEEKDAYS_JA[day.weekday()]}{'・祝' if holiday else ''}）"


def day_en(day: date) -> str:
    return f"{_WEEKDAYS_EN[day.weekday()]}, {_MONTHS_EN[day.month - 1]} {day.day}, {day.year}"


def stamp(at: datetime) -> str:
    """2026年11月23日（月）10:24"""
    return f"{day_ja(at)}{weekday_ja(at)}{clock(at)}"


def short_stamp(at: datetime) -> str:
    return f"{at.month}/{at.day} {clock(at)}"


def percent(rate_bp: int) -> str:
    return f"{rate_bp // 100}%" if rate_bp % 100 == 0 else f"{rate_bp / 100:g}%"
