"""The rules of admission: each answer by example, and what must hold for every ticket, scan and time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gate_device import CATALOGUE, DAY_END, DAY_START, NOON, ticket_of
from tickets.admission import (
    COUNT_MAX,
    Choose,
    Claim,
    ClockConfidence,
    Denied,
    Direction,
    Granted,
    Issuer,
    Moment,
    NoTicket,
    Passage,
    Reason,
    Refuse,
    Scan,
    TicketFacts,
    Use,
    Verdict,
    VerdictKind,
    decide,
    settle,
)
from tickets.catalogue import OfflinePolicy
from tickets.ids import OpId
from tickets.life_cycle import TicketState

ADULT, RIDES, PASS, GROUP, SHOW_ONCE, SHOW_THRICE = 1, 10, 40, 50, 70, 71
TODAY = "2026-11-23"


def facts(
    variant: int = ADULT,
    *,
    uses: int = 1,
    used: Sequence[Use] = (),
    state: TicketState = TicketState.VALID,
    issuer: Issuer = Issuer.KNOWN,
    not_before: datetime = DAY_START,
    expires: datetime = DAY_END,
) -> TicketFacts:
    return TicketFacts(ticket_of("t"), variant, uses, state, issuer, not_before, expires, "ja", tuple(used))


def use(
    number: int,
    *,
    passage: Passage = Passage.ENTRY,
    units: int | None = None,
    window: str = "",
    at: datetime = NOON - timedelta(hours=1),
    gate: str = "B",
) -> Use:
    cost = (1 if passage is Passage.ENTRY else 0) if units is None else units
    return Use(OpId(number.to_bytes(16, "big")), passage, cost, window, at, gate)


def ask(
    about: TicketFacts | NoTicket,
    *,
    at: datetime = NOON,
    gate: str = "A",
    direction: Direction = Direction.ENTRY,
    count: int | None = None,
    confidence: ClockConfidence = ClockConfidence.SURE,
) -> Refuse | Choose | Claim:
    return decide(about, Scan(gate, direction, count), Moment(at, confidence), CATALOGUE)


def claim(wish: object) -> Claim:
    assert isinstance(wish, Claim), wish
    return wish


def test_a_valid_ticket_is_claimed_once() -> None:
    wish = claim(ask(facts()))
    assert (wish.units, wish.window, wish.left, wish.passage) == (1, "", 0, Passage.ENTRY)
    assert settle(wish, None, OfflinePolicy.ADMIT_AND_REPORT) == Verdict(VerdictKind.ADMIT, None, left=0, units=1)


def test_a_used_ticket_names_its_first_use() -> None:
    first, later = use(2, at=NOON - timedelta(hours=2)), use(1)
    refusal = ask(facts(used=(later, first)))
    assert refusal == Refuse(Reason.ALREADY_USED, first, left=0)


@pytest.mark.parametrize("state", [state for state in TicketState if state is not TicketState.VALID])
def test_a_state_that_opens_no_gate_is_named_by_its_own_word(state: TicketState) -> None:
    assert ask(facts(state=state)) == Refuse(Reason(state.value))


@pytest.mark.parametrize("reason", [Reason.UNKNOWN, Reason.FORGED, Reason.ISSUER_UNKNOWN, Reason.BLOCKED])
def test_what_names_no_ticket_is_refused_as_such(reason: Reason) -> None:
    assert ask(NoTicket(reason)) == Refuse(reason)


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (DAY_START - timedelta(seconds=1), Reason.NOT_TODAY),
        (DAY_START, None),
        (DAY_END - timedelta(seconds=1), None),
        (DAY_END, Reason.NOT_TODAY),
    ],
)
def test_a_day_ticket_is_good_from_boundary_to_boundary(at: datetime, reason: Reason | None) -> None:
    wish = ask(facts(), at=at)
    assert wish == Refuse(reason) if reason else isinstance(wish, Claim)


def test_a_slot_is_early_late_or_on_another_day() -> None:
    slot = facts(20, not_before=NOON - timedelta(minutes=15), expires=NOON + timedelta(hours=1))
    assert ask(slot, at=NOON - timedelta(minutes=16)) == Refuse(Reason.TOO_EARLY)
    assert ask(slot, at=NOON + timedelta(hours=1)) == Refuse(Reason.TOO_LATE)
    assert ask(slot, at=NOON - timedelta(days=1)) == Refuse(Reason.NOT_TODAY)
    assert ask(slot, at=NOON + timedelta(days=1)) == Refuse(Reason.NOT_TODAY)


@pytest.mark.parametrize("at", [NOON, NOON - timedelta(days=3), NOON + timedelta(days=3)])
def test_a_clock_nobody_vouches_for_asks_for_a_look_and_never_refuses(at: datetime) -> None:
    assert claim(ask(facts(), at=at, confidence=ClockConfidence.UNSURE)).attention is Reason.CLOCK_UNSURE


def test_another_gate_or_an_unheard_product_is_pointed_elsewhere() -> None:
    assert ask(facts(), gate="shop") == Refuse(Reason.WRONG_GATE)
    assert ask(facts(), gate="nowhere") == Refuse(Reason.WRONG_GATE)
    assert ask(facts(variant=999)) == Refuse(Reason.WRONG_GATE)


def test_a_ride_costs_what_the_gate_says() -> None:
    book = facts(GROUP, uses=8, used=(use(1, units=3),))
    assert claim(ask(book, gate="coaster", count=1)).units == 2
    assert ask(book, gate="coaster", count=3) == Refuse(Reason.EXHAUSTED, left=5)
    assert ask(book, gate="coaster") == Choose(2)  # five units are two people


def test_a_group_is_asked_and_only_while_there_is_a_choice() -> None:
    assert ask(facts(GROUP, uses=4)) == Choose(4)
    assert claim(ask(facts(GROUP, uses=4), count=3)).left == 1
    assert claim(ask(facts(GROUP, uses=1))).units == 1
    assert ask(facts(GROUP, uses=4), count=5) == Refuse(Reason.EXHAUSTED, left=4)
    assert ask(facts(RIDES, uses=10), count=11) == Refuse(Reason.EXHAUSTED, left=10)


@pytest.mark.parametrize("count", [0, -1, COUNT_MAX + 1])
def test_a_count_that_would_cost_nothing_cannot_be_asked(count: int) -> None:
    with pytest.raises(ValueError, match="count"):
        Scan("A", count=count)


def test_a_pass_counts_by_the_day() -> None:
    yesterday = use(1, window="2026-11-22", at=NOON - timedelta(days=1))
    wish = claim(ask(facts(PASS, uses=0, used=(yesterday,))))
    assert (wish.window, wish.left) == (TODAY, 0)
    today = use(2, window=TODAY)
    assert ask(facts(PASS, uses=0, used=(yesterday, today))) == Refuse(Reason.ALREADY_USED, today, left=0)


def test_half_past_three_still_belongs_to_the_day_before() -> None:
    night = datetime.fromisoformat("2026-11-24T03:30:00+09:00")
    assert claim(ask(facts(PASS, uses=0), at=night)).window == TODAY


def test_who_left_may_come_back_once_for_each_time() -> None:
    entry = use(1, at=NOON - timedelta(hours=3))
    left = use(2, passage=Passage.EXIT, at=NOON - timedelta(hours=2))
    back = use(3, passage=Passage.REENTRY, at=NOON - timedelta(hours=1))
    assert ask(facts(SHOW_ONCE, used=(entry,))) == Refuse(Reason.ALREADY_USED, entry, left=0)
    again = claim(ask(facts(SHOW_ONCE, used=(entry, left))))
    assert (again.passage, again.units, again.left) == (Passage.REENTRY, 0, 0)
    assert settle(again, None, OfflinePolicy.ADMIT_AND_REPORT).kind is VerdictKind.ADMIT_AGAIN
    assert ask(facts(SHOW_ONCE, used=(entry, left, back))) == Refuse(Reason.ALREADY_USED, entry, left=0)


def test_a_slow_clock_at_another_gate_gives_no_second_re_entry() -> None:
    """The re-entry was stamped by a gate whose clock is behind, so by time the exit seems to be the last that happened."""
    entry = use(1, at=NOON - timedelta(hours=3))
    left = use(2, passage=Passage.EXIT, at=NOON - timedelta(hours=1))
    back = use(3, passage=Passage.REENTRY, at=NOON - timedelta(hours=2))
    assert isinstance(ask(facts(SHOW_ONCE, used=(entry, left, back))), Refuse)


def test_yesterdays_exit_is_no_way_in_today() -> None:
    day = timedelta(days=1)
    entry = use(1, window="2026-11-22", at=NOON - day)
    left = use(2, passage=Passage.EXIT, window="2026-11-22", at=NOON - day + timedelta(hours=1))
    assert claim(ask(facts(PASS, uses=0, used=(entry, left)))).passage is Passage.ENTRY
    several = (dataclasses.replace(entry, window=""), dataclasses.replace(left, window=""))
    visit = claim(ask(facts(SHOW_THRICE, uses=3, used=several, not_before=DAY_START - day)))
    assert (visit.passage, visit.units) == (Passage.ENTRY, 1)


def test_an_exit_needs_an_entry_and_ends_it_in_its_own_window() -> None:
    assert ask(facts(SHOW_ONCE), direction=Direction.EXIT) == Refuse(Reason.NOT_INSIDE)
    entry = use(1, window="2026-11-22", at=NOON - timedelta(days=1))
    wish = claim(ask(facts(PASS, uses=0, used=(entry,)), direction=Direction.EXIT))
    assert (wish.passage, wish.units, wish.window) == (Passage.EXIT, 0, "2026-11-22")
    left = use(2, passage=Passage.EXIT, window="2026-11-22")
    assert ask(facts(PASS, uses=0, used=(entry, left)), direction=Direction.EXIT) == Refuse(Reason.NOT_INSIDE)


def test_nobody_is_kept_inside_by_the_clock() -> None:
    inside = facts(SHOW_ONCE, used=(use(1),))
    assert isinstance(ask(inside, at=DAY_END + timedelta(days=9), direction=Direction.EXIT), Claim)


def test_attention_names_what_matters_most_and_a_grant_answers_for_the_issuer() -> None:
    wish = claim(ask(facts(SHOW_THRICE, uses=3, issuer=Issuer.UNKNOWN), confidence=ClockConfidence.UNSURE))
    assert wish.attentions == (Reason.ISSUER_UNKNOWN, Reason.CLOCK_UNSURE, Reason.PROOF)
    silent = settle(wish, None, OfflinePolicy.ADMIT_AND_REPORT)
    assert (silent.kind, silent.reason) == (VerdictKind.ATTENTION, Reason.ISSUER_UNKNOWN)
    granted = settle(wish, Granted(epoch=7, left=2), OfflinePolicy.REFUSE)
    assert (granted.kind, granted.reason, granted.epoch) == (VerdictKind.ATTENTION, Reason.CLOCK_UNSURE, 7)
    plain = claim(ask(facts(issuer=Issuer.UNKNOWN)))
    assert settle(plain, Granted(epoch=7, left=0), OfflinePolicy.REFUSE).kind is VerdictKind.ADMIT


def test_silence_falls_to_the_products_policy() -> None:
    wish = claim(ask(facts()))
    assert settle(wish, None, OfflinePolicy.REFUSE) == Verdict(VerdictKind.REFUSE, Reason.NO_ANSWER)
    denied = Denied(Reason.ALREADY_USED, use(9))
    assert settle(wish, denied, OfflinePolicy.ADMIT_AND_REPORT) == Verdict(
        VerdictKind.REFUSE, Reason.ALREADY_USED, left=0, first=use(9)
    )


uses = st.lists(
    st.builds(
        use,
        st.integers(1, 10**6),
        passage=st.sampled_from(Passage),
        window=st.sampled_from(["", TODAY, "2026-11-22"]),
        at=st.integers(-40, 40).map(lambda hours: NOON + timedelta(hours=hours)),
    ),
    max_size=8,
    unique_by=lambda found: found.op,
)
anything = st.builds(
    facts,
    st.sampled_from([1, 2, 10, 20, 40, 50, 60, 70, 71, 999]),
    uses=st.integers(0, 4),
    used=uses,
    state=st.sampled_from(TicketState),
    issuer=st.sampled_from(Issuer),
)
scans = st.builds(
    Scan,
    st.sampled_from(["A", "B", "shop", "coaster", "nowhere"]),
    st.sampled_from(Direction),
    st.none() | st.integers(1, 5),
)
moments = st.builds(
    Moment,
    st.integers(-60, 60).map(lambda hours: NOON + timedelta(hours=hours)),
    st.sampled_from(ClockConfidence),
)


def cap_of(about: TicketFacts) -> int:
    product = CATALOGUE.product_of(about.variant)
    assert product is not None
    return product.uses_a_day or about.uses


@given(anything, scans, moments)
def test_a_claim_never_takes_more_than_there_is(about: TicketFacts, scan: Scan, moment: Moment) -> None:
    wish = decide(about, scan, moment, CATALOGUE)
    if not isinstance(wish, Claim):
        return
    assert about.state is TicketState.VALID
    cap = cap_of(about)
    spent = sum(found.units for found in about.used if found.window == wish.window)
    assert (wish.units > 0) is (wish.passage is Passage.ENTRY)
    assert cap == 0 or wish.units == 0 or spent + wish.units <= cap
    assert wish.left is None or wish.left >= 0
    assert (wish.left is None) is (cap == 0)


@given(anything, scans, moments, st.permutations(range(8)))
def test_the_order_in_which_uses_are_known_changes_nothing(
    about: TicketFacts, scan: Scan, moment: Moment, order: list[int]
) -> None:
    shuffled = dataclasses.replace(about, used=tuple(about.used[place] for place in order if place < len(about.used)))
    assert decide(about, scan, moment, CATALOGUE) == decide(shuffled, scan, moment, CATALOGUE)


@given(
    anything,
    st.lists(st.tuples(scans, st.integers(-90, 90)), max_size=25),
)
def test_however_often_and_under_whatever_clock_it_is_shown_a_ticket_is_not_overdrawn(
    about: TicketFacts, shown: list[tuple[Scan, int]]
) -> None:
    """Each admission becomes a use at the time of a clock that jumps as it likes; the cap of every window holds at the end."""
    about = dataclasses.replace(about, used=())
    for number, (scan, hours) in enumerate(shown):
        at = NOON + timedelta(hours=hours)
        wish = decide(about, scan, Moment(at, ClockConfidence.UNSURE), CATALOGUE)
        if isinstance(wish, Claim):
            new = Use(OpId(number.to_bytes(16, "big")), wish.passage, wish.units, wish.window, at, scan.gate)
            about = dataclasses.replace(about, used=(*about.used, new))
    if about.variant == 999 or not about.used:
        return
    cap = cap_of(about)
    for window in {found.window for found in about.used}:
        here = [found for found in about.used if found.window == window]
        assert cap == 0 or sum(found.units for found in here) <= cap
        exits = sum(found.passage is Passage.EXIT for found in here)
        assert sum(found.passage is Passage.REENTRY for found in here) <= exits
