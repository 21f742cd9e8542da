"""The options --html and --plot: a page to look at, and a picture for a paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from transfer.errors import InputError
from zoo_index.commands.common import call_again, say, zoo_of
from zoo_index.commands.values import PATH

if TYPE_CHECKING:
    from zoo_index.recommending.answers import Recommendations

__all__ = ["Pictures", "picture_options", "pictures_at"]

Command = TypeVar("Command", bound=Callable[..., Any])

_LEFT_OUT = ("as_json", "verbose", "explain")
"""Options that do not change what is found."""

_N_DRAWN = 3
"""Sources of a ranking whose plans are drawn: a plan takes a second or two."""


def picture_options(command: Command) -> Command:
    """Add the options that ask for a page or a picture."""
    for option in (
        click.option("--plot", type=PATH, help="Draw a picture for a paper: .png, .svg or .pdf."),
        click.option("--html", type=PATH, help="Write a page to look at in a browser, in one file."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Pictures:
    """What was asked for.

    Parameters
    ----------
    html, plot : Path or None
    """

    html: Path | None
    plot: Path | None

    @property
    def are_wanted(self) -> bool:
        """Whether there is anything to draw."""
        return self.html is not None or self.plot is not None

    @property
    def n_plans(self) -> int:
        """How many sources of a ranking are planned for."""
        return _N_DRAWN if self.html is not None else 0

    def save_plan(self, ctx: click.Context, values: dict[str, Any], *, source: str, target: str) -> None:
        """Write what was asked for of a plan or a report, and take out of its values what only pictures need.

        Parameters
        ----------
        ctx : click.Context
        values : dict
            With ``outline``, which is gone afterwards.
        source, target : str
            What they are called.
        """
        if not self.are_wanted:
            return
        from zoo_index.recommending.targets import name_for
        from zoo_index.reports.saving import write, write_text

        called = name_for(target)
        if self.html is not None:
            from zoo_index.reports.html.pages import plan_page

            names = [supply["name"] for supply in values["supplies"]] or [source]
            text = plan_page(values, source=source, target=called, command=_retyped(ctx, names))
            write_text(self.html, text, "--html")
        if self.plot is not None:
            from zoo_index.reports.plot import draw_plan

            write(self.plot, lambda place: draw_plan(values, place, target=called), "--plot")
        del values["outline"]

    def save_ranking(
        self, ctx: click.Context, answer: Recommendations, plans: Mapping[str, Any], *, target: str
    ) -> None:
        """Write what was asked for of a ranking; see `save_plan`."""
        if not self.are_wanted:
            return
        from zoo_index.reports.saving import write, write_text

        if self.html is not None:
            from zoo_index.reports.html.pages import ranking_page

            zoo = zoo_of(ctx)
            text = ranking_page(
                answer,
                plans=plans,
                entries={result.name: zoo.entry(result.name) for result in answer.results},
                target=target,
                command=_retyped(ctx, ()),
            )
            write_text(self.html, text, "--html")
        if self.plot is not None:
            from zoo_index.reports.plot import draw_ranking

            write(self.plot, lambda place: draw_ranking(answer, place), "--plot")

    def tell(self, *, quiet: bool) -> None:
        """Say where the files are, unless what is printed is for programs."""
        for what, path in (("page", self.html), ("picture", self.plot)):
            if path is not None and not quiet:
                say(f"{what} written to {path}")


def pictures_at(html: Path | None, plot: Path | None, output: Path | None = None) -> Pictures:
    """Refuse, before any work is done, pictures that cannot be written.

    Parameters
    ----------
    html, plot : Path or None
        Where they go.
    output : Path or None
        Where something else goes.

    Raises
    ------
    InputError, OutputError
        As `reports.saving.check_html` and `check_plot`.
    """
    if html is not None or plot is not None:
        from zoo_index.reports.saving import check_html, check_plot

        for path, check in ((html, check_html), (plot, check_plot)):
            if path is not None:
                check(path)
        if output is not None and output in (html, plot):
            raise InputError(f"expected files of their own, '{output}' is named twice; choose another one")
    return Pictures(html, plot)


def _retyped(ctx: click.Context, sources: Sequence[str]) -> str:
    """Write the command that was typed; sources that were recommended are named."""
    words = [ctx.info_name or ""]
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        if ctx.get_parameter_source(param.name or "") is not ParameterSource.COMMANDLINE or param.name in _LEFT_OUT:
            continue
        if param.name in ("auto", "sources") and sources and "auto" in ctx.params:
            continue
        if param.name == "named":
            continue
        option = max(param.opts, key=len)
        if not isinstance(param, click.Option):
            words.append(str(value))
        elif param.is_flag:
            words.append(option)
        else:
            for one in value if isinstance(value, tuple) else [value]:
                words += [option, str(one)]
    if "named" in ctx.params:
        words += [word for name in sources for word in ("--source", name)]
    return call_again(ctx, *words)
