"""Downloading: pages of the feed into the current cache generation, or into the next one until it is whole.

A generation that is missing, broken, of another schema, or cut off from its feed is replaced by a new file: a snapshot where the hub
has one (sync.bootstrap), else built page by page. It is put in force only when it is complete; the last good one is read meanwhile
and kept until the new one has served a day. Granted rows go
into the journal first, then the cache moves its cursor, so a cut in between only means that a page comes twice.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sync import cache as cache_file
from sync import granted, granted_copy, grants, shut_out, tls
from sync.balance import PARTS
from sync.bootstrap import Bootstrap, Fetched
from sync.cache import FEED_TABLES, Cache
from sync.checksum import to_text
from sync.client import Hub
from sync.errors import CacheBroken, HubRefused, HubUnreachable, MessageError, StoreFull
from sync.journal import Journal
from sync.protocol import CURSOR_SCHEMA, PAGE_ROWS_MAX, Acknowledged, Page
from sync.snapshot import WAIT_S_MAX, NoSnapshot
from sync.state import Identity, StateDir, sync_directory
from sync.store import reading
from tickets.clock import Clock

SERVED_S = 86_400.0
"""A generation that has served so long needs no older one beside it."""
BUILDING_ANSWERS_MAX = 6
"""A hub that says so often that it is building is no longer waited for."""
HEAL_AGAIN_S = 600.0
"""A cache that differs from the hub is built anew, but not more often than this: if the new one differs too, people must look."""
HUB_HEARD_S = 40.0
"""A venue node hears of its hub at the end of each long poll, every 20 s or so."""
PARTS_A_STEP, PARTS_AT_FIRST = 1, 16
"""How many parts of the cache are counted anew after a page at least: of a million tickets one part is 4 000 rows, some milliseconds."""
ROUND_S = 100.0
"""In so long all parts come round, as far as the time below is enough: so many are due as this share of the time since the last page."""
BUSY_COUNT_S, IDLE_COUNT_S = 0.05, 0.5
"""So long counting may take after a page that brought something, for the next one may bring more; and after one that brought nothing."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one step did: rows of tickets and uses, granted rows, what could not be put in force, whether more is waiting, and whether
    everyone now reads another generation.
    """

    rows: int = 0
    granted: int = 0
    left_out: tuple[str, ...] = ()
    more: bool = False
    switched: bool = False
    settled: int = 0
    """Words of the hub on operations that a venue node had answered first."""
    hub_there: bool = True
    """Whether the hub itself has been heard of lately; where a venue node answered, by its word."""

    @property
    def changed(self) -> bool:
        return bool(self.rows or self.granted or self.switched)


class Downloader:
    """One step asks for one page. `told` gets (event, detail) when a cache had to be given up. Own one thread; close when done."""

    def __init__(
        self,
        journal: Journal,
        state: StateDir,
        identity: Identity,
        hub: Hub,
        *,
        clock: Clock,
        rows_max: int = PAGE_ROWS_MAX,
        told: Callable[[str, str], None] | None = None,
        worked: Callable[[], None] | None = None,
    ) -> None:
        self._journal, self._state, self._identity, self._hub = journal, state, identity, hub
        self._node: str | None = None
        self._clock, self._rows_max = clock, rows_max
        self._told = told or _nobody
        self._current: Cache | None = None
        self._current_number: int | None = None
        self._next: Cache | None = None
        self._next_number = 0
        self._bootstrap = Bootstrap(
            state, hub, hub_key=identity.hub_key, worked=worked or (lambda: None), told=self._told
        )
        self._fresh_wanted = False
        self._told_full = False
        self._asked = 0
        self._snapshot_cursor: str | None = None
        self._leavings = True
        self._serving_since_s = clock.monotonic_s()
        self._seen: dict[str, set[str]] = {}
        self.rebuilt = 0
        """How many generations had to be replaced since this object began."""
        self.diverged = 0
        """How often the cache was found not to be what the hub has."""
        self._healed_s = float("-inf")
        self._part = 0
        self._synced: dict[int, tuple[str, ...]] = {}
        """By generation, the places in the feeds that its file holds through a power cut."""
        self._due, self._counted_s = 0.0, clock.monotonic_s()

    @property
    def generation(self) -> int | None:
        return self._current_number

    def use(self, hub: Hub, *, node: str | None) -> None:
        """From now on ask there. `node` is a venue node's device id in hex, None for the hub: their feeds count differently, so each has
        its own cursor, and the rows stay.
        """
        self._hub, self._node = hub, node

    def is_ready(self, hub: Hub, *, node: str) -> bool:
        """Whether a venue node would serve this device now: it answers, knows it, and has as much of the hub as was seen here."""
        if self._current is None or self._next is not None:
            return False
        with reading(self._current.engine) as connection:
            cursor, seen = cache_file.cursor(connection, node=node), cache_file.cursor(connection)
        try:
            hub.changes(cursor, wait_s=0, rows_max=1, seen=seen)
        except HubRefused as refused:
            return refused.status == 410  # it is another feed now, and begins anew for us
        except (HubUnreachable, MessageError):
            return False
        return True

    def let_in(self) -> bool:
        """This device is served again after it was shut out: put that on record."""
        shut_out.let_in(self._journal)
        return True

    def open(self) -> None:
        """Find the generation in force and look at every page of it; begin a new one if it cannot be read."""
        with self._journal.read() as connection:
            number = granted.generation(connection)
        self._forget_unfinished(number)
        if number is None:
            self._begin_next()
            return
        try:
            self._current = self._open_checked(number)
            self._current_number = number
        except CacheBroken as error:
            self._give_up(number, str(error))

    def close(self) -> None:
        for held in (self._current, self._next):
            if held is not None:
                held.close()
        self._current = self._next = None

    def looks_cut(self) -> bool:
        """Whether the file in force has gone or is shorter than its own header says: one stat, one read. Asked often."""
        if self._current_number is None:
            return False
        path = self._state.cache(self._current_number)
        try:
            with path.open("rb") as file:
                head = file.read(100)
                size = path.stat().st_size
        except OSError:
            return True
        if len(head) < 100 or not head.startswith(b"SQLite format 3\0"):
            return True
        # SQLite file format 1.3: page size at 16 (1 means 65536), pages at 28. A WAL that is not yet folded in only makes it longer.
        page = int.from_bytes(head[16:18], "big")
        return size < (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")

    def give_up_current(self, why: str) -> None:
        """The generation in force turned out to be broken: build the next one."""
        if self._current_number is not None:
            self._give_up(self._current_number, why)

    def step(self, *, wait_s: float) -> Pulled:
        """Ask for the next page and lay it down. Raises HubUnreachable, HubRefused, MessageError (a page that makes no sense)."""
        if self._fresh_wanted:
            fetched = self._fetch(wait_s=wait_s)
            if fetched is not None:
                return fetched
        target = self._next or self._current
        assert target is not None, "open() comes first"
        building = self._next is not None
        try:
            with reading(target.engine) as connection:
                seen = cache_file.cursor(connection)
                cursor = seen if self._node is None else cache_file.cursor(connection, node=self._node)
        except DBAPIError as error:
            self._broken(str(error.orig), building=building)
            return Pulled(more=True)
        try:
            page = self._ask(cursor, seen, wait_s=0 if building else wait_s)
        except HubRefused as refused:
            if refused.status != 410:
                raise
            self._feed_gone(target, cursor, refused)
            return Pulled(more=True)
        _must_be_readable(page)
        applied = self._grant(page, building=building)
        told = self._settle(page)
        try:
            rows, total = _lay_down(target, page, cursor, node=self._node, seen=seen)
            apart = "" if page.more else self._compare(target, page, total)
        except DBAPIError as error:
            if _is_busy(error):
                raise
            self._broken(str(error.orig), building=building)
            return Pulled(granted=applied.changed, left_out=applied.left_out, more=True)
        switched = building and not page.more
        if switched:
            self._switch()
        if apart:
            self._heal(apart)
        elif not page.more:
            self._tidy()
        return Pulled(rows, applied.changed, applied.left_out, page.more, switched, told, _hub_is_there(page))

    def _feed_gone(self, target: Cache, cursor: str | None, refused: HubRefused) -> None:
        self._told("feed_gone", str(refused))
        if self._node is not None and cursor is not None:
            # The rows are good, and the node knows from where a device of its hub goes on.
            with target.engine.begin() as connection:
                cache_file.forget_cursor(connection, node=self._node)
            return
        self._begin_next()
        if cursor is not None and cursor == self._snapshot_cursor:
            self._begin_paging()  # the hub's own snapshot is too old for its feed: the same one again would not help

    def _ask(self, cursor: str | None, seen: str | None, *, wait_s: float) -> Page:
        if self._node is None:
            return self._hub.changes(cursor, wait_s=wait_s, rows_max=self._rows_max)
        known = Acknowledged(self._journal.incarnation, self._journal.hub_seq())
        return self._hub.changes(cursor, wait_s=wait_s, rows_max=self._rows_max, seen=seen, acknowledged=known)

    def _settle(self, page: Page) -> int:
        """What the node says of the hub's copy of this journal. How many words of the hub came with it."""
        if page.relay is None or page.relay.acknowledged is None:
            return 0
        held = page.relay.acknowledged
        if held.incarnation == self._journal.incarnation:
            rows = [(item.op, item.status.value, item.reason) for item in page.relay.answers]
            self._journal.settle(held.seq, rows, at=page.at.isoformat())
        return len(page.relay.answers)

    def _tidy(self) -> None:
        """The generation in force has everything: what is not needed any more goes."""
        self._let_go_of_the_last()
        if self._leavings:
            self._bootstrap.sweep()  # of a download that turned out not to be needed
            self._leavings = False

    def _compare(self, target: Cache, page: Page, total: int | None) -> str:
        """Everything that the hub has is here now: does it come to the same? What is wrong, or nothing. Where a venue node told of any row
        there may be more here than the hub has heard of, and only the rows themselves are looked at.
        """
        with target.engine.begin() as connection:
            alike = page.checksum is None or total is None or page.checksum == to_text(total)
            if not alike and not cache_file.came_by_node(connection):
                return f"the rows here come to {to_text(total or 0)}, the hub's to {page.checksum}"
            at_least = PARTS_AT_FIRST if cache_file.uncounted(connection) else PARTS_A_STEP
            part = self._count_anew(connection, at_least, budget_s=BUSY_COUNT_S if page.tables else IDLE_COUNT_S)
            return "" if part is None else f"rows in part {part} are not what was laid down"

    def _count_anew(self, connection: Connection, at_least: int, *, budget_s: float) -> int | None:
        """Count the parts that are due, `at_least` so many, and no more than fit into the time. The part that is not what was laid down."""
        began_s = self._clock.monotonic_s()
        self._due = min(self._due + PARTS * (began_s - self._counted_s) / ROUND_S, float(PARTS))
        self._counted_s = began_s
        done = 0
        while done < at_least or (self._due >= 1 and self._clock.monotonic_s() - began_s < budget_s):
            part, self._part = self._part, (self._part + 1) % PARTS
            done, self._due = done + 1, max(0.0, self._due - 1)
            if not cache_file.recount(connection, part):
                return part
        return None

    def _heal(self, why: str) -> None:
        """Tell, and build the next generation from the start. The one in force is read meanwhile: nearly all of it is right."""
        self.diverged += 1
        now_s = self._clock.monotonic_s()
        again = now_s < self._healed_s + HEAL_AGAIN_S
        self._told("diverged", f"{why}; built anew a moment ago already" if again else why)
        if not again and self._next is None:
            self._healed_s = now_s
            self.rebuilt += 1
            self._begin_next()
            if self._snapshot_cursor is not None:
                self._begin_paging()  # it came as a snapshot, which may be what is wrong: the rows themselves, one by one

    def _grant(self, page: Page, *, building: bool) -> grants.Applied:
        if not grants.has_grants(page):
            return grants.Applied()
        wrong = self._take_pins(page)
        with self._journal.write() as connection:
            applied = grants.apply(connection, page, self._identity)
            applied = replace(applied, left_out=applied.left_out + wrong)
            if applied.changed and {"document", "key"} & set(applied.seen):
                granted_copy.keep(self._state, connection)
        if building:
            for table, keys in applied.seen.items():
                self._seen.setdefault(table, set()).update(keys)
        return applied

    def _take_pins(self, page: Page) -> tuple[str, ...]:
        """The hub's statement about its TLS keys goes beside the identity, where whoever connects next finds it. What was wrong with it."""
        wrong = []
        for part in page.tables:
            for row in part.as_mappings() if part.table == "document" else ():
                if row.get("name") == tls.DOCUMENT:
                    try:
                        self._state.take_pins(str(row.get("text")), self._identity)
                    except MessageError as error:
                        wrong.append(str(error))
        return tuple(wrong)

    def _broken(self, why: str, *, building: bool) -> None:
        if building:
            self._told("cache_broken", why)
            self._begin_next()
        elif self._current_number is not None:
            self._give_up(self._current_number, why)

    def _give_up(self, number: int, why: str) -> None:
        """Read the one before, if there is a good one, while the next is built."""
        self._told("cache_broken", f"generation {number}: {why}")
        self.rebuilt += 1
        if self._current is not None:
            self._current.close()
        self._current = self._current_number = None
        for earlier in sorted((found for found in self._numbers() if found < number), reverse=True):
            with contextlib.suppress(CacheBroken):
                self._current = self._open_checked(earlier)
                self._current_number = earlier
                with self._journal.write() as connection:
                    grants.switch_generation(connection, earlier, at=self._clock.now_utc().isoformat())
                break
        self._begin_next()

    def _begin_next(self) -> None:
        """The next generation comes as a snapshot where the hub has one worth it, else page by page."""
        if self._next is not None:
            self._next.close()
            self._remove(self._next_number)
            self._next = None
        self._fresh_wanted, self._asked, self._told_full, self._leavings = True, 0, False, True
        self._seen = {}

    def _begin_paging(self) -> None:
        self._fresh_wanted = False
        self._next_number = self._unused_number()
        self._next = Cache.create(self._state.cache(self._next_number))

    def _fetch(self, *, wait_s: float) -> Pulled | None:
        """One try at a snapshot. None: page instead."""
        try:
            got = self._bootstrap.fetch(wait_s=min(wait_s, WAIT_S_MAX))
        except CacheBroken as error:
            # Signed by the hub and still not what this version takes in: pages say the same, row by row.
            self._told("snapshot_broken", str(error))
            self._begin_paging()
            return None
        except StoreFull as error:
            if not self._told_full:
                self._told("store_full", str(error))
                self._told_full = True
            raise
        except HubRefused as refused:
            if refused.status != 404:
                raise
            self._begin_paging()  # a hub of the version before has none
            return None
        match got:
            case NoSnapshot.FEW:
                self._begin_paging()
                return None
            case NoSnapshot.BUILDING:
                self._asked += 1
                if self._asked >= BUILDING_ANSWERS_MAX:
                    self._begin_paging()
                    return None
                return Pulled(more=True)
            case Fetched():
                return self._put_in_force(got)
            case _ as never:
                assert_never(never)

    def _put_in_force(self, fetched: Fetched) -> Pulled:
        """The file under a number that was never used, its grants in the journal, then the number."""
        self._next_number = self._unused_number()
        path = self._state.cache(self._next_number)
        fetched.path.rename(path)
        sync_directory(self._state.path)
        self._next = self._open_to_write(path)
        applied = grants.Applied() if fetched.grants is None else self._grant(fetched.grants, building=True)
        self._fresh_wanted = False
        self._switch()
        self._bootstrap.sweep()  # last: killed before, the next start unpacks again what came already
        self._snapshot_cursor = fetched.manifest.cursor
        rows = fetched.manifest.tickets + fetched.manifest.uses
        return Pulled(rows, applied.changed, applied.left_out, more=True, switched=True)

    def _switch(self) -> None:
        """The next generation is whole: everyone reads it from here on. The last good one stays until this one has served a day."""
        assert self._next is not None
        self._carry_over()
        _fold_in(self._next)
        with self._journal.write() as connection:
            grants.forget_unseen(connection, self._seen)
            grants.switch_generation(connection, self._next_number, at=self._clock.now_utc().isoformat())
            granted_copy.keep(self._state, connection)
        before, self._current = self._current, self._next
        kept = {self._next_number, self._current_number}
        if before is not None:
            before.close()
        self._current_number, self._next = self._next_number, None
        self._serving_since_s = self._clock.monotonic_s()
        for number in self._numbers():
            if number not in kept:
                self._remove(number)

    def _carry_over(self) -> None:
        """What a venue node told of must not be forgotten because the next generation comes from somebody who has not heard of it yet."""
        if self._current is None or self._current_number is None:
            return
        assert self._next is not None
        try:
            with reading(self._current.engine) as connection:
                by_node = cache_file.came_by_node(connection)
            if by_node:
                cache_file.carry_over(self._next, self._state.cache(self._current_number))
        except (DBAPIError, sqlite3.Error) as error:
            self._told("cache_not_carried_over", str(error))

    def _let_go_of_the_last(self) -> None:
        """Remove what the generation in force has replaced, once that has served a day: by this process's own measure, or by the hub's
        and this device's clocks, which may be wrong; then the old file only stays longer or goes sooner.
        """
        if self._current_number is None or len(self._numbers()) < 2:
            return
        served_s = self._clock.monotonic_s() - self._serving_since_s
        if served_s < SERVED_S:
            with self._journal.read() as connection:
                since = granted.generation_since(connection)
            if since is None or (self._clock.now_utc() - since).total_seconds() < SERVED_S:
                return
        for number in self._numbers():
            if number < self._current_number:
                self._remove(number)

    def cursors(self) -> tuple[tuple[str, ...], ...]:
        """Where each generation that may be read stands, the one in force and the one kept for a bad day: in the hub's feed, and in those
        of venue nodes that fed it. What was reached in any of them is in the file, and stays there through a power cut: rows of the
        journal are deleted on the strength of it.
        """
        found = []
        for number in self._numbers():
            try:
                held = Cache.open(self._state.cache(number))
                try:
                    with held.engine.begin() as connection:
                        places = cache_file.cursors(connection)
                finally:
                    held.close()
                if self._synced.get(number) != places:
                    places = self._synced[number] = cache_file.durable_cursors(self._state.cache(number))
                found.append(places)
            except (CacheBroken, DBAPIError):
                continue  # nobody reads that one
        return tuple(found)

    def _open_checked(self, number: int) -> Cache:
        path = self._state.cache(number)
        looked = Cache.open(path)
        try:
            looked.check()
        finally:
            looked.close()
        return self._open_to_write(path)

    def _open_to_write(self, path: Path) -> Cache:
        try:
            return Cache.create(path)  # there already, so this only opens it to write
        except DBAPIError as error:
            raise CacheBroken(f"{path}: cannot be written ({error.orig})") from error

    def _unused_number(self) -> int:
        return max([0, self._current_number or 0, *self._numbers()]) + 1

    def _forget_unfinished(self, current: int | None) -> None:
        """A generation that nobody was told to read was being built when this device stopped. What was seen of the feed then is not
        known any more, so it is begun again.
        """
        for number in self._numbers():
            if current is None or number > current:
                self._remove(number)

    def _numbers(self) -> list[int]:
        found = (re.fullmatch(r"cache-(\d+)\.db", file.name) for file in self._state.path.iterdir())
        return [int(match[1]) for match in found if match]

    def _remove(self, number: int) -> None:
        path = self._state.cache(number)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _fold_in(target: Cache) -> None:
    """Move a new generation's log into its file, outside of any transaction. Whoever reads it meanwhile only makes it wait for later."""
    connection = target.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.close()
    finally:
        connection.close()


