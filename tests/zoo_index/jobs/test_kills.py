"""A refresh that is killed anywhere: what was acknowledged stays, and the next one arrives where it would have."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import made_catalogue
import nets
import pytest
from indexes import address
from sqlalchemy import Connection, delete, func, select, update

import transfer
from zoo_index.catalogues.catalogue import CATALOGUES
from zoo_index.database import queries
from zoo_index.database.opening import open_store
from zoo_index.database.schema import ARCHITECTURE, LEASE, METADATA, RUN, STATE
from zoo_index.database.store import Store
from zoo_index.engines import open_engine
from zoo_index.jobs import staging
from zoo_index.jobs.refresh import refresh
from zoo_index.zoo.zoo import Zoo

FIRST = {"version": "1", "networks": {f"n{i}": [3, 4 + i] for i in range(5)}}
SECOND = {"version": "2", "networks": {**{f"n{i}": [3, 4 + 2 * i] for i in range(4)}, "m0": [2, 9], "m1": "raise"}}


@pytest.fixture(autouse=True)
def made(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADE_CATALOGUE", str(tmp_path / "made.json"))
    monkeypatch.setitem(CATALOGUES, "made", "made_catalogue")
    monkeypatch.setattr(staging, "_BATCH_SECONDS", -1.0)  # a transaction for every network


def refreshed(store: Store, content: dict[str, Any]) -> None:
    made_catalogue.write(**content)
    refresh(store, engine=open_engine("inline"), seconds=None, catalogues=["made"])


def dump(store: Store) -> dict[str, Any]:
    """What readers see, without numbers that differ from run to run."""
    with store.reading() as connection:
        generation = queries.generation(connection)
        entries = queries.entry_rows(connection, generation)
        return {
            "entries": [{k: v for k, v in row.items() if k not in ("id", "architecture_id")} for row in entries],
            "architectures": sorted(row[1:] for row in queries.fingerprints(connection, generation)),
            "versions": queries.by_catalogue(connection, generation),
            "failures": [(row["name"], row["error"]) for row in queries.failures(connection)],
        }


def n_prepared(store: Store) -> int:
    with store.reading() as connection:
        query = select(func.count()).select_from(ARCHITECTURE).where(ARCHITECTURE.c.born.is_(None))
        return int(connection.execute(query).scalar_one())


def forked(work: Callable[[int], None]) -> tuple[int, int]:
    """Run something in a copy of this process; return its number, and the end of a pipe that it writes to."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reads)
            work(writes)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writes)
    return child, reads


def ended(child: int, reads: int) -> tuple[int, bytes]:
    """Wait for its end; return the signal that ended it (0 for none) and what it wrote."""
    written = b""
    while piece := os.read(reads, 4096):
        written += piece
    os.close(reads)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0), written


def killing(store: Store, writes: int, kill: tuple[str, int]) -> None:
    """Let a store kill its process before or after it commits for the n-th time.

    After every commit it tells how many networks are prepared: they are acknowledged.
    """
    connect = store._connect
    n = 0

    def reach(point: str) -> None:
        if (point, n) == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def counting(*, write: bool) -> Iterator[Connection]:
        nonlocal n
        with connect(write=write) as connection:
            yield connection
            n += write
            if write:
                reach("before")
        if write:
            os.write(writes, bytes([n_prepared(store)]))
            reach("after")

    store._connect = counting  # type: ignore[method-assign]


