"""The venue node as a process: the hub's server over the node's tables, and two threads towards the hub, *follow* and *relay*.

Neither the hub nor its line needs to be there. The state directory is a device's, enrolled with the role `venue`; the node's database
lies in it unless another is named.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import structlog
from sqlalchemy.exc import DBAPIError

from hub import witness
from hub.database import open_database, sqlite_path
from hub.errors import HubError, Unreported
from hub.venue.node import VenueNode
from hub.venue.upstream import HttpUpstream
from sync.backoff import Backoff
from sync.enrol import SOFTWARE
from sync.errors import HubKeyWrong, HubRefused, HubUnreachable, JournalBroken, MessageError, SyncError
from sync.journal import Journal, open_journal
from sync.protocol import PAGE_ROWS_MAX, Telemetry
from sync.rejoin import rejoin
from sync.state import Identity, Role, StateDir
from sync.upload import Uploader
from tickets.clock import SystemClock

DATABASE = "venue.db"
VENUE_KEY = "venue"
"""What the node keeps beside its database is named after this: `venue.tls.pem`, `venue.witness`."""
WAIT_S = 20.0
RELAY_LOOK_S = 1.0
TELEMETRY_S = 15.0
BACKOFF_S_MAX = 5.0
"""Short: one node asks for a whole venue, and the venue waits for it."""

log = structlog.get_logger()


def open_venue(state_dir: Path, *, database_url: str | None = None) -> VenueNode:
    """The node over an enrolled state directory. Raises HubError, in one line."""
    state = StateDir(state_dir)
    try:
        identity, key = state.identity(), state.identity_key()
    except SyncError as error:
        raise HubError(str(error)) from error
    if identity.role is not Role.VENUE:
        raise HubError(f"{state_dir}: enrolled as a {identity.role}; a venue node needs a link of role venue")
    url = database_url or f"sqlite:///{state_dir / DATABASE}"
    if sqlite_path(url) is None:
        raise HubError(
            f"--database {url.partition(':')[0]}: a venue node keeps a SQLite file; a hub may have PostgreSQL"
        )
    engine = open_database(url)
    node = VenueNode(
        engine,
        identity,
        key,
        upstream=_line(state, identity),
        clock=SystemClock(),
        random_bytes=os.urandom,
    )

    def take_pins(text: str) -> None:
        try:
            state.take_pins(text, identity)
        except MessageError as error:
            log.warning("left_out", what=(str(error),))

    node.on_pins = take_pins
    witness.watch(node, state_dir / VENUE_KEY)
    if node.restored is not None:
        log.error("restored", why=node.restored)
    return node


class Errands:
    """The threads towards the hub. `start` begins them, `stop` asks them to end; a bug in one of them ends the process by `failed`."""

    def __init__(self, node: VenueNode, state_dir: Path, *, failed: Callable[[], None]) -> None:
        self._node, self._state, self._failed = node, StateDir(state_dir), failed
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for name, work in (("follow", self._follow), ("relay", self._relay))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._node.to_relay.set()

    def _follow(self) -> None:
        hub, backoff = _line(self._state, self._node.identity), Backoff(os.urandom, bound_s_max=BACKOFF_S_MAX)
        reached = False
        while not self._stop.is_set():
            try:
                # After a failure the first answer is wanted at once: until it comes the hub counts as away.
                pulled = self._node.pull(hub, wait_s=WAIT_S if reached else 0.0, rows_max=PAGE_ROWS_MAX)
            except (HubUnreachable, HubRefused, MessageError, DBAPIError) as error:
                if reached or isinstance(error, HubRefused):
                    log.warning("hub_not_reached", error=str(error))
                reached = False
                self._look_at_pins(error, hub)
                if isinstance(error, HubRefused) and error.error == "revoked":
                    self._node.shut_out = True
                self._stop.wait(backoff.failed())
                continue
            backoff.succeeded()
            self._node.shut_out = False
            if not reached:
                reached = True
                log.info("hub_reached")
                self._node.to_relay.set()  # the line is back
            if pulled.left_out:
                log.error("left_out", what=pulled.left_out)
            if pulled.restored:
                log.warning("hub_restored")

    def _relay(self) -> None:
        hub, backoff = _line(self._state, self._node.identity), Backoff(os.urandom, bound_s_max=BACKOFF_S_MAX)
        clock = self._node.clock
        journal = self._journal()
        own = None if journal is None else Uploader(journal, self._state, hub, clock=clock)
        told_s, sequence = float("-inf"), 0
        while not self._stop.is_set():
            self._node.to_relay.clear()
            pause_s = RELAY_LOOK_S
            try:
                if done := self._node.push(hub):
                    log.info("relayed", operations=done)
                    pause_s = 0.0
                elif clock.monotonic_s() > told_s + TELEMETRY_S:
                    if own is not None:
                        own.step()
                    self._node.bring_forward()
                    self._node.push_telemetry(hub)
                    sequence += 1
                    hub.telemetry(self._report(sequence))
                    told_s = clock.monotonic_s()
                backoff.succeeded()
            except (HubUnreachable, HubRefused, DBAPIError) as error:
                pause_s = backoff.failed()
                self._look_at_pins(error, hub)
                if isinstance(error, HubRefused):
                    log.warning("relay_refused", error=str(error))
                    if error.error == Unreported.error and journal is not None and _rejoined(journal, hub):
                        continue
                self._stop.wait(pause_s)
                continue
            if pause_s:
                self._node.to_relay.wait(pause_s)

    def _report(self, sequence: int) -> Telemetry:
        """How this node is, and the pin of its TLS key: from here the hub knows what the arbiter's statement has to name."""
        now, pin = self._node.clock.now_utc(), self._node.tls_pin
        facts = {
            "tls": None if pin is None else pin.hex(),
            "shut_out": self._node.shut_out,
            "put_back": self._node.put_back,
        }
        state, stops = ("error", "claims") if self._node.put_back else ("ok", "")
        part = {"part": "venue", "state": state, "at": now.isoformat(), "stops": stops, "facts": facts}
        return Telemetry(now, SOFTWARE, unsent=self._node.waiting(), parts=(part,), sequence=sequence)

    def _look_at_pins(self, error: Exception, hub: HttpUpstream) -> None:
        """Another line may have heard of a new TLS key of the hub meanwhile."""
        if isinstance(error, HubKeyWrong):
            pins = self._state.hub_pins(self._node.identity)
            for line in (hub, self._node.upstream):
                if isinstance(line, HttpUpstream):
                    line.expect(pins)

    def _journal(self) -> Journal | None:
        """The node is a device too, with little to say of itself: that it began. A journal that is broken must not stop the venue's."""
        try:
            return open_journal(self._state, clock=self._node.clock, random_bytes=os.urandom)
        except JournalBroken as error:
            log.warning("journal_broken", why=str(error))
            return None

    def _guarded(self, work: Callable[[], None]) -> None:
        """The top of a thread: a bug ends the process, so that systemd starts it afresh."""
        try:
            work()
        except Exception:
            log.exception("thread_ended", thread=threading.current_thread().name)
            self._failed()


def _rejoined(journal: Journal, hub: HttpUpstream) -> bool:
    """The hub was restored, and asks this node too what it holds: nothing but the chain of its own journal."""
    try:
        log.warning("rejoined", sent_again=rejoin(journal, hub))
    except (HubUnreachable, HubRefused) as error:
        log.warning("not_rejoined", error=str(error))
        return False
    return True


def _line(state: StateDir, identity: Identity) -> HttpUpstream:
    """Raises HubError where the enrolment names no usable pin."""
    try:
        return _upstream(state, identity)
    except ValueError as error:
        raise HubError(f"{identity.hub_url}: {error}; enrol this node again") from error


def _upstream(state: StateDir, identity: Identity) -> HttpUpstream:
    return HttpUpstream(
        identity.hub_url,
        tls=state.hub_pins(identity),
        device=identity.device,
        key=state.identity_key(),
        clock=SystemClock(),
        random_bytes=os.urandom,
    )
