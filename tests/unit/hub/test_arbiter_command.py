"""`hub arbiter`: what people do by hand, and what stands on record of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub import arbiter_command
from hub.errors import BadRequest, NotFound
from hub.opening import open_node
from sync.state import Role
from tests import hubkit
from tickets.clock import FixedClock


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/hub.db"
    (tmp_path / "hub.db").write_bytes(hubkit._migrated())
    node = open_node(url)
    clock = FixedClock(node.clock.now_utc())
    for seed, label in enumerate(("N1", "N2", "N2")):
        hubkit.make_device(
            node, tmp_path / str(seed), role=Role.VENUE, label=label, clock=clock, random_bytes=hubkit.seeded(40 + seed)
        )
    node.engine.dispose()
    return url


def test_the_hub_rules_until_somebody_names_another(database: str) -> None:
    shown = arbiter_command.show(database_url=database)
    assert (shown["epoch"], shown["node"], shown["urls"]) == (1, "hub", [])
    pin = "ab" * 32
    done = arbiter_command.name(
        database_url=database, node="N1", urls=["https://192.168.1.10:8443"], tls=pin, by="三浦"
    )
    assert (done["epoch"], done["node"], done["tls"]) == (2, "N1", pin)
    back = arbiter_command.name(database_url=database, node="hub", urls=[], tls=None, by="佐藤", after=9)
    assert (back["epoch"], back["node"]) == (10, "hub"), (
        "above what devices have seen of a reign that a restore took back"
    )
    record = arbiter_command.show(database_url=database)["record"]
    assert [(row["epoch"], row["node"], row["by"]) for row in record] == [
        (10, "hub", "佐藤"),
        (2, "N1", "三浦"),
        (1, "hub", "hub"),
    ]


def test_what_cannot_be_is_one_clear_line(database: str) -> None:
    for label, why in (("N9", "no venue node; allowed: hub, N1"), ("N2", "more than one")):
        with pytest.raises(NotFound, match=why):
            arbiter_command.name(database_url=database, node=label, urls=["https://n:1"], tls="ab" * 32, by="a")
    with pytest.raises(BadRequest, match="64 hex digits"):
        arbiter_command.name(database_url=database, node="N1", urls=["https://n:1"], tls="short", by="a")
