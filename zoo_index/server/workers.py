"""The workers of a server: a few processes, a bounded queue before them, a limit on the time of each question.

Ranking is work for a core, not for the process that talks to clients. So each worker is a process with the index in
memory, which answers one question at a time; what takes too long is ended with its process, and another one starts.

A question about a network of many layers takes seconds, one about a usual network a fraction of one. So all workers
but one answer large questions, and the last one is kept for small ones. A worker says itself that a question is a
large one, as soon as it has read it.
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

from zoo_index.foundation.counting import noun
from zoo_index.foundation.logs import LOGGER
from zoo_index.server.limits import Limits
from zoo_index.server.problems import ProblemError, stopping

__all__ = ["Answer", "Workers"]

_START_SECONDS = 120.0
"""Until a worker has read the index, or made the map of a large one."""

_END_SECONDS = 2.0

_LARGE_BYTES = 1 << 20
"""Of a question that is taken for a large one unread."""


@dataclass(frozen=True)
class Answer:
    """What a worker said: an HTTP status and JSON."""

    status: int
    content: bytes


@dataclass(eq=False)
class _Waiting:
    """A question that waits for a worker."""

    is_large: bool
    given: asyncio.Future[_Worker]


class _Worker:
    """One process."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, head: Mapping[str, Any], body: bytes) -> Answer:
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
        told.write(json.dumps({**head, "bytes": len(body)}).encode() + b"\n")
        told.write(body)
        await told.drain()
        answered = json.loads(await said.readuntil(b"\n"))
        return Answer(answered["status"], await said.readexactly(answered["bytes"]))

    async def ended(self) -> str:
        """Say how a process ended that no longer answers."""
        process = self._process
        if process is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _END_SECONDS)
        await self.end()
        return f"ended with status {process.returncode}" if process is not None else "did not start"

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
        self._idle = list(self._all)
        self._waiting: list[_Waiting] = []
        self._running: set[asyncio.Task[Answer]] = set()
        self._n_large = 0
        self._is_stopping = False
        self.n_pending = 0

    @property
    def is_full(self) -> bool:
        """Whether as many questions wait as may."""
        return self.n_pending >= self._limits.workers + self._limits.waiting

    async def start(self) -> None:
        """Let every worker read the index.

        Raises
        ------
        ProblemError
            If one cannot; its cause, or its detail, says why.
        """
        answers = await asyncio.gather(
            *(self.ask("ready", {}, seconds=_START_SECONDS) for _ in self._all), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            if answer.status != 200:
                raise ProblemError(answer.status, json.loads(answer.content)["detail"])

    def stop(self) -> None:
        """Refuse what waits, and what comes; what is being answered goes on."""
        self._is_stopping = True
        for one in self._waiting:
            if not one.given.done():
                one.given.set_exception(stopping())
        self._waiting.clear()

    async def end(self) -> None:
        """End all of them."""
        self.stop()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(worker.end() for worker in self._all))

    async def ask(
        self, kind: str, fields: Mapping[str, Any], body: bytes = b"", *, seconds: float | None = None
    ) -> Answer:
        """Ask a question of the next worker that has time for it.

        Raises
        ------
        ProblemError
            503 if too many wait already, none had time, or the server ends; 504 if it took too long; 500 if the
            worker ended.
        """
        if self.is_full:
            raise _busy()
        self.n_pending += 1
        seconds = seconds or self._limits.seconds
        wait_until = asyncio.get_running_loop().time() + seconds
        try:
            is_large = len(body) > _LARGE_BYTES
            while True:
                worker = await self._next(is_large, wait_until)
                # a client that goes away must not leave half an answer in the pipe
                head = {"kind": kind, "fields": dict(fields), "is_large": is_large}
                task = asyncio.create_task(self._asked(worker, head, body, seconds))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                answer = await asyncio.shield(task)
                if answer.status:
                    return answer
                is_large = True
        finally:
            self.n_pending -= 1

    async def _next(self, is_large: bool, wait_until: float) -> _Worker:
        if self._is_stopping:
            raise stopping()
        one = _Waiting(is_large, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        self._give()
        try:
            async with asyncio.timeout_at(wait_until):
                return await asyncio.shield(one.given)
        except BaseException as error:
            if one in self._waiting:
                self._waiting.remove(one)
            elif one.given.done() and one.given.exception() is None:  # given in the moment in which it was too late
                self._take_back(one.given.result(), is_large=is_large)
            if isinstance(error, TimeoutError):
                raise _busy() from None
            raise

    def _give(self) -> None:
        """Give workers that have time to the questions that wait longest."""
        most_large = max(1, len(self._all) - 1)
        while self._idle:
            one = next((o for o in self._waiting if not o.is_large or self._n_large < most_large), None)
            if one is None:
                return
            self._waiting.remove(one)
            self._n_large += one.is_large
            one.given.set_result(self._idle.pop())

    def _take_back(self, worker: _Worker, *, is_large: bool) -> None:
        self._n_large -= is_large
        self._idle.append(worker)
        self._give()

    async def _asked(self, worker: _Worker, head: dict[str, Any], body: bytes, seconds: float) -> Answer:
        try:
            return await asyncio.wait_for(worker.ask(head, body), seconds)
        except TimeoutError:
            await worker.end()
            raise ProblemError(
                504,
                f"expected an answer within {seconds:g} {noun(seconds, 'second')}, it took longer; "
                "ask about a smaller network",
            ) from None
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            how = await worker.ended()
            LOGGER.warning("a process that answers %s", how)
            raise ProblemError(500, "the process that answers ended; ask again") from (
                error if isinstance(error, OSError) else ChildProcessError(f"it {how}")
            )
        except asyncio.CancelledError:
            await worker.end()
            raise
        finally:
            self._take_back(worker, is_large=head["is_large"])


def _busy() -> ProblemError:
    return ProblemError(503, "too many questions at a time; ask again in a few seconds", {"Retry-After": "2"})
