"""The outside of script/spike-kms: looks at the guest's display through QEMU's monitor, taps on it, and says what it saw.

`python3 watch.py DIR SECONDS`: DIR holds `qmp` (the monitor's socket) and `serial.log`; pictures are left there as well.
Ends with status 0 if the four fields were on the display before anything touched it, and a tap left its yellow square.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

Colour = tuple[int, ...]
EXPECTED = {"upper left": (0, 0, 255), "upper right": (255,) * 3, "lower left": (255, 0, 0), "lower right": (0, 255, 0)}
PLACES = {"upper left": (0.1, 0.1), "upper right": (0.9, 0.1), "lower left": (0.1, 0.9), "lower right": (0.9, 0.9)}


class Monitor:
    """QEMU's machine protocol, as far as this needs it."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(out / "qmp"))
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.call("qmp_capabilities")

    def call(self, command: str, **arguments: object) -> object:
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        for line in self.file:
            answer = json.loads(line)
            if "error" in answer:
                raise SystemExit(f"monitor: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise SystemExit("monitor: the machine has ended")

    def look(self, name: str) -> Picture:
        self.call("screendump", filename=str(self.out / f"{name}.png"), format="png")
        raw = self.out / "raw.ppm"
        self.call("screendump", filename=str(raw))
        return Picture(raw.read_bytes())

    def tap(self, x: float, y: float) -> None:
        axes = [{"type": "abs", "data": {"axis": a, "value": int(v * 32767)}} for a, v in (("x", x), ("y", y))]
        self.call("input-send-event", events=axes)
        for down in (True, False):
            time.sleep(0.3)
            self.call("input-send-event", events=[{"type": "btn", "data": {"button": "left", "down": down}}])


class Picture:
    def __init__(self, ppm: bytes) -> None:
        head, self.pixels = ppm.split(b"\n255\n", 1)
        self.width, self.height = map(int, head.split()[-2:])

    def at(self, x: float, y: float) -> Colour:
        start = (int(y * self.height) * self.width + int(x * self.width)) * 3
        return tuple(self.pixels[start : start + 3])

    def fields(self) -> dict[str, Colour]:
        return {name: self.at(*place) for name, place in PLACES.items()}


def main(out: Path, seconds: int) -> int:
    monitor, began = Monitor(out), time.monotonic()
    shown = tapped = untouched = False
    last: object = None
    while time.monotonic() - began < seconds:
        time.sleep(3)
        picture = monitor.look("display")
        fields = picture.fields()
        now = f"{time.monotonic() - began:4.0f} s"
        if (picture.width, fields) != last:
            print(f"{now}  display {picture.width}x{picture.height} {fields}", flush=True)
            last = (picture.width, fields)
        log = (out / "serial.log").read_text(errors="replace")
        if fields == EXPECTED and not shown:
            shown, untouched = True, "panel touches" not in log
            print(f"{now}  the fields are on the display, before any touch: {untouched}", flush=True)
        if "SPIKE panel touches" in log and not tapped:
            monitor.tap(0.25, 0.25)
            time.sleep(4)
            tapped = monitor.look("tapped").at(0.25, 0.25) == (255, 255, 0)
            print(f"{now}  tap at a quarter: yellow square {tapped}", flush=True)
        if "SPIKE panel done" in log and "SPIKE report end" in log:
            break
    monitor.look("end")
    monitor.call("quit")
    return 0 if untouched and tapped else 1


sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
