"""The nightly job, on catalogues that change, harm and fail."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import made_catalogue
import nets
import pytest
from indexes import SMALL_ZOO
from refreshing import REFRESH, forked, only_in_a_file, refreshed
from safetensors.torch import save_file

from zoo_index.catalogues.catalogue import CatalogueEntry, Request, open_catalogue
from zoo_index.catalogues.description import FEATURES
from zoo_index.catalogues.timm_catalogue import aliases, build
from zoo_index.database import runs
from zoo_index.engines import open_engine
from zoo_index.errors import CatalogueError, UnknownNameError
from zoo_index.jobs import workers
from zoo_index.jobs.refresh import refresh
from zoo_index.zoo.zoo import Zoo


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
    report = zoo.refresh(only=SMALL_ZOO, processes=1)
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
@pytest.mark.parametrize(
    "harms", [("raise", "kill"), pytest.param(tuple(HARMFUL), marks=pytest.mark.slow)], ids=len
)
def test_harm_costs_the_culprit_only(made: Zoo, harms: tuple[str, ...]) -> None:
    healthy = {f"n{i}": [3, 4 + i] for i in range(12)}
    made_catalogue.write(networks={**healthy, **{f"z_{harm}": harm for harm in harms}, "z_hang": "hang"})
    report = refreshed(made, "local", seconds=5, processes=2)
    assert report.status == "partial"
    assert set(report.new) == set(healthy)
    assert report.failed.keys() == {"z_hang", *(f"z_{harm}" for harm in harms)}
    for harm in harms:
        assert HARMFUL[harm] in report.failed[f"z_{harm}"], report.failed
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


@only_in_a_file
def test_partial_has_an_exit_status_of_its_own(made: Zoo) -> None:
    made_catalogue.write(networks={"a": [3, 4], "b": "raise"})
    done = forked(made, *REFRESH, "-j", "1")
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert (report["status"], list(report["failed"])) == ("partial", ["b"])


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
    assert any("1 architecture is of an older standardization" in line for line in wrong)
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
    assert forked(made, *REFRESH, "-j", "1", "--metrics-file", str(file)).returncode == 3
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
