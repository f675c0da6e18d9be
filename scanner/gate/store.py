"""What is known of a ticket at this gate: the hub's rows first, then this device's own rows laid over them.

The order is the promise. Cache rows are read in one transaction *before* the journal: read the other way round, an admission that
was acknowledged and pulled back between the two reads would be in neither. Uses are joined by op id, so a use that stands in both
counts once, and nothing depends on knowing how far the cache's cursor has come.

Without a usable cache a gate works from codes and journal alone and says so; it never raises for a cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, assert_never

import structlog
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import DBAPIError

from scanner.gate import known, tables
from scanner.gate.known import Known
from scanner.gate.naming import Coded, Digits, Nothing, Trust, name
from scanner.gate.settings import IssuerPolicy
from sync import cache as hub_cache
from sync.cache import Cache, CachedTicket, CachedUse
from sync.errors import CacheBroken
from sync.journal import Journal
from sync.state import StateDir
from sync.store import Watch
from tickets import language
from tickets.admission import Issuer, NoTicket, Passage, Reason, TicketFacts, Use, VerdictKind
from tickets.ids import OpId, TicketId
from tickets.life_cycle import TicketState

_OWN = select(
    tables.pending.c.op,
    tables.pending.c.passage,
    tables.pending.c.units,
    tables.pending.c.window,
    tables.pending.c.at,
    tables.pending.c.gate,
    tables.pending.c.verdict,
    tables.pending.c.released,
).where(tables.pending.c.ticket == bindparam("ticket"))

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Seen:
    """A text, looked up: what code and cache say, not yet what this device itself did.

    `code` is what travels with a claim, None for digits; `row_known` whether the hub has told of the ticket; `typed` whether a
    person found it by its digits. `dead` are uses that were given back. `stopped`: its key was taken back or not allowed to sign it,
    so it is nothing unless somebody beside the code knows of it: the hub (then there is a row), or this device by its own uses.
    """

    facts: TicketFacts | NoTicket
    code: str | None = None
    row_known: bool = False
    typed: bool = False
    dead: frozenset[OpId] = frozenset()
    stopped: bool = False

    @property
    def alone(self) -> TicketFacts | NoTicket:
        """The facts where this device has no use of its own to lay over them."""
        return NoTicket(Reason.BLOCKED) if self.stopped else self.facts


class Store:
    """One owner thread. `journal` is open and verified."""

    def __init__(
        self, state: StateDir, journal: Journal, *, issuer_unknown: IssuerPolicy = IssuerPolicy.ATTENTION
    ) -> None:
        self._state = state
        self._hub_key = state.identity().hub_key
        self.journal = journal
        self._issuer_unknown = issuer_unknown
        self.known = Known()
        self._watch = Watch(journal.engine)
        self._cache: Cache | None = None
        self._opened: int | None = None
        self.cache_trouble = ""
        """Why there is no cache to read, or empty."""

    def refresh(self) -> bool:
        """Take in what was granted since. True when something was read anew. Raises DBAPIError for an unreadable journal."""
        if not self._watch.changed():
            return False
        with self.journal.read() as connection:
            self.known = known.load(connection, self.known, hub_key=self._hub_key)
        self._watch.taken_in()
        if self.known.generation != self._opened:
            self._open_cache()
        return True

    def reopen_cache(self) -> None:
        """Try a lost cache again: the sync daemon may have mended it under the same number."""
        if self._cache is None and self.known.generation is not None:
            self._open_cache()
            self._check_cache()

    def _check_cache(self) -> None:
        """Look at every page before a cache that was lost is trusted again. Never at start: with a million tickets it takes seconds,
        and a cache cut in half is noticed at the row that cannot be read.
        """
        if self._cache is None:
            return
        try:
            self._cache.check()
        except CacheBroken as error:
            self._lose_cache(error)

    def close(self) -> None:
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def look(self, text: str, *, source: str, at: datetime) -> Seen:
        """What code and cache say of a text: the first of the two reads. Never raises for the text or for the cache.

        A row of the hub that this version cannot read stops its ticket: to fall back on the code would admit a cancelled one.
        """
        named = name(text, source=source, keys=self.known.keys)
        try:
            match named:
                case Nothing(reason=reason):
                    return Seen(NoTicket(reason))
                case Digits(digits=digits):
                    return self._by_digits(digits, at)
                case Coded():
                    return self._by_code(named)
                case _ as never:
                    assert_never(never)
        except (ValueError, TypeError, OverflowError) as error:
            _log.error("cache_row_unusable", why=str(error))
            return Seen(NoTicket(Reason.BLOCKED))

    def overlay(self, connection: Connection, seen: Seen) -> TicketFacts | NoTicket:
        """The second read: this device's own uses laid over `seen`, inside the transaction that will record the scan."""
        if isinstance(seen.facts, NoTicket):
            return seen.facts
        rows = connection.execute(_OWN, {"ticket": seen.facts.ticket}).all()
        if seen.stopped and all(row.verdict == VerdictKind.REFUSE for row in rows):
            return seen.alone
        uses = {use.op: use for use in seen.facts.used}
        dead = set(seen.dead)
        for row in rows:
            if row.released:
                dead.add(OpId(row.op))
            elif row.verdict != VerdictKind.REFUSE:
                uses.setdefault(OpId(row.op), _own_use(row))
        return replace(seen.facts, used=tuple(use for op, use in uses.items() if op not in dead))

    def told_back(self, uses: Mapping[OpId, TicketId]) -> frozenset[OpId]:
        """Those of these uses that the cache has."""
        found: set[OpId] = set()
        if self._cache is None:
            return frozenset()
        try:
            with self._cache.engine.begin() as connection:
                for ticket in set(uses.values()):
                    found.update(cached.use.op for cached in hub_cache.uses(connection, ticket))
        except DBAPIError as error:
            self._lose_cache(error)
            return frozenset()
        return frozenset(found & uses.keys())

    def _by_code(self, coded: Coded) -> Seen:
        row, uses = self._row(coded.ticket.ticket_id)
        if row is not None:
            return _seen(_facts_of_row(row, uses), uses, code=coded.text)
        if coded.trust is Trust.UNHEARD and self._issuer_unknown is IssuerPolicy.REFUSE:
            return Seen(NoTicket(Reason.ISSUER_UNKNOWN))
        stopped = coded.trust is Trust.REVOKED or not coded.covered(self._product(coded.ticket.variant))
        return Seen(_facts_of_code(coded, uses), code=coded.text, dead=_dead(uses), stopped=stopped)

    def _product(self, variant: int) -> str | None:
        product = None if self.known.catalogue is None else self.known.catalogue.product_of(variant)
        return None if product is None else product.product

    def _by_digits(self, digits: str, at: datetime) -> Seen:
        """The one ticket with these digits that is usable now; else the one there is, so that staff hear why not. Two are none."""
        found = self._rows_by_short_id(digits)
        usable = [row for row in found if _usable(row, at)]
        if len(usable) > 1 or not found:
            return Seen(NoTicket(Reason.UNKNOWN))
        chosen = usable[0] if usable else max(found, key=lambda row: row.expires)
        row, uses = self._row(chosen.ticket)
        if row is None:
            return Seen(NoTicket(Reason.UNKNOWN))
        return _seen(_facts_of_row(row, uses), uses, code=None, typed=True)

    def _row(self, ticket: TicketId) -> tuple[CachedTicket | None, tuple[CachedUse, ...]]:
        """Ticket and uses in one read transaction."""
        if self._cache is None:
            return None, ()
        try:
            with self._cache.engine.begin() as connection:
                return hub_cache.find(connection, ticket), hub_cache.uses(connection, ticket)
        except DBAPIError as error:
            self._lose_cache(error)
            return None, ()

    def _rows_by_short_id(self, digits: str) -> tuple[CachedTicket, ...]:
        if self._cache is None:
            return ()
        try:
            with self._cache.engine.begin() as connection:
                return hub_cache.find_by_short_id(connection, digits)
        except DBAPIError as error:
            self._lose_cache(error)
            return ()

    def _open_cache(self) -> None:
        """Open the present generation; where that fails, the one that served until now goes on serving."""
        number = self.known.generation
        self._opened = number
        if number is None:
            return
        try:
            fresh = Cache.open(self._state.cache(number))
        except CacheBroken as error:
            _log.error("cache_unusable", generation=number, why=str(error))
            self.cache_trouble = str(error)
            return
        self.close()
        self._cache = fresh
        self.cache_trouble = ""
        _log.info("cache_opened", generation=number)

    def _lose_cache(self, error: Exception) -> None:
        self.cache_trouble = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        _log.error("cache_lost", generation=self._opened, why=self.cache_trouble)
        self.close()


