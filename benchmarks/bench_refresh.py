"""Index the whole timm zoo, side by side with merely instantiating it with as many processes.

Limits: refresh at most 1.25 times the instantiation, embedding included; a second refresh with nothing
changed at most 2 s beyond importing timm. A refresh lets the garbage collector wait, so instantiation is timed
both plain, which the limit means, and likewise. Takes some minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import n_cores, save

INSTANTIATE = """
import os, sys, timm
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

def build(name, collect):
    import gc, timm, torch
    if not collect:
        gc.disable()
    with torch.device("meta"):
        timm.create_model(name, pretrained=False)

if __name__ == "__main__":
  names = list(dict.fromkeys(n.partition(".")[0] for n in timm.list_models(pretrained=True)))
  os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
  with ProcessPoolExecutor(int(sys.argv[1]), get_context("spawn")) as pool:
    list(pool.map(build, names, [len(sys.argv) < 3] * len(names)))
  print(len(names))
"""


def timed(command: list[str], **env: str) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, done.stdout


def main() -> None:
    processes = n_cores()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "instantiate.py"
        script.write_text(INSTANTIATE)
        database = str(Path(folder) / "zoo.db")
        zoo = [sys.executable, "-m", "zoo_index", "--db", database, "index", "refresh"]
        bare_s, n = timed([sys.executable, str(script), str(processes)])
        uncollected_s, _ = timed([sys.executable, str(script), str(processes), "without collections"])
        refresh_s, _ = timed([*zoo, "--no-snapshot", "-j", str(processes)])
        import_s = min(timed([sys.executable, "-c", "import timm"])[0] for _ in range(3))
        again_s = min(timed(zoo)[0] for _ in range(3))
        size = Path(database).stat().st_size
        keep = os.environ.get("KEEP_DB")
        if keep:
            Path(keep).write_bytes(Path(database).read_bytes())
    save(
        "refresh",
        {
            "processes": processes,
            "architectures": int(n),
            "instantiate_s": bare_s,
            "instantiate_without_collections_s": uncollected_s,
            "refresh_s": refresh_s,
            "ratio": refresh_s / bare_s,
            "limit_ratio": 1.25,
            "ratio_without_collections": refresh_s / uncollected_s,
            "import_timm_s": import_s,
            "second_refresh_s": again_s,
            "second_beyond_import_s": again_s - import_s,
            "limit_second_beyond_import_s": 2.0,
            "database_bytes": size,
        },
    )


if __name__ == "__main__":
    main()
