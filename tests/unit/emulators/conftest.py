"""A printer without wire and clock."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emulators.printer.device import Device, Setup
from emulators.printer.faults import parse


class Bench:
    """A Device, its events and its answers; `give` prints all that can be printed."""

    def __init__(self, out: Path, *faults: str, **setup: object) -> None:
        self.events: list[dict] = []
        self.device = Device(
            Setup(out=out, **setup),
            [parse(spec) for spec in faults],
            lambda event, **fields: self.events.append({"event": event, **fields}),
        )
        self.device.start()

    def give(self, data: bytes, budget_dots: int | None = None) -> bytes:
        """Receive as much as there is room for at a time, work, and return all answers."""
        answers = b""
        while True:
            room = self.device.room_bytes
            self.device.receive(data[:room])
            data = data[room:]
            self.device.work(budget_dots)
            answers += self.answers()
            if not data or self.device.room_bytes == 0:
                return answers

    def work(self, budget_dots: int | None = None) -> bytes:
        self.device.work(budget_dots)
        return self.answers()

    def do(self, **command: object) -> bytes:
        self.device.obey(command)
        return self.work()

    def answers(self) -> bytes:
        taken, self.device.outbox = self.device.outbox, []
        return b"".join(reply.data for reply in taken)

    def seen(self, name: str) -> list[dict]:
        return [event for event in self.events if event["event"] == name]

    def picture(self, n: int = 1) -> np.ndarray:
        """The n-th ticket as an array, True for ink."""
        return ~np.asarray(Image.open(self.seen("cut")[n - 1]["file"]))


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """Build a printer at once: `bench("paper-out@dots=100", gap_dots=0)`."""
    tmp_path.joinpath("out").mkdir()
    return lambda *faults, **setup: Bench(tmp_path / "out", *faults, **setup)
