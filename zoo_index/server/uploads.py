"""Networks that others send: an architecture as JSON, or the header of a safetensors file.

Both hold names, shapes and numbers only. Nothing in them is run, and no file of this machine can be named by them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from math import prod
from typing import Any

from transfer.structure.notation import from_values, to_values
from transfer.structure.records import Architecture, Block, Form, Layer, Signature
from transfer.structure.standardization import standardize_header
from transfer.weights.formats.safetensors_file import DTYPES, ORDER_KEY
from transfer.weights.names import natural_order
from zoo_index.foundation.plain_text import plain
from zoo_index.recommending.resolve import Resolved
from zoo_index.server.limits import MOST_LAYERS, MOST_NAME, MOST_TENSORS

__all__ = ["DEFAULT_NAME", "header_in", "read_document", "read_header", "read_json", "write_document"]

DEFAULT_NAME = "target"
_MOST_ELEMENTS = 2**53
"""Of one tensor: more than this is no network, and numbers would lose digits."""

_MOST_DIMS = 16
_MOST_DIGITS = 40

_LENGTH = 8
"""Bytes at the beginning of a safetensors file that say how long its header is."""


def read_json(data: bytes) -> Any:
    """Read JSON as the standard has it: no NaN, no name twice in an object.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        return json.loads(data, object_pairs_hook=_once, parse_constant=_refuse, parse_int=_whole)
    except RecursionError:
        raise ValueError("expected JSON, got lists within lists too deep to read") from None
    except UnicodeDecodeError:
        raise ValueError("expected JSON in UTF-8, got other bytes") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON, got something else at character {error.pos}: {error.msg}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("expected every name once in an object, got one of them again")
    return found


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"expected numbers of at most {_MOST_DIGITS} digits, got one of {len(digits):,}")
    return int(digits)


def _refuse(constant: str) -> Any:
    raise ValueError(f"expected JSON, got {constant}, which is not part of it")


def write_document(network: Resolved, name: str | None = None) -> dict[str, Any]:
    """Write a network as JSON values: its name, number of parameters, and every form that it has."""
    return {
        "name": plain(name or network.name, MOST_NAME),
        "n_params": network.n_params,
        "forms": [to_values(architecture) for architecture in network.forms.values()],
    }


def read_document(values: Any) -> Resolved:
    """Read a network that `write_document` wrote, or anybody else.

    Raises
    ------
    ValueError
        If it is none, or larger than any network.
    """
    if not isinstance(values, dict) or not set(values) <= {"name", "n_params", "forms"}:
        raise ValueError(
            "expected an architecture with 'name', 'n_params' and 'forms'; write one with: zoo standardize"
        )
    stored = values.get("forms")
    if not isinstance(stored, list) or not 1 <= len(stored) <= 2:
        raise ValueError("expected one or two forms of an architecture, as `zoo standardize` writes them")
    forms: dict[Form, Any] = {}
    for one in stored:
        _check_size(one)
        architecture = from_values(one)
        if architecture.form in forms:
            raise ValueError(f"expected every form once, got {architecture.form!r} twice")
        for tensor in architecture.tensors():
            _check_shape(tensor.shape)
        if not architecture.n_scoring:
            raise ValueError("expected an architecture with tensors, got none")
        forms[architecture.form] = _told_apart(architecture)
    n_params = values.get("n_params", max(architecture.n_elements for architecture in forms.values()))
    if type(n_params) is not int or not 0 <= n_params <= _MOST_ELEMENTS:
        raise ValueError("expected a number of parameters, a whole number that is not negative")
    return Resolved(_name(values.get("name", DEFAULT_NAME)), n_params, forms)


def _told_apart(architecture: Architecture) -> Architecture:
    """Give tensors and layers numbers for names, as the index does, where their names do not tell them apart."""
    names = [tensor.name for tensor in architecture.tensors()]
    if "" not in names and len(set(names)) == len(names):
        return architecture
    numbers = count()

    def numbered(layer: Layer) -> Layer:
        tensors = tuple(replace(tensor, name=str(next(numbers))) for tensor in layer.tensors)
        path = tensors[0].name if tensors else f"none{next(numbers)}"
        return replace(layer, tensors=tensors, path=path, wiring=None)

    items = [
        Block(tuple(map(numbered, item.layers))) if isinstance(item, Block) else numbered(item)
        for item in architecture.items
    ]
    return Architecture(architecture.form, tuple(items), is_executed=architecture.is_executed)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_NAME:
        raise ValueError(f"expected a name of 1 to {MOST_NAME} characters")
    return plain(value, MOST_NAME)


