"""The map of the index as a page: in one file with all it shows, or as a shell that asks its server.

The pages of a server hold no data, so that they can be shown to everybody; what a script then asks for may need a
token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from zoo_index.recommending.answers import PERMISSIVE
from zoo_index.reports.html.document import document

__all__ = ["architecture_shell", "interface_page", "map_page", "map_shell", "missing_page", "recommend_shell"]

_CODE = re.compile("`([^`]*)`")
_THEME = '<button id="theme" type="button">Dark</button>'

_STAGE = """
<main class="atlas">
<section class="stage" aria-label="Map">
<canvas id="map" tabindex="0" role="application" aria-label="Map of architectures. Arrow keys go from one
to the next, Enter opens it, plus and minus zoom, 0 shows all, shift and arrow keys move the map."></canvas>
<div id="tip" class="tip" hidden></div>
<div class="tools" role="group" aria-label="Zoom">
<button id="in" type="button" aria-label="Zoom in">+</button>
<button id="out" type="button" aria-label="Zoom out">&minus;</button>
<button id="all" type="button" aria-label="Show all">All</button>
</div>
<p id="told" class="told" role="status"></p>
</section>
<aside class="side">
<section id="facts" class="card facts" aria-label="Architecture" hidden></section>
<section class="card" aria-label="Filters">
<div class="row head"><h2 class="grow">Filter</h2><button id="reset" type="button" hidden>Reset</button></div>
<div class="filters">
<label>Licence<select id="license"></select></label>
<label>Catalogue<select id="catalogue"></select></label>
<label>Parameters from<select id="least"></select></label>
<label>up to<select id="most"></select></label>
<label class="check"><input id="available" type="checkbox"> Weights are on this machine</label>
</div>
</section>
<section class="card" aria-label="Families">
<div class="row head"><h2>Families</h2><label class="visually-hidden" for="family">Find a family</label>
<input id="family" class="grow" type="search" placeholder="Find a family" autocomplete="off" maxlength="100"></div>
<div id="legend" class="legend"></div>
</section>
</aside>
</main>
"""

_SEARCH = """<div class="search"><label class="visually-hidden" for="search">Search</label>
<input id="search" type="search" placeholder="Search, e.g. resnet50" autocomplete="off" role="combobox"
aria-expanded="false" aria-controls="found" aria-autocomplete="list" maxlength="200">
<div id="found" class="found" role="listbox" aria-label="Found" hidden></div>
<p id="nothing" class="found nothing" role="status" hidden></p></div>"""

_MAP = (
    *("map_facts", "map_points", "map_geometry", "map_colours", "map_labels", "map_paint"),
    *("map_sight", "map_panel", "map_search", "map_legend", "map_filters", "map"),
)
"""What the map is put together of, in this order: each file uses those before it."""

_WORDS = {"permissive": sorted(PERMISSIVE)}
"""What the filter by licence means."""

_NAV = (("./", "Map"), ("recommend", "Recommend"), ("api", "API"))
"""Addresses are relative, since a proxy may have put the pages below a path of its own."""

_ARCHITECTURE = "architecture"
"""What the addresses of pages of architectures have before the name."""


def _top(title: str, middle: str = "", *, here: str = "", up: str = "") -> str:
    links = "".join(
        f'<a href="{up}{path}"{" aria-current=page" if path == here else ""}>{name}</a>'
        for path, name in _NAV
        if here
    )
    nav = f'<nav aria-label="Pages">{links}</nav>' if here else ""
    return f'<header class="top bar"><h1>{title}</h1>{nav}<span class="grow"></span>{middle}{_THEME}</header>'


def map_page(data: Mapping[str, Any]) -> str:
    """Return the map with all it shows in one file.

    Parameters
    ----------
    data : mapping
        ``map``, as the server answers it, with points; ``details`` of every one of them, or nothing; ``note``, what
        to say of the file.
    """
    return document("Map of the zoo", _top("Map of the zoo", _SEARCH) + _STAGE, {**data, **_WORDS}, parts=_MAP)


def map_shell() -> str:
    """Return the map that asks its server."""
    body = _top("Map of the zoo", _SEARCH, here="./") + _STAGE.replace("on this machine", "on the server")
    return document("Map of the zoo", body, _WORDS, parts=("map_ask", *_MAP), asks=True)


def architecture_shell() -> str:
    """Return the page of one architecture, which its address names."""
    body = (
        _top("Architecture", here=_ARCHITECTURE) + '<main id="page" class="facts page" aria-live="polite"></main>'
    )
    parts = ("map_ask", "map_facts", "map_architecture")
    return document("Architecture", body, {"below": _ARCHITECTURE}, parts=parts, asks=True)


def recommend_shell() -> str:
    """Return the page that finds sources for a network."""
    body = (
        _top("Find a source", here="recommend")
        + """<main class="ask-page">
