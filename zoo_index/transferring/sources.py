"""Open a source for a transfer: its weights, and the structure that the weights alone do not tell."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfer.errors import InputError, MethodError
from transfer.structure.headers import header_of
from transfer.weights.checkpoint import Checkpoint, open_checkpoint
from transfer.weights.renaming import named_like
from zoo_index.catalogues.catalogue import open_catalogue
from zoo_index.database.entries import Entry
from zoo_index.errors import NothingFoundError, UnknownNameError
from zoo_index.hub.fetching import fetch
from zoo_index.recommending.answers import Filters
from zoo_index.recommending.targets import build_target, is_checkpoint, is_path, split_code

if TYPE_CHECKING:
    from torch import nn

    from transfer.structure.records import Architecture

__all__ = ["Place", "Source", "check_sources", "find_source", "open_source", "structure_of"]


@dataclass(frozen=True)
class Place:
    """Where a source lies, its weights at hand.

    Parameters
    ----------
    name : str
    path : str
        Of the file, or the index of several.
    entry : mapping or None
        What the index knows of it; None for a file that the user named.
    code : str
        Of the network whose weights the file holds, where the user named it: it is run to build that network.
    """

    name: str
    path: str
    entry: Mapping[str, Any] | None = None
    code: str = ""


@dataclass(frozen=True)
class Source:
    """What a transfer reads from.

    Parameters
    ----------
    name : str
    checkpoint : Checkpoint
    structure : nn.Module, Architecture or None
        The network, its parameters on the meta device; None where the checkpoint speaks for itself.
    note : str
        What was taken of the file, and what could not be used; empty if there is nothing to say.
    """

    name: str
    checkpoint: Checkpoint
    structure: nn.Module | Architecture | None
    note: str = ""


def check_sources(
    named: Sequence[str | os.PathLike[str]],
    n: int,
    method: str,
    *,
    weights: object = None,
    ema: bool = False,
    state: str | None = None,
) -> None:
    """Refuse what cannot be asked for with several sources.

    Parameters
    ----------
    named : sequence of str or path
        The sources that the user named.
    n : int
        How many there may be in all.
    method : {'dpiat', 'paper'}
    weights, ema, state
        What goes with one source only.

    Raises
    ------
    InputError
        If one of them was given with several, or there are more names than sources.
    MethodError
        If the method knows one source only.
    """
    if n < 1:
        raise InputError(f"expected at least one source, got sources={n}; leave it out for one")
    if n < len(named):
        raise InputError(f"expected at most {n} sources, got {len(named)} names; give a larger --sources")
    if n == 1:
        return
    if method != "dpiat":
        raise MethodError(
            f"expected one source with method {method!r}, got {n}; take method 'dpiat', or one source"
        )
    alone = {"--weights": weights is not None, "--ema": ema, "--state": state is not None}
    given = ", ".join(option for option, is_given in alone.items() if is_given)
    if given:
        raise InputError(f"expected one source with {given}, got {n}; name files as sources, or take one source")


def find_source(
    source: str | os.PathLike[str],
    filters: Filters,
    find: Callable[[str], Entry],
    weights: str | os.PathLike[str] | None,
) -> Place:
    """Find a checkpoint, or the weights of an entry, downloading them if need be; nothing is read yet.

    Parameters
    ----------
    source : str or path
        A checkpoint, the name of an entry or architecture, or code, such as ``net.py:Net``.
    filters : Filters
        What the entry must be.
    find : callable
        Returns the entry of a name.
    weights : path, optional
        File with the weights of the entry, or of the code.

    Raises
    ------
    InputError
        If weights or filters are given for a file, or none for code.
    NothingFoundError
        If the entry does not pass the filters.
    WeightsUnavailableError
        If the weights cannot be had.
    """
    if split_code(str(source)) is not None:
        return _weights_of_code(str(source), filters, weights)
    entry = None if os.path.exists(source) or is_checkpoint(str(source)) else _entry(str(source), find)
    if entry is None:
        if weights is not None:
            raise InputError(
                f"expected an entry of the index, or code (net.py:Net), with --weights, '{source}' is a file; "
                "leave --weights out"
            )
        if filters != Filters():
            raise InputError(
                f"expected an entry of the index with filters ({filters.describe()}), '{source}' is a file, of "
                "which nothing is known; leave the filters out"
            )
        return Place(str(source), str(source))
    if not filters.admits(entry) or (filters.available and not (entry["available"] or weights)):
        raise NothingFoundError(
            f"expected a source that passes the filters ({filters.describe()}), {entry['name']!r} does not"
        )
    return Place(str(entry["name"]), str(weights if weights is not None else fetch(entry)), entry)


def _weights_of_code(code: str, filters: Filters, weights: str | os.PathLike[str] | None) -> Place:
    if weights is None:
        raise InputError(
            f"expected the weights of '{code}', which is code; give the file that holds them: --weights FILE"
        )
    if filters != Filters():
        raise InputError(
            f"expected an entry of the index with filters ({filters.describe()}), '{code}' is code, of which "
            "nothing is known; leave the filters out"
        )
    return Place(code, str(weights), code=code)


def _entry(name: str, find: Callable[[str], Entry]) -> Entry | None:
    """Find an entry; None if there is none and the name can as well be a path, where there is nothing."""
    try:
        return find(name)
    except UnknownNameError:
        if is_path(name):
            return None
        raise


def open_source(place: Place, *, ema: bool = False, state: str | None = None) -> Source:
    """Read the header of a source and, where the file does not tell it, the structure.

    Parameters
    ----------
    place : Place
    ema, state
        Which weights of the file to take (see `open_checkpoint`).

    Raises
    ------
    InputError
        If the weights are not those of the entry.
    CheckpointError
        If the file cannot be read.
    TargetError
        If the code cannot be run.
    """
    checkpoint = open_checkpoint(place.path, ema=ema, state=state)
    structure: nn.Module | Architecture | None = None
    note = ""
    if place.code:
        structure = _built(place.code, checkpoint)
    elif place.entry is not None:
        structure = structure_of(place.entry, checkpoint)
    if structure is None:
        from zoo_index.catalogues.transformers_structure import structure_beside

        structure, note = structure_beside(checkpoint)
    return Source(place.name, checkpoint, structure, "; ".join(filter(None, (checkpoint.note, note))))


def _built(code: str, checkpoint: Checkpoint) -> nn.Module:
    """Build the network that a file is said to hold the weights of, and check that it does."""
    from zoo_index.catalogues.without_weights import drop_parameters, holds_all_buffers

    module = build_target(code, device="meta")
    if not holds_all_buffers(module):  # tables that it computes: they need values for its function to be compared
        module = drop_parameters(build_target(code))
    _, missing = named_like(checkpoint, module)
    if missing:
        shape, found = header_of(module)[missing].shape, checkpoint.header.get(missing)
        got = "no tensor of that name" if found is None else f"one of shape {found.shape}"
        raise InputError(
            f"expected the weights of '{code}', with {missing!r} of shape {shape}, '{checkpoint.path}' has {got}; "
            "name the code that made the file, or take the file alone: --source FILE"
        )
    return module


def structure_of(entry: Mapping[str, Any], checkpoint: Checkpoint) -> nn.Module | None:
    """Build the network of an entry whose catalogue has its code: a file need not keep the order of layers.

    None for an entry that has none; then the file speaks for itself.

    Raises
    ------
    InputError
        If the file does not hold tensors of the entry's shapes, so that it cannot be its weights.
    """
    build = open_catalogue(entry["catalogue"]).build
    module = build(entry["name"]) if build is not None else None
    if module is None and not os.path.isfile(entry["path"] or ""):
        return None
    network = module if module is not None else open_checkpoint(entry["path"])
    expected = {name: signature.shape for name, signature in header_of(network).items()}
    found = {name: signature.shape for name, signature in checkpoint.header.items()}
    if module is not None and found == expected:
        return module
    if sorted(found.values()) != sorted(expected.values()):
        raise InputError(
            f"expected the weights of {entry['name']!r} ({len(expected)} tensors), '{checkpoint.path}' holds "
            f"{len(found)} tensors of other shapes; to use it as a source of its own: --source FILE"
        )
    return None
