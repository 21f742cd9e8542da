"""What a caller set for his own networks, and a transfer must not follow.

Tensors made on a default device would meet those of the CPU, where all is computed that is not merely copied;
autocast and coarse products of matrices would round statistics and embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["ordinary_surroundings"]


@contextmanager
def ordinary_surroundings() -> Iterator[None]:
    """Make tensors on the CPU unless told otherwise, and compute in the types they have."""
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        products = getattr(torch.backends.mkldnn, "matmul", None)
        if (
            products is not None
        ):  # the setting of the CPU alone; that of all devices would set more back than was set
            stack.callback(setattr, products, "fp32_precision", products.fp32_precision)
            products.fp32_precision = "ieee"
        yield
