"""What the spool says of the printer on the device's health board. Never well on the strength of silence."""

from __future__ import annotations

from datetime import datetime

from printer.spool.line import Line
from printer.spool.press import Press
from printer.status import Paper, PrinterState
from sync.service.health import Health, State

PART = "printer"
STOPS = "printing"
"""The message key of what cannot be done meanwhile."""


def health(line: Line, press: Press, *, profile: str, at: datetime) -> Health:
    """The printer's row: facts `profile` (what `printer.profile.load` takes, so that a sale can be checked against it before anyone
    pays), `link` (up, down), `online`, `paper` (ok, near_end, out, unknown), `cover` (closed, open, unknown), `cutter` (ok, error,
    unknown), `evidence` (confirmed, processed, sent), `busy`, `paper_mm_used`.
    """
    said = line.state if line.up else PrinterState()
    state = judged(said, up=line.up, silent=line.silent)
    return Health(
        part=PART,
        state=state,
        at=at,
        stops="" if state in (State.OK, State.WARNING) else STOPS,
        facts={
            "profile": profile,
            "link": "up" if line.up else "down",
            "online": said.online,
            "paper": str(said.paper),
            "cover": _word(said.cover_open, "open", "closed"),
            "cutter": _word(said.cutter_error, "error", "ok"),
            "unrecoverable": said.unrecoverable,
            "evidence": str(press.grade),
            "busy": press.busy,
            "paper_mm_used": press.paper_mm_used,
        },
    )


def judged(said: PrinterState, *, up: bool, silent: bool) -> State:
    """OK and WARNING only for a printer that was heard to be ready."""
    if not up or said.interrupted or said.online is False:
        return State.ERROR
    if silent or not said.ready:
        return State.UNKNOWN
    return State.WARNING if said.paper is Paper.NEAR_END else State.OK


def _word(fact: bool | None, yes: str, no: str) -> str:  # noqa: FBT001 a fact that may be unknown
    return "unknown" if fact is None else yes if fact else no
