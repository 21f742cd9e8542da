"""The nightly job, on catalogues that change, harm and fail."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import made_catalogue
import nets
import pytest
from forked_cli import run_cli
from indexes import SMALL_ZOO, address
from safetensors.torch import save_file
from sqlalchemy import select, update

from zoo_index.catalogues.catalogue import CATALOGUES, CatalogueEntry, Request, open_catalogue
from zoo_index.catalogues.description import FEATURES
from zoo_index.catalogues.timm_catalogue import aliases, build
from zoo_index.database import runs
from zoo_index.database.clock import now
from zoo_index.database.schema import LEASE
from zoo_index.database.store import Store
from zoo_index.engines import open_engine
from zoo_index.errors import CatalogueError, LeaseHeldError, LeaseLostError, UnknownNameError
from zoo_index.jobs import lease as lease_module
from zoo_index.jobs import workers
from zoo_index.jobs.refresh import RefreshReport, refresh
from zoo_index.zoo.zoo import Zoo

ROOT = Path(__file__).parents[3]


def names(path: Path | str, table: str = "architecture", catalogue: str = "timm") -> set[str]:
    query = f"SELECT name FROM {table} WHERE catalogue = ? AND born IS NOT NULL AND died IS NULL"
    with sqlite3.connect(path) as raw:
        return {row[0] for row in raw.execute(query, (catalogue,))}


def test_a_refresh_indexes_what_it_was_asked_for(small_index: Path) -> None:
    assert names(small_index) == set(SMALL_ZOO)
    assert names(small_index, "entry") >= {"test_vit.r160_in1k", "efficientnet_lite0.ra_in1k"}


def test_timm_lists_every_pretrained_entry_with_its_default_first() -> None:
    entries = open_catalogue("timm").entries(Request())
    assert len(entries) > 1800
    assert len({entry.name for entry in entries}) == len(entries)
    first = {}
    for entry in entries:
        first.setdefault(entry.architecture, entry)
    assert first["resnet50"].name == "resnet50.a1_in1k"
    resnet = first["resnet50"]
    assert (resnet.license, resnet.input_size, resnet.n_classes) == ("apache-2.0", "3x224x224", 1000)
    assert (resnet.family, resnet.hub_id) == ("resnet", "timm/resnet50.a1_in1k")
    assert aliases()["convnext_tiny_in22k"] == "convnext_tiny.fb_in22k"


def test_an_older_version_is_standardized_again(zoo: Zoo) -> None:
    with sqlite3.connect(zoo.store.name) as raw:
        raw.execute("UPDATE architecture SET catalogue_version = '0.9' WHERE name = 'test_vit'")
        raw.execute("UPDATE architecture SET features = ? WHERE name = 'test_resnet'", (FEATURES - 1,))
    report = zoo.refresh(only=SMALL_ZOO)
    assert (report.standardized, report.changed, report.generation) == (2, [], 1)
    assert zoo.verify() == []


def test_a_network_that_cannot_be_built_is_noted_and_the_others_stand() -> None:
    entries = [
        CatalogueEntry(name="nosuch.x", architecture="nosuch"),
        CatalogueEntry(name="test_vit.x", architecture="test_vit"),
    ]
    found = dict(workers.standardize_entries(open_catalogue("timm"), entries, open_engine("inline"), None))
    assert "UnknownNameError" in str(found[entries[0]])
    assert not isinstance(found[entries[1]], str)


def test_unknown_timm_names_get_the_nearest(zoo: Zoo) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*resnet50"):
        build("resnet5O")
    before = zoo.status()["last_run"]["id"]
    with pytest.raises(UnknownNameError, match=r"did you mean .*resnet50"):
        zoo.refresh(only=["resnet5O"])
    assert zoo.status()["last_run"]["id"] == before  # nothing was begun


# --- a catalogue that changes ----------------------------------------------------------------------------


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue that `made_catalogue.write` changes."""
    monkeypatch.setenv("MADE_CATALOGUE", str(tmp_path / "made.json"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT / "tests" / "support", ROOT / "tests", ROOT))))
    monkeypatch.setitem(CATALOGUES, "made", "made_catalogue")


