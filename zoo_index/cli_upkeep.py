"""Commands that keep the index: refresh, add, import, examine."""

from __future__ import annotations

from pathlib import Path

import click

from zoo_index.cli_common import page, print_json, say, zoo_of
from zoo_index.cli_options import PATH, json_option

__all__ = ["UPKEEP"]


@click.group()
def index() -> None:
    """Build, inspect and export the index."""


@index.command("refresh")
@click.option("--processes", "-j", type=click.IntRange(1), help="Worker processes; default: one per core.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this architecture; may be given again.")
@click.option("--no-snapshot", is_flag=True, help="Build from nothing, even if the shipped snapshot fits.")
@json_option
@click.pass_context
def refresh_command(
    ctx: click.Context, processes: int | None, only: tuple[str, ...], no_snapshot: bool, as_json: bool
) -> None:
    """Bring the index in line with the installed catalogues; goes on after an interrupt."""
    from dataclasses import asdict

    from zoo_index._progress import progress_bar

    with progress_bar() as progress:
        report = zoo_of(ctx).refresh(
            processes=processes, only=only, use_snapshot=not no_snapshot, progress=progress
        )
    if as_json:
        print_json(asdict(report))
    else:
        from zoo_index._render import show_refresh

        show_refresh(page(), report)
    if report.failed:
        ctx.exit(1)


@index.command("status")
@json_option
@click.pass_context
def status_command(ctx: click.Context, as_json: bool) -> None:
    """Show what is in the index."""
    zoo = zoo_of(ctx)
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
    """Write a snapshot of the timm part of the index to FOLDER."""
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


@click.command("add")
@click.argument("checkpoint", type=PATH)
@click.option("--name", required=True, help="What to call it.")
@click.option("--license", "license_", help="Licence of the weights.")
@click.option("--family", default="", help="Family to list it under.")
@json_option
@click.pass_context
def add_command(
    ctx: click.Context, checkpoint: Path, name: str, license_: str | None, family: str, as_json: bool
) -> None:
    """Add a local CHECKPOINT to the index as a source."""
    entry = zoo_of(ctx).add(checkpoint, name, license=license_, family=family)
    if as_json:
        print_json(entry)
    else:
        say(f"added {entry['name']}: {entry['n_params']:,} parameters, from {entry['path']}")


@click.group()
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
@json_option
@click.pass_context
def doctor_command(ctx: click.Context, as_json: bool) -> None:
    """Examine the installation and the index."""
    from dataclasses import asdict

    from zoo_index.doctor import examine

    findings = examine(zoo_of(ctx))
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        from zoo_index._render import show_findings

        show_findings(page(), findings)
    if any(finding.status == "problem" for finding in findings):
        ctx.exit(1)


UPKEEP = (index, add_command, metrics, doctor_command)
