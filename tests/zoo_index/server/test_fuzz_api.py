"""Requests made of the OpenAPI document: whatever is sent, the answer is one that the document knows."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving import Server

OPERATIONS = [
    ("GET", "/api/health"),
    ("GET", "/api/status"),
    ("GET", "/api/map"),
    ("GET", "/api/architectures"),
    ("GET", "/api/entries"),
    ("GET", "/api/architecture/{name}"),
    ("GET", "/api/resolve/{name}"),
    ("POST", "/api/recommend"),
    ("POST", "/api/recommend/file"),
    ("GET", "/api/openapi.json"),
]
DEEP = {"/api/recommend", "/api/recommend/file"}
"""What is in an architecture, or in a file, is more than the document says: of what it allows some is refused."""


def fuzz(server: Server, method: str, path: str, *, n: int) -> None:
    schema = schemathesis.openapi.from_dict(server.ask("/api/openapi.json").json)
    operation = schema[path][method]
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    n_asked = 0
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        if mode == GenerationMode.NEGATIVE and not (operation.query or operation.body):
            continue

        @settings(
            max_examples=n, deadline=None, phases=[Phase.generate], suppress_health_check=quiet, database=None
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            nonlocal n_asked
            n_asked += 1
            excluded = [positive_data_acceptance] if path in DEEP else []
            case.call_and_validate(base_url=server.url, excluded_checks=excluded)

        ask()
    assert n_asked >= (n if operation.query or operation.body else 1)
    assert server.ask("/api/health").status == 200


def test_the_document_is_what_is_fuzzed(server: Server) -> None:
    paths = server.ask("/api/openapi.json").json["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path"), [one for one in OPERATIONS if one[1] in ("/api/map", "/api/recommend")]
)
def test_a_few_odd_requests_are_answered(server: Server, method: str, path: str) -> None:
    fuzz(server, method, path, n=8)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_odd_requests_are_answered(server: Server, method: str, path: str) -> None:
    fuzz(server, method, path, n=150)
