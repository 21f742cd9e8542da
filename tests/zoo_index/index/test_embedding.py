"""Vectors of architectures: what they are made of, when they are made anew, and the file that serves them."""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indexes import SMALL_ZOO, address
from sqlalchemy import text

from transfer.alignment.tables import code_of, kind_code, padded
from zoo_index.database import embeddings, loading, queries, writes
from zoo_index.database.opening import open_store
from zoo_index.database.publishing import publish
from zoo_index.index import embedding, upkeep, vectors
from zoo_index.zoo.zoo import Zoo


@pytest.fixture
def zoo(zoo_everywhere: Zoo) -> Zoo:
    """On every kind of database."""
    return zoo_everywhere


def n_packages(zoo: Zoo) -> int:
    """Count the networks that come as Python packages."""
    return next(row["architectures"] for row in zoo.status()["catalogues"] if row["catalogue"] == "pypi")


def test_vectors_are_the_same_for_sources_and_targets(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat", 1)
        basis = embeddings.load_basis(connection, 1)
        ids, rows = embeddings.load_vectors(connection, 1, table.ids)
        load = partial(loading.load_architecture, connection, form="dpiat")
        assert ids.tolist() == table.ids.tolist()
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
        for id_, row in zip(ids.tolist(), rows, strict=True):
            np.testing.assert_allclose(embedding.query_vector(load(id_), basis), row, atol=1e-5)


def test_a_profile_adds_up_the_scores_of_layers(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat", 1)
        architecture = loading.load_architecture(connection, int(table.ids[0]), "dpiat")
    assert architecture is not None
    basis = embedding.fit(table)
    expected = []
    for landmark in basis.landmarks:
        total = 0.0
        for layer in architecture.layers():
            if kind_code(layer.kind, layer.dims) == code_of(landmark.kind, landmark.n_dims):
                pairs = zip(padded(layer.kind, layer.dims), landmark.dims, strict=True)
                total += prod(min(a / b, b / a) for a, b in pairs)
        expected.append((total / architecture.n_scoring**0.5) ** 0.5)
    vector = np.array(expected) @ basis.projection[:-1] + basis.projection[-1]
    np.testing.assert_allclose(
        embedding.query_vector(architecture, basis), vector / np.linalg.norm(vector), atol=1e-4
    )


def test_landmarks_are_distinct_and_the_same_for_a_seed(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat", 1)
    first, again, other = (embedding.fit(table, seed=seed) for seed in (0, 0, 1))
    assert first.landmarks == again.landmarks
    assert np.array_equal(first.projection, again.projection)
    assert len(set(first.landmarks)) == len(first.landmarks)
    assert set(first.landmarks) <= set(other.landmarks) or first.landmarks != other.landmarks


def test_recall_counts_the_best_that_a_shortlist_holds(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat", 1)
        load = partial(loading.load_architecture, connection, form="dpiat")
        n = len(table.ids)
        similar = np.stack([embedding.target_row(load(id_), table) for id_ in table.ids.tolist()])
        estimate = partial(embedding.estimate_recall, table, load, k=3, n_targets=n)
        good = np.linalg.cholesky((similar + similar.T) / 2 + np.eye(n)).astype(np.float32)
        assert estimate(good, candidates=3) > 0.9  # the similarity is not quite symmetric
        assert estimate(good, candidates=4) == 1
        assert estimate(np.roll(good, 1, axis=0), candidates=3) < 0.9
        assert estimate(np.zeros((n, 1), dtype=np.float32), candidates=n) == 1


def test_poor_recall_makes_the_index_choose_landmarks_again(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([0.2, 0.5, 0.9, 0.3])
    monkeypatch.setattr(embedding, "estimate_recall", lambda *_args, **_options: next(answers))
    drop_vectors(zoo, "test_resnet")
    monkeypatch.setattr(upkeep, "_REFIT_FRACTION", 1.0)
    embedded = embed_all(zoo)
    assert embedded.n == len(SMALL_ZOO) + n_packages(zoo)
    assert embedded.new_basis is not None
    with zoo.store.writing() as connection:
        publish(connection, [], basis=embedded.new_basis)
    assert zoo.status()["recall"] == 0.9  # the best of three, for the old ones had 0.2
    with zoo.store.reading() as connection:
        assert embeddings.standing_basis(connection, "dpiat", 2) == embedded.new_basis
        basis = embeddings.load_basis(connection, embedded.new_basis)
        table = loading.load_table(connection, "dpiat", 2)
    assert basis.landmarks == embedding.fit(table, seed=1).landmarks


def test_the_vector_file_is_rebuilt_when_it_does_not_fit(zoo: Zoo) -> None:
    path = zoo.store.vector_path
    target = "test_vit2"
    expected = zoo.recommend(target).results
    assert zoo.status()["vectors"] == zoo.view().search.vector_index.kind == "Flat"
    pristine = path.read_bytes()
    random = np.random.default_rng(0)
    for damage in ("flip", "truncate", "missing", "foreign"):
        if damage == "flip":
            data = bytearray(pristine)
            data[int(random.integers(len(data)))] ^= 0xFF
            path.write_bytes(data)
        elif damage == "truncate":
            path.write_bytes(pristine[: len(pristine) // 2])
        elif damage == "missing":
            path.unlink()
        else:
            stamp = vectors.Stamp("another index", 1)
            vectors.save(vectors.build(np.array([1]), np.ones((1, 4), dtype=np.float32)), path, stamp)
        other = Zoo(address(zoo.store))
        assert len(other.view().search.vector_index) == len(SMALL_ZOO) + n_packages(zoo)
        assert [r.name for r in other.recommend(target).results] == [r.name for r in expected]
        assert path.read_bytes() == pristine


@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_of_a_large_file_samples_are_looked_at(
    zoo: Zoo, place: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vectors, "_HASHED_WHOLE", 0)
    monkeypatch.setattr(vectors, "_SAMPLE", 64)
    monkeypatch.setattr(vectors, "_N_SAMPLES", 3)
    path = tmp_path / "vectors.faiss"
    random = np.random.default_rng(0)
    stamp = vectors.Stamp("this index", 1)
    assert vectors.save(vectors.build(np.arange(500), random.normal(size=(500, 8)).astype(np.float32)), path, stamp)
    loaded = vectors.load(path, stamp)
    assert loaded is not None
    assert len(loaded) == 500
    data = bytearray(path.read_bytes())
    data[round(place * (len(data) - 1))] ^= 0xFF
    path.write_bytes(data)
    assert vectors.load(path, stamp) is None
    assert vectors.is_altered(path, stamp)


def test_many_vectors_are_searched_list_by_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vectors, "MOST_FLAT", 999)
    random = np.random.default_rng(0)
    rows = random.normal(size=(8000, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = random.permutation(20_000)[:8000]
    monkeypatch.setattr(vectors, "_PROBED", 0.5)
    monkeypatch.setattr(vectors, "_LISTS_PER_ROOT", 1)
    index = vectors.build(ids, rows)
    assert index.kind == vectors.kind_of(8000) == "IVF89,Flat nprobe=44"
    stamp = vectors.Stamp("this index", 1)
    assert vectors.save(index, tmp_path / "vectors.faiss", stamp)
    loaded = vectors.load(tmp_path / "vectors.faiss", stamp)
    assert loaded is not None
    assert loaded.kind == index.kind
    found = loaded.search(rows[5], 20)
    assert found.tolist() == index.search(rows[5], 20).tolist()
    exact = ids[np.argsort(-(rows @ rows[5]))[:20]]
    assert found[0] == exact[0] == ids[5]
    assert len(set(found.tolist()) & set(exact.tolist())) >= 15
    assert vectors.build(ids[:999], rows[:999]).kind == vectors.kind_of(999) == "Flat"


def test_search_finds_the_largest_inner_products() -> None:
    random = np.random.default_rng(0)
    ids = np.arange(100, 160)
    rows = random.normal(size=(60, 8)).astype(np.float32)
    query = random.normal(size=8).astype(np.float32)
    index = vectors.build(ids, rows)
    order = ids[np.argsort(-(rows @ query))]
    assert index.search(query, 7).tolist() == order[:7].tolist()
    assert len(index.search(query, 99)) == 60


def test_new_architectures_get_vectors_by_the_landmarks_there_are(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zoo.store.reading() as connection:
        old = connection.exec_driver_sql("SELECT * FROM embedding ORDER BY architecture_id").all()
    drop_vectors(zoo, "test_resnet")
    monkeypatch.setattr(upkeep, "_REFIT_FRACTION", 1.0)
    assert embed_all(zoo) == upkeep.Embedded(1)
    assert embed_all(zoo) == upkeep.Embedded(0)
    with zoo.store.reading() as connection:
        assert connection.exec_driver_sql("SELECT * FROM embedding ORDER BY architecture_id").all() == old


def test_a_large_index_is_embedded_part_by_part_and_judged_by_a_sample(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    estimate = embedding.estimate_recall

    def noted(table: loading.StoredTable, *arguments: Any, **options: Any) -> float:
        asked.append((len(table.ids), options["candidates"], options["k"], options["n_targets"]))
        return estimate(table, *arguments, **options)

    monkeypatch.setattr(embedding, "estimate_recall", noted)
    monkeypatch.setattr(embedding, "N_CANDIDATES", 6)
    monkeypatch.setattr(upkeep, "_MOST_SAMPLED", 5)
    monkeypatch.setattr(upkeep, "_PART", 3)
    n = len(SMALL_ZOO) + n_packages(zoo)
    done = []
    drop_vectors(zoo)
    embedded = embed_all(zoo, lambda _phase, now, planned: done.append((now, planned)))
    assert embedded.n == n
    assert embedded.new_basis is not None
    assert done[: -(-n // 3)] == [(min(i + 3, n), n) for i in range(0, n, 3)]
    share = 5 / n
    assert asked[0] == (5, round(6 * share), round(10 * share), min(round(20 / share), 60))
    with zoo.store.reading() as connection:
        basis = embeddings.load_basis(connection, embedded.new_basis)
        table = loading.load_table(connection, "dpiat", 1)
        ids, rows = embeddings.load_vectors(connection, embedded.new_basis, table.ids)
    assert ids.tolist() == table.ids.tolist()
    np.testing.assert_allclose(rows, embedding.source_vectors(table, basis, ids), atol=1e-6)


def test_many_new_architectures_make_the_embedding_anew(zoo: Zoo) -> None:
    drop_vectors(zoo, "test_resnet")
    assert embed_all(zoo).n == len(SMALL_ZOO) + n_packages(zoo)  # one of eight is more than a tenth


def test_vectors_are_computed_without_holding_the_database(zoo: Zoo) -> None:
    drop_vectors(zoo)
    changed = []

    def change(_phase: str, _done: int, _planned: int) -> None:
        with open_store(address(zoo.store)).writing() as connection:
            changed.append(writes.raise_generation(connection))

    assert embed_all(zoo, change).n == len(SMALL_ZOO) + n_packages(zoo)
    assert changed[0] == 2


def embed_all(zoo: Zoo, progress: upkeep.Progress | None = None) -> upkeep.Embedded:
    """Give every standing architecture its vector."""
    with zoo.store.reading() as connection:
        ids = loading.architecture_ids(connection, queries.generation(connection)).tolist()
    return upkeep.embed(zoo.store.reading, zoo.store.writing, ids, progress)


def drop_vectors(zoo: Zoo, name: str = "%") -> None:
    """Delete the vectors of an architecture, or of all."""
    with zoo.store.writing() as connection:
        gone = "DELETE FROM embedding WHERE architecture_id IN (SELECT id FROM architecture WHERE name LIKE :name)"
        connection.execute(text(gone), {"name": name})
