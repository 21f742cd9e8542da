"""What a user means by a source or target: code, a checkpoint, a name of the index, a timm name, a module.

What the index knows is answered from it, without torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfer.errors import InputError
from transfer.structure.records import Architecture, Form
from transfer.structure.standardization import FORMS, as_module, standardize
from zoo_index.entries import Entries, Entry
from zoo_index.targets import name_for, open_target, split_code
from zoo_index.view import View

if TYPE_CHECKING:
    from torch import nn

    from transfer.weights.checkpoint import Checkpoint

    NetworkSpec = nn.Module | Architecture | Checkpoint | str | os.PathLike[str]

__all__ = ["Resolved", "described", "name_of", "network_of", "resolve"]


@dataclass(frozen=True)
class Resolved:
    """A network ready for matching.

    Parameters
    ----------
    name : str
    n_params : int
    forms : dict
        Its architecture in each form that it has.
    """

    name: str
    n_params: int
    forms: dict[Form, Architecture]


def network_of(spec: NetworkSpec, entries: Entries, example: object = None) -> Any:
    """Return the module, checkpoint or architecture behind a specification, with the names of its tensors.

    Parameters
    ----------
    spec : nn.Module, Architecture, Checkpoint, str or path
    entries : Entries
    example : Tensor, tuple, mapping or str, optional
        What the network takes, where a guess does not do (see `transfer.plan`).

    Raises
    ------
    TargetError, CheckpointError, UnknownNameError, InputError
        As `targets.open_target`.
    """
    if not isinstance(spec, str | os.PathLike):
        if example is not None:
            _give(spec, example)
        return spec
    return open_target(name_of(str(spec), entries), example)


def name_of(spec: str, entries: Entries) -> str:
    """Return what `targets.open_target` calls a specification, which may be a name of the index.

    Parameters
    ----------
    spec : str
    entries : Entries
    """
    entry = _indexed(spec, entries)
    if entry is None:
        return spec
    has_code = entry["catalogue"] in ("timm", "torchvision")
    return str(entry["path"] or (entry["name"] if has_code else entry["architecture"]))


def _give(network: object, example: object) -> None:
    from transfer.tracing.given import give_example

    module = as_module(network)
    if module is None:
        raise InputError(
            f"expected a network that can be run on an example input, got {type(network).__name__}; "
            "leave the example out"
        )
    give_example(module, example)


def resolve(spec: NetworkSpec | Resolved, form: Form, view: View, example: object = None) -> Resolved:
    """Standardize whatever a specification means.

    Parameters
    ----------
    spec : nn.Module, Architecture, Checkpoint, str, path or Resolved
        What is resolved already is returned.
    form : {'dpiat', 'paper'}
        Must be among the forms of the result.
    view : View
        Of the index.
    example : Tensor, tuple, mapping or str, optional
        As for `network_of`; what the index knows of the network is not asked then.

    Raises
    ------
    MethodError
        If the network does not have the form.
    TargetError, CheckpointError, UnknownNameError, InputError
        As `targets.open_target`.
    """
    if isinstance(spec, Resolved):
        return spec
    entry = _indexed(spec, view.entries) if example is None else None
    if entry is not None:
        stored = {wanted: view.search.architecture(entry["architecture_id"], wanted) for wanted in FORMS}
        forms = {wanted: found for wanted, found in stored.items() if found is not None}
        if form in forms:
            return Resolved(str(spec), entry["n_params"], forms)
    network = network_of(spec, view.entries, example)
    if isinstance(network, Architecture):
        standardize(network, method=form)
        return Resolved(network.fingerprint[:12], network.n_elements, {network.form: network})
    module = as_module(network)
    if module is not None:
        return described(module, name_for(spec))
    forms = {form: standardize(network, method=form), "dpiat": standardize(network)}
    return Resolved(name_for(spec), forms["dpiat"].n_elements, forms)


def described(module: nn.Module, name: str) -> Resolved:
    """Standardize a network in every form.

    Parameters
    ----------
    module : nn.Module
    name : str
    """
    forms = {form: standardize(module, method=form) for form in FORMS}
    return Resolved(name, sum(p.numel() for p in module.parameters()), forms)


def _indexed(spec: object, entries: Entries) -> Entry | None:
    """Entry that a string names, if it is neither code nor a file."""
    if not isinstance(spec, str) or split_code(spec) or os.path.isfile(spec):
        return None
    return entries.get(spec)
