"""In which order a network uses its tensors: from one run without values.

The order of registration says little: a shortcut may stand before the branch beside it, all embeddings in one list
and all blocks in another. The order in which layers run is nearly the same in whatever code they are written. What
is left to the code is which of several branches runs first. So the order is read from the graph of the run, from
its result backwards: of what an operation reads, what has more layers behind it comes first; of equals, the first
argument. Products are not symmetric, so there the order of arguments decides: query, key, value, whether one
function does attention or two products and what lies between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from transfer.tracing.facts import fact_of
from transfer.tracing.inputs import watched
from transfer.tracing.isolation import careful

__all__ = ["Usage", "trace_usage"]

_INPUT_FIRST = {"addmm": 2, "matmul": 1, "mm": 1, "bmm": 1, "__matmul__": 1}
"""Functions that take a weight with its inputs first, and in which place."""

_PRODUCTS = {"matmul", "mm", "bmm", "baddbmm", "__matmul__", "einsum", "scaled_dot_product_attention"}
"""Functions whose arguments cannot be exchanged."""


@dataclass(frozen=True)
class Usage:
    """What one run of a network tells of its tensors.

    Parameters
    ----------
    order : dict of str to int
        Place of the first use, by the name in the state dict; of a tensor with several names only the first one.
        What was not used has none.
    input_first : frozenset of str
        Weights with their inputs in the first dimension and their outputs in the second one.
    facts : dict of str to str
        By the name of the tensor that an operation uses first: what it does, and what follows up to the next one.
    outputs : frozenset of str
        Tensors of the layers that write what the network returns.
    """

    order: dict[str, int]
    input_first: frozenset[str] = field(default_factory=frozenset)
    facts: dict[str, str] = field(default_factory=dict)
    outputs: frozenset[str] = field(default_factory=frozenset)


@careful(None)
@torch.no_grad()
def trace_usage(module: nn.Module) -> Usage | None:
    """Run a network without values and note when it uses which tensor.

    Parameters
    ----------
    module : nn.Module
        Not changed; may be on the meta device.

    Returns
    -------
    Usage or None
        None if it could not be run on any of the usual inputs.
    """
    found = watched(module, _Graph)
    if found is None:
        return None
    graph, result = found
    order, facts = graph.read(result)
    return Usage(order, frozenset(graph.input_first), facts, graph.outputs(result))


@dataclass(slots=True)
class _Node:
    """An operation: the tensors of the network that it uses, the operations whose results it reads."""

    names: list[str]
    inputs: list[int]
    depth: int  # layers on the longest way to it
    fact: str
    is_product: bool


class _Graph(TorchFunctionMode):
    """Notes every operation of a run."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.input_first: set[str] = set()
        self._names: dict[int, str] = {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            if isinstance(tensor, torch.Tensor):
                self._names.setdefault(id(tensor), name)
        self._nodes: list[_Node] = []
        self._made_by: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []  # so that no other tensor takes the identity of one that is gone

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do a function and note what it reads and gives."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = list(_tensors(result))
        if made:
            called = getattr(func, "__name__", "")
            self._add(args, kwargs, made, fact_of(func, args, kwargs), is_product=called in _PRODUCTS)
            place = _INPUT_FIRST.get(called, len(args))
            if place < len(args) and (name := self._names.get(id(args[place]))) is not None:
                self.input_first.add(name)
        return result

    def _add(
        self, args: Any, kwargs: Mapping[str, Any], made: list[torch.Tensor], fact: str, *, is_product: bool
    ) -> None:
        given = [id(tensor) for tensor in _tensors((args, kwargs))]
        names = [self._names[key] for key in given if key in self._names]
        inputs = list(dict.fromkeys(self._made_by[key] for key in given if key in self._made_by))
        depth = max((self._nodes[i].depth for i in inputs), default=0) + bool(names)
        for tensor in made:
            if id(tensor) not in self._names:
                self._made_by[id(tensor)] = len(self._nodes)
                self._alive.append(tensor)
        self._nodes.append(_Node(names, inputs, depth, fact, is_product))

    def outputs(self, result: Any) -> frozenset[str]:
        """Tensors of the last layers on every way to the result."""
        found: set[str] = set()
        seen: set[int] = set()
        stack = self._ends(result)
        while stack:
            i = stack.pop()
            if i in seen:
                continue
            seen.add(i)
            node = self._nodes[i]
            prepared = [self._nodes[j] for j in node.inputs if self._nodes[j].names and not self._nodes[j].inputs]
            found.update(node.names, *(weight.names for weight in prepared))
            if not node.names and not prepared:
                stack += node.inputs
        return frozenset(found)

    def _ends(self, result: Any) -> list[int]:
        return [self._made_by[id(tensor)] for tensor in _tensors(result) if id(tensor) in self._made_by]

    def read(self, result: Any) -> tuple[dict[str, int], dict[str, str]]:
        """Places of the tensors' first uses, and facts; what the result does not depend on comes last."""
        found: dict[str, int] = {}
        facts: dict[str, list[str]] = {}
        last = ""
        seen: set[int] = set()
        for end in (*self._ends(result), *range(len(self._nodes))):
            stack = [(end, False)]
            while stack:
                i, is_ready = stack.pop()
                node = self._nodes[i]
                if is_ready:
                    for name in node.names:
                        found.setdefault(name, len(found))
                    last = node.names[0] if node.names else last
                    if node.fact:
                        facts.setdefault(last, []).append(node.fact)
                elif i not in seen:
                    seen.add(i)
                    stack.append((i, True))
                    stack += [(j, False) for j in reversed(self._in_order(node))]
        return found, {name: "; ".join(told) for name, told in facts.items()}

    def _in_order(self, node: _Node) -> list[int]:
        """Operations whose results a node reads, in the order in which they are told."""
        if not node.is_product:
            return self._deepest_first(node.inputs)
        factors, added = self._factors(node)
        layers = [self._last_layer(j) for j in factors]
        before = self._deepest_first(j for layer in layers for j in self._nodes[layer].inputs)
        return [*before, *layers, *factors, *self._deepest_first(added), *node.inputs]

    def _deepest_first(self, inputs: Iterable[int]) -> list[int]:
        return sorted(inputs, key=lambda j: -self._nodes[j].depth)

    def _last_layer(self, i: int) -> int:
        """Operation with tensors of the network that made what another one, perhaps, only viewed."""
        while not self._nodes[i].names and self._nodes[i].inputs:
            i = max(self._nodes[i].inputs, key=lambda j: self._nodes[j].depth)
        return i

    def _factors(self, node: _Node) -> tuple[list[int], list[int]]:
        """List what is multiplied, of a product of a product all factors, and what is added to the inner one."""
        inner, added = node, []
        if not node.names and node.inputs:
            inner = self._nodes[node.inputs[0]]
        while not inner.is_product and not inner.names and inner.inputs:
            main = max(inner.inputs, key=lambda j: self._nodes[j].depth)
            added += [j for j in inner.inputs if j != main]
            inner = self._nodes[main]
        if inner is node or not inner.is_product or inner.names:
            return node.inputs, []
        return [*inner.inputs, *node.inputs[1:]], added


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """List tensors in what a function is given or returns: also in collections and records of them."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif hasattr(value, "__dataclass_fields__"):
        yield from _tensors(list(vars(value).values()))
