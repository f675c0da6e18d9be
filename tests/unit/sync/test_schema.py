"""Files of the previous release open, migrate with what is in them, and go on; a kill in the middle changes nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select

from hub import tables
from hub.node import HubNode
from kiosk.payment import tables as payment_tables
from kiosk.payment.attempt import State
from kiosk.sale import tables as sale_tables
from kiosk.sale.ledger import Ledger
from printer import spool
from printer.spool import schema as spool_tables
from scanner.gate import tables as gate_tables
from scanner.gate.rescue import open_or_set_aside
from sync import granted, journal
from sync.certificate import Certificate, issue
from sync.errors import NewerFile
from sync.journal import open_journal
from sync.schema import Owned, bring_up, tables_version
from sync.service.health import Board
from sync.state import Identity, Role, StateDir
from sync.store import open_engine
from sync.upload import Uploader
from tests.hubkit import LocalHub, seeded
from tickets.clock import FixedClock
from tickets.ids import DeviceId, Kid

DUMP = Path(__file__).parents[2] / "vectors" / "journal_previous.sql"
GATE_DUMP = DUMP.with_name("journal_previous_gate.sql")
SEED = 1
DEVICE = DeviceId(bytes([SEED]) * 16)
OWNERS = (
    journal.OWNED,
    granted.OWNED,
    gate_tables.OWNED,
    sale_tables.OWNED,
    payment_tables.OWNED,
    spool_tables.OWNED,
)


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """A kiosk's state directory as the release before left it: tests/vectors/make_previous_journal.py."""
    made = StateDir(tmp_path / "kiosk")
    made.path.mkdir()
    made.save_identity(
        Identity(DEVICE, Role.KIOSK, "K2", "http://127.0.0.1:9", b"\0" * 32, kid=Kid(bytes.fromhex("00000007")))
    )
    made.save_key("identity/key", identity_key())
    made.save_incarnation(1)
    db = sqlite3.connect(made.journal)
    db.executescript(DUMP.read_text(encoding="utf-8"))
    db.close()
    return made


def identity_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([SEED]) * 32)


def known_at(node: HubNode) -> LocalHub:
    """The hub, as it was when this kiosk was enrolled there."""
    held = Certificate(
        kid=Kid(bytes.fromhex("00000007")),
        public=bytes(32),
        device=DEVICE.hex(),
        not_before=0,
        expires=2**32 - 1,
        tickets_max=1_000_000,
        products=(),
    )
    text, signature = issue(held, node.key)
    with node.write() as connection:
        connection.execute(
            insert(tables.device),
            {
                "device": DEVICE,
                "role": "kiosk",
                "label": "K2",
                "identity": identity_key().public_key().public_bytes_raw(),
                "enrolled_at": "2026-11-20T00:00:00.000+00:00",
            },
        )
        connection.execute(
            insert(tables.selling_key),
            {
                "kid": bytes.fromhex("00000007"),
                "device": DEVICE,
                "public": bytes(32),
                "certificate": text,
                "signature": signature,
            },
        )
    return LocalHub(node, DEVICE)


def test_the_previous_releases_journal_migrates_and_is_sent(state: StateDir, node: HubNode, clock: FixedClock) -> None:
    opened = open_journal(state, clock=clock, random_bytes=seeded(9))
    ledger = Ledger(opened, label="K2", boot="now", clock=clock, random_bytes=seeded(10))
    assert [row.state for row in ledger.unsettled()] == [State.SENT]
    with opened.read() as connection:
        assert spool.waiting(connection, boot="now") == ("aa" * 10 + "-tickets",)
        versions = {row.owner: row.version for row in connection.execute(select(tables_version))}
    assert versions == {"sync": 2, "granted": 1, "sale": 1, "payment": 1, "spool": 1}
    assert opened.unsent() == 2
    uploader = Uploader(opened, state, known_at(node), clock=clock)
    assert uploader.step().operations == 2
    with node.read() as connection:
        assert connection.execute(select(tables.order.c.number)).scalars().all() == ["K2-1123-0001"]
        assert connection.execute(select(tables.ticket.c.ticket)).scalars().all() == [bytes.fromhex("cc" * 10)]
    with opened.read() as connection:
        assert connection.execute(select(journal.checkpoint)).all()