<form id="question" class="card">
<p>Which pretrained network is the best source for yours? Name one of the index, or choose a file. Of a file only
names and shapes of layers are sent; no weights, no code.</p>
<div class="row"><label class="grow">Name<input id="name" class="grow" type="text" placeholder="e.g. resnet50"
autocomplete="off" maxlength="200"></label><button class="main" type="submit">Recommend</button></div>
<div id="drop" class="drop"><label>or a file: <input id="file" type="file" accept=".json,.safetensors"></label>
<span class="soft">an architecture by <code>zoo standardize</code>, or <code>.safetensors</code>, of which only the
header is read</span></div>
<div class="row filters"><label>Licence<select id="license"><option value="">any</option><option
value="permissive">permissive</option></select></label>
<label>Parameters up to<select id="most"></select></label>
<label>Results<select id="k"><option>5</option><option selected>10</option><option>25</option></select></label>
<label class="check"><input id="available" type="checkbox"> Weights are on the server</label></div>
</form>
<section id="answer" aria-live="polite"></section>
</main>"""
    )
    parts = ("map_ask", "map_facts", "map_recommend")
    return document("Find a source", body, {}, parts=parts, asks=True)


def missing_page(up: str) -> str:
    """Return the page for an address that has none.

    Parameters
    ----------
    up : str
        What leads from that address to where the pages are, such as ``../``.
    """
    body = (
        _top("There is no such page", here="-", up=up)
        + f"""<main><section class="card"><p>Expected the address of a page of this server, found another one.
Its pages are:</p>
<ul>
<li><a href="{up}./">Map</a>: every network of the index, to search and filter.</li>
<li><a href="{up}recommend">Recommend</a>: the best sources for a network.</li>
<li><code>architecture/NAME</code>: one network, for example <code>architecture/resnet50</code>.</li>
<li><a href="{up}api">API</a>: what programs can ask for.</li>
</ul></section></main>"""
    )
    return document("There is no such page", body, {}, parts=("map_facts",))


def interface_page(interface: Mapping[str, Any]) -> str:
    """Return a plain page about the JSON interface.

    Parameters
    ----------
    interface : mapping
        The OpenAPI document.
    """
    parts = []
    for path, methods in interface["paths"].items():
        for method, operation in methods.items():
            rows = "".join(
                f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td>"
                f"<td>{escape(str(one['schema'].get('type', '')))}</td>"
                f"<td>{escape(one.get('description', ''))}</td></tr>"
                for one in operation["parameters"]
            )
            table = (
                f'<div class="scroll"><table><tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr>'
                f"{rows}</table></div>"
                if rows
                else ""
            )
            sent = "".join(operation.get("requestBody", {}).get("content", {}))
            body = f'<p class="soft">Send <code>{escape(sent)}</code>.</p>' if sent else ""
            needs = "" if operation["security"] else ' <span class="soft">· no token needed</span>'
            told = _CODE.sub(r"<code>\1</code>", escape(operation["description"]))
            parts.append(
                f'<section class="card"><h2><code>{method.upper()} {escape(path)}</code></h2>'
                f"<p><strong>{escape(operation['summary'])}</strong>{needs}</p>"
                f"<p>{told}</p>"
                f"{body}{table}</section>"
            )
    body = (
        _top("JSON interface", here="api")
        + "<main><p>All that the pages show can be asked for. The whole interface as OpenAPI 3.1: <a "
        'href="api/openapi.json">/api/openapi.json</a>. Errors are problem documents (RFC 9457). Where the server '
        "asks for a token, send it in the header <code>Authorization: Bearer TOKEN</code>.</p>"
        f"{''.join(parts)}</main>"
    )
    return document("JSON interface", body, {}, parts=("map_facts",))
