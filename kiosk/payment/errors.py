"""What can go wrong in this package, apart from money doubt.

Money doubt is never an exception: it is the outcome `UNKNOWN`, a value that has to be journalled and resolved. What is raised
here is a wrong call, a journal that would contradict itself, or bytes and lines that cannot be read; the drivers turn the
latter into an outcome before anybody above sees them.
"""

from __future__ import annotations


class PaymentError(Exception):
    """The root of this package's errors; `code` is stable, for logs and messages."""

    code = "payment"


class StepRefusedError(PaymentError):
    """A payment row that may not follow the rows before it. The caller has a bug; nothing was written."""

    code = "payment_step_refused"


class EvidenceError(PaymentError):
    """A stored payment row whose JSON cannot be read as what it should hold."""

    code = "payment_evidence"


class TerminalLinkError(PaymentError):
    """The line to the terminal: it cannot be opened, was lost, or broke the rules of turn-taking."""

    code = "terminal_link"


class TerminalAbsentError(TerminalLinkError):
    """The terminal could not be reached: no byte of the command that was asked for has left this machine."""

    code = "terminal_absent"


class TerminalSilentError(TerminalLinkError):
    """The terminal did not answer within the protocol's time. What it received is not known."""

    code = "terminal_silent"
