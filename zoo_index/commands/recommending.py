"""Commands that compare networks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from zoo_index.commands.common import page, print_json, say, zoo_of
from zoo_index.commands.options import (
    filter_options,
    filters_from,
    input_option,
    json_option,
    measure_option,
    target_option,
)
from zoo_index.contained import questions

if TYPE_CHECKING:
    pass

__all__ = ["RECOMMENDING"]


@click.command("recommend")
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
        from zoo_index.reports.recommendations import show_recommendations

        show_recommendations(page(), answer)


@click.command("similarity")
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


RECOMMENDING = (recommend_command, similarity_command)
"""For the command line."""
