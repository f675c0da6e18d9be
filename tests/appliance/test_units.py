"""The units as systemd itself reads them: no warning, a sandbox that scores, no daemon that needs another one alive.

`systemd-analyze verify` ends with 0 on unknown keys and unreadable values, so what it prints is what counts here.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
TARGETS = sorted(UNITS.glob("*.target"))
DAEMONS = {"sync", "printer", "reader", "gate", "gate-screen", "kiosk", "hub", "venue"}
EXPOSURE_MAX = 2.0
NOT_INSTALLED = re.compile(r"\S+: Command /opt/kaisatsu/bin/\S+ is not executable: No such file or directory")


class Keys(RawConfigParser):
    """A unit file's keys; one that is given several times keeps all its values, a line each."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
        self.path = path
        section, merged = "", dict[str, dict[str, str]]()
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line and not line.startswith("#"):
                key, value = line.split("=", 1)
                values = merged.setdefault(section, {})
                values[key] = f"{values[key]}\n{value}" if key in values else value
        self.read_dict(merged)

    def optionxform(self, optionstr: str) -> str:
        return optionstr

    def all(self, section: str, *keys: str) -> list[str]:
        return [word for key in keys for word in self.get(section, key, fallback="").split()]


def verify(*units: Path) -> tuple[int, list[str]]:
    run = subprocess.run(["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, timeout=60)
    return run.returncode, (run.stdout + run.stderr).splitlines()


def exposure(unit: Path, *, at_most: float) -> tuple[int, float]:
    """Exit status under a threshold, and the score: 0 is shut, 10 is open."""
    command = [
        "systemd-analyze",
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={round(at_most * 10)}",
        str(unit),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", run.stdout)
    assert found, run.stdout + run.stderr
    return run.returncode, float(found[1])


def test_there_is_a_unit_for_each_daemon() -> None:
    assert {unit.stem for unit in SERVICES} == {f"kaisatsu-{name}" for name in DAEMONS}


def test_systemd_has_nothing_to_say_but_that_the_program_is_not_installed() -> None:
    _, said = verify(*SERVICES, *TARGETS)
    assert [line for line in said if not NOT_INSTALLED.fullmatch(line)] == []


@pytest.mark.parametrize("wrong", ["ProtectSytem=strict", "WatchdogSec=banana", "DevicePolicy=open"])
def test_a_wrong_line_is_seen_though_the_exit_status_is_silent(tmp_path: Path, wrong: str) -> None:
    unit = tmp_path / "kaisatsu-reader.service"
    text = (UNITS / unit.name).read_text(encoding="utf-8")
    unit.write_text(re.sub(r"(?m)^(ExecStart(?:Pre)?)=.*$", r"\1=/bin/true", text) + wrong + "\n", encoding="utf-8")
    status, said = verify(unit)
    assert status == 0, "this systemd now fails on wrong lines: good, the comment above can go"
    assert any(unit.name in line for line in said)


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_the_sandbox_scores(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, score = exposure(unit, at_most=EXPOSURE_MAX)
    with capsys.disabled():
        print(f"\n{unit.stem}: exposure {score}", end=" ")
    assert (status, score <= EXPOSURE_MAX) == (0, True)


def test_a_unit_without_the_common_sandbox_does_not_score(tmp_path: Path) -> None:
    alone = Path(shutil.copy(UNITS / "kaisatsu-sync.service", tmp_path))
    status, score = exposure(alone, at_most=EXPOSURE_MAX)
    assert status == 1
    assert score > 5


@pytest.mark.parametrize("unit", [*SERVICES, *TARGETS], ids=lambda unit: unit.name)
def test_no_daemon_needs_another_one_alive(unit: Path) -> None:
    keys = Keys(unit)
    assert keys.all("Unit", "Requires", "Requisite", "BindsTo", "Upholds", "OnFailure") == []
    assert set(keys.all("Unit", "PartOf")) <= {"kaisatsu.target"}
    if unit.suffix == ".service":
        assert not [name for name in keys.all("Unit", "Wants") if name.startswith("kaisatsu")]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_whoever_is_waited_for_is_given_up_soon(unit: Path) -> None:
    """After= another daemon is an order, not a need: it costs at most the other one's TimeoutStartSec."""
    for name in Keys(unit).all("Unit", "After"):
        if name.startswith("kaisatsu"):
            assert Keys(UNITS / name).getint("Service", "TimeoutStartSec") <= 30


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_daemon_says_when_it_is_ready_and_is_watched_under_its_own_account(unit: Path) -> None:
    keys = Keys(unit)
    assert keys.get("Service", "Type") == "notify"
    assert keys.getint("Service", "WatchdogSec") <= 60
    assert keys.get("Service", "User") == unit.stem


def started_modules() -> list[str]:
    found = [
        re.search(r" -m (\S+) /run/kaisatsu/(\S+)\.json$", Keys(unit).get("Service", "ExecStart")) for unit in SERVICES
    ]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("module", started_modules())
def test_what_a_unit_starts_is_there(module: str) -> None:
    spec = importlib.util.find_spec(module)
    if spec and spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{module}.__main__")
    assert spec is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="accounts and owners in a folder of their own take root")
def test_accounts_and_folders_are_made_as_the_units_need_them(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for folder in ("sysusers.d", "tmpfiles.d"):
        shutil.copytree(UNITS / folder, tmp_path / "usr/lib" / folder)
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        run = subprocess.run([*command, f"--root={tmp_path}"], capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
    accounts = dict[str, int]()
    for row in (tmp_path / "etc/passwd").read_text(encoding="utf-8").splitlines():
        name, _, uid, *_ = row.split(":")
        accounts[name] = int(uid)
    assert {Keys(unit).get("Service", "User") for unit in SERVICES} <= set(accounts)

    def seen(path: str) -> tuple[str, int]:
        facts = (tmp_path / path).stat()
        return oct(stat.S_IMODE(facts.st_mode)), facts.st_uid

    assert seen("var/lib/kaisatsu") == ("0o2770", 0)
    assert seen("run/kaisatsu") == ("0o2770", 0)
    assert seen("var/lib/kaisatsu/identity") == ("0o2750", accounts["kaisatsu-sync"])
    groups = (tmp_path / "etc/group").read_text(encoding="utf-8")
    assert re.search(r"(?m)^kaisatsu-identity:.*:kaisatsu-(gate,kaisatsu-sync|sync,kaisatsu-gate)$", groups)
    assert seen("var/lib/kaisatsu/selling") == ("0o700", accounts["kaisatsu-kiosk"])
    for unit in SERVICES:
        for path in Keys(unit).all("Service", "ReadWritePaths"):
            assert (tmp_path / path.lstrip("/")).is_dir(), f"{unit.name}: {path}"
