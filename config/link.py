"""What was given to `kaisatsu enrol`: the link itself, or a file with it, text or a picture of its QR code.

A file's content never stands in an error: a link is as good as a device until it is used.
"""

from __future__ import annotations

from pathlib import Path

from sync.enrol import EnrolError, parse_link

TEXT_BYTES_MAX = 8192
"""More than any link has: a file that is larger is taken for a picture."""
EXPECTED = "http(s)://HOST:PORT/enrol?token=...&key=..."


def link_of(given: str) -> str:
    """The one link in `given`. Raises EnrolError with one line that names the file."""
    if given.strip().lower().startswith(("http://", "https://")):
        return given
    file = Path(given)
    content = _head(file, given)
    if b"<svg" in content:
        raise EnrolError(
            f"{file}: an SVG is to be shown or printed; give a PNG, a photograph of it, or the link as text"
        )
    text = _text(content)
    return _in_picture(file) if text is None else _in_text(file, text)


def _head(file: Path, given: str) -> bytes:
    """As much of `file` as tells text from a picture."""
    try:
        if not file.exists():
            raise EnrolError(f"{given}: neither a link ({EXPECTED}) nor a file")
        if not file.is_file():
            raise EnrolError(f"{given}: is no file")
        with file.open("rb") as opened:
            content = opened.read(TEXT_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise EnrolError(f"{given}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not content.strip():
        raise EnrolError(f"{given}: is empty")
    return content


def _text(content: bytes) -> str | None:
    """None for what is no text: the head of a picture, UTF-16, something large."""
    if len(content) > TEXT_BYTES_MAX or b"\0" in content:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _in_text(file: Path, text: str) -> str:
    words = text.split()
    if len(words) != 1:
        raise EnrolError(f"{file}: one enrolment link and nothing else is expected in it")
    try:
        parse_link(words[0])
    except EnrolError as error:
        raise EnrolError(f"{file}: {error}") from error
    return words[0]


def _in_picture(file: Path) -> str:
    try:
        from scanner.reading.files import decode_file
    except ImportError as error:  # a machine without the decoders' libraries can still be enrolled
        raise EnrolError(
            f"{file}: pictures cannot be read on this machine ({error}); give the link or its text file"
        ) from error
    line = decode_file(str(file))
    if not line["codes"]:
        raise EnrolError(f"{file}: neither text with a link nor a picture of one: {line['error']}")
    links, wrong = [], None
    for code in line["codes"]:
        try:
            parse_link(code)
            links.append(code)
        except EnrolError as error:
            wrong = error
    if not links:
        raise EnrolError(f"{file}: the QR code in it is {wrong}") from wrong
    if len(links) > 1:
        raise EnrolError(f"{file}: {len(links)} enrolment links are in this picture; one is expected")
    return str(links[0])
