"""Compile every .po beside this file to .mo: `python -m kiosk.locale`. Run after a message changes; needs Babel."""

from __future__ import annotations

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from kiosk.locale import DOMAIN, FOLDER


def compile_all() -> None:
    for source in sorted(FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.po")):
        with source.open("rb") as po:
            catalogue = read_po(po, locale=source.parts[-3].replace("-", "_"), abort_invalid=True)
        with source.with_suffix(".mo").open("wb") as mo:
            write_mo(mo, catalogue)


if __name__ == "__main__":
    compile_all()
