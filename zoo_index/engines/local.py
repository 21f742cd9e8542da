"""Worker processes on this machine.

Plain subprocesses with one item each at a time, for pebble and multiprocessing run the user's main module again
in every worker (scripts have no guard against it), and a loky executor per worker ends neither hangs nor orphans.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from zoo_index.engines.child import Child, GoneError, started
from zoo_index.engines.driving import Outcome, Task, closed_error, drive, packed_job
from zoo_index.engines.engine import Done, Engine, Lost

__all__ = ["LocalEngine"]

Item = TypeVar("Item")
Value = TypeVar("Value")

_AHEAD = 4
"""Items on their way per worker, so that workers have some while the caller is busy with results."""


class LocalEngine(Engine):
    """Worker processes on this machine, of one thread each; they live as long as a run.

    Parameters
    ----------
    processes : int
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._crews: weakref.WeakSet[_Crew] = weakref.WeakSet()

    def run(
        self,
        function: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        seconds: float | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> Generator[tuple[Item, Done[Value] | Lost]]:
        """Call a function on every item in worker processes (see `Engine.run`)."""
        crew = _Crew(packed_job(function, prepare), self.processes, seconds)
        self._crews.add(crew)
        return drive(crew, items)

    def close(self) -> None:
        """End the workers of runs that are not over."""
        for crew in list(self._crews):
            crew.close()


class _Crew:
    """One thread per worker process takes items, has them run and replaces the process when it is gone."""

    def __init__(self, job: bytes, processes: int, seconds: float | None) -> None:
        self.window = _AHEAD * processes
        self._job, self._processes, self._seconds = job, processes, seconds
        self._inbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[tuple[int, Outcome] | BaseException] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._children: set[Child] = set()
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, task: Task) -> None:
        if self._closed:
            raise closed_error()
        if task.alone:
            self._dismiss()
        if len(self._threads) < (1 if task.alone else self._processes):
            self._threads.append(threading.Thread(target=self._serve, daemon=True))
            self._threads[-1].start()
        self._inbox.put(task)

    def next(self, *, wait: bool) -> tuple[int, Outcome] | None:
        try:
            found = self._outbox.get(block=wait)
        except queue.Empty:
            return None
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for child in self._children:
                child.kill()
        self._dismiss()
        self._outbox.put(closed_error())

    def _dismiss(self) -> None:
        """End idle workers."""
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _serve(self) -> None:
        child: Child | None = None
        try:
            while (task := self._inbox.get()) is not None and not self._closed:
                while True:
                    if child is None:
                        child = started(self._start)
                    try:
                        outcome = child.run(task.payload, self._seconds)
                        break
                    except GoneError:  # it died idle, which is not the item's fault
                        self._end(child)
                        child = None
                if not child.alive:
                    self._end(child)
                    child = None
                self._outbox.put((task.ticket, outcome))
        except _ClosedError:
            pass
        except BaseException as error:
            self._outbox.put(error)
        finally:
            if child is not None:
                self._end(child)

    def _start(self) -> Child:
        with self._lock:  # either closing sees the child, or the child sees the closing
            if self._closed:
                raise _ClosedError
            child = Child(self._job)
            self._children.add(child)
            return child

    def _end(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)
        child.close()


class _ClosedError(Exception):
    """The run is over."""
