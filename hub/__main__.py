"""The hub as a process: `python -m hub serve --database URL --listen HOST:PORT`."""

import sys

from hub.command import main

raise SystemExit(main(sys.argv[1:]))
