"""What ranking must not depend on: the numbers of blocks, the number of threads, how candidates were found."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import isclose

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import architectures, plain

import transfer
from transfer.alignment import ranking
from transfer.alignment.any_order import in_common
from transfer.alignment.ranking import rank
from transfer.alignment.regrouping import cut_like
from transfer.alignment.tables import Table, offsets, tabulate
from transfer.alignment.towers import find_towers
from transfer.structure.records import Architecture
from zoo_index.index import embedding
from zoo_index.zoo.zoo import Zoo


def renumbered(table: Table, random: np.random.Generator) -> Table:
    """Give the blocks and layers of a table other numbers."""
    layers, items = random.permutation(len(table.layer_kind)), random.permutation(len(table.item_single))
    parts = [table.item_layer[table.item_start[i] : table.item_start[i + 1]] for i in items]
    new_layer, new_item = np.argsort(layers), np.argsort(items)
    return replace(
        table,
        layer_kind=table.layer_kind[layers],
        layer_dims=table.layer_dims[layers],
        item_start=offsets(map(len, parts)),
        item_layer=new_layer[np.concatenate([np.zeros(0, dtype=np.int64), *parts])],
        item_single=table.item_single[items],
        item=new_item[table.item],
    )


@given(st.lists(architectures, min_size=1, max_size=6), architectures, st.integers(0, 2**32 - 1))
def test_values_do_not_depend_on_how_blocks_are_numbered(
    sources: list[Architecture], target: Architecture, seed: int
) -> None:
    table = tabulate(sources, form="paper")
    np.testing.assert_array_equal(rank(target, table), rank(target, renumbered(table, np.random.default_rng(seed))))


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_values_do_not_depend_on_the_number_of_threads(
    zoo: Zoo, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_PARALLEL_ITEMS", 1)
    table = zoo.view().search.table("dpiat")
    targets = [zoo.view().search.architecture(id_, "dpiat") for id_ in table.ids.tolist()]
    expected = [rank(target, table.table) for target in targets if target]
    with ThreadPoolExecutor(n_threads) as pool:
        monkeypatch.setattr(ranking, "_pool", lambda: (pool, n_threads))
        for target, values in zip(targets, expected, strict=True):
            assert target is not None
            np.testing.assert_array_equal(rank(target, table.table), values)


def trees(depth: int) -> st.SearchStrategy[dict[str, tuple[int, ...]]]:
    """Headers of networks nested up to a depth."""
    leaf = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(lambda shape: {"weight": tuple(shape)})
    for _ in range(depth):
        inner = leaf
        leaf = st.lists(inner, min_size=1, max_size=4).map(
            lambda parts: {f"{i}.{name}": shape for i, part in enumerate(parts) for name, shape in part.items()}
        )
    return leaf


@settings(max_examples=60)
@given(st.integers(1, 4).flatmap(trees), st.integers(1, 4).flatmap(trees))
def test_networks_of_any_depth_are_scored_as_by_the_plain_programme(
    source: dict[str, tuple[int, ...]], target: dict[str, tuple[int, ...]]
) -> None:
    a, b = transfer.standardize(source), transfer.standardize(target)
    expected = oracles.architecture_value(plain(a), plain(b))
    assert isclose(rank(b, tabulate([a], form="dpiat"))[0], expected, abs_tol=1e-9)
    similarity = transfer.similarity(source, target)
    regrouped = oracles.architecture_value(plain(cut_like(a, b)), plain(b))
    most = (a.n_scoring * b.n_scoring) ** 0.5
    common = in_common(a, b).similarity * most  # nobody ran them, so their order is not relied on
    values = [max(expected, common), max(expected, regrouped, common)]
    if (towers := find_towers(a, b, values[0] / most)) is not None:
        values.append(towers.similarity * most)
    assert any(isclose(similarity, value / most, abs_tol=1e-9) for value in values)
    assert 0 <= similarity <= 1
    assert isclose(transfer.similarity(target, target), 1)


@pytest.mark.parametrize("seed", range(12))
def test_candidates_that_hold_the_best_give_what_exact_ranking_gives(
    zoo: Zoo, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(seed)
    names = ["test_vit2", "test_resnet", "test_efficientnet", "test_convnext"]
    name, k = names[seed % len(names)], int(random.integers(1, 5))
    exact = zoo.recommend(name, k=k, exact=True)
    best = [zoo.entry(result.name)["architecture_id"] for result in exact.results]
    others = np.setdiff1d(zoo.view().search.table("dpiat").ids, best)
    n_others = int(random.integers(0, len(others)))
    candidates = random.permutation(np.concatenate([best, random.choice(others, n_others, replace=False)]))
    monkeypatch.setattr(embedding, "MOST_EXACT", 0)
    monkeypatch.setattr(embedding, "N_CANDIDATES", len(candidates))
    monkeypatch.setattr(zoo.view().search, "nearest", lambda _target, _k: candidates.astype(np.int64))
    short = zoo.recommend(name, k=k)
    assert short.results == exact.results
    assert short.n_scored == len(candidates)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_copy_of_a_process_that_has_ranked_can_rank() -> None:
    """As the workers of a data loader are."""
    script = (
        "import os, numpy as np\n"
        "from transfer.alignment.ranking import _spread\n"
        "def spread():\n"
        "    return _spread(lambda begin, end: np.arange(begin, end), 1000, parallel=True)\n"
        "first = spread()\n"
        "child = os.fork()\n"
        "assert (spread() == first).all()\n"
        "if not child:\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)
