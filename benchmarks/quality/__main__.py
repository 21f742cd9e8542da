"""Run the laboratory: `python -m quality`, in the folder `benchmarks`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from _common import n_cores
from _peer import install_iatransfer

from quality import real_weights
from quality.data import DEBIAN, load
from quality.design import PARTS
from quality.jobs import Laboratory, run_all, run_tasks, write
from quality.report import write_report

ROOT = Path(__file__).parents[2]
REAL = "real weights"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m quality", description=__doc__)
    parser.add_argument("--data", default=str(DEBIAN), help="folder of Fashion-MNIST's four IDX files")
    parser.add_argument("--cache", default=str(ROOT / "build" / "quality"), help="what is kept between runs")
    parser.add_argument("--processes", type=int, default=n_cores())
    parser.add_argument("--parts", nargs="*", choices=[*PARTS, REAL], default=[*PARTS, REAL])
    arguments = parser.parse_args()
    load(arguments.data)  # says what is missing before anything else is done
    laboratory = Laboratory(arguments.data, arguments.cache, str(Path(arguments.cache) / "peer"))
    if not Path(laboratory.peer, "iatransfer").exists() and not install_iatransfer(laboratory.peer):
        raise SystemExit("expected to install iatransfer 1.0.3 with pip, it failed; look at pip's configuration")
    for part in arguments.parts:
        path = Path(arguments.cache) / f"{part.replace(' ', '-')}.json"
        rows = list(shown(part, *found(part, laboratory, arguments.processes)))
        rows.sort(key=lambda row: [str(row.get(key, "")) for key in ("target", "source", "method", "seed")])
        write(path, lambda scratch, rows=rows: scratch.write_text(json.dumps(rows)))
    names = {part: Path(arguments.cache) / f"{part.replace(' ', '-')}.json" for part in (*PARTS, REAL)}
    if missing := [part for part, path in names.items() if not path.exists()]:
        print(f"no report yet, these parts were not run: {', '.join(missing)}", file=sys.stderr)
    else:
        write_report({part: json.loads(path.read_text()) for part, path in names.items()})


def found(part: str, laboratory: Laboratory, processes: int) -> tuple[int, Iterator[dict[str, Any]]]:
    """Return how many starts a part has, and run them."""
    if part == REAL:
        cases = real_weights.cases()
        tasks = [partial(real_weights.measure, laboratory.data, laboratory.cache, *case) for case in cases]
        return len(tasks), run_tasks(tasks, processes)
    jobs = PARTS[part]()
    return len(jobs), run_all(laboratory, jobs, processes)


def shown(part: str, n: int, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass rows on, and say now and then how far it is."""
    started, done = time.monotonic(), 0
    for row in rows:
        done += 1
        if done % 20 == 0:
            print(f"{part}: {done} of {n}, {time.monotonic() - started:.0f} s", file=sys.stderr)
        yield row
    print(f"{part}: {done} starts in {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
