"""Architectures as JSON values and back, without loss: names, facts and wiring are part of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from transfer.structure.records import PLACEHOLDER, Architecture, Block, Form, Item, Layer, Tensor
from transfer.wiring import Branch, Wiring

__all__ = ["from_values", "to_values"]

T = TypeVar("T")

_MOST, _MOST_DIMS = 2**63 - 1, 64
"""The largest size, and number of dimensions, that a tensor of torch has."""

_LEAST_DIMS = {"conv": 2, "linear": 2, "batchnorm": 1, "norm": 1}
"""Dimensions that are asked for without a look at how many there are, by what a kind begins with."""

_FORMS: tuple[Form, ...] = ("paper", "dpiat")


def to_values(architecture: Architecture) -> dict[str, Any]:
    """Write an architecture as JSON values.

    Parameters
    ----------
    architecture : Architecture

    Returns
    -------
    dict
        What `from_values` makes an architecture of that is equal in every field, those that do not count as what
        it is included.
    """
    return {
        "form": architecture.form,
        "is_executed": architecture.is_executed,
        "items": [
            [_layer_values(layer) for layer in item.layers] if isinstance(item, Block) else _layer_values(item)
            for item in architecture.items
        ],
    }


def _layer_values(layer: Layer) -> dict[str, Any]:
    values: dict[str, Any] = {"kind": layer.kind, "tensors": [_tensor_values(tensor) for tensor in layer.tensors]}
    for name in _LAYER_FIELDS:
        value = getattr(layer, name)
        if value:  # what is not known is left out
            values[name] = list(value) if isinstance(value, tuple) else value
    if layer.wiring is not None:
        around = layer.wiring
        values["wiring"] = [
            around.feeds,
            around.beside,
            list(map(list, around.inside)),
            list(map(list, around.ends)),
        ]
    return values


def _tensor_values(tensor: Tensor) -> list[Any]:
    return [tensor.role, list(tensor.shape), tensor.name, tensor.dtype, tensor.is_input_first]


def from_values(values: Any) -> Architecture:
    """Read an architecture from JSON values, which may come from anywhere.

    Parameters
    ----------
    values : object
        As `to_values` wrote it.

    Returns
    -------
    Architecture

    Raises
    ------
    ValueError
        If it is anything else; the message says what was expected.
    """
    fields = _mapping(values, {"form", "is_executed", "items"})
    form = next((form for form in _FORMS if form == fields.get("form")), None)
    if form is None:
        raise ValueError(f"expected a form 'paper' or 'dpiat', got {fields.get('form')!r}")
    items = _all(_item, fields.get("items"))
    return Architecture(form, items, is_executed=_exactly(bool, fields.get("is_executed")))


def _item(values: Any) -> Item:
    return Block(_all(_layer, values)) if isinstance(values, list) else _layer(values)


def _layer(values: Any) -> Layer:
    fields = _mapping(values, {"kind", "tensors", "wiring", *_LAYER_FIELDS})
    known = {name: read(fields[name]) for name, read in _LAYER_FIELDS.items() if name in fields}
    wiring = _wiring(fields["wiring"]) if "wiring" in fields else None
    kind, tensors = _text(fields.get("kind")), _all(_tensor, fields.get("tensors"))
    if not tensors and kind != PLACEHOLDER:
        raise ValueError(f"expected tensors of a layer of kind {kind!r}, got none")
    least = next((n for start, n in _LEAST_DIMS.items() if kind.startswith(start)), 0)
    if tensors and len(tensors[0].shape) < least:
        raise ValueError(f"expected a first tensor of at least {least} dimensions of a layer of kind {kind!r}")
    return Layer(kind, tensors, wiring=wiring, **known)


def _tensor(values: Any) -> Tensor:
    role, shape, name, dtype, is_input_first = _row(values, 5)
    return Tensor(_text(role), _sizes(shape), _text(name), _text(dtype), _exactly(bool, is_input_first))


def _wiring(values: Any) -> Wiring:
    feeds, beside, inside, ends = _row(values, 4)
    return Wiring(_text(feeds), _text(beside), _all(_branch, inside), _all(_branch, ends))


def _branch(values: Any) -> Branch:
    number, n_layers, is_appended = _row(values, 3)
    return Branch(_exactly(int, number), _exactly(int, n_layers), _exactly(bool, is_appended))


def _exactly(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _text(value: Any) -> str:
    return _exactly(str, value)


def _count(value: Any) -> int:
    n = _exactly(int, value)
    if not 0 <= n <= _MOST:
        raise ValueError(f"expected a count of 0 to {_MOST}, got another number")
    return n


def _true(value: Any) -> bool:
    return _exactly(bool, value)


def _number(value: Any) -> float:
    return _exactly(float, value)


def _sizes(values: Any) -> tuple[int, ...]:
    sizes = _all(_count, values)
    if len(sizes) > _MOST_DIMS:
        raise ValueError(f"expected a tensor of at most {_MOST_DIMS} dimensions, got {len(sizes)}")
    return sizes


def _all(read: Callable[[Any], T], values: Any) -> tuple[T, ...]:
    return tuple(map(read, _exactly(list, values)))


def _row(values: Any, n: int) -> list[Any]:
    row = _exactly(list, values)
    if len(row) != n:
        raise ValueError(f"expected {n} values, got {len(row)}")
    return row


def _mapping(values: Any, names: set[str]) -> dict[str, Any]:
    fields = _exactly(dict, values)
    odd = [name for name in fields if name not in names]
    if odd:
        raise ValueError(f"expected only {', '.join(sorted(names))}, got {odd[0]!r}")
    return fields


_LAYER_FIELDS: dict[str, Callable[[Any], Any]] = {
    "path": _text,
    "n_heads": _count,
    "n_groups": _count,
    "is_transposed": _true,
    "epsilon": _number,
    "facts": _text,
    "stride": _sizes,
    "is_factor": _true,
}
"""Fields of a layer that are left out where nothing is known, and how each is read."""
