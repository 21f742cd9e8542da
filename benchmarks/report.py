"""Write docs/performance.md, tables and plots, from what the benchmarks measured (``results/*.json``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from _common import RESULTS
from _writing import STYLE, keep, keep_page, megabytes, origin, result, seconds, table, with_limit
from matplotlib import pyplot as plt


def ranking() -> str:
    figures = result("ranking")
    limits = figures["limits_s"]
    rows = [
        [
            f"`{measure}`",
            *(with_limit(found[f"{key}_s"], limits[key]) for key in ("median", "p95", "worst")),
            seconds(found["per_pair_s"]),
            f"{found['updates_per_s'] / 1e6:.0f} million",
        ]
        for measure, found in figures["exact_ranking"].items()
    ]
    theirs, ranked, alone = (
        figures[key] for key in ("iatransfer_per_pair_s", "own_per_pair_in_ranking_s", "own_per_pair_alone_s")
    )
    peers = [
        ["iatransfer 1.0.3", seconds(theirs), "1"],
        ["zoo, one pair alone", seconds(alone), f"{theirs / alone:,.0f}"],
        ["zoo, in a ranking", seconds(ranked), f"{theirs / ranked:,.0f}"],
    ]
    bars(
        "peers",
        "Seconds per pair",
        [(row[0], value) for row, value in zip(peers, (theirs, alone, ranked), strict=True)],
    )
    head = ["measure", "median (limit)", "p95", "worst", "per pair", "updates of the programme per second"]
    bare = figures["bare_loop_updates_per_s"] / 1e6
    return f"""## Exact ranking of timm's 1151 pretrained architectures

How long it takes to score all of them for one target. Every one of them was the target once. An "update" is one
step of the dynamic programme that aligns blocks. {origin(figures, "numba", "numpy")}

{table(head, rows)}

A bare compiled loop of running maxima, all in the nearest cache, makes {bare:.0f} million updates a second on one
core.

Side by side with the published implementation, on {figures["pairs"]} pairs. The largest difference of the values is
{max_difference(figures)}:

{table(["", "per pair", "times faster"], peers)}

![Seconds per pair](img/peers.svg)
"""


def max_difference(figures: dict[str, Any]) -> str:
    found = next((value for key, value in figures.items() if "difference" in key), 0.0)
    return f"{found:.1g}" if found else "0"


def question() -> str:
    figures = result("question")
    limits = figures["limits_s"]
    rows = [[key, with_limit(figures[f"{key}_s"], limit)] for key, limit in limits.items()]
    rows.append([f"worst, {figures['worst_target']}", seconds(figures["worst_s"])])
    shares = [[stage, f"{share:.0%}"] for stage, share in figures["shares"].items()]
    return f"""## A whole question

`recommend` in one process, after warm-up: ten results of timm's pretrained architectures with their coverage, for
{figures["targets"]} of them as targets. {origin(figures, "numba", "numpy", "SQLAlchemy")}

{table(["", "time (limit)"], rows)}

{table(["where the time goes", "share"], shares)}
"""


def command_line() -> str:
    figures = result("cli")
    limits = figures["limits_s"]
    shown = {"recommend_indexed_name": "`zoo recommend`, a name of the index", "recommend_file": "the same, a file"}
    shown |= {
        "build_only": "a process that only builds that network",
        "run_once": "the same, and runs it once without values",
        "help": "`zoo --help`",
        "list": "`zoo list`",
    }
    rows = []
    for key, name in shown.items():
        limit = f" ({seconds(limits[key])})" if key in limits else ""
        rows.append([name, seconds(figures[key]["median_s"]) + limit])
    beyond, limit = figures["recommend_file_beyond_building_s"], limits["recommend_file_beyond_building"]
    rows.append(["the file beyond building it", with_limit(beyond, limit)])
    if "recommend_many_per_target_s" in figures:
        rows.append(["one process, many targets: each", seconds(figures["recommend_many_per_target_s"])])
    refresh = result("refresh")
    return f"""## Whole processes

Medians of {figures["runs"]} runs with a warm index of timm. {origin(figures, "torch", "timm", "SQLAlchemy")}

{table(["command", "time (limit)"], rows)}

For a file `zoo recommend` builds the network and runs it once without values, to see the order of its layers. Most
of that time is torch's: at the first such run it imports its compiler.

