"""Downloading: pages of the feed into the current cache generation, or into the next one until it is whole.

A generation that is missing, broken, of another schema, or cut off from its feed is replaced by a new file, built from the start
and put in force only when it is complete; the last good one is read meanwhile and kept until another follows. Granted rows go
into the journal first, then the cache moves its cursor, so a cut in between only means that a page comes twice.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy.exc import DBAPIError

from sync import cache as cache_file
from sync import granted, granted_copy, grants, shut_out, tls
from sync.balance import PARTS
from sync.cache import FEED_TABLES, Cache
from sync.checksum import to_text
from sync.client import Hub
from sync.errors import CacheBroken, HubRefused, HubUnreachable, MessageError
from sync.journal import Journal
from sync.protocol import CURSOR_SCHEMA, PAGE_ROWS_MAX, Acknowledged, Page
from sync.state import Identity, StateDir
from sync.store import reading
from tickets.clock import Clock

HEAL_AGAIN_S = 600.0
"""A cache that differs from the hub is built anew, but not more often than this: if the new one differs too, people must look."""
PARTS_A_STEP, PARTS_AT_FIRST = 1, 16
"""How many parts of the cache are counted anew after a page: of a million tickets one part is 4 000 rows, some milliseconds."""


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
    ) -> None:
        self._journal, self._state, self._identity, self._hub = journal, state, identity, hub
        self._node: str | None = None
        self._clock, self._rows_max = clock, rows_max
        self._told = told or _nobody
        self._current: Cache | None = None
        self._current_number: int | None = None
        self._next: Cache | None = None
        self._next_number = 0
        self._seen: dict[str, set[str]] = {}
        self.rebuilt = 0
        """How many generations had to be replaced since this object began."""
        self.diverged = 0
        """How often the cache was found not to be what the hub has."""
        self._healed_s = float("-inf")
        self._part = 0

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
            self._told("feed_gone", str(refused))
            if self._node is None or cursor is None:
                self._begin_next()
            else:  # the rows are good, and the node knows from where a device of its hub goes on
                with target.engine.begin() as connection:
                    cache_file.forget_cursor(connection, node=self._node)
            return Pulled(more=True)
        if page.schema not in (CURSOR_SCHEMA, CURSOR_SCHEMA - 1):
            raise MessageError(
                f"a page of schema {page.schema}; this version reads {CURSOR_SCHEMA - 1} and {CURSOR_SCHEMA}"
            )
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
        return Pulled(rows, applied.changed, applied.left_out, page.more, switched, told)

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

    def _compare(self, target: Cache, page: Page, total: int | None) -> str:
        """Everything that the hub has is here now: does it come to the same? What is wrong, or nothing. Where a venue node told of any row
        there may be more here than the hub has heard of, and only the rows themselves are looked at.
        """
        with target.engine.begin() as connection:
            alike = page.checksum is None or total is None or page.checksum == to_text(total)
            if not alike and not cache_file.came_by_node(connection):
                return f"the rows here come to {to_text(total or 0)}, the hub's to {page.checksum}"
            count = PARTS_AT_FIRST if cache_file.uncounted(connection) else PARTS_A_STEP
            for _ in range(count):
                part, self._part = self._part, (self._part + 1) % PARTS
                if not cache_file.recount(connection, part):
                    return f"rows in part {part} are not what was laid down"
        return ""

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
        if self._next is not None:
            self._next.close()
            self._remove(self._next_number)
        self._next_number = max([0, *self._numbers()]) + 1
        self._next = Cache.create(self._state.cache(self._next_number))
        self._seen = {}

    def _switch(self) -> None:
        """The next generation is whole: everyone reads it from here on; all but it and the last good one are removed."""
        assert self._next is not None
        self._carry_over()
        _fold_in(self._next)
        with self._journal.write() as connection:
            grants.forget_unseen(connection, self._seen)
            grants.switch_generation(connection, self._next_number, at=self._clock.now_utc().isoformat())
            granted_copy.keep(self._state, connection)
        before, self._current = self._current_number, self._next
        kept = {self._next_number, before}
        self._current_number, self._next = self._next_number, None
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

    def _open_checked(self, number: int) -> Cache:
        path = self._state.cache(number)
        looked = Cache.open(path)
        try:
            looked.check()
        finally:
            looked.close()
        try:
            return Cache.create(path)  # there already, so this only opens it to write
        except DBAPIError as error:
            raise CacheBroken(f"{path}: cannot be written ({error.orig})") from error

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


def _is_busy(error: DBAPIError) -> bool:
    return "locked" in str(error.orig) or "busy" in str(error.orig)
