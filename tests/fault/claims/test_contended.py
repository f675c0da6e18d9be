"""The bench's contended part in small: sound it is without fault, and with an arbiter that counts before it locks it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import claims
from benchmarks._claims_venue import venue_in

pytestmark = pytest.mark.flow


@pytest.fixture(autouse=True)
def loud_again():  # type: ignore[no-untyped-def]
    """The bench silences the log for its process."""
    import logging

    import structlog

    kept = structlog.get_config()
    yield
    logging.disable(logging.NOTSET)
    structlog.configure(**kept)


def test_no_ticket_twice_and_every_excess_reported_under_kills_and_cuts(tmp_path: Path) -> None:
    venue = venue_in(tmp_path / "hub", f"sqlite:///{tmp_path}/hub/hub.db", gates=4)
    found = claims.contend(venue, kills=6, partitions=4, scans=160, workers=1, seed=3)
    assert {name: found[name] for name in claims.GOALS_NONE} == dict.fromkeys(claims.GOALS_NONE, 0)
    assert (found["kills"], found["partitions"]) == (6, 4)
    assert found["confirmed_units"] > 20, "the arbiter was hardly ever asked"


def test_an_arbiter_that_counts_before_it_locks_is_found_out(tmp_path: Path) -> None:
    venue = venue_in(tmp_path / "hub", f"sqlite:///{tmp_path}/hub/hub.db", gates=6)
    found = claims.contend(
        venue,
        kills=0,
        partitions=0,
        scans=200,
        workers=1,
        seed=1,
        mutant="tests.support.broken_arbiter:count_without_lock",
    )
    assert found["double_admissions"] + found["overdrawn_books"] > 0
