"""The graph of one run: which operation reads what which other gave, and which tensors of the network it uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from transfer.tracing.arguments import Uses
from transfer.tracing.facts import fact_of
from transfer.tracing.recalling import recalled

__all__ = ["MOVES", "Graph", "Node"]

# fmt: off
MOVES = frozenset((
    "bfloat16", "clone", "contiguous", "detach", "double", "dropout", "dropout1d", "dropout2d", "dropout3d",
    "expand", "expand_as", "feature_dropout", "flatten", "float", "get", "half", "movedim", "permute", "reshape",
    "reshape_as", "squeeze", "swapaxes", "t", "to", "transpose", "type", "type_as", "unflatten", "unsqueeze",
    "view", "view_as",
))
"""What gives the same values, in evaluation."""
# fmt: on


@dataclass(slots=True)
class Node:
    """An operation, or something that the network is given.

    Parameters
    ----------
    function : str
        Its name in torch, without underscores at both ends: ``add`` for ``__add__`` and ``add_``; ``given`` for
        what is none.
    names : list of str
        Tensors of the network that it uses.
    inputs : list of int
        Operations whose results it reads, each once.
    depth : int
        Operations with tensors of the network on the longest way to it, itself included.
    is_data : bool
        Whether its result depends on what the network is given, and not on its tensors alone.
    fact : str
        See `facts`.
    size : int
        Elements of the largest matrix or kernel that it uses, 0 without one.
    """

    function: str
    names: list[str]
    inputs: list[int]
    depth: int
    is_data: bool
    fact: str
    size: int = 0


class Graph(TorchFunctionMode):
    """Notes every operation of a run; a context for it.

    Parameters
    ----------
    model : nn.Module
        The network that is going to be run.

    Attributes
    ----------
    nodes : list of Node
        In the order in which they were run.
    uses : Uses
        What tensors of the network were used as.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self._names: dict[int, str] = {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            if isinstance(tensor, torch.Tensor):
                self._names.setdefault(id(tensor), name)
        self.uses = Uses(self._names, MOVES)
        self._constants = {id(buffer) for buffer in model.buffers()}
        self._made_by: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []  # so that no other tensor takes the identity of one that is gone

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do a function and note what it reads and gives."""
        kwargs = kwargs or {}
        result = recalled(func, args, kwargs)
        name = getattr(func, "__name__", "")
        made = [args[0]] if name == "__setitem__" else list(_tensors(result))
        if made:
            self._add(name.strip("_"), (args, kwargs), made, fact_of(func, args, kwargs))
            self.uses.note(func, args, kwargs, made[0])
        return result

    def _add(self, function: str, given: Any, made: list[torch.Tensor], fact: str) -> None:
        for tensor in _tensors(given):
            if not any(id(tensor) in known for known in (self._names, self._constants, self._made_by)):
                self._keep([tensor], Node("given", [], [], 0, is_data=True, fact=""))
        keys = [id(tensor) for tensor in _tensors(given)]
        names = [self._names[key] for key in keys if key in self._names]
        inputs = list(dict.fromkeys(self._made_by[key] for key in keys if key in self._made_by))
        is_data = any(self.nodes[i].is_data for i in inputs)
        depth = max((self.nodes[i].depth for i in inputs), default=0) + bool(names)
        matrices = (x.numel() for x in _tensors(given) if id(x) in self._names and x.ndim > 1)
        self._keep(made, Node(function, names, inputs, depth, is_data, fact, max(matrices, default=0)))
        if function in MOVES:
            return
        for tensor in made:  # what is written into a view is written into the whole
            whole = tensor._base if id(tensor) in keys else None
            if whole is not None and id(whole) in self._made_by:
                both = [self._made_by[id(whole)], self._made_by[id(tensor)]]
                self._keep([whole], Node("setitem", [], both, depth, is_data, ""))

    def _keep(self, made: Iterable[torch.Tensor], node: Node) -> None:
        """Add an operation and know what it gave."""
        for tensor in made:
            if id(tensor) not in self._names:
                self._made_by[id(tensor)] = len(self.nodes)
                self._alive.append(tensor)
        self.nodes.append(node)

    def ends(self, result: Any) -> list[int]:
        """Operations that gave what the network returns; none if it returns something that nobody knows."""
        found = list(_tensors(result))
        if not found and not callable(result) and hasattr(result, "__dict__"):  # an object of its own kind
            found = list(_tensors(vars(result)))
        return [self._made_by[id(tensor)] for tensor in found if id(tensor) in self._made_by]


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
