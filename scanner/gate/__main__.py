"""kaisatsu-gate: `python -m scanner.gate SETTINGS.json`."""

from __future__ import annotations

import os
import signal
import sys

from sync.service import lean

lean.leave_out("rich")

import structlog  # noqa: E402

from scanner.gate.daemon import Gate  # noqa: E402
from scanner.gate.settings import Settings  # noqa: E402
from sync.errors import SyncError  # noqa: E402
from sync.service import log  # noqa: E402
from sync.service.settings import load_or_exit  # noqa: E402
from tickets.clock import SystemClock  # noqa: E402


def main(argv: list[str]) -> int:
    settings = load_or_exit(argv, Settings)
    log.configure("gate")
    try:
        gate = Gate(settings, clock=SystemClock(), random_bytes=os.urandom)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: gate.stop())
        gate.run()
    except (SyncError, OSError) as error:
        structlog.get_logger().error("gate_cannot_open", why=str(error))
        return 1
    except Exception as error:  # noqa: BLE001  (top of the process: told in one line, started again by the supervisor)
        structlog.get_logger().error("gate_failed", error=type(error).__name__, why=str(error), exc_info=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
