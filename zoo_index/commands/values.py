"""What the values of options and arguments can be, where click has no type for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo_index.foundation.settings import size_from

__all__ = ["PART", "PARTS", "PATH", "SIZE"]

PARTS = (
    *("quiet-head", "zero-new-inputs", "identity-blocks", "split-fused", "resample"),
    *("keep-norms", "rescale", "compensate", "gates", "fold"),
)
"""What can be left out, by the names of `transfer.Options`."""


class _AnyPath(click.ParamType[Path]):
    """A path as it was typed; what reads or writes there looks at it."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return Path(value)


class _Part(click.Choice[str]):
    """A part of the method, also as the library spells it: with underscores."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(str(value).replace("_", "-"), param, ctx)


class _Size(click.ParamType[int]):
    """A number of parameters such as 5000000, 25M or 1.5G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return size_from(value)
        except ValueError:
            self.fail(f"expected a number such as 5000000, 25M or 1.5G, got {value!r}", param, ctx)


PATH = _AnyPath()
PART = _Part(PARTS)
SIZE = _Size()
