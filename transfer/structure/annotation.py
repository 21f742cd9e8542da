"""What a module tells of its layers that shapes do not: heads, groups, epsilon, and what its run showed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.structure.records import OUTPUT, Architecture, Block, Layer
from transfer.wiring import Wiring

if TYPE_CHECKING:
    from torch import nn

    from transfer.tracing.usage import Usage

__all__ = ["annotated"]

_HEAD_SIZE = "head_dim"

_SEPARATE = 4
"""Query, key, value and output."""

_HEAD_COUNTS = ("num_heads", "n_heads", "n_head", "num_attention_heads")
"""What libraries call the number of heads of an attention."""

_EPSILONS = ("eps", "variance_epsilon")
"""What they call the number that a norm adds to the variance."""


def _heads_by_size(architecture: Architecture, sizes: Mapping[str, int]) -> dict[str, int]:
    """Count the heads of query, key, value and what follows, where an attention tells how wide a head is.

    Keys and values may have fewer heads than queries (grouped-query attention).
    """
    within: dict[str, list[Layer]] = {}
    for layer in architecture.layers():
        parent = layer.path.rpartition(".")[0]
        if layer.kind == "linear" and parent in sizes:
            within.setdefault(parent, []).append(layer)
    found = {}
    for parent, layers in within.items():
        for i, layer in enumerate(layers) if len(layers) == _SEPARATE else ():
            assert layer.dims is not None
            n_heads, left = divmod(layer.dims[0 if i < _SEPARATE - 1 else 1], sizes[parent])
            found[layer.path] = 0 if left else n_heads
    return found


def annotated(architecture: Architecture, module: nn.Module, usage: Usage | None = None) -> Architecture:
    """Note what shapes do not tell: heads of attentions, groups, direction, epsilon, facts, outputs."""
    facts = usage.facts if usage else {}
    outputs, factors = (usage.outputs, usage.input_first) if usage else (frozenset[str](), frozenset[str]())
    wiring = _by_path(architecture, usage.wiring) if usage and usage.wiring else {}
    heads, head_sizes, groups, epsilons, transposed = {}, {}, {}, {}, dict[str, tuple[int, ...]]()
    for path, part in module.named_modules():
        n_heads = next((getattr(part, name, None) for name in _HEAD_COUNTS if _has(part, name)), None)
        if isinstance(n_heads, int) and n_heads > 0:
            heads[path] = n_heads
        elif isinstance(size := getattr(part, _HEAD_SIZE, None), int) and size > 0:
            head_sizes[path] = size
        if _has(part, "groups") and _has(part, "kernel_size") and isinstance(n_groups := part.groups, int):
            groups[path] = n_groups
            if getattr(part, "transposed", False) is True:
                transposed[path] = stride if isinstance(stride := getattr(part, "stride", ()), tuple) else ()
        epsilon = next((getattr(part, name, None) for name in _EPSILONS if _has(part, name)), None)
        if isinstance(epsilon, float):
            epsilons[path] = epsilon
    if not heads and not head_sizes and not groups and not epsilons and usage is None:
        return architecture
    by_size = _heads_by_size(architecture, head_sizes)

    def noted(layer: Layer) -> Layer:
        counted = heads.get(layer.path.rpartition(".")[0], 0) if layer.kind == "linear" else 0
        n_heads = counted or by_size.get(layer.path, 0)
        n_groups = groups.get(layer.path, 0)
        epsilon = epsilons.get(layer.path, 0.0) if layer.kind in ("batchnorm", "norm") else 0.0
        told = "; ".join(facts[tensor.name] for tensor in layer.tensors if tensor.name in facts)
        if layer.kind.startswith(("conv", "linear")) and layer.tensors[0].name in outputs:
            told = f"{told}; {OUTPUT}"
        is_factor = layer.kind.startswith("parameter") and layer.path in factors
        if not n_heads and not n_groups and not epsilon and usage is None:
            return layer
        return replace(
            layer,
            n_heads=n_heads,
            n_groups=n_groups,
            is_transposed=layer.path in transposed
            or (layer.kind.startswith("conv") and told.startswith("conv_transpose")),
            epsilon=epsilon,
            facts=told,
            stride=transposed.get(layer.path, ()),
            wiring=wiring.get(layer.path),
            is_factor=is_factor,
        )

    items = [
        Block(tuple(map(noted, item.layers))) if isinstance(item, Block) else noted(item)
        for item in architecture.items
    ]
    return Architecture(architecture.form, tuple(items))


def _by_path(architecture: Architecture, wiring: Mapping[str, Wiring]) -> dict[str, Wiring]:
    """Say of layers what is known of their tensors; of those that are not used that nothing is around them."""
    owner = {tensor.name: layer.path for layer in architecture.layers() for tensor in layer.tensors}
    used: dict[str, list[Wiring]] = {}
    for name, around in wiring.items():
        if name in owner:  # some make further layers when they are about to be evaluated
            used.setdefault(owner[name], []).append(around)
    n_layers = Counter(
        number for members in used.values() for number in {branch.number for w in members for branch in w.inside}
    )

    def joined(members: Sequence[Wiring]) -> Wiring:
        inside, ends = (
            tuple(
                branch._replace(n_layers=n_layers[branch.number])
                for branch in dict.fromkeys(branch for w in members for branch in getattr(w, what))
            )
            for what in ("inside", "ends")
        )
        feeds, beside = (
            next((owner.get(name, "") for w in members if (name := getattr(w, what))), "")
            for what in ("feeds", "beside")
        )
        return Wiring(feeds, beside, inside, ends)

    return {layer.path: joined(used.get(layer.path, ())) for layer in architecture.layers()}


def _has(part: nn.Module, name: str) -> bool:
    """Whether a module has a plain attribute; `hasattr` is slow on modules that lack it."""
    return name in part.__dict__ or hasattr(type(part), name)
