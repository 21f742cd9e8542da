"""A hub with faults, played by a server on this machine: each is named, bounded in time, and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch
from click.testing import CliRunner
from huggingface_hub import constants

from zoo_index.commands.main import cli
from zoo_index.errors import WeightsUnavailableError
from zoo_index.hub.availability import Availability, hub_cache, torch_cache
from zoo_index.hub.fetching import fetch
from zoo_index.zoo.zoo import Zoo

ROOT = Path(__file__).parents[3]
NAME = "test_resnet.r160_in1k"
PAGE = b"<!DOCTYPE html><html><body>Log in to this network</body></html>"
HUB = {"X-Repo-Commit": "c" * 40, "ETag": f'"{"e" * 64}"'}
LONGEST = 60.0
"""Seconds that no fault may take, on the slowest machine."""

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Gives the next answer of the script; the last one again and again."""

    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        script = self.server.script
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            (script.pop(0) if len(script) > 1 else script[0])(self)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


class Hub(ThreadingHTTPServer):
    daemon_threads = True
    script: list[Answer]
    asked: list[tuple[str, dict[str, str]]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture(scope="module")
def weights() -> bytes:
    torch.manual_seed(0)
    return safetensors.torch.save(timm.create_model("test_resnet").state_dict())


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), Handler)
    server.script, server.asked = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    name_hub(monkeypatch, server.url)
    yield server
    server.shutdown()
    server.server_close()


