"""Whole-process times of the command line, with a warm index.

Limits: ``zoo --help`` at most 0.4 s; ``zoo recommend`` for a name of the index at most 1.0 s, for a file at most
0.8 s beyond a process that imports what the file imports and builds its network on the meta device. A process
that also runs it there once, without values, says how much of the rest torch takes for that.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import save

N_RUNS = 7
EXAMPLE = str(Path(__file__).parents[1] / "examples" / "myarch.py")
COMMANDS = {
    "help": ["--help"],
    "list": ["list"],
    "show": ["show", "resnet50"],
    "status": ["index", "status"],
    "recommend_indexed_name": ["recommend", "--target", "resnet50", "--json"],
    "recommend_file": ["recommend", "--target", EXAMPLE, "--json"],
}

BUILD_ONLY = """
import runpy, sys
import torch
with torch.device("meta"):
    network = runpy.run_path(sys.argv[1])["build_model"]()
"""

RUN_ONCE = f"""{BUILD_ONLY}
    with torch.no_grad():
        network.eval()(torch.empty(1, 3, 224, 224))
"""

MANY = """
import random, time
from zoo_index import open_zoo
zoo = open_zoo()
names = random.Random(0).sample(sorted({row["architecture"] for row in zoo.entries()}), 101)
answers = zoo.recommend_many(names)
next(answers)
started = time.perf_counter()
n = sum(1 for _ in answers)
print((time.perf_counter() - started) / n)
"""


def timed(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    seconds = []
    for _ in range(N_RUNS):
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return {"median_s": float(np.median(seconds)), "min_s": min(seconds), "max_s": max(seconds)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ZOO_DB": str(Path(folder) / "zoo.db")}
        zoo = [sys.executable, "-m", "zoo_index"]
        subprocess.run([*zoo, *COMMANDS["recommend_file"]], env=environment, check=True, capture_output=True)
        figures: dict[str, Any] = {name: timed([*zoo, *rest], environment) for name, rest in COMMANDS.items()}
        figures["build_only"] = timed([sys.executable, "-c", BUILD_ONLY, EXAMPLE], environment)
        figures["run_once"] = timed([sys.executable, "-c", RUN_ONCE, EXAMPLE], environment)
        figures["bare_python"] = timed([sys.executable, "-c", ""], environment)
        figures["import_torch"] = timed([sys.executable, "-c", "import torch"], environment)
        many = subprocess.run(
            [sys.executable, "-c", MANY], env=environment, check=True, capture_output=True, text=True
        )
        figures["recommend_many_per_target_s"] = float(many.stdout)
    beyond = figures["recommend_file"]["median_s"] - figures["build_only"]["median_s"]
    limits = {"help": 0.4, "recommend_indexed_name": 1.0, "recommend_file_beyond_building": 0.8}
    save("cli", {"runs": N_RUNS, "limits_s": limits, "recommend_file_beyond_building_s": beyond, **figures})


if __name__ == "__main__":
    main()
