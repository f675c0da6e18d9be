"""The spool: prints what the sale engine has put down, piece by piece, and proves each piece.

The names here are what the sale engine uses; the process itself is `python -m printer FILE`.
"""

from printer.spool.job import (
    Decision,
    PartProgress,
    Progress,
    announce_boot,
    enqueue,
    machine_boot,
    progress,
    rule,
    waiting,
)
from printer.spool.schema import Grade, State, create

__all__ = [
    "Decision",
    "Grade",
    "PartProgress",
    "Progress",
    "State",
    "announce_boot",
    "create",
    "enqueue",
    "machine_boot",
    "progress",
    "rule",
    "waiting",
]
