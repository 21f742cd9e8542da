"""JSON Schemas of what is asked and answered, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from zoo_index.server.limits import MOST_NAME, MOST_RESULTS, MOST_SEARCH

__all__ = [
    "ANSWER",
    "ARCHITECTURE",
    "DETAILS",
    "DOCUMENT",
    "ENTRY",
    "HEALTH",
    "MAP",
    "PROBLEM",
    "QUESTION",
    "RESOLVED",
    "STATUS",
    "listed",
]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_TRUTH: Schema = {"type": "boolean"}


def _maybe(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _object(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _all(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def listed(item: Schema) -> Schema:
    """Return the schema of a page of a list."""
    return _object({"generation": _COUNT, "total": _COUNT, "items": _all(item)})


PROBLEM = _object({"type": _TEXT, "title": _TEXT, "status": _COUNT, "detail": _TEXT})
HEALTH = _object({"status": {"const": "ok"}, "generation": _COUNT})
STATUS = _object(
    {name: _COUNT for name in ("generation", "map_generation", "architectures", "entries", "questions", "pending")}
)
RESOLVED = _object({"generation": _COUNT, "name": _maybe(_TEXT), "alike": _all(_TEXT)})
_PLACES = _all({"type": "integer", "minimum": -1, "maximum": 10_000})
_POINTS = _object(
    {
        "name": _all(_TEXT),
        "x": _PLACES,
        "y": _PLACES,
        "family": _all(_COUNT),
        "catalogue": _all(_COUNT),
        "params": _all(_COUNT),
        "weights": _all(_COUNT),
        "top1": _all(_maybe(_NUMBER)),
        "offers": _all(_all(_COUNT)),
    }
)
_CELLS = _object({"x": _PLACES, "y": _PLACES, "n": _all(_COUNT), "family": _all(_COUNT), "share": _all(_SHARE)})
MAP = _object(
    {
        "generation": _COUNT,
        "architectures": _COUNT,
        "entries": _COUNT,
        "families": _all(_TEXT),
        "licenses": _all(_TEXT),
        "catalogues": _all(_TEXT),
        "counts": {**_all(_COUNT), "description": "Architectures of each family that pass all other filters."},
        "shown": _COUNT,
        "in_window": _COUNT,
        "window": {**_all(_SHARE), "minItems": 4, "maxItems": 4},
        "kind": {"enum": ["points", "cells"]},
        "points": _POINTS,
        "cells": _CELLS,
    },
    optional=("points", "cells"),
)
ARCHITECTURE = _object(
    {
        "name": _TEXT,
        "family": _TEXT,
        "catalogue": _TEXT,
        "params": _COUNT,
        "weights": _COUNT,
        "top1": _maybe(_NUMBER),
    }
)
ENTRY = _object(
    {
        **{name: _TEXT for name in ("name", "architecture", "catalogue", "family", "input_size")},
        **{name: _maybe(_TEXT) for name in ("license", "dataset", "task", "hub_id", "url")},
        **{name: _COUNT for name in ("n_params", "n_classes")},
        **{name: _maybe(_COUNT) for name in ("n_bytes", "downloads")},
        **{name: _maybe(_NUMBER) for name in ("top1", "top5")},
        "available": _TRUTH,
    }
)
_NEIGHBOUR = _object({"name": _TEXT, "similarity": _SHARE})
_BLOCK = _object({"times": _COUNT, "is_block": _TRUTH, "params": _COUNT, "layers": _all(_TEXT)})
DETAILS = _object(
    {
        "generation": _COUNT,
        "name": _TEXT,
        "family": _TEXT,
        "catalogue": _TEXT,
        "params": _COUNT,
        "x": {"type": "integer"},
        "y": {"type": "integer"},
        "top1": _maybe(_NUMBER),
        "weights": _all(ENTRY),
        "blocks": _all(_BLOCK),
        "order": {
            "enum": ["network", "file"],
            "description": "Of the blocks: that of the network, or that of the names in a weights file, where "
            "nothing else is known. Its layers may run in another order.",
        },
        "sources": _all(_NEIGHBOUR),
        "targets": _all(_NEIGHBOUR),
    }
)
_RESULT = _object(
    {
        "rank": _COUNT,
        "name": _TEXT,
        "architecture": _TEXT,
        "family": _TEXT,
        "catalogue": _TEXT,
        "similarity": _SHARE,
        "paper_similarity": _maybe(_SHARE),
        "coverage": _SHARE,
        "params": _COUNT,
        "license": _maybe(_TEXT),
        "available": _TRUTH,
        "input_size": _TEXT,
        "n_classes": _COUNT,
        "n_weights": _COUNT,
        "top1": _maybe(_NUMBER),
        "benefit": {"enum": ["strong", "some", "none", "likely to hurt", None]},
        "evidence": _TEXT,
    }
)
_TARGET = _object(
    {
        "name": _TEXT,
        "fingerprint": _TEXT,
        "params": _COUNT,
        "layers": _COUNT,
        "blocks": {**_COUNT, "description": "Groups of layers, such as a residual block."},
        "single_layers": {**_COUNT, "description": "Layers that are in no block, such as the classifier."},
    }
)
_ADVICE = _object(
    {
        "rank": {**_COUNT, "description": "Of the source that it is about, among the results."},
        "source": _TEXT,
        "benefit": {"enum": ["strong", "some", "none", "likely to hurt"]},
        "is_useful": {**_TRUTH, "description": "Whether a transfer from it is worth it."},
        "text": {**_TEXT, "description": "Whether to take it and what to expect, in a sentence."},
    }
)
ANSWER = _object(
    {
        "generation": _COUNT,
        "target": {**_TARGET, "additionalProperties": True},
        "measure": {"enum": ["dpiat", "paper"]},
        "results": _all({**_RESULT, "additionalProperties": True}),
        "advice": {"anyOf": [_ADVICE, {"type": "null"}], "description": "Null where no benefit is known."},
        "n_considered": _COUNT,
        "n_scored": _COUNT,
        "seconds": _NUMBER,
    }
)
"""An answer may tell more of a target and of a result than is listed here."""

DOCUMENT: Schema = {"type": "object"}

_FILTER_TEXT: Schema = {"type": "string", "maxLength": MOST_SEARCH}
_FILTER_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 10**18}
_TENSOR: Schema = {
    "type": "array",
    "minItems": 5,
    "maxItems": 5,
    "description": "Role, shape, name, element type, and whether a matrix has its inputs first.",
}
_FORM: Schema = {
    "type": "object",
    "properties": {
        "form": {"enum": ["dpiat", "paper"]},
        "is_executed": _TRUTH,
        "items": {"type": "array", "description": "Layers, and lists of the layers of a block."},
    },
    "required": ["form", "is_executed", "items"],
    "additionalProperties": False,
}
QUESTION = {
    **_object(
        {
            "name": {
                "type": "string",
                "minLength": 1,
                "maxLength": MOST_NAME,
                "description": "Of an architecture or entry of the index.",
            },
            "architecture": _object(
                {
                    "name": {"type": "string", "minLength": 1, "maxLength": MOST_NAME},
                    "n_params": {**_COUNT, "maximum": 2**53},
                    "forms": {"type": "array", "items": _FORM, "minItems": 1, "maxItems": 2},
                },
                optional=("name", "n_params"),
            ),
            "header": {
                "type": "object",
                "description": "Of a safetensors file: `dtype` and `shape` of every tensor by its name.",
            },
            "k": {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS, "default": 10},
            "measure": {"enum": ["dpiat", "paper"], "default": "dpiat"},
            "filters": _object(
                {
                    **{
                        name: _FILTER_TEXT
                        for name in ("license", "family", "search", "catalogue", "task", "dataset")
                    },
                    **{name: _FILTER_COUNT for name in ("max_params", "min_params", "max_bytes", "min_downloads")},
                    "available": _TRUTH,
                },
                optional=(
                    *("license", "family", "search", "catalogue", "task", "dataset"),
                    *("max_params", "min_params", "max_bytes", "min_downloads", "available"),
                ),
            ),
        },
        optional=("name", "architecture", "header", "k", "measure", "filters"),
    ),
    "oneOf": [{"required": ["name"]}, {"required": ["architecture"]}, {"required": ["header"]}],
    "examples": [{"name": "resnet50", "k": 5}],
}
"""What `POST /api/recommend` takes."""
