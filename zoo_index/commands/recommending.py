"""Commands that compare networks."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import click

from zoo_index.commands.common import near_names, page, print_json, say, zoo_of
from zoo_index.commands.completing import complete_sources, complete_target
from zoo_index.commands.options import (
    filter_options,
    filters_from,
    from_settings,
    input_option,
    json_option,
    measure_option,
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

        call = f"zoo transfer -t {shlex.quote(target)}"
        show_recommendations(page(), answer, explain=explain, call=call, settings=from_settings(ctx))
        if server is not None and any(result.available for result in answer.results):
            say("weights that are here are on the machine of the server")
    pictures.tell(quiet=as_json)


@click.command("similarity")
@click.argument("source", shell_complete=complete_sources)
@click.argument("target", shell_complete=complete_target)
@input_option
@measure_option
@json_option
@click.pass_context
def similarity_command(
    ctx: click.Context, source: str, target: str, example: str | None, measure: str, as_json: bool
) -> None:
    """Say how much of TARGET the SOURCE can supply, from 0 to 1.

    \b
    Examples:
      zoo similarity efficientnet_lite0 myarch.py
      zoo similarity old.safetensors myarch.py --measure dpiat
    """  # noqa: D301 - click's mark for lines that stay as they are
    from zoo_index.contained import questions

    with near_names(ctx, (source,)):
        value = questions.similarity(partial(zoo_of, ctx), source, target, measure=measure, example=example)
    if as_json:
        print_json({"source": source, "target": target, "measure": measure, "similarity": value})
    else:
        say(f"{value:.6f}")


RECOMMENDING = (recommend_command, similarity_command)
"""For the command line."""
