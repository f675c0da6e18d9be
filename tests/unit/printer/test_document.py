"""Documents: what is stored is what was meant, and what means nothing is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printer import templates
from printer.document import (
    Box,
    Cell,
    Cut,
    CutKind,
    Document,
    Feed,
    Image,
    Mark,
    Qr,
    Reissue,
    Row,
    Run,
    Size,
    Text,
    from_json,
    reissued,
    to_json,
)
from printer.errors import DocumentError
from printer.templates import ClaimKind
from tests.unit.printer import papers

ALL = [
    papers.ticket(),
    papers.ticket(lang="en", slot=False, people=3),
    papers.coupon(),
    papers.coupon(lang="en"),
    papers.goods(),
    papers.goods(lang="en"),
    papers.receipt(),
    papers.receipt(lang="en", copy=2),
    papers.claim(),
    papers.claim(lang="en", kind=ClaimKind.TICKETS_OWED),
]


@pytest.mark.parametrize("paper", ALL, ids=lambda paper: f"{type(paper).__name__}-{paper.lang}")
def test_every_paper_survives_the_journal(paper: templates.Paper) -> None:
    document = templates.document(paper)
    stored = to_json(document)
    assert from_json(stored) == document
    assert to_json(from_json(stored)) == stored
    assert "\n" not in stored


PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Co", "Cn", "Zl", "Zp")), max_size=30)


@given(PRINTABLE, st.sampled_from(list(Size)), st.booleans(), st.integers(0, 20))
def test_any_text_survives(words: str, size: Size, bold: bool, spacing: int) -> None:
    document = Document("ticket", "x", "ja", (Text((Run(words, size, bold, spacing),)), Mark()))
    assert from_json(to_json(document)) == document


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"v": 2, "kind": "t", "id": "i", "lang": "ja", "blocks": []}',
        '{"v": 1, "kind": "t", "id": 7, "lang": "ja", "blocks": []}',
        '{"v": 1, "kind": "t", "id": "i", "lang": "ja", "blocks": [{"t": "video"}]}',
        '{"v": 1, "kind": "t", "id": "i", "lang": "ja", "blocks": [{"t": "feed", "dots": "9"}]}',
        '{"v": 1, "kind": "t", "id": "i", "lang": "ja", "blocks": [{"t": "feed", "dots": 9, "more": 1}]}',
        '{"v": 1, "kind": "t", "id": "i", "lang": "ja", "blocks": [{"t": "image", "width": 8, "height": 2, "bits": "AA=="}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        from_json(text)


def test_control_characters_never_reach_a_printer() -> None:
    for character in "\n\x1b\x10\x00\u2028":
        with pytest.raises(DocumentError):
            Run(f"a{character}b")


def test_one_paper_is_one_document() -> None:
    feed, cut, mark = Feed(1), Cut(CutKind.PARTIAL), Mark()
    assert Document("t", "i", "ja", (feed, cut, mark)).cut is CutKind.PARTIAL
    assert Document("t", "i", "ja", (feed, mark)).cut is None
    for blocks in ((cut, feed, mark), (feed, mark, cut), (cut, cut, mark), (Box((cut,)), mark)):
        with pytest.raises(DocumentError):
            Document("t", "i", "ja", blocks)


def test_reissued_marks_every_slot_and_keeps_the_code() -> None:
    document = Document("t", "i", "ja", (Reissue(), Row((Cell((Reissue(), Qr("T1:A"))),)), Mark()))
    marked = reissued(document, count=2)
    assert to_json(marked).count('"count":2') == 2
    assert marked.codes() == document.codes()
    assert marked.id == document.id


def test_too_many_blocks() -> None:
    with pytest.raises(DocumentError):
        Document("t", "i", "ja", tuple(Feed(1) for _ in range(401)))


def test_an_image_has_all_its_bits() -> None:
    with pytest.raises(DocumentError):
        Image(9, 2, b"\0\0\0")
    Image(9, 2, bytes(4))


def test_defaults_are_left_out() -> None:
    assert json.loads(to_json(Document("t", "i", "ja", (Text((Run("a"),)), Mark()))))["blocks"] == [
        {"t": "text", "runs": [{"text": "a"}]},
        {"t": "mark"},
    ]
