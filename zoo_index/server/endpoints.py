"""What an endpoint of the JSON interface is: its path, what it is asked with, what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from zoo_index.server.parameters import Parameter
from zoo_index.server.service import Service

__all__ = ["Endpoint"]

Handler = Callable[[Service, Request, dict[str, Any]], Awaitable[Response]]


@dataclass(frozen=True)
class Endpoint:
    """One thing that can be asked.

    Parameters
    ----------
    method : {'GET', 'POST'}
    path : str
    summary, description : str
    handler : callable
    answer : dict
        JSON Schema of the body of a success.
    parameters : tuple of Parameter
        Of the query.
    body : str
        Media type of what is sent; empty where nothing is.
    is_open : bool
        Whether no token is asked for.
    problems : tuple of int
        Statuses of errors that are its own.
    """

    method: Literal["GET", "POST"]
    path: str
    summary: str
    description: str
    handler: Handler
    answer: dict[str, Any]
    parameters: tuple[Parameter, ...] = ()
    body: str = ""
    is_open: bool = False
    problems: tuple[int, ...] = ()
