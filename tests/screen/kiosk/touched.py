"""Buys tickets by touches on the real window, finds every key by the file that the kiosk writes, and says what it saw as JSON.

`python -m tests.screen.kiosk.touched WIDTHxHEIGHT OUT_DIR`
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from kiosk.screens.window import prepare
from kiosk.settings import Settings
from sync.service import log

FRAMES_MAX = 400
TAPS = (
    "language.ja",
    "product.admission",
    "plus.1",
    "plus.2",
    "next",
    "another",
    "product.rides",
    "language",
    "next",
    "staff",
    "continue",
    "next",
    "pay.card",
)


def main(size: str, out: Path) -> None:  # noqa: C901 a story in one piece
    began = time.monotonic()
    width, height = (int(part) for part in size.split("x"))
    targets = out / "targets.json"
    settings = Settings(
        out,
        out,
        "tcp://127.0.0.1",
        fullscreen=False,
        width_px=width,
        height_px=height,
        video_driver="offscreen",
        say_targets=str(targets),
    )
    log.configure("kiosk")
    prepare(settings)
    from kivy.clock import Clock
    from kivy.core.window import Window
    from kivy.graphics.opengl import glFinish
    from kivy.tests.common import UnitTestTouch

    from kiosk.screens import metric
    from kiosk.screens.app import KioskApp
    from kiosk.visit.effect import BeginPayment
    from tests.screen.kiosk.scripted import ScriptedEngine
    from tests.screen.kiosk.shots import NOW, SITUATION
    from tickets.clock import FixedClock

    metric.use(metric.panel_of(width, height))
    engine = ScriptedEngine(SITUATION)
    app = KioskApp(settings, engine, FixedClock(NOW))
    seen: list[str] = []
    touch_ms: list[float] = []
    said: dict[str, object] = {}

    def look() -> dict[str, object]:
        """What the kiosk has said last; nothing before its first frame."""
        if not targets.exists():
            return {"screen": "", "targets": {}, "enabled": {}}
        return json.loads(targets.read_text(encoding="utf-8"))

    def tap(name: str) -> None:
        now = look()
        x, y = now["targets"][name]
        assert now["enabled"][name], f"{name} on {now['screen']}"
        touch = UnitTestTouch(x, height - y)
        touch.touch_down()
        start = time.monotonic()
        touch.touch_up()
        Clock.tick_draw()
        Window.dispatch("on_draw")
        Window.dispatch("on_flip")
        glFinish()
        touch_ms.append(round((time.monotonic() - start) * 1000, 1))

    def story() -> Iterator[None]:
        while look()["screen"] != "attract":
            yield
        said["first_frame_s"] = round(time.monotonic() - began, 2)
        while not app.rehearsed:
            yield
        for name in TAPS:
            while name not in look()["targets"]:
                yield
            seen.append(f"{look()['screen']}:{name}")
            tap(name)
            yield
        while look()["screen"] != "take":
            if not seen or seen[-1] != look()["screen"]:
                seen.append(look()["screen"])
            yield
        tap("receipt.yes")
        while look()["screen"] != "thanks":
            yield
        tap("done")
        yield
        seen.append(look()["screen"])

    def run(_dt: float) -> None:
        nonlocal frames
        frames += 1
        assert frames < FRAMES_MAX, f"stuck at {look()}"
        if next(playing, "end") == "end":
            app.stop()

    frames = 0
    playing = story()
    Clock.schedule_interval(run, 0)
    app.run()
    begun = [effect for effect in engine.asked if isinstance(effect, BeginPayment)]
    said |= {
        "seen": seen,
        "asked": [type(effect).__name__ for effect in engine.asked],
        "total": begun[0].order.total.minor,
        "tickets": begun[0].order.ticket_count,
        "language": str(begun[0].language),
        "left": str(app.visit.language),
        "stopped": engine.stopped,
        "touch_ms": touch_ms,
        "window": list(Window.size),
        "rss_mb": round(int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6),
    }
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
