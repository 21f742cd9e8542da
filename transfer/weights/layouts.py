"""Tensors of Keras and of JAX's libraries as torch has them: named as it names them, output channels first.

Keras and Flax keep kernels as (height, width, inputs, outputs), torch as (outputs, inputs, height, width):
https://keras.io/api/layers/convolution_layers, https://flax.readthedocs.io/en/latest/api_reference/flax.linen/layers.html.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer.structure.records import Signature
from transfer.weights.stored import Stored

if TYPE_CHECKING:
    import torch

__all__ = ["as_torch_has_them"]

_NAMES = {
    "kernel": "weight", "depthwise_kernel": "weight", "embeddings": "weight", "embedding": "weight",
    "gamma": "weight", "scale": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var", "mean": "running_mean", "var": "running_var",
}  # fmt: skip

_MARK = "kernel"


@dataclass(frozen=True, slots=True, eq=False)
class _Turned(Stored):
    """A tensor with its dimensions in another order, some of them taken together."""

    stored: Stored
    order: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def signature(self) -> Signature:
        """Shape and element type."""
        return Signature(self.shape, self.stored.signature.dtype)

    def load(self) -> torch.Tensor:
        """Read it."""
        return self.stored.load().permute(self.order).reshape(self.shape)


def as_torch_has_them(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """Name and turn tensors as torch does, if any of them is called a kernel.

    Parameters
    ----------
    tensors : mapping of str to Stored
        Of a format that other libraries than torch write.

    Returns
    -------
    dict of str to Stored
    """
    if not any(_last(name).endswith(_MARK) for name in tensors):
        return dict(tensors)
    found: dict[str, Stored] = {}
    for name, stored in tensors.items():
        last = _last(name)
        renamed = name.removesuffix(last) + _NAMES.get(last, last)
        found[renamed if renamed not in found and renamed not in tensors else name] = _turned(last, stored)
    return found


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _turned(last: str, stored: Stored) -> Stored:
    shape = stored.signature.shape
    n = len(shape)
    if n < 2 or not last.endswith(_MARK):
        return stored
    if last.startswith("depthwise"):  # (..., channels, times): one group for each channel
        order = (n - 2, n - 1, *range(n - 2))
        return _Turned(stored, order, (math.prod(shape[-2:]), 1, *shape[:-2]))
    order = (n - 1, n - 2, *range(n - 2))
    return _Turned(stored, order, tuple(shape[i] for i in order))
