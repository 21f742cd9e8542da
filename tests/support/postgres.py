"""A real PostgreSQL server for tests: one for a session, a database of its own for every test."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Server", "postgres_server", "postgres_url", "running_server"]

_START_SECONDS = 60.0
_OWNER = "owner"
_SETTINGS = {
    # nothing here outlives the tests
    **dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes", "jit"), "off"),
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "listen_addresses": "127.0.0.1",
}
_GUARD = """
"$@" & server=$!
cat > /dev/null  # until the tests are over, or whoever runs them is gone
kill -INT $server
wait $server
cd / && rm -rf "$FOLDER"
"""


@dataclass(frozen=True)
class Server:
    """A running server that trusts whoever is on this machine.

    Parameters
    ----------
    port : int
        On 127.0.0.1.
    """

    port: int

    def url(self, database: str) -> str:
        """Return the address of a database, as users write it."""
        return f"postgresql://{_OWNER}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside a transaction and return its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, yield its address and drop it."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} STRATEGY = FILE_COPY")  # half as long
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def binaries() -> Path | None:
    """Folder of the newest server programs on this machine; Debian keeps them off the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[4]))
    found = str(versions[-1]) if versions else shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def missing(what: str) -> None:
    """Skip the test, or fail it where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"expected {what} where CI is set, found none")
    pytest.skip(f"no {what} here")


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server on a free port, in a folder of its own, and stop it; needs `binaries`."""
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short, and not below a folder that is root's alone
    as_user: dict[str, Any] = {}
    if os.getuid() == 0:  # the server refuses to be root
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data, log = folder / "data", folder / "log"
    try:
        # an order of texts that is not that of their bytes, as on most servers
        order = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
        command = [str(programs / "initdb"), "-D", str(data), "-U", _OWNER, "-A", "trust", "--no-sync", *order]
        made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, **as_user)
        assert made.returncode == 0, made.stderr
        port = _free_port()
        settings = {**_SETTINGS, "port": str(port), "unix_socket_directories": str(folder)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (
            log.open("wb") as output,
            subprocess.Popen(
                ["sh", "-c", _GUARD, "sh", str(programs / "postgres"), "-D", str(data), *options],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={**os.environ, "FOLDER": str(folder)},
                start_new_session=True,  # an interrupt of the tests is not one of the server
                **as_user,
            ) as guard,
        ):
            server = Server(port)
            try:
                _wait_for(server, guard, log)
                yield server
            finally:
                assert guard.stdin is not None
                guard.stdin.close()
                guard.wait(_START_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(server: Server, guard: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.execute("SELECT 1")
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline or "could not create any TCP/IP sockets" in log.read_text():
                raise AssertionError(f"expected a server that answers, its log says: {log.read_text()}") from error
            time.sleep(0.02)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The server of this session; skips where there is none, but fails where CI is set."""
    if binaries() is None:
        missing("PostgreSQL server (Debian: apt-get install postgresql)")
    try:
        import psycopg  # noqa: F401
    except ImportError:
        missing("psycopg (pip install 'zoo-index[postgres]')")
    with running_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The address of an empty database of this test's own."""
    with postgres_server.database() as url:
        yield url
