"""How a wrong call ends: one line on standard error, and status 2."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer


def stop(message: str) -> NoReturn:
    sys.stderr.write(f"kaisatsu: {message}\n")
    raise typer.Exit(2)
