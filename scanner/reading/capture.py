"""The thread that owns the source: frames into the mailbox, and back to the door when the source has gone.

It says how it stands through `state`, counts its turns in `turns` (the loop's proof that this thread is not stuck), and never
ends because a source is absent: only because it was told to, or a file is over.
"""

from __future__ import annotations

import contextvars
import threading
from dataclasses import dataclass

import structlog

from scanner.reading.errors import SourceEndedError, SourceGoneError
from scanner.reading.frame import Source
from scanner.reading.mailbox import Mailbox

RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 4.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CaptureState:
    """`gone_because` is empty while frames come."""

    gone_because: str
    frames: int


class Capture:
    def __init__(self, source: Source, mailbox: Mailbox) -> None:
        self._source = source
        self._mailbox = mailbox
        self._stop = threading.Event()
        self._failed: Exception | None = None
        self.state = CaptureState(gone_because="not opened yet", frames=0)
        self.turns = 0
        # A thread starts without the log's context (which daemon speaks); it is handed ours.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=lambda: context.run(self._run), name="capture", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended, or after a second: a driver that hangs must not hold up the end of the process."""
        self._stop.set()
        self._mailbox.close()
        self._thread.join(timeout=1)

    def wait_s(self, seconds: float) -> None:
        """A pause that `stop` cuts short."""
        self._stop.wait(seconds)

    @property
    def failed(self) -> Exception | None:
        """A fault of ours that ended the thread; the process ends with it and is started again."""
        return self._failed

    def _run(self) -> None:
        retry_s = RETRY_FIRST_S
        while not self._stop.is_set():
            try:
                self._source.open()
                self._frames_until_gone()
                break
            except SourceGoneError as error:
                if self.state.gone_because != str(error):
                    _log.warning("source_gone", source=self._source.name, why=str(error))
                retry_s = RETRY_FIRST_S if not self.state.gone_because else min(retry_s * 2, RETRY_LONGEST_S)
                self.state = CaptureState(gone_because=str(error), frames=self.state.frames)
                self._source.close()
                self.turns += 1
                self._stop.wait(retry_s)
            except SourceEndedError as error:
                _log.info("source_ended", source=self._source.name, why=str(error))
                break
            except Exception as error:  # noqa: BLE001  (top of the thread's loop; the process reports it and ends)
                self._failed = error
                break
        self._source.close()
        self._mailbox.close()

    def _frames_until_gone(self) -> None:
        while not self._stop.is_set():
            frame = self._source.next()
            self.turns += 1
            if self.state.gone_because:
                _log.info("source_open", source=self._source.name)
                self.state = CaptureState(gone_because="", frames=self.state.frames)
            if frame is None:
                continue
            self.state = CaptureState(gone_because="", frames=self.state.frames + 1)
            if self._source.live:
                self._mailbox.post(frame)
            else:
                self._mailbox.post_and_wait(frame)
