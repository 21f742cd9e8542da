"""The command line: parse, one library call, render. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import click

from transfer.errors import ZooError
from zoo_index.commands.adding import ADDING
from zoo_index.commands.common import complain
from zoo_index.commands.files import FILES
from zoo_index.commands.index import INDEX
from zoo_index.commands.listing import LISTING
from zoo_index.commands.recommending import RECOMMENDING
from zoo_index.commands.serving import SERVING, STANDARDIZING
from zoo_index.commands.setting_up import SETTING_UP, apply_settings, completion, welcome
from zoo_index.commands.streams import are_cut, finish, prepare
from zoo_index.commands.transferring import TRANSFERRING
from zoo_index.commands.usage import missing
from zoo_index.commands.watch import watch
from zoo_index.foundation import interrupts, progress
from zoo_index.foundation.logs import set_up
from zoo_index.foundation.plain_text import plain

__all__ = ["cli", "main"]


_SECTIONS = (
    ("Choose a source", (*RECOMMENDING, *LISTING)),
    ("Transfer its parameters", TRANSFERRING),
    ("See and share the index", (*SERVING, *STANDARDIZING)),
    ("Weights files", FILES),
    ("Sources of your own", ADDING),
    ("Keep the index", (*INDEX, watch)),
    ("Set up the command line", SETTING_UP),
)
"""The commands, in the order in which they are listed."""


class _Group(click.Group):
    """The one place where errors become messages and exit codes."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in sections."""
        for title, commands in _SECTIONS:
            listed = {str(command.name): command for command in commands if not command.hidden}
            room = formatter.width - 6 - max(map(len, listed), default=0)
            with formatter.section(title):
                formatter.write_dl([(name, each.get_short_help_str(room)) for name, each in listed.items()])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _plain_usage_errors(), _quiet_when_cut():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _plain_usage_errors(), _quiet_when_cut(), _progress(ctx):
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
        said = missing(error) if isinstance(error, click.MissingParameter) else text
        printed = "\n".join(map(plain, said.split("\n")))
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


def _progress(ctx: click.Context) -> AbstractContextManager[None]:
    """Show progress, but not among logs for machines."""
    return nullcontext() if ctx.params["log_json"] else progress.shown()


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


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
)
@click.option(
    "--db",
    metavar="FILE|URL",
    help="Index to use: a file or postgresql://user@host/name. Default: ZOO_DB, else a file of yours.",
)
@click.option("-v", "--verbose", "verbosity", count=True, help="Log on stderr what is done; -vv: every item.")
@click.option("--log-json", is_flag=True, help="Log one JSON document a line, and no progress.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="zoo-index", prog_name="zoo")
@click.pass_context
def cli(ctx: click.Context, db: str | None, verbosity: int, log_json: bool, debug: bool) -> None:
    """Find the best pretrained source for a network and copy its parameters across.

    TARGET is your network: file.py, file.py:Name, package.module:Name, a timm name or a checkpoint. In a file
    without a name, zoo takes build_model(), make_model() or model, else the only torch.nn.Module class that needs
    no arguments.

    \b
    Examples:
      zoo recommend --target myarch.py
      zoo transfer --target myarch.py --auto --available -o myarch.safetensors
    """  # noqa: D301 - click's mark for lines that stay as they are
    set_up(max(verbosity, int(log_json)), as_json=log_json)
    if ctx.invoked_subcommand == completion.name:  # a shell asks for it as it starts, whatever is set
        return
    apply_settings(ctx, db)
    if ctx.invoked_subcommand is None:
        welcome(ctx)


for _, _commands in _SECTIONS:
    for _command in _commands:
        cli.add_command(_command)
