"""The laws of engines, for each of them."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine_items import Item, Unpicklable, act, die_preparing, fail_to_prepare, prepare_slowly

from transfer.errors import InputError
from zoo_index.engines import Done, Engine, Lost, default_processes, open_engine
from zoo_index.errors import EngineError

ROOT = Path(__file__).parents[3]
PATH = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])}
DOUBLES = [("double", number) for number in range(29)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Dask cluster of two worker processes."""
    import dask
    from distributed import LocalCluster

    path, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH"), PATH["PYTHONPATH"]
    quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),  # a Dask worker's death is felt at once
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **quiet) as found,
    ):
        yield found.scheduler_address
    os.environ.pop("PYTHONPATH") if path is None else os.environ.__setitem__("PYTHONPATH", path)


@pytest.fixture(params=["local-1", "local-2", "dask"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    name, _, processes = request.param.partition("-")
    scheduler = None if name == "local" else request.getfixturevalue("cluster")
    with open_engine(name, int(processes) if processes else None, scheduler) as found:
        yield found
    assert gone(workers(), 5) == []


def workers(parent: int | None = None) -> list[psutil.Process]:
    """Worker processes below a process, by default this one, whoever started them."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if "zoo_index.engines.worker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return those that are still there after a while."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def reason(found: dict[Item, Done[Any] | Lost], item: Item) -> str:
    lost = found[item]
    assert isinstance(lost, Lost)
    return lost.reason


def all_done(found: dict[Item, Done[Any] | Lost]) -> bool:
    return all(found[item] == Done(2 * item[1]) for item in DOUBLES)


# --- what is done ------------------------------------------------------------------------------------------


def test_every_item_is_done_once(engine: Engine) -> None:
    found = list(engine.run(act, DOUBLES))
    assert sorted(found, key=str) == sorted(((item, Done(2 * item[1])) for item in DOUBLES), key=str)
    assert list(engine.run(act, [])) == []


def test_items_are_taken_as_they_are_needed_and_results_come_at_once(engine: Engine) -> None:
    pulled = 0

    def items() -> Iterator[Item]:
        nonlocal pulled
        for number in range(200):
            pulled += 1
            yield "double", number

    for n_yielded, _ in enumerate(engine.run(act, items()), 1):
        assert pulled <= n_yielded + 9
    assert n_yielded == pulled == 200


@pytest.mark.parametrize("name", ["local", "dask"])
def test_a_slow_item_holds_nobody_up(name: str, cluster: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    slow = ("await", str(seen))  # done only when the result of another item has come
    with open_engine(name, *((None, cluster) if name == "dask" else (2, None))) as engine:
        for item, outcome in engine.run(act, [slow, *DOUBLES]):
            seen.write_text("")
            assert isinstance(outcome, Done), item


def test_a_thousand_small_items_take_no_time(engine: Engine) -> None:
    started = time.monotonic()
    found = list(engine.run(act, (("double", number) for number in range(1000))))
    assert sorted(outcome.value for _, outcome in found if isinstance(outcome, Done)) == list(range(0, 2000, 2))
    assert time.monotonic() - started < 60


def test_large_items_and_results_pass(engine: Engine) -> None:
    items = [("large", 5_000_000), ("length", bytes(5_000_001)), ("double", 1)]
    values = [outcome.value for _, outcome in engine.run(act, items) if isinstance(outcome, Done)]
    assert sorted(len(value) if isinstance(value, bytes) else value for value in values) == [
        2,
        5_000_000,
        5_000_001,
    ]


@pytest.mark.parametrize(
    "name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"]
)
def test_workers_compute_with_one_thread(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "5")
    assert dict(open_engine("local", 1).run(act, [("environment", name)])) == {("environment", name): Done("1")}


# --- what is lost ------------------------------------------------------------------------------------------


AGAIN = ", also when it was tried again alone"
POISONS: dict[Item, str] = {
    ("exit", 9): f"its worker process ended with status 9{AGAIN}",
    ("exit", 0): f"its worker process ended with status 0{AGAIN}",
    ("signal", signal.SIGKILL): f"its worker process was killed by SIGKILL (out of memory?){AGAIN}",
    ("crash", None): f"its worker process was killed by SIGSEGV{AGAIN}",
    ("sleep", 600.0): "took longer than 2 s",
    ("hold", None): "took longer than 2 s",
    ("fail", "the text"): "ValueError: the text",
    ("fail_mutely", None): "UnreadableError",
    ("leave", 3): "SystemExit: 3",
    ("stay", None): "its result cannot be sent: TypeError: this one stays here",
}
CAUSES = ["death"] * 4 + ["time"] * 2 + ["exception"] * 3 + ["transport"]


@pytest.mark.parametrize("poison", [("exit", 9), ("crash", None)], ids=lambda poison: poison[0])
def test_a_poisonous_item_is_lost_alone(engine: Engine, poison: Item) -> None:
    found = dict(engine.run(act, [*DOUBLES[:10], poison, *DOUBLES[10:]], seconds=2.0))
    assert len(found) == 30
    assert reason(found, poison) == POISONS[poison]
    assert all_done(found)


def test_many_poisons_at_once(engine: Engine) -> None:
    mixed = [*DOUBLES, *POISONS]
    random.Random(1).shuffle(mixed)
    found = dict(engine.run(act, mixed, seconds=2.0))
    assert {item: outcome.reason for item, outcome in found.items() if isinstance(outcome, Lost)} == POISONS
    assert [outcome.cause for item in POISONS if isinstance(outcome := found[item], Lost)] == CAUSES
    assert all_done(found)


def test_an_item_that_cannot_be_sent_is_lost_alone(engine: Engine) -> None:
    item = ("double", Unpicklable())
    found = dict(engine.run(act, [item, *DOUBLES]))
    assert reason(found, item) == "it cannot be sent to a worker: TypeError: this one stays here"
    assert all_done(found)


def test_an_item_is_tried_again_alone_before_it_is_given_up(engine: Engine, tmp_path: Path) -> None:
    flaky = ("flaky", str(tmp_path))
    busy = [("busy", str(tmp_path))] * 12
    found = list(engine.run(act, [*busy[:2], flaky, *busy[2:]]))
    assert len(found) == 13
    values = {item: outcome.value for item, outcome in found if isinstance(outcome, Done)}
    pid, n_others = values[flaky]
    assert n_others == 0
    assert pid not in {outcome.value for item, outcome in found if item != flaky and isinstance(outcome, Done)}


def test_a_worker_that_dies_idle_costs_nothing() -> None:
    def items() -> Iterator[Item]:
        yield "double", 1
        time.sleep(1.0)
        victims = workers()
        for victim in victims:
            victim.kill()
        assert victims
        assert gone(victims, 5) == []
        yield "double", 2

    with open_engine("local", 1) as engine:
        assert list(engine.run(act, items())) == [(("double", 1), Done(2)), (("double", 2), Done(4))]


def test_the_limit_counts_from_when_an_item_runs(engine: Engine) -> None:
    items = [("sleep", 0.3 + number / 1000) for number in range(5)]
    found = dict(engine.run(act, items, seconds=1.0, prepare=prepare_slowly))
    assert [item for item in items if found[item] != Done(item[1])] == []


def test_a_worker_killed_from_outside_costs_nothing(engine: Engine) -> None:
    items = [("sleep", 0.1 + number / 1000) for number in range(24)]
    run = engine.run(act, items)
    found = dict([next(run), next(run)])
    for victim in random.Random(2).sample(workers(), 1):
        victim.kill()
    found |= dict(run)
    assert [item for item in items if found[item] != Done(item[1])] == []


def test_what_a_worker_leaves_behind_dies_with_it(engine: Engine, tmp_path: Path) -> None:
    poison = ("spawn_and_exit", str(tmp_path))
    found = dict(engine.run(act, [poison, *DOUBLES]))
    assert "ended with status 7" in reason(found, poison)
    assert all_done(found)
    left = int((tmp_path / "left").read_text())
    assert not psutil.pid_exists(left) or gone([psutil.Process(left)], 5) == []


# --- ends --------------------------------------------------------------------------------------------------


def test_closing_early_ends_the_workers(engine: Engine) -> None:
    run = engine.run(act, [("double", 1), *[("sleep", 600.0)] * 20])
    assert next(run) == (("double", 1), Done(2))
    run.close()
    assert gone(workers(), 5) == []


def test_closing_the_engine_ends_the_workers(engine: Engine) -> None:
    run = engine.run(act, [("double", 1), *[("sleep", 600.0)] * 20])
    assert next(run) == (("double", 1), Done(2))
    engine.close()
    assert gone(workers(), 5) == []
    with pytest.raises(EngineError, match="it was closed; open another one"):
        next(run)


def test_an_error_of_the_items_ends_the_run_and_the_workers(engine: Engine) -> None:
    def items() -> Iterator[Item]:
        yield from DOUBLES
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(engine.run(act, items()))
    assert gone(workers(), 5) == []


SCRIPT = """
    import os, sys
    from engine_items import act
    from zoo_index.engines import open_engine
    print("main", flush=True)
    name, processes, scheduler = {arguments!r}
    with open_engine(name, processes, scheduler) as engine:
        try:
            endless = [{item!r}] * (1 if scheduler else 2)  # on a cluster one worker is left idle
            run = engine.run(act, [*[("print", "from a worker")] * 4, *endless], seconds=600.0)
            for n_done, _ in enumerate(run, 1):
                if n_done == 4:
                    print("endless", flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


def script(engine: str, cluster: str, item: Item) -> subprocess.Popen[str]:
    """Start a program, without a guard of its main module, that runs something endless."""
    name, _, processes = engine.partition("-")
    arguments = (name, int(processes) if processes else None, cluster if name == "dask" else None)
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code = heed + textwrap.dedent(SCRIPT).format(arguments=arguments, item=item)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=PATH
    )


def busy_workers(process: subprocess.Popen[str], engine: str, least_cpu: float = 0.0) -> list[psutil.Process]:
    """Wait until only what is endless runs, and has computed for some seconds."""
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["main\n", "endless\n"]  # no worker ran it again
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = workers() if engine == "dask" else workers(process.pid)
        if any(worker.cpu_times().user >= least_cpu for worker in found):
            return found
        time.sleep(0.05)
    raise AssertionError("expected busy workers, found none")


@pytest.mark.parametrize("engine", ["local-1", "local-2", "dask"])
def test_an_interrupt_ends_the_workers(engine: str, cluster: str) -> None:
    with script(engine, cluster, ("sleep", 500.0)) as process:
        found = busy_workers(process, engine)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert output == "interrupted\n"
    assert errors == ("" if engine == "dask" else "from a worker\n" * 4)  # a cluster's workers have their own
    assert process.returncode == 0
    assert gone(found, 5) == []


@pytest.mark.parametrize(
    ("engine", "item"),
    [
        ("local-1", ("sleep", 500.0)),
        ("local-1", ("hold", None)),
        ("local-2", ("sleep", 500.0)),
        ("dask", ("sleep", 500.0)),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_workers_end_when_the_program_is_killed(engine: str, cluster: str, item: Item) -> None:
    with script(engine, cluster, item) as process:
        found = busy_workers(process, engine, 0.8 if item[0] == "hold" else 0.0)
        process.kill()
        process.communicate(timeout=3)  # ends when nobody holds its standard error any more
        # a cluster keeps processes that are ready for more work for a while
        assert gone(workers() if engine == "dask" else found, 20 if engine == "dask" else 3) == []


def test_a_program_that_forgets_to_close_leaves_nothing() -> None:
    code = """
        import sys
        from engine_items import act
        from zoo_index.engines import open_engine
        run = open_engine("local", 2).run(act, [("pid", 0), ("sleep", 500.0), ("sleep", 500.0)])
        print(next(run)[1].value)
        sys.keep = run
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=PATH,
        timeout=30,
        check=True,
    )
    pid = int(done.stdout)
    assert not psutil.pid_exists(pid) or gone([psutil.Process(pid)], 3) == []
    assert done.stderr == ""


# --- bad use -----------------------------------------------------------------------------------------------


def test_workers_that_cannot_start_end_the_run_with_the_reason(engine: Engine) -> None:
    with pytest.raises(EngineError, match="they say: FileNotFoundError: nothing to work with"):
        list(engine.run(act, DOUBLES, prepare=fail_to_prepare))
    with pytest.raises(EngineError, match="3 in a row died as they started; the last one ended with status 3"):
        list(engine.run(act, DOUBLES, prepare=die_preparing))


def test_a_function_that_workers_cannot_import_is_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="expected a function that worker processes can import"):
        engine.run(lambda item: item, DOUBLES)


def test_a_function_of_the_program_itself_is_refused() -> None:
    code = "from zoo_index.engines import open_engine\ndef f(item): ...\nopen_engine('local', 1).run(f, [1])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=PATH, check=False)
    assert "of the program itself; put it into a module" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("loky",), "expected one of the engines local, dask, inline"),
        (("local", 0), "expected at least one process, got 0"),
        (("dask",), "expected the address of a scheduler"),
        (("local", 1, "tcp://127.0.0.1:1"), "give --engine dask"),
    ],
)
def test_engines_are_opened_by_name(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(InputError, match=text):
        open_engine(*arguments)
    assert default_processes() >= 1


def test_the_inline_engine_runs_here_and_promises_no_limit() -> None:
    with open_engine("inline") as engine:
        assert list(engine.run(act, [("pid", 0), ("fail", "so")])) == [
            (("pid", 0), Done(os.getpid())),
            (("fail", "so"), Lost("ValueError: so", "exception")),
        ]
        with pytest.raises(EngineError, match="use --engine local"):
            engine.run(act, DOUBLES, seconds=2.0)


# --- clusters ----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nosuch://x", "  "])
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
