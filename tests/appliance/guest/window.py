"""Stands in for a screen's process in the guest of script/spike-kms: a window on KMS/DRM with nothing behind it.

Four fields of colour, a line of Japanese, and a yellow square where each touch began; what it meets goes to standard error as
lines that begin with SPIKE. `SPIKE_MODE`: `once` draws one frame and never asks for another, `twice` draws a second one
right after the first, `clock` asks for a frame a second.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

MODE = os.environ.get("SPIKE_MODE", "twice")
BORN = time.monotonic()


def say(event: str, **facts: object) -> None:
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    told = " ".join(f"{key}={value}" for key, value in facts.items())
    print(
        f"SPIKE {event} uptime_s={uptime:.1f} own_s={time.monotonic() - BORN:.1f} {told}", file=sys.stderr, flush=True
    )


def notify(text: str) -> None:
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.sendto(text.encode(), "\0" + address[1:] if address[0] == "@" else address)


def main() -> None:
    say("start", mode=MODE, user=os.getuid(), driver=os.environ.get("SDL_VIDEODRIVER"))
    from kivy.config import Config

    Config.set("kivy", "exit_on_escape", "0")
    Config.set("graphics", "fullscreen", "auto")
    Config.set("graphics", "show_cursor", "0")
    Config.set("input", "mouse", "mouse,disable_multitouch")
    from kivy.app import App
    from kivy.clock import Clock
    from kivy.core.window import Window
    from kivy.graphics import Color, Rectangle
    from kivy.uix.label import Label
    from kivy.uix.widget import Widget

    width, height = Window.size
    say("window", size=f"{width}x{height}", provider=type(Window).__name__)

    class Fields(Widget):  # type: ignore[misc]
        def on_touch_down(self, touch: Any) -> None:
            say("touch", x=int(touch.x), y=int(touch.y), by=type(touch).__name__, device=touch.device)
            with self.canvas:
                Color(1, 1, 0)
                Rectangle(pos=(touch.x - 20, touch.y - 20), size=(40, 40))

    class Spike(App):  # type: ignore[misc]
        frames = 0

        def build(self) -> Widget:
            root = Fields()
            with root.canvas:
                for i, colour in enumerate(((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))):
                    Color(*colour)
                    Rectangle(pos=(i % 2 * width / 2, i // 2 * height / 2), size=(width / 2, height / 2))
            font = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
            line = Label(text="改札 Kaisatsu 2 €", font_name=font, font_size=48, color=(0, 0, 0, 1))
            line.pos, line.size = (width / 2 - 250, height / 2 + 80), (500, 80)
            root.add_widget(line)
            if MODE == "clock":
                Clock.schedule_interval(lambda _: Window.canvas.ask_update(), 1)
            Clock.schedule_interval(self.alive, 5)
            Window.bind(on_flip=self.flipped)
            return root

        def flipped(self, *_: object) -> None:
            self.frames += 1
            if self.frames <= 3:
                say("frame", number=self.frames)
            if self.frames == 1:
                notify("READY=1")
                if MODE == "twice":
                    Clock.schedule_once(lambda _: Window.canvas.ask_update())

        def alive(self, _: float) -> None:
            notify("WATCHDOG=1")
            status = Path("/proc/self/status").read_text(encoding="ascii")
            rss = next(row.split()[1] for row in status.splitlines() if row.startswith("VmRSS"))
            say("alive", frames=self.frames, rss_mb=int(rss) // 1024)

    Spike().run()


main()
