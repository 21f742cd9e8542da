"""What people read on stdout: lines and tables of plain text with styles. The only module that prints tables.

Every string that goes out passes through `plain`, here and nowhere else; renderers never see the library, so none
can forget it. Markup, emoji codes and highlighting are off: styles are given beside the text, never within it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from zoo_index.foundation.plain_text import plain
from zoo_index.foundation.terminal import has_styles, width_of

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

_GAP = 2
"""Blanks between two columns."""

_UNITS = ("B", "kB", "MB", "GB", "TB")


class _Console(Console):
    """Leaves it to the command what a pipe without a reader means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Page:
    """Lines and tables on stdout."""

    def __init__(self) -> None:
        self._is_screen = sys.stdout.isatty()
        is_styled = has_styles(sys.stdout)
        self._console = _Console(
            width=width_of(sys.stdout) if self._is_screen else _WIDTH,
            force_terminal=is_styled,
            color_system="auto" if is_styled else None,
            markup=False,
            emoji=False,
            highlight=False,
        )

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
        drop: Sequence[str] = (),
        short: Mapping[str, str] | None = None,
    ) -> None:
        """Print a table that is laid out to the width of the terminal.

        Where it is too wide, headings are shortened first, then columns are left out.

        Parameters
        ----------
        columns : sequence of str
            Headings.
        rows : iterable of sequence of pieces
        numbers : iterable of str
            Headings of the columns that are aligned to the right.
        whole : iterable of str
            Headings of the columns that are broken last, such as names, which people copy.
        drop : sequence of str
            Headings of the columns that can be left out, the first ones first.
        short : mapping of str to str, optional
            What headings are called where there is little room.
        """
        made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        numbers, whole = set(numbers), set(whole)
        cells = [[_cell(cell) for cell in row] for row in rows]
        headings, shown = self._fitting(columns, cells, drop, short or {})
        for i in shown:
            justify: JustifyMethod = "right" if columns[i] in numbers else "left"
            made.add_column(_cell(headings[i]), justify=justify, overflow="fold", no_wrap=columns[i] in whole)
        for row in cells:
            made.add_row(*(row[i] for i in shown))
        self._print(made)

    def _fitting(
        self, columns: Sequence[str], cells: Sequence[Sequence[Text]], drop: Sequence[str], short: Mapping[str, str]
    ) -> tuple[Sequence[str], list[int]]:
        """Choose headings and columns so that nothing has to be broken, as far as that can be had."""
        own = [max((row[i].cell_len for row in cells), default=0) for i in range(len(columns))]
        shown = list(range(len(columns)))

        def size(headings: Sequence[str]) -> int:
            return sum(max(own[i], _width(headings[i])) for i in shown) + _GAP * (len(shown) - 1)

        headings = columns
        if size(headings) > self.width:
            headings = [short.get(column, column) for column in columns]
        for column in drop:
            if size(headings) <= self.width:
                break
            shown.remove(columns.index(column))
        return headings, shown

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

    def columns(
        self,
        header: Sequence[str],
        rows: Iterable[Sequence[str]],
        drop: Sequence[str] = (),
        numbers: Iterable[str] = (),
    ) -> None:
        """Print many rows as they are: laying out two thousand of them as a table takes seconds.

        On a terminal that is too narrow, columns of `drop` are left out, the first ones first.
        """
        written = [[plain(text, _MOST_IN_A_CELL) for text in row] for row in (header, *rows)]
        sizes = [[_width(text) for text in row] for row in written]
        widths = [max(column) for column in zip(*sizes, strict=True)]
        numbers, shown = set(numbers), list(range(len(header)))
        for column in drop if self._is_screen else ():
            if sum(widths[i] for i in shown) + _GAP * (len(shown) - 1) <= self.width:
                break
            shown.remove(header.index(column))
        lines = []
        for row, own in zip(written, sizes, strict=True):
            blanks = [" " * (widths[i] - own[i]) for i in shown]
            cells = [
                blank + row[i] if header[i] in numbers else row[i] + blank
                for i, blank in zip(shown, blanks, strict=True)
            ]
            lines.append((" " * _GAP).join(cells).rstrip())
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
