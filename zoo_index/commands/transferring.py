"""Commands that plan a transfer and carry it out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer.errors import InputError
from transfer.weights.files import check_writable
from zoo_index.commands.common import complain, page, print_json, zoo_of
from zoo_index.commands.options import (
    PATH,
    filter_options,
    filters_from,
    input_option,
    json_option,
    options_from,
    proof_options,
    reading_options,
    target_option,
    transfer_options,
)
from zoo_index.contained import questions

if TYPE_CHECKING:
    from transfer.options import ChannelChoice, ImageChannels

__all__ = ["TRANSFERRING"]


@click.command("plan", short_help="Show what a transfer would do.")
@target_option
@input_option
@click.option(
    "--source",
    "-s",
    "sources",
    required=True,
    multiple=True,
    help="Entry, architecture or checkpoint; again: for what the first leaves fresh.",
)
@transfer_options
@click.option("--verbose", is_flag=True, help="Show every tensor.")
@json_option
@click.pass_context
def plan_command(
    ctx: click.Context,
    target: str,
    example: str | None,
    sources: tuple[str, ...],
    method: str,
    no_head: bool,
    without: tuple[str, ...],
    channels: ChannelChoice,
    image_channels: ImageChannels,
    verbose: bool,
    as_json: bool,
) -> None:
    """Show what a transfer would do to every tensor of TARGET; no weights are read."""
    chosen = options_from(no_head, without, channels, image_channels)
    plan = questions.plan(partial(zoo_of, ctx), sources, target, method=method, options=chosen, example=example)
    source = " + ".join(sources)
    if as_json:
        print_json({"source": source, "target": target, **plan})
    else:
        from zoo_index.reports.plans import show_plan
        from zoo_index.reports.shown import ShownPlan

        show_plan(page(), ShownPlan.from_json(plan), source=source, target=target, verbose=verbose)


@click.command("transfer", short_help="Copy the parameters of a source into TARGET.")
@target_option
@input_option
@click.option(
    "--source",
    "-s",
    "named",
    multiple=True,
    help="Entry, architecture or checkpoint; again: for what the first leaves fresh.",
)
@click.option("--auto", is_flag=True, help="Take the best recommended source.")
@click.option(
    "--sources",
    type=click.IntRange(1),
    help="Up to so many: those not named are recommended, each for what is left fresh.",
)
@click.option("--weights", type=PATH, help="File with the weights of --source.")
@click.option("--output", "-o", type=PATH, help="Default: the target's name, .safetensors.")
@transfer_options
@reading_options
@proof_options
@click.option("--verbose", is_flag=True, help="Show every tensor.")
@filter_options
@json_option
@click.pass_context
def transfer_command(
    ctx: click.Context,
    /,
    target: str,
    example: str | None,
    named: tuple[str, ...],
    auto: bool,
    sources: int | None,
    weights: Path | None,
    output: Path | None,
    method: str,
    no_head: bool,
    without: tuple[str, ...],
    channels: ChannelChoice,
    image_channels: ImageChannels,
    min_coverage: float,
    no_verify: bool,
    allow_nonfinite: bool,
    ema: bool,
    state: str | None,
    device: str,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Copy the parameters of a source into TARGET and save it as safetensors."""
    if auto == bool(named):
        raise InputError("expected either --source NAME or --auto, got " + ("both" if auto else "neither"))
    if weights is not None and not named:
        raise InputError("expected --source with --weights: it says whose weights the file holds")
    output = output or default_output(target)
    if output.suffix in (".pth", ".pt", ".bin", ".ckpt"):  # torch.load would fail on it
        raise InputError(f"expected an output that ends in .safetensors, which is what is written, got '{output}'")
    check_writable(output)
    report = questions.transfer_to_file(
        partial(zoo_of, ctx),
        target,
        output,
        named,
        sources=sources or max(len(named), 1),
        weights=weights,
        method=method,
        options=options_from(no_head, without, channels, image_channels),
        filters=filters_from(options),
        example=example,
        min_coverage=min_coverage,
        verify=not no_verify,
        allow_nonfinite=allow_nonfinite,
        ema=ema,
        state=state,
        device=device,
    )
    if as_json:
        print_json(report)
    else:
        from zoo_index.reports.plans import show_report
        from zoo_index.reports.shown import ShownReport

        show_report(page(), ShownReport.from_json(report), verbose=verbose)
    n_found = max(len(report["supplies"]), 1)
    if sources is not None and n_found < sources and report["coverage"] < 1:
        complain(f"Note: {n_found} of {sources} sources; no other has half of the layers that are left fresh")
    if report["method"] == "dpiat":  # verdicts are of its similarity
        supplies = report["supplies"]
        _question(supplies[0]["name"] if supplies else report["source"], report["similarity"])


def _question(source: str, similarity: float) -> None:
    """Warn of a source that is not expected to help."""
    from zoo_index.recommending.verdicts import verdict

    judged = verdict(similarity)
    if not judged.is_useful:
        complain(
            f"Warning: {source} has too little in common with the target (similarity {similarity:.3f}), "
            f"expected benefit: {judged.benefit}; {judged.evidence}; train from random initialisation instead",
        )


def default_output(target: str) -> Path:
    """File for a target's weights: its own name in the current folder."""
    from zoo_index.recommending.targets import split_code

    _, attribute = split_code(target) or ("", "")
    return Path(f"{attribute or Path(target).stem}.safetensors")


TRANSFERRING = (plan_command, transfer_command)
"""For the command line."""
