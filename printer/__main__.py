"""`python -m printer FILE`: the spool of one printer."""

import sys

# Pillow imports NumPy, for a type alias only, wherever it is installed: 12 MB that this process never uses.
sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]  # None makes the import fail, which Pillow expects

from printer.spool.process import main  # noqa: E402

sys.exit(main(sys.argv))
