"""Options that several commands share, and what they become in the library's words."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from zoo_index.commands.completing import complete_sources, complete_target, complete_values
from zoo_index.commands.values import PART, PARTS, SIZE

if TYPE_CHECKING:
    from transfer.options import ChannelChoice, ImageChannels, Options
    from zoo_index.recommending.answers import Filters

__all__ = [
    "filter_options",
    "filters_from",
    "from_settings",
    "input_option",
    "json_option",
    "measure_option",
    "method_option",
    "option_for_source",
    "option_for_target",
    "options_from",
    "proof_options",
    "reading_options",
    "state_options",
    "target_option",
    "transfer_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])


ANY_LICENSE = "any"
"""What undoes a setting."""


def _only_one(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Return the one value of an option; click alone would take the last of several without a word."""
    if len(values) > 1 and not ctx.resilient_parsing:
        option = max(parameter.opts, key=len)
        raise click.UsageError(
            f"expected one {option.lstrip('-')}, got {len(values)}: {', '.join(map(shlex.quote, values))}; "
            f"give {option} once, or run the command once for each",
            ctx,
        )
    return values[-1] if values else None


def option_for_target(name: str, *, is_required: bool) -> Callable[[Command], Command]:
    """Make the option for the target, which a command gets as `name`."""
    return click.option(
        "--target",
        "-t",
        name,
        required=is_required,
        multiple=True,
        callback=_only_one,
        shell_complete=complete_target,
        help="Your network: file.py, file.py:Name, package.module:Name, a timm name or a checkpoint.",
    )


def option_for_source(
    name: str, *, is_required: bool = False, takes_several: bool = True
) -> Callable[[Command], Command]:
    """Make the option for the source, or for several, which a command gets as `name`."""
    more = " Given again: for what the first leaves random." if takes_several else ""
    return click.option(
        "--source",
        "-s",
        name,
        required=is_required,
        multiple=True,
        callback=None if takes_several else _only_one,
        shell_complete=complete_sources,
        help=f"Pretrained network by name, or a checkpoint.{more}",
    )


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
target_option = option_for_target("target", is_required=True)
input_option = click.option(
    "--input",
    "example",
    metavar="SIZES",
    help="Sizes of what your network takes, e.g. 3x64x64. Default: example_input() of its file, or a guess.",
)
method_option = click.option(
    "--method", type=click.Choice(["dpiat", "paper"]), default="dpiat", show_default=True, help="How to transfer."
)
measure_option = click.option(
    "--measure", type=click.Choice(["dpiat", "paper"]), default="dpiat", show_default=True, help="How to compare."
)


def transfer_options(command: Command) -> Command:
    """Add the options of the dpiat method, in the words of `transfer.options.Options`."""
    for option in (
        click.option(
            "--without",
            multiple=True,
            type=PART,
            metavar="PART",
            help=f"Leave out a part of the dpiat method; may be given again. Parts: {', '.join(PARTS)}.",
        ),
        click.option(
            "--channels",
            type=click.Choice(["importance", "leading"]),
            default="importance",
            show_default=True,
            help="Which channels a narrower target gets.",
        ),
        click.option(
            "--image-channels",
            type=click.Choice(["adapt", "zero"]),
            default="adapt",
            show_default=True,
            help="What images of more channels get: weights adapted, or those of RGB and zero for the new ones.",
        ),
        click.option("--no-head", is_flag=True, help="Do not copy the classifier."),
        method_option,
    ):
        command = option(command)
    return command


def options_from(
    no_head: bool, without: tuple[str, ...], channels: ChannelChoice, image_channels: ImageChannels
) -> Options:
    """Turn the values of `transfer_options` into options."""
    from transfer.options import Options

    parts = {name.replace("-", "_"): False for name in without}
    return Options(head=not no_head, channels=channels, image_channels=image_channels, **parts)


