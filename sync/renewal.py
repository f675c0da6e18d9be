"""Has the kiosk's selling key certified anew long before its certificate ends, so that no morning begins with a kiosk that may not sell."""

from __future__ import annotations

import structlog

from sync import certificate, granted, grants
from sync.client import Hub
from sync.errors import HubRefused, MessageError
from sync.journal import Journal
from sync.state import Identity
from tickets.clock import Clock
from tickets.ids import Kid

LOOK_S = 6 * 3600.0

log = structlog.get_logger()


class Renewal:
    """One step asks at most four times a day. Whether there is a new certificate is the hub's to decide: it knows the time and counts the
    tickets. It goes into force here at once, and reaches everyone else by the feed.
    """

    def __init__(self, journal: Journal, identity: Identity, hub: Hub, *, clock: Clock) -> None:
        self._journal, self._identity, self._hub, self._clock = journal, identity, hub, clock
        self._next_s = float("-inf")

    def step(self) -> bool:
        """Whether a new certificate is in force. One that does not hold under the hub's key is left out and told. Raises HubUnreachable,
        HubRefused; then it is not asked again before its time.
        """
        now_s = self._clock.monotonic_s()
        if now_s < self._next_s or self._identity.kid is None:
            return False
        with self._journal.read() as connection:
            held = granted.key(connection, Kid(self._identity.kid))
        if held is None or held.revoked_at is not None:
            return False  # not there yet, or no more: nothing to renew
        self._next_s = now_s + LOOK_S
        try:
            answer = self._hub.certificate()
        except HubRefused as error:
            if error.status == 404:  # a hub of the release before does not know the call
                return False
            raise
        if answer.text == held.certificate:
            return False
        try:
            fresh = certificate.check(answer.text, answer.signature, self._identity.hub_key)
            if (fresh.kid, fresh.public) != (held.kid, held.public):
                raise MessageError("a certificate of another key")
        except MessageError as error:
            log.error("certificate_left_out", why=str(error))  # noqa: TRY400 the sentence is all there is
            return False
        with self._journal.write() as connection:
            grants.put_certificate(connection, fresh, answer.text, answer.signature)
        return True
