"""The command line: parse, one library call, render. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from transfer.errors import ZooError
from zoo_index.commands.adding import ADDING
from zoo_index.commands.common import complain
from zoo_index.commands.files import FILES
from zoo_index.commands.index import INDEX
from zoo_index.commands.listing import LISTING
from zoo_index.commands.recommending import RECOMMENDING
from zoo_index.commands.streams import are_cut, finish, prepare
from zoo_index.commands.transferring import TRANSFERRING
from zoo_index.commands.watch import watch
from zoo_index.foundation import interrupts
from zoo_index.foundation.logs import set_up
from zoo_index.foundation.plain_text import plain

if TYPE_CHECKING:
    pass

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


for _command in (*RECOMMENDING, *TRANSFERRING, *LISTING, *ADDING, *FILES, *INDEX, watch):
    cli.add_command(_command)
