"""Write pages and pictures to files: refused before any work is done where it cannot be, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import InputError, OutputError
from transfer.weights.files import cannot_write, check_writable, put_in_place
from transfer.weights.temporaries import beside

if TYPE_CHECKING:
    from transfer.execution.reports import TransferReport
    from transfer.planning.planned import TransferPlan
    from zoo_index.recommending.answers import Recommendations

__all__ = ["check_html", "check_plot", "save_html", "save_plot", "write", "write_text"]

_PLOTS = (".png", ".svg", ".pdf")
_PAGES = (".html", ".htm")


def save_html(
    result: TransferReport | TransferPlan | Recommendations,
    path: str | os.PathLike[str],
    *,
    source: str = "",
    target: str = "",
    plans: Mapping[str, TransferPlan] | None = None,
) -> None:
    """Write a page to look at in a browser: one file that asks no network.

    Parameters
    ----------
    result : TransferReport, TransferPlan or Recommendations
        What `transfer.transfer`, `transfer.plan`, `warm_start` or `Zoo.recommend` returned.
    path : path
        Ends in ``.html``.
    source, target : str
        What the networks are called, where the result does not say it.
    plans : mapping of str to TransferPlan, optional
        For a ranking: plans for some of its sources, by name, which are drawn.

    Raises
    ------
    InputError
        If the path has another ending.
    OutputError
        If the file cannot be written.
    """
    file = check_html(path)
    from transfer.planning.outline import outlined
    from zoo_index.recommending.answers import Recommendations
    from zoo_index.reports.html.pages import plan_page, ranking_page

    if isinstance(result, Recommendations):
        drawn = {name: outlined(plan, name) for name, plan in (plans or {}).items()}
        text = ranking_page(result, plans=drawn, entries={}, target=target)
    else:
        values, source, target = _named(result, source, target)
        text = plan_page(values, source=source, target=target)
    write_text(file, text, "--html")


def save_plot(
    result: TransferReport | TransferPlan | Recommendations,
    path: str | os.PathLike[str],
    *,
    source: str = "",
    target: str = "",
) -> None:
    """Draw a result for a paper; needs the extra ``plot`` (matplotlib).

    Parameters
    ----------
    result, source, target
        As for `save_html`.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    InputError
        If the path has another ending, or matplotlib is not installed.
    OutputError
        If the file cannot be written.
    """
    file = check_plot(path)
    from zoo_index.recommending.answers import Recommendations
    from zoo_index.reports.plot import draw_plan, draw_ranking

    if isinstance(result, Recommendations):
        ranking = result
        write(file, lambda place: draw_ranking(ranking, place), "--plot")
    else:
        values, source, target = _named(result, source, target)
        write(file, lambda place: draw_plan(values, place, target=target), "--plot")


def _named(result: TransferReport | TransferPlan, source: str, target: str) -> tuple[dict[str, Any], str, str]:
    from transfer.planning.outline import outlined

    named = source or str(getattr(result, "source", "source"))
    return outlined(result, named), named, target or str(getattr(result, "target", "target"))


def check_html(path: str | os.PathLike[str]) -> Path:
    """Refuse a place where no page can be written; raises as `save_html`."""
    return _checked(Path(path), _PAGES, "--html")


def check_plot(path: str | os.PathLike[str]) -> Path:
    """Refuse a place where no picture can be written, or to draw without matplotlib; raises as `save_plot`."""
    file = _checked(Path(path), _PLOTS, "--plot")
    if find_spec("matplotlib") is None:
        raise InputError(
            f"expected matplotlib to draw '{file}', it is not installed; run: pip install 'zoo-index[plot]'"
        )
    return file


def _checked(path: Path, suffixes: tuple[str, ...], option: str) -> Path:
    if path.suffix.lower() not in suffixes:
        wanted = ", ".join(suffixes[:-1]) + f" or {suffixes[-1]}"
        raise InputError(f"expected a file that ends in {wanted} with {option}, got '{path}'")
    try:
        check_writable(path)
        check_writable(_behind(path))
    except OutputError as error:
        raise _of(option, error) from error
    return path


def write(path: Path, make: Callable[[Path], object], option: str) -> None:
    """Let a file be made beside its place and take it once it is whole.

    Parameters
    ----------
    path : Path
        Of a symbolic link what it leads to is written, and the link stays.
    make : callable
        Writes to the path that it is given, which has the same suffix.
    option : str
        What the user gave the path with, for messages.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        place = _behind(path)
        with beside(place) as folder:
            temporary = folder / path.name  # what a link leads to may have another suffix
            temporary.touch()
            make(temporary)
            put_in_place(temporary, place)
    except OSError as error:
        raise _of(option, cannot_write(path, error)) from error
    except OutputError as error:
        raise _of(option, error) from error


def _behind(path: Path) -> Path:
    """Return what a symbolic link leads to, which need not be there; a path that is none as it is.

    Raises
    ------
    OutputError
        If it leads to nothing but itself.
    """
    if not path.is_symlink():
        return path
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OutputError(f"expected a file as output, '{path}' is a link that leads to itself; name a file")
    return place


def write_text(path: Path, text: str, option: str) -> None:
    """Write a text, as `write` does."""
    write(path, lambda place: place.write_text(text, encoding="utf-8"), option)


def _of(option: str, error: OutputError) -> OutputError:
    return OutputError(str(error).replace("--output", option))
