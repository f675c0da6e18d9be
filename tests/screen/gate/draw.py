"""Draws all samples in one window and leaves PNG files and what the pens noted: `python draw.py WIDTH HEIGHT OUT_DIR`.

A program of its own, because Kivy has one window a process and reads its environment once. Uses the real face, fonts and GL.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))
sys.path.insert(0, str(HERE))


def main(width: int, height: int, out: Path) -> None:
    from scanner.screen.__main__ import prepare_kivy
    from scanner.screen.settings import Settings

    out.mkdir(parents=True, exist_ok=True)
    runtime = Path(tempfile.mkdtemp(prefix="gate-screen-"))
    settings = Settings(view_socket=runtime / "none", runtime_dir=runtime, width_px=width, height_px=height)
    os.environ.setdefault("SDL_VIDEODRIVER", "offscreen")
    prepare_kivy(settings)
    from gate_samples import samples
    from kivy.base import EventLoop
    from kivy.core.window import Window
    from kivy.graphics.opengl import GL_RGB, GL_UNSIGNED_BYTE, glReadPixels
    from PIL import Image

    from scanner.screen.face import GateFace
    from scanner.screen.pen import Fonts

    face = GateFace(fonts=Fonts(settings.font_regular, settings.font_bold), language="ja")
    Window.add_widget(face)
    face.size = Window.size
    EventLoop.window = Window
    report = {}
    for name, showing in samples().items():
        start_s = time.perf_counter()
        face.draw(showing, now_s=1.0)
        drawn_ms = (time.perf_counter() - start_s) * 1000
        Window.canvas.ask_update()
        Window.on_draw()
        pixels = glReadPixels(0, 0, width, height, GL_RGB, GL_UNSIGNED_BYTE)
        shown_ms = (time.perf_counter() - start_s) * 1000
        image = Image.frombytes("RGB", (width, height), pixels).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        image.save(out / f"{name}.png", compress_level=1)
        view = showing.view
        report[name] = {
            "texts": [asdict(placed) for placed in face.placed],
            "targets": [[t.key, t.count, t.box.width, t.box.height] for t in face.pen.targets],
            "verdict": view.verdict if view else None,
            "reason": view.reason if view else None,
            "drawn_ms": drawn_ms,
            "shown_ms": shown_ms,
            "px_per_mm": face.pen.px_per_mm,
        }
    (out / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
