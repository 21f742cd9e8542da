"""A Hugging Face Hub on this machine: repositories in memory, and faults for chosen files."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Answer = Callable[["Handler", bytes], None]


@dataclass
class Repo:
    """A repository; its commit follows from its files."""

    files: dict[str, bytes]
    license: str | None = None
    task: str | None = None
    library: str | None = None
    dataset: str | None = None
    downloads: int = 0
    n_params: int | None = None

    @property
    def commit(self) -> str:
        made = sha256()
        for name, data in sorted(self.files.items()):
            made.update(name.encode() + sha256(data).digest())
        return made.hexdigest()[:40]

    def told(self, name: str) -> dict[str, Any]:
        tags = [f"license:{self.license}"] if self.license else []
        tags += [f"dataset:{self.dataset}"] if self.dataset else []
        tags += [self.library] if self.library else []
        return {
            "id": name,
            "sha": self.commit,
            "downloads": self.downloads,
            "tags": tags,
            "pipeline_tag": self.task,
            "library_name": self.library,
            "siblings": [{"rfilename": file} for file in self.files],
            "gated": False,
            **({"safetensors": {"parameters": {"F32": self.n_params}}} if self.n_params else {}),
        }


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((path, dict(self.headers)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if path.startswith("/api/models"):
                self._list(path.removeprefix("/api/models").strip("/"))
            else:
                self._file(path)

    def _list(self, name: str) -> None:
        repos = self.server.repos
        if name:
            repo = repos.get(name)
            return self.json(repo.told(name)) if repo else self.answer(404, X_Error_Code="RepoNotFound")
        fault = self.server.faults.get("/api/models")
        if fault:
            return fault(self, b"")
        asked = parse_qs(urlsplit(self.path).query)
        found = [
            repo.told(key)
            for key, repo in repos.items()
            if asked.get("author", [key.split("/")[0]])[0] == key.split("/")[0]
            and asked.get("pipeline_tag", [repo.task])[0] == repo.task
            and all(tag in repo.told(key)["tags"] for tag in asked.get("filter", []))
            and asked.get("search", [""])[0] in key
        ]
        start, limit = int(asked.get("cursor", ["0"])[0]), min(self.server.page, int(asked["limit"][0]))
        headers = {}
        if start + limit < len(found):
            address = re.sub(r"&cursor=\d+", "", self.path) + f"&cursor={start + limit}"
            headers["Link"] = f'<{self.server.url}{address}>; rel="next"'
        return self.json(found[start : start + limit], **headers)

    def _file(self, path: str) -> None:
        found = re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", path)
        repo = self.server.repos.get(found[1]) if found else None
        if found is None or repo is None:
            return self.answer(404, X_Error_Code="RepoNotFound")
        if found[2] not in (repo.commit, "main") or found[3] not in repo.files:
            return self.answer(404, X_Error_Code="EntryNotFound")
        data = repo.files[found[3]]
        fault = self.server.faults.get(f"{found[1]}/{found[3]}")
        if fault:
            return fault(self, data)
        return self.part(data, repo.commit)

    def part(self, data: bytes, commit: str = "c" * 40) -> None:
        headers = {"X-Repo-Commit": commit, "ETag": f'"{sha256(data).hexdigest()}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return self.answer(200, data, **headers)
        start, stop = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        return self.answer(
            206, data[start : stop + 1], Content_Range=f"bytes {start}-{stop}/{len(data)}", **headers
        )

    def json(self, value: Any, **headers: str) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Hub(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.faults: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.page = 100

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def of_files(self) -> list[str]:
        """What was asked for, but lists."""
        return [path for path, _ in self.asked if not path.startswith("/api/")]


@contextmanager
def running_hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


# faults -----------------------------------------------------------------------------------------------------------


def status(code: int, **headers: str) -> Answer:
    return lambda handler, _: handler.answer(code, b"no", **headers)


def whole(handler: Handler, data: bytes) -> None:
    """As a server does that knows of no parts."""
    handler.answer(200, data)


def cut(handler: Handler, data: bytes) -> None:
    """Promise a part, send half of it, hang up."""
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 0-{len(data) - 1}/{len(data)}")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2][:50])


def stalled(handler: Handler, data: bytes) -> None:
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 0-{len(data) - 1}/{len(data)}")
    handler.end_headers()
    handler.wfile.write(data[:9])
    handler.wfile.flush()
    time.sleep(30)


def wrong_length(handler: Handler, data: bytes) -> None:
    """Say that the file is longer than its tensors take."""
    part = data[:200_000]
    handler.answer(206, part, Content_Range=f"bytes 0-{len(part) - 1}/{len(data) + 7}")


def page(handler: Handler, _: bytes) -> None:
    handler.answer(200, b"<!DOCTYPE html><html>Log in</html>", Content_Type="text/html")


def soon(times: int, code: int = 503) -> Answer:
    """Fail some times, then answer."""
    left = [times]

    def give(handler: Handler, data: bytes) -> None:
        left[0] -= 1
        if left[0] >= 0:
            handler.answer(code, b"no")
        else:
            handler.part(data)

    return give
