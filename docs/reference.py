"""Hooks of MkDocs: write the reference of the command line into docs/commands.md, name files outside of the pages.

Links to files of the project lead somewhere where the pages are read beside them; the site holds the pages alone.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import click

__all__ = ["command_reference", "on_page_markdown"]

MARK = "<!-- every command -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands in the place of the mark; show where a file is instead of leading there."""
    markdown = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", _place, markdown)
    if MARK not in markdown:
        return markdown
    from zoo_index.commands.main import cli

    return markdown.replace(MARK, command_reference(cli, "zoo"))


def _place(link: re.Match[str]) -> str:
    text, path = link.groups()
    return f"`{path}`" if text.strip("`") in path else f"{text} (`{path}`)"


def command_reference(command: click.Command, name: str) -> str:
    """Describe a command and all below it, in Markdown."""
    return "\n".join(_described(command, click.Context(command, info_name=name)))


def _described(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    depth = len(path.split()) + 1
    anchor = path.replace(" ", "-")
    yield f'{"#" * depth} {path} {{ #{anchor} data-toc-label="{context.info_name}" }}'
    yield ""
    yield from _fenced([" ".join([path, *command.collect_usage_pieces(context)])])
    yield from _help(inspect.cleandoc(command.help or ""))
    options = [each.get_help_record(context) for each in command.params if isinstance(each, click.Option)]
    rows = [(names, _plain(text)) for names, text in filter(None, options)]
    if rows:
        yield "| option | what it does |"
        yield "| --- | --- |"
        yield from (f"| `{names}` | {text} |" for names, text in rows)
        yield ""
    for name, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from _described(below, click.Context(below, info_name=name, parent=context))


def _help(text: str) -> Iterator[str]:
    """Paragraphs of a help text; those after click's mark for lines that stay as they are become examples."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.split("\n")
        if lines[0] != "\b":
            yield _plain(" ".join(lines))
            yield ""
        else:
            examples = [line for line in lines[1:] if line.startswith(("  ", "zoo "))]
            yield from (_plain(line) + "\n" for line in lines[1:] if line not in examples)
            yield from _fenced([line.strip() for line in examples])


def _fenced(lines: list[str]) -> Iterator[str]:
    yield from ("```text", *lines, "```", "")


def _plain(text: str) -> str:
    """Text in which Markdown finds nothing to format."""
    return re.sub(r"([|*_<>`\[\]])", r"\\\1", text)
