"""The pictures that the papers are compared with. `python -m tests.unit.printer.golden` draws them anew; look at each before it is kept."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from printer import profile, templates
from printer.document import Document, reissued
from printer.encode import png
from printer.templates import ClaimKind
from tests.unit.printer import papers

DIRECTORY = Path(__file__).parent / "golden"
_PAPERS: dict[str, templates.Paper] = {
    "ticket-ja": papers.ticket(people=2),
    "ticket-en": papers.ticket(lang="en", slot=False),
    "coupon-ja": papers.coupon(),
    "coupon-en": papers.coupon(lang="en"),
    "goods-ja": papers.goods(),
    "goods-en": papers.goods(lang="en"),
    "receipt-ja": papers.receipt(),
    "receipt-en": papers.receipt(lang="en", copy=1),
    "claim-ja": papers.claim(),
    "claim-en": papers.claim(lang="en", kind=ClaimKind.TICKETS_OWED),
}
_NARROW = ("ticket-ja", "coupon-ja", "goods-ja", "goods-en", "receipt-ja", "claim-ja")
PICTURES: dict[str, tuple[templates.Paper, str]] = {
    **{f"{name}-576": (paper, "generic-80") for name, paper in _PAPERS.items()},
    **{f"{name}-512": (_PAPERS[name], "tm-t88v") for name in _NARROW},
    **{f"{name}-384": (_PAPERS[name], "generic-58") for name in _NARROW},
}


def document(name: str) -> Document:
    paper, _ = PICTURES[name]
    return reissued(templates.document(paper), count=1 if name.startswith("coupon-en") else 0)


def draw(name: str) -> Image.Image:
    return png.picture(document(name), profile.load(PICTURES[name][1]))


def main() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    for name in PICTURES:
        draw(name).save(DIRECTORY / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
