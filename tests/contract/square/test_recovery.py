"""The kiosk's process is killed at every exchange with the service; another one clears up from the journal alone.

In the end the service's ledger holds exactly what the journal says is confirmed, and nothing is left open.
"""

from __future__ import annotations

import pytest
from cloud_rig import Cut, cleared, in_a_victim, sell

from kiosk.payment import Method, State
from kiosk.payment.tables import create
from sync.store import open_engine


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("method", "give_back"), [(Method.CARD, False), (Method.FELICA, False), (Method.CARD, True), (Method.QR, True)]
)
def test_killed_at_every_exchange_and_cleared_up_from_the_journal(start, tmp_path, method, after, give_back):
    till = start(poll_s=0.005)
    database = tmp_path / "journal.db"
    engine = open_engine(database)
    create(engine)
    engine.dispose()
    standing = 0
    for n in range(1, 60):
        request = till.request(method)

        def work(request=request, n=n):
            sell(database, till.fresh(Cut(n, after=after)), request, give_back=give_back)

        killed = in_a_victim(work)
        till.service.fault("clock=600")
        row = cleared(database, till.fresh(), request)
        till.service.heal("clock")
        assert row.state in {State.CONFIRMED, State.NOT_CHARGED, State.REVERSED, State.CANCELLED}, (n, row)
        standing += 3300 if row.state is State.CONFIRMED else 0
        assert till.service.charged() == standing, (n, row)
        assert till.service.standing() == 0
        if not killed:
            break
    assert not killed
    assert row.state is (State.REVERSED if give_back else State.CONFIRMED)
    assert n > 4
