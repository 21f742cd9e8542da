"""Commands that plan a transfer and carry it out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer.errors import InputError
from transfer.weights.files import check_writable
from zoo_index.commands.common import call_again, complain, near_names, page, print_json, warn_of_sources, zoo_of
from zoo_index.commands.options import (
    filter_options,
    filters_from,
    input_option,
    json_option,
    option_for_source,
    options_from,
    proof_options,
    reading_options,
    target_option,
    transfer_options,
)
from zoo_index.commands.pictures import picture_options, pictures_at
from zoo_index.commands.usage import WithHints
from zoo_index.commands.values import PATH
from zoo_index.errors import WeightsUnavailableError

if TYPE_CHECKING:
    from transfer.options import ChannelChoice, ImageChannels

__all__ = ["TRANSFERRING"]


@click.command("plan", cls=WithHints, short_help="Show what a transfer would do.")
@target_option
@input_option
@option_for_source("sources", is_required=True)
@transfer_options
@click.option("--verbose", is_flag=True, help="Show every tensor.")
@picture_options
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
    html: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show what a transfer would do to every tensor of the target; no weights are read and nothing is written.

    \b
    Examples:
      zoo plan --target myarch.py --source efficientnet_lite0
      zoo plan -t myarch.py -s old.safetensors --verbose
      zoo plan -t myarch.py -s efficientnet_lite0 --html report.html
    """  # noqa: D301 - click's mark for lines that stay as they are
    chosen = options_from(no_head, without, channels, image_channels)
    pictures = pictures_at(html, plot)
    from zoo_index.contained import questions

    with near_names(ctx, sources):
        plan = questions.plan(
            partial(zoo_of, ctx),
            sources,
            target,
            method=method,
            options=chosen,
            example=example,
            drawn=pictures.are_wanted,
        )
    source = " + ".join(sources)
    pictures.save_plan(ctx, plan, source=source, target=target)
    if as_json:
        print_json({"source": source, "target": target, **plan})
    else:
        from zoo_index.recommending.targets import split_code
        from zoo_index.reports.plans import show_plan
        from zoo_index.reports.shown import ShownPlan

        call = call_again(ctx, "transfer", "-t", target, *(word for one in sources for word in ("-s", one)))
        if any(split_code(one) for one in sources):  # with its weights, which one source alone can be given
            call = f"{call} --weights FILE" if len(sources) == 1 else ""
        show_plan(page(), ShownPlan.from_json(plan), source=source, target=target, verbose=verbose, call=call)
    warn_of_sources(ctx, sources)
    pictures.tell(quiet=as_json)


@click.command("transfer", cls=WithHints, short_help="Copy the parameters of a source into TARGET.")
@target_option
@input_option
@option_for_source("named")
@click.option("--auto", is_flag=True, help="Take the source that zoo recommend puts first.")
@click.option(
    "--sources",
    type=click.IntRange(1),
    help="Take up to so many sources: each further one for what is left random.",
)
@click.option("--weights", type=PATH, help="File with the weights of --source, which is an entry or code.")
@click.option("--output", "-o", type=PATH, help="File to write. Default: the target's name with .safetensors.")
@transfer_options
@reading_options
@proof_options
@click.option("--verbose", is_flag=True, help="Show every tensor.")
@picture_options
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
    html: Path | None,
    plot: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Copy the parameters of a source into the target and save it as safetensors.

    \b
    Examples:
      zoo transfer --target myarch.py --auto --available -o myarch.safetensors
      zoo transfer -t myarch.py -s old.safetensors --min-coverage 0.3
      zoo transfer -t myarch.py -s old.py --weights old.safetensors
      zoo transfer -t myarch.py --auto --available --sources 2 --no-head
    """  # noqa: D301 - click's mark for lines that stay as they are
    if auto == bool(named):
        raise InputError("expected either --source NAME or --auto, got " + ("both" if auto else "neither"))
    if weights is not None and not named:
        raise InputError("expected --source with --weights: it says whose weights the file holds")
    output = output or default_output(target)
    check_writable(output)
    pictures = pictures_at(html, plot, output)
    if output.suffix.lower() != ".safetensors":
        raise InputError(
            f"expected an output that ends in .safetensors, which is what is written, got '{output}'; "
            f"name it '{output.with_suffix('.safetensors')}'"
        )
    from zoo_index.contained import questions

    with _offering_available(auto and not options["available"]):
        report = questions.transfer_to_file(
            partial(zoo_of, ctx),
            target,
            output,
            named,
            sources=sources or max(len(named), 1),
            weights=weights,
            method=method,
            options=options_from(no_head, without, channels, image_channels),
            filters=filters_from(options, as_typed=bool(named)),
            example=example,
            min_coverage=min_coverage,
            verify=not no_verify,
            allow_nonfinite=allow_nonfinite,
            ema=ema,
            state=state,
            device=device,
            drawn=pictures.are_wanted,
        )
    pictures.save_plan(ctx, report, source=report["source"], target=target)
    if as_json:
        print_json(report)
    else:
        from zoo_index.reports.plans import show_report
        from zoo_index.reports.shown import ShownReport

        show_report(page(), ShownReport.from_json(report), verbose=verbose)
    if weights is None:
        warn_of_sources(ctx, [supply["name"] for supply in report["supplies"]] or [report["source"]])
    pictures.tell(quiet=as_json)
    n_found = max(len(report["supplies"]), 1)
    if sources is not None and n_found < sources and report["coverage"] < 1:
        complain(f"Note: {n_found} of {sources} sources; no other has half of the layers that are left random")
    if report["method"] == "dpiat":  # verdicts are of its similarity
        supplies = report["supplies"]
        from zoo_index.recommending.verdicts import doubt

        wrong = doubt(supplies[0]["name"] if supplies else report["source"], report["similarity"])
        if wrong:
            complain(f"Warning: {wrong}")


@contextmanager
def _offering_available(is_offered: bool) -> Iterator[None]:
    """Where the recommended weights cannot be fetched, say how to take some that are here."""
    try:
        yield
    except WeightsUnavailableError as error:
        if not is_offered:
            raise
        raise type(error)(f"{error}; to choose only among those: --auto --available") from error


def default_output(target: str) -> Path:
    """File for a target's weights: its own name in the current folder."""
    from zoo_index.recommending.targets import split_code

    _, attribute = split_code(target) or ("", "")
    return Path(f"{attribute or Path(target).stem}.safetensors")


TRANSFERRING = (plan_command, transfer_command)
"""For the command line."""
