"""The torchvision catalogue: all weights that torchvision registers. Alone asks torchvision for them.

Entries are ``torchvision/ARCHITECTURE.WEIGHTS``, e.g. ``torchvision/resnet50.imagenet1k_v2``
(https://docs.pytorch.org/vision/stable/models.html).
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, Request
from zoo_index.catalogues.description import Description
from zoo_index.errors import CatalogueError, UnknownNameError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CATALOGUE", "PREFIX"]

PREFIX = "torchvision/"

_TASKS = {
    "detection": "object-detection",
    "segmentation": "image-segmentation",
    "video": "video-classification",
    "optical_flow": "optical-flow",
}
"""By the part of torchvision that defines a network; the others classify images."""

_SIDE = 128
"""Of the images that detectors are run on to see what their layers do."""

_LICENSES = {"facebookresearch/SWAG": "cc-by-nc-4.0"}


def version() -> str:
    """Version of the installed torchvision, without importing it; empty if there is none."""
    try:
        return metadata.version("torchvision")
    except metadata.PackageNotFoundError:
        return ""


def entries(_: Request) -> list[CatalogueEntry]:
    """List every registered weight set, the default one of each architecture first."""
    models = _models()
    listed = []
    for name in models.list_models():
        if not name.startswith("quantized_"):
            known = models.get_model_weights(name)
            first = [known.DEFAULT] if len(known) else []
            listed += [_entry(models, name, one) for one in dict.fromkeys([*first, *known])]
    return listed


def build(name: str, *, device: str = "meta") -> nn.Module:
    """Build a network with fresh weights, with the parts that its registered weights have.

    Parameters
    ----------
    name : str
        Of an entry or an architecture.
    device : str
        ``meta`` builds shapes only.

    Raises
    ------
    UnknownNameError
        If torchvision has no such architecture; the message names the nearest ones.
    """
    import torch

    from transfer.tracing.given import give_example
    from zoo_index.catalogues.without_weights import Uninitialised

    models = _models()
    known = name.removeprefix(PREFIX).partition(".")[0]
    if known not in models.list_models():
        near = difflib.get_close_matches(known, models.list_models(), n=3, cutoff=0.5)
        raise UnknownNameError(
            f"expected an architecture of torchvision, got {name!r}, which torchvision {version()} lacks; "
            + (f"did you mean {', '.join(PREFIX + other for other in near)}?" if near else "see: zoo list")
        )
    tag = name.partition(".")[2].upper()
    registered = models.get_model_weights(known)
    weights = registered[tag] if tag in registered.__members__ else registered.DEFAULT
    options = {"aux_logits": True} if known == "googlenet" else {}  # it drops what its weights have
    try:
        with torch.device(device), _as_if_loaded():
            network: Any = models.get_model(known, weights=weights, **options)
    except NotImplementedError:  # RegNets compute their widths with tensors
        with Uninitialised(), _as_if_loaded():
            network = models.get_model(known, weights=weights, **options).to(device)
    part = models.get_model_builder(known).__module__.split(".")[-2]
    if part == "detection":  # they take lists of images, and enlarge them
        if not known.startswith("ssd"):
            network.transform.min_size, network.transform.max_size = (_SIDE,), _SIDE
        give_example(network, ([torch.rand(3, _SIDE, _SIDE, device="cpu")],))
    made: nn.Module = network
    return made


@contextmanager
def _as_if_loaded() -> Iterator[None]:
    """Let torchvision build a network as its weights want it (classes, norms, heads), without loading them."""
    from torch import nn
    from torchvision.models._api import WeightsEnum

    with (
        warnings.catch_warnings(action="ignore"),
        patch.object(WeightsEnum, "get_state_dict", lambda *_, **__: {}),
        patch.object(nn.Module, "load_state_dict", lambda *_, **__: None),
    ):
        yield


def describe_entry(entry: CatalogueEntry) -> Description:
    """Standardize the architecture of an entry on the meta device."""
    from zoo_index.catalogues.description import describe_network

    return describe_network(entry.architecture, build(entry.architecture))


def _entry(models: Any, name: str, weights: Any) -> CatalogueEntry:
    tag = weights.name.lower()
    module = models.get_model_builder(name).__module__.split(".")
    size = getattr(weights.transforms, "keywords", {}).get("crop_size")
    license_ = str(weights.meta.get("license", ""))
    return CatalogueEntry(
        name=f"{PREFIX}{name}.{tag}",
        architecture=PREFIX + name,
        tag=tag,
        family=module[-1],
        license=next((known for part, known in _LICENSES.items() if part in license_), None),
        input_size=f"3x{size}x{size}" if type(size) is int else "",
        n_classes=len(weights.meta.get("categories") or ()),
        url=weights.url,
        task=_TASKS.get(module[-2], "image-classification"),
        dataset=_dataset(tag),
        n_bytes=round(weights.meta["_file_size"] * 2**20) if "_file_size" in weights.meta else None,
    )


def _dataset(tag: str) -> str:
    """Read a data set off a tag, e.g. ``coco`` off ``coco_with_voc_labels_v1``."""
    first = tag.partition("_")[0]
    return {"imagenet1k": "imagenet-1k", "imagenet22k": "imagenet-22k"}.get(first, first)


def _models() -> Any:
    try:
        from torchvision import models
    except ImportError as error:
        raise CatalogueError(
            f"expected torchvision to be importable, got: {error}; pip install torchvision"
        ) from error
    return models


CATALOGUE = Catalogue("torchvision", version, entries, describe_entry, build=build)
