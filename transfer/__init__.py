"""DPIAT: match any two networks block by block and copy parameters across.

Standardization into blocks, dynamic-programming matching of blocks and layers, parameter transfer
(arXiv 2212.13970), as published (``paper``) and improved (``dpiat``, the default). Needs torch, numpy,
numba and safetensors; knows nothing of model zoos.

    >>> import torch.nn as nn, transfer
    >>> small = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> wide = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    >>> round(transfer.similarity(small, wide), 3)
    0.5
    >>> report = transfer.transfer(small, wide)

Names are resolved on first use, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transfer.apply import TransferReport, transfer
    from transfer.checkpoint import Checkpoint, open_checkpoint
    from transfer.errors import ZooError
    from transfer.matching import Alignment, match, similarity
    from transfer.options import Options
    from transfer.planning import TransferPlan, plan
    from transfer.records import Architecture
    from transfer.standardization import standardize

_HOME = {
    "Alignment": "matching",
    "Architecture": "records",
    "Checkpoint": "checkpoint",
    "Options": "options",
    "TransferPlan": "planning",
    "TransferReport": "apply",
    "ZooError": "errors",
    "match": "matching",
    "open_checkpoint": "checkpoint",
    "plan": "planning",
    "similarity": "matching",
    "standardize": "standardization",
    "transfer": "apply",
}

__all__ = [
    "Alignment",
    "Architecture",
    "Checkpoint",
    "Options",
    "TransferPlan",
    "TransferReport",
    "ZooError",
    "match",
    "open_checkpoint",
    "plan",
    "similarity",
    "standardize",
    "transfer",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'transfer' has no attribute {name!r}")
    value = getattr(import_module(f"transfer.{home}"), name)
    globals()[name] = value
    return value
