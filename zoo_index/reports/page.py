"""What people read on stdout: lines and tables of plain text with styles. The only module that prints tables.

Every string that goes out passes through `plain`, here and nowhere else; renderers never see the library, so none
can forget it. Markup, emoji codes and highlighting are off: styles are given beside the text, never within it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from zoo_index.foundation.plain_text import plain

__all__ = ["Cell", "Page", "Piece", "in_bytes"]

Piece = str | tuple[str, str]
"""A text, or a text and its style, e.g. ``('copied', 'green')``."""

Cell = Piece | list[Piece]
"""One piece, or a list of several that follow each other."""

_WIDTH = 150
"""Columns where there is no terminal to ask."""

_MOST_IN_A_CELL = 1000
"""Characters; a longer one would fill screens. The whole text is in the JSON document."""

_MOST_IN_A_LINE = 10_000

_UNITS = ("B", "kB", "MB", "GB", "TB")


class _Console(Console):
    """Leaves it to the command what a pipe without a reader means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Page:
    """Lines and tables on stdout."""

    def __init__(self) -> None:
        self._is_screen = sys.stdout.isatty()
        width = None if self._is_screen else _WIDTH
        self._console = _Console(width=width, markup=False, emoji=False, highlight=False)

    @property
    def width(self) -> int:
        """Columns that there is room for."""
        return self._console.width

    def line(self, *pieces: Piece) -> None:
        """Print one paragraph; in a file or pipe it is one line."""
        self._console.print(_text(pieces, _MOST_IN_A_LINE), soft_wrap=not self._is_screen)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[Cell]],
        numbers: Iterable[str] = (),
        whole: Iterable[str] = (),
    ) -> None:
        """Print a table that is laid out to the width of the terminal.

        Parameters
        ----------
        columns : sequence of str
            Headings.
        rows : iterable of sequence of pieces
        numbers : iterable of str
            Headings of the columns that are aligned to the right.
        whole : iterable of str
            Headings of the columns that are broken last, such as names, which people copy.
        """
        made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        numbers, whole = set(numbers), set(whole)
        for column in columns:
            justify: JustifyMethod = "right" if column in numbers else "left"
            made.add_column(_cell(column), justify=justify, overflow="fold", no_wrap=column in whole)
        for row in rows:
            made.add_row(*map(_cell, row))
        self._print(made)

    def pairs(self, rows: Iterable[tuple[str, object]]) -> None:
        """Print names and their values in two columns; ``-`` for a value that is not there."""
        made = Table.grid(padding=(0, 2))
        for key, value in rows:
            made.add_row(_cell((key, "dim")), _cell("-" if value in (None, "") else str(value)))
        self._print(made)

    def _print(self, made: Table) -> None:
        """Print a table without the blanks that fill up its lines."""
        with self._console.capture() as captured:
            self._console.print(made)
        lines = captured.get().splitlines()
        print("\n".join(line.rstrip() for line in lines), file=self._console.file)

    def columns(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print many rows as they are: laying out two thousand of them as a table takes seconds."""
        written = [[plain(text, _MOST_IN_A_CELL) for text in row] for row in (header, *rows)]
        sizes = [[_width(text) for text in row] for row in written]
        widths = [max(column) for column in zip(*sizes, strict=True)]
        lines = [
            "  ".join(
                text + " " * (width - size) for text, size, width in zip(row, own, widths, strict=True)
            ).rstrip()
            for row, own in zip(written, sizes, strict=True)
        ]
        print("\n".join(lines), file=self._console.file)


def in_bytes(n: float) -> str:
    """Write a number of bytes in the unit that suits it."""
    for unit in _UNITS:
        if n < 1000 or unit == _UNITS[-1]:
            break
        n /= 1000
    return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"


def _cell(cell: Cell) -> Text:
    return _text(cell if isinstance(cell, list) else [cell], _MOST_IN_A_CELL)


def _text(pieces: Sequence[Piece], most: int) -> Text:
    made = Text(overflow="fold")
    for piece in pieces:
        text, style = (piece, "") if isinstance(piece, str) else piece
        made.append(plain(text, most), style)
    return made


def _width(text: str) -> int:
    """Columns that a text takes on a terminal: wide characters take two."""
    return len(text) if text.isascii() else cell_len(text)
