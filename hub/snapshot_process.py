"""`python -m hub.snapshot_process`: builds one snapshot file beside the hub and says what it is. It signs nothing and publishes nothing.

Standard input: {"database_url", "folder", "now"}; standard output: the manifest's text.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path

from hub.database import open_database
from hub.errors import HubError
from hub.services.snapshot import prepare

NICE = 10
"""Devices first."""


def main() -> int:
    asked = json.load(sys.stdin)
    os.nice(NICE)
    try:
        engine = open_database(asked["database_url"])
    except HubError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    manifest = prepare(engine, Path(asked["folder"]), now=datetime.fromisoformat(asked["now"]))
    engine.dispose()
    sys.stdout.write(manifest.to_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
