"""Transfer of a full checkpoint into an equal architecture, side by side with merely loading it.

Loading is `load_file` or `torch.load`, then `load_state_dict`; a transfer reads the header, plans, looks at every
value (nothing is written before all is known to be finite) and copies. ``checked_load_s`` is loading with such a
look, for comparison. Repetitions are interleaved and the file stays in the page cache.

Limits: a transfer takes at most 1.3 times as long as loading; planning for ViT-L takes at most 50 ms. CUDA
devices have a benchmark of their own (`gpu`).
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from _common import save
from torch import nn

import transfer
from transfer.weights.checkpoint import open_checkpoint, save_module
from zoo_index.catalogues.timm_catalogue import build

NAMES = ("resnet50", "vit_base_patch16_224", "vit_large_patch16_224")
N_RUNS = 9


def interleaved(actions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Run all actions in every round, the first of which does not count.

    Returns median seconds of each, by the clock and of the processor: others on the machine disturb these less.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(N_RUNS + 1):
        for name, action in actions.items():
            clock, processor = time.perf_counter(), time.process_time()
            action()
            seconds[f"{name}_cpu_s"].append(time.process_time() - processor)
            seconds[f"{name}_s"].append(time.perf_counter() - clock)
    return {name: float(np.median(values[1:])) for name, values in seconds.items()}


def load(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return state


def checked(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    assert all(bool(torch.isfinite(tensor.sum())) for tensor in state.values())
    return state


def measure(source: nn.Module, target: nn.Module, path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        save_module(source, path, {})
    else:
        torch.save(source.state_dict(), path)
    header = open_checkpoint(path)
    figures: dict[str, Any] = interleaved(
        {
            "load": lambda: target.load_state_dict(load(path)),
            "checked_load": lambda: target.load_state_dict(checked(load(path))),
            "transfer": lambda: transfer.transfer(path, target, verify=False),
            "unchecked_transfer": lambda: transfer.transfer(path, target, allow_nonfinite=True, verify=False),
            "open": lambda: open_checkpoint(path),
            "plan": lambda: transfer.plan(header, target),
        }
    )
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name
    figures["ratio"] = figures["transfer_s"] / figures["load_s"]
    figures["ratio_unchecked"] = figures["unchecked_transfer_s"] / figures["load_s"]
    figures["ratio_cpu"] = figures["transfer_cpu_s"] / figures["load_cpu_s"]
    figures["ratio_to_checked_load"] = figures["transfer_s"] / figures["checked_load_s"]
    figures["megabytes"] = path.stat().st_size / 1e6
    path.unlink()
    return figures


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            source, target = build(name, device="cpu"), build(name, device="cpu")
            for suffix in ("safetensors", "pth"):
                figures = measure(source, target, Path(folder) / f"w.{suffix}")
                rows.append({"network": name, "format": suffix, **figures})
    save(
        "transfer",
        {
            "runs": N_RUNS,
            "threads": torch.get_num_threads(),
            "limit_ratio": 1.3,
            "limit_plan_s": 0.05,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
