"""What the kiosk says, in gettext catalogues: `<language>/LC_MESSAGES/kiosk.po`, compiled to .mo by `python -m kiosk.locale`.

Message ids are keys (`people.question`), the same in every language; a key that a catalogue lacks is a defect that a test finds.
Line breaks are part of a message: a sentence breaks where a person would breathe, and a screen never wraps.
"""

from __future__ import annotations

import gettext
from functools import cache
from pathlib import Path
from typing import Final

from tickets.language import Language

FOLDER: Final = Path(__file__).parent
DOMAIN: Final = "kiosk"


class Words:
    """The messages of one language."""

    def __init__(self, language: Language, catalogue: gettext.NullTranslations) -> None:
        self.language = language
        self._catalogue = catalogue

    def __call__(self, key: str, **values: object) -> str:
        """The message of `key` with `{name}` filled in."""
        return self._catalogue.gettext(key).format(**values)

    def count(self, key: str, n: int, /, **values: object) -> str:
        """The message of `key` for `n` things, in the form the language has for that number."""
        return self._catalogue.ngettext(key, key, n).format(**{"n": n, **values})


@cache
def words(language: Language) -> Words:
    """The messages of `language`. FileNotFoundError where it has no catalogue."""
    return Words(language, gettext.translation(DOMAIN, str(FOLDER), [str(language)]))


def languages() -> tuple[Language, ...]:
    """The languages that have a catalogue, Japanese first."""
    return tuple(language for language in Language if _mo(language).exists())


def _mo(language: Language) -> Path:
    return FOLDER / str(language) / "LC_MESSAGES" / f"{DOMAIN}.mo"
