"""Settings in layers, each key with where it came from: built in, then the device's file, then what the command line says.

The daemons' own Settings dataclasses are the only list of keys there is; a section of the file is named like its daemon. So a
key cannot be allowed here and unknown there, and `kaisatsu config show` can tell every default.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_FILE = Path("/etc/kaisatsu/kaisatsu.toml")

DAEMONS: Mapping[str, str] = {
    "sync": "sync.settings",
    "printer": "printer.settings",
    "reader": "scanner.reading.settings",
    "gate": "scanner.gate.settings",
    "gate-screen": "scanner.screen.settings",
    "kiosk": "kiosk.settings",
}
"""Sections of the file, and the module whose `Settings` lists their keys."""

DEVICE_KEYS = {"state_dir": "/var/lib/kaisatsu", "run_dir": "/run/kaisatsu"}
"""Section [device]: where the device keeps what it knows, and what a reboot may take. Every daemon gets its paths from here."""

_DERIVED: Mapping[str, tuple[str, str]] = {
    "state_dir": ("state_dir", ""),
    "journal": ("state_dir", "journal.db"),
    "run_dir": ("run_dir", ""),
    "runtime_dir": ("run_dir", ""),
    "health": ("run_dir", "health.db"),
    "health_db": ("run_dir", "health.db"),
    "reads_socket": ("run_dir", "gate.sock"),
    "view_socket": ("run_dir", "gate-screen.sock"),
    "doorbell": ("run_dir", "printer.bell"),
}
"""Paths that processes must agree on, so nobody sets them one by one: a key, the directory of [device] it lies in, its name."""


class ConfigError(Exception):
    """A file that cannot be used. One line: file, key, what is allowed."""

    code = "config"


@dataclass(frozen=True, slots=True)
class Value:
    """`origin` is "built in", a file, or "derived from [device]"."""

    value: Any
    origin: str


Sections = dict[str, dict[str, Value]]


def keys(daemon: str) -> Mapping[str, dataclasses.Field[Any]]:
    """The keys of a section, from the daemon's own Settings."""
    settings = importlib.import_module(DAEMONS[daemon]).Settings
    return {field.name: field for field in dataclasses.fields(settings)}


def load(file: Path | None) -> Sections:
    """All sections with every key that has a value. `file` None: built-in values only. Raises ConfigError."""
    given = {} if file is None else _read(file)
    sections: Sections = {"device": {key: Value(value, "built in") for key, value in DEVICE_KEYS.items()}}
    for key, value in given.get("device", {}).items():
        if not isinstance(value, str):
            raise ConfigError(f"{file}: [device] {key}: a path is expected")
        sections["device"][key] = Value(value, str(file))
    for daemon in DAEMONS:
        known = keys(daemon)
        section = {name: value for name in known if (value := _built_in(name, known[name], sections)) is not None}
        section |= {key: Value(value, str(file)) for key, value in given.get(daemon, {}).items()}
        sections[daemon] = section
    return sections


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML ({error})") from error
    for name, section in document.items():
        if not isinstance(section, dict):
            raise ConfigError(f"{file}: '{name}' stands outside of a section; allowed: {_list(['device', *DAEMONS])}")
        if name != "device" and name not in DAEMONS:
            raise ConfigError(f"{file}: unknown section [{name}]{_hint(name, ['device', *DAEMONS])}")
        allowed = list(DEVICE_KEYS) if name == "device" else list(keys(name))
        for key in section:
            if key not in allowed:
                raise ConfigError(f"{file}: unknown key '{key}' in [{name}]{_hint(key, allowed)}")
    return document


def _built_in(name: str, field: dataclasses.Field[Any], sections: Sections) -> Value | None:
    if name in _DERIVED:
        directory, file = _DERIVED[name]
        return Value(str(Path(sections["device"][directory].value) / file), "derived from [device]")
    if field.default is not dataclasses.MISSING:
        value = field.default
        return Value(
            str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value, "built in"
        )
    return None


def _hint(word: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(word, allowed, n=1)
    meant = f"; did you mean '{close[0]}'?" if close else ""
    return f"{meant}; allowed: {_list(allowed)}"


def _list(words: list[str]) -> str:
    return ", ".join(sorted(words))
