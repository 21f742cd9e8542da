"""DPIAT: match any two networks block by block and copy parameters across.

Standardization into blocks, dynamic-programming matching of blocks and layers, parameter transfer
(arXiv 2212.13970), as published (``paper``) and improved (``dpiat``, the default). Needs torch, numpy,
numba and safetensors; knows nothing of model zoos.

    >>> import torch.nn as nn, transfer
    >>> small = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> wide = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    >>> round(transfer.similarity(small, wide), 3)
    0.707
    >>> report = transfer.transfer(small, wide)

Names are resolved on first use, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transfer.alignment.matching import Alignment, match
    from transfer.errors import ZooError
    from transfer.execution.reports import TransferReport
    from transfer.execution.transferring import transfer
    from transfer.options import Options
    from transfer.planning.comparing import similarity
    from transfer.planning.planned import TransferPlan
    from transfer.planning.plans import plan
    from transfer.structure.records import Architecture
    from transfer.structure.standardization import standardize
    from transfer.weights.checkpoint import Checkpoint, open_checkpoint
    from transfer.weights.reading import Reader

_HOME = {
    "Alignment": "alignment.matching",
    "Architecture": "structure.records",
    "Checkpoint": "weights.checkpoint",
    "Options": "options",
    "Reader": "weights.reading",
    "TransferPlan": "planning.planned",
    "TransferReport": "execution.reports",
    "ZooError": "errors",
    "match": "alignment.matching",
    "open_checkpoint": "weights.checkpoint",
    "plan": "planning.plans",
    "similarity": "planning.comparing",
    "standardize": "structure.standardization",
    "transfer": "execution.transferring",
}

__all__ = [
    "Alignment",
    "Architecture",
    "Checkpoint",
    "Options",
    "Reader",
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
