"""`kaisatsu gate check CODE`: one scan from the command line, through the real store and lane, durable and journalled.

Printed words are a contract: scripts read them. Digits are taken as typed by staff, so they admit with attention: see the paper.
A dry run decides with the same rules and the same rows, asks nobody and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy.exc import DBAPIError

from scanner.gate.answer import Answer
from scanner.gate.deciding import before_settling, moment_of, policy_of, wish_of
from scanner.gate.errors import GateError, JournalDamaged, NoCatalogue, UnknownGate
from scanner.gate.lane import Lane
from scanner.gate.naming import DIGITS
from scanner.gate.rescue import open_or_set_aside
from scanner.gate.settings import IssuerPolicy
from scanner.gate.store import Store
from scanner.gate.tables import create as create_tables
from scanner.gate.tables import pending
from sync.errors import NotEnrolled, SyncError
from sync.journal import Journal, open_journal
from sync.service import log
from sync.state import Identity, Role, StateDir
from sync.store import open_engine
from tickets.admission import COUNT_MAX, Claim, Direction, NoTicket, Scan, VerdictKind, settle
from tickets.catalogue import Catalogue
from tickets.clock import Clock, FixedClock, SystemClock
from tickets.ids import OpId

YEAR_MIN, YEAR_MAX = 2000, 2099
"""Ticket codes count seconds in 32 bits, which end in 2106; nobody asks for a day beyond a lifetime."""

EXIT_STATUS = {
    VerdictKind.ADMIT: 0,
    VerdictKind.ADMIT_AGAIN: 0,
    VerdictKind.ATTENTION: 0,
    VerdictKind.REFUSE: 3,
    VerdictKind.CHOOSE: 4,
}
WRONG_CALL = 2
COMMAND = "command"


class WrongCall(GateError):
    """Something about the call cannot be meant. One line: what, what is allowed."""

    code = "gate.wrong_call"


def check(
    code: str,
    *,
    state_dir: Path,
    gate: str | None = None,
    exit: bool = False,  # noqa: A002  (the option's name)
    count: int | None = None,
    at: str | None = None,
    dry_run: bool = False,
) -> tuple[dict[str, Any], int]:
    """(what to print, exit status). Raises WrongCall, UnknownGate, NotEnrolled, JournalBroken and JournalDamaged, each with one line."""
    if not state_dir.is_dir():
        raise WrongCall(f"--state: there is no directory {state_dir}")
    if count is not None and not 1 <= count <= COUNT_MAX:
        raise WrongCall(f"--count: 1 to {COUNT_MAX} is allowed, found {count}")
    state = StateDir(state_dir)
    identity = state.identity()
    direction = Direction.EXIT if exit else Direction.ENTRY
    store = Store(state, _journal(state, identity, dry_run=dry_run), issuer_unknown=IssuerPolicy.ATTENTION)
    try:
        return _checked(store, identity, code, gate=gate, direction=direction, count=count, at=at, dry_run=dry_run)
    except JournalDamaged as error:
        if identity.role is not Role.GATE or dry_run:
            raise
        store.close()
        journal, _ = open_or_set_aside(state, clock=SystemClock(), random_bytes=os.urandom, condemned=str(error))
        store = Store(state, journal, issuer_unknown=IssuerPolicy.ATTENTION)
        return _checked(store, identity, code, gate=gate, direction=direction, count=count, at=at, dry_run=dry_run)
    finally:
        store.close()


def _checked(
    store: Store,
    identity: Identity,
    code: str,
    *,
    gate: str | None,
    direction: Direction,
    count: int | None,
    at: str | None,
    dry_run: bool,
) -> tuple[dict[str, Any], int]:
    try:
        store.refresh()
    except DBAPIError as error:
        raise JournalDamaged(f"journal: cannot be read ({error.orig})") from error
    catalogue = store.known.catalogue
    place = _place(gate or identity.gate, catalogue)
    clock: Clock = SystemClock() if at is None else FixedClock(_instant(at, catalogue))
    source = COMMAND if code.startswith("T1:") else DIGITS
    if dry_run:
        if catalogue is None:
            raise NoCatalogue("this gate has no catalogue yet: it has never heard from its hub")
        answer = _previewed(store, catalogue, code, source, Scan(place, direction, count), clock, said=at is not None)
    else:
        lane = Lane(
            store,
            gate=place,
            label=identity.label,
            clock=clock,
            random_bytes=os.urandom,
            direction=direction,
            trust_clock=at is not None,
        )
        answer = lane.scan(code, source=source, count=count)
        lane.finish()
    return _printed(answer), EXIT_STATUS[answer.verdict.kind]


def _journal(state: StateDir, identity: Identity, *, dry_run: bool) -> Journal:
    """Open it as the gate does; a kiosk's journal is never set aside from here. A dry run opens it for reading."""
    if dry_run:
        if not state.journal.is_file():
            raise WrongCall(f"{state.journal}: not there, so this device has never heard from its hub")
        return Journal(open_engine(state.journal, read_only=True), identity.device, state.incarnation(), state.path)
    if identity.role is Role.GATE:
        return open_or_set_aside(state, clock=SystemClock(), random_bytes=os.urandom)[0]
    journal = open_journal(state, clock=SystemClock(), random_bytes=os.urandom)
    create_tables(journal.engine)
    return journal


