"""The `hmac OPA-Auth` header: who asks, and that path, method and body are as sent. Pure but for what is passed in.

The MD5 over content type and body is the API's, a checksum under the HMAC and no protection of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

CONTENT_TYPE = "application/json;charset=UTF-8"
EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Signer:
    """An API key and its secret; neither shows in `repr`."""

    key: str = field(repr=False)
    secret: str = field(repr=False)

    def header(
        self, *, method: str, path: str, body: bytes | None, epoch_s: int, nonce: str, content_type: str = CONTENT_TYPE
    ) -> str:
        """The Authorization header's value for one request; `path` without host and query, `body` exactly as sent.

        Source: PayPay's "API authentication"; its example stands in the tests.
        """
        if body is None:
            kind = digest = EMPTY
        else:
            kind = content_type
            digest = _base64(hashlib.md5(content_type.encode() + body, usedforsecurity=False).digest())
        signed = "\n".join([path, method, nonce, str(epoch_s), kind, digest])
        mac = _base64(hmac.new(self.secret.encode(), signed.encode(), hashlib.sha256).digest())
        return f"hmac OPA-Auth:{self.key}:{mac}:{nonce}:{epoch_s}:{digest}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
