"""A hub whose ledger answers at once, so that what a signed claim costs beside it can be weighed. Prints its port."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from hub import tls as hub_tls
from hub.command import make_link
from hub.node import HubNode
from hub.opening import open_node
from hub.services import venue
from hub.services.devices import KnownDevice
from hub.serving import Tls, run_server
from sync.claim import ClaimMessage
from sync.state import Role
from tickets.admission import Granted

ROOT = Path(__file__).parents[1]


def _granted(message: ClaimMessage, *, sender: KnownDevice) -> Granted:
    _ = message, sender
    return Granted(epoch=1, left=0)


def main(folder: Path) -> None:
    node = open_node(f"sqlite:///{folder / 'hub.db'}")
    document = json.loads((ROOT / "hub" / "demo_venue.json").read_text(encoding="utf-8"))
    with node.write() as connection:
        venue.publish_catalogue(connection, document, now=node.clock.now_utc())
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    file = hub_tls.own(folder / "hub.pem")
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    pin = hub_tls.pin_of_file(file)
    links = [make_link(node, role=Role.GATE, label=str(n), gate="A", base_url=url, pin=pin) for n in range(8)]
    setattr(HubNode, "claim", lambda _, message, *, sender: _granted(message, sender=sender))  # noqa: B010
    line = json.dumps({"links": links, "pid": os.getpid()})
    run_server(
        node, listener, database_url=None, tls=Tls(file), started=lambda: print(line, flush=True), on_beat=lambda: None
    )


main(Path(sys.argv[1]))
