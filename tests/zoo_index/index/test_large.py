"""What large indexes rely on: shortlists with filters, tables of some architectures, many rows at once."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from transfer.structure.records import Architecture
from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.description import describe
from zoo_index.database import descriptions, embeddings, loading, packing, queries
from zoo_index.database.opening import open_store
from zoo_index.database.publishing import Listing, publish
from zoo_index.errors import NothingFoundError, UnknownNameError
from zoo_index.index import embedding
from zoo_index.recommending.answers import Filters
from zoo_index.zoo.zoo import Zoo

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from _generator import generate


@pytest.fixture
def zoo(zoo_everywhere: Zoo) -> Zoo:
    """On every kind of database."""
    return zoo_everywhere


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat an index of more than three architectures as large, and shortlist three."""
    monkeypatch.setattr(embedding, "N_CANDIDATES", 3)
    monkeypatch.setattr(embedding, "MOST_EXACT", 3)


@pytest.fixture
def families(zoo: Zoo) -> list[list[Architecture]]:
    with zoo.store.reading() as connection:
        ids = embeddings.embedded_ids(connection, 1).tolist()
        return [[architecture] for architecture in loading.load_architectures(connection, ids, "dpiat").values()]


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    "filters",
    [Filters(family="resnet"), Filters(max_params=400_000), Filters(catalogue="pypi"), Filters(search="vit")],
)
def test_a_shortlist_grows_until_enough_of_it_passes_the_filters(zoo: Zoo, filters: Filters) -> None:
    short, exact = (zoo.recommend("test_convnext", k=2, filters=filters, exact=exact) for exact in (False, True))
    assert short.results == exact.results
    assert all(filters.admits(zoo.entry(result.name)) for result in short.results)


@pytest.mark.usefixtures("large")
def test_filters_that_nothing_passes_are_named(zoo: Zoo) -> None:
    with pytest.raises(NothingFoundError, match="license=none-such"):
        zoo.recommend("test_vit", filters=Filters(license="none-such"))


@pytest.mark.usefixtures("large")
def test_more_results_than_candidates_are_found(zoo: Zoo) -> None:
    assert len(zoo.recommend("test_vit", k=5).results) == 5


@pytest.mark.usefixtures("large")
def test_the_published_measure_ranks_everything(zoo: Zoo) -> None:
    answer = zoo.recommend("test_vit", measure="paper")
    assert answer.n_scored == answer.n_considered > 3


def test_a_table_of_some_architectures_is_that_part_of_the_whole(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        whole = loading.load_table(connection, "dpiat", 1)
        for ids in (whole.ids[:1], whole.ids[1::2], whole.ids, whole.ids[:0]):
            part = loading.load_table(connection, "dpiat", ids)
            assert part.ids.tolist() == ids.tolist()
            target = loading.load_architecture(connection, int(whole.ids[0]), "dpiat")
            assert target is not None
            expected = embedding.target_row(target, whole)[whole.rows(ids)]
            np.testing.assert_array_equal(embedding.target_row(target, part), expected)


def test_many_rows_at_once_are_those_one_by_one(
    tmp_path: Path, families: list[list[Architecture]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_MOST_VALUES", 7)  # many queries
    made = [describe(f"a{i}", a, None, n) for i, (a, n) in enumerate(generate(families, 12, seed=3))]
    stores = [open_store(tmp_path / name) for name in ("one.db", "many.db")]
    listing = Listing("made", [CatalogueEntry(d.name, d.name) for d in made], is_whole=True)
    with stores[0].writing() as connection:
        assert sum(descriptions.prepare(connection, "made", "1", [description]) for description in made) == len(
            made
        )
        publish(connection, [listing])
    with stores[1].writing() as connection:
        assert descriptions.prepare(connection, "made", "1", made) == len(made)
        publish(connection, [listing])
        assert descriptions.prepare(connection, "made", "2", made) == 0  # again: what stands is the same
    for store in stores:
        with store.reading() as connection:
            assert queries.counts(connection, 1)["architectures"] == len(made)
            stored = loading.load_architectures(
                connection, loading.architecture_ids(connection, 1).tolist(), "dpiat"
            )
        prints = [architecture.fingerprint for architecture in stored.values()]
        assert prints == [description.dpiat.fingerprint for description in made]


def test_generated_architectures_are_distinct_and_the_same_for_a_seed(families: list[list[Architecture]]) -> None:
    first, again = (list(generate(families, 60, seed=1)) for _ in range(2))
    other = list(generate(families, 60, seed=2))
    prints = [architecture.fingerprint for architecture, _ in first]
    assert len(set(prints)) == 60
    assert prints == [architecture.fingerprint for architecture, _ in again]
    assert prints != [architecture.fingerprint for architecture, _ in other]
    assert all(n > 0 and architecture.n_scoring > 0 for architecture, n in first)
    for a, b in itertools.pairwise(first[0][0].layers()):  # every tensor of a layer has the outputs of the first
        for layer in (a, b):
            assert all(t.shape[:1] in (layer.tensors[0].shape[:1], ()) for t in layer.tensors)


def test_of_many_names_those_that_begin_alike_are_looked_at(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        everything = queries.names_like(connection, 1, "whatever")
        assert "test_vit" in everything
        assert queries.names_like(connection, 1, "test_vitt", len(everything)) == everything
        some = queries.names_like(connection, 1, "test_vitt", 4)
        assert len(some) == 4
        assert all(name.startswith("tes") for name in some)
        assert queries.names_like(connection, 1, "tanything", 4)[0].startswith("t")
        assert queries.names_like(connection, 1, "xyz", 4) == []
    with pytest.raises(UnknownNameError, match="did you mean test_vit"):
        zoo.entry("test_vitt")
