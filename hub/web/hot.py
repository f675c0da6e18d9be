"""The calls that a gate waits for, without the framework's machinery around them: POST, a signed body in, JSON out.

They are ordinary routes of the application and carry the same Access as all others; `_Front` in app.py only finds them sooner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hub.errors import Busy, ChainGap, EpochPassed, HubError
from hub.node import HubNode
from hub.services.devices import KnownDevice
from hub.web.access import FromDevice, Marked, bounded_body
from hub.web.lanes import Lanes, Rank
from sync.claim import ClaimMessage, answer_to_row
from sync.errors import MessageError
from sync.hop import HopError
from sync.protocol import Problem

log = structlog.get_logger()

Fields = tuple[tuple[bytes, bytes], ...]
NO_FIELDS: Fields = ()
Work = Callable[[HubNode, KnownDevice], dict[str, Any]]


class HotCall(Marked):
    """One call as an ASGI application. `read` parses the body (on a reader's thread where bodies are large) and gives what is to be done
    on a writer's thread; it raises MessageError.
    """

    access: FromDevice

    def __init__(self, access: FromDevice, rank: Rank, read: Callable[[bytes], Work], *, large: bool = False) -> None:
        self.access, self._rank, self._read, self._large = access, rank, read, large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["app"].state
        status, more = 200, NO_FIELDS
        try:
            body = await bounded_body(receive)
            node: HubNode = state.node
            lanes: Lanes = state.lanes
            sender = await self.access.sender(scope, body, node, lanes, state.allowance)
            row = await self._do(body, node, sender, lanes)
        except (HopError, HubError, MessageError) as error:
            status, row, more = refusal(error, path=scope["path"])
        except (DBAPIError, PoolTimeout) as error:
            log.error("database", path=scope["path"], error=type(error).__name__)  # noqa: TRY400  its message names hosts
            status, row, more = refusal(Busy(retry_after_s=2), path=scope["path"])
        content = orjson.dumps(row)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            *more,
            *state.every_answer(),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _do(self, body: bytes, node: HubNode, sender: KnownDevice, lanes: Lanes) -> dict[str, Any]:
        work = await lanes.read(lambda: self._read(body), rank=self._rank) if self._large else self._read(body)
        return await lanes.run(self._rank, lambda: work(node, sender))


class HotClaim(HotCall):
    """A claim: it goes to the node's desk, which answers together what waits together; one writer's thread would take them one by one."""

    def __init__(self, access: FromDevice) -> None:
        self.access = access

    async def _do(self, body: bytes, node: HubNode, sender: KnownDevice, lanes: Lanes) -> dict[str, Any]:
        message = ClaimMessage.from_json(body)
        answer = await lanes.apart(Rank.CLAIM, lambda: node.claim_soon(message, sender=sender))
        return answer_to_row(message.op, answer, epoch=message.epoch)


def refusal(error: Exception, *, path: str) -> tuple[int, dict[str, Any], Fields]:
    """Our own no, as the protocol says it: status, Problem, further headers."""
    known_seq = epoch = None
    more = NO_FIELDS
    match error:
        case HopError():
            status, word = 503 if error.error == "busy" else 401, error.error
            if status == 503:
                more = ((b"retry-after", b"1"),)
        case HubError():
            status, word = error.status, error.error
            known_seq = error.known_seq if isinstance(error, ChainGap) else None
            epoch = error.epoch if isinstance(error, EpochPassed) else None
            if status in (408, 413):
                more = ((b"connection", b"close"),)  # what is left of the body is not waited for
            if isinstance(error, Busy):
                more = ((b"retry-after", str(error.retry_after_s).encode()),)
        case _:
            status, word = 400, "message"
    if word != "nonce":  # once an idle while for every device: nothing to read about
        log.info("refused", path=path, status=status, error=word)
    return status, Problem(word, str(error), known_seq, epoch).to_row(), more


def hot_route(path: str, call: HotCall) -> Route:
    return Route(path, endpoint=call, methods=["POST"])