def state_options(command: Command) -> Command:
    """Add the options that say which of the weights in a file are meant."""
    for option in (
        click.option(
            "--state", metavar="KEY", help="Which state dict of a checkpoint to take; default: the largest."
        ),
        click.option(
            "--ema", is_flag=True, help="Take the averaged weights that a checkpoint keeps beside the plain."
        ),
    ):
        command = option(command)
    return command


def reading_options(command: Command) -> Command:
    """Add the options that say which weights of a file are read, and where they go."""
    command = state_options(command)
    for option in (
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="Where the target is built up: cpu, cuda, cuda:N, or auto for CUDA where there is some.",
        ),
        click.option("--allow-nonfinite", is_flag=True, help="Copy NaN and infinity instead of refusing them."),
    ):
        command = option(command)
    return command


def proof_options(command: Command) -> Command:
    """Add the options that say when a transfer is a success."""
    from transfer.execution.coverage import LEAST_COVERAGE

    for option in (
        click.option("--no-verify", is_flag=True, help="Do not run both networks in the end to compare them."),
        click.option(
            "--min-coverage",
            type=float,
            default=LEAST_COVERAGE,
            show_default=True,
            help="Write nothing and end with 1 if a smaller part of the target would be filled.",
        ),
    ):
        command = option(command)
    return command


def filter_options(command: Command) -> Command:
    """Add the options that narrow down entries."""
    for option in reversed(
        (
            click.option(
                "--family",
                shell_complete=complete_values("family"),
                help="Only this family, e.g. resnet or efficientnet.",
            ),
            click.option(
                "--license",
                "license_",
                shell_complete=complete_values("license", ("permissive", ANY_LICENSE), takes_several=True),
                help="Only these licences, e.g. apache-2.0,mit. 'permissive': any use allowed; 'unknown': none is "
                "stated; 'any': all, whatever the settings say.",
            ),
            click.option(
                "--task",
                shell_complete=complete_values("task"),
                help="Only for this task, e.g. image-classification or object-detection.",
            ),
            click.option(
                "--dataset",
                shell_complete=complete_values("dataset"),
                help="Only trained on this data set, e.g. imagenet-1k.",
            ),
            click.option("--max-size", "max_bytes", type=SIZE, help="At most so many bytes of weights, e.g. 99M."),
            click.option("--min-downloads", type=SIZE, help="Downloaded at least so often, e.g. 1K."),
            click.option("--max-params", type=SIZE, help="At most so many parameters, e.g. 25M."),
            click.option("--min-params", type=SIZE, help="At least so many parameters."),
            click.option("--search", help="Only names that contain this text."),
            click.option(
                "--catalogue",
                shell_complete=complete_values("catalogue"),
                help="Only this catalogue, e.g. timm, torchvision, folder or local.",
            ),
            click.option(
                "--available/--anywhere",
                default=False,
                help="Only weights that are on this machine, or (the default) wherever they are.",
            ),
        )
    ):
        command = option(command)
    return command


def filters_from(options: dict[str, Any], *, as_typed: bool = False) -> Filters:
    """Turn the values of `filter_options` into filters.

    Parameters
    ----------
    options : dict
    as_typed : bool
        Leave out those that come from settings: they say which sources are proposed, not which may be named.
    """
    from zoo_index.recommending.answers import Filters

    context = click.get_current_context()
    values = {
        name: value
        for name, value in options.items()
        if not (as_typed and context.get_parameter_source(name) is ParameterSource.DEFAULT_MAP)
    }
    license_ = values.pop("license_", None)
    return Filters(license=None if license_ == ANY_LICENSE else license_, **values)


def from_settings(ctx: click.Context) -> str:
    """Name the options of a command that settings gave, with their values; empty if none did."""
    given = [
        f"{parameter.opts[-1]} {ctx.params[str(parameter.name)]}"
        for parameter in ctx.command.params
        if ctx.get_parameter_source(str(parameter.name)) is ParameterSource.DEFAULT_MAP
    ]
    return ", ".join(given)
