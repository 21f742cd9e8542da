"""Published results: read whole or not at all, kept over refreshes, and used where sources tie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from indexes import SMALL_ZOO, address

from transfer.errors import InputError
from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.commands.main import cli
from zoo_index.database import runs
from zoo_index.database.publishing import Listing, publish
from zoo_index.index.metrics import read_results
from zoo_index.zoo.zoo import Zoo


@pytest.fixture
def zoo(zoo_everywhere: Zoo) -> Zoo:
    """On every kind of database."""
    return zoo_everywhere


HEADER = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation\n"


def line(model: str, size: int, top1: float) -> str:
    return f'{model},{size},{top1},{100 - top1},{min(top1 + 10, 100)},1.0,"1,014.45",1.000,bicubic\n'


def results(folder: Path, *lines: str, name: str = "results-imagenet.csv") -> Path:
    path = folder / name
    path.write_text(HEADER + "".join(lines))
    return path


def entries_of(zoo: Zoo, architecture: str) -> list[str]:
    return [entry["name"] for entry in zoo.entries() if entry["architecture"] == architecture]


def test_of_several_sizes_the_best_counts(tmp_path: Path) -> None:
    path = results(
        tmp_path, line("a.x", 224, 70.0), line("a.x", 288, 71.5), line("a.x", 320, 71.0), line("b", 1, 0)
    )
    assert read_results(path) == [
        {"name": "a.x", "top1": 71.5, "top5": 81.5, "image_size": 288},
        {"name": "b", "top1": 0.0, "top5": 10.0, "image_size": 1},
    ]


def test_results_are_shown_and_outlive_a_refresh(zoo: Zoo, tmp_path: Path) -> None:
    (name,) = entries_of(zoo, "test_vit")
    generation = zoo.status()["generation"]
    report = zoo.import_metrics(results(tmp_path, line(name, 160, 61.25), line("gone.tag", 224, 80.0)))
    assert (report.dataset, report.results, report.matched) == ("imagenet", 2, 1)
    assert report.unmatched == ("gone.tag",)
    assert zoo.status()["generation"] == generation + 1
    assert zoo.status()["metrics"] == {"imagenet": 2}
    assert zoo.entry(name)["top1"] == 61.25
    assert zoo.recommend("test_vit", k=1).results[0].top1 == 61.25
    zoo.refresh(only=SMALL_ZOO, processes=1)
    assert zoo.entry(name)["top1"] == 61.25
    assert {entry["name"] for entry in zoo.entries() if entry["top1"] is not None} == {name}


def test_results_of_other_data_are_kept_apart_and_order_nothing(zoo: Zoo, tmp_path: Path) -> None:
    (name,) = entries_of(zoo, "test_vit")
    zoo.import_metrics(results(tmp_path, line(name, 160, 50.0), name="results-imagenet-real.csv"))
    assert zoo.entry(name)["top1"] is None
    zoo.import_metrics(results(tmp_path, line(name, 160, 40.0)))
    zoo.import_metrics(results(tmp_path, line(name, 160, 30.0), name="anything.csv"), "imagenet")
    assert zoo.entry(name)["top1"] == 30.0  # the later file replaces the earlier one
    assert zoo.status()["metrics"] == {"imagenet": 1, "imagenet-real": 1}


def test_the_better_weights_of_an_architecture_come_first(zoo: Zoo, tmp_path: Path) -> None:
    (known,) = entries_of(zoo, "test_vit")
    both = [CatalogueEntry(name, "test_vit", name.partition(".")[2]) for name in (known, "test_vit.other")]
    other = both[1]
    with zoo.store.writing() as connection:
        publish(connection, [Listing("timm", both, is_whole=False)])

    def first() -> str:
        return zoo.recommend("test_vit", k=1).results[0].name

    assert first() == known
    zoo.import_metrics(results(tmp_path, line(known, 224, 70.0), line(other.name, 224, 75.0)))
    assert first() == other.name
    zoo.import_metrics(results(tmp_path, line(known, 224, 60.0)))
    assert first() == known  # known before unknown


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no model and no top1"),
        ("a,b\n1,2\n", "no model"),
        (HEADER, "none below its header"),
        (HEADER + line("nobody.knows", 224, 70.0), "none of its 1 names"),
        (HEADER + line("test_vit.r160_in1k", 224, 101.0), "line 2"),
        (HEADER + "test_vit.r160_in1k,224,high\n", "line 2"),
        (HEADER + "test_vit.r160_in1k,224,nan\n", "line 2"),
        (HEADER + "test_vit.r160_in1k,wide,60\n", "img_size"),
        (HEADER + "test_vit.r160_in1k,99999999999999999999,60\n", "img_size"),
        (HEADER + "test_vit.r160_in1k,160,0.8\n", "in percent"),
        (HEADER + ",224,60\n", "line 2"),
        (HEADER + "test_vit.r160_in1k\n", "line 2"),
        (b"\xff\xfe\x00\x01", "no such text"),
    ],
)
def test_a_bad_file_is_refused_and_changes_nothing(
    zoo: Zoo, tmp_path: Path, content: str | bytes, words: str
) -> None:
    (name,) = entries_of(zoo, "test_vit")
    zoo.import_metrics(results(tmp_path, line(name, 160, 61.0)))
    before = zoo.status()
    bad = tmp_path / "bad.csv"
    bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words):
        zoo.import_metrics(bad, "imagenet")
    assert zoo.status() == before
    assert zoo.entry(name)["top1"] == 61.0


def test_on_the_command_line(zoo: Zoo, tmp_path: Path) -> None:
    (name,) = entries_of(zoo, "test_vit")
    path = results(tmp_path, line(name, 160, 61.0), line("gone.tag", 224, 80.0))
    command = ["--db", address(zoo.store), "metrics", "import", str(path)]
    told = CliRunner().invoke(cli, command)
    assert told.exit_code == 0
    assert "2 weight sets, 1 in the index" in " ".join(told.stdout.split())
    assert "gone.tag" in told.stdout
    told = CliRunner().invoke(cli, [*command, "--json"])
    assert json.loads(told.stdout)["matched"] == 1
    told = CliRunner().invoke(cli, [*command[:-1], str(tmp_path / "none.csv")])
    assert told.exit_code == 2
    assert "No such file" in told.stderr
    with zoo.store.reading() as connection:
        assert all(run["kind"] != "metrics" for run in runs.last_runs(connection))  # it leaves nothing unfinished


def test_a_size_between_odd_spaces_is_read(zoo: Zoo, tmp_path: Path) -> None:
    (name,) = entries_of(zoo, "test_vit")
    zoo.import_metrics(results(tmp_path, f"{name},160\x1f,61.0\n"))
    assert zoo.entry(name)["top1"] == 61.0
