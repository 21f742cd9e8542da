"""What the process of a target starts with: its command line, and the environment without secrets."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["command_line", "without_secrets"]

_SECRETS = (
    *("AWS_*", "*TOKEN", "*SECRET", "*PASSWORD", "*PASSWD", "*_PASS"),
    *("*API_KEY", "*APIKEY", "*ACCESS_KEY", "*SECRET_KEY", "*PRIVATE_KEY", "*CREDENTIALS"),
)
"""Variables that look like tokens, whatever the case of their letters."""

_WITH_PASSWORD = re.compile(r"\w://[^/@\s]*:[^/@\s]*@")
"""An address with a password in it, as `ZOO_DB` may be one."""

_START = (
    "import json, sys; start = json.loads(sys.argv.pop()); sys.path[:] = start.pop('path'); "
    "from zoo_index.contained.guardian import main; main(**start)"
)
"""Not ``-m``: the path of the command is to hold, so that a module is the same one there and here."""


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that look like tokens or passwords.

    Parameters
    ----------
    environment : mapping of str to str

    Returns
    -------
    dict of str to str
    """
    return {
        name: value
        for name, value in environment.items()
        if not any(fnmatch.fnmatchcase(name.upper(), secret) for secret in _SECRETS)
        and not _WITH_PASSWORD.search(value)
    }


def command_line(**start: Any) -> list[str]:
    """Return how the process of a target is started: by this interpreter, with its path and its switches.

    Parameters
    ----------
    **start
        Arguments of `guardian.main`.
    """
    flags = {"-B": sys.dont_write_bytecode, "-s": sys.flags.no_user_site, "-E": sys.flags.ignore_environment}
    switches = ["-P", *(flag for flag, is_set in flags.items() if is_set)]
    switches += [f"-W{option}" for option in sys.warnoptions]
    path = [os.fspath(place) for place in sys.path]
    return [sys.executable, *switches, "-c", _START, json.dumps({"path": path, **start})]
