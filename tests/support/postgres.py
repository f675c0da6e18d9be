"""A PostgreSQL server of our own for tests and benches: Debian's programs in a temporary directory, one socket in it, fsync on.

The server belongs to whoever started it and goes with them. Databases are copies of one template that was migrated once, so that a
test's own costs some tens of milliseconds. Where the programs are missing this fails and says what to install: a test of the hub's
other engine that does not run proves nothing.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from uuid import uuid4

import psycopg

_STARTED_WITHIN_S = 30.0
_SUPERUSER = "kaisatsu"


def program(name: str) -> str:
    """A program of PostgreSQL 15 or newer: Debian keeps the server's own outside of PATH."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    path = str(found[0]) if found else shutil.which(name)
    if path is None:
        raise RuntimeError(f"no '{name}' here: install Debian's package postgresql (script/setup does)")
    return path


def _unprivileged() -> dict[str, int]:
    """The server refuses to run as root; then it runs as the package's user, or as nobody."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            who = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": who.pw_uid, "group": who.pw_gid}
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


class Server:
    """One server in a directory of its own. `databases` counts nothing: each call of `fresh` makes another."""

    def __init__(self, *, settings: dict[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True)
        home = Path(self._folder.name)
        home.chmod(0o755)
        self.data, self.socket = home / "data", home / "s"
        who = _unprivileged()
        for path in (self.data, self.socket):
            path.mkdir(mode=0o700 if path is self.data else 0o777)
            if path is self.socket:
                path.chmod(0o777)
            if who:
                os.chown(path, who["user"], who["group"])
        self._who = who
        self._run("initdb", "-D", str(self.data), "-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        self._log = (home / "log").open("ab")
        values = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket),
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "max_connections": "120",
            "shared_buffers": "64MB",
            "autovacuum_naptime": "60s",
            "timezone": "UTC",
            **(settings or {}),
        }
        options = [part for name, value in values.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [program("postgres"), "-D", str(self.data), *options],
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 one call of prctl, nothing that takes a lock
            env=_plain_environment(),
            **who,  # type: ignore[arg-type]
        )
        self._wait()

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=_plain_environment(),
            check=False,
            cwd="/",
            **self._who,  # type: ignore[arg-type]
        )
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stderr.strip() or done.stdout.strip()}")

    def _wait(self) -> None:
        ends_s = time.monotonic() + _STARTED_WITHIN_S
        while True:
            try:
                psycopg.connect(self.plain("postgres")).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > ends_s:
                    text = (Path(self._folder.name) / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL does not start: {text[-2000:]}") from None
                time.sleep(0.02)
            else:
                return

    def plain(self, database: str) -> str:
        """For psycopg and pg_dump."""
        return f"host={self.socket} user={_SUPERUSER} dbname={database}"

    def url(self, database: str) -> str:
        """For the hub."""
        return f"postgresql+psycopg://{_SUPERUSER}@/{database}?host={self.socket}"

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        with psycopg.connect(self.plain(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def fresh(self, *, template: str = "template1") -> str:
        """A new database; its name. Dropping it is left to the server's end."""
        name = f"t{uuid4().hex[:16]}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY wal_log')
        return name

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # fast: sessions are ended
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(timeout=20)
        self._log.close()
        self._folder.cleanup()


def _end_with_parent() -> None:
    """A test run that is killed leaves no server behind (prctl 1, PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _plain_environment() -> dict[str, str]:
    """Whatever PGHOST and the like say where the tests run, it is not meant for this server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C.UTF-8"}


_lock = threading.Lock()


@cache
def _server() -> Server:
    server = Server()
    atexit.register(server.stop)
    return server


def server() -> Server:
    """The one server of this test process, started on first use."""
    with _lock:
        return _server()


@cache
def _migrated() -> str:
    from hub.database import open_database

    name = server().fresh()
    open_database(server().url(name)).dispose()
    return name


def fresh_url() -> str:
    """A new hub database with the newest schema and nothing in it."""
    return server().url(server().fresh(template=_migrated()))


def until_waiting(database: str, other: threading.Thread) -> None:
    """Until somebody in this database (an engine's `url.database`) waits for another's lock, or `other` has ended without."""
    ends_s = time.monotonic() + _STARTED_WITHIN_S
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    with psycopg.connect(server().plain(database), autocommit=True) as connection:
        while other.is_alive():
            if connection.execute(waits, (database,)).fetchone() != (0,):
                return
            if time.monotonic() > ends_s:
                raise RuntimeError("nobody waits and nobody ends")
            time.sleep(0.005)
