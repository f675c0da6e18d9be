"""What can go wrong at a gate, by who can mend it. None of these ever reaches a guest."""

from __future__ import annotations


class GateError(Exception):
    """Root of this package's errors. `code` is stable for logs and screens."""

    code = "gate"


class NoCatalogue(GateError):
    """This gate has never heard from its hub, so it knows neither products nor gates. Heals with the first contact."""

    code = "gate.no_catalogue"


class UnknownGate(GateError):
    """A gate that the catalogue does not have. The message lists those it has."""

    code = "gate.unknown_gate"


class NotDurable(GateError):
    """The journal could not be written (disk full, locked, gone): nothing may be shown as admitted."""

    code = "gate.not_durable"


class JournalDamaged(GateError):
    """The journal's file turned unreadable while it was open. It is set aside, and the gate goes on with a new one."""

    code = "gate.journal_damaged"


class LineUnpinned(GateError):
    """An address that goes with no pin of its key, or a pin with no https: a line there would prove nothing, so there is none."""

    code = "gate.line_unpinned"