def _check_size(values: Any) -> None:
    """Refuse what has too many layers or tensors, before records are made of it."""
    items = values.get("items") if isinstance(values, dict) else None
    if not isinstance(items, list):
        raise ValueError("expected a form with 'items', a list of layers and of blocks")
    n_layers = sum(len(item) if isinstance(item, list) else 1 for item in items)
    if n_layers > MOST_LAYERS:
        raise ValueError(
            f"expected a network of at most {MOST_LAYERS:,} layers, got {n_layers:,}; "
            "ask on your own machine: zoo recommend"
        )
    layers = [layer for item in items for layer in (item if isinstance(item, list) else [item])]
    tensors = [layer.get("tensors") for layer in layers if isinstance(layer, dict)]
    n_tensors = sum(len(some) for some in tensors if isinstance(some, list))
    if n_tensors > MOST_TENSORS:
        raise ValueError(f"expected at most {MOST_TENSORS:,} tensors, got {n_tensors:,}")


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) > _MOST_DIMS or prod(shape) > _MOST_ELEMENTS or any(n >= 2**31 for n in shape):
        raise ValueError("expected tensors of a size that a network can have, got a larger one")


def header_in(data: bytes) -> Any:
    """Read the header at the beginning of a safetensors file; what comes behind it is not looked at.

    Raises
    ------
    ValueError
        If there is none, or the end of it is missing.
    """
    length = int.from_bytes(data[:_LENGTH], "little")
    if len(data) < _LENGTH + 2 or data[_LENGTH : _LENGTH + 1] != b"{":
        raise ValueError("expected the beginning of a safetensors file, got something else")
    if len(data) < _LENGTH + length:
        raise ValueError(
            f"expected the whole header of a safetensors file, {_LENGTH + length:,} bytes, got {len(data):,}; send "
            "more"
        )
    return read_json(data[_LENGTH : _LENGTH + length])


def read_header(header: Any, name: str = DEFAULT_NAME) -> Resolved:
    """Standardize a network of which only the header of a safetensors file is at hand.

    Parameters
    ----------
    header : object
        JSON values: ``dtype`` and ``shape`` of every tensor by its name, and ``__metadata__``.
    name : str

    Raises
    ------
    ValueError
        If it is no such header, or larger than any network.
    """
    if not isinstance(header, dict):
        raise ValueError("expected the header of a safetensors file, an object with a tensor for each name")
    if len(header) > MOST_TENSORS + 1:
        raise ValueError(f"expected at most {MOST_TENSORS:,} tensors, got {len(header):,}")
    found = {key: _signature(told) for key, told in header.items() if key != "__metadata__"}
    if not found:
        raise ValueError("expected the header of a safetensors file with tensors, got none")
    order = _stored_order(header.get("__metadata__"))
    names = order if order is not None and set(order) == set(found) and len(order) == len(found) else None
    architecture = standardize_header({key: found[key] for key in names or natural_order(found)})
    n_layers = sum(1 for _ in architecture.layers())
    if n_layers > MOST_LAYERS:
        raise ValueError(
            f"expected a network of at most {MOST_LAYERS:,} layers, got {n_layers:,}; "
            "ask on your own machine: zoo recommend"
        )
    if not architecture.n_scoring:
        raise ValueError("expected tensors of layers, got none that belong to any")
    return Resolved(_name(name), architecture.n_elements, {"dpiat": architecture})


def _signature(told: Any) -> Signature:
    shape = told.get("shape") if isinstance(told, dict) else None
    dtype = told.get("dtype") if isinstance(told, dict) else None
    if (
        not isinstance(shape, list)
        or not all(type(n) is int and n >= 0 for n in shape)
        or not isinstance(dtype, str)
    ):
        raise ValueError("expected 'dtype' and 'shape' of every tensor in the header of a safetensors file")
    _check_shape(tuple(shape))
    return Signature(tuple(shape), DTYPES.get(dtype, ""))


def _stored_order(metadata: Any) -> list[str] | None:
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get(ORDER_KEY), str):
        return None
    try:
        order = json.loads(metadata[ORDER_KEY])
    except (ValueError, RecursionError):
        return None
    return order if isinstance(order, list) and all(isinstance(name, str) for name in order) else None
