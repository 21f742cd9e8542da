"""Which channels belong together: dimensions of tensors that can only be permuted, or cut, alike.

A producer's outputs, its norm, its residual partners and its consumers' inputs are one group of channels; permuting
all of a group's dimensions by one permutation leaves the function as it is. The same groups are what structured
pruning traces from a running network (DepGraph, arXiv 2301.12900); here shapes and the name tree have to do.

One principle makes that safe: coupling too much never hurts, as separate channels of equal number may share a
permutation. So a block has one group for each width, and what it reads and returns is what the block before it
returned in that width: residual additions, gates, shortcuts and parallel branches need not be told apart. Only a
convolution, its batch norm and the next convolution, side by side, get a group of their own (`adjacency.is_chain`).

What permutations do break is left alone: grouped convolutions, attention heads, group norms, network inputs and
outputs. Where widths do not add up (a concatenation, a split), the block, the one before and everything that passes
between blocks is left alone. Not to be seen from a header: an addition to a part of the channels (ReXNet), a
concatenation of as many channels as something else has; `confirmation` asks the network itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt, prod

from transfer.channels.adjacency import UnclearError, attention_parents, has_group_norm, is_chain, n_parts_beside
from transfer.channels.groups import Group, Port, Side
from transfer.structure.layers import dims_of, is_dense, is_spatial, is_weighted, parent_of
from transfer.structure.records import Architecture, Block, Layer, Tensor

__all__ = ["coupled_groups"]


def coupled_groups(
    architecture: Architecture, flattened: Mapping[str, tuple[int, ...]] | None = None, *, is_asked: bool = False
) -> tuple[Group, ...]:
    """Find the groups of channels of a network that may be permuted.

    Parameters
    ----------
    architecture : Architecture
        In ``dpiat`` form with tensor names.
    flattened : mapping of str to tuple of int, optional
        By the name of a weight that is known to read a flattened map where the channels start: once if all places
        of a channel lie side by side, at every place if all channels of a place do.
    is_asked : bool
        The network itself will be asked (`confirmation`): then any number of places will do, and what nobody reads
        is taken for one of several results.

    Returns
    -------
    tuple of Group
        Each dimension of a tensor is in one group at most; dimensions in none must stay as they are.
    """
    walk = _Walk(flattened or {}, is_asked=is_asked)
    for item in architecture.items:
        walk.visit(item.layers if isinstance(item, Block) else (item,), is_block=isinstance(item, Block))
    return walk.groups()


@dataclass(eq=False, slots=True)
class _Node:
    """A group in the making; frozen once its channels have to stay in order."""

    width: int
    ports: list[Port] = field(default_factory=list)
    is_frozen: bool = False

    @property
    def is_read(self) -> bool:
        return any(port.side == "reads" for port in self.ports)

    @property
    def is_waiting(self) -> bool:
        """Whether it has been written since it was last read."""
        return next((port.side for port in reversed(self.ports) if port.side != "scales"), "") == "writes"


@dataclass(frozen=True, slots=True)
class _View:
    """How the channels of a node appear to whoever reads them."""

    node: _Node
    parts: int = 1
    stride: int = 1


class _Walk:
    """Goes through an architecture in order; `seen` are the channels that the next layer can read, by width."""

    def __init__(self, flattened: Mapping[str, tuple[int, ...]], *, is_asked: bool) -> None:
        self.flattened, self.is_asked = flattened, is_asked
        self.seen: dict[int, _View] = {}
        self.behind: dict[int, _View] = {}  # what blocks have read, and seems to be read by no one else
        self.nodes: list[_Node] = []
        self.here: list[_Node] = []  # touched in this item
        self.before: list[_Node] = []  # and in the one before
        self.written: list[_Node] = []  # in this item
        self.streams: set[_Node] = set()  # what passes between items
        self.normed: set[_Node] = set()  # by norms without statistics
        self.pending: list[Tensor] = []  # tokens and position embeddings, registered before the layer they join
        self.last_written: _Node | None = None
        self.is_unclear = False
        self.has_group_norm = False

    def visit(self, layers: Sequence[Layer], *, is_block: bool) -> None:
        """Take the layers of a block, or a single layer."""
        self.before, self.here, self.written = self.here, [], []
        outside = {view.node for view in self.seen.values()}
        try:
            self._visit(layers, is_block=is_block)
            if is_block:
                self._leave_block(outside)
        except UnclearError:
            self._give_up(layers)
        self.streams.update(view.node for view in self.seen.values())
        self.pending = [tensor for tensor in self.pending if not self._join(tensor, may_be_tokens=True)]

    def groups(self) -> tuple[Group, ...]:
        """Return what may be permuted, once all has been visited."""
        if self.last_written is not None:
            self.last_written.is_frozen = True  # whoever uses the network's result wants it in this order
        if not self.is_asked and any(node.is_waiting and not node.is_frozen for node in self.nodes):
            self.is_unclear = True  # it was read after all, by a layer that seems to read something else
        return tuple(Group(node.width, tuple(node.ports)) for node in self.nodes if self._is_sure(node))

    def _is_sure(self, node: _Node) -> bool:
        if node.is_frozen or not {"writes", "reads"} <= {port.side for port in node.ports}:
            return False
        if self.has_group_norm and node in self.normed:
            return False
        return not self.is_unclear or (node not in self.streams and _is_local(node))

    def _leave_block(self, outside: set[_Node]) -> None:
        """Forget what is inside a block; refuse it if something is written in it that nobody in it reads then."""
        if any(node.is_waiting and node is not self.last_written for node in self.written):
            raise UnclearError  # it would be concatenated
        waiting = {n: v for n, v in self.seen.items() if v.node in outside and not v.node.is_read}
        self.behind |= {n: view for n, view in self.seen.items() if view.node in outside}
        if self.last_written is not None:
            self.seen = {**waiting, self.last_written.width: _View(self.last_written)}

    def _give_up(self, layers: Sequence[Layer]) -> None:
        self.is_unclear = True
        for node in (*self.here, *self.before):
            node.is_frozen = True
        written = [dims_of(layer)[0] for layer in layers if is_dense(layer)]
        if written:
            node = self._new(written[-1])
            node.is_frozen = True
            self.last_written = node
            self.seen = {node.width: _View(node)}

    def _visit(self, layers: Sequence[Layer], *, is_block: bool) -> None:
        self.has_group_norm |= is_block and has_group_norm(layers)
        attention = attention_parents(layers)
        private: _Node | None = None  # between two convolutions side by side
        previous = 0
        for i, layer in enumerate(layers):
            inside = parent_of(layer) in attention
            is_first = is_weighted(layer) and not self.nodes  # of a grey image it looks depthwise
            if is_dense(layer) or is_first:
                n_parts = n_parts_beside(layers, i)
                is_grouped = False
                if private is not None:
                    self._port(_View(private), layer.tensors[0], 1, "reads")
                    is_grouped = private.width != dims_of(layer)[1]
                    private.is_frozen |= is_grouped
                elif not inside or n_parts > 1:  # else it reads heads
                    is_grouped = self._read(layer, previous)
                private = None
                if inside and n_parts > 1:
                    continue  # it writes heads
                width = dims_of(layer)[0] // n_parts
                if n_parts > 1 and width in self.seen:
                    raise UnclearError
                if is_block and is_chain(layers, i, self.seen):
                    private = self._new(width)
                elif width not in self.seen:
                    self.seen[width] = _View(self._new(width))
                node = private or self.seen[width].node
                node.is_frozen |= is_grouped
                self._write(layer, node, n_parts)
                previous = width
            elif private is not None:
                self._scale(layer, _View(private))
            elif layer.kind.startswith("parameter"):
                self._take_parameter(layer.tensors[0], is_inside=inside, is_block=is_block)
            elif inside:  # a norm of the heads, or of what they are made from
                self._freeze(self.seen.get(dims_of(layer)[0]))
            elif layer.kind != "scale":
                self._scale(layer, self._normed(layer))

    def _new(self, width: int) -> _Node:
        node = _Node(width)
        self.nodes.append(node)
        self.here.append(node)
        return node

    def _read(self, layer: Layer, previous: int) -> bool:
        """Let a layer read what is as wide as its inputs; return whether it reads groups of channels."""
        n_out, n_in = dims_of(layer)[:2]
        if not self.nodes:  # the first layer reads what the network is given
            self.seen[n_in] = _View(self._new(n_in))
            self.seen[n_in].node.is_frozen = True
        view = self.seen.get(n_in)
        may_be_grouped = layer.kind.startswith("conv") and layer.n_groups != 1 and n_in > 0
        if may_be_grouped and n_out % n_in == 0 and n_out in self.seen:
            if view is None:
                self._freeze(*(other for width, other in self.seen.items() if width % n_in == 0))
                return True
            if is_spatial(layer) and previous == n_out != n_in:
                self._freeze(view, self.seen[n_out])  # a shortcut, or groups of what the previous layer wrote
        if view is None and layer.kind == "linear":
            view = self._flattened(layer.tensors[0].name, n_in)
        if view is None:
            view = self.behind.get(n_in)  # a shortcut, which runs after the blocks beside it
        if view is None:
            raise UnclearError
        self._port(view, layer.tensors[0], 1, "reads")
        return False

    def _flattened(self, name: str, n_in: int) -> _View | None:
        """View the last convolution's outputs as flattened: as is known, or channel by channel from a square."""
        last = self.last_written
        if last is None or n_in % last.width or n_in == last.width:
            return None
        places = n_in // last.width
        starts = self.flattened.get(name)
        if starts is None and not self.is_asked and isqrt(places) ** 2 != places:
            return None
        if starts in (None, (0,)):
            view = _View(last, stride=places)
        elif starts == tuple(range(0, n_in, last.width)):
            view = _View(last, parts=places)
        else:
            return None
        self.seen[n_in] = view  # for other layers that read it
        return view

    def _write(self, layer: Layer, node: _Node, n_parts: int) -> None:
        if layer.is_transposed or any(t.shape and t.shape[0] != dims_of(layer)[0] for t in layer.tensors):
            raise UnclearError  # its weight has inputs first
        for tensor in layer.tensors:
            self._port(_View(node, n_parts), tensor, 0, "writes")
        self.last_written = node
        self.written.append(node)

    def _normed(self, layer: Layer) -> _View:
        """View what a norm or a depthwise convolution takes; four patches may be merged before a norm."""
        width = dims_of(layer)[0]
        last = self.last_written
        if width not in self.seen and layer.kind == "norm" and last is not None and width == 4 * last.width:
            self.seen[width] = _View(last, parts=4)
        if width not in self.seen:
            raise UnclearError
        return self.seen[width]

    def _scale(self, layer: Layer, view: _View) -> None:
        if view.parts * view.node.width != dims_of(layer)[0]:
            raise UnclearError
        if layer.kind == "norm":
            self.normed.add(view.node)
        for tensor in layer.tensors:
            self._port(view, tensor, 0, "scales")

    def _take_parameter(self, tensor: Tensor, *, is_inside: bool, is_block: bool) -> None:
        if not is_inside:
            if not self._join(tensor, may_be_tokens=not is_block) and not is_block:
                self.pending.append(tensor)
        elif "bias" not in tensor.role:  # biases of queries and values are as wide as the heads
            self._freeze(*(self.seen.get(n) for n in tensor.shape))

    def _join(self, tensor: Tensor, *, may_be_tokens: bool) -> bool:
        """Let a parameter join the channels it is as wide as; tokens have them last."""
        places = [d for d, n in enumerate(tensor.shape) if n > 1 and n in self.seen]
        if not places:
            return False
        is_vector = prod(tensor.shape) == tensor.shape[places[0]]
        is_tokens = may_be_tokens and places == [len(tensor.shape) - 1]
        if (is_vector or is_tokens) and tensor.is_continuous:
            self._port(self.seen[tensor.shape[places[0]]], tensor, places[0], "scales")
        else:
            self._freeze(*(self.seen[tensor.shape[d]] for d in places))
        return True

    def _port(self, view: _View, tensor: Tensor, dim: int, side: Side) -> None:
        if tensor.shape:  # the counter of a batch norm has none
            view.node.ports.append(Port(tensor.name, dim, side, view.parts, view.stride))
            self.here.append(view.node)

    @staticmethod
    def _freeze(*views: _View | None) -> None:
        for view in views:
            if view is not None:
                view.node.is_frozen = True


def _is_local(node: _Node) -> bool:
    """Whether all that mixes a node's channels lies side by side in the name tree, as the layers of an MLP do."""
    owners = {port.tensor.rpartition(".")[0] for port in node.ports if port.side != "scales"}
    return len({owner.rpartition(".")[0] for owner in owners}) == 1
