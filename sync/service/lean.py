"""What a daemon does without. Every process of a device holds its modules for months, and some libraries import much for parts that
no daemon uses: structlog takes rich for a developer's terminal (5 MB), and with SQLAlchemy asyncio and through it ssl (8 MB) for
calls that nobody here awaits; Pillow takes NumPy for a type alias (15 MB).

Called by the `__main__` of a daemon, before its other imports. Never by a library: in a test or a tool these modules may be wanted.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def leave_out(*modules: str) -> None:
    """Make the import of each fail, which who tries it must expect. What is imported already stays."""
    for name in modules:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is the import system's own mark for that


def put_off_asyncio() -> None:
    """Until somebody asks `asyncio` for something, a stand-in takes its place, which then imports the real one. A submodule cannot be
    imported before that: it fails loudly.
    """
    if "asyncio" in sys.modules:
        return
    stand_in = ModuleType("asyncio", "Imports the real one when first used.")

    def real() -> ModuleType:
        if sys.modules.get("asyncio") is stand_in:
            del sys.modules["asyncio"]
        return importlib.import_module("asyncio")

    def of_real(name: str) -> Any:
        if name.startswith("__"):  # asked by the import system, about the module itself
            raise AttributeError(name)
        return getattr(real(), name)

    def iscoroutine(value: object) -> bool:
        return bool(real().iscoroutine(value))

    # SQLAlchemy takes this one when imported, for engines that are awaited.
    stand_in.__dict__.update(__getattr__=of_real, iscoroutine=iscoroutine)
    sys.modules["asyncio"] = stand_in
