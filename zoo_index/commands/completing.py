"""What the Tab key offers: names of the index, and files where those are meant.

It is asked at the prompt, so it is quick, changes nothing and never complains: without an index there are no names.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

__all__ = ["complete_names", "complete_sources", "complete_target"]

_MOST = 100
"""Names that a terminal still shows at once."""

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
    from zoo_index.database.opening import default_place
    from zoo_index.foundation.settings import load_settings

    place = ctx.find_root().params.get("db")
    try:
        place = place or load_settings()["db"].value or default_place()
    except Exception:  # settings that cannot be read: whatever is run says so
        return []
    return [name for name in names_beginning(str(place), incomplete, _MOST) if name.isprintable()]
