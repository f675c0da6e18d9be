"""`python -m printer FILE`: the spool of one printer."""

import sys

from printer.spool.process import main

sys.exit(main(sys.argv))
