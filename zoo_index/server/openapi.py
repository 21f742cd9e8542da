"""The OpenAPI document, made of the declarations of `api`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from zoo_index.server import schemas
from zoo_index.server.endpoints import Endpoint

__all__ = ["openapi"]

_PROBLEMS = {
    400: "What was asked cannot be understood.",
    401: "A token is asked for, and was not given or is another one.",
    403: "A page of another site asked.",
    404: "There is nothing of that name, or no source.",
    413: "More was sent than is taken.",
    415: "Something of another kind was sent.",
    421: "The host that the request names is not this server.",
    500: "The question could not be answered.",
    503: "Too many questions at a time, or no index; ask again later.",
    504: "The answer took too long.",
}
_ALWAYS = (400, 401, 403, 421, 500, 503)


def openapi(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the document.

    Parameters
    ----------
    endpoints : sequence of Endpoint
    """
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "zoo",
            "version": metadata.version("zoo-index"),
            "description": "An index of pretrained networks: what is in it, and the best sources for yours.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "..", "description": "The server that this document is of, as it was reached."}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": schemas.PROBLEM, "Question": schemas.QUESTION},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": "".join(part.strip("{}.") for part in endpoint.path.replace(".", "/").split("/")[2:]),
        "summary": endpoint.summary,
        "description": endpoint.description,
        "security": [] if endpoint.is_open else [{"token": []}, {}],
        "parameters": [
            {"name": one.name, "in": "query", "description": one.description, "schema": dict(one.schema)}
            for one in endpoint.parameters
        ],
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": endpoint.answer}}},
            **{
                str(status): {
                    "description": _PROBLEMS[status],
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
                for status in sorted({*_ALWAYS, *endpoint.problems})
            },
        },
    }
    if "{name}" in endpoint.path:
        name = {"type": "string", "minLength": 1}
        found["parameters"].append({"name": "name", "in": "path", "required": True, "schema": name})
    if endpoint.body == "application/json":
        question = {"$ref": "#/components/schemas/Question"}
        found["requestBody"] = {"required": True, "content": {endpoint.body: {"schema": question}}}
    elif endpoint.body:
        found["requestBody"] = {"required": True, "content": {endpoint.body: {"schema": {}}}}
    return found
