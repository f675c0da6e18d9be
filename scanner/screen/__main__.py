"""kaisatsu-gate-screen: `python -m scanner.screen SETTINGS.json`.

Kivy reads its environment and settings when it is imported, so all of that stands here, before.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from sync.service import lean

lean.leave_out("numpy", "rich")

import structlog  # noqa: E402

from scanner.screen.settings import Settings  # noqa: E402
from sync.service import log  # noqa: E402
from sync.service.settings import load_or_exit  # noqa: E402
from tickets.clock import SystemClock  # noqa: E402


def prepare_kivy(settings: Settings) -> None:
    """Kivy as an appliance wants it: no arguments, no files at home, no Escape, no red dots, a window of the panel's size."""
    settings.runtime_dir.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        KIVY_NO_ARGS="1",
        KIVY_NO_FILELOG="1",
        KIVY_NO_CONSOLELOG="1",  # our own log says what happens here, as JSON
        KIVY_HOME=str(settings.runtime_dir / "kivy"),
    )
    os.environ.setdefault("XDG_CACHE_HOME", str(settings.runtime_dir / "cache"))  # Mesa's shaders
    from kivy.config import Config

    Config.set("kivy", "exit_on_escape", "0")
    Config.set("kivy", "desktop", "0")
    Config.set("input", "mouse", "mouse,disable_multitouch")
    Config.set("graphics", "width", str(settings.width_px))
    Config.set("graphics", "height", str(settings.height_px))
    Config.set("graphics", "resizable", "0" if settings.fullscreen else "1")
    Config.set("graphics", "maxfps", "60")
    Config.set("graphics", "multisamples", "0")  # edges are smoothed by the drawing itself
    if settings.fullscreen:
        Config.set("graphics", "fullscreen", "auto")
        Config.set("graphics", "show_cursor", "0")
    else:
        Config.set("graphics", "fullscreen", "0")
    if settings.left_px >= 0 and settings.top_px >= 0:
        Config.set("graphics", "position", "custom")
        Config.set("graphics", "left", str(settings.left_px))
        Config.set("graphics", "top", str(settings.top_px))


def main(argv: list[str]) -> int:
    started_s = time.monotonic()
    settings = load_or_exit(argv, Settings)
    log.configure("gate-screen")
    prepare_kivy(settings)
    from scanner.screen.window import GateScreen

    screen = GateScreen(settings, clock=SystemClock(), started_s=started_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: screen.stop())
    try:
        screen.run()
    except Exception as error:  # noqa: BLE001  (top of the process: one line, and the supervisor starts it again)
        structlog.get_logger().error("screen_failed", error=type(error).__name__, why=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