@pytest.fixture
def made(catalogue: None, store: Store) -> Iterator[Zoo]:
    """A zoo beside that catalogue, on every kind of database."""
    zoo = Zoo(address(store))
    yield zoo
    zoo.store.close()


only_in_a_file = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
"""For tests of what the kind of database makes no difference to."""


def refreshed(zoo: Zoo, engine: str = "inline", seconds: float | None = None, **options: Any) -> RefreshReport:
    return refresh(
        zoo.store, engine=open_engine(engine, **options), seconds=seconds, catalogues=["made"], progress=None
    )


def test_each_night_tells_what_changed(made: Zoo) -> None:
    made_catalogue.write(networks={"a": [3, 4], "b": [3, 5], "c": [3, 6]})
    first = refreshed(made)
    assert (first.new, first.status, first.generation) == (["a", "b", "c"], "done", 1)
    assert first.versions["made"] == "1"
    assert first.versions["features"] == str(FEATURES)
    # the same again: a run on record, and nothing else
    second = refreshed(made)
    assert (second.unchanged, second.standardized, second.generation) == (3, 0, 1)
    assert second.run == first.run + 1
    # the next version: one gone, one renamed, one changed, one new, one the same
    made_catalogue.write(version="2", networks={"a": [3, 4], "e": [3, 5], "d": [3, 8], "c": [3, 9]})
    third = refreshed(made)
    assert (third.new, third.changed, third.retired, third.renamed) == (["e", "d"], ["c"], ["b"], {"b": "e"})
    assert (third.standardized, third.generation) == (4, 2)
    assert made.entry("b")["name"] == "e.x"
    assert made.diff().new == ("made/d", "made/e")
    with made.store.reading() as connection:
        run, *_ = runs.last_runs(connection)
    counts = {key: run[key] for key in ("n_new", "n_changed", "n_unchanged", "n_retired", "n_failed")}
    assert counts == {"n_new": 2, "n_changed": 1, "n_unchanged": 0, "n_retired": 1, "n_failed": 0}
    assert (run["status"], run["generation"], run["versions"]["made"]) == ("done", 2, "2")
    assert run["started_utc"] <= run["heartbeat_utc"] <= run["finished_utc"]
    assert made.verify() == []


HARMFUL = {"raise": "ZeroDivisionError", "exit": "ended with status 9", "kill": "SIGKILL", "crash": "SIGSEGV"}


@only_in_a_file
def test_harm_costs_the_culprit_only(made: Zoo) -> None:
    healthy = {f"n{i}": [3, 4 + i] for i in range(12)}
    made_catalogue.write(networks={**healthy, **{f"z_{harm}": harm for harm in HARMFUL}, "z_hang": "hang"})
    report = refreshed(made, "local", seconds=5, processes=2)
    assert report.status == "partial"
    assert set(report.new) == set(healthy)
    assert report.failed.keys() == {"z_hang", *(f"z_{harm}" for harm in HARMFUL)}
    for harm, words in HARMFUL.items():
        assert words in report.failed[f"z_{harm}"], report.failed
    assert "longer than 5" in report.failed["z_hang"]
    kept = {failure["name"]: failure for failure in made.status()["failed"]}
    assert kept.keys() == report.failed.keys()
    assert made.recommend(nets.mlp(3, 4), k=1).results[0].architecture == "n0"
    # next time they alone are tried again, and all but one are well
    well = {name: [3, 90 + i] for i, name in enumerate(report.failed) if name != "z_raise"}
    made_catalogue.write(networks={**healthy, **well, "z_raise": "raise"})
    again = refreshed(made)
    assert (set(again.new), again.unchanged, list(again.failed)) == (set(well), 12, ["z_raise"])
    assert [(failure["name"], failure["n_tries"]) for failure in made.status()["failed"]] == [("z_raise", 2)]
    # what is no longer listed is forgotten
    made_catalogue.write(networks=healthy)
    assert refreshed(made).status == "done"
    assert made.status()["failed"] == []


