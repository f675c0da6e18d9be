"""The sync daemon: `python -m sync SETTINGS.json`."""

import sys

from sync.service import lean

lean.leave_out("rich")

from sync.errors import NotEnrolled  # noqa: E402
from sync.service import log  # noqa: E402
from sync.service.settings import load_or_exit  # noqa: E402
from sync.settings import Settings  # noqa: E402

if __name__ == "__main__":
    settings = load_or_exit(sys.argv, Settings)
    log.configure("kaisatsu-sync")
    from sync.daemon.run import run

    try:
        raise SystemExit(run(settings))
    except NotEnrolled as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(3) from error
