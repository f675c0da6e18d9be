"""What can go wrong with replication, by who can mend it.

`JournalBroken` and `NotEnrolled` need a person; `HubUnreachable` heals itself; everything else that escapes is a bug.
"""

from __future__ import annotations


class SyncError(Exception):
    """Root of this package's errors. `code` is stable for logs and screens."""

    code = "sync"


class JournalBroken(SyncError):
    """The journal's chain does not hold: its disk was restored, edited or damaged."""

    code = "sync.journal_broken"


class NotEnrolled(SyncError):
    """The state directory holds no device identity."""

    code = "sync.not_enrolled"


class CacheBroken(SyncError):
    """The cache cannot be read. It is replaceable: the next generation is built from the hub."""

    code = "sync.cache_broken"


class StoreFull(SyncError):
    """The disk has no room for it. What is there stays as it is; tried again when there is room."""

    code = "sync.store_full"


class NewerFile(SyncError):
    """A file of a newer version than this program: it is left untouched, and only that version, or a newer one, may open it."""

    code = "sync.newer_file"


class MessageError(SyncError):
    """A message that does not have the shape of the protocol. One line: where, what is allowed."""

    code = "sync.message"


class SegmentError(SyncError):
    """A segment whose chain or signature does not hold."""

    code = "sync.segment"


class HubUnreachable(SyncError):
    """No usable answer: no line, a time-out, an error status, or a body that is no message. Tried again later: after `retry_after_s`
    where the hub said so. `slow`: it has too much to do, or the line is too thin for what was sent.
    """

    code = "sync.hub_unreachable"

    def __init__(self, message: str, *, retry_after_s: float | None = None, slow: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.slow = slow


class HubKeyWrong(HubUnreachable):
    """Something answers at the hub's address that does not hold the hub's TLS key. Nothing was sent to it."""

    code = "sync.hub_key_wrong"


class HubRefused(SyncError):
    """The hub understood and said no (revoked, wrong token, cursor too old). `status` is HTTP's, `error` the hub's stable word,
    `known_seq` where the hub's copy of this device's chain stands (error chain_gap).
    """

    code = "sync.hub_refused"

    def __init__(self, message: str, *, status: int, error: str = "", known_seq: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.known_seq = known_seq
