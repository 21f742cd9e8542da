"""Pictures for papers: two columns of blocks with ribbons between what was matched, and a ranking in bars.

The only module that knows matplotlib. A picture is as wide as a column of a paper, its text as large as its
captions, and the same result gives the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Curve

from transfer.planning.planned import STATUSES
from zoo_index.foundation.plain_text import plain
from zoo_index.recommending.verdicts import percent
from zoo_index.reports.html.drawing import drawn
from zoo_index.reports.outlines import ShownOutline
from zoo_index.reports.plot_layout import MOST_ROWS, ROW, Flow, Row, flows, rows_of, stack
from zoo_index.reports.shown import ShownPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from zoo_index.recommending.answers import Recommendations

__all__ = ["draw_plan", "draw_ranking"]

_WIDTH = 3.5
"""Inches: a column of a paper in two columns."""

_EDGE, _TOP, _AXIS = 0.06, 0.36, 0.24
"""Inches of a ranking that stay free at the edges, above the bars for title and legend, and below for the axis."""

_BAR = 0.08
"""Inches from one bar to the next of a source."""

_MOST_BESIDE = 1.6
"""Inches of a name that still stands beside its bars."""

_MOST_ABOVE = 28
"""Sources whose names may stand above their bars: of more, the picture would not fit a page."""

_MOST_LETTERS = 150
"""Of one line; so many do not fit, whichever they are."""

_FOOT, _MARGIN = 0.44, 0.66
"""Inches below the blocks, for the words that explain, and below and above them together."""

_COLOURS = {
    "copied": "#2f7d4f",
    "cropped": "#1f7a99",
    "grown": "#c98a1b",
    "resampled": "#8a4fb0",
    "identity": "#4b64c9",
    "fresh": "#e4e0d9",
}
_SCALE = LinearSegmentedColormap.from_list("similarity", ["#eab464", "#b9b765", "#55a58b", "#1f7f93", "#174a7c"])
"""Even steps of lightness, so that it holds in grey and for those who do not tell red from green."""

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 6.5,
    "svg.hashsalt": "zoo",
    "pdf.fonttype": 42,
    "axes.linewidth": 0.5,
    "text.parse_math": False,
    "text.usetex": False,
}
_NO_DATE: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
_DPI = 300


def draw_plan(values: Mapping[str, Any], path: Path, *, target: str) -> None:
    """Draw what a plan or a transfer takes from where.

    Parameters
    ----------
    values : mapping
        Its JSON values, with ``outline`` among them (`transfer.planning.outline.outlined`).
    path : Path
        Ends in ``.png``, ``.svg`` or ``.pdf``.
    target : str
        What the target is called.

    Raises
    ------
    ValueError
        If the values are not those of a plan or report.
    """
    plan = ShownPlan.from_json(values)
    data = drawn(plan, ShownOutline.from_json(values.get("outline")), target=target)
    receiver, givers = (rows_of(sides, data["texts"]) for sides in ([data["target"]], data["sources"]))
    found = flows(data, givers, receiver)
    height = stack(givers, receiver, found)
    with _figure(path, _WIDTH, height + _MARGIN) as figure:
        axes = figure.add_axes((0.01, _FOOT / (height + _MARGIN), 0.98, height / (height + _MARGIN)))
        axes.set(xlim=(0, 1), ylim=(height, 0))
        axes.axis("off")
        for ribbon in _ribbons(found, givers, receiver):
            axes.add_patch(ribbon)
        _draw_boxes(axes, givers, 0.0)
        _draw_boxes(axes, receiver, 0.62, data)
        top = 1 - 0.12 / (height + _MARGIN)
        names = " + ".join(plain(side["name"]) for side in data["sources"])
        for x, name, room in ((0.01, names, 34), (0.62, plain(target), 20)):
            figure.text(x, top, _cut(name, room), fontweight="bold", va="center")
        _draw_keys(figure, axes, {row.status for row in plan.tensors}, height + _MARGIN, plan.coverage)


def _ribbons(
    found: Mapping[tuple[int, int], Flow], givers: Sequence[Row], receiver: Sequence[Row]
) -> Iterator[PathPatch]:
    most = max((n for n, _ in found.values()), default=1.0) or 1.0
    ends: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for a, b in found:
        ends.setdefault(("giver", a), []).append((a, b))
        ends.setdefault(("receiver", b), []).append((a, b))
    thick = {key: ROW * (0.12 + 0.88 * (n / most) ** 0.3) for key, (n, _) in found.items()}
    bounds: dict[tuple[str, tuple[int, int]], tuple[float, float]] = {}
    for (which, i), keys in ends.items():
        total_thick = sum(thick[key] for key in keys)
        factor = min(1.0, ROW / total_thick)
        row = givers[i] if which == "giver" else receiver[i]
        y = row.y + (ROW - factor * total_thick) / 2
        for key in sorted(keys, key=lambda key: key[1] if which == "giver" else key[0]):
            bounds[which, key] = (y, y + factor * thick[key])
            y += factor * thick[key]
    for key, (n, weighted) in sorted(found.items(), key=lambda item: -item[1][0]):
        yield _ribbon(*bounds["giver", key], *bounds["receiver", key], weighted / n if n else 0.5)


def _ribbon(a: float, b: float, c: float, d: float, score: float) -> PathPatch:
    left, right = 0.38, 0.62
    middle = (left + right) / 2
    points = [
        (left, a), (middle, a), (middle, c), (right, c), (right, d), (middle, d), (middle, b), (left, b), (left, a),
    ]  # fmt: skip
    codes = [Curve.MOVETO, *[Curve.CURVE4] * 3, Curve.LINETO, *[Curve.CURVE4] * 3, Curve.CLOSEPOLY]
    colour = _SCALE(score)
    return PathPatch(Curve(points, codes), facecolor=(*colour[:3], 0.7), edgecolor=colour, linewidth=0.3)


def _draw_boxes(axes: Axes, rows: Sequence[Row], x: float, data: Mapping[str, Any] | None = None) -> None:
    """Draw the blocks of one side; those of the target are filled by what happened to them."""
    width = 0.38
    for row in rows:
        axes.add_patch(Rectangle((x, row.y), width, ROW, facecolor="white", edgecolor="#8a8f98", linewidth=0.5))
        parts = _shares(data, row) if data else []
        at: float = x
        for status, share in parts:
            place = (at, row.y + 0.8 * ROW)
            axes.add_patch(Rectangle(place, width * share, 0.2 * ROW, facecolor=_COLOURS[status], linewidth=0))
            at += width * share
        size = 6.5 if len(row.label) < 22 else 5
        axes.text(x + 0.012, row.y + 0.42 * ROW, _cut(row.label, 30), va="center", fontsize=size, clip_on=True)


def _shares(data: Mapping[str, Any], row: Row) -> list[tuple[str, float]]:
    tensors = range(row.first, row.end)
    sizes = data["target"]["sizes"]
    whole = sum(sizes[t] for t in tensors) or 1
    found = dict.fromkeys(STATUSES, 0.0)
    for t in tensors:
        status = STATUSES[data["status"][t]]
        filled = min(data["written"][t], sizes[t]) if status == "grown" else sizes[t]
        found[status] += filled / whole
        found["fresh"] += (sizes[t] - filled) / whole
    return [(status, share) for status, share in found.items() if share]


def _draw_keys(figure: Figure, axes: Axes, statuses: set[str], height: float, coverage: float) -> None:
    """Explain the colours."""
    bar = figure.add_axes((0.04, 0.24 / height, 0.3, 0.06 / height))
    colours = ScalarMappable(Normalize(0, 1), _SCALE)
    made = figure.colorbar(colours, cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    made.outline.set_linewidth(0.4)
    made.ax.tick_params(length=1.5, width=0.4, pad=1, labelsize=5.5)
    figure.text(0.19, 0.36 / height, "similarity of the layers", fontsize=6, ha="center", va="center")
    shown = [(status, status) for status in STATUSES[:-1] if status in statuses]
    shown += [("fresh", "not filled")] if coverage < 1 else []
    for i, (status, words) in enumerate(shown):
        x, y = 0.42 + 0.2 * (i % 3), (0.26 - 0.13 * (i // 3)) / height
        figure.patches.append(
            Rectangle(
                (x, y - 0.03 / height),
                0.018,
                0.06 / height,
                transform=figure.transFigure,
                facecolor=_COLOURS[status],
                linewidth=0,
                figure=figure,
            )
        )
        figure.text(x + 0.03, y, words, fontsize=6, va="center")
    figure.text(0.42, 0.36 / height, f"{percent(coverage)} of the target is filled", fontsize=6, va="center")


def draw_ranking(answer: Recommendations, path: Path) -> None:
    """Draw the similarity and the coverage of the sources of a ranking.

    Names stand beside their bars, or above them where one is long.

    Parameters
    ----------
    answer : Recommendations
    path : Path
        Ends in ``.png``, ``.svg`` or ``.pdf``.
    """
    results = answer.results[:MOST_ROWS]
    with _figure(path, _WIDTH, 1.0) as figure:
        names = [_fitted(figure, plain(result.name), _WIDTH - 4 * _EDGE) for result in results]
        is_above = len(names) <= _MOST_ABOVE and any(_width(figure, name) > _MOST_BESIDE for name in names)
        if not is_above:
            names = [_fitted(figure, name, _MOST_BESIDE) for name in names]
        widest = max((_width(figure, name) for name in names), default=0.0)
        step, middle = (0.34, 0.23) if is_above else (0.22, 0.11)
        left = 2 * _EDGE if is_above else widest + 2 * _EDGE
        length = max(len(results), 1) * step
        height = _TOP + length + _AXIS
        figure.set_size_inches(_WIDTH, height)
        place = (left / _WIDTH, _AXIS / height, (_WIDTH - 2 * _EDGE - left) / _WIDTH, length / height)
        axes = figure.add_axes(place)
        middles = [i * step + middle for i in range(len(results))]
        for key, shift, colour in (("similarity", -_BAR / 2, "#1f7f93"), ("coverage", _BAR / 2, "#b9c7cc")):
            sizes = [getattr(result, key) for result in results]
            axes.barh([y + shift for y in middles], sizes, 0.95 * _BAR, color=colour, label=key)
        axes.set(xlim=(0, 1), ylim=(length, 0), yticks=[])
        for name, y in zip(names, middles, strict=True):
            at = (left, y - 0.13) if is_above else (left - _EDGE / 2, y)
            figure.text(
                at[0] / _WIDTH,
                1 - (_TOP + at[1]) / height,
                name,
                va="center",
                ha="left" if is_above else "right",
            )
        axes.tick_params(length=2, width=0.4)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        title = _fitted(figure, f"Sources for {plain(str(answer.target['name']))}", _WIDTH - 2 * _EDGE, "bold")
        figure.text(_EDGE / _WIDTH, 1 - 0.12 / height, title, fontweight="bold", va="center")
        handles, labels = axes.get_legend_handles_labels()
        corner = (1 - _EDGE / _WIDTH, 1 - 0.2 / height)
        style = {"frameon": False, "borderpad": 0.1, "borderaxespad": 0.0, "handlelength": 1, "fontsize": 6}
        figure.legend(handles, labels, loc="upper right", bbox_to_anchor=corner, ncols=2, **style)


def _width(figure: Figure, text: str, weight: str = "normal") -> float:
    """Inches that a text takes in a figure."""
    drawn_text = figure.text(0, 0, text, fontweight=weight)
    size = drawn_text.get_window_extent().width / figure.dpi
    drawn_text.remove()
    return float(size)


def _fitted(figure: Figure, text: str, room: float, weight: str = "normal") -> str:
    """Cut a text to a width in inches, if it has to be."""
    most = min(len(text), _MOST_LETTERS)
    size = _width(figure, _cut(text, most), weight)
    if size > room:  # letters differ in width: begin above what they take on average
        most = min(most, int(1.2 * most * room / size) + 2)
    while most > 1 and _width(figure, _cut(text, most), weight) > room:
        most -= 1
    return _cut(text, most)


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Give a figure that is written in the end, whatever the reader has set matplotlib to."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a letter that the font lacks
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(path, dpi=_DPI, metadata=_NO_DATE[path.suffix.lower()])


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
