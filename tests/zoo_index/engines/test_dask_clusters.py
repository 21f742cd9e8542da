"""Clusters of Dask: of workers that die, of a scheduler that is not there, without Dask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_items import act
from engine_runs import DOUBLES, PATH, all_done, reason

from zoo_index.engines import Done, open_engine
from zoo_index.errors import EngineError


def test_a_dask_worker_that_dies_costs_nothing(cluster: str) -> None:
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        pid = next(iter(client.run(os.getpid).values()))
    items = [("sleep", 0.1 + number / 1000) for number in range(24)]
    with open_engine("dask", scheduler=cluster) as engine:
        run = engine.run(act, items)
        found = dict([next(run), next(run)])
        os.kill(pid, signal.SIGKILL)
        found |= dict(run)
    assert [item for item in items if found[item] != Done(item[1])] == []


def test_an_item_that_takes_its_dask_worker_down_is_lost_alone(cluster: str) -> None:
    poison = ("kill_host", None)
    with open_engine("dask", scheduler=cluster) as engine:
        found = dict(engine.run(act, [*DOUBLES[:3], poison, *DOUBLES[3:]]))
    assert reason(found, poison) == "the Dask workers that ran it died, also when it was tried again alone"
    assert all_done(found)


@pytest.mark.parametrize("address", [pytest.param("127.0.0.1:1", marks=pytest.mark.slow), "nosuch://x", "  "])
def test_a_scheduler_that_is_not_there_is_named(address: str) -> None:
    started = time.monotonic()
    with pytest.raises(
        EngineError, match=r"expected a Dask scheduler at '.*', got .*; check that it runs"
    ) as caught:
        open_engine("dask", scheduler=address)
    assert repr(address) in str(caught.value)
    assert time.monotonic() - started < 30


def test_without_dask_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['distributed'] = None\nfrom zoo_index.engines import open_engine\n"
    code += (
        "try:\n    open_engine('dask', scheduler='tcp://127.0.0.1:1')\nexcept Exception as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=PATH, check=True)
    assert done.stdout.endswith("run: pip install 'zoo-index[dask]'\n")
    assert done.stderr == ""


# says something else together with its greeting to the first client, as happens where a scheduler is busy
SCHEDULER = """
from distributed import batched
from distributed.cli.dask_scheduler import main

send, greeted = batched.BatchedSend.send, []

def send_more(self, *messages):
    if not greeted and messages and messages[0].get("op") == "stream-start":
        greeted.append(self)
        messages = (*messages, {"op": "other"})
    return send(self, *messages)

batched.BatchedSend.send = send_more
main()
"""


@pytest.fixture
def lonely_scheduler(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler without workers, on a machine with another toolz."""
    other = tmp_path / "toolz-0.0.7.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: toolz\nVersion: 0.0.7\n")
    file = tmp_path / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with subprocess.Popen(
        [sys.executable, "-c", SCHEDULER, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as process:
        deadline = time.monotonic() + 60
        while (
            not (file.exists() and file.stat().st_size) and process.poll() is None and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"], process
        process.kill()


@pytest.mark.slow
def test_a_cluster_that_cannot_work_is_not_waited_for(
    lonely_scheduler: tuple[str, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo_index.engines import dask_cluster

    address, process = lonely_scheduler
    with pytest.warns(UserWarning, match=r"expected equal versions here and on the Dask cluster.*\n(.*\n)*.*toolz"):
        engine = open_engine("dask", scheduler=address)
    with engine:
        monkeypatch.setattr(dask_cluster, "_NO_WORKER_SECONDS", 1.0)
        with pytest.raises(EngineError, match=r"found none for 1 s; start some: dask worker tcp://"):
            list(engine.run(act, DOUBLES))
        monkeypatch.setattr(dask_cluster, "_NO_WORKER_SECONDS", 600.0)
        threading.Timer(1.0, process.kill).start()
        with pytest.raises(EngineError, match="what was finished is kept"):
            list(engine.run(act, DOUBLES))
