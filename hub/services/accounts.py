"""Office accounts and their sessions: argon2 for passwords, hashed random tokens for sessions and forms."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, insert, select, update

from hub.errors import BadRequest
from hub.tables import account, session, stamp
from tickets.ids import RandomBytes

SESSION_LIFE = timedelta(hours=12)
PASSWORD_CHARS_MAX = 256
_hasher = PasswordHasher()
_NOBODY = _hasher.hash("nobody has this password")


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in person. `csrf` must come back with every form."""

    account: str
    csrf: str


def add_account(connection: Connection, name: str, password: str, *, now: datetime) -> None:
    """Make an account, or give it a new password (its sessions end)."""
    if not 1 <= len(name) <= 64 or not 12 <= len(password) <= PASSWORD_CHARS_MAX:
        raise BadRequest("a name of 1 to 64 characters and a password of 12 to 256 are expected")
    hashed = _hasher.hash(password)
    if connection.scalar(select(account.c.name).where(account.c.name == name)) is None:
        connection.execute(insert(account), {"name": name, "password_hash": hashed, "made_at": stamp(now)})
    else:
        connection.execute(update(account).where(account.c.name == name).values(password_hash=hashed))
        connection.execute(delete(session).where(session.c.account == name))


def password_fits(password_hash: str | None, password: str) -> bool:
    """Slow on purpose, and equally slow for a name that does not exist (None). Call it outside of any transaction."""
    try:
        return _hasher.verify(password_hash or _NOBODY, password[:PASSWORD_CHARS_MAX]) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def password_hash_of(connection: Connection, name: str) -> str | None:
    return connection.scalar(select(account.c.password_hash).where(account.c.name == name))


def begin_session(connection: Connection, name: str, *, now: datetime, random_bytes: RandomBytes) -> str:
    """A token for the cookie. Sessions that are over are cleared away."""
    token = _text(random_bytes(24))
    connection.execute(delete(session).where(session.c.expires_at <= stamp(now)))
    row = {
        "token_hash": _hash(token),
        "account": name,
        "csrf": _text(random_bytes(24)),
        "made_at": stamp(now),
        "expires_at": stamp(now + SESSION_LIFE),
    }
    connection.execute(insert(session), row)
    return token


def find_session(connection: Connection, token: str, *, now: datetime) -> Session | None:
    row = connection.execute(select(session).where(session.c.token_hash == _hash(token))).first()
    return None if row is None or row.expires_at <= stamp(now) else Session(row.account, row.csrf)


def end_session(connection: Connection, token: str) -> None:
    connection.execute(delete(session).where(session.c.token_hash == _hash(token)))


def csrf_fits(held: Session, sent: str) -> bool:
    return hmac.compare_digest(held.csrf.encode(), sent.encode())


@dataclass(frozen=True, slots=True)
class Try:
    """A try to sign in that was let through: counted from its beginning. `wait_s` is to be waited before the password is looked at."""

    address: str
    name: str
    at_s: float
    wait_s: float


class SignInLimit:
    """How often somebody may try to sign in. A try counts when it begins, so those that run at the same time count too; one that was
    right is given back. An address has a strict limit. A name has none: whoever knows it could lock its owner out; after some failed
    tries each further one only takes longer. In memory: a restart forgives, an attacker cannot cause one.
    """

    TRIES, WINDOW_S, KEYS_MAX = 5, 60.0, 10_000
    SLOWER_S, SLOWEST_S = 0.5, 4.0

    def __init__(self) -> None:
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def begin(self, *, address: str, name: str, monotonic_s: float) -> Try | None:
        """Reserve a try, or None where this address has had all of its own. Call it from one thread."""
        by_address, by_name = f"address:{_network(address)}", f"name:{name}"
        if len(self._recent(by_address, monotonic_s)) >= self.TRIES:
            return None
        beyond = len(self._recent(by_name, monotonic_s)) - self.TRIES + 1
        for key in (by_address, by_name):
            self._tries[key] = [*self._recent(key, monotonic_s), monotonic_s]
            self._tries.move_to_end(key)
        while len(self._tries) > self.KEYS_MAX:
            self._tries.popitem(last=False)
        wait_s = min(self.SLOWEST_S, beyond * self.SLOWER_S) if beyond > 0 else 0.0
        return Try(by_address, by_name, monotonic_s, wait_s)

    def succeeded(self, tried: Try) -> None:
        """It was right: this try counts no longer. Others of the same address or name still do."""
        for key in (tried.address, tried.name):
            held = self._tries.get(key, [])
            if tried.at_s in held:
                held.remove(tried.at_s)

    def _recent(self, key: str, monotonic_s: float) -> list[float]:
        return [at for at in self._tries.get(key, []) if at > monotonic_s - self.WINDOW_S]


def _network(address: str) -> str:
    """Who an address belongs to: an IPv6 line has 2^64 of them to try with."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _hash(token: str) -> bytes:
    return hashlib.sha256(b"kaisatsu/session/1" + token.encode()).digest()
