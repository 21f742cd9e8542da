"""The state dicts in a file.

Training scripts wrap the state dict under any key, and keep averaged weights, an optimizer and more beside it. So
every mapping of tensors is looked at. Which of them is meant is chosen in `choosing`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from transfer.weights.inert.arrays import Array
from transfer.weights.inert.values import StandIn, Unreadable, module_parts
from transfer.weights.stored import ITEM_SIZES, Stored

__all__ = ["State", "find_states", "tensor_of"]

_OPTIMIZER = re.compile(
    r"(?<![a-z])(optim|(opt(?!_model)|adamw?|sgd)(?![a-z]))|optimi[sz]er|exp_avg|momentum_buffer"
)
"""In keys, in lower case, under which scripts keep an optimizer, or it its averages. OPT is a network, too."""

_AVERAGES = ("exp_avg", "exp_avg_sq", "momentum_buffer")
"""What torch's optimizers keep for each tensor."""

_OPTAX = {"count", "mu", "nu"}
"""What optax's Adam and its kin keep."""

_MAX_NESTING = 200
"""Of mappings and modules; no network nests deeper."""

_MOST_PLACES = 5_000_000
"""Values that are looked at: a few bytes can make any number of references to one value."""

Tensors = Mapping[str, "Stored | Unreadable"]


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """A mapping of tensors in a file.

    Parameters
    ----------
    key : str
        Where it is, e.g. ``state_dict`` or ``ema.module``; empty for what is not nested.
    tensors : mapping of str to Stored or Unreadable
    is_averaged : bool
    is_optimizer : bool
        Whether it belongs to an optimizer, so that it is never meant.
    """

    key: str
    tensors: Tensors
    is_averaged: bool = False
    is_optimizer: bool = False

    @property
    def n_values(self) -> int:
        """Numbers in all tensors together."""
        return sum(math.prod(tensor.signature.shape) for tensor in self._readable())

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(
            math.prod(tensor.signature.shape) * ITEM_SIZES.get(tensor.signature.dtype, 1)
            for tensor in self._readable()
        )

    def _readable(self) -> Iterator[Stored]:
        return (tensor for tensor in self.tensors.values() if not isinstance(tensor, Unreadable))


def find_states(tree: object) -> list[State]:
    """Find every mapping of tensors.

    A pickled module is one. So is a tree of mappings whose names have no dots in them, as networks of JAX are.

    Parameters
    ----------
    tree : object

    Returns
    -------
    list of State
        In the order of the file.

    Raises
    ------
    ValueError
        If values refer to each other more often than can be followed.
    """
    found = _Search().look(tree)
    whole = [((), found.tree, False)] if found.tree else []
    return [_state(path, tensors, is_optimizer) for path, tensors, is_optimizer in (*found.states, *whole)]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What lies below a value: tensors of a tree without dots, which may be a part of a larger one, and states."""

    tree: Tensors
    states: tuple[tuple[tuple[str, ...], Tensors, bool], ...] = ()
    """Where it is, its tensors, and whether it is an optimizer's."""


class _Search:
    """A walk through what a file holds, that looks at no container twice."""

    def __init__(self) -> None:
        self._known: dict[int, _Found] = {}
        self._left = _MOST_PLACES

    def look(self, value: object, depth: int = 0) -> _Found:
        """Return what lies below a value; nothing of one that lies within itself."""
        known = self._known.get(id(value))
        if known is None:
            self._known[id(value)] = _NOTHING
            known = self._known[id(value)] = self._look(value, depth) if depth < _MAX_NESTING else _NOTHING
        return known

    def _look(self, value: object, depth: int) -> _Found:
        if module_parts(value) is not None or _is_optimizer(value):
            tensors = dict(self._flat(value))
            return _Found({}, (((), tensors, _is_optimizer(value)),)) if tensors else _NOTHING
        children = _children(value)
        self._count(len(children))
        own = {key: tensor for key, child in children.items() if (tensor := tensor_of(child)) is not None}
        below = {key: self.look(child, depth + 1) for key, child in children.items() if key not in own}
        if isinstance(value, list | tuple):  # where tensors have no names
            own = {}
        states = [
            ((key, *path), tensors, own_kind)
            for key, found in below.items()
            for path, tensors, own_kind in found.states
        ]
        trees = {key: found.tree for key, found in below.items() if found.tree}
        is_tree = isinstance(value, Mapping) and not states and not any("." in key for key in own)
        if is_tree and not any(_is_apart(key) for key in trees) and (own or len(trees) > 1):
            inner = {f"{key}.{name}": tensor for key, tree in trees.items() for name, tensor in tree.items()}
            self._count(len(inner))
            return _Found({**own, **inner})
        if own:
            states.insert(0, ((), own, False))
        states += [((key,), tree, False) for key, tree in trees.items()]
        self._count(len(states))
        return _Found({}, tuple(states))

    def _flat(self, value: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Stored | Unreadable]]:
        """All tensors below a module, or a mapping of any keys."""
        if isinstance(value, StandIn) and ".quantized." in value.name:
            yield f"{prefix}weight", Unreadable("quantized")
        parts = module_parts(value) or ((value, value) if isinstance(value, Mapping) else ({}, {}))
        self._count(len(parts[0]) + len(parts[1]))
        if depth > _MAX_NESTING:
            raise ValueError("modules within modules without end")
        for key, child in parts[0].items():
            tensor = tensor_of(child)
            if tensor is not None and isinstance(key, str | int):
                yield f"{prefix}{key}", tensor
        for key, child in parts[1].items():
            if isinstance(key, str | int):
                yield from self._flat(child, f"{prefix}{key}.", depth + 1)

    def _count(self, n: int) -> None:
        self._left -= n
        if self._left < 0:
            raise ValueError("values that refer to each other without end")


_NOTHING = _Found({})


def _is_optimizer(value: object) -> bool:
    return isinstance(value, Mapping) and (
        "param_groups" in value
        or value.keys() >= _OPTAX
        or any(tensor_of(value.get(name)) is not None for name in _AVERAGES)
    )


def _children(value: object) -> Mapping[str, object]:
    """Return what a value holds, by name."""
    if isinstance(value, StandIn):
        held = {**_numbered(value.members), **value.items, **value.attributes}
    elif isinstance(value, Mapping):
        held = dict(value)
    elif isinstance(value, list | tuple):
        held = _numbered(value)
    else:
        return {}
    return {key: child for key, child in held.items() if isinstance(key, str)}


def _numbered(values: Iterable[object]) -> dict[object, object]:
    return {str(i): value for i, value in enumerate(values)}


def tensor_of(value: object) -> Stored | Unreadable | None:
    """Return a value if it is a tensor; of an array, its tensor."""
    if isinstance(value, Array):
        return value.stored
    return value if isinstance(value, Stored | Unreadable) else None


def _state(path: tuple[str, ...], tensors: Tensors, is_optimizer: bool) -> State:
    is_optimizer = is_optimizer or any(map(_has_optimizer, path))
    return State(".".join(path), tensors, "ema" in _words(path), is_optimizer)


def _is_apart(key: str) -> bool:
    """Whether what lies under a key is no part of a network that it lies beside."""
    return "ema" in _words([key]) or _has_optimizer(key)


def _has_optimizer(key: str) -> bool:
    return _OPTIMIZER.search(key.lower()) is not None


def _words(path: Iterable[str]) -> set[str]:
    return {word for key in path for word in re.split(r"[^a-z]+", key.lower())}
