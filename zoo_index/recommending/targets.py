"""The target a user names: ``file.py``, ``file.py:Name``, ``package.module:Name``, a timm name, a checkpoint.

A target file is code and is run; it is only ever one that the user typed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import InputError, TargetError
from transfer.weights.files import check_path
from zoo_index.recommending.target_code import build_from_code

if TYPE_CHECKING:
    from torch import nn

    from transfer.weights.checkpoint import Checkpoint

__all__ = ["build_by_name", "build_target", "is_checkpoint", "is_path", "name_for", "open_target", "split_code"]

_CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".th")


def split_code(spec: str) -> tuple[str, str] | None:
    """Split a specification of code into file or module and name in it (may be empty); None if it is no code."""
    path, _, attribute = spec.rpartition(":")
    if spec.endswith(".py"):
        return spec, ""
    if path and attribute.isidentifier():
        return path, attribute
    return None


def name_for(spec: object) -> str:
    """Return what a target is called in answers: a name in code, a file's name, the class of a network."""
    if isinstance(spec, str | os.PathLike):
        _, attribute = split_code(str(spec)) or ("", "")
        return attribute or Path(spec).name
    file = getattr(spec, "path", None)
    return file.name if isinstance(file, Path) else type(spec).__name__


def open_target(spec: str, example: object = None) -> nn.Module | Checkpoint:
    """Resolve a target for matching; networks are built on the meta device where that works.

    Parameters
    ----------
    spec : str
        Code, a timm name or a checkpoint.
    example : Tensor, tuple, mapping or str, optional
        What the network takes (see `build_target`).

    Raises
    ------
    TargetError
        If it does not lead to exactly one network.
    UnknownNameError
        If it is no file and timm does not know it.
    CheckpointError
        If it is a file that cannot be read.
    InputError
        If there is an example and no network to run on it, or the network refuses it.
    """
    if split_code(spec) is None and is_checkpoint(spec):
        if example is not None:
            raise InputError(
                f"expected a network that can be run on an example input, '{spec}' is a checkpoint; leave the "
                "example (--input) out, or give the code of the network"
            )
        from transfer.weights.checkpoint import open_checkpoint

        return open_checkpoint(spec)
    return build_target(spec, device="meta", example=example)


def build_target(spec: str, *, device: str = "cpu", example: object = None) -> nn.Module:
    """Build the network that a specification names, freshly initialised.

    Parameters
    ----------
    spec : str
        Code or a timm name.
    device : str
        ``meta`` for shapes only; a network that cannot be built there is built on the CPU.
    example : Tensor, tuple, mapping or str, optional
        What the network takes (see `transfer.plan`); by default what a function ``example_input()`` beside it
        returns, if there is one.

    Raises
    ------
    TargetError, UnknownNameError, InputError
        As `open_target`; also for a checkpoint, which has no module to write into.
    """
    check_path(spec)
    code = split_code(spec)
    network = build_from_code(*code, device, example) if code is not None else build_by_name(spec, device)
    if example is not None:
        from transfer.tracing.given import give_example

        give_example(network, example)
    return network


def build_by_name(spec: str, device: str) -> nn.Module:
    """Build the network that timm or torchvision know by a name; nothing else is run.

    Parameters
    ----------
    spec : str
    device : str
        As for `build_target`.

    Raises
    ------
    TargetError
        If it is no name.
    UnknownNameError
        If neither knows it.
    """
    if is_checkpoint(spec):
        raise TargetError(
            f"expected a network to write into, '{spec}' is a checkpoint without a module; "
            "give a Python file that builds it, or a timm name"
        )
    if _of_torchvision(spec):
        from zoo_index.catalogues import torchvision_catalogue

        return torchvision_catalogue.build(spec, device=device)
    _check_not_a_path(spec)
    from zoo_index.catalogues import timm_catalogue

    return timm_catalogue.build(spec, device=device)


def _of_torchvision(spec: str) -> bool:
    return spec.startswith("torchvision/") and not os.path.exists(spec)


def is_checkpoint(spec: str) -> bool:
    """Whether a specification means a file of weights: by its suffix, or because it is a file."""
    return spec.endswith(_CHECKPOINT_SUFFIXES) or os.path.isfile(spec)


def is_path(spec: str) -> bool:
    """Whether a specification can only mean a place on disk, not a name of the index or of timm."""
    return is_checkpoint(spec) or os.path.isdir(spec) or bool(set(spec) & set("/\\"))


def _check_not_a_path(spec: str) -> None:
    if ".py:" in spec:
        raise TargetError(
            f"expected file.py or file.py:Name, got '{spec}'; give the Python name of a class or function"
        )
    if os.path.isdir(spec):
        raise TargetError(f"expected a file or a name as target, '{spec}' is a folder; name the file in it")
    if "/" in spec or "\\" in spec:
        raise TargetError(f"expected a target file, found nothing at '{spec}'; check the path")
