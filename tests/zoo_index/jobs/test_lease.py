"""One refresh at a time: who holds the lease, who lost it, and what one that was stopped leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import made_catalogue
import pytest
from refreshing import REFRESH, command, forked, only_in_a_file, refreshed
from sqlalchemy import select, update

from zoo_index.database import runs
from zoo_index.database.clock import now
from zoo_index.database.schema import LEASE
from zoo_index.errors import LeaseHeldError, LeaseLostError
from zoo_index.jobs import lease as lease_module
from zoo_index.zoo.zoo import Zoo


@pytest.mark.parametrize(
    ("how", "store"),
    [
        (signal.SIGKILL, "sqlite"),
        *(pytest.param(how, "sqlite", marks=pytest.mark.slow) for how in (signal.SIGINT, signal.SIGTERM)),
        pytest.param(signal.SIGKILL, "postgresql", marks=pytest.mark.slow),
    ],
    indirect=["store"],
)
def test_a_refresh_that_is_stopped_goes_on(made: Zoo, how: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    made_catalogue.write(networks={f"n{i:02d}": [3, 4 + i] for i in range(40)})
    monkeypatch.setenv("MADE_SECONDS", "0.15")
    with subprocess.Popen(
        command(made, "-vv", *REFRESH), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stderr is not None
        n_done = 0
        for line in one.stderr:
            n_done += " standardized " in line
            if n_done == 28:
                break
        children = psutil.Process(one.pid).children(recursive=True)
        assert children
        one.send_signal(how)
        message = one.stderr.read()  # ends when the last worker has closed it
        assert one.stdout is not None
        assert one.stdout.read() == ""
    assert one.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[how], message
    assert "Traceback" not in message
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    assert made.view().entries.all == []  # readers see nothing of it
    monkeypatch.setenv("MADE_SECONDS", "0")
    report = refreshed(made)
    assert report.resumed >= 10
    assert report.resumed + report.standardized == 40
    assert len(report.new) == 40
    with made.store.reading() as connection:
        statuses = [run["status"] for run in runs.last_runs(connection, 2)]
    assert statuses == ["done", {signal.SIGKILL: "lost"}.get(how, "interrupted")]


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_a_second_refresh_is_refused_while_a_live_one_is_at_it(made: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    made_catalogue.write(networks={f"n{i}": [3, 4 + i] for i in range(40)})
    monkeypatch.setenv("MADE_SECONDS", "2")
    with subprocess.Popen(
        command(made, "-vv", *REFRESH), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stderr is not None
        assert any(" standardized " in line for line in one.stderr)
        two = forked(made, *REFRESH)
        assert two.returncode == 75
        assert f"process {one.pid} on " in two.stderr.decode()
        assert "run 1 is at it since 20" in two.stderr.decode()
        with pytest.raises(LeaseHeldError):
            refreshed(made)
        assert made.status()["last_run"]["status"] == "running"
        one.kill()
    # dead, it is taken over at once
    assert made.status()["last_run"]["status"] == "lost"
    monkeypatch.setenv("MADE_SECONDS", "0")
    assert refreshed(made).status == "done"


def test_a_holder_that_lost_its_lease_can_write_no_more(made: Zoo) -> None:
    made_catalogue.write(networks={"a": [3, 4]})

    def lose_it() -> None:
        with lease_module.leased(made.store, detail="", versions={}) as held:
            with made.store.writing() as connection:  # as if this process had been thought dead
                connection.exec_driver_sql("UPDATE lease SET holder = ''")
                runs.take(connection, "here")
            with held.writing():
                pytest.fail("a write under an old token must be refused")

    with pytest.raises(LeaseLostError):
        lose_it()
    with made.store.reading() as connection:
        assert runs.lease_row(connection)["holder"]  # the new holder still has it


@pytest.mark.parametrize(
    ("holder", "age", "is_dead"),
    [
        ("elsewhere", 59, False),
        ("elsewhere", 61, True),
        ("here", 86_400, False),  # a clock that jumped by a day kills nobody
        ("gone", 0, True),
        ("its number was given again", 0, True),
    ],
)
def test_who_counts_as_dead(made: Zoo, holder: str, age: int, is_dead: bool) -> None:
    from dataclasses import asdict

    from transfer.processes import this_process

    mine = this_process()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    who = {
        "elsewhere": replace(mine, machine="other"),
        "here": mine,
        "gone": replace(mine, pid=gone.pid),
        "its number was given again": replace(mine, started=mine.started - 100),
    }[holder]
    with made.store.writing() as connection:
        heartbeat = connection.execute(select(now())).scalar_one() - timedelta(seconds=age)
        connection.execute(update(LEASE).values(holder=json.dumps(asdict(who)), heartbeat_utc=heartbeat))
    with made.store.reading() as connection:
        assert runs.lease_row(connection)["is_dead"] is is_dead


@only_in_a_file
def test_a_long_item_is_no_reason_to_count_as_dead(made: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "_BEAT_SECONDS", 0.1)
    with lease_module.leased(made.store, detail="", versions={}) as held:
        with made.store.writing() as connection:
            connection.exec_driver_sql("UPDATE lease SET heartbeat_utc = '2000-01-01 00:00:00'")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with made.store.reading() as connection:
                if runs.lease_row(connection)["heartbeat_utc"].year > 2000:
                    break
            time.sleep(0.05)
        else:
            pytest.fail("no heartbeat")
        with held.writing() as connection:
            held.end(connection, "done")
