"""Daemons carry no rich, and windows no NumPy: what nobody there uses."""

from __future__ import annotations

import subprocess
import sys

import pytest

DAEMONS = [
    "import sync.__main__, sync.store",
    "import scanner.gate.__main__",
    "import scanner.reading.__main__",
]


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*(n for n, m in sys.modules.items() if m is not None))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("code", DAEMONS)
def test_a_daemon_carries_no_part_that_it_never_uses(code: str) -> None:
    found = modules_after(code)
    assert "structlog" in found
    assert "rich.console" not in found


def test_a_window_carries_no_rich() -> None:
    found = modules_after("import kiosk.__main__, scanner.screen.__main__")
    assert not {"rich.console", "numpy.linalg"} & found
