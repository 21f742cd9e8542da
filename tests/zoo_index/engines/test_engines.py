"""What engines do with items, for each of them: all are done once, and what cannot be done is lost alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine_items import Item, Unpicklable, act, die_preparing, fail_to_prepare, prepare_slowly
from engine_runs import DOUBLES, PATH, all_done, gone, reason, workers

from transfer.errors import InputError
from zoo_index.engines import Done, Engine, Lost, default_processes, open_engine
from zoo_index.errors import EngineError

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
