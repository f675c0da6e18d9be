"""Says on the LAN where this node is, for devices whose statement has an older address (sync.discovery).

It says nothing secret and promises nothing: who and which TLS key is what the hub's statement says too. No network, no multicast or
no package is no reason for a node not to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import structlog

from sync.discovery import DEVICE, SERVICE, TLS
from tickets.ids import DeviceId

log = structlog.get_logger()


class Announcer:
    """Announces between `with` and its end. `addresses` empty: all of this machine's, as the library finds them."""

    def __init__(
        self,
        device: DeviceId,
        *,
        port: int,
        tls: bytes,
        addresses: Sequence[str] = (),
        interfaces: Sequence[str] | None = None,
    ) -> None:
        self._device, self._port, self._tls = device, port, tls
        self._addresses, self._interfaces = addresses, interfaces
        self._zeroconf: Any = None

    def __enter__(self) -> Announcer:
        try:
            from zeroconf import Error as ZeroconfError
            from zeroconf import ServiceInfo, Zeroconf
        except ImportError as error:
            log.warning("not_announced", why=str(error))
            return self
        name = f"kaisatsu-{self._device.hex()[:12]}"
        info = ServiceInfo(
            SERVICE,
            f"{name}.{SERVICE}",
            port=self._port,
            parsed_addresses=list(self._addresses) or _own_addresses(),
            properties={DEVICE: self._device.hex(), TLS: self._tls.hex()},
            server=f"{name}.local.",
        )
        try:
            self._zeroconf = Zeroconf() if self._interfaces is None else Zeroconf(interfaces=list(self._interfaces))
            self._zeroconf.register_service(info, allow_name_change=True)
            log.info("announced", port=self._port)
        except (OSError, ZeroconfError) as error:
            log.warning("not_announced", why=str(error))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._zeroconf is not None:
            self._zeroconf.unregister_all_services()
            self._zeroconf.close()


def _own_addresses() -> list[str]:
    import ifaddr  # what zeroconf itself asks

    ips = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    return [str(ip) for ip in ips if not str(ip).startswith("127.")]
