"""What a daemon does without. Every process of a device holds its modules for months, and some libraries import much for parts that
no daemon uses: structlog takes rich for a developer's terminal (5 MB), Pillow takes NumPy for a type alias (15 MB).

Called by the `__main__` of a daemon, before its other imports. Never by a library: in a test or a tool these modules may be wanted.
"""

from __future__ import annotations

import sys


def leave_out(*modules: str) -> None:
    """Make the import of each fail, which who tries it must expect. What is imported already stays."""
    for name in modules:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is the import system's own mark for that
