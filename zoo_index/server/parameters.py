"""Parameters of requests: declared once, for reading them and for the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo_index.server.atlas import Wanted, Window
from zoo_index.server.limits import MOST_NAME, MOST_PAGE, MOST_RESULTS, MOST_SEARCH
from zoo_index.server.problems import ProblemError

__all__ = ["FILTERS", "NAME", "PAGE", "RESULTS", "WINDOW", "Parameter", "page_of", "read", "wanted_of", "window_of"]

_MOST = 10**15
_MOST_LISTED = 1000
"""Characters of a list of names."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a query.

    Parameters
    ----------
    name, description : str
    schema : mapping
        Of JSON Schema; what is not among its values is refused.
    """

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string", "maxLength": MOST_SEARCH})


def _listed(name: str, what: str) -> Parameter:
    return Parameter(
        name, f"Only {what}; several with commas between.", {"type": "string", "maxLength": _MOST_LISTED}
    )


def _whole(name: str, description: str, least: int, most: int, default: int | None = None) -> Parameter:
    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    return Parameter(name, description, schema if default is None else {**schema, "default": default})


_FLAG = {"type": "boolean", "default": False}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}

FILTERS = (
    Parameter("search", "Only names that contain this."),
    _listed("family", "these families"),
    _listed("license", "these licences; permissive for all such, unknown for none"),
    _listed("catalogue", "these catalogues"),
    _listed("task", "weights for these tasks"),
    _listed("dataset", "weights trained on these data sets"),
    _whole("min_params", "At least this many parameters.", 0, _MOST),
    _whole("max_params", "At most this many parameters.", 0, _MOST),
    Parameter("available", "Only weights that are on the server's machine.", _FLAG),
)
WINDOW = (
    Parameter("x0", "Left edge of the part of the map that is asked for.", {**_SHARE, "default": 0}),
    Parameter("y0", "Top edge.", {**_SHARE, "default": 0}),
    Parameter("x1", "Right edge.", {**_SHARE, "default": 1}),
    Parameter("y1", "Bottom edge.", {**_SHARE, "default": 1}),
    _whole("cells", "Cells of a row, and of a column, where there are too many for points.", 4, 256, 64),
)
PAGE = (
    _whole("offset", "How many to leave out at the beginning.", 0, _MOST, 0),
    _whole("limit", "How many at most.", 1, MOST_PAGE, 100),
)
RESULTS = (_whole("k", "Number of sources.", 1, MOST_RESULTS, 10),)
NAME = (Parameter("name", "What to call the network.", {"type": "string", "minLength": 1, "maxLength": MOST_NAME}),)

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


def read(given: Sequence[tuple[str, str]], declared: Sequence[Parameter]) -> dict[str, Any]:
    """Read the parameters of a query.

    Parameters
    ----------
    given : sequence of (str, str)
    declared : sequence of Parameter

    Returns
    -------
    dict
        Of those that are given, and of those with a default.

    Raises
    ------
    ProblemError
        400 if one is not declared, given twice, or of another value.
    """
    known = {parameter.name: parameter for parameter in declared}
    found = {name: p.schema["default"] for name, p in known.items() if "default" in p.schema}
    seen: set[str] = set()
    for name, text in given:
        if name not in known:
            names = ", ".join(known) or "none"
            raise ProblemError(400, f"expected parameters among {names}, got {name[:MOST_NAME]!r}")
        if name in seen:
            raise ProblemError(400, f"expected the parameter {name!r} once, got it twice")
        seen.add(name)
        found[name] = _READ[known[name].schema["type"]](known[name], text)
    return found


def _text(parameter: Parameter, text: str) -> str:
    schema = parameter.schema
    if not schema.get("minLength", 0) <= len(text) <= schema["maxLength"]:
        raise _refused(parameter, f"a text of at most {schema['maxLength']} characters")
    return text


def _truth(parameter: Parameter, text: str) -> bool:
    if text not in ("true", "false"):
        raise _refused(parameter, "true or false")
    return text == "true"


def _float(parameter: Parameter, text: str) -> float:
    low, high = parameter.schema["minimum"], parameter.schema["maximum"]
    value = float(text) if _NUMBER.fullmatch(text) else low - 1
    if not low <= value <= high:
        raise _refused(parameter, f"a number from {low} to {high}")
    return float(value)


def _integer(parameter: Parameter, text: str) -> int:
    low, high = parameter.schema["minimum"], parameter.schema["maximum"]
    value = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII) else low - 1
    if not low <= value <= high:
        raise _refused(parameter, f"a whole number from {low} to {high}")
    return value


def _refused(parameter: Parameter, expected: str) -> ProblemError:
    return ProblemError(400, f"expected {expected} for the parameter {parameter.name!r}")


_READ: dict[str, Callable[[Parameter, str], Any]] = {
    "string": _text,
    "boolean": _truth,
    "number": _float,
    "integer": _integer,
}


def wanted_of(values: Mapping[str, Any]) -> Wanted:
    """Turn the values of `FILTERS` into what is wanted."""

    def listed(name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in values.get(name, "").split(",") if part.strip())

    return Wanted(
        families=listed("family"),
        licenses=listed("license"),
        catalogues=listed("catalogue"),
        tasks=listed("task"),
        datasets=listed("dataset"),
        min_params=values.get("min_params"),
        max_params=values.get("max_params"),
        search=values.get("search", ""),
        available=values["available"],
    )


def window_of(values: Mapping[str, Any]) -> Window:
    """Turn the values of `WINDOW` into a part of the map; nothing is in one that ends before it begins."""
    found: Window = (values["x0"], values["y0"], values["x1"], values["y1"])
    return found


def page_of(values: Mapping[str, Any], n: int) -> range:
    """Turn the values of `PAGE` into numbers of items, of so many."""
    start = min(values["offset"], n)
    return range(start, min(start + values["limit"], n))
