"""A server of an index, as users start it, and requests to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = "import sys; from zoo_index.commands.main import main; sys.argv[0] = 'zoo'; main()"


@dataclass
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    url: str
    token: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        method: str | None = None,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
        host: str | None = None,
    ) -> Answer:
        """Send a request; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            sent = {"Host": host if host is not None else f"127.0.0.1:{self.port}", **(headers or {})}
            if content is not None:
                sent.setdefault("Content-Type", kind)
            if self.token:
                sent.setdefault("Authorization", f"Bearer {self.token}")
            connection.request(method or ("POST" if content is not None else "GET"), path, content, sent)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())
        finally:
            connection.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; return its status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=20)


@contextmanager
def serving(index: Path, *options: str, command: str = COMMAND) -> Iterator[Server]:
    """Run ``zoo serve``, or another command that serves, on a free port until the block ends."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            command,
            "--db",
            str(index),
            "serve",
            "--port",
            "0",
            *(() if "--workers" in options else ("--workers", "1")),
            *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_CACHE": str(index.parent / "hub"),  # no weights of the user's
            "TORCH_HOME": str(index.parent / "torch"),
        },
    )
    try:
        told = _line(process)
        found = re.search(r"http://\S+", told)
        assert found, (told, process.stderr.read() if process.stderr and process.poll() is not None else "")
        token = next((options[i + 1] for i, one in enumerate(options) if one == "--token"), "")
        if not token and "--host" in options:
            assert process.stdout is not None
            token = process.stdout.readline().removeprefix("token: ").strip()  # said at once with the first line
        yield Server(process, found[0], token)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str], seconds: float = 100) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline() if ready else ""


def until(holds: Any, seconds: float = 30) -> bool:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False
