"""The timm catalogue: the only module that knows timm.

timm (https://github.com/huggingface/pytorch-image-models) names weights ``architecture.tag``.
"""

from __future__ import annotations

import difflib
import warnings
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, Request
from zoo_index.catalogues.description import Description
from zoo_index.errors import CatalogueError, UnknownNameError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CATALOGUE", "build", "build_without_weights", "is_architecture"]


def version() -> str:
    """Version of the installed timm, without importing it; empty if there is none."""
    try:
        return metadata.version("timm")
    except metadata.PackageNotFoundError:
        return ""


def entries(_: Request) -> list[CatalogueEntry]:
    """List every pretrained weight set, the default tag of each architecture first.

    Raises
    ------
    CatalogueError
        If timm cannot be imported.
    """
    timm = _timm()
    listed = []
    for name in timm.list_models(pretrained=True):
        config = timm.get_pretrained_cfg(name)
        architecture, _, tag = name.partition(".")
        listed.append(
            CatalogueEntry(
                name=name,
                architecture=architecture,
                tag=tag,
                family=timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2],
                license=config.license,
                input_size="x".join(map(str, config.input_size)),
                n_classes=config.num_classes,
                hub_id=config.hf_hub_id,
                hub_filename=config.hf_hub_filename,
                url=config.url or None,
                task="image-classification" if config.num_classes else "image-feature-extraction",
                dataset=_dataset(tag),
            )
        )
    # a model's first tag is the one timm takes by default
    default = {entry.architecture: timm.get_pretrained_cfg(entry.architecture).tag for entry in listed}
    return sorted(listed, key=lambda e: (e.architecture, e.tag != default[e.architecture], e.name))


_DATASETS = {
    "in1k": "imagenet-1k",
    "in22k": "imagenet-22k",
    "in21k": "imagenet-21k",
    "in12k": "imagenet-12k",
    "laion2b": "laion-2b",
    "laion400m": "laion-400m",
    "lvd142m": "lvd-142m",
    "lvd1689m": "lvd-1689m",
    "cc12m": "cc-12m",
    "yfcc15m": "yfcc-15m",
}
"""As timm abbreviates them in tags."""


def _dataset(tag: str) -> str | None:
    """Read what the weights were trained on last off a tag, e.g. ``imagenet-1k`` off ``augreg_in21k_ft_in1k``."""
    named = [_DATASETS[part] for part in tag.split("_") if part in _DATASETS]
    return named[-1] if named else None


def aliases() -> dict[str, str]:
    """Return what names of earlier versions of timm are called now."""
    listing = getattr(_timm().models, "get_deprecated_models", dict)
    return {name: target for name, target in listing().items() if target}


def is_architecture(name: str) -> bool:
    """Whether timm can build `name`, with or without a tag."""
    timm = _timm()
    return bool(timm.is_model(name.partition(".")[0]))


def build(name: str, *, device: str = "meta", **options: Any) -> nn.Module:
    """Build a network with fresh weights.

    Parameters
    ----------
    name : str
        With or without a tag; a tag brings its number of classes, and its input size where that is fixed.
    device : str
        ``meta`` builds shapes only.
    **options
        Arguments of the architecture; by default its own.

    Raises
    ------
    UnknownNameError
        If timm has no such architecture; the message names the nearest ones.
    """
    import torch

    architecture = name.partition(".")[0]
    if not is_architecture(name):
        near = difflib.get_close_matches(architecture, _timm().list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "see: zoo list"
        raise UnknownNameError(f"expected a timm architecture, got {name!r}, which timm {version()} lacks; {hint}")
    with torch.device(device):
        try:
            model: nn.Module = _timm().create_model(name, pretrained=False, **options)
        except RuntimeError as error:
            if "tag" not in str(error).lower():
                raise
            known = _timm().list_pretrained(f"{architecture}.*")
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "see: zoo list"
            raise UnknownNameError(f"expected a tag that timm {version()} knows, got {name!r}; {hint}") from error
    return model


def build_without_weights(name: str) -> nn.Module:
    """Build a network whose parameters are on the meta device; tables that its code computes have their values.

    Memory of parameters that nothing writes to is never taken, and nothing draws their values.

    Parameters
    ----------
    name : str
        As for `build`.

    Raises
    ------
    UnknownNameError
        As `build`.
    """
    from zoo_index.catalogues.without_weights import Uninitialised, drop_parameters, holds_all_buffers

    network = build(name)
    if holds_all_buffers(network):
        return network
    with Uninitialised():
        return drop_parameters(build(name, device="cpu"))


def describe_entry(entry: CatalogueEntry) -> Description:
    """Standardize the architecture of an entry on the meta device."""
    from zoo_index.catalogues.description import describe_network

    return describe_network(entry.architecture, build(entry.architecture))


@cache
def _timm() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import timm
    except ImportError as error:
        raise CatalogueError(f"expected timm to be importable, got: {error}; pip install timm") from error
    return timm


CATALOGUE = Catalogue("timm", version, entries, describe_entry, aliases, build_without_weights)