Indexing all of timm takes {seconds(refresh["refresh_s"])}, embedding included, {refresh["ratio"]:.2f} times as
long as merely building every network on the meta device with as many processes
({seconds(refresh["instantiate_s"])}; limit {refresh["limit_ratio"]}), and
{refresh["ratio_without_collections"]:.2f} times as long as that with the garbage collector off, as a refresh has it
({seconds(refresh["instantiate_without_collections_s"])}). The limit was set before each network was also run once,
without values, which takes about as long as building it. A second refresh, with nothing new, takes
{seconds(refresh["second_refresh_s"])}, of which importing timm takes {seconds(refresh["import_timm_s"])}.
"""


def growing() -> str:
    figures = result("growing")
    found = figures["sizes"]
    lines: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("filled, per architecture", lambda row: seconds(row["fill_s"] / row["architectures"])),
        ("embedded, per architecture", lambda row: seconds(row["embed_s"] / row["architectures"])),
        ("distinct blocks", lambda row: f"{row['distinct']['blocks']:,}"),
        ("database, bytes each", lambda row: f"{row['database_bytes_each']:,.0f}"),
        ("vectors, bytes each", lambda row: f"{row['vector_bytes_each']:,.0f}"),
        ("question, median", lambda row: seconds(row["question_median_s"])),
        ("question, p95", lambda row: seconds(row["question_p95_s"])),
        ("first question of a process", lambda row: seconds(row["first_question_s"])),
        ("memory of the asking process", lambda row: megabytes(row["questions_peak_bytes"])),
        ("finding 500 candidates", lambda row: seconds(row["search_median_s"])),
        (
            "the same, list by list",
            lambda row: f"{seconds(row['lists']['search_median_s'])}: {row['lists']['kind']}",
        ),
        ("exact ranking instead", lambda row: seconds(row["exact_ranking_median_s"])),
        ("recall@10 of 500 candidates", lambda row: f"{row['recall_at_10']:.3f}"),
        ("the same, list by list", lambda row: f"{row['lists']['recall_at_10']:.3f}"),
        ("recall as the index estimates it", lambda row: f"{row['estimated_recall']:.3f}"),
    ]
    rows = [[name, *(show(row) for row in found)] for name, show in lines]
    slopes = table(["", "slope"], [[key.removesuffix("_s"), f"{v:.2f}"] for key, v in figures["slopes"].items()])
    curves(found)
    limits = figures["limits"]
    return f"""## Growing indexes

What happens when an index gets large. The architectures are generated: timm's, varied in width, depth, kernel and
kind of blocks (`benchmarks/_generator.py`). 40 questions for architectures of the index, ten results each.
Recall is against exact ranking. "List by list" is how an index of more than a million is searched. Limits at a
million: p95
{seconds(limits["question_p95_s"])}, recall {limits["recall_at_10"]}, 3 GB.
{origin(figures, "faiss-cpu", "numpy", "SQLAlchemy")} {figures.get("note", "")}

{table(["architectures", *(f"{row['architectures']:,}" for row in found)], rows)}

How fast times grow with the size: slopes of their logarithms against that of the size. 1 is in proportion to it, 0
not at all:

{slopes}

![Against the number of architectures](img/growing.svg)
"""


def server() -> str:
    figures = result("server")
    asked = {
        "by_name": "sources for an architecture of the index, each asked once",
        "sent": "sources for an architecture that is sent, each once",
        "again": "the same questions again",
    }
    rows = [
        [
            what,
            f"{found['requests']:,}",
            f"{found['requests_per_s']:.1f}" if found["requests_per_s"] < 100 else f"{found['requests_per_s']:.0f}",
            *(seconds(found[key]) for key in ("median_s", "p99_s")),
            megabytes(found["rss_bytes_after"]),
        ]
        for found, what in ((figures[key], what) for key, what in asked.items())
    ]
    maps = [
        [
            f"{found['architectures']:,}",
            seconds(found["layout_s"]),
            seconds(found["median_s"]),
            with_limit(found["p95_s"], figures["limits"]["map_p95_s"]),
        ]
        for found in (figures["map"], *figures["generated_maps"])
    ]
    few = figures["with_ten_waiting"]
    return f"""## The server

{figures["clients"]} clients ask all the time, on the same cores as the server and its {figures["workers"]} workers.
{origin(figures, "starlette", "uvicorn", "numba", "numpy", "SQLAlchemy")}
Server and workers took {megabytes(figures["rss_bytes_before"])} before.

{table(["question", "requests", "a second", "median", "p99", "memory after"], rows)}

Each got its answer. A new question takes a core for some 0.2 s, most of it for the coverage of the ten sources; so
fifty clients wait for each other. Where only ten might wait, {few["answered"]} of {few["requests"]} were answered
and the others got 503 at once.

The map, one client asking. The first is the shipped index, the others are generated; "made" is done once for each
refresh:

{table(["architectures", "made in", "median", "p95 (limit)"], maps)}
"""


def shortlists() -> str:
    figures = result("shortlist")
    rows = [
        [
            f"{zoo['architectures']:,}",
            f"{zoo['targets']:,}",
            *(f"{value:.3f}" for value in zoo["recall_at_10"].values()),
            seconds(zoo["embedding_s_per_architecture"]),
        ]
        for zoo in figures["zoos"]
    ]
    head = [
        "architectures",
        "targets",
        *(f"recall@10 of {n}" for n in figures["zoos"][0]["recall_at_10"]),
        "embedding",
    ]
    return f"""## Shortlists

How many of the true ten best are among the first 100, 200 or 500 candidates that the vectors choose.
{origin(figures, "numpy")}

{table(head, rows)}
"""


def transfer() -> str:
    figures = result("transfer")
    rows = [
        [
            row["network"],
            row["format"],
            seconds(row["load_s"]),
            seconds(row["transfer_s"]),
            f"{row['transfer_s'] / row['load_s']:.2f}",
            f"{row['unchecked_transfer_s'] / row['load_s']:.2f}",
            seconds(row["plan_s"]),
        ]
        for row in figures["rows"]
    ]
    head = ["network", "file", "load + load_state_dict", "transfer", "ratio", "without the look", "planning"]
    return f"""## Transfer

