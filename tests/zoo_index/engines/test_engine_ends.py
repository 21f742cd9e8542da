"""However a run ends, its workers end too."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import psutil
import pytest
from engine_items import Item, act
from engine_runs import DOUBLES, PATH, gone, workers

from zoo_index.engines import Done, Engine
from zoo_index.errors import EngineError


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
        pytest.param("dask", ("sleep", 500.0), marks=pytest.mark.slow, id="dask-sleep"),
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
