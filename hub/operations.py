"""`kaisatsu hub operations`: the records that nobody could apply, on the command line. What the office's page /operations shows and does.

Prints JSON lines; never a ticket code (hub.services.resolve withholds them).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.errors import BadRequest
from hub.opening import open_node, say
from hub.services import resolve
from hub.services.resolve import Listed
from tickets.ids import OpId
from tickets.ids import op_id as parse_op_id


def show(*, database_url: str, rejected_only: bool = False, key_file: Path | None = None) -> None:
    """One line for each operation that is open, oldest first."""
    node = open_node(database_url, key_file=key_file)
    with node.read() as connection:
        found = resolve.unsettled(connection, rejected_only=rejected_only)
    node.engine.dispose()
    for row in found:
        say(_line(row))


def retry(op: str, *, database_url: str, by: str, key_file: Path | None = None) -> None:
    """Apply a rejected operation again; prints its new answer. Raises NotFound, BadRequest."""
    op_id, node = _op_id(op), open_node(database_url, key_file=key_file)
    answer = node.retry_operation(op_id, by=by)
    node.engine.dispose()
    say({"event": "retried", "op": answer.op.hex(), "status": answer.status, "reason": answer.reason})


def settle(op: str, *, database_url: str, by: str, because: str, key_file: Path | None = None) -> None:
    """Put on record who settled an operation otherwise, and why. Raises NotFound, BadRequest."""
    op_id, node = _op_id(op), open_node(database_url, key_file=key_file)
    node.settle_operation(op_id, by=by, because=because)
    node.engine.dispose()
    say({"event": "settled", "op": op_id.hex(), "by": by})


def _line(row: Listed) -> dict[str, Any]:
    return {
        "op": row.op.hex(),
        "device": row.device,
        "number": row.number,
        "kind": row.kind,
        "status": row.status,
        "reason": row.reason,
        "received_at": row.received_at.isoformat(),
        "body": dict(row.shown),
    }


def _op_id(text: str) -> OpId:
    try:
        return parse_op_id(text)
    except ValueError as error:
        raise BadRequest(f"'{text}': an operation's id is 32 hex digits") from error
