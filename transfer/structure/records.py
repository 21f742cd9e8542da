"""What standardization makes of a network: layers, blocks, one architecture.

These records hold names and shapes, never weights, so an architecture can be stored, compared and
matched without a network in memory. An architecture exists in one of two forms:

``paper``
    the published standardization: convolution, linear and batch-norm layers with their weight and bias;
    every other childless module stays as a placeholder that scores 0 (arXiv 2212.13970).
``dpiat``
    all tensors: every module that owns parameters or persistent buffers is a layer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps
from math import prod
from typing import Any, Literal, NamedTuple, TypeVar

from transfer.wiring import Wiring

__all__ = [
    "OUTPUT",
    "PLACEHOLDER",
    "Architecture",
    "Block",
    "Form",
    "Header",
    "Item",
    "Layer",
    "Signature",
    "Tensor",
    "canonical_texts",
    "remembered",
    "structure_key",
    "structure_keys",
]

Form = Literal["paper", "dpiat"]

R = TypeVar("R")

PLACEHOLDER = "placeholder"
"""Kind of a layer without tensors: it counts when blocks are formed and scores 0 against everything."""


OUTPUT = "returned"
"""Last word of the facts of a layer that writes what the network returns."""


class Signature(NamedTuple):
    """Shape and element type of a named tensor; the type is empty where it is not known."""

    shape: tuple[int, ...]
    dtype: str = ""


Header = Mapping[str, Signature]
"""Tensor names and signatures of a network, in the order of registration."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a layer.

    Parameters
    ----------
    role : str
        What the tensor is to its layer: ``weight``, ``bias``, ``running_mean`` ...
    shape : tuple of int
        Of a matrix its outputs, then its inputs, also where it is stored the other way round.
    name : str
        Key in the state dict; empty where the architecture came from the index.
    dtype : str
        As torch prints it without its prefix, ``float32``; empty where it is not known.
    is_input_first : bool
        Whether a matrix is stored with its inputs first (``x @ weight``).
    """

    role: str
    shape: tuple[int, ...]
    name: str = ""
    dtype: str = ""
    is_input_first: bool = field(default=False, compare=False)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def is_continuous(self) -> bool:
        """Whether a part of it makes sense: not so for counters, index tables and masks."""
        return self.dtype.startswith(("float", "bfloat", "complex")) or not self.dtype


@dataclass(frozen=True, slots=True)
class Layer:
    """A module that owns tensors, or a placeholder.

    Parameters
    ----------
    kind : str
        Layers of different kinds never match.
    tensors : tuple of Tensor
        The first one is compared by shape when layers are scored; empty for a placeholder.
    path : str
        Dotted name of the module; not part of what the architecture is.
    n_heads : int
        Attention heads that the layer's channels are divided among, 0 where that is not known: shapes do not tell,
        so only a module does. Not part of what the architecture is.
    n_groups : int
        Groups of a convolution, 0 where that is not known; the same holds.
    is_transposed : bool
        Whether a convolution is known to have its inputs first, its outputs (of one group) second.
    epsilon : float
        What a norm adds to the variance, 0 where that is not known; the same holds.
    facts : str
        What it does besides its shapes, and what follows up to the next layer (`tracing.facts`), at the end
        `OUTPUT` if it writes what the network returns; empty where the network was not run.
    stride : tuple of int
        Of a transposed convolution; empty where that is not known.
    wiring : Wiring or None
        What is around it; None where the network was not run.
    is_factor : bool
        Whether a bare parameter is known to be a matrix with its inputs first (``x @ parameter``).
    """

    kind: str
    tensors: tuple[Tensor, ...] = ()
    path: str = ""
    n_heads: int = field(default=0, compare=False)
    n_groups: int = field(default=0, compare=False)
    is_transposed: bool = field(default=False, compare=False)
    epsilon: float = field(default=0.0, compare=False)
    facts: str = field(default="", compare=False)
    stride: tuple[int, ...] = field(default=(), compare=False)
    wiring: Wiring | None = field(default=None, compare=False)
    is_factor: bool = field(default=False, compare=False)

    @property
    def is_output(self) -> bool:
        """Whether it is known to write what the network returns."""
        return self.facts.endswith(OUTPUT)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer itself, as a block lists its layers."""
        return (self,)

    @property
    def dims(self) -> tuple[int, ...] | None:
        """Shape that scoring compares; None where the layer scores 0 against everything."""
        return self.tensors[0].shape if self.tensors else None

    @classmethod
    def from_canonical(cls, value: list[Any]) -> Layer:
        """Rebuild a nameless layer from its canonical text, see `canonical_texts`."""
        kind, tensors = value
        return cls(kind, tuple(Tensor(role, tuple(shape)) for role, shape in tensors))


