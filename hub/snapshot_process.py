"""`python -m hub.snapshot_process`: builds the snapshot files of a moment beside the hub and says what they are. It signs nothing and publishes nothing.

Standard input: {"database_url", "folder", "now"}; standard output: the manifests' texts by scope.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path

from hub.database import open_database
from hub.errors import HubError
from hub.services.snapshot import Shelf, prepare

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
    made = prepare(engine, Shelf(Path(asked["folder"])), now=datetime.fromisoformat(asked["now"]))
    engine.dispose()
    sys.stdout.write(json.dumps({scope: manifest.to_text() for scope, manifest in made.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
