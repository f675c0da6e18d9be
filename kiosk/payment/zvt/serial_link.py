"""The serial form of the wire: 9600 8N2, blocks with ACK and NAK, two repeats (PA00P016, chapters 2 and 3).

No modem line is set: terminals need none, and a pseudo-terminal refuses them.
"""

from __future__ import annotations

import time
from collections import deque

import serial
import structlog

from kiosk.payment.errors import TerminalAbsentError, TerminalLinkError
from kiosk.payment.zvt import apdu
from kiosk.payment.zvt.apdu import Apdu
from kiosk.payment.zvt.errors import CodecError
from kiosk.payment.zvt.framing import ACK, NAK, Deframer, Payload, Signal, wrap
from kiosk.payment.zvt.timers import Timers

log = structlog.get_logger()

REPEATS_MAX = 2
_BROKEN_MAX = 3


class SerialLink:
    """A serial port. A block whose acknowledgement got lost comes twice; the second is acknowledged and dropped."""

    def __init__(self, device: str, *, baud: int = 9600, timers: Timers) -> None:
        self._device, self._baud, self._timers = device, baud, timers
        self._port: serial.Serial | None = None
        self._deframer = Deframer()
        self._units: deque[Apdu] = deque()
        self._last_payload: bytes | None = None
        self._broken = 0

    @property
    def is_open(self) -> bool:
        return self._port is not None

    def open(self) -> None:
        self.close()
        try:
            self._port = serial.Serial(
                self._device,
                self._baud,
                bytesize=serial.EIGHTBITS,
                parity=serial.PARITY_NONE,
                stopbits=serial.STOPBITS_TWO,
                rtscts=False,
                dsrdtr=False,
                xonxoff=False,
                timeout=0,
                write_timeout=self._timers.t2_s,
            )
            self._port.reset_input_buffer()
        except (OSError, ValueError) as error:  # serial.SerialException is an OSError
            self.close()
            raise TerminalAbsentError(f"{self._device}: {error}") from error
        self._deframer = Deframer()
        self._units.clear()
        self._last_payload = None
        self._broken = 0

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def send(self, unit: Apdu) -> None:
        block = wrap(unit.encode())
        for _ in range(1 + REPEATS_MAX):
            self._write(block)
            if self._is_acknowledged():
                self._last_payload = None  # the turn has moved on: the same block again would be a new one
                return
        raise TerminalLinkError("the terminal acknowledged none of three blocks")

    def receive(self, timeout_s: float) -> Apdu | None:
        until = time.monotonic() + timeout_s
        while not self._units:
            left_s = until - time.monotonic()
            signals = self._read(max(left_s, 0.0))
            if not signals and left_s <= 0 and not self._deframer.is_inside:
                return None
        return self._units.popleft()

    def _is_acknowledged(self) -> bool:
        until = time.monotonic() + self._timers.t2_s
        while (left_s := until - time.monotonic()) > 0:
            for signal in self._read(left_s):
                if signal is Signal.ACK:
                    return True
                if signal is Signal.NAK:
                    return False
        return False

    def _read(self, timeout_s: float) -> list[Signal]:
        """Wait for bytes, acknowledge blocks, queue their units; returns the signals seen. Inside a block T1 governs."""
        assert self._port is not None
        inside = self._deframer.is_inside
        data = self._wait(self._timers.t1_s if inside else timeout_s)
        if not data:
            if inside:
                self._refuse(self._deframer.give_up())
            return []
        signals: list[Signal] = []
        for event in self._deframer.feed(data):
            match event:
                case Payload(data=payload):
                    self._accept(payload)
                case Signal.BROKEN:
                    self._refuse(event)
                case Signal():
                    signals.append(event)
        return signals

    def _accept(self, payload: bytes) -> None:
        self._broken = 0
        self._write(bytes([ACK]))
        if payload == self._last_payload:
            log.info("terminal_block_repeated", bytes=len(payload))
            return
        self._last_payload = payload
        try:
            self._units.append(apdu.decode(payload))
        except CodecError as error:
            raise TerminalLinkError(f"a block holds no unit: {error}") from error

    def _refuse(self, _signal: Signal) -> None:
        self._broken += 1
        if self._broken > _BROKEN_MAX:
            raise TerminalLinkError("the terminal's blocks arrive broken")
        self._write(bytes([NAK]))

    def _wait(self, timeout_s: float) -> bytes:
        if self._port is None:
            raise TerminalLinkError("the port is not open")
        try:
            self._port.timeout = timeout_s
            first = bytes(self._port.read(1))
            return first + bytes(self._port.read(self._port.in_waiting)) if first else b""
        except (OSError, TypeError) as error:  # TypeError: pyserial reads from a descriptor closed meanwhile
            raise TerminalLinkError(f"reading failed: {error}") from error

    def _write(self, data: bytes) -> None:
        if self._port is None:
            raise TerminalLinkError("the port is not open")
        try:
            self._port.write(data)
            self._port.flush()
        except OSError as error:
            raise TerminalLinkError(f"writing failed: {error}") from error