def _seen(facts: TicketFacts, uses: Iterable[CachedUse], *, code: str | None, typed: bool = False) -> Seen:
    return Seen(facts, code=code, row_known=True, typed=typed, dead=_dead(uses))


def _dead(uses: Iterable[CachedUse]) -> frozenset[OpId]:
    return frozenset(cached.use.op for cached in uses if cached.released)


def _live(uses: Iterable[CachedUse]) -> tuple[Use, ...]:
    return tuple(cached.use for cached in uses if not cached.released)


def _facts_of_row(row: CachedTicket, uses: Iterable[CachedUse]) -> TicketFacts:
    """What the hub knows overrides what the code says."""
    return TicketFacts(
        ticket=row.ticket,
        variant=row.variant,
        uses=row.uses,
        state=row.state,
        issuer=Issuer.KNOWN,
        not_before=datetime.fromtimestamp(row.not_before, UTC),
        expires=datetime.fromtimestamp(row.expires, UTC),
        language=row.language,
        used=_live(uses),
        withdrawn=row.withdrawn,
    )


def _facts_of_code(coded: Coded, uses: Iterable[CachedUse]) -> TicketFacts:
    """A ticket that no server has told of. Uses may be known without it: a use travels on its own row."""
    ticket = coded.ticket
    return TicketFacts(
        ticket=ticket.ticket_id,
        variant=ticket.variant,
        uses=ticket.uses,
        state=TicketState.VALID,
        issuer=Issuer.UNKNOWN if coded.trust is Trust.UNHEARD else Issuer.KNOWN,
        not_before=datetime.fromtimestamp(ticket.not_before, UTC),
        expires=datetime.fromtimestamp(ticket.expires, UTC),
        language=language.from_number(ticket.language),
        used=_live(uses),
    )


def _usable(row: CachedTicket, at: datetime) -> bool:
    return row.state is TicketState.VALID and row.not_before <= at.timestamp() < row.expires


def _own_use(row: Any) -> Use:
    return Use(
        op=OpId(row.op),
        passage=Passage(row.passage),
        units=row.units,
        window=row.window,
        at=datetime.fromisoformat(row.at),
        gate=row.gate,
    )
