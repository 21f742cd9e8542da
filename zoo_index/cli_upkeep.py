"""Commands that keep the index: refresh, add, import, examine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from transfer.errors import InputError, ZooError
from transfer.weights.files import check_writable
from transfer.weights.inspection import is_one_checkpoint
from zoo_index.cli_common import page, print_json, say, zoo_of
from zoo_index.cli_options import PATH, json_option
from zoo_index.errors import LeaseHeldError

if TYPE_CHECKING:
    from zoo_index.index.refresh import RefreshReport

__all__ = ["UPKEEP"]


@click.group()
def index() -> None:
    """Build, inspect and export the index."""


_HUB, _STRUCTURES = "hub:", "transformers:"
"""What a query begins with, and what the structures of a library are called."""

_PARTIAL = 3
"""Exit status of a refresh that did all but some architectures."""


@index.command("refresh")
@click.option("--processes", "-j", type=click.IntRange(1), help="Worker processes; default: one per core.")
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Only this architecture; may be given again. A new index holds nothing else then.",
)
@click.option("--no-snapshot", is_flag=True, help="Build from nothing, even if the shipped snapshot fits.")
@click.option("--engine", type=click.Choice(["local", "dask"]), default="local", show_default=True)
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster, such as tcp://10.0.0.5:8786.")
@click.option(
    "--item-seconds", type=click.FloatRange(1, 1e6), help="Give up a network that takes longer. Default: 600."
)
@click.option("--metrics-file", type=PATH, help="Write figures for Prometheus (textfile).")
@json_option
@click.pass_context
def refresh_command(
    ctx: click.Context,
    processes: int | None,
    only: tuple[str, ...],
    no_snapshot: bool,
    engine: str,
    scheduler: str | None,
    item_seconds: float | None,
    metrics_file: Path | None,
    as_json: bool,
) -> None:
    """Bring the index in line with the installed catalogues; goes on after an interrupt.

    Exit status: 0 done, 3 partial (some architectures failed, all else is done), 75 another process is at it.
    """
    from dataclasses import asdict

    from zoo_index._progress import progress_bar
    from zoo_index.engines import open_engine
    from zoo_index.prometheus import write_failure, write_metrics

    zoo = zoo_of(ctx)
    if metrics_file is not None:
        check_writable(metrics_file)
    is_logged = ctx.find_root().params["log_json"]
    try:
        with nullcontext() if is_logged else progress_bar() as progress:
            report = zoo.refresh(
                engine=open_engine(engine, processes=processes, scheduler=scheduler),
                only=only,
                use_snapshot=not no_snapshot,
                seconds=item_seconds,
                progress=progress,
            )
    except ZooError as error:
        if metrics_file is not None and not isinstance(error, LeaseHeldError):
            write_failure(metrics_file)
        raise
    if metrics_file is not None:
        write_metrics(metrics_file, report, zoo.status())
    if as_json:
        print_json(asdict(report))
    else:
        from zoo_index._render import show_refresh

        show_refresh(page(), report)
    if report.status == "partial":
        ctx.exit(_PARTIAL)


@index.command("status")
@json_option
@click.pass_context
def status_command(ctx: click.Context, as_json: bool) -> None:
    """Show what is in the index."""
    zoo = zoo_of(ctx)
    if not zoo.store.exists():
        zoo.ensure()
    status = zoo.status()
    if as_json:
        print_json(status)
    else:
        from zoo_index._render import show_status

        show_status(page(), status)


@index.command("export")
@click.argument("folder", type=PATH)
@json_option
@click.pass_context
def export_command(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Write a snapshot of the part of the index that is of timm and torchvision to FOLDER."""
    provenance = zoo_of(ctx).export(folder)
    if as_json:
        print_json(provenance)
    else:
        say(f"snapshot of timm {provenance['timm']} ({provenance['architectures']} architectures) in {folder}")


@index.command("verify")
@json_option
@click.pass_context
def verify_command(ctx: click.Context, as_json: bool) -> None:
    """Check the database, every fingerprint and the vector file."""
    wrong = zoo_of(ctx).verify()
    if as_json:
        print_json({"problems": wrong})
    else:
        for text in wrong or ["the index is sound"]:
            say(text)
    if wrong:
        ctx.exit(1)


@index.command("diff")
@click.option("--since", type=click.IntRange(0), help="Generation; default: the one before.")
@click.option("--until", type=click.IntRange(0), help="Generation; default: the present one.")
@json_option
@click.pass_context
def diff_command(ctx: click.Context, since: int | None, until: int | None, as_json: bool) -> None:
    """Show what changed from one generation of the index to another."""
    from dataclasses import asdict

    found = zoo_of(ctx).diff(since, until)
    if as_json:
        print_json(asdict(found))
    else:
        from zoo_index._render import show_difference

        show_difference(page(), found)


