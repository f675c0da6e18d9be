"""A copy of the catalogue and the keys beside the journal, for the day on which the journal cannot be read at all.

The journal stays the only place that anyone reads grants from; this file only fills a fresh one whose predecessor was put away
unreadable, so that a gate without a line goes on knowing its venue and its kiosks. Keys are taken from it only with a certificate
under the pinned hub key, as from the feed.
"""

from __future__ import annotations

import json
from typing import Any

import structlog
from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from sync import certificate, granted, grants
from sync.arbiter import DOCUMENT
from sync.errors import MessageError
from sync.state import StateDir, write_durably
from tickets.catalogue import CatalogueError, parse

FILE = "granted.json"

log = structlog.get_logger()


def keep(state: StateDir, connection: Connection) -> None:
    """Write what is in force now. Whole or not at all; called after a page of the feed has changed it."""
    text = granted.catalogue_text(connection)
    keys = [
        {
            "certificate": row.certificate,
            "signature": row.signature.hex(),
            "revoked_at": row.revoked_at,
        }
        for row in connection.execute(select(granted.issuer_key).order_by(granted.issuer_key.c.kid))
    ]
    generation = granted.generation(connection)
    statement = connection.execute(
        select(granted.document.c.text, granted.document.c.at).where(granted.document.c.name == DOCUMENT)
    ).first()
    document = {
        "catalogue": None if text is None else text[0],
        "at": None if text is None else text[1].isoformat(),
        "generation": generation,
        "arbiter": None if statement is None else [statement.text, statement.at],
        "keys": keys,
    }
    write_durably(state.path / FILE, json.dumps(document, ensure_ascii=False).encode())


def restore(state: StateDir, connection: Connection) -> bool:
    """Fill a journal that has no catalogue from the copy. True when it did. What cannot be checked is left out and told."""
    if granted.catalogue_text(connection) is not None:
        return False
    try:
        document = json.loads((state.path / FILE).read_text(encoding="utf-8"))
        text, at = document["catalogue"], document["at"]
        if text is None:
            return False
        parse(text)
    except (OSError, ValueError, KeyError, TypeError, CatalogueError) as error:
        log.warning("granted_copy_unusable", why=str(error))
        return False
    rows = [{"name": granted.CATALOGUE, "text": text, "at": at}]
    if isinstance(document.get("generation"), int):
        rows.append({"name": granted.GENERATION, "text": str(document["generation"]), "at": at})
    connection.execute(insert(granted.document).on_conflict_do_nothing(), rows)
    hub_key = state.identity().hub_key
    _restore_arbiter(connection, document.get("arbiter"), hub_key)
    for row in document.get("keys", []):
        try:
            _restore_key(connection, row, hub_key)
        except (MessageError, KeyError, ValueError, TypeError) as error:
            log.warning("granted_copy_key_left_out", why=str(error))
    log.warning("grants_restored", keys=len(document.get("keys", [])))
    return True


def _restore_arbiter(connection: Connection, held: Any, hub_key: bytes) -> None:
    """A fresh journal must not believe an older arbiter than the one before it did."""
    if held is None:
        return
    try:
        text, at = held
        why = grants.put_arbiter(connection, str(text), hub_key, at=str(at))
    except (TypeError, ValueError) as error:
        why = str(error)
    if why:
        log.warning("granted_copy_arbiter_left_out", why=why)


def _restore_key(connection: Connection, row: Any, hub_key: bytes) -> None:
    text, signature = str(row["certificate"]), bytes.fromhex(row["signature"])
    checked = certificate.check(text, signature, hub_key)
    connection.execute(
        insert(granted.issuer_key).on_conflict_do_nothing(),
        {
            "kid": checked.kid,
            "public": checked.public,
            "certificate": text,
            "signature": signature,
            "not_before": checked.not_before,
            "expires": checked.expires,
            "revoked_at": row["revoked_at"],
        },
    )
