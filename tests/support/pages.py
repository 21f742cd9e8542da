"""The examples of the documents, run as they stand: ``zoo`` commands and Python.

What is run: blocks fenced as ``console`` (each line that begins with ``$ zoo`` is a command, what follows is its
output) and as ``python``; a ``text`` block right behind a ``python`` block is what that prints. A block with a
title is a file: it is written, not run. Comments before a block change that:

    <!-- not run: it needs a cluster -->
    <!-- exit status 1 -->

``...`` on a line of its own stands for output that is left out. Numbers need not agree: times and rankings are not
the documents' business, words are. ``python tests/support/pages.py docs/*.md`` writes what the examples print now.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from click.testing import CliRunner

from zoo_index.reports import page

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r'```([\w-]*)(?: title="([^"]+)")?$')
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
STATUS = re.compile(r"<!-- exit status (\d+) -->")
RUN = ("console", "python", "text")
COLUMNS = 84
"""Of a block on a page."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its lines lie from `start` up to `end`."""

    page: str
    start: int
    end: int
    language: str
    title: str
    lines: tuple[str, ...]
    reason: str
    status: int

    @property
    def place(self) -> str:
        return f"{self.page}:{self.start}"


@dataclass(frozen=True)
class Told:
    """Lines of a page that say what was printed, from `start` up to `end`, and what is printed now."""

    place: str
    start: int
    end: int
    page: tuple[str, ...]
    printed: tuple[str, ...]


def blocks(source: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    lines = source.read_text().splitlines()
    found, start, note = [], None, ""
    for i, line in enumerate(lines):
        fence = FENCE.match(line)
        if start is None and fence:
            start, head = i + 1, fence
        elif start is not None and line == "```":
            reason, status = NOT_RUN.search(note), STATUS.search(note)
            found.append(
                Block(
                    page=source.name,
                    start=start,
                    end=i,
                    language=head[1],
                    title=head[2] or "",
                    lines=tuple(lines[start:i]),
                    reason=reason[1] if reason else "",
                    status=int(status[1]) if status else 0,
                )
            )
            start, note = None, ""
        elif start is None and line.strip():
            note = note + line if line.startswith("<!--") else ""
    assert start is None, f"{source.name}:{start}: a block has no end"
    return found


@contextlib.contextmanager
def working_in(folder: Path, index: Path) -> Iterator[None]:
    """Run examples in an empty folder beside those of the project, with an index and empty caches."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "deploy").symlink_to(ROOT / "deploy")
    settings = {
        "ZOO_DB": str(index),
        "HF_HUB_CACHE": str(folder / ".hub"),
        "TORCH_HOME": str(folder / ".torch"),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "XDG_DATA_HOME": str(folder / ".data"),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "HF_HUB_OFFLINE": "1",
    }
    width, page._WIDTH = page._WIDTH, COLUMNS
    kept = {name: os.environ.get(name) for name in settings}
    here, path = Path.cwd(), list(sys.path)
    os.environ.update(settings)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        page._WIDTH = width
        sys.path[:] = path
        os.chdir(here)
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def run(page: Path) -> Iterator[Told]:
    """Run the examples of a page one after the other; tell what each printed, and what the page says."""
    torch.manual_seed(0)
    names: dict[str, object] = {"__name__": "__example__"}
    printed: tuple[str, ...] | None = None
    for block in blocks(page):
        if block.reason or (block.language not in RUN and not block.title):
            printed = None
        elif block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text("\n".join(block.lines) + "\n")
        elif block.language == "python":
            printed = _python(block, names)
        elif block.language == "console":
            yield from _console(block)
            printed = None
        elif printed is not None:
            yield Told(block.place, block.start, block.end, block.lines, printed)
            printed = None


def _python(block: Block, names: dict[str, object]) -> tuple[str, ...]:
    code = compile("\n" * block.start + "\n".join(block.lines), block.page, "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    return tuple(out.getvalue().splitlines())


def _console(block: Block) -> Iterator[Told]:
    """Run each command of a block; its output reaches to the next one."""
    starts = [i for i, line in enumerate(block.lines) if line.startswith("$ ")]
    assert starts[:1] == [0], f"{block.place}: expected a command first"
    for start, end in zip(starts, [*starts[1:], len(block.lines)], strict=True):
        typed = [block.lines[start]]
        while typed[-1].endswith("\\"):
            typed.append(block.lines[start + len(typed)])
        words = shlex.split(" ".join(line.rstrip("\\") for line in typed)[2:], comments=True)
        assert words[0] == "zoo", f"{block.place}: only zoo is run, mark others as not run"
        lines = _zoo(block, words[1:])
        first = start + len(typed)
        place = f"{block.place} {' '.join(words)}"
        yield Told(place, block.start + first, block.start + end, block.lines[first:end], lines)


def _zoo(block: Block, arguments: Sequence[str]) -> tuple[str, ...]:
    from zoo_index.commands.main import cli

    done = CliRunner().invoke(cli, list(arguments), prog_name="zoo")
    status = done.exit_code
    assert status == block.status, f"{block.place}: zoo {' '.join(arguments)} ended with {status}: {done.output}"
    printed = (done.stdout if not status or done.stdout else done.output).rstrip()
    for place, called in ((Path.cwd(), "/home/you"), (sys.prefix, "/home/you/.venv"), (ROOT, "/home/you/zoo")):
        printed = printed.replace(str(place), called)
    return tuple(printed.splitlines())


def words(lines: Sequence[str]) -> list[str]:
    """Lines as they are compared: without numbers, and with single spaces."""
    return [" ".join(re.sub(r"\d[\d,.]*", "0", line).split()) for line in lines if line.strip()]


def agrees(told: Told) -> bool:
    """Whether a page says what was printed; ``...`` stands for any lines."""
    parts: list[list[str]] = [[]]
    for line in words(told.page):
        if line == "...":
            parts.append([])
        else:
            parts[-1].append(line)
    left = words(told.printed)
    if len(parts) == 1:
        return left == parts[0]
    if left[: len(parts[0])] != parts[0]:
        return False
    left = left[len(parts[0]) :]
    for part in parts[1:]:
        places = (i for i in range(len(left) - len(part) + 1) if left[i : i + len(part)] == part)
        place = next(places, None)
        if place is None:
            return False
        left = left[place + len(part) :]
    return True


def rewrite(page: Path) -> None:
    """Put what the examples print now in the place of what the page says."""
    lines = page.read_text().splitlines()
    for told in reversed(list(run(page))):
        if agrees(told) and "..." in told.page:
            continue
        new = list(told.printed)
        if "..." in told.page:
            head = told.page.index("...")
            tail = len(told.page) - 1 - head
            new = [*new[:head], "...", *(new[-tail:] if tail else [])]
        lines[told.start : told.end] = new
    page.write_text("\n".join(lines) + "\n")


def main() -> None:
    from zoo_index.zoo.zoo import Zoo

    for name in sys.argv[1:]:
        page = Path(name).absolute()
        with tempfile.TemporaryDirectory() as folder:
            index = Path(folder) / "zoo.db"
            Zoo(index).ensure()
            (Path(folder) / "work").mkdir()
            with working_in(Path(folder) / "work", index):
                rewrite(page)


if __name__ == "__main__":
    main()
