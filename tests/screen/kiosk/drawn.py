"""Draws every screen of one panel in one language and says as JSON what it measured. A program of its own: a process has one window.

`python -m tests.screen.kiosk.drawn WIDTHxHEIGHT LANGUAGE OUT_DIR`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from kiosk.screens.window import prepare
from kiosk.settings import Settings


def main(size: str, language: str, out: Path) -> None:
    width, height = (int(part) for part in size.split("x"))
    prepare(
        Settings(
            out, out, "tcp://127.0.0.1", fullscreen=False, width_px=width, height_px=height, video_driver="offscreen"
        )
    )
    from kivy.base import EventLoop
    from kivy.core.window import Window
    from kivy.graphics.opengl import GL_RGBA, GL_UNSIGNED_BYTE, glReadPixels
    from PIL import Image

    from kiosk.locale import words
    from kiosk.screens import metric
    from kiosk.screens.host import Host
    from kiosk.screens.patches import Press
    from kiosk.screens.placed import Tap
    from kiosk.screens.text import Written
    from kiosk.visit.present import present
    from tests.screen.kiosk.shots import gallery
    from tickets.language import Language

    metric.use(metric.panel_of(width, height))
    host = Host()
    host.pos, host.size = (0, 0), (width, height)
    EventLoop.ensure_window()
    Window.add_widget(host)
    EventLoop.status = "started"
    density = metric.panel().px_per_mm
    found = []
    for name, visit, context in gallery(Language(language)):
        host.show(present(visit, context, words(visit.language)))
        EventLoop.idle()
        EventLoop.idle()
        pixels = glReadPixels(0, 0, width, height, GL_RGBA, GL_UNSIGNED_BYTE)
        image = (
            Image.frombytes("RGBA", (width, height), pixels).convert("RGB").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        )
        image.save(out / f"{name}.png", compress_level=1)
        layer = host.children[0] if host.overlay_shown else host
        texts = [widget for widget in host.walk(restrict=True) if isinstance(widget, Written) and widget.visible]
        found.append(
            {
                "name": name,
                "screen": host.screen_name,
                "colours": len(image.reduce(8).getcolors(200_000)),
                "texts": len([text for text in texts if text.needed_px[0]]),
                "overflow": [
                    "".join(run.text for line in text.lines() for run in line)
                    for text in texts
                    if text.needed_px[0] > text.width + 1 or text.needed_px[1] > text.height + 1
                ],
                "outside": [
                    "".join(run.text for line in text.lines() for run in line)
                    for text in texts
                    if text.needed_px[0] and (text.x < 0 or text.y < 0 or text.right > width or text.top > height)
                ],
                "smallest_mm": min(
                    (run.em for text in texts for line in text.lines() for run in line if run.text), default=99.0
                ),
                "targets": {
                    widget.name: [
                        round(widget.width / density, 1),
                        round(widget.height / density, 1),
                        round((height - widget.top) / density, 1),
                        widget.touch is not None,
                    ]
                    for widget in layer.walk(restrict=True)
                    if isinstance(widget, Tap) and widget.name and widget.visible
                },
                "yellow": [
                    widget.name
                    for widget in layer.walk(restrict=True)
                    if isinstance(widget, Press) and widget.visible and widget.kind in {"primary", "stub"}
                ],
            }
        )
    sys.stdout.write(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
