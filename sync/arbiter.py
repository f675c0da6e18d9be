"""Who rules over a venue's tickets, and since which reign: a statement that the hub signs and everyone else only passes on.

The arbiter is the hub itself or the venue node, one at a time. Replacing it is an act of a person at the hub and raises the epoch by
one; a gate believes the newest statement it has ever seen under the hub's key and no answer of an older reign. The statement also
says where the arbiter is found, which is where devices prefer to sync when it is a venue node.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync.errors import MessageError
from tickets.ids import DeviceId
from tickets.ids import device_id as parse_device_id

CONTEXT = b"kaisatsu/arbiter/1"
DOCUMENT = "arbiter"
"""The name under which the statement travels in the feed's table `document`."""
EPOCH_MAX = 2**31 - 1
URLS_MAX = 8


@dataclass(frozen=True, slots=True)
class Arbiter:
    """`epoch` from 1 on, never twice. `node` is the venue node's device id, None where the hub itself is the arbiter. `urls`: where to
    try, in this order (scheme, host and port); `tls`: SHA-256 of its TLS key (SubjectPublicKeyInfo), None for plain HTTP.
    """

    epoch: int
    node: DeviceId | None
    urls: tuple[str, ...]
    tls: bytes | None
    at: datetime

    def to_text(self) -> str:
        row = {
            "epoch": self.epoch,
            "node": None if self.node is None else self.node.hex(),
            "urls": list(self.urls),
            "tls": None if self.tls is None else self.tls.hex(),
            "at": self.at.isoformat(),
        }
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def signed(statement: Arbiter, key: Ed25519PrivateKey) -> str:
    """The statement as it travels: {"text", "signature"}."""
    text = statement.to_text()
    return json.dumps({"text": text, "signature": key.sign(CONTEXT + text.encode()).hex()}, separators=(",", ":"))


def check(document: str, hub_key: bytes) -> Arbiter:
    """The statement of a document. Raises MessageError for what is none, or not signed with the hub's key."""
    try:
        outer: Any = json.loads(document)
        text = outer["text"]
        if not isinstance(text, str):
            raise TypeError("text")
        Ed25519PublicKey.from_public_bytes(hub_key).verify(bytes.fromhex(outer["signature"]), CONTEXT + text.encode())
        row: Any = json.loads(text)
        epoch, urls, tls, node = row["epoch"], row["urls"], row["tls"], row["node"]
        if not isinstance(epoch, int) or isinstance(epoch, bool) or not 1 <= epoch <= EPOCH_MAX:
            raise ValueError("epoch")
        if not isinstance(urls, list) or len(urls) > URLS_MAX or not all(isinstance(url, str) for url in urls):
            raise ValueError("urls")
        if tls is not None and len(bytes.fromhex(tls)) != 32:
            raise ValueError("tls")
        at = datetime.fromisoformat(row["at"])
        if at.tzinfo is None:
            raise ValueError("at")
        return Arbiter(
            epoch=epoch,
            node=None if node is None else parse_device_id(node),
            urls=tuple(urls),
            tls=None if tls is None else bytes.fromhex(tls),
            at=at,
        )
    except InvalidSignature as error:
        raise MessageError("an arbiter's statement that the hub did not sign") from error
    except (ValueError, KeyError, TypeError) as error:
        raise MessageError(f"no arbiter's statement ({error})") from error
