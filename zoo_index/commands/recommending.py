"""Commands that compare networks."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from zoo_index.commands.common import call_again, near_names, page, print_json, say, warn_of_sources, zoo_of
from zoo_index.commands.completing import complete_sources, complete_target
from zoo_index.commands.options import (
    filter_options,
    filters_from,
    from_settings,
    input_option,
    json_option,
    measure_option,
    option_for_source,
    option_for_target,
    target_option,
)
from zoo_index.commands.pictures import picture_options, pictures_at
from zoo_index.commands.usage import WithHints

__all__ = ["RECOMMENDING"]


@click.command("recommend", cls=WithHints)
@target_option
@input_option
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="Number of sources.")
@measure_option
@click.option("--exact", is_flag=True, help="Score every architecture instead of a shortlist.")
@filter_options
@click.option("--explain", is_flag=True, help="Say what the verdict rests on, and what the columns mean.")
@picture_options
@click.option(
    "--server",
    metavar="URL",
    help="Ask a server (zoo serve) instead of the index here. Only the architecture is sent: names and shapes of "
    "layers, no weights, no code, no paths.",
)
@click.option("--token", envvar="ZOO_SERVER_TOKEN", show_envvar=True, help="Token of the server.")
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
    explain: bool,
    html: Path | None,
    plot: Path | None,
    server: str | None,
    token: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Rank the pretrained networks as sources for TARGET.

    \b
    Examples:
      zoo recommend --target myarch.py
      zoo recommend -t myarch.py -k 3 --license permissive --available
      zoo recommend -t efficientnet_lite0 --explain
      zoo recommend -t myarch.py --html sources.html
      zoo recommend -t myarch.py --server http://127.0.0.1:8765
    """  # noqa: D301 - click's mark for lines that stay as they are
    pictures = pictures_at(html, plot)
    from zoo_index.contained import questions

    if server is not None:
        if exact or pictures.are_wanted:
            raise click.UsageError("expected --server without --exact, --html and --plot; leave them out")
        from zoo_index.server import client

        network = questions.standardized(partial(zoo_of, ctx), target, example=example)
        filters = filters_from(options)
        answer = client.recommend(server, network, k=k, measure=measure, filters=filters, token=token or "")
        plans: dict[str, Any] = {}
    else:
        answer, plans = questions.recommend(
            partial(zoo_of, ctx),
            target,
            n_plans=pictures.n_plans,
            k=k,
            measure=measure,
            exact=exact,
            filters=filters_from(options),
            example=example,
        )
    pictures.save_ranking(ctx, answer, plans, target=target)
    if as_json:
        print_json(answer.to_json())
    else:
        from zoo_index.reports.recommendations import show_recommendations

        call = call_again(ctx, "transfer", "-t", target)
        show_recommendations(page(), answer, explain=explain, call=call, settings=from_settings(ctx))
        if server is not None and any(result.available for result in answer.results):
            say("weights that are here are on the machine of the server")
    if server is None:
        from zoo_index.hub.file_stamps import FILES

        warn_of_sources(ctx, [result.name for result in answer.results if result.catalogue in FILES])
    pictures.tell(quiet=as_json)


def _complete_first(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer sources for the first word, or targets where the source is given by its option."""
    complete = complete_sources if ctx.params.get("named_source") is None else complete_target
    return complete(ctx, parameter, incomplete)


@click.command("similarity")
@click.argument("source", required=False, shell_complete=_complete_first)
@click.argument("target", required=False, shell_complete=complete_target)
@option_for_target("named_target", is_required=False)
@option_for_source("named_source", takes_several=False)
@input_option
@measure_option
@json_option
@click.pass_context
def similarity_command(
    ctx: click.Context,
    source: str | None,
    target: str | None,
    named_target: str | None,
    named_source: str | None,
    example: str | None,
    measure: str,
    as_json: bool,
) -> None:
    """Say how much of TARGET the SOURCE can supply, from 0 to 1.

    The two networks are given in this order, or by -s and -t as everywhere.

    \b
    Examples:
      zoo similarity efficientnet_lite0 myarch.py
      zoo similarity -t myarch.py -s efficientnet_lite0
      zoo similarity old.safetensors myarch.py --measure dpiat
    """  # noqa: D301 - click's mark for lines that stay as they are
    from zoo_index.contained import questions

    words = [word for word in (source, target) if word is not None]
    source, target = _pair(ctx, words, named_source, named_target)
    with near_names(ctx, (source,)):
        value = questions.similarity(partial(zoo_of, ctx), source, target, measure=measure, example=example)
    if as_json:
        print_json({"source": source, "target": target, "measure": measure, "similarity": value})
    else:
        say(f"{value:.6f}")
    warn_of_sources(ctx, (source,))


def _pair(ctx: click.Context, words: list[str], source: str | None, target: str | None) -> tuple[str, str]:
    """Take the source and the target from options, and what these do not name from the words, in their order."""
    rest = iter(words)
    chosen = []
    for given, argument, option in ((source, "source", "named_source"), (target, "target", "named_target")):
        one = given if given is not None else next(rest, None)
        if one is None:  # who names the other by an option is told of the option
            lacking = option if source is not None or target is not None else argument
            parameter = next(each for each in ctx.command.params if each.name == lacking)
            hint = f"'{argument.upper()}'" if lacking == argument else None
            raise click.MissingParameter(ctx=ctx, param=parameter, param_hint=hint)
        chosen.append(one)
    left = next(rest, None)
    if left is not None:
        raise click.UsageError(f"expected one source and one target, got {shlex.quote(left)} besides", ctx)
    return chosen[0], chosen[1]


RECOMMENDING = (recommend_command, similarity_command)
"""For the command line."""
