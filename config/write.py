"""`kaisatsu config write`: one JSON file a daemon in the run-time directory, each checked by the code that will read it."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from pathlib import Path

from config.layers import DAEMONS, ConfigError, Sections
from sync.service.settings import SettingsError, load


def write(sections: Sections, *, daemons: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """Write the settings of `daemons` (all whose section is complete, if none is named). Returns the files.

    Raises ConfigError, and then leaves every old file as it was. Safe to run at the same time by several units.
    """
    run_dir = Path(sections["device"]["run_dir"].value)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{run_dir}: cannot be made ({error.strerror})") from error
    written = []
    for daemon in daemons or _complete(sections):
        settings = importlib.import_module(DAEMONS[daemon]).Settings
        document = {key: value.value for key, value in sections[daemon].items()}
        descriptor, fresh = tempfile.mkstemp(dir=run_dir, prefix=f".{daemon}-", suffix=".json")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, ensure_ascii=False, indent=1)
            Path(fresh).chmod(0o644)
            load(Path(fresh), settings)
        except SettingsError as error:
            Path(fresh).unlink()
            where = _origins(sections, daemon)
            raise ConfigError(f"{where}: [{daemon}] {str(error).removeprefix(f'{fresh}: ')}") from error
        target = run_dir / f"{daemon}.json"
        Path(fresh).replace(target)
        written.append(target)
    return tuple(written)


def _complete(sections: Sections) -> tuple[str, ...]:
    """Daemons that have a value for each key without a default: a gate needs no printer's address."""
    from config.layers import keys

    return tuple(daemon for daemon in DAEMONS if all(key in sections[daemon] for key in keys(daemon)))


def _origins(sections: Sections, daemon: str) -> str:
    files = {value.origin for value in sections[daemon].values() if not value.origin.startswith(("built", "derived"))}
    return ", ".join(sorted(files)) or "built-in settings"
