"""An empty Kivy window with the settings of ours, to measure ours against: `python -m benchmarks._empty_window WIDTH HEIGHT LEFT HOME`.

Nothing of this project is imported but what says READY, after the second frame as the gate's screen does.
"""

from __future__ import annotations

import os
import sys

from sync.service import notify


def main(argv: list[str]) -> int:
    width, height, left, home = argv[1:5]
    os.environ.update(KIVY_NO_ARGS="1", KIVY_NO_FILELOG="1", KIVY_NO_CONSOLELOG="1", KIVY_HOME=home)
    os.environ.setdefault("XDG_CACHE_HOME", f"{home}/cache")
    from kivy.config import Config

    for section, key, value in (
        ("input", "mouse", "mouse,disable_multitouch"),
        ("graphics", "width", width),
        ("graphics", "height", height),
        ("graphics", "position", "custom"),
        ("graphics", "left", left),
        ("graphics", "top", "0"),
        ("graphics", "fullscreen", "0"),
        ("graphics", "maxfps", "60"),
        (
            "graphics",
            "multisamples",
            "0",
        ),  # as ours: with it the empty window would be larger, and the comparison kinder
    ):
        Config.set(section, key, value)
    from kivy.app import App
    from kivy.clock import Clock
    from kivy.core.window import Window
    from kivy.uix.widget import Widget

    class Empty(App):  # type: ignore[misc]  # Kivy carries no types
        def build(self) -> Widget:
            Clock.schedule_interval(lambda _dt: Window.canvas.ask_update(), 1)
            return Widget()

        def on_start(self) -> None:
            Clock.schedule_once(lambda _dt: notify.ready(), 0.5)

    Empty().run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
