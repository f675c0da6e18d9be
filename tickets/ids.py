"""Ids, as types that cannot be mixed up, and how they are made and written.

All are random bytes handed in by whoever owns randomness; in JSON, logs and URLs they are lower-case hex.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NewType

TicketId = NewType("TicketId", bytes)
"""10 random bytes, inside the ticket code."""
OpId = NewType("OpId", bytes)
"""16 random bytes, made once before the first attempt to record or send an operation, and kept under every retry."""
DeviceId = NewType("DeviceId", bytes)
"""16 random bytes, made by the device at enrolment."""
OrderId = NewType("OrderId", bytes)
"""10 random bytes; what people say is the order's number."""
Kid = NewType("Kid", bytes)
"""4 bytes, assigned by the hub to a selling key, unique in that hub, never reused."""

TICKET_ID_BYTES = 10
OP_ID_BYTES = 16
DEVICE_ID_BYTES = 16
ORDER_ID_BYTES = 10
KID_BYTES = 4

RandomBytes = Callable[[int], bytes]
"""`os.urandom` in a process, a seeded generator in a simulation."""


def exactly(value: bytes, size: int, what: str) -> bytes:
    """`value` if it has `size` bytes. Raises ValueError naming `what`."""
    if len(value) != size:
        raise ValueError(f"{what}: {size} bytes are expected, found {len(value)}")
    return value


def ticket_id(text: str) -> TicketId:
    return TicketId(exactly(bytes.fromhex(text), TICKET_ID_BYTES, "ticket id"))


def op_id(text: str) -> OpId:
    return OpId(exactly(bytes.fromhex(text), OP_ID_BYTES, "operation id"))


def device_id(text: str) -> DeviceId:
    return DeviceId(exactly(bytes.fromhex(text), DEVICE_ID_BYTES, "device id"))


def order_id(text: str) -> OrderId:
    return OrderId(exactly(bytes.fromhex(text), ORDER_ID_BYTES, "order id"))


def kid(text: str) -> Kid:
    return Kid(exactly(bytes.fromhex(text), KID_BYTES, "key id"))
