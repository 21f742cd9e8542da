"""Commands about the command line itself: settings, completion, and what is said where no command is given."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from zoo_index.commands.common import page, print_json, print_lines
from zoo_index.commands.options import json_option
from zoo_index.database.opening import default_place, is_address, without_password
from zoo_index.foundation.counting import counted
from zoo_index.foundation.plain_text import plain
from zoo_index.foundation.settings import OPTION, SETTINGS, Found, Setting, load_settings, project_file, user_file
from zoo_index.foundation.terminal import width_of

__all__ = ["SETTING_UP", "apply_settings", "completion", "welcome"]

_FOUND = "zoo_index.settings"
"""Where the context keeps the settings."""


def apply_settings(ctx: click.Context, db: str | None) -> None:
    """Let settings stand in for the options that are not given, those of all commands.

    Raises
    ------
    InputError
        If a file or variable sets what there is not, or to a value that cannot be.
    """
    found = load_settings()
    if db is not None:
        found["db"] = Found(db, OPTION, "--db")
    values = {name: one.value for name, one in found.items() if one.value is not None}
    ctx.obj = values.pop("db", None)
    ctx.meta[_FOUND] = found
    options = {setting.option: values[setting.name] for setting in SETTINGS if setting.name in values}
    if options and isinstance(ctx.command, click.Group):
        ctx.default_map = _defaults(ctx.command, options)


def _defaults(group: click.Group, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of all commands of a group, by the names that click knows their options by."""
    made: dict[str, Any] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            made[name] = _defaults(command, options)
        else:
            made[name] = {
                str(parameter.name): options[option]
                for parameter in command.params
                for option in parameter.opts
                if option in options
            }
    return made


@click.command("settings", short_help="List settings and where each comes from.")
@json_option
@click.pass_context
def settings_command(ctx: click.Context, as_json: bool) -> None:
    """List all settings, their values, and where each comes from.

    A setting stands in for the option of its name. What is nearer wins: an option on the command line, a variable
    such as ZOO_LICENSE, the project's file, the user's file.

    The project's file is zoo.toml in the current folder, else the table [tool.zoo] of its pyproject.toml. It cannot
    set db. Both files are TOML: license = "permissive".

    \b
    Examples:
      zoo settings
      zoo settings --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    found: dict[str, Found] = ctx.meta[_FOUND]
    personal, project = user_file(), project_file(Path.cwd())
    rows = [_row(setting, found[setting.name], ctx.find_root().command) for setting in SETTINGS]
    if as_json:
        files = {"user": str(personal), "project": None if project is None else str(project)}
        print_json({"settings": rows, "files": files})
    else:
        from zoo_index.reports.settings import show_settings

        show_settings(page(), rows, user=str(personal), is_there=os.path.exists(personal))


def _row(setting: Setting, found: Found, root: click.Command) -> dict[str, Any]:
    value = _default(root, setting.option) if found.value is None else found.value
    if setting.name == "db":
        value = without_password(default_place() if value is None else str(value))
    origin = {"origin": found.origin, "place": found.place}
    return {"name": setting.name, "value": value, **origin, "meaning": setting.meaning}


def _default(command: click.Command, option: str) -> Any:
    """Return the default of an option, as the first command that has it declares it."""
    if isinstance(command, click.Group):
        found = (_default(each, option) for each in command.commands.values())
        return next((value for value in found if value is not None), None)
    declared = [each.to_info_dict()["default"] for each in command.params if option in each.opts]
    return next(iter(declared), None)


@click.command("completion", short_help="Print what makes a shell complete commands and names.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that lets a SHELL complete commands, options, and the names of the index.

    \b
    Examples:
      zoo completion bash   # in ~/.bashrc:  eval "$(zoo completion bash)"
      zoo completion zsh    # in ~/.zshrc:  eval "$(zoo completion zsh)"
      zoo completion fish   # write it to ~/.config/fish/completions/zoo.fish
    """  # noqa: D301 - click's mark for lines that stay as they are
    from click.shell_completion import ShellComplete, get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    root = click.get_current_context().find_root()
    script = ShellComplete.source(made(root.command, {}, "zoo", "_ZOO_COMPLETE"))  # bash's own looks for a bash
    print_lines(script.splitlines())


_WELCOME = "zoo finds the pretrained network that is the best start for yours, and copies its weights across."

_FIRST = {
    "zoo recommend --target mynet.py": "which pretrained network fits best?",
    "zoo plan --target mynet.py --source NAME": "what would be copied?",
    "zoo transfer --target mynet.py --auto": "copy it into mynet.safetensors",
}
"""Commands to begin with, and what each is for."""

_MORE = "All commands: zoo --help.  Examples of one: zoo COMMAND --help."

_WIDTH = 80
"""Columns of what is said to somebody who gave no command; a terminal may have fewer."""


def welcome(ctx: click.Context) -> None:
    """Say what to do next, to somebody who gave no command."""
    from zoo_index.database.glance import amounts

    place = default_place() if ctx.obj is None else str(ctx.obj)
    found = amounts(place)
    if found is not None:
        amount = f"{counted(found[1], 'pretrained network')} of {counted(found[0], 'architecture')}"
        index = f"Index: {without_password(place)}, {amount}."
    elif is_address(place):
        index = f"Index: {without_password(place)}. Look at it: zoo index status."
    elif os.path.exists(place):
        index = f"Index: '{place}' holds nothing that can be used yet. What to do: zoo doctor."
    else:
        index = "Index: none yet. The first question makes one, in seconds and without a network."
    width = min(width_of(sys.stdout), _WIDTH) if sys.stdout.isatty() else _WIDTH
    print_lines(_welcome_lines(plain(index), width))


def _welcome_lines(index: str, width: int) -> list[str]:
    """Lay out what is said; where two columns do not fit, what a command is for stands below it."""
    room = max(map(len, _FIRST))
    is_wide = 2 + room + 3 + max(map(len, _FIRST.values())) <= width
    commands = []
    for command, meaning in _FIRST.items():
        commands += [f"  {command:{room}}   {meaning}"] if is_wide else [f"  {command}", f"      {meaning}"]
    return [*_wrap(_WELCOME, width), "", *commands, "", *_wrap(index, width), *_wrap(_MORE, width)]


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


SETTING_UP = (settings_command, completion)
"""For the command line."""
