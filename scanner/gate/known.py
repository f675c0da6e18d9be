"""What this gate was granted, held in memory: the catalogue, the selling keys, which cache generation to read.

Read again only when another connection has committed to the journal (`PRAGMA data_version`), because a scan has five milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy import Connection, select

from scanner.gate.naming import SellingKey
from sync import certificate, granted
from sync.arbiter import Arbiter
from sync.claim import EPOCH_FIRST
from sync.errors import MessageError
from sync.granted import IssuerKey
from tickets import code as ticket_code
from tickets.catalogue import Catalogue, CatalogueError
from tickets.catalogue import parse as parse_catalogue
from tickets.ids import Kid

_DOCUMENT_TIMES = select(granted.document.c.at)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Known:
    """`heard_at` is the newest hub time that stands in the grants: the clock cannot truly be before it. `rows` are what `keys` were
    made from.
    """

    catalogue: Catalogue | None = None
    catalogue_text: str = ""
    keys: Mapping[Kid, SellingKey] = field(default_factory=dict)
    rows: Mapping[Kid, IssuerKey] = field(default_factory=dict)
    generation: int | None = None
    arbiter: Arbiter | None = None
    heard_at: datetime | None = None

    @property
    def epoch(self) -> int:
        """The reign this gate lives in."""
        return EPOCH_FIRST if self.arbiter is None else self.arbiter.epoch


def load(connection: Connection, before: Known, *, hub_key: bytes) -> Known:
    """The grants as they are now. A catalogue that cannot be used is told in the log and the one before it is kept; a key whose
    certificate the hub (`hub_key`, as pinned at enrolment) did not sign is told and left out.
    """
    catalogue, text = before.catalogue, before.catalogue_text
    found = granted.catalogue_text(connection)
    if found is not None and found[0] != text:
        try:
            catalogue, text = parse_catalogue(found[0]), found[0]
        except CatalogueError as error:
            _log.error("catalogue_unusable", why=str(error))
    rows = granted.keys(connection)
    return Known(
        catalogue=catalogue,
        catalogue_text=text,
        keys=before.keys if rows == before.rows else _keys(rows, hub_key),
        rows=rows,
        generation=granted.generation(connection),
        arbiter=granted.arbiter(connection, hub_key) or before.arbiter,
        heard_at=_heard_at(connection),
    )


def _keys(rows: Mapping[Kid, IssuerKey], hub_key: bytes) -> Mapping[Kid, SellingKey]:
    keys: dict[Kid, SellingKey] = {}
    for kid, row in rows.items():
        try:
            held = certificate.check(row.certificate, row.signature, hub_key)
            if held.kid != kid:
                raise MessageError("a certificate of another key")
            keys[kid] = SellingKey(ticket_code.public_key(held.public), held, revoked=row.revoked_at is not None)
        except (MessageError, ValueError) as error:
            _log.error("selling_key_unusable", kid=kid.hex(), why=str(error))
    return keys


def _heard_at(connection: Connection) -> datetime | None:
    times = [datetime.fromisoformat(text) for text in connection.scalars(_DOCUMENT_TIMES)]
    return max((at for at in times if at.tzinfo is not None), default=None)
