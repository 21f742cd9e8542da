"""Reads from the graph of a run where what each layer gives goes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from transfer.tracing.graph import MOVES, Node
from transfer.wiring import Branch, Wiring

__all__ = ["wiring_of"]

_CALLER = -1
"""Who reads what the network returns."""

_ADD = frozenset(("add", "radd", "iadd"))
_MULTIPLY = frozenset(("mul", "rmul", "imul", "multiply"))
_APPEND = frozenset(("cat", "concat", "concatenate"))


def wiring_of(nodes: Sequence[Node], ends: Sequence[int]) -> dict[str, Wiring]:
    """Find what is around each layer.

    Parameters
    ----------
    nodes : sequence of Node
    ends : sequence of int
        Which of them gave the result of the network; what that does not depend on is left out.

    Returns
    -------
    dict of str to Wiring
        By the names of the tensors that the layers use; other layers are called by the name of their first one
        instead of their path.
    """
    net = _Net(nodes, ends)
    feeds, beside = net.followers(), dict(net.gates())
    inside: dict[str, list[Branch]] = {}
    last: dict[str, list[Branch]] = {}
    for branch in net.branches():
        for name in branch.names:
            inside.setdefault(name, []).append(branch.what)
        for name in branch.ends:
            last.setdefault(name, []).append(branch.what)
    return {
        name: Wiring(
            feeds.get(name, ""), beside.get(name, ""), tuple(inside.get(name, ())), tuple(last.get(name, ()))
        )
        for i in net.used
        for name in net.names[i]
    }


class _Beside(NamedTuple):
    """A branch with the names of the tensors in it, and of those of its last layers."""

    what: Branch
    names: list[str]
    ends: list[str]


_MOST_TERMS = 64
"""A sum of more is no addition to a stream."""


class _Net:
    """The graph without what only moves elements, and without what prepares weights.

    Attributes
    ----------
    used : list of int
        Operations that the result depends on, in order.
    inputs, readers : dict of int to sequence of int
        What each reads, and who reads it.
    names : dict of int to tuple of str
        Tensors of the network that each uses.
    """

    def __init__(self, nodes: Sequence[Node], ends: Sequence[int]) -> None:
        self._nodes = nodes
        self.inputs: dict[int, tuple[int, ...]] = {}
        self.names: dict[int, tuple[str, ...]] = {}
        same: dict[int, int] = {}
        for i in sorted(_ancestors(nodes, ends)):
            node = nodes[i]
            names, inputs = list(node.names), list[int]()
            is_move = node.function in MOVES
            for j in node.inputs[:1] if is_move else node.inputs:  # the second may tell the shape
                if nodes[j].is_data or node.function in _APPEND:
                    inputs.append(same[j])
                else:  # a weight that was standardized, or brought into another shape
                    names = [*self.names[same[j]], *names]
            if is_move and inputs and not names:
                same[i] = inputs[0]
                continue
            same[i] = i
            self.inputs[i] = tuple(dict.fromkeys(inputs))
            self.names[i] = tuple(names)
        self.used = sorted(i for i in self.inputs if nodes[i].is_data)
        self.readers: dict[int, list[int]] = {i: [] for i in self.inputs}
        for i in ends:
            self.readers[same[i]].append(_CALLER)
        for i in self.used:
            for j in self.inputs[i]:
                self.readers[j].append(i)

    def followers(self) -> dict[str, str]:
        """Name what alone reads the result of a layer, and nothing else; of layers that are used once."""
        n_uses = Counter(name for i in self.used for name in self.names[i])
        return {
            name: self.names[reader][0]
            for i in self.used
            if (reader := self._only_reader(i)) is not None and self.names[reader]
            for name in self.names[i]
            if n_uses[name] == 1
        }

    def gates(self) -> Iterator[tuple[str, str]]:
        """Name the last layer of each gate, and what can make up for it."""
        for i in self.used:
            if self._nodes[i].function not in _MULTIPLY or len(self.inputs[i]) != 2:
                continue
            given, factor = sorted(self.inputs[i])
            inside = self._between(given, factor)
            last = self._layers_before(factor, inside)
            if len(last) != 1 or last[0] not in inside:
                continue
            reader = self._only_reader(i)
            beside = self.names[reader] if reader is not None else ()
            if not beside and all(j == i or j in inside for j in self.readers[given]):
                beside = self.names[given]
            if beside:
                yield from ((name, beside[0]) for name in self.names[last[0]])

    def branches(self) -> Iterator[_Beside]:
        """Find what is added or appended to what it is made of."""
        known: set[int] = set()
        for i in self.used:
            is_appended = self._nodes[i].function in _APPEND
            if not is_appended and not self._is_sum(i):
                continue
            terms = list(self.inputs[i]) if is_appended else self._terms(i)
            for end in terms if len(terms) <= _MOST_TERMS else ():
                others = (self._unscaled(j) for j in terms if j != end and self._nodes[j].is_data)
                inside = set[int]()
                for stream in sorted((j for j in others if j < end), reverse=True):
                    inside = inside or self._between(stream, end)
                last = [self.names[j] for j in self._layers_before(end, inside) if j in inside]
                if last and end not in known:
                    known |= {end} if is_appended else set()
                    names = list(dict.fromkeys(name for j in sorted(inside) for name in self.names[j]))
                    yield _Beside(Branch(i, len(names), is_appended), names, [each[-1] for each in last])

    def _is_sum(self, i: int) -> bool:
        """Whether results are added here and the sum is no term of a further one."""
        if not self._is_addition(i):
            return False
        reader = self._single_reader(i)
        return reader is None or not self._is_addition(reader)

    def _is_addition(self, i: int) -> bool:
        return self._nodes[i].function in _ADD and not self.names[i] and len(self.inputs[i]) > 1

    def _terms(self, i: int) -> list[int]:
        """List what is added, of a sum of sums all terms."""
        found: dict[int, None] = {}
        stack = [(j, i) for j in self.inputs[i][::-1]]
        while stack:
            j, reader = stack.pop()
            if self._is_addition(j) and self._single_reader(j) == reader:
                stack += [(k, j) for k in self.inputs[j][::-1]]
            else:
                found[j] = None
        return list(found)

    def _single_reader(self, i: int) -> int | None:
        """Return the operation that alone reads a result, perhaps beside others; None if several read it."""
        readers = self.readers[i]
        return readers[0] if len(readers) == 1 and readers[0] != _CALLER else None

    def _unscaled(self, i: int) -> int:
        """Return what a tensor of the network alone multiplies, as some do with their stream."""
        is_scaled = self._nodes[i].function in _MULTIPLY and self.names[i] and len(self.inputs[i]) == 1
        return self.inputs[i][0] if is_scaled else i

    def _only_reader(self, i: int) -> int | None:
        """Return the operation that alone reads a result, and nothing else."""
        reader = self._single_reader(i)
        return reader if reader is not None and self.inputs[reader] == (i,) else None

    def _between(self, start: int, end: int) -> set[int]:
        """Operations on the ways from one to another, the first one left out; empty if there is no way."""
        seen, stack = {end}, [end]
        while stack:
            for j in self.inputs[stack.pop()]:
                if j > start and j not in seen:
                    seen.add(j)
                    stack.append(j)
        behind = {start}
        for i in sorted(seen):
            if not behind.isdisjoint(self.inputs[i]):
                behind.add(i)
        return behind - {start} if end in behind else set()

    def _layers_before(self, end: int, inside: Container[int]) -> list[int]:
        """Layers that decide whether a result is zero: the last ones before it; of products one of the factors."""
        found, stack, seen = list[int](), [end], set[int]()
        while stack:
            i = stack.pop()
            if i in seen:
                continue
            seen.add(i)
            function = self._nodes[i].function
            if self.names[i] and not (function in _ADD and self.inputs[i]):
                found.append(i)
            elif function in _MULTIPLY and len(self.inputs[i]) == 2:
                first, second = sorted(self.inputs[i])
                is_gated = bool(self._between(first, second))  # what the second is made of
                stack.append(first if is_gated or second not in inside else second)
            else:
                stack += self.inputs[i]
        return found


def _ancestors(nodes: Sequence[Node], ends: Sequence[int]) -> set[int]:
    found, stack = set(ends), list(ends)
    while stack:
        for j in nodes[stack.pop()].inputs:
            if j not in found:
                found.add(j)
                stack.append(j)
    return found
