"""The JSON interface: what can be asked under ``/api/``, with what, and what is answered.

Every endpoint is declared here once; requests are read by the declaration, and the OpenAPI document is made of it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from zoo_index.server import parameters, schemas
from zoo_index.server.endpoints import Endpoint
from zoo_index.server.openapi import openapi
from zoo_index.server.problems import ProblemError, problem
from zoo_index.server.service import Service

__all__ = ["ENDPOINTS", "problem_response"]

_JSON, _BYTES = "application/json", "application/octet-stream"


def _json(values: Any) -> Response:
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Response(text, media_type=_JSON)


def problem_response(error: ProblemError) -> Response:
    """Return an error as a problem document."""
    return Response(
        json.dumps(problem(error.status, error.detail)),
        status_code=error.status,
        media_type="application/problem+json",
        headers=error.headers,
    )


async def _health(service: Service, request: Request, values: dict[str, Any]) -> Response:
    service.check()
    return _json({"status": "ok", "generation": service.generation})


async def _status(service: Service, request: Request, values: dict[str, Any]) -> Response:
    return _json(service.status())


async def _map(service: Service, request: Request, values: dict[str, Any]) -> Response:
    wanted, window = parameters.wanted_of(values), parameters.window_of(values)
    return _json(service.atlas.picture(wanted, window, cells=values["cells"]))


async def _architectures(service: Service, request: Request, values: dict[str, Any]) -> Response:
    atlas = service.atlas
    rows = np.flatnonzero(atlas.architectures(atlas.matching(parameters.wanted_of(values))))
    if values.get("search"):
        rows = rows[atlas.by_likeness(rows, values["search"])]
    shown = rows[list(parameters.page_of(values, len(rows)))] if len(rows) else rows
    points = atlas.points(shown)
    items = [
        {
            "name": name,
            "family": atlas.family.names[points["family"][i]],
            "catalogue": atlas.catalogue.names[points["catalogue"][i]],
            "params": points["params"][i],
            "weights": points["weights"][i],
            "top1": points["top1"][i],
        }
        for i, name in enumerate(points["name"])
    ]
    return _json({"generation": atlas.generation, "total": len(rows), "items": items})


async def _entries(service: Service, request: Request, values: dict[str, Any]) -> Response:
    atlas = service.atlas
    chosen = np.flatnonzero(atlas.matching(parameters.wanted_of(values)))
    shown = [int(chosen[i]) for i in parameters.page_of(values, len(chosen))]
    names = [atlas.entry_names[i] for i in shown]
    found = await service.entries_of(sorted({atlas.owner(i) for i in shown}))
    by_name = {entry["name"]: entry for entry in found}
    items = [by_name[name] for name in names if name in by_name]
    return _json({"generation": atlas.generation, "total": len(chosen), "items": items})


async def _architecture(service: Service, request: Request, values: dict[str, Any]) -> Response:
    return _json(await service.architecture(request.path_params["name"]))


async def _resolve(service: Service, request: Request, values: dict[str, Any]) -> Response:
    return _json(service.resolve(request.path_params["name"]))


async def _recommend(service: Service, request: Request, values: dict[str, Any]) -> Response:
    answer = await service.ask("recommend", {}, await request.body())
    return _answered(answer.status, answer.content)


async def _recommend_file(service: Service, request: Request, values: dict[str, Any]) -> Response:
    answer = await service.ask("recommend file", values, await request.body())
    return _answered(answer.status, answer.content)


def _answered(status: int, content: bytes) -> Response:
    return Response(content, status, media_type=_JSON if status == 200 else "application/problem+json")


async def _openapi(service: Service, request: Request, values: dict[str, Any]) -> Response:
    return _json(openapi(ENDPOINTS))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/health", "Whether the server can answer", "For those who watch it. It asks for no token. "
        "Where there is no index it is 503.",
        _health, schemas.HEALTH, is_open=True,
    ),
    Endpoint(
        "GET", "/api/status", "What the server holds",
        "The generation of the index, how much is in it, and how many questions were asked and are pending.",
        _status, schemas.STATUS,
    ),
    Endpoint(
        "GET", "/api/map", "A part of the map",
        "The architectures in a part of the map. Each key of `points` is a column: `name[3]`, `x[3]` and "
        "`family[3]` are of the same architecture. `x` and `y` go from 0 to 10,000, and are -1 where it has no "
        "place. `family`, `catalogue` and licences are numbers, counted from 0, into the lists `families`, "
        "`catalogues` and `licenses`. `offers` says for each architecture under which licences there are "
        "weights, and whether on this server; each offer is one number. For example, 4 and 5 are both the third "
        "licence, `licenses[2]`: 4 is somewhere else, 5 is on this server. In general, `offer // 2` is the "
        "number of the licence, and `offer % 2` is 1 on this server. Where more than 5,000 architectures are in "
        "sight, there are no `points` but `cells` of a grid: `n` says how many architectures lie in each, "
        "`family` which family most of them are of, and `share` what part of them.",
        _map, schemas.MAP, (*parameters.FILTERS, *parameters.WINDOW),
    ),
    Endpoint(
        "GET", "/api/architectures", "Architectures", "Those of which weights pass the filters, page by page.",
        _architectures, schemas.listed(schemas.ARCHITECTURE), (*parameters.FILTERS, *parameters.PAGE),
    ),
    Endpoint(
        "GET", "/api/entries", "Sets of weights", "Those that pass the filters, page by page.",
        _entries, schemas.listed(schemas.ENTRY), (*parameters.FILTERS, *parameters.PAGE),
    ),
    Endpoint(
        "GET", "/api/architecture/{name}", "One architecture",
        "Its weights, its blocks, the best sources for it, and what it is a good source for.",
        _architecture, schemas.DETAILS, problems=(404, 504),
    ),
    Endpoint(
        "GET", "/api/resolve/{name}", "Which architecture a name means",
        "The name may be that of an architecture or of a set of weights, or a catalogue, a colon and a name. "
        "`name` is null where it means none; `alike` then has names that are like it.",
        _resolve, schemas.RESOLVED, problems=(404,),
    ),
    Endpoint(
        "POST", "/api/recommend", "Sources for a network",
        "The network is the name of an architecture or entry of the index, an architecture as `zoo standardize` "
        "writes it, or the header of a safetensors file.",
        _recommend, schemas.ANSWER, body=_JSON, problems=(404, 413, 415, 504),
    ),
    Endpoint(
        "POST", "/api/recommend/file", "Sources for a safetensors file",
        "What is sent is the beginning of the file, at least its header; what comes behind that is not looked at.",
        _recommend_file, schemas.ANSWER, (*parameters.RESULTS, *parameters.NAME), _BYTES,
        problems=(404, 413, 415, 504),
    ),
    Endpoint(
        "GET", "/api/openapi.json", "This document", "The interface as OpenAPI 3.1.",
        _openapi, schemas.DOCUMENT, is_open=True,
    ),
)  # fmt: skip
"""Everything that can be asked."""
