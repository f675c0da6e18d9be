from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sync.conflict import CountedUse, conflicts
from tickets.ids import OpId, TicketId

TICKET = TicketId(b"t" * 10)
uses = st.lists(
    st.builds(
        CountedUse,
        op=st.binary(min_size=16, max_size=16).map(OpId),
        ticket=st.just(TICKET),
        window=st.just(""),
        units=st.integers(0, 3),
        confirmed=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda use: use.op,
)


@given(uses, st.integers(0, 6), st.randoms())
def test_order_of_arrival_plays_no_part_and_the_excess_is_exact(
    found: list[CountedUse], cap: int, rng: random.Random
) -> None:
    shuffled = list(found)
    rng.shuffle(shuffled)
    result = conflicts(found, cap=cap)
    assert result == conflicts(shuffled, cap=cap)
    total = sum(use.units for use in found)
    assert sum(item.beyond for item in result) == (max(0, total - cap) if cap else 0)


def test_confirmed_uses_come_first() -> None:
    policy = CountedUse(OpId(b"a" * 16), TICKET, "", 1, confirmed=False)
    confirmed = CountedUse(OpId(b"b" * 16), TICKET, "", 1, confirmed=True)
    assert [item.op for item in conflicts([policy, confirmed], cap=1)] == [policy.op]
