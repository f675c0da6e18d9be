"""`python -m printer FILE`: the spool of one printer."""

import sys

from sync.service import lean

lean.leave_out("numpy", "rich")

from printer.spool.process import main  # noqa: E402

sys.exit(main(sys.argv))
