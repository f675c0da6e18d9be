"""Every face of the gate at both sizes, drawn by the real code with real GL, then measured as staff would.

The pictures are kept (`out/screens/gate/` in the working folder, or where KAISATSU_PICTURES says): look at them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tickets.look import (
    COLOURS,
    GATE_PANELS,
    GATE_TYPE_EM_MM,
    SHAPE_MM_MIN,
    TARGET_MM_MIN,
    WORD_MM_MIN,
    Panel,
    contrast,
)

pytestmark = pytest.mark.screen

HERE = Path(__file__).parent
PICTURES = Path(os.environ.get("KAISATSU_PICTURES", HERE.parents[2] / "out" / "screens")) / "gate"

Report = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=GATE_PANELS, ids=lambda panel: panel.name)
def drawn(request: pytest.FixtureRequest) -> tuple[Panel, Path, Report]:
    panel: Panel = request.param
    out = PICTURES / panel.name
    done = subprocess.run(
        [sys.executable, str(HERE / "draw.py"), str(panel.width_px), str(panel.height_px), str(out)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "SDL_VIDEODRIVER": "offscreen", "LIBGL_ALWAYS_SOFTWARE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return panel, out, json.loads((out / "report.json").read_text())


def expected_colours(sample: dict[str, Any]) -> set[str]:
    match sample["verdict"], sample["reason"]:
        case "admit", _:
            return {"matsu"}
        case "admit_again", _:
            return {"sora"}
        case "attention", _:
            return {"matsu", "yama"}
        case "choose", _:
            return {"yama", "paper"}
        case "refuse", "forged":
            return {"sumi"}
        case "refuse", _:
            return {"shu"}
        case _:
            return {"paper"}


def rgb8(token: str) -> tuple[int, int, int]:
    value = COLOURS[token]
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def test_the_verdict_s_colour_fills_the_screen(drawn: tuple[Panel, Path, Report]) -> None:
    panel, out, report = drawn
    for name, sample in report.items():
        image = Image.open(out / f"{name}.png")
        assert image.size == (panel.width_px, panel.height_px)
        pixels = Counter({colour: count for count, colour in image.getcolors(maxcolors=1 << 20)})
        share = sum(pixels[rgb8(token)] for token in expected_colours(sample)) / (panel.width_px * panel.height_px)
        assert share > 0.3, f"{name}: {share:.0%}"
        others = {"matsu", "sora", "shu", "sumi"} - expected_colours(sample)
        for other in others:
            if sample["verdict"] not in (None, "choose"):  # ready has small marks, choose its green key
                assert pixels[rgb8(other)] == 0, f"{name} holds {other}"


def test_the_edge_of_the_screen_says_it_too(drawn: tuple[Panel, Path, Report]) -> None:
    """The frame around everything: seen from the side, over a shoulder, from across the hall."""
    _, out, report = drawn
    for name, sample in report.items():
        image = Image.open(out / f"{name}.png")
        wide, high = image.size
        ring = [image.getpixel((x, y)) for x in (0, wide - 1) for y in range(0, high, 7)]
        allowed = {rgb8(token) for token in (*expected_colours(sample), "paper", "yama")}
        if sample["verdict"] not in (None, "choose"):
            allowed -= {rgb8("paper")}
        assert sum(pixel in allowed for pixel in ring) / len(ring) > 0.97, name


def test_no_text_is_cut_off_or_leaves_its_box(drawn: tuple[Panel, Path, Report]) -> None:
    _, _, report = drawn
    for name, sample in report.items():
        for text in sample["texts"]:
            assert text["text_width_px"] <= text["box_width_px"] + 2, f"{name}: {text}"
            # A kanji's ink is 0.945 of its em; the box may be tighter than the em, never than the ink.
            assert text["text_height_px"] * 0.93 <= text["box_height_px"] + 1, f"{name}: {text}"
            if "long-name" not in name:
                assert not text["shortened"], f"{name}: {text['text']}"


def test_type_is_never_smaller_than_the_smallest(drawn: tuple[Panel, Path, Report]) -> None:
    _, _, report = drawn
    for name, sample in report.items():
        for text in sample["texts"]:
            assert text["em_mm"] >= GATE_TYPE_EM_MM["small"] * 0.72, f"{name}: {text}"


def test_a_word_is_fifteen_millimetres_high(drawn: tuple[Panel, Path, Report]) -> None:
    """All words of the catalogue, both languages, at their full size on both panels."""
    _, _, report = drawn
    for name, sample in report.items():
        if sample["verdict"] is not None:
            largest = max(text["em_mm"] for text in sample["texts"])
            assert largest * 0.945 >= WORD_MM_MIN, f"{name}: {largest}"


def test_targets_are_twenty_millimetres(drawn: tuple[Panel, Path, Report]) -> None:
    _, _, report = drawn
    seen = 0
    for name, sample in report.items():
        for key, _, width, height in sample["targets"]:
            seen += 1
            assert min(width, height) >= TARGET_MM_MIN, f"{name}: {key} {width:.1f} x {height:.1f}"
    assert seen > 40


def test_the_shape_is_forty_millimetres(drawn: tuple[Panel, Path, Report]) -> None:
    """Measured in the picture: the rows that the shape's colour covers beside (landscape) or above (portrait) the word."""
    panel, out, report = drawn
    for name in (
        "admit.ja",
        "again.ja",
        "used.ja",
        "refuse-not_today.ja",
        "refuse-wrong_gate.ja",
        "refuse-unpaid.ja",
        "refuse-unknown.ja",
    ):
        image = Image.open(out / f"{name}.png")
        px = report[name]["px_per_mm"]
        left, top, right, bottom = (10.0, 10.0, 58.0, 53.9) if panel.portrait else (4.0, 16.0, 82.0, 130.0)
        part = image.crop((int(left * px), int(top * px), int(right * px), int(bottom * px)))
        white = part.convert("L").point(lambda value: 255 if value > 220 else 0)
        box = white.getbbox()
        assert box is not None, name
        extent = max(box[2] - box[0], box[3] - box[1]) / px
        assert extent >= SHAPE_MM_MIN - 0.3, f"{name}: {extent:.1f} mm"


