"""JSON lines: events out on standard output, commands in on standard input.

Standard output is a contract (one JSON object a line, `event` first); everything meant for people goes to the logger
on standard error. Every event carries `t`, seconds of CLOCK_MONOTONIC, which all processes of a machine share, so a
bench can set an event here against an event of the program under test.
"""

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

log = logging.getLogger("emulators")

LINE_LIMIT_CHARS = 65_536


class JsonFormatter(logging.Formatter):
    """One JSON object a line, like the daemons' own logs."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {"level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}, ensure_ascii=False
        )


def configure_log() -> None:
    """Send the log to standard error as JSON lines; standard output belongs to events alone."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(JsonFormatter())
    log.handlers[:] = [out]
    log.setLevel(logging.INFO)
    log.propagate = False


class Events:
    """Writes events; goes quiet, but on working, when nobody reads them any more."""

    def __init__(self, stream: TextIO, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._stream: TextIO | None = stream
        self._monotonic_s = monotonic_s

    def say(self, event: str, **fields: Any) -> None:
        if self._stream is None:
            return
        line = json.dumps({"event": event, **fields, "t": round(self._monotonic_s(), 6)}, ensure_ascii=False)
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            self._stream = None
            log.warning("nobody reads the events any more")


def listen_for_commands(
    stream: TextIO, loop: asyncio.AbstractEventLoop, obey: Callable[[dict[str, Any]], None]
) -> None:
    """Call `obey` in `loop` with each JSON object that comes as a line of `stream`; a line that is none is {"do": None}.

    A thread, because standard input may be a pipe, a terminal or a plain file. End of input is not a reason to stop.
    """

    def read() -> None:
        for line in stream:
            if not line.strip():
                continue
            command: dict[str, Any] = {"do": None, "line": line.strip()[:200]}
            try:
                found = json.loads(line[:LINE_LIMIT_CHARS])
                if isinstance(found, dict):
                    command = found
            except json.JSONDecodeError:
                pass
            try:
                loop.call_soon_threadsafe(obey, command)
            except RuntimeError:  # the loop has ended, and so does this program
                return

    threading.Thread(target=read, name="commands", daemon=True).start()
