"""How many photos of QR codes are read, and how fast, beside the decoders that others use.

    python -m benchmarks.photos [--quick]

The photos (64 with text) are zxing-cpp's sample images; they are not part of this repository. `KAISATSU_DATA` names the folder that holds
`qr-photos/`, else `../shared/data` beside the repository is looked at. Without them the bench says so and ends well: there is
nothing to measure, and nothing was claimed. One JSON line a figure; a peer's is `FIGURE_PEER`. `photos_read` is what
`kaisatsu decode` reads (all looks); `p50_ms` is the time until a gate has read a photo that is held up (as many looks as it takes).
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scanner.reading.decode import Cascade, Code, decode_plain, decode_zbar
from scanner.reading.files import decode_file
from scanner.reading.frame import Picture
from scanner.reading.picture import load_picture
from scanner.reading.variants import VARIANTS, grey

BENCH = "photos"
ROUNDS = 5
PICTURES = (".webp", ".png", ".jpg")


def photos(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every picture with an expected text."""
    for path in sorted(folder.rglob("*")):
        expected = path.with_suffix(".txt")
        if path.suffix in PICTURES and expected.exists():
            yield path, expected.read_bytes().decode("utf-8", "replace")


def tell(figure: str, value: float, unit: str) -> None:
    print(json.dumps({"bench": BENCH, "figure": figure, "value": round(value, 3), "unit": unit}), flush=True)


def look_until_read(picture: Picture) -> list[Code]:
    """As a gate does it while a ticket is held still: one frame after another, each looked at in one more way."""
    cascade = Cascade()
    for _ in VARIANTS:
        if codes := cascade.read(picture):
            return codes
    return decode_zbar(grey(picture))


def measure(
    pictures: list[tuple[Picture, str]], decode: Callable[[Picture], list[Code]], rounds: int
) -> tuple[int, float, float]:
    """(photos read, median and 99th percentile of ms a picture)."""
    read, times = 0, []
    for turn in range(rounds):
        for picture, expected in pictures:
            start_s = time.perf_counter()
            codes = decode(picture)
            times.append((time.perf_counter() - start_s) * 1000)
            read += turn == 0 and expected in [code.text for code in codes]
    return read, statistics.median(times), statistics.quantiles(times, n=100)[98]


def main(argv: list[str]) -> int:
    data = Path(os.environ.get("KAISATSU_DATA", Path(__file__).resolve().parents[1] / ".." / "shared" / "data"))
    found = list(photos(data / "qr-photos"))
    if not found:
        sys.stderr.write(f"{data / 'qr-photos'}: no photos there; set KAISATSU_DATA. Nothing measured.\n")
        return 1
    rounds = 1 if "--quick" in argv else ROUNDS
    pictures = [(load_picture(path), expected) for path, expected in found]
    tell("photos_total", len(found), "photos")
    tell("photos_read", sum(expected in decode_file(str(path))["codes"] for path, expected in found), "photos")
    for name, decode in (
        ("", look_until_read),
        ("_zxingcpp", lambda picture: decode_plain(grey(picture))),
        ("_pyzbar", lambda picture: decode_zbar(grey(picture))),
    ):
        read, p50, p99 = measure(pictures, decode, rounds)
        if name:
            tell(f"photos_read{name}", read, "photos")
        tell(f"p50_ms{name}", p50, "ms")
        tell(f"p99_ms{name}", p99, "ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
