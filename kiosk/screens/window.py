"""Kivy's environment and configuration. Must run before the first other import of Kivy: it reads both once, when imported."""

from __future__ import annotations

import ctypes
import gc
import os

from kiosk.settings import Settings


def prepare(settings: Settings) -> None:
    """Set up the window that `settings` ask for. Nothing is written below a home directory, which may be read-only."""
    _keep_memory_small()
    home = settings.run_dir / "kivy"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        "KIVY_NO_ARGS": "1",
        "KIVY_NO_FILELOG": "1",
        "KIVY_NO_CONSOLELOG": "1",
        "KIVY_LOG_MODE": "PYTHON",
        "KIVY_HOME": str(home),
        "XDG_CACHE_HOME": str(settings.run_dir / "cache"),
    }
    if settings.video_driver:
        environment["SDL_VIDEODRIVER"] = settings.video_driver
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    from kivy.config import Config

    values = {
        ("kivy", "exit_on_escape"): "0",
        ("kivy", "window_icon"): "",
        ("kivy", "log_level"): "warning",
        ("input", "mouse"): "mouse,disable_multitouch",
        ("graphics", "width"): str(settings.width_px),
        ("graphics", "height"): str(settings.height_px),
        ("graphics", "fullscreen"): "auto" if settings.fullscreen else "0",
        ("graphics", "borderless"): "0" if not settings.fullscreen else "1",
        ("graphics", "resizable"): "0",
        ("graphics", "show_cursor"): "1" if settings.show_cursor else "0",
        # Shapes are drawn smooth by themselves (pen.py); multisampling would cost 80 MB on software GL and show nothing.
        ("graphics", "multisamples"): "0",
        ("graphics", "maxfps"): "60",
    }
    if settings.left_px >= 0 and settings.top_px >= 0:
        values |= {
            ("graphics", "position"): "custom",
            ("graphics", "left"): str(settings.left_px),
            ("graphics", "top"): str(settings.top_px),
        }
    for (section, key), value in values.items():
        Config.set(section, key, value)


def give_back() -> None:
    """Collect what is no longer used and hand it to the system. For a moment in which nobody waits for a picture."""
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Hand what was freed to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""mallopt(3)."""


def _keep_memory_small() -> None:
    """Pictures are drawn three times too large and then thrown away. glibc learns from that to keep such blocks; told not to, it
    gives each back at once. Elsewhere than on glibc nothing is lost but memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((M_MMAP_THRESHOLD, 256 * 1024), (M_TRIM_THRESHOLD, 1024 * 1024), (M_ARENA_MAX, 2)):
        mallopt(parameter, value)
