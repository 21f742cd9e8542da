"""Commands that keep the index: the nightly job, and looking after what it made."""

from __future__ import annotations

from pathlib import Path

import click

from transfer.errors import ZooError
from transfer.weights.files import check_writable
from zoo_index.commands.common import PARTIAL, call_again, page, print_json, say, zoo_of
from zoo_index.commands.options import json_option
from zoo_index.commands.values import PATH
from zoo_index.errors import LeaseHeldError
from zoo_index.foundation.counting import counted
from zoo_index.foundation.progress import advance, step

__all__ = ["INDEX"]


@click.group()
def index() -> None:
    """Build, inspect and export the index.

    \b
    Examples:
      zoo index refresh
      zoo index status
    """  # noqa: D301 - click's mark for lines that stay as they are


@index.command("refresh", short_help="Bring the index in line with what is installed.")
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
    """Bring the index in line with the installed libraries; after an interrupt it goes on where it was.

    Exit status: 0 done; 3 some networks failed, all others are done; 75 another process is refreshing it.

    \b
    Examples:
      zoo index refresh
      zoo index refresh --only efficientnet_lite0 --processes 1
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    from zoo_index.engines import open_engine
    from zoo_index.jobs.prometheus import write_failure, write_metrics

    zoo = zoo_of(ctx)
    if metrics_file is not None:
        check_writable(metrics_file)
    try:
        report = zoo.refresh(
            engine=open_engine(engine, processes=processes, scheduler=scheduler),
            only=only,
            use_snapshot=not no_snapshot,
            seconds=item_seconds,
            progress=advance,
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
        from zoo_index.reports.upkeep import show_refresh

        show_refresh(page(), report)
    if report.status == "partial":
        ctx.exit(PARTIAL)


@index.command("status")
@json_option
@click.pass_context
def status_command(ctx: click.Context, as_json: bool) -> None:
    """Show what is in the index.

    \b
    Examples:
      zoo index status
      zoo index status --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    zoo = zoo_of(ctx)
    if not zoo.store.exists():
        zoo.ensure()
    status = zoo.status()
    if as_json:
        print_json(status)
    else:
        from zoo_index.reports.upkeep import show_status

        show_status(page(), status)


@index.command("export", short_help="Write a snapshot, as it ships with zoo.")
@click.argument("folder", type=PATH)
@json_option
@click.pass_context
def export_command(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Write the part of the index that is of timm and torchvision to FOLDER, as it ships with zoo.

    \b
    Examples:
      zoo index export snapshot/
    """  # noqa: D301 - click's mark for lines that stay as they are
    zoo = zoo_of(ctx)
    step("writing the snapshot")
    provenance = zoo.export(folder)
    if as_json:
        print_json(provenance)
    else:
        n = counted(provenance["architectures"], "architecture")
        say(f"snapshot of timm {provenance['timm']} ({n}) in {folder}")


@index.command("verify", short_help="Check that the index is sound.")
@json_option
@click.pass_context
def verify_command(ctx: click.Context, as_json: bool) -> None:
    """Check that the index is sound: the database, every network in it, and the file that speeds up the search.

    \b
    Examples:
      zoo index verify
    """  # noqa: D301 - click's mark for lines that stay as they are
    zoo = zoo_of(ctx)
    step("checking the database")
    wrong = zoo.verify()
    if as_json:
        print_json({"problems": wrong})
    else:
        for text in wrong or ["the index is sound"]:
            say(text)
    if wrong:
        ctx.exit(1)


@index.command("diff", short_help="Show what changed since the last generation.")
@click.option("--since", type=click.IntRange(0), help="Generation; default: the one before.")
@click.option("--until", type=click.IntRange(0), help="Generation; default: the present one.")
@json_option
@click.pass_context
def diff_command(ctx: click.Context, since: int | None, until: int | None, as_json: bool) -> None:
    """Show what changed from one generation of the index to another.

    Every refresh that changes something makes a new generation; they are counted from 1.

    \b
    Examples:
      zoo index diff
      zoo index diff --since 0 --until 1
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    found = zoo_of(ctx).diff(since, until)
    if as_json:
        print_json(asdict(found))
    else:
        from zoo_index.reports.upkeep import show_difference

        show_difference(page(), found)


@index.command("vacuum", short_help="Delete what was taken out long ago.")
@click.option("--keep-days", type=float, default=30.0, show_default=True, help="Keep what retired since.")
@json_option
@click.pass_context
def vacuum_command(ctx: click.Context, keep_days: float, as_json: bool) -> None:
    """Delete what is in the index no longer since long ago, and give its space back.

    \b
    Examples:
      zoo index vacuum --keep-days 90
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    zoo = zoo_of(ctx)
    step("deleting")
    cleared = zoo.vacuum(keep_days)
    if as_json:
        print_json(asdict(cleared))
    else:
        say(
            f"deleted {counted(cleared.architectures, 'architecture')}, {counted(cleared.entries, 'entry')}, "
            f"{counted(cleared.blocks, 'block')} and {counted(cleared.layers, 'layer')}"
        )


@click.command("doctor", short_help="Examine the installation and the index.")
@click.option("--repair", is_flag=True, help="Put right what can be without a refresh, and examine again.")
@json_option
@click.pass_context
def doctor_command(ctx: click.Context, repair: bool, as_json: bool) -> None:
    """Examine the installation and the index, and say what to do about what is wrong.

    \b
    Examples:
      zoo doctor
      zoo doctor --repair
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    from zoo_index.zoo.doctor import Finding, examine

    zoo = zoo_of(ctx)
    step("examining the installation and the index")
    done = zoo.repair() if repair and zoo.store.exists() else []
    findings = [*(Finding("repair", "ok", text) for text in done), *examine(zoo, call_again(ctx))]
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        from zoo_index.reports.upkeep import show_findings

        show_findings(page(), findings)
    if any(finding.status == "problem" for finding in findings):
        ctx.exit(1)


INDEX = (index, doctor_command)
"""For the command line."""
