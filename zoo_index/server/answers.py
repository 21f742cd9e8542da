"""What a worker answers: recommendations, neighbours and blocks of an architecture, the making of the map.

A question is JSON from anybody. A target is a name of the index, an architecture or a header; a name is only ever
looked up in the index, so that no code is run and no file is opened for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

from transfer.errors import ZooError
from transfer.structure.records import Form
from transfer.structure.standardization import FORMS, check_form
from zoo_index.errors import EmptyIndexError
from zoo_index.foundation.logs import LOGGER
from zoo_index.hub.availability import Availability
from zoo_index.index.layout import open_layout
from zoo_index.index.view import View
from zoo_index.recommending.advising import advise
from zoo_index.recommending.answers import Filters
from zoo_index.recommending.recommend import recommend
from zoo_index.recommending.resolve import Resolved
from zoo_index.server.details import blocks_of, order_of
from zoo_index.server.limits import MOST_NAME, MOST_RESULTS, MOST_SEARCH, MOST_SMALL_LAYERS
from zoo_index.server.neighbours import neighbours_of
from zoo_index.server.uploads import DEFAULT_NAME, header_in, read_document, read_header, read_json
from zoo_index.zoo.zoo import Zoo

__all__ = ["QUESTION_FIELDS", "LargeQuestionError", "answer"]

QUESTION_FIELDS = {"name", "architecture", "header", "k", "measure", "filters"}
_TARGETS = ("name", "architecture", "header")
_NUMBERS = {"max_params", "min_params", "max_bytes", "min_downloads"}
_MOST_NUMBER = 10**18


class LargeQuestionError(Exception):
    """A question that takes long, and was not asked as such a one."""


def answer(zoo: Zoo, kind: str, fields_: Mapping[str, Any], body: bytes, *, is_large: bool) -> dict[str, Any]:
    """Answer one question, from one generation of the index.

    Parameters
    ----------
    zoo : Zoo
    kind : str
        A key of the table below.
    fields_ : mapping
        From the server itself.
    body : bytes
        From whoever asks.
    is_large : bool
        Whether it may take long.

    Returns
    -------
    dict
        JSON values, with ``generation``.

    Raises
    ------
    ZooError, ValueError
        If there is no answer, or it is no question.
    LargeQuestionError
        If it is about a network of many layers, and may not take long.
    """
    view = zoo.view()
    if not view.entries.n_architectures:
        raise EmptyIndexError("expected an index of pretrained networks, found none; run: zoo index refresh")
    fields_ = {**fields_, "is_large": is_large}
    return {**_ANSWERS[kind](zoo, view, fields_, body), "generation": view.generation}


def _recommend(zoo: Zoo, view: View, fields_: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    question = read_json(body)
    if not isinstance(question, dict) or not set(question) <= QUESTION_FIELDS:
        raise ValueError(f"expected an object with some of {', '.join(sorted(QUESTION_FIELDS))}, and nothing else")
    given = [name for name in _TARGETS if name in question]
    if len(given) != 1:
        raise ValueError(f"expected one of {', '.join(_TARGETS)}, got {' and '.join(given) or 'none'}")
    form = _form(question.get("measure", "dpiat"))
    if given == ["name"]:
        target = _indexed(view, question["name"])
    elif given == ["architecture"]:
        target = read_document(question["architecture"])
    else:
        target = read_header(question["header"])
    _check_cost(target, fields_)
    k, filters = question.get("k", 10), _filters(question.get("filters", {}))
    if given == ["name"]:
        return _ranked(view, target, form, k, filters)
    return _foreign(lambda: _ranked(view, target, form, k, filters))


def _recommend_file(zoo: Zoo, view: View, fields_: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    target = read_header(header_in(body), fields_.get("name") or DEFAULT_NAME)
    _check_cost(target, fields_)
    return _foreign(lambda: _ranked(view, target, "dpiat", fields_.get("k", 10), Filters()))


def _check_cost(target: Resolved, fields_: Mapping[str, Any]) -> None:
    n_layers = max(architecture.n_scoring for architecture in target.forms.values())
    if n_layers > MOST_SMALL_LAYERS and not fields_["is_large"]:
        raise LargeQuestionError


def _foreign(answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Rank sources for an architecture that may contradict itself: no network need have it."""
    try:
        return answer()
    except (ZooError, ValueError):
        raise
    except Exception as error:
        LOGGER.warning("an architecture that was sent could not be compared: %r", error)
        raise ValueError(
            "expected the architecture of a network, this one could not be compared with others; write it with: "
            "zoo standardize"
        ) from error


def _ranked(view: View, target: Resolved, form: Form, k: Any, filters: Filters) -> dict[str, Any]:
    if type(k) is not int or not 1 <= k <= MOST_RESULTS:
        raise ValueError(f"expected k from 1 to {MOST_RESULTS}")
    if form not in target.forms:
        raise ValueError(f"expected a network in the form {form!r}, this one has it not; take the measure 'dpiat'")
    availability = Availability()
    answer = recommend(
        view.search,
        view.entries,
        target,
        k=k,
        form=form,
        exact=False,
        filters=filters,
        find=availability.find,
    )
    best = advise(answer)
    return {**answer.to_json(), "advice": None if best is None else asdict(best)}


def _form(value: Any) -> Form:
    if not isinstance(value, str):
        raise ValueError(f"expected a measure, one of {', '.join(FORMS)}")
    return check_form(value, "measure")


def _indexed(view: View, name: Any) -> Resolved:
    if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME:
        raise ValueError(f"expected a name of 1 to {MOST_NAME} characters")
    entry = view.entries.find(name)
    stored = {form: view.search.architecture(entry["architecture_id"], form) for form in FORMS}
    return Resolved(name, entry["n_params"], {form: one for form, one in stored.items() if one is not None})


def _filters(values: Any) -> Filters:
    known = {field.name for field in fields(Filters)}
    if not isinstance(values, dict) or not set(values) <= known:
        raise ValueError(f"expected filters that are among {', '.join(sorted(known))}")
    for name, value in values.items():
        if name == "available":
            is_right = isinstance(value, bool)
        elif name in _NUMBERS:
            is_right = value is None or (type(value) is int and 0 <= value <= _MOST_NUMBER)
        else:
            is_right = value is None or (isinstance(value, str) and len(value) <= MOST_SEARCH)
        if not is_right:
            raise ValueError(f"expected another value of the filter {name!r}")
    return Filters(**values)


def _architecture(zoo: Zoo, view: View, fields_: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    id_ = int(fields_["id"])
    found = view.search.shapes([id_], "dpiat").get(id_)
    return {
        "blocks": [] if found is None else blocks_of(found),
        "order": order_of(view.search, [id_])[id_],
        **asdict(neighbours_of(view.search, id_)),
    }


def _map(zoo: Zoo, view: View, fields_: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    return {"architectures": len(open_layout(zoo.store, view.generation).ids)}


def _ready(zoo: Zoo, view: View, fields_: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    zoo.get_ready()
    return {}


_ANSWERS: dict[str, Callable[[Zoo, View, Mapping[str, Any], bytes], dict[str, Any]]] = {
    "ready": _ready,
    "map": _map,
    "architecture": _architecture,
    "recommend": _recommend,
    "recommend file": _recommend_file,
}
