"""A link on its way to the device: as a text file, and as a QR code that any reader reads."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hub.command import link, main
from hub.errors import HubError
from hub.link_files import QUIET_ZONE, SCALE_PX
from scanner.reading.files import decode_file
from sync.enrol import parse_link
from sync.state import Role
from tests.hubkit import fresh_database


@pytest.fixture
def url(tmp_path: Path, engine: str) -> str:
    return fresh_database(tmp_path, engine=engine)


def made(url: str, folder: Path, *, to: Path | None = None, qr: Path | None = None) -> str:
    line = link(database_url=url, key_file=folder / "hub.key", role=Role.KIOSK, label="K9", to=to, qr=qr)
    assert (line.get("to"), line.get("qr")) == (to and str(to), qr and str(qr))
    return str(line["link"])


def draw_svg(text: str, scale_px: int) -> Image.Image:
    """What a browser makes of an SVG of segno's: runs of dark modules, one row after the other."""
    side = int(re.search(r'width="(\d+)"', text)[1]) // scale_px  # type: ignore[index]
    modules = np.full((side, side), 255, np.uint8)
    x = y = 0.0
    for step, numbers in re.findall(r"([Mmh])([-\d. ]+)", re.search(r'stroke="#000" d="([^"]+)"', text)[1]):  # type: ignore[index]
        values = [float(number) for number in numbers.split()]
        match step:
            case "M":
                x, y = values
            case "m":
                x, y = x + values[0], y + values[1]
            case _:
                modules[int(y), int(x) : int(x + values[0])] = 0
                x += values[0]
    return Image.fromarray(modules).resize((side * scale_px, side * scale_px), Image.Resampling.NEAREST)


def test_the_text_file_holds_the_link_alone_for_its_owner_alone(url: str, tmp_path: Path) -> None:
    file = tmp_path / "k9.txt"
    before = os.umask(0)
    try:
        said = made(url, tmp_path, to=file)
    finally:
        os.umask(before)
    assert file.read_text() == f"{said}\n"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["png", "PNG", "svg"])
def test_the_qr_is_read_back_as_the_very_link_and_stands_in_a_wide_white_field(
    url: str, tmp_path: Path, kind: str
) -> None:
    file = shown = tmp_path / f"k9.{kind}"
    said = made(url, tmp_path, qr=file)
    assert file.stat().st_mode & 0o777 == 0o600
    if kind == "svg":
        text = file.read_text(encoding="utf-8")
        assert 'fill="#fff"' in text, "a viewer with a dark ground must not swallow the quiet zone"
        draw_svg(text, SCALE_PX).save(shown := tmp_path / "seen.png")
    assert decode_file(str(shown))["codes"] == [said]
    assert parse_link(said).hub_key
    with Image.open(shown) as picture:
        ink = np.argwhere(np.asarray(picture.convert("L")) < 128)
        assert ink.min() == QUIET_ZONE * SCALE_PX
        assert ink.max() == picture.width - QUIET_ZONE * SCALE_PX - 1
    assert QUIET_ZONE > 4, "the standard's own is 4"


def test_a_link_that_has_nowhere_to_go_is_not_made_and_leaves_nothing(url: str, tmp_path: Path) -> None:
    (there := tmp_path / "there.txt").write_text("somebody's")
    long = "http://" + "h" * 3000
    for files, base, said in (
        ({"to": there}, "http://127.0.0.1:1", r"--to .*there\.txt: is there already"),
        ({"to": tmp_path / "none/k9.txt"}, "http://127.0.0.1:1", r"--to .*k9\.txt: cannot be written \(No such file"),
        ({"qr": tmp_path / "k9.pdf"}, "http://127.0.0.1:1", r"--qr .*k9\.pdf: FILE\.png or FILE\.svg is expected"),
        (
            {"to": tmp_path / "a.png", "qr": tmp_path / "a.png"},
            "http://127.0.0.1:1",
            r"--qr .*a\.png: is there already",
        ),
        ({"to": tmp_path / "a.txt", "qr": tmp_path / "a.png"}, long, r"--qr .*a\.png: no QR code holds a link of \d+"),
    ):
        with pytest.raises(HubError, match=said):
            link(database_url=url, key_file=tmp_path / "k", role=Role.KIOSK, label="K9", base_url=base, **files)
    assert there.read_text() == "somebody's"
    assert not {path.name for path in tmp_path.iterdir()} & {"k9.txt", "k9.pdf", "a.png"}
    assert not (tmp_path / "a.txt").exists()


def test_the_module_takes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = fresh_database(tmp_path)
    call = ["link", "--database", url, "--role", "kiosk", "--label", "K", "--to", f"{tmp_path}/k.txt"]
    assert main([*call, "--qr", f"{tmp_path}/k.svg"]) == 0
    assert (tmp_path / "k.txt").read_text().strip() in capsys.readouterr().out
    assert (tmp_path / "k.svg").exists()
    assert main(call) == 2
    assert "is there already" in capsys.readouterr().err
