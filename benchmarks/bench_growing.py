"""Indexes of generated architectures: how what matters grows with their number.

For each size: how fast an index is filled and embedded, bytes on disk, memory, the time of a question in a process
that asks many and of the first one, and recall@10 of the shortlist against exact ranking. Sizes are arguments, by
default 10,000 and 100,000; slopes are those of the logarithms between the smallest and the largest.
"""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import save
from _generator import generate
from bench_shortlist import timm_families

from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.description import describe
from zoo_index.database import descriptions, loading, writes
from zoo_index.index import embedding, upkeep
from zoo_index.zoo import Zoo

SIZES = (10_000, 100_000)
BATCH = 500
N_QUESTIONS = 40
N_EXACT = 20
K = 10

FIRST = """
import sys, time
from pathlib import Path
from zoo_index.zoo import Zoo
zoo = Zoo(Path(sys.argv[1]))
started = time.perf_counter()
zoo.recommend(sys.argv[2])
seconds = time.perf_counter() - started
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(seconds, int(peak) * 1024)
"""


def fill(zoo: Zoo, size: int) -> dict[str, float]:
    """Put generated architectures into an index; generating them does not count."""
    spent = 0.0
    batch = []
    for i, (architecture, n_params) in enumerate(generate(timm_families(), size)):
        batch.append(describe(f"made{i}", architecture, None, n_params))
        if len(batch) == BATCH or i == size - 1:
            started = time.perf_counter()
            entries = [CatalogueEntry(name=d.name, architecture=d.name, family="made") for d in batch]
            with zoo.store.writing() as connection:
                descriptions.put_descriptions(connection, "made", "1", batch)
                writes.put_entries(connection, "made", entries, partial=True)
                writes.raise_generation(connection)
            spent += time.perf_counter() - started
            batch = []
    started = time.perf_counter()
    upkeep.embed_missing(zoo.store)
    embedded = time.perf_counter() - started
    started = time.perf_counter()
    zoo.search.vector_index()
    return {"fill_s": spent, "embed_s": embedded, "vector_file_s": time.perf_counter() - started}


def ask(zoo: Zoo, size: int) -> dict[str, Any]:
    """Time questions for architectures of the index, and compare some answers with exact ranking."""
    rows = np.random.default_rng(0).choice(size, N_QUESTIONS, replace=False).tolist()
    seconds = []
    for row in rows:
        started = time.perf_counter()
        zoo.recommend(f"made{row}")
        seconds.append(time.perf_counter() - started)
    script = [sys.executable, "-c", FIRST, str(zoo.store.path), f"made{rows[0]}"]
    first_s, memory = map(float, subprocess.run(script, check=True, capture_output=True, text=True).stdout.split())
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat")
    recalls, exact_s = [], []
    for row in rows[:N_EXACT]:
        target = zoo.search.architecture(zoo.entry(f"made{row}")["architecture_id"], "dpiat")
        assert target is not None
        started = time.perf_counter()
        exact = embedding.target_row(target, table)
        exact_s.append(time.perf_counter() - started)
        line = np.partition(exact, size - K)[size - K] - 1e-12
        near = table.rows(np.sort(zoo.search.nearest(target, embedding.N_CANDIDATES)))
        recalls.append(min(K, int((exact[near] >= line).sum())) / K)
    return {
        "question_median_s": float(np.median(seconds[1:])),
        "question_p95_s": float(np.quantile(seconds[1:], 0.95)),
        "first_question_s": first_s,
        "first_question_peak_bytes": memory,
        "recall_at_10": float(np.mean(recalls)),
        "exact_ranking_median_s": float(np.median(exact_s)),
    }


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or list(SIZES)
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            zoo = Zoo(Path(folder) / "zoo.db")
            row: dict[str, Any] = {"architectures": size, **fill(zoo, size)}
            row["database_bytes_each"] = zoo.store.path.stat().st_size / size
            row["vector_bytes_each"] = zoo.search.vector_path.stat().st_size / size
            row |= {"distinct": {k: zoo.status()[k] for k in ("blocks", "layers")}, **ask(zoo, size)}
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    slopes = {
        key: math.log(rows[-1][key] / rows[0][key]) / math.log(sizes[-1] / sizes[0])
        for key in ("fill_s", "embed_s", "question_median_s", "first_question_s", "exact_ranking_median_s")
        if len(rows) > 1
    }
    save(
        "growing",
        {
            "peak_bytes_of_this_process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "limits": {"question_p95_s": 0.5, "recall_at_10": 0.95},
            "slopes": slopes,
            "sizes": rows,
        },
    )


if __name__ == "__main__":
    main()
