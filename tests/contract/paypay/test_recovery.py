"""The kiosk's process is killed at every exchange with the service; another one clears up from the journal alone.

In the end the service's ledger holds exactly what the journal says is confirmed, and nothing is left open.
"""

from __future__ import annotations

import threading

import pytest
from cloud_rig import Cut, cleared, in_a_victim, sell

from kiosk.payment import State
from kiosk.payment.tables import create
from sync.store import open_engine


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("give_back", [False, True])
def test_killed_at_every_exchange_and_cleared_up_from_the_journal(start, tmp_path, after, give_back):
    till = start(poll_s=0.005)
    database = tmp_path / "journal.db"
    engine = open_engine(database)
    create(engine)
    engine.dispose()
    standing = 0
    for n in range(1, 60):
        request = till.request()

        def work(request=request, n=n):
            sell(database, till.fresh(Cut(n, after=after)), request, give_back=give_back)

        killed = in_a_victim(work)
        while till.service.entries("code") and not _phone_is_done(till, request):
            threading.Event().wait(0.005)
        till.service.fault("clock=600")
        row = cleared(database, till.fresh(), request)
        till.service.heal("clock")
        assert row.state in {State.CONFIRMED, State.NOT_CHARGED, State.REVERSED, State.CANCELLED}, (n, row)
        standing += 3300 if row.state is State.CONFIRMED else 0
        assert till.service.charged() == standing, (n, row)
        if not killed:
            break
    assert not killed
    assert row.state is (State.REVERSED if give_back else State.CONFIRMED)
    assert n > 2


def _phone_is_done(till, request) -> bool:
    """Whether the guest of this attempt's code, if there is one, has paid or found it gone."""
    told = [row["event"] for row in till.service.entries() if row.get("reference") == request.attempt_id]
    return told != ["code"]
