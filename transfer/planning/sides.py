"""Source and target as a plan is made of them: standardized, the layers of both in one order."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from transfer.options import Options
from transfer.structure.headers import as_module, header_of
from transfer.structure.layers import is_lookup, is_weighted
from transfer.structure.order import have_same_names, read_like
from transfer.structure.records import Architecture, Header
from transfer.structure.standardization import read_names, standardize, standardize_header

if TYPE_CHECKING:
    from torch import nn

    from transfer.structure.headers import NetworkLike

__all__ = ["Sides", "read_sides"]

_NOT_RUN = (
    "the {} could not be run on any of the usual inputs: layers are in the order of registration; "
    "give an input that it takes (example=..., on the command line --input)"
)
_UNORDERED = (
    "the file of the source is sorted by name and has other names than the target: the order of its layers is a "
    "guess; a torch file, or a safetensors file written by zoo, tells the order"
)


@dataclass(frozen=True)
class Sides:
    """What is planned with.

    Parameters
    ----------
    source, target : Architecture
        In ``dpiat`` form.
    header : mapping of str to Signature
        Of the target.
    module : nn.Module or None
        The target, where there is one.
    is_sure : bool
        Whether the order of the source's layers is known.
    note : str
        What the reader should know; mostly empty.
    """

    source: Architecture
    target: Architecture
    header: Header
    module: nn.Module | None
    is_sure: bool = True
    note: str = ""

    def allowed(self, options: Options | None) -> Options:
        """Return what may be done: parallel layers could be told apart by their order alone."""
        chosen = options or Options()
        return chosen if self.is_sure else replace(chosen, split_fused=False)


def read_sides(source: NetworkLike, target: NetworkLike) -> Sides:
    """Standardize two networks; where a file does not tell the order of its layers, it is read like the target.

    Parameters
    ----------
    source, target : nn.Module, state dict, Checkpoint, path or Architecture

    Raises
    ------
    MethodError, CheckpointError, InputError
        As `standardize`.
    """
    header, module = header_of(target), as_module(target)
    target_form = target if isinstance(target, Architecture) else standardize_header(header, module)
    if isinstance(source, str | os.PathLike):
        from transfer.weights.checkpoint import open_checkpoint

        source = open_checkpoint(source)
    if as_module(source) is not None or isinstance(source, Architecture):
        source_form = standardize(source)
        sides = ("source", source, source_form), ("target", target, target_form)
        unrun = [what for what, network, found in sides if as_module(network) is not None and not found.is_executed]
        note = _NOT_RUN.format(" and the ".join(unrun)) if unrun else ""
        return Sides(source_form, target_form, header, module, note=note)
    note = _NOT_RUN.format("target") if module is not None and not target_form.is_executed else ""
    names = header_of(source)
    has_same_names = have_same_names(names, header)
    if getattr(source, "is_ordered", True) and not has_same_names:
        return Sides(standardize_header(names), target_form, header, module, note=note)
    executed = {tensor.name: header[tensor.name] for tensor in target_form.tensors()}
    input_first = {tensor.name for tensor in target_form.tensors() if tensor.is_input_first}
    factors = _factors(target_form) if target_form.is_executed else None
    architecture, is_sure = read_like(names, executed, input_first, read_names(target_form), factors)
    if not is_sure:
        note = "; ".join(filter(None, (note, _UNORDERED)))
    elif has_same_names:  # then order plays no part
        note = ""
    return Sides(architecture, target_form, header, module, is_sure, note)


def _factors(architecture: Architecture) -> set[str]:
    """Names of the matrices that something is multiplied by, of a network that was run."""
    return {
        layer.tensors[0].name
        for layer in architecture.layers()
        if layer.is_factor or (is_weighted(layer) and not is_lookup(layer))
    }
