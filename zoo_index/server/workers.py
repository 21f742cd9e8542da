"""The workers of a server: a few processes, a bounded queue before them, a limit on the time of each question.

Ranking is work for a core, not for the process that talks to clients. So each worker is a process with the index in
memory, which answers one question at a time; what takes too long is ended with its process, and another one starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo_index.server.limits import Limits
from zoo_index.server.problems import ProblemError

__all__ = ["Answer", "Workers"]

_START_SECONDS = 120.0
"""Until a worker has read the index, or made the map of a large one."""

_END_SECONDS = 2.0


@dataclass(frozen=True)
class Answer:
    """What a worker said: an HTTP status and JSON."""

    status: int
    content: bytes


class _Worker:
    """One process."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, kind: str, fields: Mapping[str, Any], body: bytes) -> Answer:
        """Ask one question; the process is started where there is none."""
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "zoo_index.server.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the server, which ends its workers
                env={"OMP_NUM_THREADS": "1", **os.environ, "ZOO_DB": self._place},  # which others cannot read
            )
        told, said = self._process.stdin, self._process.stdout
        assert told is not None
        assert said is not None
        told.write(json.dumps({"kind": kind, "fields": dict(fields), "bytes": len(body)}).encode() + b"\n" + body)
        await told.drain()
        head = json.loads(await said.readuntil(b"\n"))
        return Answer(head["status"], await said.readexactly(head["bytes"]))

    async def end(self) -> None:
        """End the process, whatever it is at."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _END_SECONDS)


class Workers:
    """Workers and the questions that wait for them.

    Parameters
    ----------
    place : str
        Of the index.
    limits : Limits
    """

    def __init__(self, place: str, limits: Limits) -> None:
        self._limits = limits
        self._all = [_Worker(place) for _ in range(limits.workers)]
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        for worker in self._all:
            self._idle.put_nowait(worker)
        self._running: set[asyncio.Task[Answer]] = set()
        self.n_asked = 0
        self.n_pending = 0

    async def start(self) -> None:
        """Let every worker read the index."""
        answers = await asyncio.gather(
            *(self.ask("ready", {}, seconds=_START_SECONDS) for _ in self._all), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def end(self) -> None:
        """End all of them."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(worker.end() for worker in self._all))

    async def ask(
        self, kind: str, fields: Mapping[str, Any], body: bytes = b"", *, seconds: float | None = None
    ) -> Answer:
        """Ask a question of the next worker that has time.

        Raises
        ------
        ProblemError
            503 if too many wait already or none had time; 504 if it took too long; 500 if the worker ended.
        """
        if self.n_pending >= self._limits.workers + self._limits.waiting:
            raise _busy()
        self.n_pending += 1
        try:
            try:
                worker = await asyncio.wait_for(self._idle.get(), seconds or self._limits.seconds)
            except TimeoutError:
                raise _busy() from None
            # a client that goes away must not leave half an answer in the pipe
            task = asyncio.create_task(self._asked(worker, kind, fields, body, seconds or self._limits.seconds))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            return await asyncio.shield(task)
        finally:
            self.n_pending -= 1

    async def _asked(
        self, worker: _Worker, kind: str, fields: Mapping[str, Any], body: bytes, seconds: float
    ) -> Answer:
        self.n_asked += 1
        try:
            return await asyncio.wait_for(worker.ask(kind, fields, body), seconds)
        except TimeoutError:
            await worker.end()
            raise ProblemError(
                504, f"expected an answer within {seconds:g} seconds, it took longer; ask about a smaller network"
            ) from None
        except (OSError, ValueError, asyncio.IncompleteReadError):
            await worker.end()
            raise ProblemError(500, "the process that answers ended; ask again") from None
        except asyncio.CancelledError:
            await worker.end()
            raise
        finally:
            self._idle.put_nowait(worker)


def _busy() -> ProblemError:
    return ProblemError(503, "too many questions at a time; ask again in a few seconds", {"Retry-After": "2"})
