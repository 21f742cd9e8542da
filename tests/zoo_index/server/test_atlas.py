"""The columns behind the map: filters as everywhere else, points and cells, a large index in cells."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from zoo_index.commands.main import cli
from zoo_index.database.store import Store
from zoo_index.index import layout
from zoo_index.index.layout import Layout, lay_out, load_layout, map_path, open_layout
from zoo_index.recommending.answers import Filters
from zoo_index.server.atlas import Atlas, Wanted
from zoo_index.server.exploring import explore
from zoo_index.zoo.zoo import Zoo


def entry(i: int, **values: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "architecture_id": i // 2 + 1,
        "name": f"net{i // 2}.tag{i}",
        "architecture": f"net{i // 2}",
        "family": ("resnet", "vgg", "")[i // 2 % 3],
        "catalogue": ("timm", "folder", "transformers")[i // 4 % 3],
        "license": ("mit", None, "CC-BY-NC-4.0", "apache-2.0")[i % 4],
        "task": (None, "detection")[i % 2],
        "dataset": ("coco", None, "imagenet-1k")[i % 3],
        "n_params": 10 ** (i // 2 % 6),
        "n_bytes": None,
        "downloads": None,
        "top1": None if i % 3 else float(i),
        "position": i % 2,
    }
    return {**known, **values}


ENTRIES = [entry(i) for i in range(48)]
IDS = np.arange(1, 25)
PLACES = np.random.default_rng(0).random((24, 2)).astype(np.float32)
ATLAS = Atlas(3, Layout(IDS, PLACES), ENTRIES, [i % 5 == 0 for i in range(48)])


@pytest.mark.parametrize("search", ["", "NET1", "tag7", "nothing"])
@pytest.mark.parametrize("license_", ["", "mit", "unknown", "permissive", "cc-by-nc-4.0,mit"])
@pytest.mark.parametrize(("least", "most"), [(None, None), (10, None), (100, 10_000)])
def test_filters_mean_what_they_mean_everywhere(
    search: str, license_: str, least: int | None, most: int | None
) -> None:
    for family, catalogue, task, dataset, available in itertools.product(
        ("", "vgg"), ("", "timm", "transformers"), ("", "unknown"), ("", "coco"), (False, True)
    ):
        filters = Filters(
            license_ or None, most, least, family or None, search or None, catalogue or None, task or None,
            dataset or None,
        )  # fmt: skip
        expected = [i for i, one in enumerate(ENTRIES) if filters.admits(one) and (i % 5 == 0 or not available)]
        wanted = Wanted(
            families=(family,) if family else (),
            licenses=tuple(license_.split(",")) if license_ else (),
            catalogues=(catalogue,) if catalogue else (),
            tasks=(task,) if task else (),
            datasets=(dataset,) if dataset else (),
            min_params=least,
            max_params=most,
            search=search,
            available=available,
        )
        assert np.flatnonzero(ATLAS.matching(wanted)).tolist() == expected


def test_what_is_in_sight_is_shown_as_points_or_as_cells() -> None:
    window = (0.2, 0.1, 0.7, 0.9)
    wanted = Wanted(catalogues=("timm", "folder", "transformers"))
    inside = [
        i for i, (x, y) in enumerate(PLACES.tolist()) if window[0] <= x <= window[2] and window[1] <= y <= window[3]
    ]
    assert 5 < len(inside) < 24
    points = ATLAS.picture(wanted, window)
    assert points["kind"] == "points"
    assert points["points"]["name"] == [f"net{i}" for i in inside]
    assert points["shown"] == 24
    cells = ATLAS.picture(wanted, window, cells=4, most=3)
    assert (cells["kind"], sum(cells["cells"]["n"])) == ("cells", len(inside))
    x, y = (np.array(cells["cells"][axis]) / 10_000 for axis in "xy")
    assert ((x >= window[0]) & (x <= window[2]) & (y >= window[1]) & (y <= window[3])).all()
    assert ATLAS.picture(wanted, (0.0, 0.0, 1.0, 1.0), cells=1, most=1)["cells"]["n"] == [24]
    largest = ATLAS.family.names[ATLAS.picture(wanted, cells=1, most=1)["cells"]["family"][0]]
    assert largest in ("resnet", "vgg", "unknown")
    assert ATLAS.picture(wanted, (0.9, 0.9, 0.1, 0.1))["in_window"] == 0


def test_counts_are_of_all_other_filters() -> None:
    only = ATLAS.picture(Wanted(families=("vgg",), max_params=1000))
    both = ATLAS.picture(Wanted(max_params=1000))
    assert only["counts"] == both["counts"]
    assert only["shown"] == both["counts"][ATLAS.family.names.index("vgg")]
    assert sum(both["counts"]) == both["shown"]


def test_names_that_two_catalogues_have_stay_apart() -> None:
    twins = [
        entry(0, catalogue="folder"),
        entry(2, architecture="net0", architecture_id=2, catalogue="timm"),
        entry(4, architecture="net0", architecture_id=3, catalogue="folder"),
        entry(6, architecture="folder:net0", architecture_id=4, catalogue="timm"),
    ]
    atlas = Atlas(1, Layout(IDS[:2], PLACES[:2]), twins, [False] * 4)
    assert len(set(atlas.keys)) == 4
    assert atlas.keys[1] == "net0"
    assert [atlas.row(key) for key in atlas.keys] == [0, 1, 2, 3]
    assert atlas.row("timm:net0") == 1
    assert atlas.row("nothing") is None
    shown = atlas.picture(Wanted())  # the last two have no place
    assert (len(shown["points"]["name"]), shown["shown"]) == (2, 4)


def clusters(n: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Vectors of a few groups, and the group of each."""
    draw = np.random.default_rng(seed)
    centres, group = draw.normal(size=(5, 16)), draw.integers(0, 5, n)
    vectors = centres[group] + 0.1 * draw.normal(size=(n, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), group


@pytest.mark.parametrize("sample", [1000, 60])
def test_what_is_alike_lies_together(monkeypatch: pytest.MonkeyPatch, sample: int) -> None:
    monkeypatch.setattr(layout, "_N_SAMPLE", sample)
    vectors, group = clusters(200)
    places = lay_out(vectors)
    assert places.shape == (200, 2)
    assert ((places >= 0) & (places <= 1)).all()
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(200) * 9
    assert (group[distance.argsort(axis=1)[:, :5]] == group[:, None]).mean() > 0.95
    assert (lay_out(vectors) == places).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 40])
