"""What the Tab key offers: names of the index and what filters can ask for, and files where those are meant.

It is asked at the prompt, so it is quick, changes nothing and never complains: without an index there are no names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

__all__ = ["Completer", "complete_names", "complete_sources", "complete_target", "complete_values"]

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_MOST = 100
"""Names that a terminal still shows at once."""

_MOST_VALUES = 1000
"""Values of a field that are looked through."""

_CODE = (".py",)
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz", ".h5", ".keras", ".onnx")


def complete_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer entries and architectures of the index."""
    return [CompletionItem(name) for name in _names(ctx, incomplete)]


def complete_sources(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer entries, architectures, and weights files."""
    return _with_files(ctx, incomplete, _WEIGHTS)


def complete_target(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer code, weights files, and names of the index, most of which are timm's."""
    return _with_files(ctx, incomplete, (*_CODE, *_WEIGHTS))


def complete_values(field: str, also: Sequence[str] = (), *, takes_several: bool = False) -> Completer:
    """Offer what the entries of the index have in a field.

    Parameters
    ----------
    field : str
        One of `zoo_index.database.glance.FIELDS`.
    also : sequence of str
        What else the option takes.
    takes_several : bool
        Whether it takes several, separated by commas: then the last one is completed.
    """

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, begin = incomplete.rpartition(",") if takes_several else ("", "", incomplete)
        given = {one.strip().lower() for one in before.split(",")}
        return [
            CompletionItem(f"{before}{comma}{value}")
            for value in sorted({*_values(ctx, field), *(() if comma else also)})
            if value.lower().startswith(begin.lower()) and value.lower() not in given and value.isprintable()
        ][:_MOST]

    return complete


def _with_files(ctx: click.Context, incomplete: str, endings: tuple[str, ...]) -> list[CompletionItem]:
    found = [CompletionItem(name) for name in (*_files(incomplete, endings), *_names(ctx, incomplete))]
    return found or [CompletionItem(incomplete, type="file")]  # the shell itself knows folders


def _files(incomplete: str, endings: tuple[str, ...]) -> list[str]:
    """Files of some kinds that begin so; below the current folder only once one of its folders is typed."""
    folder, _, begin = incomplete.rpartition("/")
    try:
        names = sorted(path.name for path in Path(folder or ".").iterdir() if path.suffix in endings)
    except (OSError, ValueError):
        return []
    before = incomplete[: len(incomplete) - len(begin)]
    return [before + name for name in names if name.startswith(begin) and name.isprintable()][:_MOST]


def _names(ctx: click.Context, incomplete: str) -> list[str]:
    from zoo_index.database.glance import names_beginning

    place = _place(ctx)
    found = names_beginning(place, incomplete, _MOST) if place else []
    return [name for name in found if name.isprintable()]


def _values(ctx: click.Context, field: str) -> list[str]:
    from zoo_index.database.glance import values_of

    place = _place(ctx)
    return values_of(place, field, _MOST_VALUES) if place else []


def _place(ctx: click.Context) -> str:
    """Say where the index is; empty where settings cannot be read: whatever is run tells that."""
    from zoo_index.database.opening import default_place
    from zoo_index.foundation.settings import load_settings

    place = ctx.find_root().params.get("db")
    try:
        return str(place or load_settings()["db"].value or default_place())
    except Exception:
        return ""
