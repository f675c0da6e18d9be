"""Kivy's environment and configuration for the table. Must run before the first other import of Kivy: it reads both once."""

from __future__ import annotations

import os
from pathlib import Path

from script.story.venue import Placed


def prepare(home: Path, place: Placed) -> None:
    """A window at `place`. Nothing is written outside `home`."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        KIVY_NO_ARGS="1",
        KIVY_NO_FILELOG="1",
        KIVY_NO_CONSOLELOG="1",
        KIVY_HOME=str(home),
    )
    os.environ.setdefault("XDG_CACHE_HOME", str(home / "cache"))
    from kivy.config import Config

    values = {
        ("kivy", "exit_on_escape"): "0",
        ("kivy", "window_icon"): "",
        ("kivy", "log_level"): "warning",
        ("input", "mouse"): "mouse,disable_multitouch",
        ("graphics", "width"): str(place.width),
        ("graphics", "height"): str(place.height),
        ("graphics", "fullscreen"): "0",
        ("graphics", "resizable"): "1",
        ("graphics", "multisamples"): "0",
        ("graphics", "maxfps"): "30",  # kiosk and gate need the machine more
        ("graphics", "position"): "custom",
        ("graphics", "left"): str(place.left),
        ("graphics", "top"): str(place.top),
    }
    for (section, key), value in values.items():
        Config.set(section, key, value)