def test_few_and_equal_vectors_have_places_of_their_own(n: int) -> None:
    places = lay_out(np.repeat(np.eye(1, 8, dtype=np.float32), n, axis=0))
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == n


def test_a_map_is_kept_until_the_index_changes(zoo: Zoo) -> None:
    view = zoo.view()
    assert load_layout(zoo.store, view.generation) is None
    made = open_layout(zoo.store, view.generation)
    path = map_path(zoo.store)
    content = path.read_bytes()
    kept = load_layout(zoo.store, view.generation)
    assert kept is not None
    assert (kept.ids == made.ids).all()
    assert (kept.places == made.places).all()
    assert load_layout(zoo.store, view.generation + 1) is None
    for damaged in (
        b"",
        b"{}\n",
        content[:-1],
        content + b"x",
        content[:-4] + b"\0\0\0\0",
        b"[" * 999,
        b'{"n": -1}\n',
    ):
        path.write_bytes(damaged)
        assert load_layout(zoo.store, view.generation) is None
        open_layout(zoo.store, view.generation)
        assert path.read_bytes() == content


def test_where_no_file_can_be_written_the_map_lives_in_memory(zoo: Zoo) -> None:
    path = map_path(zoo.store)
    path.mkdir()
    store: Store = zoo.store
    assert len(open_layout(store, zoo.view().generation).ids) == 7
    assert path.is_dir()


def test_the_file_says_what_it_shows(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "zoo.html"
    done = CliRunner().invoke(cli, ["--db", zoo.store.place, "explore", "--html", str(place), "--max-params", "1M"])
    assert done.exit_code == 0, done.output
    text = place.read_text()
    assert "max_params=1000000" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    for options, told in (
        (["--family", "resnett"], "there is no family 'resnett', did you mean 'resnet'?"),
        (
            ["--license", "apach-2.0", "--catalogue", "tim"],
            "'apache-2.0'?; there is no catalogue 'tim', did you mean",
        ),
        (["--family", "resnet", "--max-params", "1"], "relax them, or see what there is: zoo list"),
    ):
        nothing = CliRunner().invoke(cli, ["--db", zoo.store.place, "explore", "--html", str(place), *options])
        assert nothing.exit_code == 1
        assert told in nothing.output
    assert place.read_text() == text
    monkeypatch.setattr("zoo_index.server.exploring.MOST_TOLD", 3)
    page, n = explore(zoo, Filters())
    assert (n, "too many to tell all of each" in page) == (7, True)
