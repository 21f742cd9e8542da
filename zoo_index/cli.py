"""The command line: parse, one library call, render. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer.errors import InputError, ZooError
from transfer.weights.files import check_writable
from zoo_index.cli_options import (
    filter_options,
    filters_from,
    json_option,
    measure_option,
    options_from,
    reading_options,
    target_option,
    transfer_options,
)

if TYPE_CHECKING:
    from rich.console import Console

    from transfer.options import ChannelChoice, ImageChannels
    from zoo_index.zoo import Zoo

__all__ = ["cli", "main"]


class _Group(click.Group):
    """The one place where errors become messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ZooError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted; what was finished is kept, the same command goes on from there.", err=True)
            ctx.exit(130)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli(standalone_mode=True)
    except BrokenPipeError:  # zoo list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _question(source: str, similarity: float) -> None:
    """Warn of a source that is not expected to help."""
    from zoo_index.verdicts import verdict

    judged = verdict(similarity)
    if not judged.is_useful:
        click.echo(
            f"Warning: {source} has too little in common with the target (similarity {similarity:.3f}), "
            f"expected benefit: {judged.benefit}; {judged.evidence}; train from random initialisation instead",
            err=True,
        )


def _terminate(_signal: int, _frame: object) -> None:
    """Leave as after an interrupt: workers are stopped and what was finished is kept."""
    sys.exit(143)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--db", type=click.Path(path_type=Path), help="Index to use; default: ZOO_DB or the user's data folder."
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="zoo-index", prog_name="zoo")
@click.pass_context
def cli(ctx: click.Context, db: Path | None, debug: bool) -> None:
    """Find the best pretrained source for a network and copy its parameters across.

    TARGET is file.py, file.py:Name, package.module:Name, a timm name or a checkpoint. In a file without a
    name: build_model, make_model, model, else its only torch.nn.Module class.

    Example:

    \b
    zoo recommend --target myarch.py
    zoo transfer --target myarch.py --auto --available -o myarch.safetensors
    """  # noqa: D301 - click's mark for lines that stay as they are
    ctx.obj = db


def _zoo(ctx: click.Context) -> Zoo:
    from zoo_index.zoo import open_zoo

    return open_zoo(ctx.find_root().obj)


def _console() -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 150
    return Console(width=width, highlight=False, soft_wrap=False)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


@cli.group()
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
        report = _zoo(ctx).refresh(processes=processes, only=only, use_snapshot=not no_snapshot, progress=progress)
    if as_json:
        _print_json(asdict(report))
    else:
        from zoo_index._render import show_refresh

        show_refresh(_console(), report)
    if report.failed:
        ctx.exit(1)


@index.command("status")
@json_option
@click.pass_context
def status_command(ctx: click.Context, as_json: bool) -> None:
    """Show what is in the index."""
    zoo = _zoo(ctx)
    zoo.ensure()
    status = zoo.status()
    if as_json:
        _print_json(status)
    else:
        from zoo_index._render import show_status

        show_status(_console(), status)


@index.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def export_command(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Write a snapshot of the timm part of the index to FOLDER."""
    provenance = _zoo(ctx).export(folder)
    if as_json:
        _print_json(provenance)
    else:
        click.echo(
            f"snapshot of timm {provenance['timm']} ({provenance['architectures']} architectures) in {folder}"
        )


@index.command("verify")
@json_option
@click.pass_context
def verify_command(ctx: click.Context, as_json: bool) -> None:
    """Check the database, every fingerprint and the vector file."""
    wrong = _zoo(ctx).verify()
    if as_json:
        _print_json({"problems": wrong})
    else:
        click.echo("\n".join(wrong) or "the index is sound")
    if wrong:
        ctx.exit(1)


@cli.command("list")
@filter_options
@json_option
@click.pass_context
def list_command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """List pretrained entries."""
    entries = _zoo(ctx).entries(filters_from(options))
    if as_json:
        _print_json({"entries": entries})
    else:
        from zoo_index._render import show_entries

        show_entries(_console(), entries)
    if not entries:
        ctx.exit(1)


@cli.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show_command(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show one entry, or the preferred entry of an architecture."""
    entry = _zoo(ctx).entry(name)
    if as_json:
        _print_json(entry)
    else:
        from zoo_index._render import show_entry

        show_entry(_console(), entry)


@cli.command("recommend")
@target_option
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="Number of sources.")
@measure_option
@click.option("--exact", is_flag=True, help="Score every architecture instead of a shortlist.")
@filter_options
@json_option
@click.pass_context
def recommend_command(
    ctx: click.Context, /, target: str, k: int, measure: str, exact: bool, as_json: bool, **options: Any
) -> None:
    """Rank the pretrained networks as sources for TARGET."""
    answer = _zoo(ctx).recommend(target, k=k, measure=measure, exact=exact, filters=filters_from(options))
    if as_json:
        _print_json(answer.to_json())
    else:
        from zoo_index._render import show_recommendations

        show_recommendations(_console(), answer)


