"""Structure of a checkpoint whose folder tells its configuration: the only module that knows transformers.

Hubs keep a ``config.json`` beside the weights. If transformers is installed and has the class that it names, the
network is built on the meta device, and its order is that of the file. Nothing in the folder is executed, and
nothing is fetched.
"""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.structure.headers import header_of
from transfer.structure.order import read_like
from zoo_index.errors import CatalogueError, UnknownNameError

if TYPE_CHECKING:
    from torch import nn

    from transfer.structure.records import Architecture
    from transfer.weights.checkpoint import Checkpoint

__all__ = ["default_network", "known_networks", "structure_beside"]

_TASKS = {
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES": "text-generation",
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES": "fill-mask",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES": "text2text-generation",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES": "automatic-speech-recognition",
    "MODEL_FOR_CTC_MAPPING_NAMES": "automatic-speech-recognition",
    "MODEL_MAPPING_NAMES": "feature-extraction",
}
"""What the library's lists of networks are for, in the words of its hub."""

_MOST_TENSORS = 20_000
"""Of a network at its default size."""

_MAX_CONFIG = 1_000_000
"""Bytes; configurations are small."""


_REPEATED = ("layer", "block", "depth", "expert", "stage")
_FEW = 1000
"""Parts that a network builds in no time, whatever they are."""

_MOST_LABELS, _MOST_NUMBER = 1_000_000, 100_000_000
"""More are refused: the library may count up to them."""


def structure_beside(checkpoint: Checkpoint) -> tuple[nn.Module | Architecture | None, str]:
    """Build the network that the configuration beside a checkpoint describes.

    Parameters
    ----------
    checkpoint : Checkpoint

    Returns
    -------
    structure : nn.Module, Architecture or None
        The network itself if its tensors are called as in the file, else what the file is in its order; None if
        there is no configuration, or it is of no use.
    note : str
        Why a configuration is of no use; empty if there is none, or it is.
    """
    path = checkpoint.path.parent / "config.json"
    if checkpoint.is_ordered or not os.path.isfile(path):
        return None, ""
    module, reason = _build(path, len(checkpoint.header))
    if module is None:
        return None, f"config.json beside the weights was left out: {reason}"
    header = header_of(module)
    if {n: s.shape for n, s in header.items()} == {n: s.shape for n, s in checkpoint.header.items()}:
        return module, ""
    shapes = [Counter(signature.shape for signature in names.values()) for names in (checkpoint.header, header)]
    architecture, is_sure = read_like(checkpoint.header, header)
    if not is_sure or shapes[0] - shapes[1]:
        return None, "config.json beside the weights was left out: its network has other tensors"
    return architecture, ""


def _build(path: Path, n_tensors: int) -> tuple[nn.Module | None, str]:
    try:
        config = json.loads(path.read_bytes()) if path.stat().st_size <= _MAX_CONFIG else None
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return None, "it describes no network of transformers"
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    if config.get("use_pretrained_backbone") or _is_huge(config, n_tensors):
        return None, "it does not suit the file"
    try:
        with _at_most(4 * n_tensors + _FEW):
            return _network(config, name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the library raises: the file speaks for itself
        return None, f"transformers raised {type(error).__name__}"


def _is_huge(config: object, n_tensors: int, key: str = "") -> bool:
    """Whether more layers are asked for than the file can have, or a number that no network has."""
    if isinstance(config, dict):
        return any(_is_huge(value, n_tensors, str(name)) for name, value in config.items())
    if isinstance(config, list):
        return any(_is_huge(value, n_tensors, key) for value in config)
    if type(config) is not int:
        return False
    if any(word in key for word in _REPEATED):
        return config > max(n_tensors, _FEW)
    return config > (_MOST_LABELS if "labels" in key else _MOST_NUMBER)


@contextmanager
def _at_most(n: int) -> Iterator[None]:
    """Let nothing build more parameters and modules than that: a file of a few bytes can ask for any number."""
    from torch.nn.modules import module

    left = n

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError("more parts than the file has tensors for")

    kinds = (module.register_module_parameter_registration_hook, module.register_module_module_registration_hook)
    hooks = [register(count) for register in kinds]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _network(config: dict[str, Any], name: str) -> tuple[nn.Module | None, str]:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import transformers
    except ImportError:
        return None, "transformers is not installed"
    kinds = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    made = getattr(transformers, name, None)
    if config["model_type"] not in kinds or not isinstance(made, type):
        return None, f"transformers has no {name or config['model_type']!r}"
    if not issubclass(made, transformers.PreTrainedModel):
        return None, f"{name!r} is no network"
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        network: nn.Module = made(kinds[config["model_type"]].from_dict(_without_kernels(config)))
    return network, ""


def _without_kernels(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out who computes: the library can fetch what a configuration names for that, and run it."""
    return {
        key: _without_kernels(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if "implementation" not in key
    }


def known_networks() -> dict[str, tuple[str, str]]:
    """List the networks that the library can build: class, and of what kind it is and what it is for.

    Raises
    ------
    CatalogueError
        If transformers cannot be imported.
    """
    lists = _lists()
    found: dict[str, tuple[str, str]] = {}
    for listed, task in _TASKS.items():
        for kind, names in getattr(lists, listed, {}).items():
            for name in names if isinstance(names, tuple | list) else (names,):
                found.setdefault(str(name), (str(kind), task))
    return found


def default_network(name: str) -> nn.Module:
    """Build a network of the library on the meta device, at its default size.

    Parameters
    ----------
    name : str
        Of its class.

    Raises
    ------
    UnknownNameError
        If the library has no such network.
    CatalogueError
        If it is larger than a structure needs.
    """
    import torch
    import transformers

    known = known_networks().get(name)
    if known is None:
        raise UnknownNameError(f"expected a network of transformers, got {name!r}; see: zoo list")
    made = getattr(transformers, name)
    # a part of a model that reads and sees has a configuration of its own
    kinds = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    config = (getattr(made, "config_class", None) or kinds[known[0]])()
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        network: nn.Module = made(config)
    n_tensors = sum(1 for _ in network.parameters())
    if n_tensors > _MOST_TENSORS:
        raise CatalogueError(f"expected at most {_MOST_TENSORS:,} tensors, {name} has {n_tensors:,}")
    return network


def _lists() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from transformers.models.auto import modeling_auto
    except ImportError as error:
        raise CatalogueError(
            f"expected transformers to be importable, got: {error}; pip install transformers"
        ) from error
    return modeling_auto
