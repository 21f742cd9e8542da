"""Describe checkpoints for the index: names and shapes, and the network where a configuration tells it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from transfer.errors import ZooError
from zoo_index.catalogues.description import Description, describe, describe_network

if TYPE_CHECKING:
    from torch import nn

    from transfer.structure.records import Architecture
    from transfer.weights.checkpoint import Checkpoint

__all__ = ["classes_in", "describe_checkpoint", "describe_header"]

_NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")


def describe_checkpoint(name: str, path: str | os.PathLike[str]) -> Description:
    """Standardize a checkpoint's header, or the network that a ``config.json`` beside it describes.

    Parameters
    ----------
    name : str
        To file the architecture under.
    path : path

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    from transfer.weights.checkpoint import open_checkpoint
    from zoo_index.catalogues.transformers_structure import structure_beside

    checkpoint = open_checkpoint(path)
    return describe_header(name, checkpoint, structure_beside(checkpoint)[0])


def describe_header(
    name: str, checkpoint: Checkpoint, structure: nn.Module | Architecture | None = None
) -> Description:
    """Standardize a checkpoint's header.

    Parameters
    ----------
    name : str
        To file the architecture under.
    checkpoint : Checkpoint
    structure : nn.Module or Architecture, optional
        What is known of the network beside it.
    """
    from transfer.structure.records import Architecture
    from transfer.structure.standardization import standardize

    if structure is not None and not isinstance(structure, Architecture):
        return describe_network(name, structure)
    architecture = structure or standardize(checkpoint)
    n_params = sum(t.size for t in architecture.tensors() if t.role not in _NOT_PARAMETERS and t.is_continuous)
    return describe(name, architecture, None, n_params)


def classes_in(checkpoint: Checkpoint) -> int:
    """Return how many classes a checkpoint's network tells apart, 0 where its header does not tell it."""
    from transfer.structure.standardization import standardize
    from zoo_index.catalogues.classes import count_classes

    try:
        return count_classes(standardize(checkpoint))
    except ZooError:  # whoever describes it is told why
        return 0