@cli.command("similarity")
@click.argument("source")
@click.argument("target")
@measure_option
@json_option
@click.pass_context
def similarity_command(ctx: click.Context, source: str, target: str, measure: str, as_json: bool) -> None:
    """Say how much of TARGET the SOURCE can supply, from 0 to 1."""
    value = _zoo(ctx).similarity(source, target, measure=measure)
    if as_json:
        _print_json({"source": source, "target": target, "measure": measure, "similarity": value})
    else:
        click.echo(f"{value:.6f}")


@cli.command("plan")
@target_option
@click.option("--source", "-s", required=True, help="Entry, architecture or checkpoint.")
@transfer_options
@click.option("--verbose", is_flag=True, help="Show every tensor.")
@json_option
@click.pass_context
def plan_command(
    ctx: click.Context,
    target: str,
    source: str,
    method: str,
    no_head: bool,
    without: tuple[str, ...],
    channels: ChannelChoice,
    image_channels: ImageChannels,
    verbose: bool,
    as_json: bool,
) -> None:
    """Show what a transfer would do to every tensor of TARGET; no weights are read."""
    plan = _zoo(ctx).plan(
        source, target, method=method, options=options_from(no_head, without, channels, image_channels)
    )
    if as_json:
        _print_json({"source": source, "target": target, **plan.to_json()})
    else:
        from zoo_index._render import show_plan

        show_plan(_console(), plan, source=source, target=target, verbose=verbose)


@cli.command("transfer")
@target_option
@click.option("--source", "-s", help="Entry, architecture or checkpoint.")
@click.option("--auto", is_flag=True, help="Take the best recommended source.")
@click.option("--weights", type=click.Path(path_type=Path), help="File with the weights of --source.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Default: the target's name, .safetensors.")
@transfer_options
@reading_options
@click.option("--verbose", is_flag=True, help="Show every tensor.")
@filter_options
@json_option
@click.pass_context
def transfer_command(
    ctx: click.Context,
    /,
    target: str,
    source: str | None,
    auto: bool,
    weights: Path | None,
    output: Path | None,
    method: str,
    no_head: bool,
    without: tuple[str, ...],
    channels: ChannelChoice,
    image_channels: ImageChannels,
    allow_nonfinite: bool,
    ema: bool,
    device: str,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Copy the parameters of a source into TARGET and save it as safetensors."""
    if auto == (source is not None):
        raise InputError("expected either --source NAME or --auto, got " + ("both" if auto else "neither"))
    if weights is not None and source is None:
        raise InputError("expected --source with --weights: it says whose weights the file holds")
    output = output or default_output(target)
    if output.suffix in (".pth", ".pt", ".bin", ".ckpt"):  # torch.load would fail on it
        raise InputError(f"expected an output that ends in .safetensors, which is what is written, got '{output}'")
    check_writable(output)
    report = _zoo(ctx).transfer_to_file(
        target,
        output,
        source,
        weights=weights,
        method=method,
        options=options_from(no_head, without, channels, image_channels),
        filters=filters_from(options),
        allow_nonfinite=allow_nonfinite,
        ema=ema,
        device=device,
    )
    if as_json:
        _print_json(report.to_json())
    else:
        from zoo_index._render import show_report

        show_report(_console(), report, verbose=verbose)
    if report.method == "dpiat":  # verdicts are of its similarity
        _question(report.source, report.similarity)


@cli.command("add")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What to call it.")
@click.option("--license", "license_", help="Licence of the weights.")
@click.option("--family", default="", help="Family to list it under.")
@json_option
@click.pass_context
def add_command(
    ctx: click.Context, checkpoint: Path, name: str, license_: str | None, family: str, as_json: bool
) -> None:
    """Add a local CHECKPOINT to the index as a source."""
    entry = _zoo(ctx).add(checkpoint, name, license=license_, family=family)
    if as_json:
        _print_json(entry)
    else:
        click.echo(f"added {entry['name']}: {entry['n_params']:,} parameters, from {entry['path']}")


@cli.group()
def metrics() -> None:
    """Keep published results of pretrained weights, which break ties among sources."""


@metrics.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dataset", help="What was measured on; default: what the file name says (results-imagenet.csv).")
@json_option
@click.pass_context
def metrics_import_command(ctx: click.Context, file: Path, dataset: str | None, as_json: bool) -> None:
    """Take the results in FILE, a CSV as timm publishes it, in place of those on the same data set."""
    from dataclasses import asdict

    report = _zoo(ctx).import_metrics(file, dataset)
    if as_json:
        _print_json(asdict(report))
    else:
        from zoo_index._render import show_metrics

        show_metrics(_console(), report)


@cli.command("doctor")
@json_option
@click.pass_context
def doctor_command(ctx: click.Context, as_json: bool) -> None:
    """Examine the installation and the index."""
    from dataclasses import asdict

    from zoo_index.doctor import examine

    findings = examine(_zoo(ctx))
    if as_json:
        _print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        from zoo_index._render import show_findings

        show_findings(_console(), findings)
    if any(finding.status == "problem" for finding in findings):
        ctx.exit(1)


def default_output(target: str) -> Path:
    """File for a target's weights: its own name in the current folder."""
    from zoo_index.targets import split_code

    _, attribute = split_code(target) or ("", "")
    return Path(f"{attribute or Path(target).stem}.safetensors")
