"""kaisatsu-reader: `python -m scanner.reading SETTINGS.json`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import assert_never

from sync.service import lean

lean.leave_out("rich")

import structlog  # noqa: E402

from scanner.reading.camera import Camera  # noqa: E402
from scanner.reading.delivery import Delivery  # noqa: E402
from scanner.reading.folder import Folder  # noqa: E402
from scanner.reading.frame import Source  # noqa: E402
from scanner.reading.reader import Reader  # noqa: E402
from scanner.reading.region import ScreenRegion  # noqa: E402
from scanner.reading.settings import Settings, SourceKind  # noqa: E402
from scanner.reading.video import Video  # noqa: E402
from sync.service import log  # noqa: E402
from sync.service.health import Board  # noqa: E402
from sync.service.settings import load_or_exit  # noqa: E402
from tickets.clock import Clock, SystemClock  # noqa: E402


def source_of(settings: Settings, *, clock: Clock) -> Source:
    """The source that the settings name; nothing is opened yet."""
    match settings.source:
        case SourceKind.CAMERA:
            return Camera(
                location=settings.location,
                width_px=settings.width_px,
                height_px=settings.height_px,
                frames_per_s=settings.frames_per_s,
                clock=clock,
            )
        case SourceKind.VIDEO:
            return Video(path=Path(settings.location), clock=clock)
        case SourceKind.FOLDER:
            return Folder(path=Path(settings.location), settle_s=settings.settle_ms / 1000, clock=clock)
        case SourceKind.SCREEN:
            return ScreenRegion(
                display=settings.location,
                region=settings.region_px(),
                frames_per_s=settings.frames_per_s,
                clock=clock,
            )
        case _ as never:
            assert_never(never)


def main(argv: list[str]) -> int:
    settings = load_or_exit(argv, Settings)
    log.configure("reader")
    clock = SystemClock()
    board = None if settings.health_db is None else Board(settings.health_db)
    reader = Reader(
        source_of(settings, clock=clock),
        Delivery(settings.reads_socket, clock=clock),
        rearm_s=settings.rearm_ms / 1000,
        board=board,
        clock=clock,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reader.stop())
    try:
        reader.run()
    except Exception as error:  # noqa: BLE001  (top of the process: told in one line, started again by the supervisor)
        structlog.get_logger().error("reader_failed", error=type(error).__name__, why=str(error))
        return 1
    finally:
        if board is not None:
            board.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
