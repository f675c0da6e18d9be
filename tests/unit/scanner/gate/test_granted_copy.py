"""A gate whose journal cannot be read at all still knows its venue and its kiosks, with no line."""

from __future__ import annotations

import os

import pytest

from scanner.gate.rescue import open_or_set_aside
from sync import granted, granted_copy
from sync.journal import set_aside
from tests.support.device import KID, gate
from tickets.clock import SystemClock


def put_away_unreadable(device) -> None:
    device.journal.engine.dispose()
    device.state.journal.write_bytes(os.urandom(20_000))


def reopened(device):
    journal, aside = open_or_set_aside(device.state, clock=SystemClock(), random_bytes=os.urandom)
    assert aside is not None
    return journal


@pytest.fixture
def device(tmp_path):
    made = gate(tmp_path)
    with made.journal.read() as connection:
        granted_copy.keep(made.state, connection)
    return made


def test_catalogue_and_keys_come_back_from_the_copy(device):
    put_away_unreadable(device)
    with reopened(device).read() as connection:
        assert granted.catalogue(connection) is not None
        assert granted.key(connection, KID).public == device.selling_key.public_key().public_bytes_raw()


def test_a_key_that_the_hub_did_not_certify_does_not(device):
    file = device.state.path / granted_copy.FILE
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"signature": "', '"signature": "00'), encoding="utf-8")
    put_away_unreadable(device)
    with reopened(device).read() as connection:
        assert granted.catalogue(connection) is not None
        assert granted.keys(connection) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"catalogue": "{}"}', None])
def test_a_copy_that_is_no_copy_changes_nothing(device, content):
    file = device.state.path / granted_copy.FILE
    file.unlink() if content is None else file.write_bytes(content)
    put_away_unreadable(device)
    with reopened(device).read() as connection:
        assert granted.catalogue_text(connection) is None


def test_a_journal_that_has_a_catalogue_is_left_alone(device):
    file = device.state.path / granted_copy.FILE
    file.write_text(file.read_text(encoding="utf-8").replace("しおさい", "べつの"), encoding="utf-8")
    with device.journal.write() as connection:
        assert granted_copy.restore(device.state, connection) is False
        assert "しおさい" in granted.catalogue_text(connection)[0]


def test_set_aside_leaves_the_copy(device):
    device.journal.engine.dispose()
    set_aside(device.state)
    assert (device.state.path / granted_copy.FILE).exists()
