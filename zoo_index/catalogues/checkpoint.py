"""Describe a bare checkpoint for the index: names and shapes, no module."""

from __future__ import annotations

import os

from zoo_index.catalogues.description import Description, describe

__all__ = ["describe_checkpoint"]

_NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")


def describe_checkpoint(name: str, path: str | os.PathLike[str]) -> Description:
    """Standardize a checkpoint's header.

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
    from transfer.structure.standardization import standardize

    architecture = standardize(path)
    n_params = sum(t.size for t in architecture.tensors() if t.role not in _NOT_PARAMETERS and t.is_continuous)
    return describe(name, architecture, None, n_params)
