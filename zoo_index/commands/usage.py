"""What is said of a command line that is not one: what is missing, and what was probably meant."""

from __future__ import annotations

import shlex

import click

__all__ = ["WithHints", "missing"]


class WithHints(click.Command):
    """A command without arguments, which is often given one where an option belongs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; where an option is missing and one word too many was given, ask whether the option was meant."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as error:
            if not isinstance(error.param, click.Option):
                raise
            _, words, _ = self.make_parser(ctx).parse_args(given)
            if len(words) != 1:
                raise
            name = max(error.param.opts, key=len)
            raise click.UsageError(
                f"Missing option '{name}'; did you mean {name} {shlex.quote(words[0])}?", ctx
            ) from error


def missing(error: click.MissingParameter) -> str:
    """Say in one line what is missing, with its choices and the first example of the command's help."""
    said = error.format_message().replace(":\n\t", ": ").replace(",\n\t", ", ").rstrip(".") + "."
    example = "" if error.ctx is None else _example_of(error.ctx.command)
    return f"{said} For example: {example}" if example else said


def _example_of(command: click.Command) -> str:
    """Return the first example of a command's help, without what is said of it there."""
    lines = (line.strip() for line in (command.help or "").splitlines())
    return next((line.partition("  #")[0].rstrip() for line in lines if line.startswith("zoo ")), "")
