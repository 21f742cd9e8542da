"""Peak memory of a transfer from a checkpoint of 2 GB, beyond the target itself.

Pages of the mapped file and the process's own memory (``RssFile`` and ``RssAnon`` of Linux) are told apart: the
former can be dropped by the kernel at any time. Limit: at most two layers of own memory. Every case runs in a
process of its own; targets are of equal shape, narrower, and of another element type.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from _common import save
from torch import nn

import transfer
from transfer.weights.checkpoint import save_module

N_LAYERS = 32
WIDTH = 4096
LAYER_MB = WIDTH * WIDTH * 4 / 2**20
CASES = {
    "equal": (WIDTH, torch.float32),
    "narrower": (WIDTH - 512, torch.float32),
    "bfloat16": (WIDTH, torch.bfloat16),
}


def network(n_layers: int, width: int, dtype: torch.dtype) -> nn.Sequential:
    body = [nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width)) for _ in range(n_layers)]
    return nn.Sequential(nn.Linear(16, width), *body, nn.Linear(width, 10)).to(dtype)


def make(path: Path) -> None:
    torch.manual_seed(0)
    source = network(N_LAYERS, WIDTH, torch.float32)
    if path.suffix == ".safetensors":
        save_module(source, path, {})
    else:
        torch.save(source.state_dict(), path)


def memory() -> dict[str, float]:
    """Own and file-mapped memory in MiB."""
    status = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.partition(":")[0]: line.split()[1] for line in status if line.startswith("Rss")}
    return {"own": int(kilobytes["RssAnon"]) / 1024, "file": int(kilobytes["RssFile"]) / 1024}


def measure(path: Path, case: str) -> dict[str, float]:
    """Transfer once, with a second thread looking at the memory every millisecond."""
    width, dtype = CASES[case]
    transfer.transfer(
        network(3, 64, torch.float32), network(3, 48, dtype), verify=False
    )  # whatever is loaded on first use
    target = network(N_LAYERS, width, dtype)
    before = memory()
    peak, is_done = dict(before), threading.Event()

    def watch() -> None:
        while not is_done.wait(0.001):
            now = memory()
            for kind, value in now.items():
                peak[kind] = max(peak[kind], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    report = transfer.transfer(path, target, verify=False)
    seconds = time.perf_counter() - started
    is_done.set()
    watcher.join()
    assert report.coverage > 0.99
    return {
        "target_mb": sum(tensor.nbytes for tensor in target.state_dict().values()) / 2**20,
        "own_beyond_target_mb": peak["own"] - before["own"],
        "mapped_file_mb": peak["file"] - before["file"],
        "seconds": seconds,
    }


def in_child(*arguments: object) -> str:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    if len(sys.argv) == 2:
        make(Path(sys.argv[1]))
        return
    if len(sys.argv) == 3:
        print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2])))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("safetensors", "pth"):
            path = Path(folder) / f"w.{suffix}"
            in_child(path)
            rows += [{"format": suffix, "target": case, **json.loads(in_child(path, case))} for case in CASES]
            path.unlink()
    save(
        "memory",
        {
            "checkpoint_mb": N_LAYERS * LAYER_MB,
            "layer_mb": LAYER_MB,
            "limit_own_beyond_target_mb": 2 * LAYER_MB,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
