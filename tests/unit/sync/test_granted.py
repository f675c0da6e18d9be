"""What the hub granted stays readable while everything else is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert

from sync import granted
from tests.support.gate_device import CATALOGUE, CATALOGUE_TEXT, KIOSK_KEY, KIOSK_KID, NOON, GateDevice
from tickets.catalogue import CatalogueError
from tickets.ids import Kid


def test_before_the_first_contact_there_is_nothing(tmp_path: Path) -> None:
    with GateDevice(tmp_path).journal().read() as connection:
        assert granted.catalogue(connection) is None
        assert granted.catalogue_text(connection) is None
        assert granted.generation(connection) is None
        assert granted.keys(connection) == {}
        assert granted.key(connection, KIOSK_KID) is None
        assert granted.slot_leases(connection) == ()
        assert granted.short_blocks(connection, 6) == ()


def test_grants_come_back_as_values(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    journal = device.journal()
    device.grant(journal, generation=7)
    device.revoke(journal)
    with journal.write() as connection:
        connection.execute(
            insert(granted.lease),
            [
                {
                    "slot": name,
                    "product": "athletics",
                    "starts_at": starts,
                    "ends_at": "2026-11-23T06:00:00+00:00",
                    "capacity": 30,
                    "quantity": 10,
                    "free": 20,
                    "at": NOON.isoformat(),
                }
                for name, starts in (("late", "2026-11-23T05:00:00+00:00"), ("soon", "2026-11-23T04:00:00+00:00"))
            ],
        )
        connection.execute(
            insert(granted.short_block),
            [
                {"length": 6, "first": 500, "last": 599},
                {"length": 6, "first": 0, "last": 9},
                {"length": 8, "first": 1, "last": 1},
            ],
        )
    with journal.read() as connection:
        assert granted.catalogue(connection) == CATALOGUE
        assert granted.catalogue_text(connection) is not None
        assert granted.generation(connection) == 7
        key = granted.key(connection, KIOSK_KID)
        assert key is not None
        assert key.public == KIOSK_KEY.public_key().public_bytes_raw()
        assert key.revoked_at == int(NOON.timestamp())
        assert granted.keys(connection) == {KIOSK_KID: key}
        assert granted.key(connection, Kid(b"zzzz")) is None
        assert [lease.slot.slot for lease in granted.slot_leases(connection)] == ["soon", "late"]
        assert granted.short_blocks(connection, 6) == (range(10), range(500, 600))
        assert granted.short_blocks(connection, 8) == (range(1, 2),)


def test_a_catalogue_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    device = GateDevice(tmp_path)
    journal = device.journal()
    device.grant(journal, catalogue=CATALOGUE_TEXT[: len(CATALOGUE_TEXT) // 2])
    with journal.read() as connection, pytest.raises(CatalogueError):
        granted.catalogue(connection)
