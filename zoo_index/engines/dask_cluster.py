"""Workers of a Dask cluster, through Dask's own futures: the client's side (see `dask_worker` for the other)."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
import uuid
import warnings
import weakref
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from zoo_index.engines.dask_worker import retire, run_contained
from zoo_index.engines.driving import Outcome, Task, closed_error, drive, packed_job
from zoo_index.engines.engine import Done, Engine, Lost, text_of
from zoo_index.errors import EngineError

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskEngine"]

Item = TypeVar("Item")
Value = TypeVar("Value")

_CONNECT_SECONDS = 4.0
_ANSWER_SECONDS = 20.0
_LOOK_SECONDS = 2.0
_NO_WORKER_SECONDS = 60.0
"""How long a cluster may be without workers, such as one that grows when there is work."""


class DaskEngine(Engine):
    """Workers of a Dask cluster on which this package is installed.

    Parameters
    ----------
    scheduler : str
        Its address.

    Raises
    ------
    EngineError
        If Dask is not installed here, or the scheduler cannot be reached.
    """

    def __init__(self, scheduler: str) -> None:
        try:
            from distributed.versions import VersionMismatchWarning
        except ImportError as error:
            raise EngineError(
                f"expected Dask for the engine dask, got {text_of(error)}; run: pip install 'zoo-index[dask]'"
            ) from error
        self._address = scheduler
        self._crews: weakref.WeakSet[_Crew] = weakref.WeakSet()
        self._logs = contextlib.ExitStack()
        self._logs.enter_context(_quiet())
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self._client: Client = _connected(scheduler)
        except Exception as error:  # whatever its transports make of an address
            self._logs.close()
            raise EngineError(
                f"expected a Dask scheduler at {scheduler!r}, got {text_of(error)}; check that it runs "
                "(dask scheduler), that its address is right and that no firewall stands between"
            ) from error
        for warning in caught:
            if issubclass(warning.category, VersionMismatchWarning):
                warnings.warn(
                    f"expected equal versions here and on the Dask cluster at {scheduler!r}, found others; install "
                    f"the same on both if workers fail\n{_table(str(warning.message))}",
                    stacklevel=2,
                )

    def run(
        self,
        function: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        seconds: float | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> Generator[tuple[Item, Done[Value] | Lost]]:
        """Call a function on every item on the cluster (see `Engine.run`)."""
        crew = _Crew(self._client, self._address, packed_job(function, prepare), seconds)
        self._crews.add(crew)
        return drive(crew, items)

    def close(self) -> None:
        """Leave the cluster, with nothing left to do."""
        for crew in list(self._crews):
            crew.close()
        with contextlib.suppress(Exception):  # whatever there is to complain about, it is over
            self._client.close(timeout=2)
        self._logs.close()


class _Crew:
    """Items as futures; each tells a queue when it is done."""

    def __init__(self, client: Client, address: str, job: bytes, seconds: float | None) -> None:
        self._client, self._address, self._job, self._seconds = client, address, job, seconds
        self._run = uuid.uuid4().hex
        self._futures: dict[int, Future] = {}
        self._closed = False
        self._outbox: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._looked = self._had_workers = time.monotonic()
        self.window = 2
        self._look()

    def submit(self, task: Task) -> None:
        if self._closed:
            raise closed_error()
        try:
            future = self._client.submit(
                run_contained,
                *(self._run, self._job, task.payload, self._seconds, task.alone),
                key=f"zoo-{self._run}-{task.ticket}{'-alone' if task.alone else ''}",
                pure=False,
                retries=0,
            )
        except (Exception, CancelledError) as error:  # of its connection
            raise self._unreachable(text_of(error)) from error
        self._futures[task.ticket] = future
        future.add_done_callback(lambda _, ticket=task.ticket: self._outbox.put(ticket))

    def next(self, *, wait: bool) -> tuple[int, Outcome] | None:
        while True:
            if self._closed:
                raise closed_error()
            if time.monotonic() - self._looked > _LOOK_SECONDS:
                self._look()
            try:
                ticket = self._outbox.get(block=wait, timeout=_LOOK_SECONDS)
            except queue.Empty:
                if not wait:
                    return None
                continue
            return ticket, self._outcome(self._futures.pop(ticket))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        futures, self._futures = list(self._futures.values()), {}
        ending = threading.Thread(target=self._end, args=(futures,), daemon=True)
        ending.start()
        ending.join(5.0)  # a cluster that does not answer ends what is there by itself

    def _end(self, futures: list[Future]) -> None:
        with contextlib.suppress(Exception):
            if futures:
                self._client.cancel(futures, force=True)
            self._client.run(retire, self._run, on_error="ignore")

    def _outcome(self, future: Future) -> Outcome:
        from distributed import KilledWorker

        try:
            found: Outcome = future.result()  # computed once more where the worker that held it has died
            return found
        except KilledWorker:
            return Lost("the Dask workers that ran it died", "death")
        except EngineError:
            raise
        except ImportError as error:
            raise EngineError(
                f"expected this package on the workers of the Dask cluster at {self._address!r}, they say: "
                f"{text_of(error)}; install the same version there"
            ) from error
        except (Exception, CancelledError) as error:
            if future.status != "error":
                raise self._unreachable(text_of(error)) from error
            return Lost(text_of(error), "exception")

    def _look(self) -> None:
        """Count workers, and notice when there is nobody to wait for."""
        if self._client.status not in ("running", "connecting"):
            raise self._unreachable(f"a connection that is {self._client.status}")
        try:
            n_threads = sum(self._client.nthreads(callback_timeout=_ANSWER_SECONDS).values())
        except (Exception, CancelledError) as error:
            raise self._unreachable(text_of(error)) from error
        self._looked = time.monotonic()
        if n_threads:
            self.window, self._had_workers = 2 * n_threads, self._looked
        elif self._looked - self._had_workers > _NO_WORKER_SECONDS:
            raise EngineError(
                f"expected workers on the Dask cluster at {self._address!r}, found none for "
                f"{_NO_WORKER_SECONDS:g} s; start some: dask worker {self._address}"
            )

    def _unreachable(self, what: str) -> EngineError:
        return EngineError(
            f"expected the Dask scheduler at {self._address!r} to stay, got {what.splitlines()[0]}; "
            "what was finished is kept, run it again when the scheduler is back"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's logs to itself; what matters comes as an error."""
    logger = logging.getLogger("distributed")
    others = [
        logging.getLogger(name) for name in ("distributed.client", "distributed.scheduler", "distributed.core")
    ]
    before = [(each, each.level) for each in (logger, *others)]
    for each, _ in before:
        each.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for each, level in before:
            each.setLevel(level)


def _connected(scheduler: str) -> Client:
    """Connect; Dask trips over a greeting that a busy scheduler sends together with something else."""
    from distributed import Client

    for last in (False, False, True):
        client = Client.__new__(Client)
        try:
            client.__init__(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
            return client
        except BaseException as error:
            # closed here: the garbage collector may do so in the client's own thread, which then waits for ever
            with contextlib.suppress(Exception):
                client.close(timeout=1)
            if last or not isinstance(error, AssertionError):
                raise
    raise AssertionError  # not reached


def _table(text: str) -> str:
    """Return the rows of Dask's table of versions."""
    return "\n".join(line for line in text.splitlines() if line.startswith("|") and "---" not in line)
