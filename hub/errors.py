"""Why the hub says no. Each error knows its HTTP status, but nothing else of HTTP."""

from __future__ import annotations


class HubError(Exception):
    """Root of the hub's errors. `error` is stable and stands in the answer."""

    error = "hub"
    status = 400


class BadRequest(HubError):
    """A well-formed message that asks for something that cannot be."""

    error = "bad_request"


class TokenRefused(HubError):
    """An enrolment link that was never made here, is too old, or was used by another device."""

    error = "token"
    status = 403


class CursorGone(HubError):
    """The feed cannot go on from there: another epoch, scope or schema. Start again without a cursor."""

    error = "cursor_gone"
    status = 410


class SnapshotGone(HubError):
    """A snapshot's file that was replaced by newer ones."""

    error = "snapshot_gone"
    status = 404


class SchemaTooOld(HubError):
    """The device's software reads a form of the feed that is not served any more."""

    error = "schema"


class Unreported(HubError):
    """The hub was restored, and this device has not said yet what it holds: /v1/rejoin comes first."""

    error = "unreported"
    status = 409


class ChainGap(HubError):
    """Operations are missing before this segment. `known_seq` is where the hub's copy ends."""

    error = "chain_gap"
    status = 409

    def __init__(self, message: str, *, known_seq: int) -> None:
        super().__init__(message)
        self.known_seq = known_seq


class ChainFork(HubError):
    """The device says something else now than it said before: its disk was restored, or somebody wrote to it."""

    error = "chain_fork"
    status = 409


class SegmentRefused(HubError):
    """A segment whose chain or signature does not hold."""

    error = "segment"
    status = 422


class EpochPassed(HubError):
    """A claim of another reign than the one in which this arbiter rules, or nobody's rule at all. `epoch` is the newest known here."""

    error = "epoch"
    status = 409

    def __init__(self, message: str, *, epoch: int) -> None:
        super().__init__(message)
        self.epoch = epoch


class NotAllowed(HubError):
    """Known, but not for this."""

    error = "not_allowed"
    status = 403


class NotFound(HubError):
    error = "not_found"
    status = 404


class VenueMissing(HubError):
    """The database holds no venue yet."""

    error = "no_venue"
    status = 503


class Busy(HubError):
    """Too much to do at this moment: come again after `retry_after_s` whole seconds."""

    error = "busy"
    status = 503

    def __init__(self, message: str = "the hub is busy; try again", *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooMany(Busy):
    """More calls of one device than any device has reason for."""

    status = 429
