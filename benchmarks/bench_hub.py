"""Headers of a thousand repositories of a hub, served by this machine: requests, seconds, memory.

Limit: 60 s. The headers are those of timm's networks; the server sends no values.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from _common import save

N = 1000
LIMIT_S = 60.0


def header_of(name: str) -> tuple[bytes, int]:
    """Header of a network's weights, and the size of the file."""
    from zoo_index.catalogues.timm_catalogue import build

    told: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    kinds = {"float32": ("F32", 4), "int64": ("I64", 8), "bool": ("BOOL", 1)}
    for key, tensor in sorted(build(name).state_dict().items()):
        kind, width = kinds[str(tensor.dtype).removeprefix("torch.")]
        told[key] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + tensor.numel() * width]}
        at += tensor.numel() * width
    text = json.dumps(told).encode()
    return len(text).to_bytes(8, "little") + text, 8 + len(text) + at


class Handler(BaseHTTPRequestHandler):
    """Lists repositories, and sends the first bytes of their weights."""

    repositories: ClassVar[dict[str, tuple[bytes, int]]] = {}
    n_requests = 0

    def do_GET(self) -> None:
        """Answer."""
        type(self).n_requests += 1
        parts = urlsplit(self.path)
        if parts.path == "/api/models":
            start, limit = int(parse_qs(parts.query).get("cursor", ["0"])[0]), 500
            listed = [self._told(name) for name in list(self.repositories)[start : start + limit]]
            more = f'<http://{self.headers["Host"]}{self.path}&cursor={start + limit}>; rel="next"'
            is_last = start + limit >= len(self.repositories)
            self._send(200, json.dumps(listed).encode(), {} if is_last else {"Link": more})
            return
        header, size = self.repositories[parts.path.split("/resolve/")[0].strip("/")]
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert asked is not None
        start, stop = int(asked[1]), min(int(asked[2]) + 1, size)
        data = header[start:stop].ljust(stop - start, b"\0")
        self._send(206, data, {"Content-Range": f"bytes {start}-{stop - 1}/{size}"})

    def _told(self, name: str) -> dict[str, Any]:
        return {"id": name, "sha": "c" * 40, "siblings": [{"rfilename": "model.safetensors"}], "tags": []}

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main() -> None:
    import timm

    names = timm.list_models(pretrained=True)
    architectures = sorted({name.partition(".")[0] for name in names})[:N]
    Handler.repositories = {f"made/{name}": header_of(name) for name in architectures}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "ZOO_HEADERS": str(Path(folder) / "headers"),
            "ZOO_DB": str(Path(folder) / "zoo.db"),
            "NO_PROXY": "*",
        }
        command = [sys.executable, "-m", "zoo_index"]

        def timed(*arguments: str) -> tuple[float, dict[str, Any], int]:
            before, begun = Handler.n_requests, time.perf_counter()
            done = subprocess.run([*command, *arguments], env=environment, stdout=subprocess.PIPE, check=True)
            return time.perf_counter() - begun, json.loads(done.stdout), Handler.n_requests - before

        timed("index", "status", "--json")  # the first use
        first, report, n_first = timed("add", f"hub:author=made,limit={N}", "--json")
        again, _, n_again = timed("add", f"hub:author=made,limit={N}", "--json")
    assert len(report["new"]) == len(architectures), report["failed"]
    save(
        "hub",
        {
            "repositories": len(architectures),
            "header_bytes": sum(len(header) for header, _ in Handler.repositories.values()),
            "limit_s": LIMIT_S,
            "first_s": first,
            "first_requests": n_first,
            "again_s": again,
            "again_requests": n_again,
            "largest_process_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        },
    )


if __name__ == "__main__":
    main()
