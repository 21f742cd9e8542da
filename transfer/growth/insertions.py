"""Blocks and layers that the target has and the source has not: where they lie, and that they start as identity."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment
from transfer.channels.concatenation import concatenating_items
from transfer.growth.containment import contained
from transfer.growth.feeding import fed_by_neighbours, pack_insertions
from transfer.growth.identity import everywhere, passing
from transfer.growth.units import owned_with
from transfer.regions import Constant
from transfer.structure.meaning import residual_exits
from transfer.structure.records import Block, Layer, structure_key

if TYPE_CHECKING:
    from torch import nn

__all__ = ["place_insertions"]


def place_insertions(
    alignment: Alignment, module: nn.Module | None, among: Collection[str] | None = None
) -> tuple[Alignment, dict[str, tuple[Constant, ...]]]:
    """Decide which blocks and layers of the target are inserted, and how they start as identity.

    Parameters
    ----------
    alignment : Alignment
        The best-scoring one.
    module : nn.Module or None
        The target, to ask whether a block or layer does return its input; may be on the meta device.
    among : collection of str, optional
        Paths of the layers that may have been inserted; others are not looked at.

    Returns
    -------
    alignment : Alignment
        The placement of the source in the target where that contains it, else the given one with its insertions
        packed.
    identity : dict of str to tuple of Constant
        What tensors are set to, by their names.
    """
    # blocks of equal layers behave alike, and asking one of them takes a while
    known: dict[Hashable, list[Place]] = {}
    if among is None and (found := contained(alignment)) is not None:
        own = {pair.target_item for pair in found.pairs}
        fed = fed_by_neighbours(found, alignment)
        blocks, unsure = _blocks(fed, module, known, own)
        units, covered, unsure = _units(found, module, known, own, unsure)
        plain = None if unsure else _plain_layers(found, module, covered)
        if plain is not None:
            return fed, plain | blocks | units
    packed = pack_insertions(alignment)
    items = enumerate(packed.target.items)
    others = {i for i, item in items if among is not None and not any(layer.path in among for layer in item.layers)}
    return packed, _blocks(packed, module, known, others=others)[0]


def _plain_layers(
    alignment: Alignment, module: nn.Module | None, covered: set[int]
) -> dict[str, tuple[Constant, ...]] | None:
    """Set what makes inserted convolutions, linear layers and batch norms return their input.

    Parameters
    ----------
    alignment : Alignment
    module : nn.Module or None
    covered : set of int
        Positions of items that are part of something that returns its input.

    Returns
    -------
    dict or None
        None if one of them cannot be left out without changing the network.
    """
    identity: dict[str, tuple[Constant, ...]] = {}
    fed = {pair.target.path for pair in alignment.pairs}
    fed_items = {pair.target_item for pair in alignment.pairs}
    before, gap = "", list[Layer]()
    for i, item in enumerate(alignment.target.items):
        if i in covered or (isinstance(item, Block) and i not in fed_items):
            if gap:
                return None
            continue
        for layer in item.layers if isinstance(item, Block) else (item,):
            if layer.path not in fed:
                gap.append(layer)
                continue
            if gap:
                if module is None or not before or not _is_passable(module, before, gap, layer.path):
                    return None
                for inserted in gap:
                    identity |= passing(inserted)
            before, gap = layer.path, []
    return None if gap else identity


def _is_passable(module: nn.Module, before: str, gap: Sequence[Layer], after: str) -> bool:
    from transfer.growth.probing import passes_through

    return passes_through(module, before, [layer.path for layer in gap], after)


def _blocks(
    alignment: Alignment,
    module: nn.Module | None,
    known: dict[Hashable, list[Place]],
    own: set[int] | None = None,
    others: Collection[int] = (),
) -> tuple[dict[str, tuple[Constant, ...]], set[int]]:
    """Zero the exits of the residual blocks that have no source block of their own.

    Of several target blocks fed by one source block the best match is its counterpart, the first of equal ones;
    the others were inserted, and so were blocks that nothing feeds; unless `own` tells which were not, or they are
    among `others`.

    Returns
    -------
    identity : dict of str to tuple of Constant
    unsure : set of int
        Positions of inserted blocks that neither become identity nor append to a concatenation.
    """
    unsure: set[int] = set()
    appending = concatenating_items(alignment.target)
    value: dict[int, float] = {}
    feeding: dict[int, int] = {}
    for pair in alignment.pairs:
        value[pair.target_item] = value.get(pair.target_item, 0.0) + pair.score
        feeding[pair.target_item] = pair.source_item
    counterpart: dict[int, int] = {}
    for item, source in feeding.items():
        best = counterpart.get(source)
        if best is None or value[item] > value[best] + 1e-9:
            counterpart[source] = item
    identity: dict[str, tuple[Constant, ...]] = {}
    for item, block in enumerate(alignment.target.items):
        is_own = item in own if own is not None else item in feeding and counterpart[feeding[item]] == item
        if is_own or item in others or not isinstance(block, Block):
            continue
        key = structure_key(block)
        if item in appending:  # as shapes say, which take a residual block before a wide one for that
            if module is not None and (exits := _asked_exits(block, module)):
                identity |= _set(block, exits)
            continue
        if key not in known:
            known[key] = _exits(block, module)
        identity |= _set(block, known[key])
        unsure |= set() if known[key] else {item}
    return identity, unsure


def _units(
    alignment: Alignment,
    module: nn.Module | None,
    known: dict[Hashable, list[Place]],
    own: set[int],
    unsure: set[int],
) -> tuple[dict[str, tuple[Constant, ...]], set[int], set[int]]:
    """Find what the blocks that are no identity by themselves are parts of.

    Returns
    -------
    identity : dict of str to tuple of Constant
    covered : set of int
        Positions of the items that are such parts.
    unsure : set of int
        Positions of blocks for which nothing was found.
    """
    items = alignment.target.items
    inserted = {i for i in range(len(items)) if i not in own}
    identity: dict[str, tuple[Constant, ...]] = {}
    covered: set[int] = set()
    if module is None:
        return identity, covered, unsure
    for first in sorted(unsure):
        for members, unit in owned_with(items, first, inserted) if first not in covered else ():
            key = structure_key(unit)
            if key not in known:
                known[key] = _found_exits(unit, module)
            if known[key]:
                identity |= _set(unit, known[key])
                covered |= set(members)
                break
    return identity, covered, unsure - covered


def _set(block: Block, places: Sequence[Place]) -> dict[str, tuple[Constant, ...]]:
    tensors = [(block.layers[i].tensors[j], value) for i, j, value in places]
    return {tensor.name: everywhere(tensor, value) for tensor, value in tensors}


Place = tuple[int, int, float]
"""Position of a layer in its block, of a tensor in the layer, and what that is set to."""


def _exits(block: Block, module: nn.Module | None) -> list[Place]:
    """Find what to set in a block so that it becomes identity; empty where that is not possible or not sure.

    Without a module, what shapes tell is believed if the block has a norm, as residual blocks do.
    """
    names = {tensor.name: (i, j) for i, layer in enumerate(block.layers) for j, tensor in enumerate(layer.tensors)}
    exits = [tensor.name for tensor in residual_exits(block)]
    if not exits:
        return []
    if module is not None:
        found = _asked_exits(block, module)
        return _found_exits(block, module) if found is None else found
    has_norm = any(layer.kind in ("batchnorm", "norm") for layer in block.layers)
    return [(*names[name], 0.0) for name in exits] if has_norm else []


def _asked_exits(block: Block, module: nn.Module) -> list[Place] | None:
    """Ask whether what shapes tell makes a block identity; None if it does not, empty if it cannot be asked."""
    from transfer.growth.probing import is_identity_without

    names = {tensor.name: (i, j) for i, layer in enumerate(block.layers) for j, tensor in enumerate(layer.tensors)}
    exits = [tensor.name for tensor in residual_exits(block)]
    verdict = is_identity_without(module, list(names), exits) if exits else None
    if verdict is False:
        return None
    return [(*names[name], 0.0) for name in exits] if verdict else []


def _found_exits(block: Block, module: nn.Module) -> list[Place]:
    """Find by running what to set, without a guess."""
    from transfer.growth.probing import find_exits

    names = {tensor.name: (i, j) for i, layer in enumerate(block.layers) for j, tensor in enumerate(layer.tensors)}
    layers = [[tensor.name for tensor in layer.tensors] for layer in block.layers]
    scales = [layer.tensors[0].name for layer in block.layers if layer.kind.startswith("parameter")]
    return [(*names[name], value) for name, value in find_exits(module, layers, scales).items()]
