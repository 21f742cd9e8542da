"""Squeeze-excite branches: two layers that tell each channel how far to pass (Hu et al., arXiv 1709.01507)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from transfer.structure.layers import in_width, is_dense, is_pointwise, is_weighted, out_width, parent_of
from transfer.structure.records import Architecture, Block, Layer

__all__ = ["Gate", "gate_end", "gates_of", "lone_gates"]


@dataclass(frozen=True, slots=True)
class Gate:
    """A branch that multiplies channels, and the layers beside it.

    Parameters
    ----------
    squeeze, excite : Layer
        From n channels to fewer, and back.
    norm : Layer or None
        The batch norm of the channels before the branch.
    reader : Layer or None
        What reads the multiplied channels in the same block, if it mixes them; None at the end of a block.
    reader_norm : Layer or None
        The batch norm right after it.
    """

    squeeze: Layer
    excite: Layer
    norm: Layer | None
    reader: Layer | None
    reader_norm: Layer | None

    @property
    def path(self) -> str:
        """Path of the module that the branch is."""
        return parent_of(self.squeeze)

    @property
    def sides(self) -> tuple[Layer, ...]:
        """What might make up for the branch: its reader, or the norm before it."""
        return tuple(layer for layer in (self.reader, self.norm) if layer is not None)

    @property
    def side(self) -> Layer | None:
        """Which of them does, if the network was run."""
        around = self.excite.wiring
        return next((layer for layer in self.sides if around is not None and layer.path == around.beside), None)


def gate_end(layers: Sequence[Layer], index: int, *, is_read_again: bool = True) -> int | None:
    """Find the last layer of the squeeze-excite branch that starts here.

    Parameters
    ----------
    layers : sequence of Layer
        Of one block.
    index : int
        Of a weighted layer.
    is_read_again : bool
        Whether a layer that reads the multiplied channels has to follow.

    Returns
    -------
    int or None
        None if no branch starts here.
    """
    n = in_width(layers[index])
    rest = [i for i in range(index + 1, len(layers)) if is_weighted(layers[i])]
    if not rest or out_width(layers[index]) >= n or out_width(layers[rest[0]]) != n:
        return None
    if is_read_again and not (len(rest) > 1 and in_width(layers[rest[1]]) == n):
        return None
    return rest[0] if in_width(layers[rest[0]]) == out_width(layers[index]) else None


def gates_of(architecture: Architecture) -> Iterator[Gate]:
    """Find the branches of a network, as far as shapes, the name tree and what was seen of it tell.

    Parameters
    ----------
    architecture : Architecture
        In ``dpiat`` form with tensor names.

    Yields
    ------
    Gate
        Of blocks; the branch is a module of its own, without norms.
    """
    for item in architecture.items:
        layers = item.layers if isinstance(item, Block) else ()
        for i, layer in enumerate(layers[:-1]):
            if not is_dense(layer) or not is_pointwise(layer) or not _is_apart(layers, i, i + 1):
                continue
            around = layers[i + 1].wiring
            if gate_end(layers, i, is_read_again=False) == i + 1 or (around is not None and around.beside):
                yield _gate(layers, i, i + 1)


def lone_gates(architecture: Architecture, gating: Collection[str], used: Collection[str]) -> list[Gate]:
    """Find the branches that a network has and its counterpart has not, where something may make up for them.

    Parameters
    ----------
    architecture : Architecture
    gating : collection of str
        Paths of its layers whose counterparts are parts of such branches.
    used : collection of str
        Paths of its layers that have any counterpart.
    """
    return [
        gate
        for gate in gates_of(architecture)
        if {gate.squeeze.path, gate.excite.path}.isdisjoint(gating)
        and any(side.path in used for side in gate.sides)
    ]


def _is_apart(layers: Sequence[Layer], start: int, end: int) -> bool:
    """Whether two layers are all that a module owns."""
    path = parent_of(layers[start])
    if not path or not is_weighted(layers[end]) or not is_pointwise(layers[end]):
        return False
    return [i for i, layer in enumerate(layers) if f"{layer.path}.".startswith(f"{path}.")] == [start, end]


def _gate(layers: Sequence[Layer], start: int, end: int) -> Gate:
    n = in_width(layers[start])
    norm = layers[start - 1] if start else None
    following = next((i for i in range(end + 1, len(layers)) if is_weighted(layers[i])), None)
    reader = after = None
    if following is not None and in_width(layers[following]) == n:
        reader, after = layers[following], layers[following + 1] if following + 1 < len(layers) else None
    if reader is not None and (not is_dense(reader) or reader.is_transposed):
        reader = None  # its inputs are not the second axis of its weight
    return Gate(
        layers[start],
        layers[end],
        norm if norm is not None and norm.kind == "batchnorm" and norm.dims == (n,) else None,
        reader,
        after if after is not None and after.kind == "batchnorm" else None,
    )
