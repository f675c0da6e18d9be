"""Finding the venue node on the LAN when none of the addresses in the hub's statement answers: DNS-SD over multicast (RFC 6763, 6762).

Whoever answers is only somewhere to try. Anybody on the LAN can say that he is the node; the line to him is believed by the TLS key
that the statement pins, and his answers by its epoch. Where the statement pins no key (plain HTTP on a line that something else
protects) nobody is looked for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from sync.arbiter import Arbiter
from sync.errors import SyncError

SERVICE = "_kaisatsu._tcp.local."
DEVICE, TLS = "device", "tls"
"""Keys of the TXT record: who answers there, and the SHA-256 of its TLS key, both in hex."""
FOUND_MAX = 8


class LanSilent(SyncError):
    """Nobody can even be asked: no network, or no multicast on it."""

    code = "sync.lan_silent"


def find(statement: Arbiter, *, wait_s: float, interfaces: Sequence[str] | None = None) -> tuple[str, ...]:
    """Addresses at which somebody says that he is the node of `statement`, after `wait_s` at most, sooner where one is found.

    Raises LanSilent.
    """
    if statement.node is None or statement.tls is None:
        return ()
    from zeroconf import Error as ZeroconfError
    from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

    wanted = {DEVICE: statement.node.hex(), TLS: statement.tls.hex()}
    found: list[str] = []
    some = threading.Event()

    class Listener(ServiceListener):
        def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            info = zc.get_service_info(type_, name, timeout=round(wait_s * 1000))
            if info is None or not matches(info.decoded_properties, wanted):
                return
            for address in info.parsed_addresses():
                host = f"[{address}]" if ":" in address else address
                if len(found) < FOUND_MAX:
                    found.append(f"https://{host}:{info.port}")
            some.set()

        def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            self.add_service(zc, type_, name)

        def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            """Gone: then it does not answer."""

    try:
        asking = Zeroconf() if interfaces is None else Zeroconf(interfaces=list(interfaces))
        try:
            ServiceBrowser(asking, SERVICE, Listener())
            some.wait(wait_s)
        finally:
            asking.close()
    except (OSError, ZeroconfError) as error:
        raise LanSilent(f"nobody can be asked on the LAN ({error})") from error
    return tuple(dict.fromkeys(found))


def matches(said: dict[str, Any], wanted: dict[str, str]) -> bool:
    """Whether a TXT record names the one who is looked for."""
    return all(said.get(key) == value for key, value in wanted.items())
