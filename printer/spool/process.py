"""kaisatsu-printer: one process, one thread, one printer. Wakes for the printer, for its bell, and by time."""

from __future__ import annotations

import select
import signal
import sqlite3
import sys
from pathlib import Path
from types import FrameType

import structlog
from sqlalchemy.exc import DBAPIError

from printer import profile as profiles
from printer.encode import encode
from printer.errors import LinkError, PrinterError, ProfileError
from printer.profile import Encoding, Profile
from printer.settings import Settings, make_link
from printer.spool.job import machine_boot
from printer.spool.line import Line
from printer.spool.press import Press
from printer.spool.report import health
from printer.spool.schema import create
from sync.errors import NewerFile
from sync.service import doorbell, log, notify
from sync.service.doorbell import Doorbell
from sync.service.health import Board, Health
from sync.service.settings import load_or_exit
from sync.store import open_engine
from tickets.clock import Clock, SystemClock

LOOK_EVERY_S = 0.5
HEALTH_EVERY_S = 1.0
FINISH_S = 3.0
"""On SIGTERM, the part at the printer gets this long to be confirmed."""

logger = structlog.get_logger()


class Spool:
    """Owns journal, link, bell and board of one printer."""

    def __init__(self, settings: Settings, profile: Profile, clock: Clock) -> None:
        self._clock = clock
        self._profile = profiles.reference(settings.profile)
        self._bells = tuple(Path(path) for path in settings.progress_doorbells)
        self._engine = open_engine(settings.journal)
        create(self._engine)
        self._line = Line(make_link(settings), profile, clock)
        self._press = Press(self._line, profile, self._engine, clock, machine=machine_boot())
        self._board = Board(settings.health)
        self._bell = Doorbell(settings.doorbell)
        self._looked_at_s = self._told_at_s = 0.0
        self._told: Health | None = None
        self._stopping_at_s: float | None = None

    def stop(self) -> None:
        """Begin nothing new; `run` returns when the part at the printer is settled, or in doubt after FINISH_S."""
        self._stopping_at_s = self._clock.monotonic_s()
        self._press.finish()

    def run(self) -> None:
        self._turn(rang=True)
        notify.ready("the printer's spool runs")
        try:
            while not self._done():
                rang, readable, writable = self._wait()
                self._exchange(readable=readable, writable=writable)
                self._turn(rang=rang)
                notify.alive()
        finally:
            notify.stopping()
            self._press.stop("the spool was stopped")
            self._tell()
            self._line.close()
            self._bell.close()
            self._board.close()
            self._engine.dispose()

    def _done(self) -> bool:
        if self._stopping_at_s is None:
            return False
        return not self._press.busy or self._clock.monotonic_s() - self._stopping_at_s > FINISH_S

    def _wait(self) -> tuple[bool, bool, bool]:
        """Until the bell, the printer or the clock has something: (bell rang, link can be read, link can be written)."""
        poll = select.poll()
        poll.register(self._bell.fileno(), select.POLLIN)
        link = -1
        if self._line.up:
            wanted = (select.POLLIN if self._line.answers else 0) | (select.POLLOUT if self._line.unsent else 0)
            if wanted:
                link = self._line.fileno()
                poll.register(link, wanted)
        timeout_s = min(self._line.due_s(), LOOK_EVERY_S)
        found = dict(poll.poll(max(1, round(timeout_s * 1000))))
        rang = self._bell.fileno() in found and self._bell.wait(timeout_s=0)
        ready = found.get(link, 0)
        gone = ready & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
        return rang, bool(ready & select.POLLIN or gone), bool(ready & select.POLLOUT)

    def _exchange(self, *, readable: bool, writable: bool) -> None:
        try:
            if readable:
                for event in self._line.read():
                    self._press.happened(event)
            if writable:
                self._line.write()
        except LinkError as error:
            self._press.link_lost(str(error))

    def _turn(self, *, rang: bool) -> None:
        now = self._clock.monotonic_s()
        try:
            self._line.reopen()
            if rang or now - self._looked_at_s >= LOOK_EVERY_S:
                self._looked_at_s = now
                self._press.look()
            self._press.step()
            self._line.ask(busy=self._press.busy)
            if self._line.up:
                self._line.write()
        except LinkError as error:
            self._press.link_lost(str(error))
        changed = self._press.changed()
        if changed or self._news() or now - self._told_at_s >= HEALTH_EVERY_S:
            self._tell()
        if changed:
            for bell in self._bells:
                doorbell.ring(bell)

    def _news(self) -> bool:
        fresh = health(self._line, self._press, profile=self._profile, at=self._clock.now_utc())
        return self._told is None or (fresh.state, fresh.facts) != (self._told.state, self._told.facts)

    def _tell(self) -> None:
        self._told_at_s = self._clock.monotonic_s()
        self._told = health(self._line, self._press, profile=self._profile, at=self._clock.now_utc())
        self._board.publish(self._told)


def warm(profile: Profile) -> None:
    """Draw what stands on every ticket once, before the first guest waits for it; a native profile draws next to nothing."""
    if profile.encoding is not Encoding.RASTER:
        return
    from printer.document import Cut, Document, Mark, Qr, Run, Size, Text

    plain = "0123456789,.:-/（）年月日円税込発券号機有効期限つづり番まで。、切り離し可払い戻再行はできません"
    strong = "0123456789:年月日まで（）名回分"
    blocks = [Text((Run(plain, size),)) for size in (Size.SMALL, Size.BODY)]
    blocks += [Text((Run(strong, size, bold=True),)) for size in Size]
    encode(Document("warm", "warm", "ja", (*blocks, Qr("T1:WARM"), Cut(), Mark())), profile, process_id="0000")


def main(argv: list[str]) -> int:
    """`python -m printer FILE`. 0 after SIGTERM; 2 and one line for settings or a profile that cannot be used."""
    settings = load_or_exit(argv, Settings)
    log.configure("kaisatsu-printer")
    try:
        profile = profiles.load(settings.profile)
    except ProfileError as error:
        sys.stderr.write(f"{argv[1]}: key 'profile': {error}\n")
        return 2
    try:
        spool = Spool(settings, profile, SystemClock())
    except (OSError, sqlite3.Error, DBAPIError, NewerFile) as error:
        sys.stderr.write(f"{argv[1]}: journal, health or doorbell cannot be opened ({str(error).splitlines()[0]})\n")
        return 2

    def stop(_number: int, _frame: FrameType | None) -> None:
        spool.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        warm(profile)
    except PrinterError as error:
        logger.warning("cannot_draw", why=str(error))
    spool.run()
    return 0