@pytest.fixture
def undisturbed(tmp_path: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What readers see before and after a refresh that nobody kills."""
    calm = open_store(tmp_path / "calm.db")
    refreshed(calm, FIRST)
    before = dump(calm)
    refreshed(calm, SECOND)
    after = dump(calm)
    assert before != after
    assert after["failures"]
    return before, after


def check(store: Store, told: bytes, undisturbed: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Look at what a killed refresh left, and go on from there."""
    before, after = undisturbed
    with store.reading() as connection:
        assert store.check(connection) == []
        generation = queries.generation(connection)
    found = dump(store)
    if generation == 1:
        assert n_prepared(store) >= max(told, default=0)  # what was acknowledged stays
        assert found["entries"] == before["entries"]
    else:
        assert found == after
    refreshed(store, SECOND)
    assert dump(store) == after
    assert n_prepared(store) == 0
    with store.reading() as connection:
        assert store.check(connection) == []
        statuses = connection.execute(select(RUN.c.status).order_by(RUN.c.id)).scalars().all()
    assert statuses[-1] == "partial"  # one network fails, as it would have
    assert set(statuses) <= {"done", "partial", "lost"}


def kill_and_go_on(
    store: Store, undisturbed: tuple[dict[str, Any], dict[str, Any]], work: Callable[[Store, int], int | None]
) -> bool:
    """Refresh in a process that is killed, and go on from there; return whether it was killed in time."""
    refreshed(store, FIRST)
    store.close()  # a connection must not be used on both sides of a fork
    child, reads = forked(lambda writes: work(open_store(address(store)), writes))
    status, told = ended(child, reads)
    check(store, told, undisturbed)
    return status == signal.SIGKILL


@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize("n", [1, 6, 11, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 9, 10))])
def test_killed_where_it_commits(
    store: Store, undisturbed: tuple[dict[str, Any], dict[str, Any]], point: str, n: int
) -> None:
    def work(mine: Store, writes: int) -> None:
        killing(mine, writes, (point, n))
        refreshed(mine, SECOND)

    assert kill_and_go_on(store, undisturbed, work)


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 100))]
)
def test_killed_at_any_time(store: Store, undisturbed: tuple[dict[str, Any], dict[str, Any]], seed: int) -> None:
    """At a random moment of the time that a whole refresh takes here and now."""
    refreshed(store, FIRST)
    started = time.monotonic()
    refreshed(store, SECOND)
    whole = time.monotonic() - started
    clear_all(store)
    moment = random.Random(seed).uniform(0, whole)

    def work(mine: Store, writes: int) -> None:
        killing(mine, writes, ("never", 0))
        threading.Timer(moment, os.kill, (os.getpid(), signal.SIGKILL)).start()
        refreshed(mine, SECOND)

    for _ in range(5):
        if kill_and_go_on(store, undisturbed, work):
            return
        moment /= 2  # it was done sooner than that
        clear_all(store)
    pytest.fail("it was always done before it was killed")


def clear_all(store: Store) -> None:
    """Empty the index, as it was before the first refresh."""
    with store.writing() as connection:
        for table in reversed(METADATA.sorted_tables):
            if table.name not in ("state", "lease"):
                connection.execute(delete(table))
        connection.execute(update(STATE).values(generation=0))
        connection.execute(update(LEASE).values(holder="", run_id=None))


# --- readers meanwhile -----------------------------------------------------------------------------------

N_NETWORKS = 6


def networks(night: int) -> dict[str, Any]:
    """All networks of a night bear its number."""
    return {"version": str(night), "networks": {f"n{i}_{night}": [3, 4 + i] for i in range(N_NETWORKS)}}


@pytest.mark.parametrize(("n_readers", "seconds"), [(3, 2.0), pytest.param(8, 30.0, marks=pytest.mark.slow)])
def test_readers_see_whole_generations_while_others_are_made(store: Store, n_readers: int, seconds: float) -> None:
    refreshed(store, networks(0))
    place = address(store)
    store.close()
    target = transfer.standardize(nets.mlp(3, 5))

    def read(writes: int) -> None:
        zoo = Zoo(place)
        until = time.monotonic() + seconds
        latest = -1
        slowest = 0.0
        while time.monotonic() < until:
            started = time.monotonic()
            answer = zoo.recommend(target, k=50)
            slowest = max(slowest, time.monotonic() - started)
            nights = {int(result.architecture.partition("_")[2]) for result in answer.results}
            assert len(nights) == 1, nights
            assert len(answer.results) == answer.n_considered == N_NETWORKS
            (night,) = nights
            assert night >= latest
            latest = night
            os.write(writes, b".")
        assert slowest < 10

    readers = [forked(read) for _ in range(n_readers)]
    writer = open_store(place)
    until = time.monotonic() + seconds
    night = 0
    while time.monotonic() < until or night < 3:  # a busy machine makes fewer
        night += 1
        refreshed(writer, networks(night))
    for child, reads in readers:
        status, told = ended(child, reads)
        assert status == 0
        assert len(told) > night / 4  # they are not held up
