"""kaisatsu-kiosk: `python -m kiosk FILE`. Puts window, visit and sale engine together, in an order that shows a picture first."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from sync.service import lean

lean.leave_out("numpy", "rich")

from kiosk.screens.window import prepare  # noqa: E402
from kiosk.settings import Settings  # noqa: E402
from kiosk.visit.port import Engine  # noqa: E402
from sync.service import log, settings  # noqa: E402


def open_engine(chosen: Settings) -> Engine:
    """The sale engine of this device. Imports and reads much, so it runs beside the window, not before it."""
    from kiosk.payment.zvt import HoldMode, Kind, Options, connect
    from kiosk.sale.assembly import build

    options = Options.of(
        Kind(chosen.terminal_kind),
        currency=chosen.terminal_currency,
        password=chosen.terminal_password,
        hold=HoldMode(chosen.terminal_hold),
        charset=chosen.terminal_charset,
    )
    return build(state_dir=chosen.state_dir, run_dir=chosen.run_dir, terminal=connect(chosen.terminal_address, options))


def main(argv: list[str]) -> int:
    """Serve guests until SIGTERM. Status 2 for a settings file that cannot be used."""
    chosen = settings.load_or_exit(argv, Settings)
    log.configure("kiosk")
    prepare(chosen)

    from kivy.app import App

    from kiosk.late_engine import LateEngine
    from kiosk.screens.app import run
    from tickets.clock import SystemClock

    def stop(_signal: int, _frame: FrameType | None) -> None:
        app = App.get_running_app()
        if app is None:
            raise SystemExit(0)
        app.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return run(chosen, LateEngine(lambda: open_engine(chosen)), SystemClock())


if __name__ == "__main__":
    sys.exit(main(sys.argv))