@dataclass(frozen=True, slots=True)
class Block:
    """Layers that belong together and are matched as one."""

    layers: tuple[Layer, ...]


Item = Layer | Block


def structure_key(item: Item) -> Hashable:
    """Return what blocks of equal layers share, whatever these are called; a single layer has its own."""
    if isinstance(item, Layer):
        return item.path
    return tuple((layer.kind, *((t.role, t.shape) for t in layer.tensors)) for layer in item.layers)


def canonical_texts(layers: Iterable[Layer]) -> list[str]:
    """Return layers without their names, as JSON."""
    known: dict[int, str] = {}
    texts = []
    for layer in layers:
        if (key := id(layer)) not in known:  # architectures that were not read from a network share layers
            known[key] = _canonical_text(layer.kind, tuple((t.role, t.shape) for t in layer.tensors))
        texts.append(known[key])
    return texts


@lru_cache(maxsize=2**16)
def _canonical_text(kind: str, tensors: tuple[tuple[str, tuple[int, ...]], ...]) -> str:
    """Text of one layer; networks have few distinct ones."""
    return json.dumps([kind, tensors], separators=(",", ":"))


@dataclass(frozen=True)
class Architecture:
    """An ordered list of blocks and single layers.

    Parameters
    ----------
    form : {'paper', 'dpiat'}
        Which standardization made it.
    items : tuple of Layer or Block
    is_executed : bool
        Whether they are known to be in the order of execution.
    """

    form: Form
    items: tuple[Item, ...]
    is_executed: bool = field(default=False, compare=False)

    def layers(self) -> Iterator[Layer]:
        """All layers in order, those inside blocks included."""
        for item in self.items:
            yield from item.layers

    @cached_property
    def n_scoring(self) -> int:
        """Number of layers that can match; equals the score of the architecture against itself."""
        return sum(layer.dims is not None for layer in self.layers())

    @cached_property
    def n_elements(self) -> int:
        """Number of elements in all tensors."""
        return sum(t.size for layer in self.layers() for t in layer.tensors)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors in the order of their layers."""
        for layer in self.layers():
            yield from layer.tensors

    def is_like(self, other: Architecture) -> bool:
        """Whether both have the same fingerprint, found without computing it."""
        return (
            self.form == other.form
            and len(self.items) == len(other.items)
            and all(
                isinstance(a, Block) == isinstance(b, Block) and len(a.layers) == len(b.layers)
                for a, b in zip(self.items, other.items, strict=True)
            )
            and all(
                a.kind == b.kind
                and len(a.tensors) == len(b.tensors)
                and all(x.shape == y.shape and x.role == y.role for x, y in zip(a.tensors, b.tensors, strict=True))
                for a, b in zip(self.layers(), other.layers(), strict=True)
            )
        )

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) of form, structure, kinds, roles and shapes; names are not part of it."""
        texts = iter(canonical_texts(self.layers()))
        items = (
            f'["block",[{",".join(next(texts) for _ in item.layers)}]]'
            if isinstance(item, Block)
            else f'["layer",{next(texts)}]'
            for item in self.items
        )
        text = f'["{self.form}",[{",".join(items)}]]'
        return hashlib.sha256(text.encode()).hexdigest()


def remembered(derive: Callable[[Architecture], R]) -> Callable[[Architecture], R]:
    """Let what follows from an architecture be derived once.

    It is kept with the architecture, so nobody may change it. A question compares one target with many sources,
    and a plan asks the same of both in many places.
    """
    key = f"{derive.__module__}.{derive.__qualname__}"

    @wraps(derive)
    def ask(architecture: Architecture) -> R:
        known = vars(architecture)
        if key not in known:
            known[key] = derive(architecture)
        found: R = known[key]
        return found

    return ask


@remembered
def structure_keys(architecture: Architecture) -> list[Hashable]:
    """Return the `structure_key` of every item."""
    return [structure_key(item) for item in architecture.items]
