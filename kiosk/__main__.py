"""kaisatsu-kiosk: `python -m kiosk FILE`. Puts window, visit and sale engine together, in an order that shows a picture first."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from kiosk.screens.window import prepare
from kiosk.settings import Settings
from sync.service import log, settings


def main(argv: list[str]) -> int:
    """Serve guests until SIGTERM. Status 2 for a settings file that cannot be used."""
    chosen = settings.load_or_exit(argv, Settings)
    log.configure("kiosk")
    prepare(chosen)

    from kivy.app import App

    from kiosk.screens.app import run
    from tickets.clock import SystemClock

    def stop(_signal: int, _frame: FrameType | None) -> None:
        app = App.get_running_app()
        if app is None:
            raise SystemExit(0)
        app.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    run(chosen, open_engine(chosen), SystemClock())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
