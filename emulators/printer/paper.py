"""The paper: rows of dots between the roll and the cutter, and a PNG for each piece that falls.

The cutter stands some way above the head, as in every real printer: a cut without feeding leaves the last rows on
the paper, where they head the next piece, and each piece begins with that much blank paper.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from emulators.printer.glyphs import Dots


class Paper:
    """What hangs in the printer now. Pieces are numbered as they fall: ticket-0001.png, torn-0001.png, ..."""

    def __init__(self, out: Path, *, width_dots: int, gap_dots: int) -> None:
        self._out = out
        self._width_dots = width_dots
        self._gap_dots = gap_dots
        self.cuts = 0
        self._torn = 0
        self._inked = False
        self._rows: list[Dots] = []
        self.fresh()

    def fresh(self) -> None:
        """A new roll, or new paper edge: blank from head to cutter."""
        self._rows = [self._blank(self._gap_dots)]
        self._inked = False

    def _blank(self, rows: int) -> Dots:
        return np.zeros((rows, self._width_dots), dtype=bool)

    def add(self, rows: Dots) -> None:
        assert rows.shape[1] == self._width_dots, rows.shape
        self._rows.append(rows)
        self._inked = self._inked or bool(rows.any())

    def cut(self) -> tuple[Path, int]:
        """Cut at the cutter; what stands between head and cutter stays. The picture's path and length in dots."""
        whole = np.concatenate(self._rows)
        at = max(0, len(whole) - self._gap_dots)
        piece, rest = whole[:at], whole[at:]
        self._rows = [rest]
        self._inked = bool(rest.any())
        self.cuts += 1
        return self._save(f"ticket-{self.cuts:04d}.png", piece), at

    def tear(self) -> tuple[Path, int] | None:
        """Pull out what hangs in the printer, printed on or not at all (then None), down to the head."""
        if not self._inked:
            return None
        whole = np.concatenate(self._rows)
        self._torn += 1
        self.fresh()
        return self._save(f"torn-{self._torn:04d}.png", whole), len(whole)

    def _save(self, name: str, piece: Dots) -> Path:
        path = self._out / name
        # A piece of no length (two cuts in one place) still shows as one row: a PNG must have one.
        shown = piece if len(piece) else self._blank(1)
        ink = np.packbits(~shown, axis=1).tobytes()
        part = path.with_suffix(".part")
        Image.frombytes("1", (self._width_dots, len(shown)), ink).save(part, format="PNG")
        part.rename(path)  # a watcher of the folder sees whole pictures only
        return path
