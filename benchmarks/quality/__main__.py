"""Run the laboratory: `python -m quality`, in the folder `benchmarks`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from _common import n_cores
from _peer import install_iatransfer

from quality.data import DEBIAN, load
from quality.design import PARTS
from quality.jobs import Laboratory, run_all, write

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(DEBIAN), help="folder of Fashion-MNIST's four IDX files")
    parser.add_argument("--cache", default=str(ROOT / "build" / "quality"), help="what is kept between runs")
    parser.add_argument("--processes", type=int, default=n_cores())
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    load(arguments.data)  # says what is missing before anything else is done
    laboratory = Laboratory(arguments.data, arguments.cache, str(Path(arguments.cache) / "peer"))
    if not Path(laboratory.peer, "iatransfer").exists() and not install_iatransfer(laboratory.peer):
        raise SystemExit("expected to install iatransfer 1.0.3 with pip, it failed; look at pip's configuration")
    for part in arguments.parts:
        jobs, started, rows = PARTS[part](), time.monotonic(), []
        for row in run_all(laboratory, jobs, arguments.processes):
            rows.append(row)
            if len(rows) % 20 == 0:
                print(f"{part}: {len(rows)} of {len(jobs)}, {time.monotonic() - started:.0f} s", file=sys.stderr)
        rows.sort(key=lambda row: [str(row[key]) for key in ("setting", "target", "source", "method", "seed")])
        path = Path(arguments.cache) / f"{part.replace(' ', '-')}.json"
        write(path, lambda scratch, rows=rows: scratch.write_text(json.dumps(rows)))
        print(f"{part}: {len(rows)} starts in {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
