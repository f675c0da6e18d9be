"""A serial line (RS-232, or USB that looks like it).

Modem lines are left as the operating system opened them: some printers take DTR or RTS as reset. The line is ours alone, and a
printer that stopped reading never blocks a write.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import serial

from printer.errors import LinkError
from printer.link import FlowControl

_READ_BYTES = 4096


class _Port(serial.Serial):
    """pyserial raises DTR and RTS on opening; this port leaves them."""

    def _update_dtr_state(self) -> None:
        return

    def _update_rts_state(self) -> None:
        return


@dataclass(slots=True)
class SerialLink:
    device: str
    baud: int = 115_200
    flow: FlowControl = FlowControl.DTR
    falls_with_power: bool = field(default=False, init=False)
    answers: bool = field(default=True, init=False)
    _port: Any = field(default=None, init=False)

    def open(self) -> None:
        self.close()
        try:
            port = _Port(
                self.device,
                baudrate=self.baud,
                timeout=0,
                write_timeout=0,
                xonxoff=self.flow is FlowControl.XON,
                rtscts=self.flow is FlowControl.DTR,
                exclusive=True,
            )
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise LinkError(f"{self.device}: {error}") from error
        self._port = port

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def fileno(self) -> int:
        return int(self._port.fileno())

    def send(self, data: bytes) -> int:
        try:
            return os.write(self._port.fileno(), data)
        except BlockingIOError:
            return 0
        except (OSError, serial.SerialException) as error:
            raise LinkError(f"{self.device}: {error}") from error

    def receive(self) -> bytes:
        try:
            return os.read(self._port.fileno(), _READ_BYTES)
        except BlockingIOError:
            return b""
        except (OSError, serial.SerialException) as error:
            raise LinkError(f"{self.device}: {error}") from error

    def patient(self, *, on: bool) -> None:
        """A serial line waits as long as it takes."""