@pytest.mark.parametrize("owned", OWNERS, ids=lambda owned: owned.owner)
def test_a_migrated_file_has_what_a_fresh_one_has(owned: Owned, state: StateDir, tmp_path: Path) -> None:
    """Whoever changes a table and forgets the step is told here."""
    before = state.journal
    if owned is gate_tables.OWNED:
        before = tmp_path / "gate.db"
        db = sqlite3.connect(before)
        db.executescript(GATE_DUMP.read_text(encoding="utf-8"))
        db.close()
    db = sqlite3.connect(before)
    there = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    db.close()
    assert there & set(owned.metadata.tables), (
        "the previous release had none of these tables: the test would show nothing"
    )
    assert shape(before, owned) == shape(tmp_path / "fresh.db", owned)


def shape(path: Path, owned: Owned) -> dict[str, list[object]]:
    engine = open_engine(path)
    with engine.begin() as connection:
        bring_up(connection, owned)
        found: dict[str, list[object]] = {}
        for name in sorted(owned.metadata.tables):
            quoted = name.replace('"', "")
            columns = connection.exec_driver_sql(f'PRAGMA table_info("{quoted}")').all()
            indexes = connection.exec_driver_sql(f'PRAGMA index_list("{quoted}")').all()
            found[name] = [sorted(tuple(row)[1:] for row in columns), sorted(row[1] for row in indexes)]
    engine.dispose()
    return found


KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Column, Integer, MetaData, Table
from sync.schema import Owned, bring_up
from sync.store import open_engine

metadata = MetaData()
Table("thing", metadata, Column("id", Integer, primary_key=True), Column("more", Integer), Column("last", Integer))
def die(connection):
    connection.exec_driver_sql("ALTER TABLE thing ADD COLUMN last INTEGER")
    connection.exec_driver_sql("UPDATE thing SET more = 5, last = 6")
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
owned = Owned("thing", metadata, steps=(
    lambda connection: connection.exec_driver_sql("ALTER TABLE thing ADD COLUMN more INTEGER"), die))
with open_engine(Path(sys.argv[1])).begin() as connection:
    print(bring_up(connection, owned))
"""


def test_a_kill_in_the_middle_leaves_the_old_form_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    db = sqlite3.connect(path)
    db.executescript(
        "PRAGMA journal_mode=WAL; CREATE TABLE thing (id INTEGER PRIMARY KEY); INSERT INTO thing VALUES (1)"
    )
    db.close()
    died = migrate(path, "die")
    assert died.returncode == -signal.SIGKILL
    db = sqlite3.connect(path)
    assert [row[1] for row in db.execute("PRAGMA table_info(thing)")] == ["id"]
    db.close()
    assert migrate(path, "live").stdout.strip() == "(1, 3)"
    assert migrate(path, "live").stdout.strip() == "(3, 3)"
    db = sqlite3.connect(path)
    assert db.execute("SELECT id, more, last FROM thing").fetchall() == [(1, 5, 6)]
    db.close()


def migrate(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(path), how],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )


def of_a_newer_version(state: StateDir, owner: str) -> None:
    db = sqlite3.connect(state.journal)
    db.execute("INSERT OR REPLACE INTO tables_version VALUES (?, 99)", (owner,))
    db.commit()
    db.close()


def test_a_newer_file_is_refused_in_one_line_and_left_alone(state: StateDir, clock: FixedClock) -> None:
    open_journal(state, clock=clock, random_bytes=seeded(9)).engine.dispose()
    of_a_newer_version(state, "sync")
    with pytest.raises(NewerFile, match=r"version 99; this program knows 2: install the newer") as told:
        open_journal(state, clock=clock, random_bytes=seeded(9))
    assert "\n" not in str(told.value)
    with pytest.raises(NewerFile):
        open_or_set_aside(state, clock=clock, random_bytes=seeded(9))
    assert not list(state.path.glob("journal.0*.db")), "it is not broken, so it is not set aside"


def test_a_health_board_of_another_version_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "health.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE health (part TEXT PRIMARY KEY, other TEXT)")
    db.close()
    board = Board(path)
    assert board.parts() == []
    board.close()