def test_verdicts_differ_in_grey_by_shape(drawn: tuple[Panel, Path, Report]) -> None:
    """No meaning rests on colour: the shapes of any two kinds of verdict differ where colour is taken away."""
    panel, out, _ = drawn
    names = (
        "admit.ja",
        "again.ja",
        "used.ja",
        "refuse-not_today.ja",
        "refuse-too_early.ja",
        "refuse-wrong_gate.ja",
        "refuse-unpaid.ja",
        "refuse-unknown.ja",
        "refuse-transferred.ja",
        "refuse-forged.ja",
        "proof.ja",
    )
    box = (90, 110, 630, 560) if panel.portrait else (20, 130, 480, 620)
    shapes = {}
    for name in names:
        grey = Image.open(out / f"{name}.png").crop(box).convert("L")
        low, high = grey.getextrema()
        shapes[name] = grey.point(lambda value, middle=(low + high) / 2: 255 if value > middle else 0).resize((54, 45))
    for first in names:
        for second in names:
            if first < second:
                pairs = zip(shapes[first].tobytes(), shapes[second].tobytes(), strict=True)
                differ = sum(abs(a - b) > 127 for a, b in pairs) / (54 * 45)
                same = min(differ, 1 - differ)  # light on dark is no difference of shape
                assert same > 0.06, f"{first} and {second} look alike: {same:.1%}"


def test_drawing_a_verdict_takes_less_than_a_frame(drawn: tuple[Panel, Path, Report]) -> None:
    _, _, report = drawn
    times = sorted(sample["drawn_ms"] for sample in report.values())
    assert times[len(times) // 2] < 16, times


def test_text_on_every_ground_can_be_read() -> None:
    for text, ground in (
        ("surface", "matsu"),
        ("surface", "sora"),
        ("surface", "shu"),
        ("yama", "sumi"),
        ("ink", "yama"),
        ("ink2", "surface"),
        ("ash", "sunken"),
        ("surface", "ai"),
    ):
        assert contrast(text, ground) >= 4.5
