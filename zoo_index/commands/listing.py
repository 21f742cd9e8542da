"""Commands that show what is in the index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo_index.commands.common import page, print_json, zoo_of
from zoo_index.commands.options import (
    filter_options,
    filters_from,
    json_option,
)

if TYPE_CHECKING:
    pass

__all__ = ["LISTING"]


@click.command("list")
@filter_options
@json_option
@click.pass_context
def list_command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """List pretrained entries."""
    entries = zoo_of(ctx).entries(filters_from(options))
    if as_json:
        print_json({"entries": entries})
    else:
        from zoo_index.reports.entries import show_entries

        show_entries(page(), entries)
    if not entries:
        ctx.exit(1)


@click.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show_command(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show one entry, or the preferred entry of an architecture."""
    entry = zoo_of(ctx).entry(name)
    if as_json:
        print_json(entry)
    else:
        from zoo_index.reports.entries import show_entry

        show_entry(page(), entry)


LISTING = (list_command, show_command)
"""For the command line."""