A full checkpoint into an equal architecture, beside reading the file and `load_state_dict`. Every value is
looked at before the first is written ([why](reading-weights.md)). {origin(figures, "torch", "safetensors")}

{table(head, rows)}
"""


def cuda(figures: dict[str, Any]) -> str:
    head = [
        "network",
        "target",
        "from",
        "transfer",
        "GB/s",
        "of loading",
        "of a pinned copy",
        "pageable",
        "on the device",
    ]
    rows = []
    for found in figures["transfers"]:
        for row in found.get("rows", ()):
            shares = [f"{row['of_copies'][name]:.2f}" for name in ("pinned", "pageable", "device")]
            load = f"{row['of_load']:.2f}" if "of_load" in row else ""
            names = [found["network"], found["kind"], row["source"]]
            plan = seconds(found["plan_seconds"])
            rows.append([*names, seconds(row["seconds"]), plan, f"{row['gb_per_s']:.3g}", load, *shares])
    checks = figures["checks"]
    return f"""## On a GPU

`make cuda PYTHON=python3` (`benchmarks/gpu`) wants a CUDA device and a Python with torch, numpy, numba and
safetensors, and takes less than three minutes. It runs {checks["passed"]} checks, all of which passed, and compares
every transfer that it times, bit by bit, with the same one on the CPU.
{figures["device"]}, driver {figures["driver"]}, {origin(figures, "torch", "numpy", "numba", "safetensors")}

Transfers into a target on the device: an equal network (full), or one of three quarters of the width, with leading
channels (cropped) or the most important ones (narrowed). Beside them, as shares of the speed in bytes of the target
per second: `load_file` onto the device and `load_state_dict`, and copies of as many bytes from pinned and from
pageable memory and on the device.

{table(head, rows)}
"""


def bars(name: str, title: str, values: Sequence[tuple[str, float]]) -> None:
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 1.8), layout="constrained")
        axes.barh([label for label, _ in values][::-1], [value for _, value in values][::-1], color="#4878a8")
        axes.set_xscale("log")
        axes.set_xlabel(title)
        keep(figure, name)


def curves(rows: Sequence[dict[str, Any]]) -> None:
    sizes = [row["architectures"] for row in rows]
    panels: list[tuple[str, str, list[tuple[str, list[float]]]]] = [
        (
            "seconds per question",
            "log",
            [
                ("p95", [row["question_p95_s"] for row in rows]),
                ("median", [row["question_median_s"] for row in rows]),
                ("candidates", [row["search_median_s"] for row in rows]),
                ("exact ranking", [row["exact_ranking_median_s"] for row in rows]),
            ],
        ),
        (
            "seconds per architecture",
            "log",
            [
                ("fill", [row["fill_s"] / row["architectures"] for row in rows]),
                ("embed", [row["embed_s"] / row["architectures"] for row in rows]),
            ],
        ),
        (
            "bytes per architecture",
            "linear",
            [
                ("database", [row["database_bytes_each"] for row in rows]),
                ("vectors", [row["vector_bytes_each"] for row in rows]),
            ],
        ),
        (
            "recall@10",
            "linear",
            [
                ("500 candidates", [row["recall_at_10"] for row in rows]),
                ("list by list", [row["lists"]["recall_at_10"] for row in rows]),
            ],
        ),
    ]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(2, 2, figsize=(8, 5.2), layout="constrained")
        for axes, (title, scale, lines) in zip(grid.flat, panels, strict=True):
            for label, values in lines:
                axes.plot(sizes, values, marker="o", label=label)
            axes.set_xscale("log")
            axes.set_yscale(scale)
            axes.set_title(title, loc="left")
            axes.legend(frameon=False)
            if scale == "linear":
                axes.set_ylim(*((0.9, 1.005) if title.startswith("recall") else (0, None)))
        for axes in grid[1]:
            axes.set_xlabel("architectures")
        keep(figure, "growing")


def main() -> None:
    parts = [ranking(), command_line(), growing(), shortlists(), transfer(), server()]
    if (RESULTS / "question.json").exists():
        parts.insert(1, question())
    if (RESULTS / "cuda.json").exists():  # nobody has to have a GPU
        parts.append(cuda(result("cuda")))
    head = """# Performance

How long things take, and how much memory. In short: a question to the index takes a fraction of a second within a
program and one to three seconds as a command, and an index may grow to a million architectures.

How to read the tables:

- A number in brackets is the limit that the project sets itself. Some of the figures are above theirs.
- p95 means that 95 of 100 are faster.
- recall@10 is the part of the true ten best that a search finds.

What was tried to get there: [ranking](ranking-speed.md), [large indexes](large-indexes.md),
[reading weights](reading-weights.md). The page is written by `make performance` from `benchmarks/results`, which
`make bench` fills.
"""
    keep_page("performance", "\n".join([head, *parts]))


if __name__ == "__main__":
    main()
