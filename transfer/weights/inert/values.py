"""What an inert reader makes of the values in a pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Global", "StandIn", "Unreadable", "fill", "module_parts"]


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """The name of a class or function, which is never looked up."""

    name: str


@dataclass(slots=True, eq=False, repr=False)
class StandIn:
    """What takes the place of an object of any class. It does nothing.

    Parameters
    ----------
    name : str
        Of the class, or of the function that would have made it.
    arguments : tuple
    attributes : dict
        What the object would have had in its ``__dict__``.
    items : dict
        What it would hold if it is a mapping.
    members : list
        What it would hold if it is a list or a set.
    state : object
        What it was given, where that is no attributes.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    attributes: dict[Any, Any] = field(default_factory=dict)
    items: dict[Any, Any] = field(default_factory=dict)
    members: list[Any] = field(default_factory=list)
    state: Any = None

    def build(self, state: Any) -> None:
        """Take what would have become the object's attributes."""
        self.state = state
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # __dict__ and __slots__
        for part in parts:
            if isinstance(part, dict):
                self.attributes.update(part)


@dataclass(frozen=True, slots=True, eq=False)
class Unreadable:
    """A tensor that has no plain values in the file: sparse, quantized, nested, without any."""

    kind: str


_MOST_KEY = 2**60
"""Integers below have different hashes; files of the older kind have addresses as keys."""


def fill(mapping: dict[Any, Any], items: Sequence[Any]) -> None:
    """Put keys and values into a mapping, that follow each other.

    To take the hash of any value could take for ever; a key that is neither text nor a small integer is replaced.
    """
    for i in range(0, len(items) - 1, 2):
        key = items[i]
        is_usable = isinstance(key, str | StandIn | Global) or (isinstance(key, int) and abs(key) < _MOST_KEY)
        mapping[key if is_usable else object()] = items[i + 1]


def module_parts(value: object) -> tuple[Mapping[Any, Any], Mapping[Any, Any]] | None:
    """Tensors that a pickled module saves, and its children; None of what is no module.

    A module of TorchScript keeps both as plain attributes.

    Parameters
    ----------
    value : object
    """
    if not isinstance(value, StandIn):
        return None
    if value.name.startswith("__torch__."):
        inner = {key: held for key, held in value.attributes.items() if isinstance(held, StandIn)}
        return {key: held for key, held in value.attributes.items() if key not in inner}, inner
    parts = [value.attributes.get(key) for key in ("_parameters", "_buffers", "_modules")]
    parameters, buffers, children = (part if isinstance(part, dict) else None for part in parts)
    if parameters is None or buffers is None or children is None:
        return None
    hidden = value.attributes.get("_non_persistent_buffers_set")
    names = {name for name in hidden if isinstance(name, str)} if isinstance(hidden, list) else set()
    return {**parameters, **{key: buffer for key, buffer in buffers.items() if key not in names}}, children
