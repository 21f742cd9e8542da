"""Check transfer on a CUDA device and time it there: ``make cuda PYTHON=...``, in under three minutes.

Runs from a checkout, without being installed, and imports nothing but torch, numpy, numba and safetensors. Figures
go to ``benchmarks/results/cuda.json``. ``--device cpu`` tries the same without a GPU, and keeps nothing but what
``--output`` names.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from gpu.speed import Network

__all__ = ["main", "run"]

NEEDED = ("torch", "numpy", "numba", "safetensors")
SECONDS = 140.0
"""For all; the last round that is begun, and starting up, may take the rest of three minutes."""


def obstacle(kind: str) -> str:
    """Say in a line why nothing can be run; empty if it can."""
    if sys.version_info < (3, 11):  # noqa: UP036 - it is run by whatever Python there is
        return (
            f"expected Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}; "
            "name another one: make cuda PYTHON=..."
        )
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return (
            f"expected torch, numpy, numba and safetensors in {sys.executable}, found no {', no '.join(missing)}; "
            "install them, or name a Python that has them: make cuda PYTHON=..."
        )
    import torch

    if kind == "cuda" and not torch.cuda.is_available():
        build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        return (
            f"expected a CUDA device, found none (torch {torch.__version__}, built {build}); "
            "run it where there is one, with a driver and a build of torch for it: make cuda PYTHON=..."
        )
    return ""


def check(device: torch.device) -> dict[str, Any]:
    """Run all checks; say of each that failed why."""
    from gpu.checks import CHECKS

    begun, failed = time.perf_counter(), []
    for name, function in CHECKS.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                function(device, Path(folder))
            except Exception:  # the others are to be seen as well
                failed.append(name)
                print(f"FAILED {name}", flush=True)
                traceback.print_exc(file=sys.stdout)
    seconds = time.perf_counter() - begun
    print(f"{len(CHECKS) - len(failed)} of {len(CHECKS)} checks passed in {seconds:.1f} s", flush=True)
    return {"passed": len(CHECKS) - len(failed), "failed": failed, "seconds": seconds}


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the device."""
    import torch

    if device.type != "cuda":
        return {"device": str(device), "torch_threads": torch.get_num_threads()}
    about = torch.cuda.get_device_properties(device)
    return {
        "device": about.name,
        "device_gb": about.total_memory / 1e9,
        "compute_capability": f"{about.major}.{about.minor}",
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "torch_threads": torch.get_num_threads(),
    }


def _driver() -> str:
    try:
        return subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            check=True,
            text=True,
            timeout=20,
        ).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def run(
    device: torch.device, networks: Sequence[Network], output: Path | None, seconds: float = SECONDS
) -> dict[str, Any]:
    """Check, time, and keep the figures.

    Parameters
    ----------
    device : torch.device
    networks : sequence of Network
    output : Path or None
        Where the figures go; nowhere if a check failed.
    seconds : float
        For everything.

    Returns
    -------
    dict
        The figures.
    """
    import _common

    from gpu.speed import measure

    begun = time.perf_counter()
    figures: dict[str, Any] = {**machine(device), "checks": check(device), "transfers": []}
    for found in measure(networks, device, begun + seconds - time.perf_counter()):
        figures["transfers"].append(found)
        print(*_lines(found), sep="\n", flush=True)
    figures["seconds"] = time.perf_counter() - begun
    print(f"all in {figures['seconds']:.0f} s", flush=True)
    if output is not None and not figures["checks"]["failed"]:
        _common.write(output, _common.described("cuda", figures, NEEDED))
        print(f"figures are in {output}")
    return figures


def _lines(found: dict[str, Any]) -> list[str]:
    name = f"{found['network']} {found['kind']}"
    if "left_out" in found:
        return [f"{name}: left out, {found['left_out']}"]
    copies = ", ".join(f"{name} {speed:.2f}" for name, speed in found["copies_gb_per_s"].items())
    about = (
        f"{found['bytes'] / 1e6:.0f} MB, {found['rounds']} rounds, planning {found['plan_seconds'] * 1e3:.1f} ms"
    )
    lines = [f"{name}, {about}; copies in GB/s: {copies}"]
    for row in found["rows"]:
        ratios = ", ".join(f"{ratio:.2f} of {name}" for name, ratio in row["of_copies"].items())
        load = f", {row['of_load']:.2f} of loading" if "of_load" in row else ""
        lines.append(
            f"  from {row['source']}: {row['seconds'] * 1e3:.1f} ms, {row['gb_per_s']:.2f} GB/s ({ratios}{load})"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 1 if a check failed, 2 if nothing could be run."""
    parser = argparse.ArgumentParser(prog="make cuda", description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--output", type=Path, help="by default benchmarks/results/cuda.json, on CUDA alone")
    chosen = parser.parse_args(arguments)
    problem = obstacle(chosen.device)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    import _common
    import torch

    from gpu.speed import NETWORKS

    device = torch.device("cuda", torch.cuda.current_device()) if chosen.device == "cuda" else torch.device("cpu")
    output = chosen.output or (_common.RESULTS / "cuda.json" if chosen.device == "cuda" else None)
    return 1 if run(device, NETWORKS, output)["checks"]["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
