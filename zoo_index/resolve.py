"""What a user means by a source or target: code, a checkpoint, a name of the index, a timm name, a module.

What the index knows is answered from it, without torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import InputError
from transfer.structure.records import Architecture, Form
from transfer.structure.standardization import FORMS, as_module, standardize
from zoo_index.entries import Entries, Entry
from zoo_index.targets import open_target, split_code
from zoo_index.view import View

if TYPE_CHECKING:
    from torch import nn

    from transfer.weights.checkpoint import Checkpoint

    NetworkSpec = nn.Module | Architecture | Checkpoint | str | os.PathLike[str]

__all__ = ["Resolved", "network_of", "resolve"]


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
    entry = _indexed(spec, entries)
    if entry is None:
        return open_target(str(spec), example)
    name = entry["path"] or (entry["name"] if entry["catalogue"] == "timm" else entry["architecture"])
    return open_target(name, example)


def _give(network: object, example: object) -> None:
    from transfer.tracing.given import give_example

    module = as_module(network)
    if module is None:
        raise InputError(
            f"expected a network that can be run on an example input, got {type(network).__name__}; "
            "leave the example out"
        )
    give_example(module, example)


def resolve(spec: NetworkSpec, form: Form, view: View, example: object = None) -> Resolved:
    """Standardize whatever a specification means.

    Parameters
    ----------
    spec : nn.Module, Architecture, Checkpoint, str or path
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
    forms = {wanted: standardize(network, method=wanted) for wanted in FORMS if module or wanted == form}
    if module is not None:
        return Resolved(_name(spec), sum(p.numel() for p in module.parameters()), forms)
    forms["dpiat"] = standardize(network)
    return Resolved(_name(spec), forms["dpiat"].n_elements, forms)


def _indexed(spec: object, entries: Entries) -> Entry | None:
    """Entry that a string names, if it is neither code nor a file."""
    if not isinstance(spec, str) or split_code(spec) or os.path.isfile(spec):
        return None
    return entries.get(spec)


def _name(spec: object) -> str:
    if isinstance(spec, str | os.PathLike):
        _, attribute = split_code(str(spec)) or ("", "")
        return attribute or Path(spec).name
    file = getattr(spec, "path", None)
    return file.name if isinstance(file, Path) else type(spec).__name__
