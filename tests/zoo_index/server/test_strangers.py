"""What strangers cannot take of the server: its connections, its memory, its workers."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from serving import COMMAND, Answer, Server, serving, until

from zoo_index.index.layout import open_layout
from zoo_index.server.limits import MOST_LAYERS
from zoo_index.zoo.zoo import Zoo

LIMITED = """
import json, sys
from zoo_index.server.limits import Limits
from zoo_index.server.running import run
from zoo_index.zoo.zoo import Zoo
zoo = Zoo(sys.argv[sys.argv.index("--db") + 1])
run(zoo, port=0, limits=Limits(**json.loads(sys.argv[-1])), ready=lambda place: print(place.url, flush=True))
"""
"""A server with limits that tests reach."""

HALF = b"GET /api/health HTTP/1.1\r\nHost: loc"


def limited(index: Path, **limits: float) -> Any:
    return serving(index, json.dumps({"workers": 2, **limits}), command=LIMITED)


@pytest.fixture(scope="module")
def index(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("strangers") / "zoo.db"
    shutil.copy(small_index, place)
    zoo = Zoo(place)
    open_layout(zoo.store, zoo.ensure().generation)
    zoo.store.close()
    return place


@pytest.fixture(scope="module")
def small(index: Path) -> Iterator[Server]:
    with limited(
        index,
        head_seconds=1,
        connections=20,
        peer_connections=10,
        pending_bytes=10**6,
        body_seconds=2,
        write_seconds=1,
    ) as found:
        yield found


def connected(server: Server, sent: bytes) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    peer.sendall(sent)
    return peer


def is_closed(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def header(n: int) -> bytes:
    told = {f"l{i}.weight": {"dtype": "F32", "shape": [8 + i % 50, 8, 3, 3]} for i in range(n)}
    text = json.dumps(told).encode()
    return len(text).to_bytes(8, "little") + text


def ask_file(server: Server, n: int, k: int = 10) -> Answer:
    return server.ask(f"/api/recommend/file?k={k}", header(n), kind="application/octet-stream")


def test_its_own_work_is_no_question_of_anybody(small: Server) -> None:
    assert small.ask("/api/status").json["questions"] == 0


def test_heads_that_never_end_are_hung_up_on(small: Server) -> None:
    peers = [connected(small, HALF) for _ in range(40)]
    try:
        refused = small.ask("/api/health")
        assert (refused.status, refused.headers["retry-after"]) == (503, "10")
        assert "too many connections" in refused.json["detail"]
        assert until(lambda: small.ask("/api/health").status == 200)
        assert all(peer.recv(100) == b"" for peer in peers)
    finally:
        for peer in peers:
            peer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second address of this machine")
def test_one_address_does_not_take_all_connections(small: Server) -> None:
    peers = [connected(small, HALF) for _ in range(12)]
    try:
        assert small.ask("/api/health").status == 503
        other = http.client.HTTPConnection("127.0.0.1", small.port, timeout=20, source_address=("127.0.0.2", 0))
        other.request("GET", "/api/health")
        assert other.getresponse().status == 200
        other.close()
    finally:
        for peer in peers:
            peer.close()
    assert until(lambda: small.ask("/api/health").status == 200)


def test_after_an_answer_the_next_head_has_to_come_too(small: Server) -> None:
    for rest in (b"", HALF):
        peer = connected(small, b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n" + rest)
        with peer, peer.makefile("rb") as told:
            assert b"200 OK" in told.readline()
            assert told.read().endswith(b"}")  # to the end of the connection


def test_far_too_many_connections_are_closed_at_once(small: Server) -> None:
    peers = []
    try:
        for _ in range(100):
            peers.append(socket.create_connection(("127.0.0.1", small.port), timeout=0.5))
        assert any(is_closed(peer) for peer in peers[-5:])  # before the others, whose time is not over
    finally:
        for peer in peers:
            peer.close()
    assert until(lambda: small.ask("/api/health").status == 200)


def established(server: Server) -> int:
    found = psutil.Process(server.process.pid).net_connections(kind="tcp")
    return sum(one.status == psutil.CONN_ESTABLISHED for one in found)


def test_who_does_not_read_the_answers_is_hung_up_on(small: Server) -> None:
    size = len(small.ask("/api/openapi.json").content)
    request = b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    n = (20 << 20) // size  # more than the buffers of both sides hold
    with connected(small, request * n) as peer:
        assert until(lambda: established(small) == 1)
        assert until(lambda: established(small) == 0)
        found = 0
        with suppress(ConnectionResetError):
            while piece := peer.recv(1 << 20):
                found += len(piece)
    assert 0 < found < n * size


def test_large_questions_share_a_memory_and_small_ones_go_on(small: Server) -> None:
    head = b"POST /api/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    large = b" " * 700_000 + b'{"name": "test_vit"}'
    peers = [connected(small, head + b"Content-Length: 900000\r\n\r\n" + large) for _ in range(2)]
    try:
        assert until(lambda: small.ask("/api/recommend", large).status == 503)
        refused = small.ask("/api/recommend", large)
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert "too many large questions" in refused.json["detail"]
        assert small.ask("/api/recommend", {"name": "test_vit"}).status == 200
        assert {peer.recv(12)[-3:] for peer in peers} <= {b"408", b"503"}
    finally:
        for peer in peers:
            peer.close()
    assert until(lambda: small.ask("/api/recommend", large).status == 200)


def test_more_layers_than_can_be_compared_in_time_are_refused(small: Server) -> None:
    told = ask_file(small, MOST_LAYERS + 1)
    assert told.status == 400
    assert "at most 2,500 layers, got 2,501; ask on your own machine" in told.json["detail"]


def test_large_networks_leave_a_worker_to_small_ones(small: Server) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda k=k: found.append(ask_file(small, 2400, k).status)) for k in range(1, 4)
    ]
    for thread in threads:
        thread.start()
    assert until(lambda: small.ask("/api/status").json["pending"] == 3)
    assert small.ask("/api/recommend", {"name": "test_vit", "k": 7}).status == 200
    assert small.ask("/api/status").json["pending"] >= 1  # they wait for each other
    for thread in threads:
        thread.join()
    assert found == [200] * 3


def test_without_an_index_it_is_not_healthy(index: Path, small: Server) -> None:
    away = index.with_name("away.db")
    index.rename(away)
    assert until(lambda: small.ask("/api/health").status == 503)
    assert "expected an index that can be read" in small.ask("/api/health").json["detail"]
    index.unlink(missing_ok=True)
    away.rename(index)
    assert until(lambda: small.ask("/api/health").status == 200)


def test_at_its_end_it_refuses_what_waits_and_finishes_what_runs(index: Path) -> None:
    with limited(index, end_seconds=2) as server:
        workers = [
            child
            for child in psutil.Process(server.process.pid).children(recursive=True)
            if "zoo_index.server.worker" in child.cmdline()
        ]
        assert len(workers) == 2
        for worker in workers:
            worker.suspend()
        found: list[Answer] = []
        asked = [{"name": "test_vit", "k": k} for k in range(1, 7)]
        threads = [
            threading.Thread(target=lambda one=one: found.append(server.ask("/api/recommend", one)))
            for one in asked
        ]
        for thread in threads:
            thread.start()
        assert until(lambda: server.ask("/api/status").json["pending"] == 6)
        server.process.terminate()
        assert until(lambda: len(found) == 4)  # those that waited
        workers[0].resume()
        for thread in threads:
            thread.join()
        assert server.process.wait(timeout=20) == -signal.SIGTERM  # raised once more, for whoever started it
    assert sorted(one.status for one in found) == [200, 503, 503, 503, 503, 503]
    for one in found:
        if one.status == 503:
            assert one.headers["content-type"] == "application/problem+json"
            assert (one.json["detail"], one.headers["retry-after"]) == (
                "the server ends; ask again when it is back",
                "10",
            )


@pytest.mark.slow
def test_a_damaged_index_is_told_once(index: Path, tmp_path: Path) -> None:
    place = tmp_path / "zoo.db"
    shutil.copy(index, place)
    with serving(place) as server:
        place.write_bytes(b"\xff" * 100_000)
        assert until(lambda: server.ask("/api/health").status == 503)
        time.sleep(2)  # it looks twice a second
        server.stop()
        assert server.process.stderr is not None
        told = server.process.stderr.read()
    assert told.count("could not be looked at") == 1, told


@pytest.mark.slow
def test_a_worker_that_cannot_start_says_why(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'zoo_index.server.worker' in sys.orig_argv:\n"
        "    import zoo_index.zoo.zoo as zoo\n    def fail():\n        raise OSError('the disk is full')\n"
        "    zoo.open_zoo = fail\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "--db", str(index), "serve", "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == (
        "Error: expected to read the index in a worker of the server, failed: OSError: the disk is full"
    )
