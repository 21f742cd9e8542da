"""The right to refresh an index: held by one process at a time, shown to be alive by a heartbeat."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from transfer.errors import ZooError
from zoo_index.database import runs
from zoo_index.errors import LeaseLostError
from zoo_index.foundation.logs import LOGGER

if TYPE_CHECKING:
    from zoo_index.database.store import Connection, Store

__all__ = ["Lease", "leased"]

_BEAT_SECONDS = 10.0


class Lease:
    """A lease that is held, and the run that holds it.

    Parameters
    ----------
    store : Store
    token : int
    run : int
    """

    def __init__(self, store: Store, token: int, run: int) -> None:
        self._store = store
        self._token = token
        self.run = run

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, which is refused if the lease is lost.

        Raises
        ------
        LeaseLostError
            If another process took it over.
        """
        with self._store.writing() as connection:
            runs.beat(connection, self._token)
            yield connection

    def end(self, connection: Connection, status: str, **values: Any) -> None:
        """Close the run and give the lease back."""
        runs.end_run(connection, self.run, status, **values)
        runs.release(connection, self._token)


@contextmanager
def leased(store: Store, *, detail: str, versions: Mapping[str, str]) -> Iterator[Lease]:
    """Hold the lease while something is refreshed; the caller ends it with `Lease.end`, or the run failed.

    Raises
    ------
    LeaseHeldError
        If a live process holds it.
    """
    with store.writing() as connection:
        token = runs.take(connection, store.name)
        run = runs.start_run(connection, "refresh", detail=detail, versions=versions)
    lease = Lease(store, token, run)
    LOGGER.info("run started", extra={"details": {"run": run, "index": store.name, **versions}})
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(lease, done), name="zoo-heartbeat", daemon=True)
    beating.start()
    try:
        yield lease
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        LOGGER.info("run ended early", extra={"details": {"run": run, "reason": reason}})
        is_fault = isinstance(error, Exception) and not isinstance(error, LeaseLostError)
        with suppress(ZooError), lease.writing() as connection:
            lease.end(connection, "failed" if is_fault else "interrupted")
        raise
    finally:
        done.set()
        beating.join()


def _beat(lease: Lease, done: threading.Event) -> None:
    while not done.wait(_BEAT_SECONDS):
        # one that cannot be written now may be next time; that the lease is lost, its holder sees when it writes
        with suppress(ZooError), lease.writing():
            pass
