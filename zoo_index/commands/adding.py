"""Commands that add to the index what its catalogues do not list."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer.errors import InputError
from zoo_index.commands.common import PARTIAL, call_again, page, print_json, say, zoo_of
from zoo_index.commands.completing import complete_names, complete_values
from zoo_index.commands.options import json_option
from zoo_index.commands.values import PATH
from zoo_index.foundation.counting import counted
from zoo_index.foundation.progress import advance

if TYPE_CHECKING:
    from zoo_index.jobs.refresh import RefreshReport

__all__ = ["ADDING"]

_HUB, _STRUCTURES = "hub:", "transformers:"
"""What a query begins with, and what the structures of a library are called."""


@click.command("add", short_help="Add checkpoints, folders or a hub as sources.")
@click.argument("checkpoint", type=PATH)
@click.option("--name", help="What to call it; default: the name of the file or folder.")
@click.option("--license", "license_", shell_complete=complete_values("license"), help="Licence of the weights.")
@click.option("--family", default="", shell_complete=complete_values("family"), help="Family to list it under.")
@json_option
@click.pass_context
def add_command(
    ctx: click.Context, checkpoint: Path, name: str | None, license_: str | None, family: str, as_json: bool
) -> None:
    """Add a CHECKPOINT, all checkpoints in a folder, or what a hub has, to the index as sources.

    A file has one entry: added again, it is brought up to date, or takes the new name.

    A folder is looked through again at every refresh: new, changed and removed files are noticed.

    hub:QUERY adds repositories of the Hugging Face Hub, of which only the headers are read:
    hub:author=timm,task=image-classification,limit=200 or hub:google/vit-base-patch16-224.

    transformers: (with the colon) adds the networks of that library at their default sizes, without weights.

    \b
    Examples:
      zoo add my_weights.pth --name mine --license mit
      zoo add runs/ --name runs
      zoo add hub:author=timm,limit=2
    """  # noqa: D301 - click's mark for lines that stay as they are
    if str(checkpoint).startswith(_HUB):
        query = str(checkpoint).removeprefix(_HUB)
        called = "hub" if name is None else name
        _add_many(ctx, partial(zoo_of(ctx).add_query, query, called, license=license_), as_json)
        return
    if str(checkpoint) == _STRUCTURES:
        _add_many(ctx, zoo_of(ctx).add_structures, as_json, are_sources=False)
        return
    from transfer.weights.inspection import is_one_checkpoint

    if os.path.isdir(checkpoint) and not is_one_checkpoint(checkpoint):
        if family:
            raise InputError("expected --family with a single file; entries of a folder are filed under its name")
        called = checkpoint.resolve().name if name is None else name
        _add_many(ctx, partial(zoo_of(ctx).add_folder, checkpoint, called, license=license_), as_json)
        return
    entry = zoo_of(ctx).add(checkpoint, name, license=license_, family=family)
    if as_json:
        print_json(entry)
    else:
        _tell_added(ctx, entry)


def _tell_added(ctx: click.Context, entry: Mapping[str, Any]) -> None:
    """Say what was added, and that it, or a file that holds the same, is there already."""
    name, before = entry["name"], entry["replaced"]
    classes = f", {counted(entry['n_classes'], 'class')}" if entry["n_classes"] else ""
    what = f"{name}: {counted(entry['n_params'], 'parameter')}{classes}, from {entry['path']}"
    say(f"{'brought up to date' if name in before else 'added'} {what}")
    gone = [other for other in before if other != name]
    if gone:
        say(f"it takes the place of {', '.join(gone)}, which was the same file")
    if entry["alike"]:
        say(
            f"the same content is already there as {', '.join(entry['alike'])}: both will be recommended; "
            f"to take this one out: {call_again(ctx)} remove {'-- ' * name.startswith('-')}{shlex.quote(name)}"
        )


def _add_many(
    ctx: click.Context, add: Callable[..., RefreshReport], as_json: bool, *, are_sources: bool = True
) -> None:
    from dataclasses import asdict

    report = add(progress=advance)
    if as_json:
        print_json(asdict(report))
    else:
        from zoo_index.reports.upkeep import show_added, show_refresh

        out = page()
        show_refresh(out, report)
        show_added(out, report.new, are_sources=are_sources, call=call_again(ctx))
    if report.status == "partial":
        ctx.exit(PARTIAL)


@click.command("remove", short_help="Take out what was added.")
@click.argument("name", shell_complete=complete_names)
@json_option
@click.pass_context
def remove_command(ctx: click.Context, name: str, as_json: bool) -> None:
    """Take an entry, or a folder or query, that was added with zoo add out of the index; files stay.

    \b
    Examples:
      zoo remove mine
    """  # noqa: D301 - click's mark for lines that stay as they are
    zoo_of(ctx).remove(name)
    if as_json:
        print_json({"removed": name})
    else:
        say(f"removed {name}")


@click.group(short_help="Keep published results, which break ties.")
def metrics() -> None:
    """Keep published results of pretrained weights, which break ties among sources.

    \b
    Examples:
      zoo metrics import results-imagenet.csv
    """  # noqa: D301 - click's mark for lines that stay as they are


@metrics.command("import", short_help="Take published results from a CSV file.")
@click.argument("file", type=PATH)
@click.option("--dataset", help="What was measured on; default: what the file name says (results-imagenet.csv).")
@json_option
@click.pass_context
def metrics_import_command(ctx: click.Context, file: Path, dataset: str | None, as_json: bool) -> None:
    """Take the results in FILE, a CSV as timm publishes it, in place of those on the same data set.

    \b
    Examples:
      zoo metrics import results-imagenet.csv
      zoo metrics import results.csv --dataset imagenet
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    report = zoo_of(ctx).import_metrics(file, dataset)
    if as_json:
        print_json(asdict(report))
    else:
        from zoo_index.reports.upkeep import show_metrics

        show_metrics(page(), report)


ADDING = (add_command, remove_command, metrics)
"""For the command line."""
