"""``zoo recommend --server``: what is sent, what is printed, what is said when it does not work."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from serving import Server

from zoo_index.commands.main import cli
from zoo_index.recommending.answers import Filters, Recommendations
from zoo_index.recommending.resolve import Resolved, described
from zoo_index.server import client

NETWORK = """
import torch
SECRET = "do not tell"
def build_model():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 16, 3))
"""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    (tmp_path / "secret place").mkdir()
    place = tmp_path / "secret place" / "mynet.py"
    place.write_text(NETWORK)
    return place


def zoo(*arguments: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)), env=env)


class Peer(http.server.BaseHTTPRequestHandler):
    """A server that says what it is told to, and keeps what it was asked."""

    def do_POST(self) -> None:
        asked: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked.seen.append((self.path, dict(self.headers), body))
        status, headers, content = asked.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def peer(status: int, content: bytes = b"", **headers: str) -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Peer) as server:
        told: Any = server
        told.answer, told.seen = (status, headers, content), []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield told
        server.shutdown()


def address(server: Any) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_it_prints_what_the_command_prints_here(server: Server, small_index: Path, network: Path) -> None:
    db = ("--db", small_index)
    there = zoo(*db, "recommend", "-t", network, "--server", server.url, "--json")
    here = zoo(*db, "recommend", "-t", network, "--json")
    assert there.exit_code == here.exit_code == 0, there.output
    told, known = json.loads(there.output), json.loads(here.output)
    assert {**told, "seconds": 0} == {**known, "seconds": 0}
    filtered = zoo(*db, "recommend", "-t", network, "--server", server.url, "--family", "nothing")
    assert filtered.exit_code == 1
    assert "family=nothing" in filtered.output
    table = zoo(*db, "recommend", "-t", "test_vit", "-k", "1", "--server", server.url)
    assert "test_vit" in table.output
    assert table.exit_code == 0


def test_only_the_architecture_is_sent(small_index: Path, network: Path) -> None:
    with peer(500) as other:
        env = {"ZOO_SERVER_TOKEN": "sesame-sesame-sesame"}
        done = zoo("--db", small_index, "recommend", "-t", network, "--server", f"{address(other)}/zoo/", env=env)
        assert done.exit_code == 2
        ((path, headers, body),) = other.seen
    assert path == "/zoo/api/recommend"
    assert headers["Authorization"] == "Bearer sesame-sesame-sesame"
    assert set(json.loads(body)) == {"architecture", "k", "measure", "filters"}
    assert json.loads(body)["architecture"]["name"] == "mynet.py"
    sent = body + json.dumps(headers).encode()
    for secret in (b"secret", b"do not tell", str(network.parent).encode(), b"build_model"):
        assert secret not in sent
    assert len(body) < 10_000  # no weights: the network has 1,400


def test_a_token_does_not_go_elsewhere(small_index: Path, network: Path) -> None:
    with peer(200) as other, peer(307, Location=f"{address(other)}/api/recommend") as first:
        done = zoo("--db", small_index, "recommend", "-t", network, "--server", address(first), "--token", "x" * 20)
        assert done.exit_code == 2
        assert "it sends elsewhere" in done.output
        assert other.seen == []


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (401, b"", "expected the token of"),
        (404, b"<html>", "or one that is too old (status 404)"),
        (503, b"", "it has no time (status 503); try again"),
        (400, b'{"detail": "expected \\u001b[31m"}', "refused with status 400: expected \\x1b[31m"),
        (200, b"<html>", "use the same version of zoo on both sides"),
        (200, b"[" * 100_000, "use the same version"),
        (200, b'{"target": {}}', "use the same version"),
        (200, b'{"results": [{"rank": "\\u001b"}]}', "use the same version"),
        (200, b"x" * (17 << 20), "of at most"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(small_index: Path, status: int, content: bytes, said: str) -> None:
    with peer(status, content) as other:
        done = zoo("--db", small_index, "recommend", "-t", "test_vit", "--server", address(other))
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.startswith("Error: expected")
    assert len(done.output.splitlines()) == 1
    assert done.output.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "url",
    [
        *("127.0.0.1:1", "ftp://host", "http://", "http://a@b/", "http://h/?q", "http://h:x"),
        *("http://h h", "http://h/a b", "http://h\n", " http://h", "http://z\u00f6\u00f6", "http://h\u2028"),
    ],
)
def test_what_is_no_address_is_refused(small_index: Path, url: str) -> None:
    done = zoo("--db", small_index, "recommend", "-t", "test_vit", "--server", url)
    assert (done.exit_code, "expected the address of a server" in done.output) == (2, True)
    assert len(done.output.splitlines()) == 1


def test_nobody_there_and_nobody_who_answers(small_index: Path) -> None:
    with peer(200) as other:
        gone = address(other)
        secure = zoo("--db", small_index, "recommend", "-t", "test_vit", "--server", f"https{gone[4:]}")
    assert (secure.exit_code, "expected a server with TLS at https" in secure.output) == (2, True)
    done = zoo("--db", small_index, "recommend", "-t", "test_vit", "--server", gone)
    assert (done.exit_code, "it cannot be reached: Connection refused" in done.output) == (2, True)
    exact = zoo("--db", small_index, "recommend", "-t", "test_vit", "--exact", "--server", gone)
    assert (exact.exit_code, "expected --server without --exact" in exact.output) == (2, True)


def test_it_waits_for_so_long_only() -> None:
    import socket

    import torch

    network: Resolved = described(torch.nn.Linear(3, 4), "mine")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(client.ServerError, match=r"within 0\.2 seconds, got none; try again later"):
            client.recommend(url, network, k=1, measure="dpiat", filters=Filters(), seconds=0.2)


def test_a_server_that_sends_a_byte_now_and_then_is_left_in_the_end() -> None:
    import torch

    class Slow(Peer):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.05)

    network: Resolved = described(torch.nn.Linear(3, 4), "mine")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(client.ServerError, match=r"within 0\.5 seconds, got none; try again later"):
            client.recommend(address(server), network, k=1, measure="dpiat", filters=Filters(), seconds=0.5)
        server.shutdown()


RESULT = {
    **{name: "x" for name in ("name", "architecture", "family", "catalogue", "input_size", "evidence")},
    **{name: 1 for name in ("rank", "params", "n_classes", "n_weights")},
    **{"similarity": 0.5, "paper_similarity": None, "coverage": 1.0, "license": None, "available": True},
    **{"top1": 80.5, "benefit": "strong"},
}
ANSWER = {
    "target": {"name": "x", "fingerprint": "f", "params": 1, "layers": 1, "blocks": 0, "single_layers": 1},
    **{"measure": "dpiat", "results": [RESULT], "n_considered": 1, "n_scored": 1, "seconds": 0.1},
}


WRONG: list[dict[str, Any]] = [
    *({"similarity": value} for value in (1e308, -0.1, float("nan"), float("inf"), True, "1")),
    *({"coverage": value} for value in (-5, 1.01)),
    *({"params": value} for value in (-1, 10**30, 1.5)),
    *({"rank": value} for value in (-1, 0, 2, True)),
    *({"name": value} for value in ("x" * 3000, None)),
    *({"top1": value} for value in (-1, float("inf"))),
    {"benefit": "certain"},
]


def test_values_that_no_answer_has_are_refused() -> None:
    import torch

    network: Resolved = described(torch.nn.Linear(3, 4), "mine")
    with peer(200) as other:

        def ask(results: list[dict[str, Any]]) -> Recommendations:
            other.answer = (200, {}, json.dumps({**ANSWER, "results": results}).encode())
            return client.recommend(address(other), network, k=2, measure="dpiat", filters=Filters())

        assert ask([RESULT, {**RESULT, "rank": 2}]).results[1].rank == 2
        several = [{**RESULT, "rank": rank} for rank in (1, 2, 3)]  # two are asked for
        for wrong in (several, *([{**RESULT, **changed}] for changed in WRONG)):
            with pytest.raises(client.ServerError, match="use the same version of zoo"):
                ask(wrong)


def test_an_architecture_is_written_to_a_file(
    server: Server, small_index: Path, network: Path, tmp_path: Path
) -> None:
    place = tmp_path / "arch.json"
    done = zoo("--db", small_index, "standardize", "-t", network, "-o", place)
    assert done.exit_code == 0, done.output
    document = json.loads(place.read_text())
    assert document["name"] == "mynet.py"
    assert {form["form"] for form in document["forms"]} == {"paper", "dpiat"}
    assert server.ask("/api/recommend", {"architecture": document, "measure": "paper"}).status == 200
    nowhere = zoo("--db", small_index, "standardize", "-t", network, "-o", tmp_path / "no" / "arch.json")
    assert nowhere.exit_code == 2
