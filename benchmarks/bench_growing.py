"""Indexes of generated architectures: how what matters grows with their number.

For each size: how fast an index is filled and embedded, bytes on disk, memory, the time of a question in a process
that asks many and of the first one, and recall@10 of the shortlist against exact ranking. Sizes are arguments;
slopes are those of the logarithms between the smallest and the largest. ``KEEP_INDEXES=folder`` keeps the indexes,
and takes those that it finds there.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import queue
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import save
from _generator import generate
from bench_shortlist import timm_families

from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.description import Description, describe
from zoo_index.database import descriptions, embeddings, loading
from zoo_index.database.publishing import Listing, next_architectures, publish
from zoo_index.index import embedding, upkeep, vectors
from zoo_index.zoo.zoo import Zoo

SIZES = (10_000, 100_000, 1_000_000)
BATCH = 500
N_QUESTIONS = 40
N_EXACT = 20
K = 10

N_EXACT_LARGE = 10
LARGE = 500_000

QUESTIONS = """
import json, sys, time
from zoo_index.zoo.zoo import Zoo
zoo = Zoo(sys.argv[1])
seconds = []
for name in sys.argv[2:]:
    started = time.perf_counter()
    zoo.recommend(name)
    seconds.append(time.perf_counter() - started)
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps([seconds, int(peak) * 1024]))
"""


def described(size: int) -> Iterator[list[Description]]:
    """Generate architectures in a process of its own, batch by batch."""
    context = multiprocessing.get_context("spawn")
    batches: Any = context.Queue(4)
    worker = context.Process(target=_describe, args=(size, batches), daemon=True)
    worker.start()
    while True:
        try:
            batch = batches.get(timeout=60)
        except queue.Empty:
            if not worker.is_alive():
                raise RuntimeError("the generator stopped, see above") from None
            continue
        if batch is None:
            return
        yield batch


def _describe(size: int, batches: Any) -> None:
    batch = []
    for i, (architecture, n_params) in enumerate(generate(timm_families(), size)):
        batch.append(describe(f"made{i}", architecture, None, n_params))
        if len(batch) == BATCH or i == size - 1:
            batches.put(batch)
            batch = []
    batches.put(None)


def fill(zoo: Zoo, size: int) -> dict[str, float]:
    """Put generated architectures into an index; generating them does not count."""
    spent = 0.0
    listed: list[CatalogueEntry] = []
    for batch in described(size):
        started = time.perf_counter()
        entries = [CatalogueEntry(name=d.name, architecture=d.name, family="made") for d in batch]
        with zoo.store.writing() as connection:
            descriptions.prepare(connection, "made", "1", batch)
        listed += entries
        spent += time.perf_counter() - started
    return {"fill_s": spent, **settle(zoo, Listing("made", listed, is_whole=True))}


def settle(zoo: Zoo, listing: Listing) -> dict[str, float]:
    """Embed what was prepared, and let it stand."""
    started = time.perf_counter()
    with zoo.store.reading() as connection:
        ids = next_architectures(connection, [listing])
    embedded = upkeep.embed(zoo.store.reading, zoo.store.writing, ids)
    embed_s = time.perf_counter() - started
    started = time.perf_counter()
    with zoo.store.writing() as connection:
        publish(connection, [listing], basis=embedded.new_basis)
    return {"embed_s": embed_s, "publish_s": time.perf_counter() - started}


def ask(zoo: Zoo, size: int) -> dict[str, Any]:
    """Time questions for architectures of the index in a new process."""
    rows = np.random.default_rng(0).choice(size, N_QUESTIONS, replace=False).tolist()
    script = [
        sys.executable,
        "-c",
        QUESTIONS,
        zoo.store.place,
        *(f"made{row}" for row in rows),
    ]
    seconds, peak = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
    return {
        "question_median_s": float(np.median(seconds[1:])),
        "question_p95_s": float(np.quantile(seconds[1:], 0.95)),
        "first_question_s": seconds[0],
        "questions_peak_bytes": peak,
    }


def judge(zoo: Zoo, size: int) -> dict[str, Any]:
    """Compare shortlists with exact ranking, and searching list by list with comparing every vector."""
    rows = np.random.default_rng(1).choice(size, N_EXACT if size < LARGE else N_EXACT_LARGE, replace=False).tolist()
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat", 1)
        basis_id = embeddings.standing_basis(connection, "dpiat", 1)
        assert basis_id is not None
        basis = embeddings.load_basis(connection, basis_id)
        indexes = {"flat": vectors.build(*embeddings.load_vectors(connection, basis_id, table.ids))}
        vectors.MOST_FLAT = 0
        started = time.perf_counter()
        indexes["lists"] = vectors.build(*embeddings.load_vectors(connection, basis_id, table.ids))
        lists_s = time.perf_counter() - started
    recalls: dict[str, list[float]] = {name: [] for name in indexes}
    search_s: dict[str, list[float]] = {name: [] for name in indexes}
    exact_s = []
    for row in rows:
        target = zoo.view().search.architecture(zoo.entry(f"made{row}")["architecture_id"], "dpiat")
        assert target is not None
        started = time.perf_counter()
        exact = embedding.target_row(target, table)
        exact_s.append(time.perf_counter() - started)
        line = np.partition(exact, size - K)[size - K] - 1e-12
        query = embedding.query_vector(target, basis)
        for name, index in indexes.items():
            started = time.perf_counter()
            near = index.search(query, embedding.N_CANDIDATES)
            search_s[name].append(time.perf_counter() - started)
            recalls[name].append(min(K, int((exact[table.rows(np.sort(near))] >= line).sum())) / K)
    return {
        "recall_at_10": float(np.mean(recalls["flat"])),
        "exact_ranking_median_s": float(np.median(exact_s)),
        "search_median_s": float(np.median(search_s["flat"])),
        "lists": {
            "kind": indexes["lists"].kind,
            "build_s": lists_s,
            "search_median_s": float(np.median(search_s["lists"])),
            "recall_at_10": float(np.mean(recalls["lists"])),
        },
    }


def filled(zoo: Zoo, size: int) -> dict[str, float]:
    """Fill an index, or take one that was filled and how long that took."""
    notes = Path(zoo.store.name).with_suffix(".json")
    if not notes.exists():
        found = fill(zoo, size)
        started = time.perf_counter()
        assert len(zoo.view().search.vector_index) == size
        found["vector_file_s"] = time.perf_counter() - started
        notes.write_text(json.dumps(found))
    kept: dict[str, float] = json.loads(notes.read_text())
    return kept


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or list(SIZES)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(os.environ.get("KEEP_INDEXES") or folder)
        kept.mkdir(parents=True, exist_ok=True)
        for size in sizes:
            zoo = Zoo(kept / f"zoo{size}.db")
            row: dict[str, Any] = {"architectures": size, **filled(zoo, size)}
            row["database_bytes_each"] = Path(zoo.store.name).stat().st_size / size
            row["vector_bytes_each"] = zoo.store.vector_path.stat().st_size / size
            status = zoo.status()
            row |= {"distinct": {k: status[k] for k in ("blocks", "layers")}, "estimated_recall": status["recall"]}
            row |= ask(zoo, size)
            row |= judge(zoo, size)
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
            keep(sizes[: len(rows)], rows)


def keep(sizes: Sequence[int], rows: Sequence[dict[str, Any]]) -> None:
    """Write what has been measured so far."""
    slopes = {
        key: math.log(rows[-1][key] / rows[0][key]) / math.log(sizes[-1] / sizes[0])
        for key in ("fill_s", "embed_s", "question_median_s", "search_median_s", "exact_ranking_median_s")
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
