"""The push thread: operations first, then leases and the certificate. What this device did is said before anything else."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy.exc import DBAPIError

from sync.afresh import begin_afresh
from sync.backoff import Backoff
from sync.daemon.shared import (
    FORK,
    GATE_BELL,
    HUB_AWAY,
    KIOSK_BELL,
    LOOK_S,
    Line,
    Shared,
    backoff_of,
    elsewhere,
    not_reached,
    pause_s_after,
)
from sync.daemon.watch import Opened
from sync.errors import (
    HubRefused,
    HubUnreachable,
)
from sync.journal import Journal, is_forked, open_for_grants
from sync.leasing import LeaseKeeper
from sync.rejoin import rejoin
from sync.renewal import Renewal
from sync.route import Origin
from sync.service.doorbell import Doorbell
from sync.state import Role
from sync.upload import Uploader

log = structlog.get_logger()


def push(shared: Shared, bell: Doorbell) -> None:
    """The push thread, until `stop`."""
    work, backoff = _Pushing(shared, shared.line(shared.route.current())), backoff_of(shared)
    failing = False
    while not shared.stop.is_set():
        shared.worked("push")
        pause_s = LOOK_S
        if work.line.origin != shared.route.current():
            work.go_over(shared.route.current())
            backoff.succeeded()
        opened = work.open()
        if opened is None:
            continue
        if (left_s := work.not_before_s - shared.clock.monotonic_s()) > 0:
            _count_unsent(shared, opened)
            bell.wait(timeout_s=min(left_s, LOOK_S))  # the hub named a time: a new sale does not make it sooner
            continue
        try:
            sent = _push_all(shared, work)
            work.was_unreported = False
            backoff.succeeded()
            shared.uploads.settled()
            if sent:
                shared.report_now.set()
            if failing:
                failing = False
                shared.pull_now.set()  # the line is back: the feed need not wait for its own pause to end
        except (HubUnreachable, HubRefused) as error:
            failing, pause_s = True, work.failed(error, backoff)
        except DBAPIError as error:  # a disk that is full, a file that went away: look again
            pause_s = backoff.failed()
            shared.uploads.settled()
            log.warning("journal_unusable", error=str(error.orig))
        _count_unsent(shared, opened)
        bell.wait(timeout_s=max(pause_s, 0.01))
    if work.keeper is not None:
        _give_back_at_the_end(work.keeper)


@dataclass(slots=True)
class _Pushing:
    """What the push thread holds: its line, and who sends from the journal that is open now. `remembered_s`: when the busiest day was last
    looked at.
    """

    shared: Shared
    line: Line
    opened: Opened | None = None
    uploader: Uploader | None = None
    keeper: LeaseKeeper | None = None
    renewal: Renewal | None = None
    remembered_s: float = float("-inf")
    was_unreported: bool = False
    """The hub has said so and not gone on since."""
    not_before_s: float = float("-inf")
    """Whoever serves this device asked not to be called before."""

    def go_over(self, origin: Origin) -> None:
        self.line.hub.close()
        self.line = self.shared.line(origin)
        self.opened, self.not_before_s = None, float("-inf")

    def open(self) -> Opened | None:
        """The journal as it is now. None: look again, another incarnation has begun."""
        shared, now_open = self.shared, self.shared.watch.current()
        if now_open is self.opened:
            return now_open
        self.opened = now_open
        shared.tell(journal=now_open.problem)
        self.uploader = self.keeper = self.renewal = None
        sound = now_open.sound
        if sound is None:
            return None if _begin_afresh(shared) else now_open
        at_hub = self.line.origin.node is None
        self.uploader = Uploader(sound, shared.state, self.line.hub, clock=shared.clock, at_hub=at_hub)
        if shared.identity.role is Role.KIOSK:
            units = shared.settings.slot_units
            self.keeper = LeaseKeeper(sound, self.line.hub, clock=shared.clock, slot_units=units)
            self.renewal = Renewal(sound, shared.identity, self.line.hub, clock=shared.clock)
        return now_open

    def failed(self, error: HubUnreachable | HubRefused, backoff: Backoff) -> float:
        """What to do about it; so many seconds until the next try."""
        shared, pause_s = self.shared, pause_s_after(self.shared, backoff, error)
        if isinstance(error, HubUnreachable):
            if error.retry_after_s is not None:
                self.not_before_s = shared.clock.monotonic_s() + pause_s
            shared.uploads.failed()
        else:
            shared.uploads.settled()  # there is nothing to wait for
        if isinstance(error, HubRefused) and error.error == "unreported":
            shared.rejoin_now.set()
            again, self.was_unreported = self.was_unreported, True
            return (
                pause_s if again else 0.0
            )  # one that is told all and asks again is asked no faster than any other that refuses
        not_reached(shared, "push", error, self.line)
        if isinstance(error, HubRefused) and error.error == "chain_fork" and self.opened is not None:
            _mark_forked(shared, self.opened.sound)
            _begin_afresh(shared)
        if isinstance(error, HubRefused) and error.error == "chain_gap" and is_forked(shared.state):
            log.error("journal_has_hole", known_seq=error.known_seq)
            shared.watch.doubt()
            shared.ring(GATE_BELL, KIOSK_BELL)
            _begin_afresh(shared)
        return 0.0 if elsewhere(shared, self.line.origin, error) else pause_s


def _give_back_at_the_end(keeper: LeaseKeeper) -> None:
    """This device goes off. Where its program was closed before, others may sell what it held; where the line is gone, nothing is given
    back that nobody would hear of.
    """
    try:
        if keeper.step(closing=True):
            log.info("leases_returned")
    except (HubUnreachable, HubRefused) as error:
        log.info("leases_not_returned", error=str(error))
    except DBAPIError as error:
        log.warning("journal_unusable", error=str(error.orig))


def _push_all(shared: Shared, work: _Pushing) -> bool:
    """Everything that waits: operations, what a restored hub must know, leases, the certificate. Whether any operation was answered."""
    keeper, line, opened = work.keeper, work.line, work.opened
    sound = None if opened is None else opened.sound
    if keeper is not None:
        keeper.end_old_blocks(shared.clock.now_utc())  # first: without a line nothing below is reached
    sent = work.uploader is not None and _push_operations(shared, work.uploader, line)
    try:
        if sound is not None and shared.rejoin_now.is_set():
            again = rejoin(sound, line.hub)
            shared.rejoin_now.clear()
            log.warning("rejoined", sent_again=again)
        if keeper is not None:
            _keep_leases(shared, work, keeper)
        if work.renewal is not None and work.renewal.step():
            log.info("certificate_renewed")
    except HubRefused as refused:
        # A venue node that has no line to its hub is no reason to leave it: selling goes on from what is held.
        if line.origin.node is None or refused.error != HUB_AWAY:
            raise
    return sent


def _push_operations(shared: Shared, uploader: Uploader, line: Line) -> bool:
    """Whether any operation was answered."""
    sent_any = False
    while not shared.stop.is_set():
        sent = uploader.step()
        if not sent.operations:
            break
        sent_any = True
        shared.worked("push")
        shared.reached(line)
        shared.add(rejected=sent.rejected, conflicts=sent.conflicts)
        log.info("sent", operations=sent.operations, rejected=sent.rejected, conflicts=sent.conflicts)
    return sent_any


def _keep_leases(shared: Shared, work: _Pushing, keeper: LeaseKeeper) -> None:
    """Raises HubRefused where a venue node has no line to its hub."""
    if shared.contact_s is not None:
        keeper.heard(shared.contact_s)  # whichever thread heard it: what is returned now somebody will sell
    while not shared.stop.is_set() and keeper.step():
        shared.reached(work.line)
        shared.worked("push")
        shared.ring(KIOSK_BELL)
        log.info("leases_renewed")
    if shared.clock.monotonic_s() > work.remembered_s + shared.settings.telemetry_s:
        keeper.remember_peak()
        work.remembered_s = shared.clock.monotonic_s()


def _mark_forked(shared: Shared, journal: Journal | None) -> None:
    """The hub contradicts this journal: the disk was put back to an earlier time. Said where every process of the device sees it:
    a gate goes on in a new incarnation, a kiosk stops selling. Nothing more is sent from this one.
    """
    if journal is None:
        return
    try:
        marked = journal.mark_forked(FORK)
    except DBAPIError as error:
        log.warning("journal_unusable", error=str(error.orig))
        return
    if marked:
        log.error("journal_forked", incarnation=journal.incarnation)
        shared.watch.doubt()
        shared.ring(GATE_BELL, KIOSK_BELL)


def _begin_afresh(shared: Shared) -> bool:
    """A kiosk goes on in a new incarnation of the same file: its sales are kept, its leases are not. A gate sees to its own journal.
    Whether it did; what stands in the way passes, and it is tried again when the journal is opened again.
    """
    if shared.identity.role is not Role.KIOSK or not is_forked(shared.state):
        return False
    journal = open_for_grants(shared.state)
    if journal is None:
        return False
    try:
        done = begin_afresh(shared.state, journal, clock=shared.clock, random_bytes=shared.random_bytes)
    except (DBAPIError, OSError) as error:
        log.warning("journal_unusable", error=type(error).__name__)
        return False
    finally:
        journal.engine.dispose()
    if done:
        shared.add(began_afresh=1)
        shared.watch.doubt()
        shared.ring(KIOSK_BELL)
    return done


def _count_unsent(shared: Shared, opened: Opened) -> None:
    if opened.grants is not None:
        try:
            held = opened.grants.acknowledged_seq() - opened.grants.hub_seq()
            shared.tell(unsent=opened.grants.unsent(), unsent_hub=held)
        except DBAPIError as error:
            log.warning("journal_unusable", error=str(error.orig))
