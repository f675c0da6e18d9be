"""Logs: one JSON line an event on standard error, where journald picks it up.

Never log a ticket code, card data, a secret or a guest's name; ids and counts are enough to find the row.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def configure(daemon: str) -> None:
    """Send structlog's events to standard error as JSON, each naming its `daemon`."""

    def name(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["daemon"] = daemon  # in every thread, which context variables are not
        return event

    structlog.configure(
        processors=[
            name,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
