"""Where the demo's windows stand: on any display they fit, do not overlap, and keep the shape of their panels."""

from __future__ import annotations

import pytest

from script.story.table.places import TITLE_PX, Area, arrange


@pytest.mark.parametrize(
    "size", [(1024, 600), (1280, 720), (1280, 800), (1366, 768), (1920, 1080), (2560, 1440), (3840, 2160), (1080, 1920)]
)
@pytest.mark.parametrize("corner", [(0, 0), (70, 27)])
def test_three_windows_side_by_side(size, corner):
    area = Area(*corner, *size)
    places = arrange(area)
    left = area.left
    for window in (places.kiosk, places.table, places.gate):
        assert window.left >= left
        assert window.top >= area.top + TITLE_PX
        assert window.top + window.height <= area.top + area.height
        left = window.left + window.width
    assert left <= area.left + area.width
    for window in (places.kiosk, places.gate):
        assert window.width / window.height == pytest.approx(9 / 16, abs=0.003)


def test_what_nobody_could_read_is_said_in_one_line():
    with pytest.raises(ValueError, match=r"640x480 is too small for three windows; 1024x600 is enough"):
        arrange(Area(0, 0, 640, 480))
