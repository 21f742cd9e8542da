"""Recall of the shortlist: does it hold what exact ranking would find.

Recall@10, of timm's architectures as targets and of generated ones in larger zoos. A target's true ten are those
whose exact similarity is at least that of the tenth: below that line ties are frequent and interchangeable. Up to
4096 architectures everything is ranked exactly, so the figures for timm alone say what the vectors are worth, not
what anybody gets.
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

import numpy as np
from _common import save, shipped_index
from _generator import generate

from transfer.alignment.tables import tabulate
from transfer.structure.records import Architecture
from zoo_index.database import loading, queries
from zoo_index.index import embedding

K = 10
CANDIDATES = (100, 200, embedding.N_CANDIDATES)
SIZES = (10_000, 60_000)
N_TARGETS = 100


def timm_families() -> list[list[Architecture]]:
    with tempfile.TemporaryDirectory() as folder:
        store = shipped_index(folder)
        with store.reading() as connection:
            families = {row["architecture_id"]: row["family"] for row in queries.entry_rows(connection, 1)}
            loaded = loading.load_architectures(connection, list(families), "dpiat")
        store.close()
    found: dict[str, list[Architecture]] = {}
    for id_, family in families.items():
        found.setdefault(family, []).append(loaded[id_])
    return list(found.values())


def measure(zoo: list[Architecture], n_targets: int) -> dict[str, Any]:
    stored = loading.StoredTable(
        np.arange(len(zoo)), np.array([a.n_scoring for a in zoo]), tabulate(zoo, form="dpiat")
    )
    started = time.perf_counter()
    basis = embedding.fit(stored)
    fitted = time.perf_counter()
    vectors = embedding.source_vectors(stored, basis, stored.ids)
    embedded = time.perf_counter()
    recalls: dict[int, list[float]] = {n: [] for n in CANDIDATES}
    exact_s = []
    for row in np.random.default_rng(0).choice(len(zoo), min(n_targets, len(zoo)), replace=False).tolist():
        begun = time.perf_counter()
        exact = embedding.target_row(zoo[row], stored)
        exact_s.append(time.perf_counter() - begun)
        line = np.partition(exact, len(zoo) - K)[len(zoo) - K] - 1e-12
        order = np.argsort(-(vectors @ vectors[row]))
        for n, values in recalls.items():
            values.append(min(K, int((exact[order[:n]] >= line).sum())) / K)
    return {
        "architectures": len(zoo),
        "targets": len(exact_s),
        "distinct_layers": len(stored.table.layer_kind),
        "distinct_blocks": len(stored.table.item_single),
        "dimensions": vectors.shape[1],
        "recall_at_10": {str(n): float(np.mean(values)) for n, values in recalls.items()},
        "worst_target": min(recalls[embedding.N_CANDIDATES]),
        "fit_s": fitted - started,
        "embedding_s_per_architecture": (embedded - fitted) / len(zoo),
        "exact_ranking_median_s": float(np.median(exact_s)),
    }


def main() -> None:
    families = timm_families()
    rows = [measure([architecture for family in families for architecture in family], 2000)]
    for size in SIZES:
        rows.append(measure([architecture for architecture, _ in generate(families, size)], N_TARGETS))
        print(rows[-1], file=sys.stderr, flush=True)
    save("shortlist", {"limit_recall_at_500": 0.95, "zoos": rows})


if __name__ == "__main__":
    main()
