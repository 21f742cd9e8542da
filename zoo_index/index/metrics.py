"""Published results of pretrained weights: what a benchmark says of each entry. They break ties."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer.errors import InputError
from transfer.weights.files import check_path, open_regular
from zoo_index.database import queries, runs, writes
from zoo_index.database.store import Store
from zoo_index.foundation.plain_text import check_name, plain

__all__ = ["MetricsReport", "import_metrics", "read_results"]

_COLUMNS = ("model", "top1")
_PREFIX = "results-"
_MAX_BYTES = 100_000_000
"""Some hundred times what timm publishes."""


@dataclass(frozen=True)
class MetricsReport:
    """What an import of results did.

    Parameters
    ----------
    dataset : str
    results : int
        Weight sets that the file has a result of.
    matched : int
        Those that are entries of the index.
    unmatched : tuple of str
        Names of the others, sorted. Their results are kept: a later refresh may bring them.
    """

    dataset: str
    results: int
    matched: int
    unmatched: tuple[str, ...]


def import_metrics(store: Store, path: Path, dataset: str | None = None) -> MetricsReport:
    """Replace the results on a data set by those of a file; all of them or none.

    Parameters
    ----------
    store : Store
    path : Path
        CSV as timm publishes it, e.g. ``results-imagenet.csv``.
    dataset : str, optional
        By default what the file name says: ``imagenet`` for the file above.

    Returns
    -------
    MetricsReport

    Raises
    ------
    InputError
        If the file cannot be read, none of its names is an entry of the index, or one cannot be printed.
    """
    results = read_results(path)
    dataset = path.stem.removeprefix(_PREFIX) if dataset is None else dataset
    if not dataset.strip():
        raise InputError("expected the name of a data set, got an empty one; name it with --dataset")
    check_name(dataset, "a data set's name (--dataset)")
    with store.writing() as connection:
        known = queries.entry_names(connection, queries.generation(connection))
        unmatched = sorted(row["name"] for row in results if row["name"] not in known)
        if len(unmatched) == len(results):
            raise InputError(
                f"expected results of entries of the index in '{path}', none of its {len(results)} names is one "
                f"(the first is {results[0]['name']!r}); names are those of: zoo list"
            )
        run = runs.start_run(connection, "metrics", detail=f"{dataset} from {plain(path.name)}")
        writes.put_metrics(connection, dataset, results)
        generation = writes.raise_generation(connection, run)
        runs.end_run(
            connection,
            run,
            "done",
            n_planned=len(results),
            n_done=len(results) - len(unmatched),
            generation=generation,
        )
    return MetricsReport(dataset, len(results), len(results) - len(unmatched), tuple(unmatched))


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read timm's results: of each model the best one, where it was measured at several sizes of the image.

    Returns
    -------
    list of dict
        With ``name``, ``top1`` and ``top5`` in percent, ``image_size`` in pixels; the last two may be None.

    Raises
    ------
    InputError
        If it is no such file; the message says in which line.
    """
    check_path(path)
    found: dict[str, dict[str, Any]] = {}
    best: dict[str, float] = {}
    try:
        with open_regular(path) as opened, io.TextIOWrapper(opened, "utf-8-sig", newline="") as file:
            _check_size(os.fstat(opened.fileno()).st_size, path)
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(
                    f"expected a CSV with the columns {', '.join(_COLUMNS)} (as timm's results-imagenet.csv), "
                    f"'{path}' has no {' and no '.join(missing)}"
                )
            for row in reader:
                where = f"line {reader.line_num} of '{path}'"
                name, top1 = (row["model"] or "").strip(), _percent(row["top1"], "top1", where)
                if not name or top1 is None:
                    raise InputError(
                        f"expected a model and its top1 in {where}, got {row['model']!r}, {row['top1']!r}"
                    )
                check_name(name, f"the name of a model in {where}")
                if top1 > best.get(name, -1.0):
                    best[name] = top1
                    found[name] = {
                        "name": name,
                        "top1": top1,
                        "top5": _percent(row.get("top5"), "top5", where),
                        "image_size": _size(row.get("img_size"), where),
                    }
    except OSError as error:
        raise InputError(f"expected a CSV of results at '{path}', got: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"expected a CSV of results at '{path}', it is no such text: {error}") from error
    if not found:
        raise InputError(f"expected results in '{path}', there is none below its header")
    if max(best.values()) <= 1:
        raise InputError(f"expected top1 in percent in '{path}', the largest is {max(best.values())}; times 100?")
    return list(found.values())


def _check_size(size: int, path: Path) -> None:
    if size > _MAX_BYTES:
        raise InputError(
            f"expected a CSV of at most {_MAX_BYTES:,} bytes at '{path}', got {size:,}; check what it is"
        )


def _percent(text: str | None, column: str, where: str) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise InputError(f"expected {column} in percent, 0 to 100, got {text!r} in {where}")
    return value


_MOST_DIGITS = 6


def _size(text: str | None, where: str) -> int | None:
    text = (text or "").strip()
    if not text:
        return None
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise InputError(f"expected img_size in pixels, got {text!r} in {where}")
    return int(text)
