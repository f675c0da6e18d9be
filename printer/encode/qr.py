"""The QR symbol of a text, the same for every encoding: error correction M, the smallest version, no boost, no border."""

from __future__ import annotations

from functools import lru_cache

from printer.errors import EncodeError


@lru_cache(maxsize=8)
def modules(text: str) -> tuple[bytes, ...]:
    """The symbol's rows, one byte a module, 1 is dark. Raises EncodeError for a text that no QR holds."""
    import segno

    try:
        symbol = segno.make(text, error="m", boost_error=False, micro=False)
    except (segno.DataOverflowError, ValueError) as error:
        raise EncodeError(f"no QR holds this text of {len(text)} characters") from error
    return tuple(bytes(row) for row in symbol.matrix)


def side(text: str) -> int:
    """Modules a side."""
    return len(modules(text))
