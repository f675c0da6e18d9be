"""The reader's loop: takes frames, decodes, hands over what is newly in view, and says how its camera is.

Single-threaded but for capture and second opinion. Ticket codes never reach the log.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from scanner.reading.capture import Capture
from scanner.reading.decode import Cascade, Code, decode_all_variants
from scanner.reading.delivery import Delivery
from scanner.reading.frame import Frame, Source
from scanner.reading.inview import InView
from scanner.reading.mailbox import Mailbox
from scanner.reading.opinion import SecondOpinion
from sync.service import notify
from sync.service.health import Board, Health, State
from tickets.clock import Clock
from tickets.read import TEXT_CHARS_MAX, Read

TURN_S = 0.25
HEALTH_EVERY_S = 5.0

_log = structlog.get_logger()


class Reader:
    """Runs until told to stop, or until a video is over. `board` None: nobody reads our health here (tools, tests)."""

    def __init__(
        self, source: Source, delivery: Delivery, *, rearm_s: float, board: Board | None, clock: Clock
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._board = board
        self._clock = clock
        self._in_view = InView(rearm_s=rearm_s)
        self._cascade = Cascade()
        self._mailbox = Mailbox()
        self._capture = Capture(source, self._mailbox)
        self._opinion = SecondOpinion()
        self._stopping = False
        self._told: tuple[str, float] | None = None
        self._turns_told = -1
        self._waiting: Frame | None = None

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Raises what ended the capture thread, if that was a fault of ours."""
        self._capture.start()
        notify.ready("reading")
        _log.info("reading", source=self._source.name)
        try:
            while not self._stopping:
                self._turn()
                if self._mailbox.drained and self._waiting is None:
                    break
        finally:
            notify.stopping()
            self._capture.stop()
            self._opinion.close()
            self._delivery.close()
        if self._capture.failed is not None:
            raise self._capture.failed

    def _turn(self) -> None:
        self._delivery.connect()
        frame = self._waiting or self._mailbox.take(timeout_s=TURN_S)
        self._waiting = None
        if frame is not None and not self._source.live and not self._delivery.connected:
            self._waiting = frame  # a file's frame comes only once; whoever takes its text is waited for
            self._pause()
        elif frame is not None:
            self._read(frame)
        for opinion in self._opinion.take():
            self._hand_over(opinion.codes, opinion.frame)
        self._tell()

    def _read(self, frame: Frame) -> None:
        if frame.still:
            self._in_view.clear()
            self._hand_over(decode_all_variants(frame.picture), frame)
            return
        codes = self._cascade.read(frame.picture)
        if codes:
            self._hand_over(codes, frame)
        elif not self._cascade.resting:
            self._opinion.offer(frame)

    def _hand_over(self, codes: list[Code], frame: Frame) -> None:
        for text in self._in_view.fresh([code.text for code in codes], seen_s=frame.seen_s):
            if len(text) > TEXT_CHARS_MAX:  # only digits can be this long (7 089); no ticket is
                _log.warning("read_dropped", why="too long", chars=len(text))
                continue
            read = Read(text=text, at=frame.at, source=self._source.name)
            while not self._delivery.send(read):
                if self._source.live or self._stopping:
                    self._in_view.forget(text)
                    break
                self._pause()
                self._tell()
            else:
                _log.info("read", source=self._source.name, chars=len(text))

    def _pause(self) -> None:
        self._capture.wait_s(0.05)

    def _tell(self) -> None:
        """Health on change and every few seconds; the watchdog only while the capture thread turns."""
        gone_because = self._capture.state.gone_because
        now_s = self._clock.monotonic_s()
        if self._capture.turns != self._turns_told or self._waiting is not None:
            self._turns_told = self._capture.turns
            notify.alive()
        if self._board is None:
            return
        if self._told is not None and self._told[0] == gone_because and now_s - self._told[1] < HEALTH_EVERY_S:
            return
        self._told = (gone_because, now_s)
        self._board.publish(_health(self._source.name, gone_because, self._clock.now_utc()))


def _health(source: str, gone_because: str, at: datetime) -> Health:
    facts = {"source": source}
    if gone_because:
        return Health(part="camera", state=State.ERROR, at=at, stops="scan", facts={**facts, "why": gone_because})
    return Health(part="camera", state=State.OK, at=at, facts=facts)
