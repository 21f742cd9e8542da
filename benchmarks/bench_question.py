"""A whole question in one process: recommend ten sources, with coverage, and where the time goes.

Limits: with every pretrained architecture of timm as target median at most 0.10 s, p95 0.25 s, after warm-up.
Give a number to ask for every n-th only.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _common import save

from zoo_index.index import embedding
from zoo_index.index.search import Search
from zoo_index.recommending import recommend, resolve
from zoo_index.zoo.zoo import open_zoo

LIMITS = {"median": 0.10, "p95": 0.25}
WARM_UP = ("resnet50", "vit_base_patch16_224")
STAGES: dict[str, list[tuple[Any, str]]] = {
    "the target, from the index": [(resolve, "resolve")],
    "exact scores of all sources": [(recommend, "find_candidates"), (embedding, "target_row")],
    "reading the best ones": [(Search, "architectures"), (Search, "shapes")],
    "similarity at common scale, in other groups, as published": [
        (embedding, "grouped_otherwise"),
        (recommend, "plain_similarity"),
        (recommend, "best_similarity"),
    ],
    "alignments and plans of the ten": [(recommend, "match"), (recommend, "plan_alignment")],
}
"""Functions that make a stage, where they are called."""


class Stopwatch:
    """Adds up the time of each stage; that of a stage within another counts for the inner one alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._within: list[float] = []

    def watch(self, stage: str, owner: Any, name: str) -> None:
        """Let a function be timed as part of a stage."""
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._within.append(0.0)
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - started
                self.seconds[stage] += took - self._within.pop()
                if self._within:
                    self._within[-1] += took

        setattr(owner, name, timed)


def main(every: int = 1) -> None:
    with tempfile.TemporaryDirectory() as folder:
        zoo = open_zoo(Path(folder) / "zoo.db")
        names = sorted({row["architecture"] for row in zoo.entries() if row["catalogue"] == "timm"})[::every]
        for name in WARM_UP:
            zoo.recommend(name)
        watch = Stopwatch()
        for stage, functions in STAGES.items():
            for owner, name in functions:
                watch.watch(stage, owner, name)
        seconds = []
        for name in names:
            started = time.perf_counter()
            zoo.recommend(name)
            seconds.append(time.perf_counter() - started)
        zoo.store.close()
    total = sum(seconds)
    shares = {stage: watch.seconds[stage] / total for stage in STAGES}
    save(
        "question",
        {
            "targets": len(names),
            "limits_s": LIMITS,
            "median_s": float(np.median(seconds)),
            "p95_s": float(np.quantile(seconds, 0.95)),
            "worst_s": max(seconds),
            "worst_target": names[int(np.argmax(seconds))],
            "shares": {**shares, "all else": 1 - sum(shares.values())},
        },
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
