"""Is everything there that a sale needs? Asked before money moves, and again while the terminal holds it.

The printer's word comes from its health row; an old row is no word, and no word is not "ready".
"""

from __future__ import annotations

from datetime import datetime

from kiosk.payment.contract import Health as TerminalHealth
from sync.service.health import Board, State

PRINTER_AGE_S_MAX = 5.0
"""The spool says how it is every 2 s and on each change; two missed words are silence."""

HUB_AGE_S_MAX = 3600.0


def printer_trouble(board: Board, *, now: datetime) -> str | None:
    """A message key for what keeps the printer from printing, or None when it is proven ready."""
    health = board.read("printer", now=now, age_s_max=PRINTER_AGE_S_MAX)
    if health.state in (State.OK, State.WARNING):
        return None
    facts = health.facts
    if health.state is State.UNKNOWN:
        return "paper.link"
    if facts.get("paper") == "out":
        return "paper.out"
    if facts.get("cover") == "open":
        return "paper.cover"
    if facts.get("cutter") == "error":
        return "paper.cutter"
    return "paper.link"


def hub_word(board: Board, *, now: datetime) -> tuple[datetime | None, int]:
    """(when the hub last answered, operations it has not had yet), as the sync daemon tells it."""
    facts = board.read("hub", now=now, age_s_max=HUB_AGE_S_MAX).facts
    at = facts.get("last_contact")
    return (datetime.fromisoformat(at) if at else None), int(facts.get("unsent", 0))


def terminal_trouble(health: TerminalHealth) -> str | None:
    """A message key for why the terminal takes no payment now, or None."""
    match health:
        case TerminalHealth.READY:
            return None
        case TerminalHealth.BUSY:
            return "method.busy"
        case TerminalHealth.NEEDS_END_OF_DAY | TerminalHealth.NEEDS_SERVICE | TerminalHealth.OUT_OF_ORDER:
            return "method.out_of_order"
        case TerminalHealth.OFFLINE:
            return "method.offline"
