"""How far two networks of equal shapes do the same: activations, strides, pooling, norms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from transfer.structure.records import Architecture

__all__ = ["agreement", "facts_of"]


def facts_of(architecture: Architecture) -> tuple[str, ...]:
    """Facts of all layers in order, see `tracing.facts`; empty where the network was not run."""
    facts = tuple(layer.facts for layer in architecture.layers())
    return facts if any(facts) else ()


def agreement(source: Architecture, target: Architecture) -> float:
    """Part of the layers that have the same shape and do the same, in [0, 1]; 1 where that is not known of either.

    Parameters
    ----------
    source, target : Architecture
        In ``dpiat`` form.
    """
    if not facts_of(source) or not facts_of(target):
        return 1.0
    own, other = _counted(source), _counted(target)
    return sum((own & other).values()) / max(own.total(), other.total())


def _counted(architecture: Architecture) -> Counter[tuple[str, Sequence[int] | None, str]]:
    return Counter((layer.kind, layer.dims, layer.facts) for layer in architecture.layers())