def name_hub(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT and HF_HUB_DOWNLOAD_TIMEOUT say at the start of a process."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setenv("NO_PROXY", "*")


def good(weights: bytes) -> Answer:
    def give(handler: Handler) -> None:
        begin, headers = handler.headers.get("Range", ""), dict(HUB)
        if begin:
            n = int(begin.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {n}-{len(weights) - 1}/{len(weights)}"
            handler.answer(206, weights[n:], **headers)
        else:
            handler.answer(200, weights, **headers)

    return give


def status(code: int, **headers: str) -> Answer:
    return lambda handler: handler.answer(code, b"no", **headers)


def cut(weights: bytes, share: float) -> Answer:
    """Promise everything, send a part, hang up."""
    n = int(len(weights) * share)
    return lambda handler: handler.answer(200, weights[:n], **{**HUB, "Content-Length": str(len(weights))})


def stalled(handler: Handler) -> None:
    handler.answer(200, b"", **{**HUB, "Content-Length": "1000000"})
    handler.wfile.flush()
    time.sleep(30)


@pytest.fixture
def run(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DB", str(zoo.store.path))

    def transfer() -> tuple[int, str, str]:
        begun = time.monotonic()
        done = CliRunner().invoke(cli, ["transfer", "-t", "test_vit", "-s", NAME, "-o", "out.safetensors"])
        assert isinstance(done.exception, SystemExit | None), done.exception
        assert time.monotonic() - begun < LONGEST
        return done.exit_code, done.stdout, done.stderr

    return transfer


def cached() -> list[Path]:
    """Files below the caches, but for marks of the hub's library."""
    return [p for folder in (hub_cache(), torch_cache()) for p in folder.rglob("*") if p.is_file()]


def refused(run: Callable[[], tuple[int, str, str]], zoo: Zoo, *parts: str) -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    for part in (f"'{NAME}' needs model.safetensors of timm/{NAME}", "--weights FILE", *parts):
        assert part in err
    assert not cached()
    assert not Path("out.safetensors").exists()
    assert not zoo.entry(NAME)["available"]


def fetched(run: Callable[[], tuple[int, str, str]], zoo: Zoo, weights: bytes) -> None:
    code, _, err = run()
    assert code in (0, 1), err  # a transfer between so different networks may be refused afterwards
    assert "needs model" not in err
    assert zoo.entry(NAME)["available"]
    found = Availability().find(zoo.entry(NAME))
    assert found is not None
    assert found.read_bytes() == weights


def test_good_weights_are_kept_as_the_hub_keeps_them(hub: Hub, run: Any, zoo: Zoo, weights: bytes) -> None:
    hub.script = [good(weights)]
    fetched(run, zoo, weights)
    assert [path for path, _ in hub.asked] == [f"/timm/{NAME}/resolve/main/model.safetensors"]
    # the hub's own library finds the file without asking
    place = {"cache_dir": hub_cache(), "local_files_only": True}
    kept = huggingface_hub.hf_hub_download(f"timm/{NAME}", "model.safetensors", **place)
    assert Path(kept).read_bytes() == weights
    fetched(run, zoo, weights)
    assert len([path for path, _ in hub.asked if "/resolve/" in path]) == 1


@pytest.mark.parametrize(
    ("answer", "parts", "asked"),
    [
        (status(404), ["has no such file (HTTP 404)"], 2),
        (status(404, X_Error_Code="EntryNotFound"), ["has no such file"], 2),
        (status(404, X_Error_Code="RepoNotFound"), ["has no such repository"], 1),
        (status(401, X_Error_Code="RepoNotFound"), ["no such repository, or a private one", "HF_TOKEN"], 1),
        (status(401, X_Error_Code="GatedRepo"), ["grants no access", "gated", "HF_TOKEN"], 1),
        (status(403), ["grants no access to it (HTTP 403)", "HF_TOKEN"], 1),
        (status(429, Retry_After="300"), ["(HTTP 429)", "try again in 300 s"], 1),
        (status(429), ["(HTTP 429)", "try again later"], 3),
        (status(429, RateLimit='"resolvers";r=0;t=99'), ["(HTTP 429)", "try again in 99 s"], 1),
        (status(500), ["broken at the moment (HTTP 500)", "try again later"], 3),
        (status(503, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"), ["(HTTP 503)"], 1),
        (status(418), ["answered with HTTP 418"], 1),
        (status(302, Location="/again"), ["HTTP 302"], 5),
        (lambda h: h.answer(200, PAGE, Content_Type="text/html"), ["a web page where weights were expected"], 1),
        (lambda h: h.answer(200, PAGE, **HUB), ["a web page where weights were expected"], 1),
        (lambda h: h.answer(200, b'{"error": "none"}', **HUB), ["sent no weights file"], 1),
        (lambda h: h.answer(200, b"", **HUB), ["sent no weights file"], 1),
        (lambda h: h.answer(206, b"x" * 99, **HUB), ["another part of the file"], 1),
        (lambda h: h.wfile.write(b"nonsense\r\n\r\n"), ["broke off after 0 bytes"], 3),
        (lambda h: h.connection.close(), ["broke off after 0 bytes"], 3),
        pytest.param(stalled, ["fell silent after 0 bytes"], 3, marks=pytest.mark.slow),
    ],
)
def test_faults_are_named_and_leave_nothing(
    hub: Hub, run: Any, zoo: Zoo, answer: Answer, parts: list[str], asked: int
) -> None:
    hub.script = [answer]
    refused(run, zoo, f"from {hub.url}", *parts)
    assert len(hub.asked) == asked


@pytest.mark.parametrize("code", [429, 503, *(pytest.param(code, marks=pytest.mark.slow) for code in (408, 500))])
def test_a_fault_that_passes_is_waited_for(hub: Hub, run: Any, zoo: Zoo, weights: bytes, code: int) -> None:
    hub.script = [status(code, Retry_After="1"), good(weights)]
    begun = time.monotonic()
    fetched(run, zoo, weights)
    assert time.monotonic() - begun >= 1
    assert len(hub.asked) == 2


def test_the_second_name_is_tried_where_the_first_is_absent(hub: Hub, run: Any, zoo: Zoo, weights: bytes) -> None:
    hub.script = [status(404, X_Error_Code="EntryNotFound"), good(weights)]
    fetched(run, zoo, weights)
    assert [path.rpartition("/")[2] for path, _ in hub.asked] == ["model.safetensors", "pytorch_model.bin"]


def test_a_download_that_breaks_off_goes_on(hub: Hub, run: Any, zoo: Zoo, weights: bytes) -> None:
    hub.script = [cut(weights, 0.5), good(weights)]
    fetched(run, zoo, weights)
    assert int(hub.asked[1][1]["Range"].removeprefix("bytes=").removesuffix("-")) > len(weights) // 4
    assert hub.asked[1][1]["If-Range"] == HUB["ETag"]


def test_a_file_without_a_mark_is_begun_anew(hub: Hub, run: Any, zoo: Zoo, weights: bytes) -> None:
    unmarked = {"X-Repo-Commit": "c" * 40, "Content-Length": str(len(weights))}
    hub.script = [
        lambda handler: handler.answer(200, weights[:9000], **unmarked),
        lambda handler: handler.answer(200, weights, **unmarked),
    ]
    fetched(run, zoo, weights)
    assert "Range" not in hub.asked[1][1]


def test_a_hub_that_goes_away_in_the_midst(hub: Hub, run: Any, zoo: Zoo, weights: bytes) -> None:
    def leave(handler: Handler) -> None:
        hub.socket.close()
        handler.answer(200, weights[:9000], **{**HUB, "Content-Length": str(len(weights))})

    hub.script = [leave]
    refused(run, zoo, f"from {hub.url}", "cannot be reached")
    assert len(hub.asked) == 1


def test_a_server_that_starts_over_is_followed(hub: Hub, run: Any, zoo: Zoo, weights: bytes) -> None:
    hub.script = [cut(weights, 0.5), lambda handler: handler.answer(200, weights, **HUB)]
    fetched(run, zoo, weights)


def test_a_download_that_always_breaks_off(hub: Hub, run: Any, zoo: Zoo, weights: bytes) -> None:
    hub.script = [cut(weights, 0.5)]
    refused(run, zoo, "broke off after", f"of {len(weights):,} bytes")
    assert len(hub.asked) == 3


@pytest.mark.parametrize("n", [-100, 100])
def test_a_wrong_length(hub: Hub, run: Any, zoo: Zoo, weights: bytes, n: int) -> None:
    headers = {**HUB, "Content-Length": str(len(weights) + n)}
    hub.script = [lambda handler: handler.answer(200, weights, **headers)]
    refused(run, zoo, "broke off after" if n > 0 else "sent a file that is cut off")


def test_a_file_server_that_is_no_hub(hub: Hub, run: Any, zoo: Zoo, weights: bytes) -> None:
    hub.script = [lambda handler: handler.answer(200, weights)]
    refused(run, zoo, "not as a hub does", "HF_ENDPOINT")


def test_a_token_is_shown_to_the_hub_only(
    hub: Hub, run: Any, zoo: Zoo, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "secret")
    other = f"http://localhost:{hub.server_port}/cdn"
    to_other = {**HUB, "Location": other, "X-Linked-Etag": f'"{"f" * 64}"'}
    hub.script = [
        lambda handler: handler.answer(302, b"", **to_other),
        lambda handler: handler.answer(200, weights),
    ]
    fetched(run, zoo, weights)
    assert [headers.get("Authorization") for _, headers in hub.asked] == ["Bearer secret", None]
    assert (hub_cache() / f"models--timm--{NAME}" / "blobs" / ("f" * 64)).is_file()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9", "cannot be reached (Connection refused)"),
        ("http://nowhere.invalid", "cannot be reached ("),
    ],
)
def test_no_hub(run: Any, zoo: Zoo, monkeypatch: pytest.MonkeyPatch, url: str, reason: str) -> None:
    name_hub(monkeypatch, url)
    refused(run, zoo, f"from {url}", reason, "connect to the network")


def test_a_hub_that_takes_no_connection(run: Any, zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # fill its queue; what comes after waits
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        name_hub(monkeypatch, url)
        refused(run, zoo, f"from {url}", "cannot be reached (no answer within 2 s)")


def test_a_full_disk_is_called_that(hub: Hub, weights: bytes, zoo: Zoo) -> None:
    hub.script = [good(weights)]
    hub_cache().parent.mkdir(parents=True, exist_ok=True)
    hub_cache().write_text("no folder")
    with pytest.raises(WeightsUnavailableError, match=r"it could not be written .*HF_HUB_CACHE"):
        fetch(zoo.entry(NAME))


@pytest.mark.parametrize("content", [PAGE, b"", b'{"error": 1}', "half"])
def test_what_is_no_weights_is_not_here(hub: Hub, run: Any, zoo: Zoo, weights: bytes, content: bytes | str) -> None:
    hub.script = [good(weights)]
    fetched(run, zoo, weights)
    found = Availability().find(zoo.entry(NAME))
    assert found is not None
    found.resolve().write_bytes(weights[: len(weights) // 2] if isinstance(content, str) else content)
    assert not zoo.entry(NAME)["available"]
    listed = CliRunner().invoke(cli, ["list", "--available", "--search", NAME])
    assert listed.exit_code == 1
    fetched(run, zoo, weights)  # and is downloaded anew
    assert len(hub.asked) == 2


def direct(url: str) -> dict[str, Any]:
    return {"name": "direct", "path": "", "hub_id": "", "hub_filename": "", "url": url}


def test_a_direct_address(hub: Hub, weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.script = [good(weights)]
    entry = direct(f"{hub.url}/net-1234.pth")
    with pytest.raises(WeightsUnavailableError, match="no https address"):
        fetch(entry)
    monkeypatch.setenv("ZOO_LOOPBACK_HTTP", "1")
    for other in (
        "http://example.com/net.pth",
        "http://localhost/net.pth",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
    ):
        with pytest.raises(WeightsUnavailableError, match="no https address"):
            fetch(direct(other))
    assert not hub.asked
    path = fetch(entry)
    assert path == torch_cache() / "net-1234.pth"
    assert path.read_bytes() == weights
    assert fetch(entry) == path
    assert len(hub.asked) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda h: h.answer(200, PAGE), "a web page"),
        (status(500), "HTTP 500"),
        (status(404), "no such file"),
        (lambda h: h.answer(200, b"\x80\x02" + b"x" * 50, **{"Content-Length": "99"}), "broke off after"),
    ],
)
def test_a_direct_address_with_faults(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, answer: Answer, reason: str
) -> None:
    hub.script = [answer]
    monkeypatch.setenv("ZOO_LOOPBACK_HTTP", "1")
    entry = direct(f"{hub.url}/net-1234.pth")
    with pytest.raises(WeightsUnavailableError, match=reason):
        fetch(entry)
    assert not cached()
    assert Availability().find(entry) is None


def test_the_command_itself_takes_the_hub_of_the_environment(
    hub: Hub, zoo: Zoo, weights: bytes, tmp_path: Path
) -> None:
    hub.script = [good(weights)]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_") or k == "HF_HUB_CACHE"}
    environment = {**inherited, "HF_ENDPOINT": hub.url, "PYTHONPATH": str(ROOT), "ZOO_DB": str(zoo.store.path)}
    output = tmp_path / "out.safetensors"
    command = ["-m", "zoo_index", "transfer", "-t", "test_resnet", "-s", NAME, "-o", str(output)]
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    saved, sent = safetensors.torch.load_file(output), safetensors.torch.load(weights)
    assert saved.keys() == sent.keys()
    assert all(torch.equal(saved[name], sent[name]) for name in sent)
    assert zoo.entry(NAME)["available"]
