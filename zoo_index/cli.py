"""The command line: parse, one library call, render. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer.errors import InputError, ZooError
from transfer.weights.files import check_writable
from zoo_index import interrupts
from zoo_index._streams import are_cut, finish, prepare
from zoo_index.cli_common import complain, page, print_json, say, zoo_of
from zoo_index.cli_files import FILES
from zoo_index.cli_options import (
    PATH,
    filter_options,
    filters_from,
    input_option,
    json_option,
    measure_option,
    options_from,
    proof_options,
    reading_options,
    target_option,
    transfer_options,
)
from zoo_index.cli_upkeep import UPKEEP
from zoo_index.cli_watch import watch
from zoo_index.contained import questions
from zoo_index.logs import set_up
from zoo_index.plain_text import plain

if TYPE_CHECKING:
    from transfer.options import ChannelChoice, ImageChannels

__all__ = ["cli", "main"]


class _Group(click.Group):
    """The one place where errors become messages and exit codes."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _plain_usage_errors(), _quiet_when_cut():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _plain_usage_errors(), _quiet_when_cut():
                return super().invoke(ctx)
        except ZooError as error:
            if ctx.params.get("debug"):
                raise
            complain(f"Error: {error}")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            is_refresh = ctx.invoked_subcommand == "index"
            goes_on = "; what was finished is kept, the same command goes on from there" if is_refresh else ""
            complain(f"Interrupted{goes_on}.")
            ctx.exit(130)


@contextmanager
def _plain_usage_errors() -> Iterator[None]:
    """Print what was typed as plain text in the messages about it."""
    try:
        yield
    except click.UsageError as error:
        text = error.format_message()
        printed = "\n".join(map(plain, text.split("\n")))
        if printed == text:
            raise
        raise click.UsageError(printed, error.ctx) from error


@contextmanager
def _quiet_when_cut() -> Iterator[None]:
    """End well where nobody reads any more, as in ``zoo list | head -1``."""
    try:
        yield
    except BrokenPipeError:
        if not are_cut():  # a pipe of our own
            raise
        raise SystemExit(0) from None


def main() -> None:
    """Run the command line."""
    prepare()
    interrupts.install()
    try:
        try:
            cli(standalone_mode=True)
        finally:
            finish()
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        complain(f"Error: expected room for what is printed, got: {error.strerror}; print it elsewhere")
        sys.exit(1)


def _question(source: str, similarity: float) -> None:
    """Warn of a source that is not expected to help."""
    from zoo_index.verdicts import verdict

    judged = verdict(similarity)
    if not judged.is_useful:
        complain(
            f"Warning: {source} has too little in common with the target (similarity {similarity:.3f}), "
            f"expected benefit: {judged.benefit}; {judged.evidence}; train from random initialisation instead",
        )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--db",
    metavar="FILE|URL",
    help="Index to use, a file or postgresql://user@host/name; default: ZOO_DB, else a file of the user's.",
)
@click.option("-v", "--verbose", "verbosity", count=True, help="Log what is done on stderr; -vv every item.")
@click.option("--log-json", is_flag=True, help="Log one JSON document a line, and no progress.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="zoo-index", prog_name="zoo")
@click.pass_context
def cli(ctx: click.Context, db: str | None, verbosity: int, log_json: bool, debug: bool) -> None:
    """Find the best pretrained source for a network and copy its parameters across.

    TARGET is file.py, file.py:Name, package.module:Name, a timm name or a checkpoint. In a file without a
    name: build_model, make_model, model, else its only torch.nn.Module class.

    Example:

    \b
    zoo recommend --target myarch.py
    zoo transfer --target myarch.py --auto --available -o myarch.safetensors
    """  # noqa: D301 - click's mark for lines that stay as they are
    set_up(max(verbosity, int(log_json)), as_json=log_json)
    ctx.obj = db


for _command in (*UPKEEP, *FILES, watch):
    cli.add_command(_command)


@cli.command("list")
@filter_options
@json_option
@click.pass_context
def list_command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """List pretrained entries."""
    entries = zoo_of(ctx).entries(filters_from(options))
    if as_json:
        print_json({"entries": entries})
    else:
        from zoo_index._render import show_entries

        show_entries(page(), entries)
    if not entries:
        ctx.exit(1)


@cli.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show_command(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show one entry, or the preferred entry of an architecture."""
    entry = zoo_of(ctx).entry(name)
    if as_json:
        print_json(entry)
    else:
        from zoo_index._render import show_entry

        show_entry(page(), entry)


@cli.command("recommend")
@target_option
@input_option
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="Number of sources.")
@measure_option
@click.option("--exact", is_flag=True, help="Score every architecture instead of a shortlist.")
@filter_options
@json_option
@click.pass_context
def recommend_command(
    ctx: click.Context,
    /,
    target: str,
    example: str | None,
    k: int,
    measure: str,
    exact: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Rank the pretrained networks as sources for TARGET."""
    answer = questions.recommend(
        partial(zoo_of, ctx),
        target,
        k=k,
        measure=measure,
        exact=exact,
        filters=filters_from(options),
        example=example,
    )
    if as_json:
        print_json(answer.to_json())
    else:
        from zoo_index._render import show_recommendations

        show_recommendations(page(), answer)


@cli.command("similarity")
@click.argument("source")
@click.argument("target")
@input_option
@measure_option
@json_option
@click.pass_context
def similarity_command(
    ctx: click.Context, source: str, target: str, example: str | None, measure: str, as_json: bool
) -> None:
    """Say how much of TARGET the SOURCE can supply, from 0 to 1."""
    value = questions.similarity(partial(zoo_of, ctx), source, target, measure=measure, example=example)
    if as_json:
        print_json({"source": source, "target": target, "measure": measure, "similarity": value})
    else:
        say(f"{value:.6f}")


@cli.command("plan", short_help="Show what a transfer would do.")
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
        from zoo_index._render import show_plan
        from zoo_index.shown import ShownPlan

        show_plan(page(), ShownPlan.from_json(plan), source=source, target=target, verbose=verbose)


@cli.command("transfer", short_help="Copy the parameters of a source into TARGET.")
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
        from zoo_index._render import show_report
        from zoo_index.shown import ShownReport

        show_report(page(), ShownReport.from_json(report), verbose=verbose)
    n_found = max(len(report["supplies"]), 1)
    if sources is not None and n_found < sources and report["coverage"] < 1:
        complain(f"Note: {n_found} of {sources} sources; no other has half of the layers that are left fresh")
    if report["method"] == "dpiat":  # verdicts are of its similarity
        supplies = report["supplies"]
        _question(supplies[0]["name"] if supplies else report["source"], report["similarity"])


def default_output(target: str) -> Path:
    """File for a target's weights: its own name in the current folder."""
    from zoo_index.targets import split_code

    _, attribute = split_code(target) or ("", "")
    return Path(f"{attribute or Path(target).stem}.safetensors")
