"""HTML documents that need nothing but themselves: styles, scripts and data are in the file.

Text from outside, such as names of tensors, only ever is data: JSON in an element that no browser runs, which the
scripts put into the page as text. The policy in the head lets nothing run or load but what was written here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from typing import Any

__all__ = ["document", "policy"]

_FOLDER = resources.files("zoo_index.reports.html")


def document(title: str, body: str, data: Mapping[str, Any], *, parts: Iterable[str], asks: bool = False) -> str:
    """Put a page together.

    Parameters
    ----------
    title : str
        Plain text.
    body : str
        HTML, written by the project: nothing from outside may be in it.
    data : mapping
        JSON values; the script finds them in ``zoo.data``.
    parts : iterable of str
        Names of files of this folder, without suffix. The styles and the script of each are taken, if there are
        any, after those of ``look``, which all pages share.
    asks : bool
        Whether the page asks the server that it came from.

    Returns
    -------
    str
        The document, which runs no other script and asks no other host.
    """
    styles, script = _assets("look", *parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(script, asks=asks)}">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>\n{styles}</style>\n'
        "</head>\n<body>\n"
        f'{body}\n<script type="application/json" id="data">{_inert(data)}</script>\n<script>{script}</script>\n'
        "</body>\n</html>\n"
    )


def policy(script: str, *, asks: bool) -> str:
    """Return the content security policy of a page with this script."""
    hosts = "'self'" if asks else "'none'"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        f"connect-src {hosts}; base-uri 'none'; form-action 'none'"
    )


def _assets(*names: str) -> tuple[str, str]:
    """Read styles and scripts; a script is a function of its own, so that their names do not meet."""
    styles: list[str] = []
    scripts: list[str] = []
    for name in names:
        assert any(_FOLDER.joinpath(name + suffix).is_file() for suffix in (".css", ".js")), name
        for suffix, found in ((".css", styles), (".js", scripts)):
            file = _FOLDER.joinpath(name + suffix)
            if file.is_file():
                found.append(file.read_text(encoding="utf-8"))
    return "\n".join(styles), '"use strict";\n' + "\n".join(f"(() => {{\n{text}\n}})();" for text in scripts)


def _inert(data: Mapping[str, Any]) -> str:
    """Write JSON that ends no element: what HTML could read as markup is escaped."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