@index.command("vacuum")
@click.option("--keep-days", type=float, default=30.0, show_default=True, help="Keep what retired since.")
@json_option
@click.pass_context
def vacuum_command(ctx: click.Context, keep_days: float, as_json: bool) -> None:
    """Delete what retired long ago, and give its space back."""
    from dataclasses import asdict

    cleared = zoo_of(ctx).vacuum(keep_days)
    if as_json:
        print_json(asdict(cleared))
    else:
        say(
            f"deleted {cleared.architectures} architectures, {cleared.entries} entries, {cleared.blocks} blocks "
            f"and {cleared.layers} layers"
        )


@click.command("remove", short_help="Take out what was added.")
@click.argument("name")
@click.pass_context
def remove_command(ctx: click.Context, name: str) -> None:
    """Take an entry that was added with `zoo add` out of the index; its file stays."""
    zoo_of(ctx).remove(name)
    say(f"removed {name}")


@click.command("add", short_help="Add checkpoints, folders or a hub as sources.")
@click.argument("checkpoint", type=PATH)
@click.option("--name", help="What to call it; default: the name of the file or folder.")
@click.option("--license", "license_", help="Licence of the weights.")
@click.option("--family", default="", help="Family to list it under.")
@json_option
@click.pass_context
def add_command(
    ctx: click.Context, checkpoint: Path, name: str | None, license_: str | None, family: str, as_json: bool
) -> None:
    """Add a CHECKPOINT, all checkpoints in a folder, or what a hub has, to the index as sources.

    A folder is looked through again at every refresh: new, changed and removed files are noticed.

    hub:QUERY adds repositories of the Hugging Face Hub, of which only the headers are read:
    hub:author=timm,task=image-classification,limit=200 or hub:google/vit-base-patch16-224.

    transformers: adds the networks of that library at their default sizes, without weights.
    """
    if str(checkpoint).startswith(_HUB):
        query = str(checkpoint).removeprefix(_HUB)
        called = "hub" if name is None else name
        _add_many(ctx, partial(zoo_of(ctx).add_query, query, called, license=license_), as_json)
        return
    if str(checkpoint) == _STRUCTURES:
        _add_many(ctx, zoo_of(ctx).add_structures, as_json)
        return
    if checkpoint.is_dir() and not is_one_checkpoint(checkpoint):
        if family:
            raise InputError("expected --family with a single file; entries of a folder are filed under its name")
        called = checkpoint.resolve().name if name is None else name
        _add_many(ctx, partial(zoo_of(ctx).add_folder, checkpoint, called, license=license_), as_json)
        return
    name = checkpoint.stem if name is None else name
    entry = zoo_of(ctx).add(checkpoint, name, license=license_, family=family)
    if as_json:
        print_json(entry)
    else:
        say(f"added {entry['name']}: {entry['n_params']:,} parameters, from {entry['path']}")


def _add_many(ctx: click.Context, add: Callable[..., RefreshReport], as_json: bool) -> None:
    from dataclasses import asdict

    from zoo_index._progress import progress_bar

    with progress_bar() as progress:
        report = add(progress=progress)
    if as_json:
        print_json(asdict(report))
    else:
        from zoo_index._render import show_refresh

        show_refresh(page(), report)
    if report.status == "partial":
        ctx.exit(_PARTIAL)


@click.group(short_help="Keep published results, which break ties.")
def metrics() -> None:
    """Keep published results of pretrained weights, which break ties among sources."""


@metrics.command("import")
@click.argument("file", type=PATH)
@click.option("--dataset", help="What was measured on; default: what the file name says (results-imagenet.csv).")
@json_option
@click.pass_context
def metrics_import_command(ctx: click.Context, file: Path, dataset: str | None, as_json: bool) -> None:
    """Take the results in FILE, a CSV as timm publishes it, in place of those on the same data set."""
    from dataclasses import asdict

    report = zoo_of(ctx).import_metrics(file, dataset)
    if as_json:
        print_json(asdict(report))
    else:
        from zoo_index._render import show_metrics

        show_metrics(page(), report)


@click.command("doctor")
@click.option("--repair", is_flag=True, help="Put right what can be without a refresh, and examine again.")
@json_option
@click.pass_context
def doctor_command(ctx: click.Context, repair: bool, as_json: bool) -> None:
    """Examine the installation and the index."""
    from dataclasses import asdict

    from zoo_index.doctor import Finding, examine

    zoo = zoo_of(ctx)
    done = zoo.repair() if repair and zoo.store.exists() else []
    findings = [*(Finding("repair", "ok", text) for text in done), *examine(zoo)]
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        from zoo_index._render import show_findings

        show_findings(page(), findings)
    if any(finding.status == "problem" for finding in findings):
        ctx.exit(1)


UPKEEP = (index, add_command, remove_command, metrics, doctor_command)
