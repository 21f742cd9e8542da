"""What a user means by a source or target: code, a checkpoint, a name of the index, a timm name, a module.

What the index knows is answered from it, without torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfer.errors import InputError
from transfer.structure.headers import as_module
from transfer.structure.records import Architecture, Form
from transfer.structure.standardization import FORMS, standardize
from zoo_index.database.entries import Entries, Entry
from zoo_index.errors import WeightsUnavailableError
from zoo_index.index.view import View
from zoo_index.recommending.targets import build_by_name, is_checkpoint, name_for, open_target, split_code

if TYPE_CHECKING:
    from torch import nn

    from transfer.weights.checkpoint import Checkpoint

    NetworkSpec = nn.Module | Architecture | Checkpoint | str | os.PathLike[str]

__all__ = ["Resolved", "checkpoint_of", "described", "indexed", "network_of", "open_entry", "resolve"]


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
    entry = indexed(str(spec), entries)
    return open_target(str(spec), example) if entry is None else open_entry(entry, example)


def open_entry(entry: Mapping[str, Any], example: object = None) -> Any:
    """Open the network of an entry: its file as a checkpoint, else by its name, as its catalogue builds it.

    An index may come from elsewhere (`unpacking.unpack`), so nothing that it names is run, whatever it is called:
    code is only what a user typed.

    Parameters
    ----------
    entry : mapping
    example : Tensor, tuple, mapping or str, optional
        As for `network_of`.

    Returns
    -------
    nn.Module or Checkpoint

    Raises
    ------
    CheckpointError
        If its file cannot be read.
    UnknownNameError
        If its catalogue has no network of its name.
    WeightsUnavailableError
        If there is neither a file here nor code in its catalogue.
    InputError
        As `targets.open_target`.
    """
    network = _open_entry(entry)
    if example is not None:
        _give(network, example)
    return network


def _open_entry(entry: Mapping[str, Any]) -> nn.Module | Checkpoint:
    from transfer.weights.checkpoint import open_checkpoint
    from zoo_index.catalogues.catalogue import open_catalogue
    from zoo_index.hub.availability import Availability

    if entry["path"]:
        return open_checkpoint(entry["path"])
    if entry["catalogue"] in ("timm", "torchvision"):
        return build_by_name(entry["name"], "meta")
    build = open_catalogue(entry["catalogue"]).build
    if build is not None:
        return build(entry["name"])
    found = Availability().find(entry)
    if found is None:
        raise WeightsUnavailableError(
            f"expected the weights of {entry['name']!r} on this machine, found none; run: zoo fetch {entry['name']}"
        )
    return open_checkpoint(found)


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
    entry = indexed(spec, view.entries) if example is None else None
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


def indexed(spec: object, entries: Entries) -> Entry | None:
    """Return the entry that a string names, if it is neither code nor a file.

    Parameters
    ----------
    spec : object
    entries : Entries
    """
    if not isinstance(spec, str) or split_code(spec) or os.path.isfile(spec):
        return None
    return entries.get(spec)


def checkpoint_of(spec: object, entries: Entries) -> Checkpoint | None:
    """Open the file behind a specification that is one, or names an entry that is one; None for all others.

    Parameters
    ----------
    spec : object
    entries : Entries

    Raises
    ------
    CheckpointError
        If it cannot be read.
    """
    from transfer.weights.checkpoint import Checkpoint, open_checkpoint

    if isinstance(spec, Checkpoint):
        return spec
    entry = indexed(spec, entries)
    if entry is not None:
        return open_checkpoint(entry["path"]) if entry["path"] else None
    if isinstance(spec, str | os.PathLike) and not split_code(str(spec)) and is_checkpoint(str(spec)):
        return open_checkpoint(spec)
    return None
