"""Commands that watch targets: add one, list them, look for better sources after a refresh."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from zoo_index.commands.common import complain, page, print_json, say, zoo_of
from zoo_index.commands.completing import complete_target
from zoo_index.commands.options import filter_options, filters_from, input_option, json_option

__all__ = ["watch"]

_BETTER = 4
"""Exit status of a check that found a better source, so that a job can alert."""


@click.group(short_help="Watch networks of yours for better sources.")
def watch() -> None:
    """Watch networks of yours: hear of a better source than last time.

    \b
    Examples:
      zoo watch add myarch.py --name mine
      zoo watch check
    """  # noqa: D301 - click's mark for lines that stay as they are


@watch.command("add", short_help="Watch TARGET.")
@click.argument("target", shell_complete=complete_target)
@click.option("--name", help="What to call it; default: the target as given.")
@input_option
@filter_options
@json_option
@click.pass_context
def add_command(
    ctx: click.Context, /, target: str, name: str | None, example: str | None, as_json: bool, **options: Any
) -> None:
    """Watch TARGET; its architecture is kept, its code is not run again.

    \b
    Examples:
      zoo watch add myarch.py --name mine --license permissive
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    from zoo_index.contained import questions
    from zoo_index.zoo.watching import add_watch

    resolved = questions.resolved(partial(zoo_of, ctx), target, measure="dpiat", example=example)
    watched = add_watch(zoo_of(ctx), resolved, target if name is None else name, filters_from(options))
    if as_json:
        print_json(asdict(watched))
    else:
        best = f"{watched.best} ({watched.similarity:.3f})" if watched.best else "none"
        say(f"watching {watched.name}; best source now: {best}")


@watch.command("list")
@json_option
@click.pass_context
def list_command(ctx: click.Context, as_json: bool) -> None:
    """List what is watched.

    \b
    Examples:
      zoo watch list
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    from zoo_index.zoo.watching import list_watches

    watches = list_watches(zoo_of(ctx))
    if as_json:
        print_json({"watches": [asdict(each) for each in watches]})
    else:
        from zoo_index.reports.upkeep import show_watches

        show_watches(page(), watches)


@watch.command("remove")
@click.argument("name")
@json_option
@click.pass_context
def remove_command(ctx: click.Context, name: str, as_json: bool) -> None:
    """Watch NAME no longer.

    \b
    Examples:
      zoo watch remove mine
    """  # noqa: D301 - click's mark for lines that stay as they are
    from zoo_index.zoo.watching import remove_watch

    remove_watch(zoo_of(ctx), name)
    if as_json:
        print_json({"removed": name})
    else:
        say(f"no longer watching {name}")


@watch.command("check", short_help="Look for better sources than last time.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.pass_context
def check_command(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Look for better sources than last time, for all watched targets or those named; ends with 4 if there are any.

    \b
    Examples:
      zoo watch check
      zoo watch check mine --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    from zoo_index.zoo.watching import Better, check_watches, list_watches

    zoo = zoo_of(ctx)
    for watched in list_watches(zoo):
        if watched.is_outdated:
            complain(
                f"Warning: {watched.name} is of an older standardization and is not looked at; "
                "watch it again: zoo watch remove, zoo watch add"
            )

    def tell(better: list[Better]) -> None:
        if as_json:
            print_json({"better": [asdict(each) for each in better]})
            return
        for each in better:
            before = f"{each.before} ({each.similarity_before:.3f})" if each.before else "none"
            say(f"{each.name}: {each.now} ({each.similarity:.3f}), was {before}")
        if not better:
            say("nothing better than last time")

    if check_watches(zoo, names, tell):
        ctx.exit(_BETTER)
