"""The hash chain of a device's operations, and the segments that it signs. Final bytes; integers are big-endian.

    operation hash = SHA-256("kaisatsu/op/1" || device 16 || incarnation u32 || seq u64 || previous hash 32 || body)
    segment text   = "kaisatsu/segment/1" || device 16 || incarnation u32 || first u64 || last u64
                     || hash before first 32 || head hash 32            signed with the identity key, Ed25519

`seq` starts at 1 in each incarnation and the hash before it is zeros. `body` is the exact UTF-8 JSON text written at append:
kept, hashed and sent unchanged, never serialised again.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync.errors import SegmentError
from tickets.ids import DEVICE_ID_BYTES, DeviceId, exactly

HASH_BYTES = 32
ZERO_HASH = bytes(HASH_BYTES)
SEGMENT_OPERATIONS_MAX = 500
SEGMENT_BYTES_MAX = 256 * 1024
"""A segment is cut at whichever comes first (research: batches of 500 or 256 kB)."""


def operation_hash(device: DeviceId, incarnation: int, seq: int, previous: bytes, body: str) -> bytes:
    head = b"kaisatsu/op/1" + device + struct.pack(">IQ", incarnation, seq) + previous
    return hashlib.sha256(head + body.encode()).digest()


@dataclass(frozen=True, slots=True)
class Segment:
    """Operations `first` to `last` of one incarnation, as signed by their device. Sent again byte for byte, through any relay."""

    device: DeviceId
    incarnation: int
    first: int
    last: int
    before: bytes
    head: bytes
    signature: bytes
    bodies: tuple[str, ...]

    def __post_init__(self) -> None:
        try:
            exactly(self.device, DEVICE_ID_BYTES, "device")
            exactly(self.before, HASH_BYTES, "hash before")
            exactly(self.head, HASH_BYTES, "head hash")
        except ValueError as error:
            raise SegmentError(str(error)) from error
        if not (1 <= self.first <= self.last and len(self.bodies) == self.last - self.first + 1):
            raise SegmentError(f"{len(self.bodies)} operations do not make numbers {self.first} to {self.last}")
        if len(self.bodies) > SEGMENT_OPERATIONS_MAX:
            raise SegmentError(f"{len(self.bodies)} operations; {SEGMENT_OPERATIONS_MAX} are allowed in a segment")

    def signed_text(self) -> bytes:
        return _signed_text(self.device, self.incarnation, self.first, self.last, self.before, self.head)

    def hashes(self) -> tuple[bytes, ...]:
        """The hash after each operation, recomputed from the bodies."""
        result, previous = [], self.before
        for offset, body in enumerate(self.bodies):
            previous = operation_hash(self.device, self.incarnation, self.first + offset, previous, body)
            result.append(previous)
        return tuple(result)


def cut(
    *, device: DeviceId, incarnation: int, first: int, before: bytes, bodies: tuple[str, ...], key: Ed25519PrivateKey
) -> Segment:
    """Sign `bodies` as one segment that starts at `first`."""
    last, head = first + len(bodies) - 1, before
    for offset, body in enumerate(bodies):
        head = operation_hash(device, incarnation, first + offset, head, body)
    signature = key.sign(_signed_text(device, incarnation, first, last, before, head))
    return Segment(device, incarnation, first, last, before, head, signature, bodies)


def verify(segment: Segment, key: Ed25519PublicKey) -> tuple[bytes, ...]:
    """The hash after each operation. Raises SegmentError if chain or signature does not hold."""
    hashes = segment.hashes()
    if hashes[-1] != segment.head:
        raise SegmentError("the operations do not lead to the segment's head hash")
    if segment.first == 1 and segment.before != ZERO_HASH:
        raise SegmentError("the first operation of an incarnation follows zeros")
    try:
        key.verify(segment.signature, segment.signed_text())
    except InvalidSignature as error:
        raise SegmentError("the segment is not signed by its device") from error
    return hashes


def _signed_text(device: DeviceId, incarnation: int, first: int, last: int, before: bytes, head: bytes) -> bytes:
    return b"kaisatsu/segment/1" + device + struct.pack(">IQQ", incarnation, first, last) + before + head
