"""How much of a network's channels is found by running it without values: one network of each family of timm.

For each the layers that mix channels, those of them that read a channel whose producer is not known (the first
layer, which reads the image, left out), and the time.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from _common import save
from bench_growth import families

from transfer.tracing.flow import trace_flow
from zoo_index.catalogues.timm_catalogue import build


def measure(family: str, name: str) -> dict[str, Any]:
    model = build(name)
    started = time.perf_counter()
    flow = trace_flow(model)
    row: dict[str, Any] = {"family": family, "network": name, "seconds": time.perf_counter() - started}
    if flow is None:
        return {**row, "layers": 0, "unknown": []}
    unknown = [weight for weight, numbers in flow.reads.items() if 0 in numbers]
    return {**row, "layers": len(flow.reads), "unknown": unknown[1:]}


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for family, names in families().items():
        rows.append(measure(family, names[0]))
        print(rows[-1], file=sys.stderr, flush=True)
    save(
        "tracing",
        {
            "families": len(rows),
            "not_run": [row["network"] for row in rows if not row["layers"]],
            "layers": sum(row["layers"] for row in rows),
            "unknown": sum(len(row["unknown"]) for row in rows),
            "families_with_unknown": sum(bool(row["unknown"]) for row in rows),
            "networks": rows,
        },
    )


if __name__ == "__main__":
    main()
