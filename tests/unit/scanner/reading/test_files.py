"""`kaisatsu decode`: a line a picture, whatever the file is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from reading_codes import TICKET, qr, scene

from scanner.reading.errors import PictureUnreadableError
from scanner.reading.files import decode_file
from scanner.reading.picture import load_picture


def save(path: Path, picture: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path


def test_a_picture_with_a_code(tmp_path: Path) -> None:
    path = save(tmp_path / "a ticket #1.png", scene(qr(TICKET)))
    line = decode_file(str(path))
    assert line["file"] == str(path)
    assert line["codes"] == [TICKET]
    assert line["ms"] > 0
    assert "error" not in line


def test_the_file_is_named_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x.png", qr(TICKET))
    monkeypatch.chdir(tmp_path)
    assert decode_file("./x.png")["file"] == "./x.png"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"not a picture at all", "no picture"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "no picture")],
)
def test_a_file_that_is_no_picture_says_so_in_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    line = decode_file(str(path))
    assert line["codes"] == []
    assert says in line["error"]
    assert "\n" not in line["error"]


def test_no_code_no_file_no_permission(tmp_path: Path) -> None:
    assert "no QR code" in decode_file(str(save(tmp_path / "blank.png", np.full((100, 100), 255, np.uint8))))["error"]
    assert "No such file" in decode_file(str(tmp_path / "gone.png"))["error"]
    assert decode_file(str(tmp_path))["codes"] == []


def test_a_torn_picture_is_read_or_refused_but_never_breaks(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.png", scene(qr(TICKET))).read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 25)):
        torn = tmp_path / "torn.png"
        torn.write_bytes(whole[:size])
        line = decode_file(str(torn))
        assert line["codes"] in ([], [TICKET])
        assert bool(line["codes"]) != ("error" in line)


def test_transparent_is_white(tmp_path: Path) -> None:
    code = qr(TICKET)
    picture = np.zeros((*code.shape, 4), np.uint8)
    picture[:, :, 3] = 255 - code  # black ink, transparent paper
    assert decode_file(str(save(tmp_path / "clear.png", picture)))["codes"] == [TICKET]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif", ".pgm"])
def test_common_formats(tmp_path: Path, suffix: str) -> None:
    assert decode_file(str(save(tmp_path / f"x{suffix}", qr(TICKET, scale=6))))["codes"] == [TICKET]


def test_sixteen_bits(tmp_path: Path) -> None:
    path = save(tmp_path / "deep.png", qr(TICKET).astype(np.uint16) * 257)
    assert decode_file(str(path))["codes"] == [TICKET]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A few bytes that claim 60 000 x 60 000 pixels. In a process of its own, so that its memory can be measured."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    bomb = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    program = (
        "import json, resource, sys; from scanner.reading.files import decode_file;"
        "print(json.dumps([decode_file(sys.argv[1]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(bomb)], capture_output=True, text=True, check=True)
    line, rss_kb = json.loads(done.stdout)
    assert line["codes"] == []
    assert "damaged or too large" in line["error"] or "no picture" in line["error"]
    assert rss_kb < 400_000


def test_load_picture_says_why(tmp_path: Path) -> None:
    with pytest.raises(PictureUnreadableError, match="cannot be read"):
        load_picture(tmp_path / "none.png")
