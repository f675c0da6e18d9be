"""Facts of a ticket: the hub's rows first, this device's own laid over them, and no cache that can stop the gate."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from scanner.gate.settings import IssuerPolicy
from sync import granted
from sync.cache import Cache
from tests.support.gate_device import (
    DAY_END,
    DAY_START,
    NOON,
    STRANGER_KEY,
    cache_ticket,
    cache_use,
    catalogue_document,
    signed,
    ticket_of,
)
from tests.support.open_gate import OpenGate
from tickets.admission import Issuer, NoTicket, Reason, TicketFacts, VerdictKind
from tickets.ids import Kid
from tickets.life_cycle import TicketState


def facts_of(gate: OpenGate, text: str, *, source: str = "camera") -> TicketFacts | NoTicket:
    gate.store.refresh()
    seen = gate.store.look(text, source=source, at=NOON)
    with gate.journal.read() as connection:
        return gate.store.overlay(connection, seen)


def test_a_ticket_no_server_has_seen_is_what_its_code_says(tmp_path: Path) -> None:
    facts = facts_of(OpenGate(tmp_path), signed("t", variant=10, uses=3))
    assert isinstance(facts, TicketFacts)
    assert (facts.variant, facts.uses, facts.issuer, facts.state) == (10, 3, Issuer.KNOWN, TicketState.VALID)
    assert (facts.ticket, facts.language, facts.not_before) == (ticket_of("t"), "ja", DAY_START)


def test_the_hub_overrides_the_code(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "t", variant=2, uses=5, state="refunded", expires=NOON)
    facts = facts_of(gate, signed("t", variant=1, uses=1))
    assert isinstance(facts, TicketFacts)
    assert (facts.variant, facts.uses, facts.state, facts.expires) == (2, 5, TicketState.REFUNDED, NOON)


def test_a_row_does_not_make_a_forgery_good(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "t")
    assert facts_of(gate, signed("t", key=STRANGER_KEY)) == NoTicket(Reason.FORGED)


def test_a_revoked_key_stops_only_what_the_hub_does_not_know(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "known")
    gate.device.revoke(gate.syncing)
    assert isinstance(facts_of(gate, signed("known")), TicketFacts)
    assert facts_of(gate, signed("not known")) == NoTicket(Reason.BLOCKED)


@pytest.mark.parametrize(
    "limits",
    [
        {"expires": int(DAY_START.timestamp())},
        {"not_before": int(DAY_END.timestamp())},
        {"products": ("ride_book",)},
    ],
    ids=["expired", "not yet", "other products"],
)
def test_a_key_signs_only_what_its_certificate_allows(tmp_path: Path, limits: dict[str, Any]) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "told by the hub")
    gate.scan("let in before", variant=70)
    gate.device.grant_key(gate.syncing, **limits)
    assert facts_of(gate, signed("t")) == NoTicket(Reason.BLOCKED)
    refusal = gate.scan("t")
    assert (refusal.verdict.kind, refusal.verdict.reason) == (VerdictKind.REFUSE, Reason.BLOCKED)
    assert isinstance(facts_of(gate, signed("told by the hub")), TicketFacts)
    assert isinstance(
        facts_of(gate, signed("let in before", variant=70)), TicketFacts
    )  # this gate's own journal knows of it


def test_a_certificate_that_only_touches_the_ticket_or_names_its_product_is_enough(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    start, end = int(DAY_START.timestamp()), int(DAY_END.timestamp())
    gate.device.grant_key(gate.syncing, not_before=end - 1, expires=end, products=("show", "strict"))
    assert isinstance(facts_of(gate, signed("t", variant=60)), TicketFacts)
    gate.device.grant_key(gate.syncing, not_before=0, expires=start + 1, products=("show", "strict"))
    assert isinstance(facts_of(gate, signed("t", variant=70)), TicketFacts)
    assert facts_of(gate, signed("t", variant=999)) == NoTicket(Reason.BLOCKED)  # of no product that anybody here knows
    assert gate.scan("t", variant=70).verdict.kind is VerdictKind.ADMIT


def test_a_key_whose_certificate_the_hub_did_not_sign_is_not_known(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    with gate.syncing.write() as connection:
        wider = granted.issuer_key.c.certificate.op("||")(" ")
        connection.execute(update(granted.issuer_key).values(certificate=wider))
    facts = facts_of(gate, signed("t"))
    assert isinstance(facts, TicketFacts)
    assert facts.issuer is Issuer.UNKNOWN


def test_an_unheard_issuer_by_policy(tmp_path: Path) -> None:
    text = signed("t", key=STRANGER_KEY, kid=Kid(b"NEW1"))
    lenient = facts_of(OpenGate(tmp_path / "a"), text)
    assert isinstance(lenient, TicketFacts)
    assert lenient.issuer is Issuer.UNKNOWN
    strict = OpenGate(tmp_path / "b", issuer_unknown=IssuerPolicy.REFUSE)
    assert facts_of(strict, text) == NoTicket(Reason.ISSUER_UNKNOWN)
    cache_ticket(strict.feed, "t")
    told = facts_of(strict, text)
    assert isinstance(told, TicketFacts)  # the hub has told of this ticket, whoever sold it
    assert told.issuer is Issuer.KNOWN


def test_uses_of_cache_and_journal_are_joined_by_their_op(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "t", variant=10, uses=10)
    cache_use(gate.feed, "t", op=b"elsewhere-------")
    cache_use(gate.feed, "t", op=b"given-back------", released=1)
    mine = gate.scan("t", variant=10, uses=10)
    before = facts_of(gate, signed("t", variant=10, uses=10))
    cache_use(gate.feed, "t", op=mine.op, gate="A")  # the hub tells our own admission back
    after = facts_of(gate, signed("t", variant=10, uses=10))
    assert isinstance(before, TicketFacts)
    assert isinstance(after, TicketFacts)
    ops = {use.op for use in before.used}
    assert ops == {use.op for use in after.used} == {b"elsewhere-------", mine.op}


def test_a_release_here_outlives_what_the_cache_still_says(tmp_path: Path) -> None:
    from sync.operation import ReleaseReason

    gate = OpenGate(tmp_path)
    mine = gate.scan("t")
    cache_use(gate.feed, "t", op=mine.op, gate="A")
    assert gate.lane.release(mine.op, ReleaseReason.NOT_PASSED)
    facts = facts_of(gate, signed("t"))
    assert isinstance(facts, TicketFacts)
    assert facts.used == ()


def test_digits_find_the_one_usable_ticket(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "today", short_id="123456")
    cache_ticket(
        gate.feed,
        "last week",
        short_id="123456",
        not_before=DAY_START - timedelta(days=7),
        expires=DAY_START - timedelta(days=6),
    )
    found = facts_of(gate, "123456", source="digits")
    assert isinstance(found, TicketFacts)
    assert found.ticket == ticket_of("today")
    assert facts_of(gate, "999999", source="digits") == NoTicket(Reason.UNKNOWN)
    cache_ticket(gate.feed, "another of today", short_id="123456")
    assert facts_of(gate, "123456", source="digits") == NoTicket(Reason.UNKNOWN)  # two are none


def test_digits_of_an_old_ticket_still_say_why_not(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "cancelled", short_id="123456", state="cancelled")
    found = facts_of(gate, "123456", source="digits")
    assert isinstance(found, TicketFacts)
    assert found.state is TicketState.CANCELLED


def test_grants_are_taken_in_when_another_connection_has_written(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    gate.store.refresh()
    assert not gate.store.refresh()
    document = catalogue_document()
    document["gates"][0]["products"] = []
    gate.device.grant(gate.syncing, catalogue=json.dumps(document))
    assert gate.scan("t").verdict.reason is Reason.WRONG_GATE
    gate.device.grant(gate.syncing, catalogue="{ torn")
    assert gate.scan("u").verdict.reason is Reason.WRONG_GATE  # the last good catalogue stays
    gate.device.revoke(gate.syncing)
    assert gate.scan("v").verdict.reason is Reason.BLOCKED


def test_a_new_generation_is_opened_and_a_bad_one_is_not(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    second = gate.device.cache(2)
    cache_ticket(second, "t", state="cancelled")
    assert gate.scan("x").verdict.kind is VerdictKind.ADMIT
    gate.device.grant(gate.syncing, generation=2)
    assert gate.scan("t").verdict.reason is Reason.CANCELLED
    (tmp_path / "cache-3.db").write_bytes(b"half a snapshot " * 500)
    gate.device.grant(gate.syncing, generation=3)
    assert gate.scan("t").verdict.reason is Reason.CANCELLED  # generation 2 goes on serving
    assert gate.store.cache_trouble


def test_a_cache_cut_in_half_leaves_codes_and_journal_and_is_told(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    for number in range(400):
        cache_ticket(gate.feed, f"ticket {number}", short_id=f"{number:06d}")
    used = gate.scan("used here")
    gate.store.close()
    gate.feed.close()
    with sqlite3.connect(tmp_path / "cache-1.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    path = tmp_path / "cache-1.db"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    gate.again()
    assert gate.store.cache_trouble
    for number in range(0, 400, 40):
        assert gate.scan(f"ticket {number}").verdict.kind is VerdictKind.ADMIT
    assert gate.scan("used here").verdict.first is not None
    assert gate.scan("used here").verdict.first.op == used.op  # type: ignore[union-attr]
    path.write_bytes(whole)
    gate.store.reopen_cache()
    assert not gate.store.cache_trouble
    assert gate.show("000007", source="digits").verdict.kind is VerdictKind.ATTENTION


def test_a_cache_that_breaks_under_a_scan_does_not_break_the_scan(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    for number in range(400):
        cache_ticket(gate.feed, f"ticket {number}")
    with sqlite3.connect(tmp_path / "cache-1.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    path = tmp_path / "cache-1.db"
    with path.open("r+b") as file:  # every page but the first
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    verdicts = {gate.scan(f"ticket {number}").verdict.kind for number in range(10)}
    assert verdicts == {VerdictKind.ADMIT}
    assert gate.store.cache_trouble


def test_a_row_of_a_later_hub_stops_its_ticket_and_no_other(tmp_path: Path) -> None:
    gate = OpenGate(tmp_path)
    cache_ticket(gate.feed, "t", state="pawned")
    assert gate.scan("t").verdict.reason is Reason.BLOCKED
    assert gate.scan("u").verdict.kind is VerdictKind.ADMIT
    assert not gate.store.cache_trouble


@pytest.mark.parametrize("missing", [True, False])
def test_without_any_cache_codes_still_open_the_gate(tmp_path: Path, missing: bool) -> None:
    gate = OpenGate(tmp_path, granted=False)
    gate.device.grant(gate.syncing, generation=9 if missing else None)
    assert gate.scan("t").verdict.kind is VerdictKind.ADMIT
    assert gate.scan("t").verdict.reason is Reason.ALREADY_USED
    assert bool(gate.store.cache_trouble) is missing
    assert Cache.create(tmp_path / "cache-1.db")
