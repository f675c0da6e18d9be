"""Numbers as ZVT writes them: packed BCD, two digits a byte, most significant first."""

from __future__ import annotations

from kiosk.payment.zvt.errors import CodecError


def encode(number: int, *, size: int) -> bytes:
    """`number` as `size` bytes of BCD. Raises CodecError when it does not fit."""
    digits = f"{number:0{size * 2}d}"
    if number < 0 or len(digits) > size * 2:
        raise CodecError(f"{number} does not fit into {size} bytes of BCD")
    return bytes.fromhex(digits)


def decode(data: bytes) -> int:
    """The number in `data`. Raises CodecError for a nibble above 9."""
    text = data.hex()
    if not text.isdecimal():
        raise CodecError(f"not BCD: {text}")
    return int(text)
