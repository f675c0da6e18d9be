"""A hub with TLS and devices that know it by its key: enrolled, told of another key, and over to it without a visit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hub import command
from sync.state import StateDir
from tests.flow.sync.processes import ROOT, DeviceProcess, HubProcess, line_of, until


class TlsHub(HubProcess):
    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "hub",
                "serve",
                "--database",
                self.database,
                "--listen",
                f"127.0.0.1:{self.port}",
                "--tls",
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.url = line_of(self.process)["url"]
        self.port = int(self.url.rsplit(":", 1)[1])


def test_a_hub_changes_its_tls_key_and_no_device_is_visited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = TlsHub(tmp_path)
    assert hub.url.startswith("https://")
    links = hub.seed()["links"]
    assert "&tls=" in links["gate"]
    gate = DeviceProcess(tmp_path / "gate", links["gate"])
    gate.start()
    state = StateDir(gate.state.path)
    old = state.identity().hub_tls
    assert old is not None

    def step(name: str) -> dict[str, object]:
        return command.change_tls_key(database_url=hub.database, step=name)

    def facts() -> dict[str, object]:
        return gate.health()

    until(lambda: facts().get("last_contact"), why="the gate did not reach the hub over TLS")
    step("announce")
    pins = until(
        lambda: (found := state.hub_pins(state.identity())) and len(found) == 2 and found, why="no statement came"
    )
    assert pins[0] == old
    step("change")
    hub.stop()
    hub.start()
    before = facts()["last_contact"]
    until(lambda: facts()["last_contact"] != before, why="the gate does not speak to the new key")
    step("forget")
    until(lambda: state.hub_pins(state.identity()) == pins[1:], why="the old key was not forgotten")
    hub.stop()

    # Somebody else at the same address: said in plain words, and everything stays as it is.
    for file in tmp_path.glob("hub.db.key.tls*"):
        file.unlink()
    hub.start()
    until(lambda: facts()["refused"] == "tls_key", why="another key was not noticed")
    assert state.hub_pins(state.identity()) == pins[1:]
    gate.stop()
    hub.stop()
    assert json.loads(capsys.readouterr().out.splitlines()[0])["event"] == "seeded"
