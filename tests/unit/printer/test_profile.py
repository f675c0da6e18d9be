"""Profiles: what a model can do, said in one file; a wrong file is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from printer import profile
from printer.errors import ProfileError
from printer.profile import Encoding


@pytest.mark.parametrize("name", sorted(path.stem for path in profile.SHIPPED.glob("*.toml")))
def test_every_shipped_profile_loads(name: str) -> None:
    assert profile.load(name).name == name


def test_model_data_comes_from_the_database_and_own_keys_win(tmp_path: Path) -> None:
    printer = profile.load("tm-t88v")
    assert (printer.width_dots, printer.dpi, printer.cutter, printer.native_qr) == (512, 180, True, True)
    file = tmp_path / "mine.toml"
    file.write_text('base = "TM-T88V"\nwidth_dots = 420\n', encoding="utf-8")
    assert profile.load(file).width_dots == 420


def test_reading_the_database_does_not_import_the_library() -> None:
    program = "import sys; from printer import profile; profile.load('tm-t88v'); sys.exit('escpos' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_what_is_not_said_is_absent() -> None:
    plain = profile.Profile("x", 576, 203)
    assert not any((plain.process_id, plain.status, plain.asb, plain.clear, plain.kanji, plain.cutter))
    assert plain.encoding is Encoding.RASTER
    assert plain.cells == 48


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("width_dots = 576", "key 'dpi' is missing"),
        ("width_dots = 576\ndpi = 203\nspeed = 1", "unknown key 'speed'; allowed: base,"),
        ("width_dots = '576'\ndpi = 203", "key 'width_dots': int is expected, found str"),
        ("width_dots = 5\ndpi = 203", "5 is not from 256 to 1024"),
        ("width_dots = 576\ndpi = 203\nencoding = 'text'", "'text' is not one of: raster, native"),
        ("width_dots = 576\ndpi = 203\nencoding = 'native'", "native needs kanji and native_qr"),
        ("base = 'TM-T99'", "'TM-T99' is not one of"),
        ("width_dots =", "not TOML"),
    ],
)
def test_wrong_profiles(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=words) as caught:
        profile.load(file)
    assert "\n" not in str(caught.value)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="generic-80"):
        profile.load("tm-t99")
    with pytest.raises(ProfileError, match="cannot be read"):
        profile.load(tmp_path / "none.toml")