@only_in_a_file
@pytest.mark.parametrize("engine", ["inline", "local"])
def test_an_entry_of_which_there_is_nothing_is_no_failure(
    made: Zoo, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    made_catalogue.write(networks={"a": [3, 4], "b": "raise"})
    assert refreshed(made).status == "partial"
    made_catalogue.write(networks={"a": [3, 4], "b": "nothing", "c": "nothing"})
    with caplog.at_level("INFO", logger="zoo_index"):
        report = refreshed(made, engine)
    assert (report.status, report.failed, report.new) == ("done", {}, [])
    told = [record.details for record in caplog.records if record.message == "passed over"]
    assert {(each["architecture"], each["reason"]) for each in told} == {
        (name, "there is nothing to be had") for name in "bc"
    }
    assert made.status()["failed"] == []  # that of before is forgotten
    assert [entry["architecture"] for entry in made.entries()] == ["a"]
    made_catalogue.write(networks={"a": [3, 4], "b": [3, 5], "c": "nothing"})
    assert refreshed(made).new == ["b"]
    assert made.verify() == []


def test_a_catalogue_that_fails_leaves_the_others_and_what_it_had(made: Zoo) -> None:
    made_catalogue.write(networks={"a": [3, 4]})
    refreshed(made)
    made_catalogue.write(networks={}, broken=True)
    report = refresh(made.store, engine=open_engine("inline"), seconds=None, catalogues=["made", "pypi"])
    assert report.status == "partial"
    assert "no such catalogue today" in report.failed["made"]
    assert report.retired == []
    assert {entry["catalogue"] for entry in made.entries()} >= {"made"}
    (kept,) = made.status()["failed"]
    assert (kept["catalogue"], kept["name"]) == ("made", "*")
    assert "no such catalogue today" in kept["error"]
    with pytest.raises(CatalogueError, match="'made' to be listed, it could not be listed: ConnectionError"):
        refresh(made.store, engine=open_engine("inline"), seconds=None, catalogues=["made"], only=["a"])
    made_catalogue.write(networks={"a": [3, 4]})
    assert refreshed(made).status == "done"
    assert made.status()["failed"] == []


def test_an_interrupt_that_a_library_made_something_else_of_is_one(
    made: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_catalogue.write(networks={"a": [3, 4]})

    def interrupted(request: Request) -> list[CatalogueEntry]:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise RuntimeError("Error calling __set_name__") from error

    monkeypatch.setattr(made_catalogue, "CATALOGUE", replace(made_catalogue.CATALOGUE, entries=interrupted))
    with pytest.raises(KeyboardInterrupt):
        refreshed(made)


@only_in_a_file
def test_an_old_revision_stands_while_the_new_one_cannot_be_built(made: Zoo) -> None:
    made_catalogue.write(networks={"a": [3, 4]})
    refreshed(made)
    made_catalogue.write(version="2", networks={"a": "raise"})
    assert refreshed(made).status == "partial"
    assert [entry["name"] for entry in made.entries()] == ["a.x"]


def command(zoo: Zoo, *arguments: str) -> list[str]:
    """Run the command line on the made catalogue, in a process of its own that heeds interrupts."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from zoo_index.catalogues import catalogue\n"
        "catalogue.CATALOGUES['made'] = 'made_catalogue'\n"
        "from zoo_index.jobs import refresh\n"
        "refresh.refresh.__kwdefaults__['catalogues'] = ('made',)\n"
        "from zoo_index.commands.main import main; main()"
    )
    return [sys.executable, "-c", code, "--db", address(zoo.store), *arguments]


def forked(zoo: Zoo, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The same in a copy of this process."""

    def read_the_made_catalogue() -> None:
        assert refresh.__kwdefaults__ is not None
        refresh.__kwdefaults__["catalogues"] = ("made",)

    return run_cli("--db", address(zoo.store), *arguments, before=read_the_made_catalogue)


REFRESH = ("index", "refresh", "--no-snapshot", "-j", "2", "--json")


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


@only_in_a_file
def test_partial_has_an_exit_status_of_its_own(made: Zoo) -> None:
    made_catalogue.write(networks={"a": [3, 4], "b": "raise"})
    done = forked(made, *REFRESH)
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert (report["status"], list(report["failed"])) == ("partial", ["b"])


# --- the lease -------------------------------------------------------------------------------------------


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


# --- local entries ---------------------------------------------------------------------------------------


def test_local_entries_of_an_older_standardization_are_standardized_again_or_reported(
    zoo: Zoo, tmp_path: Path
) -> None:
    for name in ("kept", "gone"):
        save_file(nets.conv_net(4, 3).state_dict(), tmp_path / f"{name}.safetensors")
        zoo.add(tmp_path / f"{name}.safetensors", name)
    with sqlite3.connect(zoo.store.name) as raw:
        raw.execute(
            "UPDATE architecture SET features = ?, fingerprint = 'old' WHERE catalogue = 'local'", (FEATURES - 1,)
        )
    (tmp_path / "gone.safetensors").unlink()
    wrong = zoo.verify()
    assert any("'gone' is of an older standardization, and its file" in line for line in wrong)
    assert any("1 architectures are of an older standardization" in line for line in wrong)
    report = refresh(zoo.store, engine=open_engine("inline"), seconds=None, catalogues=["pypi"])
    assert (report.changed, report.stale) == (["kept"], ["gone"])
    assert {entry["name"] for entry in zoo.entries() if entry["catalogue"] == "local"} == {"kept", "gone"}
    assert len(zoo.verify()) == 2  # of the lost one: its age, and that nobody can say whether it is right
    zoo.remove("gone")
    assert zoo.verify() == []
    with pytest.raises(UnknownNameError, match="added with zoo add"):
        zoo.remove("gone")
    with pytest.raises(UnknownNameError, match="added with zoo add"):
        zoo.remove("test_vit")


def test_a_local_entry_comes_while_a_refresh_is_at_it(made: Zoo, tmp_path: Path) -> None:
    save_file(nets.conv_net(4, 3).state_dict(), tmp_path / "mine.safetensors")
    made_catalogue.write(networks={"a": [3, 4]})
    refreshed(made)
    made_catalogue.write(networks={"a": [3, 4], "b": [3, 5], "c": [3, 6]})

    def add(_phase: str, done: int, _planned: int) -> None:
        if done == 1:
            made.add(tmp_path / "mine.safetensors", "mine")

    report = refresh(made.store, engine=open_engine("inline"), seconds=None, catalogues=["made"], progress=add)
    assert report.generation == 3
    assert {entry["name"] for entry in made.entries()} == {"a.x", "b.x", "c.x", "mine"}
    assert made.status()["embedded"] == 4
    assert made.verify() == []


@only_in_a_file
def test_metrics_for_prometheus_are_written_whole(made: Zoo, tmp_path: Path) -> None:
    made_catalogue.write(networks={"a": [3, 4], "b": "raise"})
    file = tmp_path / "zoo.prom"
    assert forked(made, *REFRESH, "--metrics-file", str(file)).returncode == 3
    figures = dict(line.split() for line in file.read_text().splitlines() if not line.startswith("#"))
    assert {key: float(figures[f"zoo_{key}"]) for key in ("refresh_success", "refresh_new", "refresh_failed")} == {
        "refresh_success": 0,
        "refresh_new": 1,
        "refresh_failed": 1,
    }
    assert abs(float(figures["zoo_refresh_timestamp_seconds"]) - time.time()) < 600
    assert [path.name for path in tmp_path.glob("*prom*")] == ["zoo.prom"]
    refused = forked(made, *REFRESH, "--metrics-file", str(tmp_path / "none" / "zoo.prom"))
    assert refused.returncode == 2
    assert b"existing folder" in refused.stderr
    Path(made.store.name).write_bytes(b"no database any more" * 1000)
    assert forked(made, *REFRESH, "--metrics-file", str(file)).returncode == 2
    assert "zoo_refresh_success 0\n" in file.read_text()
    assert "zoo_index" not in file.read_text()
