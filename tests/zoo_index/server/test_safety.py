"""Who may ask the server, how much, and how it ends."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from serving import COMMAND, Server, serving, until

from zoo_index.commands.main import cli
from zoo_index.index.layout import open_layout
from zoo_index.zoo.zoo import Zoo

DATA = ["/api/status", "/api/map", "/api/architectures", "/api/entries", "/api/architecture/test_vit"]


@pytest.fixture(scope="module")
def guarded(small_index: Path) -> Iterator[Server]:
    """A server that other machines could reach, and that made itself a token."""
    zoo = Zoo(small_index)
    open_layout(zoo.store, zoo.ensure().generation)
    zoo.store.close()
    with serving(small_index, "--host", "0.0.0.0", "--allow-host", "zoo.example.org", "--access-log") as found:
        yield found


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil:80", "192.168.1.4", "a@b"]
)
def test_a_page_that_lets_its_name_point_here_is_refused(server: Server, host: str) -> None:
    assert server.ask("/api/health", host=host).status == 421
    assert server.ask("/", host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8765"])
def test_its_own_names_are_known(server: Server, host: str) -> None:
    assert server.ask("/api/health", host=host).status == 200


def test_two_hosts_are_none(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert b"400" in peer.recv(100) or b"421" in peer.recv(100)


def test_pages_of_other_sites_learn_nothing(server: Server) -> None:
    answer = server.ask("/api/map", headers={"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"})
    assert answer.status == 403
    plain = server.ask("/api/map", headers={"Origin": "http://evil.example"})
    assert not [name for name in plain.headers if name.startswith("access-control-")]
    simple = server.ask(
        "/api/recommend", b'{"name": "test_vit"}', kind="text/plain"
    )  # needs no permission to be sent
    assert simple.status == 415


def test_browsers_are_told_to_be_careful(server: Server) -> None:
    for path in ("/", "/recommend", "/architecture/test_vit", "/api", "/api/health", "/nothing"):
        headers = server.ask(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        if path != "/nothing":
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "default-src 'none'" in headers["content-security-policy"]
    assert server.ask("/api/status").headers["cache-control"] == "no-store"


def test_elsewhere_a_token_is_asked_for(guarded: Server) -> None:
    assert len(guarded.token) >= 32
    for path in DATA:
        assert guarded.ask(path).status == 200
        for given in (
            "",
            "Bearer ",
            "Bearer x",
            f"Bearer {guarded.token}x",
            f"Basic {guarded.token}",
            "Bearer \xff",
        ):
            answer = guarded.ask(path, headers={"Authorization": given})
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    question = {"name": "test_vit"}
    assert guarded.ask("/api/recommend", question, headers={"Authorization": "Bearer x"}).status == 401
    for path in ("/api/health", "/api/openapi.json", "/", "/recommend"):
        assert guarded.ask(path, headers={"Authorization": ""}).status == 200
    assert b"test_vit" not in guarded.ask("/", headers={"Authorization": ""}).content  # pages hold no data


def test_elsewhere_it_goes_by_addresses_and_the_names_it_was_given(guarded: Server) -> None:
    for host, status in (
        ("zoo.example.org", 200),
        ("192.168.1.4:80", 200),
        ("[fe80::1]", 200),
        ("evil.example", 421),
    ):
        assert guarded.ask("/api/health", host=host).status == status


def test_it_ends_as_systemd_wants_and_tells_what_was_asked_as_plain_text(small_index: Path) -> None:
    with serving(small_index, "--access-log") as server:
        server.ask("/api/architecture/%1B%5B31m%0Aforged")
        server.ask("/quiet")
        (worker,) = workers_of(server)
        assert server.stop() == 0
        assert not psutil.wait_procs([worker], timeout=10)[1]
        assert server.process.stderr is not None
        lines = server.process.stderr.read().splitlines()
    assert "127.0.0.1 GET /api/architecture/\\x1b[31m\\nforged 404" in lines
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_large_questions_are_refused_before_they_are_read(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("POST", "/api/recommend")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    chunked = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    pieces = (b"[" * 100_000 for _ in range(100))
    try:
        chunked.request("POST", "/api/recommend", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
        assert chunked.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # it hung up while more was sent
    finally:
        chunked.close()
    assert server.ask("/api/health", b"x", method="GET").status == 413
    assert server.ask("/api/health", headers={"X-Long": "x" * 100_000}).status in (400, 431)
    assert server.ask(f"/api/map?search={'x' * 40_000}").status == 431
    assert server.ask("/api/health").status == 200


@pytest.mark.slow
def test_what_takes_too_long_is_ended_and_the_next_question_answered(small_index: Path) -> None:
    with serving(small_index, "--seconds", "1.5") as server:
        (worker,) = workers_of(server)
        worker.suspend()
        late = server.ask("/api/recommend", {"name": "test_vit"})
        assert (late.status, late.json["title"]) == (504, "Gateway Timeout")
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
        assert until(lambda: server.ask("/api/recommend", {"name": "test_vit"}).status == 200)


def workers_of(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if "zoo_index.server.worker" in child.cmdline()]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_its_workers(small_index: Path, number: int) -> None:
    with serving(small_index) as server:
        found = workers_of(server)
        assert len(found) == 1
        worker = found[0]
        status = server.stop(number)
        assert status == (0 if number != signal.SIGKILL else -number)
        assert not psutil.wait_procs([worker], timeout=10)[1]
        if number != signal.SIGKILL:
            assert server.process.stderr is not None
            assert server.process.stderr.read() == ""


@pytest.mark.slow
def test_a_worker_that_ends_is_replaced(small_index: Path) -> None:
    with serving(small_index) as server:
        (worker,) = workers_of(server)
        worker.kill()
        assert until(lambda: server.ask("/api/recommend", {"name": "test_vit"}).status == 200)


def test_a_place_that_is_taken_is_told(server: Server, small_index: Path) -> None:
    told = CliRunner().invoke(cli, ["--db", str(small_index), "serve", "--port", str(server.port)])
    assert told.exit_code == 2
    assert f"port {server.port}, got: Address already in use; take another one with --port" in told.output
    short = CliRunner().invoke(cli, ["--db", str(small_index), "serve", "--port", "0", "--token", "short"])
    assert (short.exit_code, "at least 16 characters" in short.output) == (2, True)


def test_without_its_libraries_one_line_says_what_to_install(small_index: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nold = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'uvicorn' else old(name, package)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "--db", str(small_index), "serve"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "Error: expected uvicorn to serve the index, not installed; run: pip install 'zoo-index[server]'"
    ]


def test_idle_connections_do_not_keep_others_out(server: Server) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(60)]
    try:
        for peer in idle:
            peer.sendall(b"POST /api/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        assert server.ask("/api/recommend", {"name": "test_vit"}).status == 200
    finally:
        for peer in idle:
            peer.close()