def _hub_is_there(page: Page) -> bool:
    """Both times are the node's own."""
    if page.relay is None:
        return True
    return page.relay.at is not None and (page.at - page.relay.at).total_seconds() < HUB_HEARD_S


def _nobody(event: str, detail: str) -> None:
    _ = event, detail


def _lay_down(
    target: Cache, page: Page, cursor: str | None, *, node: str | None, seen: str | None
) -> tuple[int, int | None]:
    """The page's tickets and uses and its cursor, in one transaction. How many rows, and what all rows come to then. At the end of a venue
    node's feed everything of the hub up to the node's own place there is here too.
    """
    hub_cursor = None if page.relay is None or page.more or page.relay.cursor == seen else page.relay.cursor
    if not page.tables and page.cursor == cursor and (node is None or hub_cursor is None):
        with reading(target.engine) as connection:
            return 0, cache_file.checksum(connection)
    rows = 0
    with target.engine.begin() as connection:
        for part in page.tables:
            if part.table not in FEED_TABLES:
                continue
            rows += len(part.rows) + len(part.deletes)
            try:
                cache_file.apply(
                    connection,
                    part.table,
                    columns=list(part.columns),
                    rows=[list(row) for row in part.rows],
                    deletes=list(part.deletes),
                )
            except (ValueError, TypeError, KeyError) as error:
                raise MessageError(f"a page whose rows of '{part.table}' cannot be read: {error}") from error
        cache_file.move_cursor(connection, page.cursor, node=node)
        if node is not None and hub_cursor is not None:
            cache_file.move_cursor(connection, hub_cursor)
        return rows, cache_file.checksum(connection)


def _must_be_readable(page: Page) -> None:
    if page.schema not in (CURSOR_SCHEMA, CURSOR_SCHEMA - 1):
        raise MessageError(
            f"a page of schema {page.schema}; this version reads {CURSOR_SCHEMA - 1} and {CURSOR_SCHEMA}"
        )


def _is_busy(error: DBAPIError) -> bool:
    return "locked" in str(error.orig) or "busy" in str(error.orig)
