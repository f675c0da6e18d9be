"""The catalogues: every key in every language, in the same shape, compiled, and drawable."""

import ast
import re

import pytest
from babel.messages.pofile import read_po

from kiosk import locale
from kiosk.visit.event import DeclineReason, PaymentStage
from kiosk.visit.framing import OWN_NAMES
from kiosk.visit.route import PaymentNotice
from kiosk.visit.situation import BlockReason, Tender, TenderTrouble
from tickets.language import Language

LANGUAGES = locale.languages()
KEY = re.compile(r"^[a-z_]+(\.[a-z_0-9]+)+$")
FIELD = re.compile(r"{(\w+)}")


def catalogue(language):
    with (locale.FOLDER / str(language) / "LC_MESSAGES" / "kiosk.po").open("rb") as po:
        return read_po(po, locale=str(language), abort_invalid=True)


def messages(language):
    return {
        (message.id if isinstance(message.id, str) else message.id[0]): message
        for message in catalogue(language)
        if message.id
    }


def keys_in_code():
    """Every text in kiosk/visit that reads like a key, and those made of a key and a value."""
    found = set()
    for source in (locale.FOLDER.parent / "visit").glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and KEY.match(node.value):
                found.add(node.value)
    found -= {name for name in found if name.startswith(("kiosk.", "tickets."))}
    found -= {"pay.", "slot.", "product.", "language.", "receipt.yes", "receipt.no"} - messages(Language.JA).keys()
    for stage in PaymentStage:
        found |= {f"paying.{stage}", f"paying.{stage}.text", f"paying.{stage}.bold", f"paying.{stage}.status"}
    for notice in PaymentNotice:
        found |= {f"notice.{notice}", f"notice.{notice}.text"}
    for reason in BlockReason:
        found |= {f"blocked.{reason}", f"blocked.{reason}.text"}
    for tender in Tender:
        found |= {f"tender.{tender}", f"tender.{tender}.note"}
    for trouble in TenderTrouble:
        found |= {f"trouble.{trouble}", f"trouble.{trouble}.since"}
    found |= {f"station.{name}" for name in ("ticket", "time", "people", "check", "pay")}
    found |= {f"month.{month}" for month in range(1, 13)} | {f"weekday.{day}" for day in range(7)}
    assert len(DeclineReason) + 1 == len(PaymentNotice)
    return found


def test_japanese_and_english_are_there():
    assert LANGUAGES[:2] == (Language.JA, Language.EN)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_used_is_in_the_catalogue_and_every_message_is_used(language):
    there = messages(language).keys()
    assert keys_in_code() - there == set()
    assert there - keys_in_code() == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_says_something_and_fills_in_the_same(language):
    for key, message in messages(language).items():
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        first = messages(Language.JA)[key].string
        wanted = set(FIELD.findall(first if isinstance(first, str) else first[0]))
        for text in texts:
            assert text, key
            if not key.startswith("date."):
                assert set(FIELD.findall(text)) <= wanted, key
        assert bool(message.pluralizable) == bool(messages(Language.JA)[key].pluralizable), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_that_of_the_source(language):
    words = locale.words(language)
    for key, message in messages(language).items():
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        for n, text in zip((1, 2), texts, strict=False):
            fields = dict.fromkeys(FIELD.findall(text), "7")
            said = words.count(key, n, **{**fields, "n": n}) if message.pluralizable else words(key, **fields)
            assert said == text.format(**(fields | ({"n": n} if message.pluralizable else {}))), (
                "run: python -m kiosk.locale"
            )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tone_is_polite_and_calm(language):
    for key, message in messages(language).items():
        text = str(message.string)
        assert "!" not in text, key
        assert "！" not in text, key
        assert "エラー" not in text, key
        assert "error" not in text.lower(), key


def test_every_letter_has_a_glyph_in_the_font():
    from PIL import ImageFont

    letters = {
        letter for language in LANGUAGES for message in messages(language).values() for letter in str(message.string)
    }
    letters |= set("".join(OWN_NAMES.values()) + "0123456789,.:¥円枚〇△×※％（）〜／")
    letters -= set("\n\\u200b\u200b") | {"\\"}
    for weight in ("Regular", "Bold"):
        path = f"/usr/share/fonts/opentype/noto/NotoSansCJK-{weight}.ttc"
        font = ImageFont.truetype(path, 24, index=0)
        missing = bytes(font.getmask("\U0010fffe"))
        lost = [letter for letter in sorted(letters) if letter.strip() and bytes(font.getmask(letter)) == missing]
        assert lost == []
