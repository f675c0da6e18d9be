"""Every screen, in every language, on both panels: drawn, kept as a picture, and measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tickets.look import COLOURS, MARK_CONTRAST_MIN, MARK_PAIRS, TARGET_MM_MIN, TEXT_CONTRAST_MIN, TEXT_PAIRS, contrast

pytestmark = pytest.mark.screen

ROOT = Path(__file__).parents[3]
PANELS = ("1080x1920", "1280x800")
LANGUAGES = ("ja", "en")
REACH_MM = 190.0
ROUNDING_MM = 0.3


def ran(*arguments):
    """What a window of its own process said."""
    environment = {**os.environ, "SDL_VIDEODRIVER": "offscreen", "LIBGL_ALWAYS_SOFTWARE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=[(panel, language) for panel in PANELS for language in LANGUAGES], ids="-".join)
def drawn(request, tmp_path_factory):
    """(panel, what was measured, folder of the pictures)."""
    panel, language = request.param
    kept = os.environ.get("KAISATSU_PICTURES")
    out = Path(kept) / f"{panel}-{language}" if kept else tmp_path_factory.mktemp(f"{panel}-{language}")
    out.mkdir(parents=True, exist_ok=True)
    return panel, ran("tests.screen.kiosk.drawn", panel, language, str(out)), out


def test_every_kind_of_screen_was_drawn(drawn):
    _, screens, out = drawn
    assert {screen["screen"] for screen in screens} == {
        "attract", "products", "slots", "people", "basket", "change", "method", "paying", "printing", "take", "thanks",
        "claim", "blocked",
    }  # fmt: skip
    for screen in screens:
        assert (out / f"{screen['name']}.png").stat().st_size > 8_000
        assert screen["colours"] > 20, screen["name"]
        assert screen["texts"] >= 5, screen["name"]


def test_no_text_is_cut_off(drawn):
    _, screens, _ = drawn
    assert {screen["name"]: screen["overflow"] for screen in screens if screen["overflow"]} == {}
    assert {screen["name"]: screen["outside"] for screen in screens if screen["outside"]} == {}


def test_the_smallest_type_can_be_read(drawn):
    _, screens, _ = drawn
    assert min(screen["smallest_mm"] for screen in screens) >= 6.6


def test_whatever_can_be_touched_is_large_enough(drawn):
    _, screens, _ = drawn
    small = {
        (screen["name"], name): (width, height)
        for screen in screens
        for name, (width, height, _, _) in screen["targets"].items()
        if min(width, height) < TARGET_MM_MIN - ROUNDING_MM
    }
    assert small == {}


def test_nothing_to_touch_lies_above_the_reach_of_a_wheelchair(drawn):
    panel, screens, _ = drawn
    if panel != "1080x1920":
        pytest.skip("everything is within 14 cm")
    high = {
        (screen["name"], name): top
        for screen in screens
        for name, (_, _, top, _) in screen["targets"].items()
        if top < REACH_MM - ROUNDING_MM
    }
    assert high == {}


def test_one_yellow_a_screen(drawn):
    _, screens, _ = drawn
    assert {screen["name"]: screen["yellow"] for screen in screens if len(screen["yellow"]) > 1} == {}


def test_staff_can_be_called_on_every_screen(drawn):
    _, screens, _ = drawn
    without = [
        screen["name"]
        for screen in screens
        if not screen["targets"].get("staff", [0, 0, 0, False])[3] and "continue" not in screen["targets"]
    ]
    # A kiosk that has never had a catalogue belongs to no venue yet: nobody could come.
    assert [name for name in without if name not in {"blocked-starting", "blocked-no_catalogue"}] == []


@pytest.mark.parametrize("pair", TEXT_PAIRS, ids="-on-".join)
def test_text_has_contrast(pair):
    assert contrast(*pair) >= TEXT_CONTRAST_MIN


@pytest.mark.parametrize("pair", MARK_PAIRS, ids="-on-".join)
def test_marks_have_contrast(pair):
    assert contrast(*pair) >= MARK_CONTRAST_MIN


def test_every_colour_used_is_a_token():
    """No colour of its own in a layout: what a venue's theme cannot reach, it cannot keep readable."""
    for rules in (ROOT / "kiosk" / "screens").glob("*.kv"):
        text = rules.read_text(encoding="utf-8")
        assert "rgba" not in text
        assert "#" not in "".join(line for line in text.splitlines() if not line.strip().startswith("#")), rules.name
    assert "yama" in COLOURS


@pytest.mark.parametrize("panel", PANELS)
def test_touches_buy_tickets(panel, tmp_path):
    """The story of the demo, by touches on a real window, each key found by its name in the file the kiosk writes."""
    said = ran("tests.screen.kiosk.touched", panel, str(tmp_path))
    assert said["total"] == 7_500
    assert said["tickets"] == 13
    assert said["language"] == "en", "the tickets speak the language chosen last"
    assert said["seen"][:5] == [
        "attract:language.ja", "products:product.admission", "people:plus.1", "people:plus.2", "people:next",
    ]  # fmt: skip
    assert said["seen"][-1] == "attract"
    assert "printing" in said["seen"]
    assert said["asked"] == ["CallStaff", "BeginPayment", "PrintReceipt", "ClearGuest"]
    assert said["left"] == "ja"
    assert said["stopped"]
