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


@lru_cache(maxsize=512)
def side(text: str) -> int:
    """Modules a side, from the length of the text alone: a layout needs no symbol, and drawing one takes a hundred times as long."""
    from segno import DataOverflowError, consts, encoder

    try:
        version = encoder.find_version(
            encoder.prepare_data(text, None, None), consts.ERROR_LEVEL_M, eci=False, micro=False
        )
    except (DataOverflowError, ValueError) as error:
        raise EncodeError(f"no QR holds this text of {len(text)} characters") from error
    return 17 + 4 * int(version)
