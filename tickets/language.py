"""The guest's languages and their numbers in the ticket code. A number is never reused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Language(StrEnum):
    """BCP 47 tags."""

    JA = "ja"
    EN = "en"
    ZH_HANS = "zh-Hans"
    ZH_HANT = "zh-Hant"
    KO = "ko"


NUMBERS: Mapping[Language, int] = {
    Language.JA: 0,
    Language.EN: 1,
    Language.ZH_HANS: 2,
    Language.ZH_HANT: 3,
    Language.KO: 4,
}
_BY_NUMBER = {number: language for language, number in NUMBERS.items()}


def from_number(number: int) -> Language:
    """The language of a code; Japanese for a number this version does not know, because a gate must still speak."""
    return _BY_NUMBER.get(number, Language.JA)


Texts = Mapping[str, str]
"""One text in several languages, keyed by tag. `ja` is always there."""


def text_in(texts: Texts, language: Language | str) -> str:
    """The text in `language`, else English, else Japanese."""
    return texts.get(str(language)) or texts.get("en") or texts["ja"]
