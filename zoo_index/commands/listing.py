"""Commands that show what is in the index."""

from __future__ import annotations

from typing import Any

import click

from zoo_index.commands.common import call_again, complain, page, print_json, print_lines, warn_of_changes, zoo_of
from zoo_index.commands.completing import complete_names
from zoo_index.commands.options import filter_options, filters_from, from_settings, json_option

__all__ = ["LISTING"]

_ORDERS = ("name", "params", "top1", "downloads", "size")


class _Order(click.ParamType[str]):
    """What to sort by; with a hyphen before it, the largest first."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if str(value).removeprefix("-") not in _ORDERS:
            self.fail(f"expected one of {', '.join(_ORDERS)}, or one with - before it, got {value!r}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        known = (*_ORDERS, *(f"-{name}" for name in _ORDERS))
        return [click.shell_completion.CompletionItem(name) for name in known if name.startswith(incomplete)]


@click.command("list", short_help="List pretrained networks, by name, size, licence and more.")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...", shell_complete=complete_names)
@click.option(
    "--sort",
    type=_Order(),
    metavar="KEY",
    help=f"Sort by one of {', '.join(_ORDERS)}, the smallest first; with - before it, the largest first.",
)
@click.option("--reverse", is_flag=True, help="Turn the order round.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many.")
@filter_options
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values on stdout, numbers as they are.")
@json_option
@click.pass_context
def list_command(
    ctx: click.Context,
    /,
    patterns: tuple[str, ...],
    sort: str | None,
    reverse: bool,
    limit: int | None,
    as_csv: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """List pretrained networks: all, or those whose name, or whose architecture's name, matches a PATTERN.

    In a PATTERN * stands for any text and ? for one character. Put it in quotes, or the shell looks for files.

    \b
    Examples:
      zoo list 'efficientnet*' --sort params
      zoo list --family resnet --max-params 25M --license apache-2.0,mit
      zoo list --sort -params --limit 5 --csv
    """  # noqa: D301 - click's mark for lines that stay as they are
    from zoo_index.recommending.unknown_values import unknown_values
    from zoo_index.zoo.picking import named_like, near_names, ordered

    if as_csv and as_json:
        raise click.UsageError("expected either --csv or --json, got both")
    zoo, filters = zoo_of(ctx), filters_from(options)
    entries = named_like(zoo.entries(filters), patterns)
    entries = ordered(entries, sort.removeprefix("-") if sort else None, (sort or "").startswith("-") != reverse)
    entries = entries[:limit]
    if as_json:
        print_json({"entries": entries})
    elif as_csv:
        from zoo_index.reports.entries import csv_lines

        print_lines(csv_lines(entries))
    elif entries:
        from zoo_index.reports.entries import show_entries

        show_entries(page(), entries, settings=from_settings(ctx))
    warn_of_changes(ctx, entries)
    if not entries:
        everything = zoo.view().entries.all
        unknown = unknown_values(filters, everything)
        if any(patterns) and not unknown:
            near = near_names(patterns, everything)
            unknown = [f"did you mean {', '.join(near)}?"] if near and not named_like(everything, patterns) else []
        given = filters.describe()
        what = " and ".join([*map(repr, patterns), *([f"filters {given}"] if given else [])])
        relax = "relax them, or " if given else ""
        hint = "; ".join(unknown) or f"{relax}see what there is: zoo list"
        complain(f"Nothing found for {what}: {hint}" if what else "Nothing found: the index lists no weights")
        ctx.exit(1)


@click.command("show", short_help="Show one pretrained network.")
@click.argument("name", shell_complete=complete_names)
@json_option
@click.pass_context
def show_command(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show a pretrained network by NAME, or the preferred weights of an architecture.

    \b
    Examples:
      zoo show efficientnet_lite0
      zoo show efficientnet_lite0.ra_in1k --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    zoo = zoo_of(ctx)
    entry = zoo.entry(name)
    if as_json:
        print_json(entry)
    else:
        from zoo_index.hub.availability import Availability
        from zoo_index.reports.entries import show_entry

        siblings = zoo.view().entries.of([entry["architecture_id"]])
        others = [sibling["name"] for sibling in siblings if sibling["name"] != entry["name"]]
        place = Availability().find(entry)
        here = None if place is None else str(place)
        show_entry(page(), entry, asked=name, others=others, place=here, call=call_again(ctx))
    warn_of_changes(ctx, [entry])


LISTING = (list_command, show_command)
"""For the command line."""
