"""Commands that show the index in a browser, and serve it to others."""

from __future__ import annotations

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer.errors import InputError
from zoo_index.commands.common import complain, print_json, say, zoo_of
from zoo_index.commands.options import filter_options, filters_from, input_option, json_option, target_option
from zoo_index.commands.usage import WithHints
from zoo_index.commands.values import PATH
from zoo_index.foundation import progress
from zoo_index.foundation.counting import counted

if TYPE_CHECKING:
    from zoo_index.server.running import Place

__all__ = ["SERVING"]


@click.command("explore", short_help="Draw a map of the index, to look at in a browser.")
@click.option("--html", type=PATH, required=True, help="File to write the map to; open it in a browser.")
@filter_options
@json_option
@click.pass_context
def explore_command(ctx: click.Context, /, html: Path, as_json: bool, **options: Any) -> None:
    """Draw a map of the index, in one file to look at in a browser.

    Networks that resemble each other lie near each other. Search, filter, zoom, and click on a network to see its
    weights, its blocks, and the best sources for it. The file needs no network.

    \b
    Examples:
      zoo explore --html zoo.html
      zoo explore --html small.html --max-params 25M --license permissive
    """  # noqa: D301 - click's mark for lines that stay as they are
    from zoo_index.reports.saving import check_html, write_text

    place = check_html(html)
    from zoo_index.server.exploring import explore

    text, n = explore(zoo_of(ctx), filters_from(options), progress.advance)
    write_text(place, text, "--html")
    if as_json:
        print_json({"architectures": n, "output": str(html)})
    else:
        say(f"map of {counted(n, 'architecture')} saved to {html}; open it in a browser")


@click.command("serve", short_help="Show the index in a browser, and answer questions.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 for any free one.")
@click.option(
    "--token",
    envvar="ZOO_SERVER_TOKEN",
    show_envvar=True,
    help="What others must give; where other machines can reach the server one is made if there is none.",
)
@click.option(
    "--allow-host", "allowed", multiple=True, help="A further name that the server goes by; may be repeated."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Processes that answer. With 1, questions about large networks hold up those about small ones.",
)
@click.option(
    "--waiting", type=click.IntRange(0, 10_000), default=128, show_default=True, help="Questions that may wait."
)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 600), default=20, show_default=True, help="Limit of one question."
)
@click.option("--access-log", is_flag=True, help="Tell every request on stderr.")
@click.pass_context
def serve_command(
    ctx: click.Context,
    host: str,
    port: int,
    token: str | None,
    allowed: tuple[str, ...],
    workers: int,
    waiting: int,
    seconds: float,
    access_log: bool,
) -> None:
    """Show the index in a browser, and answer questions of other machines.

    The map, a page for each network, a page that finds sources, and a JSON interface. Only this machine can
    reach it, unless --host says otherwise; then a token is asked for. Nothing is written to the index, and no
    code that anybody sends is run. Ctrl-C ends it.

    \b
    Examples:
      zoo serve
      zoo serve --host 0.0.0.0 --allow-host zoo.example.org
    """  # noqa: D301 - click's mark for lines that stay as they are
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"expected {' and '.join(missing)} to serve the index, not installed; "
            "run: pip install 'zoo-index[server]'"
        )
    zoo = zoo_of(ctx)
    zoo.ensure()
    progress.step("reading the index, and making its map")
    from zoo_index.server.limits import Limits
    from zoo_index.server.running import run

    run(
        zoo,
        host=host,
        port=port,
        token=token or "",
        allowed=allowed,
        limits=Limits(workers=workers, waiting=waiting, seconds=seconds),
        log=complain if access_log else None,
        ready=_tell,
    )


def _tell(place: Place) -> None:
    say(f"zoo is at {place.url}  (Ctrl-C ends it)")
    if place.is_new:
        say(f"token: {place.token}")


@click.command("standardize", cls=WithHints, short_help="Write the architecture of TARGET to a JSON file.")
@target_option
@input_option
@click.option("--output", "-o", type=PATH, required=True, help="File to write, in JSON.")
@json_option
@click.pass_context
def standardize_command(ctx: click.Context, target: str, example: str | None, output: Path, as_json: bool) -> None:
    """Write the architecture of TARGET to a JSON file: names and shapes of its layers, no weights, no code.

    Such a file can be given to the recommend page of a server, or sent to its interface.

    \b
    Example:
      zoo standardize -t myarch.py -o myarch.json
    """  # noqa: D301 - click's mark for lines that stay as they are
    from transfer.weights.files import check_writable
    from zoo_index.reports.saving import write_text

    check_writable(output)
    from zoo_index.contained.questions import standardized
    from zoo_index.server.uploads import write_document

    network = standardized(partial(zoo_of, ctx), target, example=example)
    text = json.dumps(write_document(network), indent=None, separators=(",", ":"))
    write_text(output, text + "\n", "--output")
    if as_json:
        print_json({"name": network.name, "output": str(output)})
    else:
        say(f"architecture of {network.name} saved to {output}")


SERVING = (explore_command, serve_command)
STANDARDIZING = (standardize_command,)
"""For the command line."""
