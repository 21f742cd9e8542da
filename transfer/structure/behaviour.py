"""How far two networks of equal shapes do the same: activations, strides, pooling, norms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from transfer.structure.records import Architecture

__all__ = ["agreement", "facts_of"]


_RIGHT_BEHIND = 1 - 1e-9
"""Factor that puts a source right behind those of which more is known, and that are as alike otherwise."""


def facts_of(architecture: Architecture) -> tuple[str, ...]:
    """Facts of all layers in order, see `tracing.facts`; empty where the network was not run."""
    facts = tuple(layer.facts for layer in architecture.layers())
    return facts if any(facts) else ()


def agreement(source: Architecture, target: Architecture) -> float:
    """Part of the layers that have the same shape and do the same, in [0, 1]; 1 where the target does not tell.

    A hair less where the source does not tell, and if tensors are called otherwise: that is all that tells some
    networks from the target itself.

    Parameters
    ----------
    source, target : Architecture
        In ``dpiat`` form.
    """
    part = 1.0
    if facts_of(source) and facts_of(target):
        own, other = _counted(source), _counted(target)
        part = sum((own & other).values()) / max(own.total(), other.total())
    elif facts_of(target):
        part = _RIGHT_BEHIND
    return part if source.is_like(target) else part * _RIGHT_BEHIND


def _counted(architecture: Architecture) -> Counter[tuple[str, Sequence[int] | None, str]]:
    return Counter((layer.kind, layer.dims, layer.facts) for layer in architecture.layers())
