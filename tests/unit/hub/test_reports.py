"""The latest report of each device is the device's latest, whatever arrives last."""

from __future__ import annotations

import json
from datetime import timedelta

from sqlalchemy import select

from hub import tables
from hub.node import HubNode
from sync.protocol import Telemetry
from tests.hubkit import NOON, Device


def unsent(node: HubNode) -> int:
    with node.read() as connection:
        return int(json.loads(connection.execute(select(tables.telemetry.c.body)).scalar_one())["unsent"])


def test_a_late_report_changes_nothing(kiosk: Device, node: HubNode) -> None:
    def tell(seconds: int, sequence: int, number: int) -> int:
        kiosk.hub.telemetry(Telemetry(NOON + timedelta(seconds=seconds), "1", number, (), sequence))
        return unsent(node)

    assert tell(0, 5, 1) == 1
    assert tell(0, 4, 2) == 1, "overtaken within one instant"
    assert tell(-1, 9, 3) == 1, "of an earlier time"
    assert tell(0, 6, 4) == 4
    assert tell(1, 1, 5) == 5, "a process that began anew counts from one"
    assert tell(3_600, 7, 6) == 6, "a clock that is an hour ahead"
    assert tell(2, 8, 7) == 7, "and was set right"
    assert tell(1, 9, 8) == 7


def test_a_report_without_a_sequence_is_of_the_release_before(kiosk: Device, node: HubNode) -> None:
    row = Telemetry(NOON, "0", 1).to_row()
    del row["sequence"]
    assert Telemetry.from_json(json.dumps(row)).sequence == 0
