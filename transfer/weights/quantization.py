"""Which tensors hold packed codes instead of values: networks that were quantized."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["find_quantized"]

_MARKS = {
    "GPTQ or AWQ": re.compile(r"\.(qweight|qzeros|g_idx)$"),
    "bitsandbytes": re.compile(r"\.(absmax|quant_map|nested_absmax|SCB|quant_state\.bitsandbytes__\w+)$"),
    "HQQ": re.compile(r"\.W_q$"),
    "compressed-tensors": re.compile(r"\.(weight_packed|weight_scale|weight_scale_inv|weight_zero_point)$"),
    "MXFP4": re.compile(r"_(blocks|scales)$"),
    "Quanto": re.compile(r"\._(data|scale|packed)$"),
    "torch": re.compile(r"\.zero_point$"),
}
"""Endings of the names that each way of quantizing gives to what it needs beside its codes."""


def find_quantized(names: Iterable[str]) -> tuple[str, str] | None:
    """Find a tensor that only a quantized network has.

    Parameters
    ----------
    names : iterable of str

    Returns
    -------
    tuple of str
        Its name, and what quantized the network; None if there is none.
    """
    names = list(names)
    for name in names:
        for what, mark in _MARKS.items():
            if mark.search(name):
                return name, what
    return None
