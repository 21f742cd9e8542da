"""The server under load: fifty clients at a time ask for sources, and for the map.

Clients run in a process of their own, on the same machine; the server has two workers. They ask for architectures
of the index by name, every one once, and send architectures that are in no index (generated ones). Then every
question is asked again, which the server has answered before. Every request must be answered: 200, or 503 where
more wait than may. Memory is that of the server and its workers together. Give the number of questions of a kind
(default 400), and of architectures of a generated index whose map is asked for (default none; `KEEP_INDEXES` as
for bench_growing.py).
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from _common import PACKAGES, save, shipped_index
from _generator import generate
from bench_growing import filled
from bench_shortlist import timm_families

from transfer.structure.notation import to_values
from zoo_index.index.layout import map_path, open_layout
from zoo_index.zoo.zoo import Zoo

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from serving import Server, serving

N_CLIENTS = 50
N_MAPS = 40
LIMITS = {"map_p95_s": 0.2}


def memory(server: Server) -> int:
    """Bytes of a server and its workers."""
    process = psutil.Process(server.process.pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


async def ask(server: Server, questions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Let the clients ask all questions; say how long each took and what came of it."""
    waiting = list(reversed(questions))
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    limits = httpx.Limits(max_connections=N_CLIENTS)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as one:

        async def client() -> None:
            while waiting:
                question = waiting.pop()
                started = time.perf_counter()
                answer = await one.post("/api/recommend", json=question)
                seconds.append(time.perf_counter() - started)
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    assert answer.json()["results"]

        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(N_CLIENTS)))
        wall = time.perf_counter() - started
    assert sum(statuses.values()) == len(questions), "a request was lost"
    assert set(statuses) <= {200, 503}, statuses
    return {
        "requests": len(questions),
        "answered": statuses[200],
        "refused": statuses[503],
        "requests_per_s": len(questions) / wall,
        "median_s": float(np.median(seconds)),
        "p99_s": float(np.quantile(seconds, 0.99)),
        "worst_s": max(seconds),
        "rss_bytes_after": memory(server),
    }


def maps(server: Server) -> dict[str, float]:
    """Time the whole map, and parts of it with filters, one client asking."""
    paths = ["/api/map", "/api/map?min_params=1000000&max_params=25000000", "/api/map?x0=0.3&x1=0.6&y0=0.2&y1=0.5"]
    seconds = []
    for path in paths * N_MAPS:
        started = time.perf_counter()
        answer = server.ask(path)
        seconds.append(time.perf_counter() - started)
        assert answer.status == 200
        assert answer.json["in_window"]
    return {"median_s": float(np.median(seconds)), "p95_s": float(np.quantile(seconds, 0.95))}


def map_of(place: Path) -> dict[str, float]:
    """Time the making of a map, and answers with it."""
    zoo = Zoo(place)
    generation = zoo.view().generation
    map_path(zoo.store).unlink(missing_ok=True)
    started = time.perf_counter()
    open_layout(zoo.store, generation)
    made = time.perf_counter() - started
    zoo.store.close()
    with serving(place, "--workers", "1") as server:
        return {"layout_s": made, **maps(server)}


def main(n: int = 400, *sizes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shipped_index(folder).close()
        place = Path(folder) / "zoo.db"
        zoo = Zoo(place)
        rows = zoo.entries()
        names = sorted({row["architecture"] for row in rows if row["catalogue"] == "timm"})
        n_shipped = len({row["architecture"] for row in rows})
        zoo.store.close()
        by_name = [{"name": name, "k": 10} for name in names[:: max(1, len(names) // n)][:n]]
        sent = [
            {"architecture": {"name": f"made{i}", "n_params": n_params, "forms": [to_values(one)]}}
            for i, (one, n_params) in enumerate(generate(timm_families(), n, seed=7))
        ]
        figures: dict[str, Any] = {"clients": N_CLIENTS, "workers": 2, "limits": LIMITS, "generated_maps": []}
        figures["map"] = {"architectures": n_shipped, **map_of(place)}
        with serving(place, "--workers", "2", "--waiting", "128", "--seconds", "60") as server:
            asyncio.run(ask(server, by_name[:8]))
            figures["rss_bytes_before"] = memory(server)
            figures["by_name"] = asyncio.run(ask(server, by_name))
            figures["sent"] = asyncio.run(ask(server, sent))
            figures["again"] = asyncio.run(ask(server, [*by_name, *sent] * 3))
        with serving(place, "--workers", "2", "--waiting", "10", "--seconds", "60") as server:
            figures["with_ten_waiting"] = asyncio.run(ask(server, sent))
        assert figures["with_ten_waiting"]["answered"] > 0
        kept = Path(os.environ.get("KEEP_INDEXES") or folder)
        for size in sizes or (2000,):
            filled(Zoo(kept / f"zoo{size}.db"), size)
            figures["generated_maps"].append({"architectures": size, **map_of(kept / f"zoo{size}.db")})
    save("server", figures, (*PACKAGES, "starlette", "uvicorn", "scikit-learn", "httpx"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
