"""kaisatsu-kiosk: `python -m kiosk FILE`. Puts the kiosk together: settings, window, sale engine; sells until SIGTERM."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from kiosk.settings import Settings
from sync.service import log
from sync.service.settings import load_or_exit
from tickets.clock import SystemClock


def main() -> None:
    settings = load_or_exit(sys.argv, Settings)
    log.configure("kaisatsu-kiosk")
    from kiosk.screens.window import prepare

    prepare(settings)  # before anything else imports Kivy
    from kivy.app import App

    from kiosk.sale.assembly import build
    from kiosk.screens.app import run
    from kiosk.terminals import terminal_at

    terminal = terminal_at(settings.terminal, password=settings.terminal_password, currency=settings.terminal_currency)
    engine = build(state_dir=settings.state_dir, run_dir=settings.run_dir, terminal=terminal)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        app = App.get_running_app()
        if app is not None:
            app.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    run(settings, engine, SystemClock())


if __name__ == "__main__":
    main()
