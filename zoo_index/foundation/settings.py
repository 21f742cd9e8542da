"""Settings of the command line, each with its origin: a file of the user's, one of the project, the environment.

    # ~/.config/zoo/config.toml
    db = "/data/zoo.db"
    license = "permissive"
    k = 5

A setting has the name of the option that it stands in for. What is nearer wins: an option on the command line, a
variable such as ``ZOO_LICENSE``, the project's file, the user's file, the default. The project's file is
``zoo.toml`` in the current folder or, without one, the table ``[tool.zoo]`` of its ``pyproject.toml``. It cannot
name a database: a folder that was downloaded must not say which one is opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer.errors import InputError
from transfer.weights.files import open_regular

__all__ = ["OPTION", "SETTINGS", "Found", "Setting", "load_settings", "project_file", "size_from", "user_file"]

_MOST_BYTES = 1 << 20
"""Of a settings file; a larger one is another file."""

DEFAULT, USER, PROJECT, ENVIRONMENT, OPTION = "default", "user", "project", "environment", "option"


@dataclass(frozen=True)
class Setting:
    """What can be set.

    Parameters
    ----------
    name : str
        As in a file; the option is called alike, with hyphens.
    expected : str
        What its value has to be, for messages.
    read : callable
        Returns the value of what stands in a file or variable; raises ValueError or TypeError for anything else.
    meaning : str
    is_personal : bool
        Whether a project's file may not set it.
    """

    name: str
    expected: str
    read: Callable[[Any], Any]
    meaning: str
    is_personal: bool = False

    @property
    def option(self) -> str:
        """The option that it stands in for."""
        return f"-{self.name}" if len(self.name) == 1 else f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it."""
        return f"ZOO_{self.name.upper()}"


@dataclass(frozen=True)
class Found:
    """A value and where it comes from.

    Parameters
    ----------
    value : object
        None where nothing sets it.
    origin : {'default', 'user', 'project', 'environment', 'option'}
    place : str
        The file, variable or option.
    """

    value: Any
    origin: str = DEFAULT
    place: str = ""


