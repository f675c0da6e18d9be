"""Asked before anyone pays: can the printer be told all of these papers?"""

from __future__ import annotations

import time

import pytest

from printer import encode, profile, templates
from printer.document import Cell, Document, DocumentError, Image, Mark, Qr, Reissue, Row, Run, Size, Text
from printer.encode import canvas, native, qr, raster
from printer.errors import EncodeError, LayoutError
from tests.unit.printer import papers

SHIPPED = [profile.load(file.stem) for file in sorted(profile.SHIPPED.glob("*.toml"))]
SERIAL = profile.load("generic-80-serial")
WIDE = profile.load("generic-80")


def sale(lang: str) -> list[Document]:
    tickets = [templates.document(papers.ticket(number, lang=lang)) for number in (1, 2, 3)]
    return tickets + [templates.document(papers.coupon(part, lang=lang)) for part in range(1, 11)]


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.name)
def test_every_paper_fits_every_printer(kind: profile.Profile, lang: str) -> None:
    others = (papers.goods(lang=lang), papers.receipt(lang=lang), papers.claim(lang=lang))
    encode.check([*sale(lang), *(templates.document(paper) for paper in others)], kind)


@pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.name)
def test_what_cannot_be_printed_is_named(kind: profile.Profile) -> None:
    good = templates.document(papers.ticket())
    for block in (Qr("A" * 900), Image(1000, 1, bytes(125)), Text((Run("あ" * 60_000),))):
        bad = Document("ticket", "ticket-7", "ja", (block, Mark()))
        with pytest.raises((LayoutError, EncodeError), match=r"'ticket-7'"):
            encode.check([good, bad], kind)
        with pytest.raises((LayoutError, EncodeError)):
            encode.encode(bad, kind, process_id="0001")


def test_what_fits_once_but_not_as_a_reissue_is_not_sold() -> None:
    """The roll may end within it, and then it must come out again, marked."""
    tall = tuple(Text((Run("あ"),)) for _ in range(12_000 // canvas.RasterMetrics.of(WIDE).height(Size.BODY)))
    document = Document("ticket", "tall", "ja", (*tall, Reissue(), Mark()))
    encode.encode(document, WIDE, process_id="0001")
    with pytest.raises(LayoutError, match=r"'tall'.*dots high"):
        encode.check([document], WIDE)


def test_graphics_beside_text_in_the_printers_own_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout never makes such a page; if it did, it would be said before anyone pays, and not by the spool after it."""
    row = Row((Cell((Text((Run("a"),)),)), Cell((Image(8, 1, b"\xff"),))))
    document = Document("ticket", "mixed", "ja", (row, Mark()))
    monkeypatch.setattr("printer.layout._needs_graphics", lambda _blocks: False)
    monkeypatch.setattr("printer.encode.native._lines", lambda boxes: [(0, list(boxes))])
    with pytest.raises(EncodeError, match=r"'mixed'.*on one line"):
        encode.check([document], SERIAL)
    with pytest.raises(EncodeError, match=r"on one line"):
        native.encode(document, SERIAL, process_id="0001")


def test_a_missing_font_is_said_before_anyone_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise OSError("cannot open resource")

    monkeypatch.setattr(canvas.ImageFont, "truetype", missing)  # Pillow would find the font by its name elsewhere
    canvas.glyph.cache_clear()
    canvas._face.cache_clear()
    for kind, text in ((WIDE, "plain words never set before"), (SERIAL, "한국어 never set before")):
        document = Document("ticket", "no-font", "ja", (Text((Run(text),)), Mark()))
        with pytest.raises(EncodeError, match=r"'no-font'.*fonts-noto-cjk"):
            encode.check([document], kind)


def test_a_code_outside_ascii_is_no_document() -> None:
    with pytest.raises(DocumentError, match=r"ASCII"):
        Qr("T1:é")


def test_nothing_is_drawn_and_it_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processor time, because a guest's finger waits for it; the first time in a process opens the fonts."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("drawn")

    for place in (canvas, raster):
        monkeypatch.setattr(place, "draw", never)
    monkeypatch.setattr(qr, "modules", never)
    documents = sale("en")
    encode.check(sale("ja"), WIDE)
    times = []
    for _ in range(3):
        started = time.process_time()
        encode.check(documents, WIDE)
        times.append(time.process_time() - started)
    assert min(times) <= 0.050


@pytest.mark.parametrize("length", [1, 14, 16, 90, 152, 154, 177, 900, 2331])
def test_modules_a_side_are_those_of_the_symbol(length: int) -> None:
    for text in ("A" * length, "a" * (length * 2 // 3 + 1), "1" * length):
        assert qr.side(text) == len(qr.modules(text))
    with pytest.raises(EncodeError):
        qr.side("A" * 3392)
