"""In which order a network uses its tensors: from one run without values.

The order of registration says little: a shortcut may stand before the branch beside it, all embeddings in one list
and all blocks in another. The order in which layers run is nearly the same in whatever code they are written. What
is left to the code is which of several branches runs first. So the order is read from the graph of the run, from
its result backwards: of what an operation reads, what has more layers behind it comes first. Of equal terms or
factors that one comes first behind whose last layer more is done, or whose last layer is larger; of others the
first argument. Products of matrices are not symmetric, so there the order of arguments decides: query, key, value,
whether one function does attention or two products and what lies between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from transfer.tracing.arguments import SCALINGS, SUMS
from transfer.tracing.graph import Graph, Node
from transfer.tracing.inputs import watched
from transfer.tracing.isolation import careful
from transfer.tracing.wiring import wiring_of
from transfer.wiring import Wiring

__all__ = ["Usage", "trace_usage"]

_PRODUCTS = {"matmul", "mm", "bmm", "baddbmm", "einsum", "scaled_dot_product_attention"}
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
    called : dict of str to (str, str)
        As part of which layer's what functions first used tensors: the name of its weight, and a role.
    wiring : dict of str to Wiring
        Where what layers give goes to, by the names of their tensors, which stand for paths.
    """

    order: dict[str, int]
    input_first: frozenset[str] = field(default_factory=frozenset)
    facts: dict[str, str] = field(default_factory=dict)
    outputs: frozenset[str] = field(default_factory=frozenset)
    called: dict[str, tuple[str, str]] = field(default_factory=dict)
    wiring: dict[str, Wiring] = field(default_factory=dict)


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
    found = watched(module, Graph)
    if found is None:
        return None
    graph, result = found
    ends = graph.ends(result)
    order, facts = _read(graph.nodes, ends)
    return Usage(
        order,
        frozenset(graph.uses.input_first),
        facts,
        _outputs(graph.nodes, ends),
        graph.uses.called,
        wiring_of(graph.nodes, ends),
    )


def _outputs(nodes: Sequence[Node], ends: Sequence[int]) -> frozenset[str]:
    """Tensors of the last layers on every way to the result."""
    found: set[str] = set()
    seen: set[int] = set()
    stack = list(ends)
    while stack:
        i = stack.pop()
        if i in seen:
            continue
        seen.add(i)
        node = nodes[i]
        prepared = [nodes[j] for j in node.inputs if nodes[j].names and not nodes[j].is_data]
        found.update(node.names, *(weight.names for weight in prepared))
        if not node.names and not prepared:
            stack += node.inputs
    return frozenset(found)


def _read(nodes: Sequence[Node], ends: Sequence[int]) -> tuple[dict[str, int], dict[str, str]]:
    """Places of the tensors' first uses, and facts; what the result does not depend on comes last."""
    found: dict[str, int] = {}
    facts: dict[str, list[str]] = {}
    last = ""
    seen: set[int] = set()
    expanded: set[int] = set()
    for end in (*ends, *range(len(nodes))):
        stack = [(end, False)]
        while stack:
            i, is_ready = stack.pop()
            node = nodes[i]
            if is_ready:
                for name in node.names:
                    found.setdefault(name, len(found))
                last = node.names[0] if node.names else last
                if node.fact:
                    facts.setdefault(last, []).append(node.fact)
            elif i not in seen:
                seen.add(i)
                stack.append((i, True))
                stack += [(j, False) for j in reversed(_in_order(nodes, i, expanded))]
    return found, {name: "; ".join(told) for name, told in facts.items()}


def _in_order(nodes: Sequence[Node], i: int, expanded: set[int]) -> list[int]:
    """Operations whose results a node reads, in the order in which they are told.

    Sums within sums are noted in `expanded`.
    """
    node = nodes[i]
    if i in expanded:
        return node.inputs  # all of them were told with the sum around it
    if node.function in SUMS | SCALINGS:
        terms = _terms(nodes, node, expanded)
        return [
            *sorted(terms, key=lambda j: (not nodes[j].is_data, -nodes[j].depth, _branch(nodes, j))),
            *node.inputs,
        ]
    if node.function not in _PRODUCTS:
        return _deepest_first(nodes, node.inputs)
    factors, added = _factors(nodes, node)
    layers = [_last_layer(nodes, j) for j in factors]
    before = _deepest_first(nodes, (j for layer in layers for j in nodes[layer].inputs))
    return [*before, *layers, *factors, *_deepest_first(nodes, added), *node.inputs]


def _terms(nodes: Sequence[Node], node: Node, expanded: set[int]) -> list[int]:
    """List what is added up, or multiplied; of a sum of sums that are as deep all terms, as written."""
    found: dict[int, None] = {}
    stack = node.inputs[::-1]
    while stack:
        j = stack.pop()
        inner = nodes[j]
        if {node.function, inner.function} <= SUMS and not inner.names and inner.depth == node.depth:
            if j not in expanded:
                expanded.add(j)
                stack += inner.inputs[::-1]
        else:
            found[j] = None
    return list(found)


def _branch(nodes: Sequence[Node], i: int) -> tuple[int, list[str], int]:
    """Tell branches apart: what is done behind their last layer, the most first, and how large that is."""
    told = []
    while not nodes[i].size and nodes[i].inputs:
        if nodes[i].fact:
            told.append(nodes[i].fact)
        i = max(nodes[i].inputs, key=lambda j: nodes[j].depth)
    return -len(told), told, -nodes[i].size


def _deepest_first(nodes: Sequence[Node], inputs: Iterable[int]) -> list[int]:
    return sorted(inputs, key=lambda j: -nodes[j].depth)


def _last_layer(nodes: Sequence[Node], i: int) -> int:
    """Operation with tensors of the network that made what another one, perhaps, only viewed."""
    while not nodes[i].names and nodes[i].inputs:
        i = max(nodes[i].inputs, key=lambda j: nodes[j].depth)
    return i


def _factors(nodes: Sequence[Node], node: Node) -> tuple[list[int], list[int]]:
    """List what is multiplied, of a product of a product all factors, and what is added to the inner one."""
    inner, added = node, list[int]()
    if not node.names and node.inputs:
        inner = nodes[node.inputs[0]]
    while inner.function not in _PRODUCTS and not inner.names and inner.inputs:
        main = max(inner.inputs, key=lambda j: nodes[j].depth)
        added += [j for j in inner.inputs if j != main]
        inner = nodes[main]
    if inner is node or inner.function not in _PRODUCTS or inner.names:
        return node.inputs, []
    return [*inner.inputs, *node.inputs[1:]], added
