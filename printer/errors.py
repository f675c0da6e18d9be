"""What can go wrong between a sale and its paper. Each error has a stable `code` for logs and screens."""

from __future__ import annotations


class PrinterError(Exception):
    """The root of this package's errors."""

    code = "printer"


class DocumentError(PrinterError):
    """A document that means nothing: a bug of whoever made it, or a row of another version."""

    code = "printer.document"


class LayoutError(PrinterError):
    """A document that does not fit the paper. Never cut off silently: a ticket without its date is no ticket."""

    code = "printer.layout"


class EncodeError(PrinterError):
    """A page that this printer cannot be told."""

    code = "printer.encode"


class ProfileError(PrinterError):
    """A printer profile that cannot be used. One line: file, key, what is allowed."""

    code = "printer.profile"


class LinkError(PrinterError):
    """The link to the printer broke or could not be opened; it heals itself by being opened again."""

    code = "printer.link"


class JobError(PrinterError):
    """A print job asked for something it cannot do: unknown id, other documents under a known id."""

    code = "printer.job"
