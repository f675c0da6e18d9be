"""The commands that others build upon: their words, their exit codes, and one clear line for every wrong call.

Each test runs the real entry, `python -m config`, as a process of its own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import segno
from PIL import Image

from config.command import CONTENTS
from config.layers import DAEMONS
from script.story.processes import Program
from tests.support.gate_device import NOON, ROOT, GateDevice, signed, ticket_of

pytestmark = pytest.mark.flow

START_S_MAX = 0.7
AT = NOON.isoformat()
Run = subprocess.CompletedProcess[str]


def kaisatsu(*arguments: str | bytes, **environment: str) -> Run:
    return subprocess.run(
        [sys.executable, "-m", "config", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, **environment},
    )  # fmt: skip


def lines(done: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def line(done: Run) -> dict[str, Any]:
    [only] = lines(done)
    return only


def is_wrong_call(done: Run, *words: str) -> None:
    """Status 2, nothing on standard output, one line on standard error that has these words."""
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@contextmanager
def started(tmp_path: Path, *arguments: str) -> Iterator[Program]:
    program = Program("program", ["config", *arguments], logs=tmp_path)
    try:
        yield program
    finally:
        program.stop()


# --- the command itself


def test_the_help_is_a_table_of_contents_and_comes_at_once() -> None:
    took = []
    for _ in range(3):
        began = time.monotonic()
        done = kaisatsu("--help")
        took.append(time.monotonic() - began)
    assert min(took) < START_S_MAX
    at = -1
    for title, section in CONTENTS.items():
        assert (at := done.stdout.index(f"{title}:", at + 1)) > 0
        for name, text in section.items():
            assert (at := done.stdout.index(f"  {name} ", at + 1)) > 0
            assert text in done.stdout
    assert all(len(row) <= 80 for row in done.stdout.splitlines())


def _below(command: Any) -> set[str]:
    """The commands of a group, and of the groups in it."""
    found: set[str] = set()
    for name, part in getattr(command, "commands", {}).items():
        found |= {f"{name} {deeper}" for deeper in _below(part)} or {name}
    return found


def test_every_command_in_the_contents_is_there_and_none_is_left_out() -> None:
    from typer.main import get_command

    from config.command import app

    there = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        there |= {f"{name} {part}" for part in _below(command)} or {name}
    listed = {name for section in CONTENTS.values() for name in section}
    assert listed == there - {"emulate"} | {"emulate printer", "emulate terminal", "emulate square", "emulate paypay"}
    for name in listed:
        done = kaisatsu(*name.split(), "--help")
        assert done.returncode == 0, done.stderr
        assert "usage:" in done.stdout.lower()


WRONG = {
    ("sell",): ("No such command 'sell'",),
    ("--loud",): ("No such option: --loud",),
    ("decode",): ("FILE",),
    ("gate", "check"): ("CODE", "--state"),
    ("gate", "check", "T1:X", "--state", "{tmp}", "--count", "many"): ("--count", "many"),
    ("gate", "check", "T1:X", "--state", "{tmp}", "--count", "0"): ("--count", "1 to"),
    ("gate", "check", "T1:X", "--state", "{tmp}/none"): ("{tmp}/none",),
    ("gate", "check", "T1:X", "--state", "{tmp}"): ("{tmp}", "enrol"),
    ("emulate",): ("printer|terminal",),
    ("emulate", "toaster"): ("toaster", "printer", "terminal"),
    ("emulate", "printer", "--listen", "127.0.0.1:0"): ("--out",),
    ("emulate", "printer", "--listen", "here", "--out", "{tmp}"): ("--listen", "HOST:PORT"),
    ("emulate", "printer", "--listen", "127.0.0.1:0", "--out", "{tmp}/file"): ("--out", "{tmp}/file"),
    ("emulate", "printer", "--listen", "127.0.0.1:0", "--out", "{tmp}", "--fault", "fire"): ("fire", "paper-out"),
    ("emulate", "terminal", "--listen", "127.0.0.1:0"): ("--ledger",),
    ("emulate", "terminal", "--listen", "127.0.0.1:0", "--pty", "{tmp}/p", "--ledger", "{tmp}/l"): (
        "--pty",
        "--listen",
    ),
    ("emulate", "terminal", "--listen", "127.0.0.1:0", "--ledger", "{tmp}/file/l"): ("--ledger", "{tmp}/file/l"),
    ("hub", "serve"): ("--database",),
    ("hub", "serve", "--database", "hub.db"): ("hub.db", "sqlite:///"),
    ("hub", "serve", "--database", "sqlite:///{tmp}/h.db", "--listen", "127.0.0.1:http"): ("--listen", "HOST:PORT"),
    ("hub", "serve", "--database", "sqlite:///{tmp}/h.db", "--listen", "192.0.2.1:0"): ("192.0.2.1:0",),
    ("hub", "serve", "--database", "sqlite:///{tmp}/h.db", "--tls", "--insecure"): ("--insecure", "--tls"),
    ("hub", "serve", "--database", "sqlite:///{tmp}/h.db", "--workers", "2"): ("--workers 2", "PostgreSQL"),
    ("hub", "tls", "sideways", "--database", "sqlite:///{tmp}/h.db"): ("sideways", "announce"),
    ("hub", "serve", "--database", "sqlite:///{tmp}/h.db", "--listen", "192.0.2.1:0", "--insecure"): ("192.0.2.1:0",),
    ("hub", "seed", "--database", "sqlite:///{tmp}/file"): ("{tmp}/file", "not a database"),
    ("hub", "seed", "--database", "sqlite:///{tmp}/file/h.db"): ("{tmp}/file/h.db",),
    ("hub", "seed", "--database", "nosuch://x/y"): ("key file",),
    ("hub", "link", "--database", "sqlite:///{tmp}/h.db", "--role", "till", "--label", "X"): ("till", "kiosk", "gate"),
    ("hub", "link", "--database", "sqlite:///{tmp}/h.db", "--role", "gate", "--label", "X"): ("hub seed",),
    ("enrol",): ("LINK",),
    ("enrol", "https://example.org/", "--state", "{tmp}/s"): ("enrol?token",),
    ("enrol", "http://127.0.0.1:1/enrol?token=abc&key=" + "aa" * 32, "--state", "{tmp}/s"): ("no answer",),
    ("enrol", "http://127.0.0.1:1/enrol?token=abc&key=" + "aa" * 32, "--state", "{tmp}/file/s"): (
        "--state",
        "{tmp}/file/s",
    ),
    ("config", "write", "--file", "{tmp}/none.toml"): ("{tmp}/none.toml",),
    ("config", "write", "--only", "till"): ("till", *DAEMONS),
    ("config", "show", "--loud"): ("--loud",),
}


def test_each_wrong_call_is_one_clear_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("this is a file, and nothing else " * 40)
    failed = {}
    for call, words in WRONG.items():
        try:
            is_wrong_call(
                kaisatsu(*(word.format(tmp=tmp_path) for word in call)), *(word.format(tmp=tmp_path) for word in words)
            )
        except AssertionError as error:
            failed[" ".join(call)] = str(error)
    assert failed == {}


# --- decode


def test_decode_prints_a_line_a_file_with_its_name_exactly_as_given(tmp_path: Path) -> None:
    code = signed("printed", uses=1)
    segno.make(code, error="m").save(str(tmp_path / "入園券.png"), scale=5, border=4)
    Image.new("RGB", (320, 240), "white").save(tmp_path / "empty.png")
    (tmp_path / "junk.png").write_bytes(os.urandom(4096))
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(odd)).write_bytes((tmp_path / "入園券.png").read_bytes())
    above = os.path.relpath(tmp_path / "入園券.png", ROOT)
    files = [
        f"{tmp_path}/./入園券.png",
        above,
        f"{tmp_path}/empty.png",
        f"{tmp_path}/junk.png",
        f"{tmp_path}/none.png",
        odd,
    ]
    for locale in ("C.UTF-8", "C"):
        done = kaisatsu("decode", *files, LC_ALL=locale)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        said = lines(done)
        assert [os.fsencode(row["file"]) for row in said] == [os.fsencode(file) for file in files]
        assert [row["codes"] for row in said] == [[code], [code], [], [], [], [code]]
        assert all(row["ms"] > 0 for row in said)
        assert all("\n" not in row["error"] for row in said if not row["codes"])


# --- gate check


@pytest.fixture
def gate(tmp_path: Path) -> GateDevice:
    device = GateDevice(tmp_path / "state")
    journal = device.journal()
    device.grant(journal)
    journal.engine.dispose()
    device.cache().close()
    return device


def checked(device: GateDevice, code: str, *more: str, at: str = AT) -> tuple[int, dict[str, Any]]:
    done = kaisatsu("gate", "check", code, "--state", str(device.path), "--at", at, *more)
    assert done.stderr == "", done.stderr
    return done.returncode, line(done)


def rows(device: GateDevice) -> list[tuple[int, str]]:
    journal = device.journal()
    with journal.read() as connection:
        found = connection.exec_driver_sql("SELECT seq, kind FROM operation ORDER BY seq").all()
    journal.engine.dispose()
    return [(row[0], row[1]) for row in found]


def test_gate_check_answers_in_words_and_exit_codes(gate: GateDevice) -> None:
    adult, book = signed("adult"), signed("book", variant=10, uses=10, expires=NOON + timedelta(days=180))
    status, said = checked(gate, adult)
    assert (status, said["verdict"], said["reason"], said["uses_left"]) == (0, "admit", None, 0)
    assert said["ticket"] == ticket_of("adult").hex()
    status, said = checked(gate, adult)
    assert (status, said["verdict"], said["reason"]) == (3, "refuse", "already_used")
    assert said["first"]["gate"] == "A"
    status, said = checked(gate, signed("group", variant=50, uses=8))
    assert (status, said["verdict"], said["reason"]) == (4, "choose", None)
    status, said = checked(gate, signed("group", variant=50, uses=8), "--count", "3")
    assert (status, said["verdict"], said["uses_left"], said["units"]) == (0, "admit", 5, 3)
    assert checked(gate, book)[1]["uses_left"] == 9
    assert checked(gate, book, "--gate", "shop")[1]["reason"] == "wrong_gate"
    show = signed("show", variant=70)
    assert checked(gate, show)[1]["verdict"] == "admit"
    status, said = checked(gate, show, "--exit", at=(NOON + timedelta(minutes=5)).isoformat())
    assert (status, said["passage"]) == (0, "exit")
    status, said = checked(gate, show, at=(NOON + timedelta(minutes=9)).isoformat())
    assert (status, said["verdict"]) == (0, "admit_again")
    assert checked(gate, "T1:" + "A" * 4000)[1]["reason"] == "unknown"
    assert checked(gate, "https://example.org/")[0] == 3
    done = kaisatsu("gate", "check", adult, "--state", str(gate.path), "--gate", "Z", "--at", AT)
    is_wrong_call(done, "Z", "A", "B", "shop")
    is_wrong_call(
        kaisatsu("gate", "check", adult, "--state", str(gate.path), "--at", "noon"), "--at", "noon", "ISO 8601"
    )


def test_gate_check_decides_for_the_time_it_is_told(gate: GateDevice) -> None:
    code = signed("later")
    for at, status, reason in (
        ((NOON + timedelta(days=2)).isoformat(), 3, "not_today"),
        ("2026-11-23T12:00:00", 0, None),  # the venue's own zone
    ):
        done = kaisatsu("gate", "check", code, "--state", str(gate.path), "--at", at)
        assert (done.returncode, line(done)["reason"]) == (status, reason)


def test_a_dry_run_says_the_same_and_writes_nothing(gate: GateDevice) -> None:
    code = signed("dry")
    before = rows(gate)
    files = {path: path.read_bytes() for path in gate.path.rglob("*") if path.is_file()}
    for _ in range(2):
        status, said = checked(gate, code, "--dry-run")
        assert (status, said["verdict"], said["uses_left"], said["op"]) == (0, "admit", 0, None)
    assert {path: path.read_bytes() for path in files} == files
    assert rows(gate) == before
    assert checked(gate, code)[0] == 0
    assert checked(gate, code, "--dry-run")[1]["reason"] == "already_used"
    assert len(rows(gate)) == len(before) + 1


# --- emulate


def test_emulate_printer_says_where_it_listens_and_ends_a_picture_at_each_cut(tmp_path: Path) -> None:
    with started(
        tmp_path, "emulate", "printer", "--listen", "127.0.0.1:0", "--out", str(tmp_path / "paper"), "--speed", "0"
    ) as program:
        port = program.wait_line("listening")["port"]
        with socket.create_connection(("127.0.0.1", port)) as wire:
            wire.sendall(b"\x1b@one\n\x1dV\x42\x00" + b"two\n\x1dV\x41\x00")  # GS V 66: partial cut; GS V 65: full cut
            for _ in range(2):
                program.wait_line("cut")
    pictures = sorted((tmp_path / "paper").glob("*.png"))
    assert len(pictures) == 2
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.convert("L").getextrema()[0] == 0, "there is ink on it"


def test_emulate_terminal_listens_and_keeps_a_ledger_of_its_own(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with started(tmp_path, "emulate", "terminal", "--listen", "127.0.0.1:0", "--ledger", str(ledger)) as program:
        assert program.wait_line("listening")["port"] > 0
    with started(tmp_path, "emulate", "terminal", "--pty", str(tmp_path / "tty"), "--ledger", str(ledger)) as program:
        program.wait_line("listening")
        assert (tmp_path / "tty").exists()
    assert ledger.exists()


# --- hub and enrolment


def test_a_hub_is_seeded_twice_serves_at_a_free_port_and_enrols_each_link_once(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'hub.db'}"
    with started(tmp_path, "hub", "serve", "--database", database, "--listen", "127.0.0.1:0") as program:
        url = program.wait_line("listening")["url"]
        assert requests.get(f"{url}/sign-in", timeout=10).status_code == 200
        first, second = (line(kaisatsu("hub", "seed", "--database", database, "--url", url)) for _ in range(2))
        assert first["hub_key"] == second["hub_key"]
        links = [*first["links"].values(), *second["links"].values()]
        assert len(set(links)) == 4
        taken = kaisatsu("hub", "serve", "--database", database, "--listen", url.removeprefix("http://"))
        is_wrong_call(taken, "cannot listen", url.rsplit(":", 1)[1])
        more = line(
            kaisatsu(
                "hub", "link", "--database", database, "--url", url, "--role", "gate", "--label", "C", "--gate", "B"
            )
        )
        assert (more["role"], more["label"]) == ("gate", "C")
        done = kaisatsu("enrol", more["link"], "--state", str(tmp_path / "gate"))
        said = line(done)
        assert (done.returncode, said["event"], said["role"], said["label"], said["gate"]) == (
            0,
            "enrolled",
            "gate",
            "C",
            "B",
        )
        is_wrong_call(kaisatsu("enrol", more["link"], "--state", str(tmp_path / "other")))
        assert "token" not in done.stderr


# --- config


def test_config_write_makes_a_file_a_daemon_and_show_says_where_each_value_is_from(tmp_path: Path) -> None:
    file = tmp_path / "kaisatsu.toml"
    head = f'[device]\nstate_dir = "{tmp_path}/state"\nrun_dir = "{tmp_path}/run"\n'
    file.write_text(head + '[kiosk]\nterminal_address = "tcp://192.0.2.7:20007"\n')
    done = kaisatsu("config", "write", "--file", str(file), "--only", "kiosk", "--only", "sync")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{tmp_path}/run/kiosk.json", f"{tmp_path}/run/sync.json"]
    assert json.loads((tmp_path / "run/kiosk.json").read_text())["terminal_address"] == "tcp://192.0.2.7:20007"
    shown = kaisatsu("config", "show", "--file", str(file), "--origin").stdout
    assert f'terminal_address = "tcp://192.0.2.7:20007"    # {file}' in shown
    assert "width_px = 1080    # built in" in shown
    assert f'state_dir = "{tmp_path}/state"    # derived from [device]' in shown
    assert "#" not in kaisatsu("config", "show", "--file", str(file)).stdout


def test_a_wrong_key_is_one_line_with_file_key_what_is_meant_and_what_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "kaisatsu.toml"
    for text, words in (
        ("[gate]\nnum_lanes = 2\n", ("'num_lanes'", "[gate]", "allowed", "state_dir")),
        ("[kiosk]\nterminal_adress = 'tcp://x'\n", ("'terminal_adress'", "did you mean 'terminal_address'")),
        ("[kiosc]\n", ("[kiosc]", "did you mean 'kiosk'")),
        ("[reader]\nsource = 7\n", ("source",)),
        ("[gate-screen]\nvolume = 11.0\n", ("volume", "0 to 1")),
        ("width_px = 7\n", ("width_px", "outside of a section")),
        ("[kiosk\n", ("not TOML",)),
    ):
        file.write_text(text)
        section = text[1 : text.index("]")] if "]" in text else "kiosk"
        only = section if section in DAEMONS else "kiosk"
        is_wrong_call(kaisatsu("config", "write", "--file", str(file), "--only", only), str(file), *words)


@pytest.mark.parametrize("module", ["sync", "printer", "scanner.reading", "scanner.gate", "scanner.screen", "kiosk"])
def test_every_daemon_says_a_wrong_key_in_one_line(tmp_path: Path, module: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"colour_of_the_sea": "blue"}')
    done = subprocess.run(
        [sys.executable, "-m", module, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    is_wrong_call(done, str(file), "unknown key 'colour_of_the_sea'", "allowed: ")
