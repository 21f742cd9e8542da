"""What all commands share: the zoo they ask, and where and how they print."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from transfer.errors import InputError
from zoo_index.foundation import progress
from zoo_index.foundation.counting import counted
from zoo_index.foundation.plain_text import plain

if TYPE_CHECKING:
    from zoo_index.reports.page import Page
    from zoo_index.zoo.zoo import Zoo

__all__ = [
    "PARTIAL",
    "call_again",
    "complain",
    "near_names",
    "page",
    "print_json",
    "print_lines",
    "say",
    "warn_of_changes",
    "warn_of_sources",
    "zoo_of",
]

PARTIAL = 3
"""Exit status of a refresh that did all but some architectures."""

_MOST_IN_A_MESSAGE = 10_000

_OPENED = f"{__name__}.zoo"
"""Where click's context keeps the index."""

_NEAR = "did you mean"
"""What errors say before the names that are like one."""


def zoo_of(ctx: click.Context) -> Zoo:
    """Open the index that the command line names, once; where it is made anew, say so: --db may be mistyped."""
    root = ctx.find_root()
    if _OPENED in root.meta:
        opened: Zoo = root.meta[_OPENED]
        return opened
    progress.step("opening the index")
    from zoo_index.zoo.zoo import open_zoo

    zoo = root.meta[_OPENED] = open_zoo(root.obj)
    if root.params.get("db") is not None:
        made = f"made a new index at {zoo.store.name} from the shipped snapshot"
        zoo.on_first_use = lambda n: complain(f"{made} ({counted(n, 'architecture')})")
    return zoo


@contextlib.contextmanager
def near_names(ctx: click.Context, sources: Sequence[str]) -> Iterator[None]:
    """Where a source is a name that nobody knows, and nothing near it was found: look for that in the index."""
    try:
        yield
    except InputError as error:
        from zoo_index.errors import UnknownNameError
        from zoo_index.recommending.targets import is_checkpoint, split_code

        for source in sources if _NEAR not in str(error) else ():
            if repr(source) in str(error) and not is_checkpoint(source) and split_code(source) is None:
                try:
                    zoo_of(ctx).entry(source)
                except UnknownNameError as unknown:
                    if _NEAR in str(unknown):
                        raise
        raise


def call_again(ctx: click.Context, *words: str) -> str:
    """Write a command that asks the same index as this one, to be typed next."""
    place = ctx.find_root().params.get("db")
    index = ["--db", place] if place and "://" not in place else []  # an address may hold a password
    return shlex.join(["zoo", *index, *words])


def warn_of_changes(ctx: click.Context, entries: Iterable[Mapping[str, Any]]) -> None:
    """Say which entries are of files that were written since: the index tells what they held before."""
    from zoo_index.hub.file_stamps import changes_in

    for told in changes_in(entries, call_again(ctx)):
        complain(f"Warning: {told}")


def warn_of_sources(ctx: click.Context, names: Iterable[str]) -> None:
    """As `warn_of_changes` for sources by the names that were typed or recommended; files and code have none."""
    from zoo_index.recommending.targets import is_checkpoint, split_code

    asked = [name for name in dict.fromkeys(names) if not is_checkpoint(name) and split_code(name) is None]
    if asked:
        entries = zoo_of(ctx).view().entries
        warn_of_changes(ctx, [entry for name in asked if (entry := entries.get(name)) is not None])


def page() -> Page:
    """Return where tables go."""
    from zoo_index.reports.page import Page

    progress.hide()
    return Page()


def say(text: str) -> None:
    """Print one line of plain text, whatever it is made of."""
    progress.hide()
    click.echo(plain(text, _MOST_IN_A_MESSAGE))


def complain(text: str) -> None:
    """Print one line of plain text on stderr; where nobody reads that, the exit status tells it."""
    progress.hide()
    with contextlib.suppress(BrokenPipeError):
        click.echo(plain(text, _MOST_IN_A_MESSAGE), err=True)


def print_json(value: Any) -> None:
    """Print one document; JSON itself escapes what does not print."""
    progress.hide()
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=True))


def print_lines(lines: list[str]) -> None:
    """Print text for programs, such as CSV or a script: whole lines, each made of plain text."""
    progress.hide()
    click.echo("\n".join(map(plain, lines)))
