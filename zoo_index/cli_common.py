"""What all commands share: the zoo they ask, and where and how they print."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from zoo_index.zoo import Zoo

__all__ = ["console", "print_json", "zoo_of"]


def zoo_of(ctx: click.Context) -> Zoo:
    """Open the index that the command line names."""
    from zoo_index.zoo import open_zoo

    return open_zoo(ctx.find_root().obj)


def console() -> Console:
    """Return where tables go."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 150
    return Console(width=width, highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """Print one document."""
    click.echo(json.dumps(value, indent=2, default=str))
