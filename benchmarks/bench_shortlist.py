"""Recall of the shortlist: does it hold what exact ranking would find.

Recall@10 at 100 candidates over 150 targets that are not landmarks; limit 0.99. A target's true ten are those whose
exact similarity is at least that of the tenth: below that line ties are frequent and interchangeable.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from _common import save

from zoo_index.database import loading
from zoo_index.database.store import Store
from zoo_index.index import embedding
from zoo_index.index.search import Search
from zoo_index.index.snapshot import import_snapshot
from zoo_index.recommend import N_CANDIDATES

N_TARGETS = 150
K = 10


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "zoo.db")
        assert import_snapshot(store), "the shipped snapshot does not fit the installed timm; run: make snapshot"
        search = Search(store)
        with store.reading() as connection:
            basis = loading.load_basis(connection, embedding.MEASURE)
        assert basis is not None
        table = search.table("dpiat")
        others = np.setdiff1d(table.ids, basis.landmark_ids)
        targets = np.random.default_rng(0).choice(others, N_TARGETS, replace=False)
        recalls: dict[int, list[float]] = {50: [], N_CANDIDATES: [], 200: []}
        first: list[bool] = []
        exact_s, short_s = [], []
        for id_ in targets.tolist():
            target = search.architecture(id_, "dpiat")
            assert target is not None
            started = time.perf_counter()
            scores = embedding.target_row(target, table)
            exact_s.append(time.perf_counter() - started)
            line = np.sort(scores)[::-1][K - 1] - 1e-12
            for n, found_in in recalls.items():
                started = time.perf_counter()
                near = search.nearest(target, table.ids, n)
                if n == N_CANDIDATES:
                    embedding.target_row(target, table.select(near))
                    short_s.append(time.perf_counter() - started)
                found = int((scores[table.rows(near)] >= line).sum())
                found_in.append(min(found, K) / K)
                if n == N_CANDIDATES:
                    first.append(bool((scores[table.rows(near)] >= scores.max() - 1e-12).any()))
        store.close()
    save(
        "shortlist",
        {
            "architectures": len(table.ids),
            "landmarks": len(basis.landmark_ids),
            "targets": N_TARGETS,
            "recall_at_10": {str(n): float(np.mean(values)) for n, values in recalls.items()},
            "worst_target": float(min(recalls[N_CANDIDATES])),
            "best_source_kept": float(np.mean(first)),
            "limit_recall_at_100": 0.99,
            "exact_ranking_median_s": float(np.median(exact_s)),
            "shortlist_and_rerank_median_s": float(np.median(short_s)),
        },
    )


if __name__ == "__main__":
    main()