def _place(gate: str | None, catalogue: Catalogue | None) -> str:
    allowed = "none yet (no catalogue)" if catalogue is None else ", ".join(sorted(catalogue.gates))
    if gate is None:
        raise UnknownGate(f"--gate: this device was enrolled for no gate; allowed: {allowed}")
    if catalogue is not None and gate not in catalogue.gates:
        raise UnknownGate(f"--gate: '{gate}' is not a gate of this venue; allowed: {allowed}")
    return gate


def _instant(text: str, catalogue: Catalogue | None) -> datetime:
    """An ISO 8601 time; without a zone it is the venue's local time."""
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC if catalogue is None else ZoneInfo(catalogue.venue.day.timezone))
        at = at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WrongCall(f"--at: '{text}' is no ISO 8601 time, such as 2026-11-23T10:12:00+09:00") from error
    if not YEAR_MIN <= at.year <= YEAR_MAX:
        raise WrongCall(f"--at: '{text}' is not in the years {YEAR_MIN} to {YEAR_MAX}")
    return at


def _previewed(
    store: Store, catalogue: Catalogue, code: str, source: str, scan: Scan, clock: Clock, *, said: bool
) -> Answer:
    """What the lane would say if nobody answered its claim; reads in the lane's order."""
    at = clock.now_utc()
    seen = store.look(code, source=source, at=at)
    try:
        with store.journal.read() as connection:
            own = connection.dialect.has_table(connection, pending.name)
            facts = store.overlay(connection, seen) if own else seen.alone
    except DBAPIError as error:
        raise JournalDamaged(f"journal: cannot be read ({error.orig})") from error
    wish = wish_of(facts, seen, scan, moment_of(at, heard_at=None if said else store.known.heard_at), catalogue)
    verdict = before_settling(wish)
    if isinstance(wish, Claim):
        verdict = settle(wish, None, policy_of(wish, facts, catalogue))
    claim = wish if isinstance(wish, Claim) else None
    return Answer(
        op=OpId(bytes(16)),
        text=code,
        source=source,
        at=at,
        gate=scan.gate,
        direction=scan.direction,
        facts=facts,
        seen=seen,
        verdict=verdict,
        claim=claim,
    )


def _printed(answer: Answer) -> dict[str, Any]:
    verdict, first = answer.verdict, answer.verdict.first
    return {
        "verdict": verdict.kind,
        "reason": verdict.reason,
        "uses_left": verdict.left,
        "units": verdict.units,
        "gate": answer.gate,
        "passage": None if answer.claim is None else answer.claim.passage,
        "ticket": None if isinstance(answer.facts, NoTicket) else answer.facts.ticket.hex(),
        "op": answer.op.hex() if any(answer.op) else None,
        "number": answer.number,
        "first": None if first is None else {"at": first.at.isoformat(), "gate": first.gate},
        "trouble": answer.trouble,
    }


class _OneLineParser(argparse.ArgumentParser):
    """A wrong call is one line; all options are a question away."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_CALL, f"{self.prog}: {message}; see {self.prog} --help\n")


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = _OneLineParser(
        prog="kaisatsu gate check", description="One scan at a gate, as if the code had been held in front of it."
    )
    parser.add_argument("code", metavar="CODE", help="the text of the QR, or the digits under it")
    parser.add_argument(
        "--gate", metavar="G", help="a gate of the catalogue; without it the one this device was enrolled for"
    )
    parser.add_argument("--exit", action="store_true", help="the guest is leaving")
    parser.add_argument("--count", type=int, metavar="K", help="how many of a group")
    parser.add_argument("--at", metavar="ISO8601", help="the time to decide for; without a zone the venue's own")
    parser.add_argument("--dry-run", action="store_true", help="decide and write nothing")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the gate's state directory")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Prints one JSON line. 0 admitted, 3 refused, 4 choose how many, 2 wrong call, 1 the journal cannot be used."""
    arguments = _arguments(argv)
    log.configure("gate-check")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(30)
    )  # warnings: the answer is on standard output
    try:
        printed, status = check(
            arguments.code,
            state_dir=arguments.state,
            gate=arguments.gate,
            exit=arguments.exit,
            count=arguments.count,
            at=arguments.at,
            dry_run=arguments.dry_run,
        )
    except (WrongCall, UnknownGate, NotEnrolled) as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_CALL
    except (SyncError, GateError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(printed, ensure_ascii=False) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