def size_from(value: Any) -> int:
    """Read a number such as 5000000, ``25M`` or ``1.5G``."""
    if isinstance(value, bool):
        raise TypeError("no number")
    text = str(value).strip().upper()
    factor = {"K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}.get(text[-1:], 1)
    size = float(text[:-1] if factor > 1 else text) * factor
    if not 0 <= size < 1e18:
        raise ValueError("out of range")
    return int(size)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("no text")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[str(value).lower()]


def _positive(value: Any) -> int:
    if isinstance(value, bool | float) or int(value) < 1:
        raise ValueError("no number of 1 or more")
    return int(value)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not 0 <= float(value) <= 1:
        raise ValueError("no number from 0 to 1")
    return float(value)


def _one_of(*names: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        return names[names.index(value)]

    return read


_SIZE = "a number such as 5000000, '25M' or '1.5G'"

SETTINGS = (
    Setting("db", "a file or postgresql://user@host/name, in quotes", _text, "index to use", is_personal=True),
    Setting("k", "a whole number of 1 or more", _positive, "number of sources that recommend lists"),
    Setting("measure", "'dpiat' or 'paper'", _one_of("dpiat", "paper"), "how networks are compared"),
    Setting("method", "'dpiat' or 'paper'", _one_of("dpiat", "paper"), "how parameters are transferred"),
    Setting("license", "licences in quotes, e.g. 'permissive' or 'apache-2.0,mit'", _text, "licences of sources"),
    Setting("max_params", _SIZE, size_from, "most parameters of a source"),
    Setting("max_size", _SIZE, size_from, "most bytes of a source's weights"),
    Setting("available", "true or false", _flag, "only sources whose weights are on this machine"),
    Setting("input", "sizes in quotes, e.g. '3x64x64'", _text, "what targets take"),
    Setting("device", "'auto', 'cpu', 'cuda' or 'cuda:N'", _text, "where targets are filled"),
    Setting("min_coverage", "a number from 0 to 1", _share, "smallest part of a target worth a transfer"),
)
"""All there is to set; `zoo settings` lists it."""

_BY_NAME = {setting.name: setting for setting in SETTINGS}


def user_file() -> Path:
    """Return where the user's settings are looked for."""
    from platformdirs import user_config_path

    return user_config_path("zoo", appauthor=False) / "config.toml"


def project_file(folder: Path) -> Path | None:
    """Return the file with the settings of a folder, if it has one; folders above it are not looked at."""
    own, shared = folder / "zoo.toml", folder / "pyproject.toml"
    if os.path.isfile(own):
        return own
    if os.path.isfile(shared) and b"tool.zoo" in _content(shared):
        return shared
    return None


def load_settings(
    folder: Path | None = None, environment: Mapping[str, str] | None = None, user: Path | None = None
) -> dict[str, Found]:
    """Read all settings.

    Parameters
    ----------
    folder : Path, optional
        That of the project; by default the current one.
    environment : mapping, optional
        By default that of this process.
    user : Path, optional
        The user's file; by default `user_file`.

    Returns
    -------
    dict of str to Found
        By name, in the order of `SETTINGS`.

    Raises
    ------
    InputError
        If a file cannot be read, or sets what there is not, or to a value that cannot be.
    """
    environment = os.environ if environment is None else environment
    found = {setting.name: Found(None) for setting in SETTINGS}
    user = user_file() if user is None else user
    if os.path.exists(user):
        found |= _from_file(user, USER)
    project = project_file(Path.cwd() if folder is None else folder)
    if project is not None:
        found |= _from_file(project, PROJECT)
    for setting in SETTINGS:
        given = environment.get(setting.variable)
        if given:
            value = _value(setting, given, f"the variable {setting.variable}")
            found[setting.name] = Found(value, ENVIRONMENT, setting.variable)
    return found


def _from_file(path: Path, origin: str) -> dict[str, Found]:
    table = _table(path)
    found = {}
    for key, value in table.items():
        setting = _BY_NAME.get(key)
        if setting is None:
            import difflib

            near = difflib.get_close_matches(key.replace("-", "_"), _BY_NAME, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(_BY_NAME)}"
            raise InputError(f"expected a setting in '{path}', got {key!r}; {hint}")
        if setting.is_personal and origin == PROJECT:
            raise InputError(
                f"expected no {key!r} in '{path}': a project's file must not say which index is opened; "
                f"set it in '{user_file()}', with {setting.variable} or with {setting.option}"
            )
        found[key] = Found(_value(setting, value, f"'{path}'"), origin, str(path))
    return found


def _table(path: Path) -> Mapping[str, Any]:
    import tomllib

    content = _content(path)
    try:
        read: Mapping[str, Any] = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of numbers that are too long
        is_told = isinstance(error, tomllib.TOMLDecodeError | UnicodeDecodeError)
        what = error if is_told else "values that are too deep or too long"
        raise InputError(f"expected settings in TOML in '{path}', got: {what}; correct the file") from error
    if path.name == "pyproject.toml":
        tool = read.get("tool")
        table = tool.get("zoo", {}) if isinstance(tool, dict) else {}
        if not isinstance(table, dict):
            raise InputError(f"expected a table [tool.zoo] in '{path}', got {table!r:.40}; correct the file")
        return table
    return read


def _content(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            content: bytes = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"expected a settings file that can be read at '{path}', got: {error.strerror or error}; "
            "check it, or move it away"
        ) from error
    if len(content) > _MOST_BYTES:
        raise InputError(f"expected settings of less than 1 MiB in '{path}', it is larger; move it away")
    return content


def _value(setting: Setting, given: Any, where: str) -> Any:
    try:
        return setting.read(given)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise InputError(
            f"expected {setting.name} in {where} to be {setting.expected}, got {given!r:.60}; correct it"
        ) from error
