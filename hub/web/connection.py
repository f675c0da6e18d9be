"""What a connection may cost before there is a request, and what the server's own library has to say about it.

A head that does not come whole in time ends its connection: otherwise a few thousand half heads would keep everyone else out. The
library's words go where all others go, one JSON line each; never a traceback of somebody who only went away.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 20.0
"""From the connection, or from the first byte of a further request on it, to the end of the head."""

log = structlog.get_logger()


class BoundedHead(HttpToolsProtocol):
    """uvicorn's protocol with a deadline for each head."""

    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._head_due is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._forget_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_due = self.loop.call_later(HEAD_S, self._too_slow)

    def _forget_head(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _too_slow(self) -> None:
        self._head_due = None
        if not self.transport.is_closing():
            log.info("head_too_slow")
            self.transport.close()


class _AsEvents(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        said: dict[str, Any] = {"said": record.getMessage().strip()}
        cut_off = isinstance(error, asyncio.CancelledError)
        if error is not None and not cut_off:
            said["exc_info"] = error
        level = logging.INFO if cut_off else record.levelno
        log.log(level, "server", **said)


def log_as_events() -> None:
    """The library's warnings and errors as events of our own log. Once a process; again changes nothing."""
    for name in ("uvicorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.handlers = [_AsEvents()]
