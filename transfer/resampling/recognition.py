"""Which source tensors are resampled instead of cropped, and into what: decided from headers alone.

Position embeddings, tables of relative positions, patch embeddings, layers that read the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

from transfer.regions import Fill, Region, Transform
from transfer.resampling.grids import Size, find_grid
from transfer.resampling.inputs import is_patch_kernel, read_the_image
from transfer.resampling.transforms import AdaptChannels, Chain, ResampleGrid, ResamplePatches
from transfer.structure.records import Architecture, Layer, Tensor

__all__ = ["Geometry", "Resampling", "resampling"]

_PIXELS = (16, 4)
"""Pixels that space to depth makes one of, as in TResNet (https://arxiv.org/abs/2003.13630)."""

_OPERATORS = {
    "position": "resample positions",
    "table": "resample relative positions",
    "axis": "resample relative positions",
    "offset": "resample relative positions",
}


@dataclass(frozen=True, slots=True)
class Geometry:
    """What headers do not tell of a tensor, where the caller knows it, e.g. from a live module.

    Parameters
    ----------
    grid : tuple of int, optional
        Height and width of the grid of a position embedding, or of the window of a table; square by default.
    stride : tuple of int, optional
        Of the convolution.
    """

    grid: Size | None = None
    stride: Size | None = None


_UNKNOWN = Geometry()


@dataclass(frozen=True, slots=True)
class Resampling:
    """How a source tensor is brought to the spatial size of a target tensor.

    Parameters
    ----------
    transform : Transform
    shape : tuple of int
        Of the transform's result: the target's in space, the source's in channels.
    operator : str
        What is done, in words.
    axis : int
        The axis of `spans`.
    spans : tuple of (int, int, int)
        Start in the result, start in the target, length: where the parts of the result belong if the two axes do
        not start together, because the source lacks tokens of the target. Empty if everything starts at 0.
    """

    transform: Transform
    shape: tuple[int, ...]
    operator: str
    axis: int = 0
    spans: tuple[tuple[int, int, int], ...] = ()

    def result(self, source: Tensor) -> Tensor:
        """Header of the result, to choose regions of it as of any tensor."""
        return replace(source, shape=self.shape)

    def adjust(self, fill: Fill) -> Fill:
        """Name the operator of a fill with leading channels, and put the parts of its regions where they belong."""
        regions = fill.regions
        if self.spans:
            regions = tuple(_moved(region, self.axis, *span) for region in regions for span in self.spans)
        return replace(fill, operator=self.operator, regions=regions)


def resampling(
    source: Tensor,
    target: Tensor,
    source_layer: Layer,
    target_layer: Layer,
    source_architecture: Architecture,
    target_architecture: Architecture,
    *,
    source_geometry: Geometry = _UNKNOWN,
    target_geometry: Geometry = _UNKNOWN,
) -> Resampling | None:
    """Tell how a source tensor is to be resampled for a target tensor.

    Parameters
    ----------
    source, target : Tensor
        Of equal role in two matched layers.
    source_layer, target_layer : Layer
        The layers they belong to.
    source_architecture, target_architecture : Architecture
        The architectures those belong to, in ``dpiat`` form.
    source_geometry, target_geometry : Geometry

    Returns
    -------
    Resampling or None
        None if the shapes agree or cropping is right.
    """
    if source.shape == target.shape or not (source.is_continuous and target.is_continuous):
        return None
    if 0 in source.shape or 0 in target.shape or "complex" in source.dtype + target.dtype:
        return None
    if source_layer.kind.startswith("parameter:") and target_layer.kind.startswith("parameter:"):
        a = find_grid(source, source_architecture, source_geometry.grid)
        b = find_grid(target, target_architecture, target_geometry.grid)
        if a is None or b is None or a.purpose != b.purpose:
            return None
        if replace(a, shape=b.shape) == b:  # they differ in channels alone
            return None
        made = ResampleGrid(a, b)
        is_whole = len(b.axes) > 1 or made.shape[b.axes[0]] == b.shape[b.axes[0]]
        spans = () if is_whole else made.spans()
        return Resampling(made, made.shape, _OPERATORS[b.purpose], b.axes[0], spans)
    if source.role == target.role == "weight" and source_layer.kind == target_layer.kind and len(source.shape) > 2:
        is_input = read_the_image(source_layer, target_layer, (source_architecture, target_architecture))
        return _kernel_resampling(source, target, is_input, source_geometry, target_geometry)
    return None


def _kernel_resampling(
    source: Tensor, target: Tensor, is_input: bool, source_geometry: Geometry, target_geometry: Geometry
) -> Resampling | None:
    """Adapt channels and resize patches of a layer that reads the image.

    Any other kernel keeps its middle. One that grows then computes at every pixel what it computed, while resized
    it would do so only on images of another resolution; for one that shrinks see docs/quality.md, "What was tried".
    """
    if not is_input:
        return None
    steps: list[tuple[Transform, str]] = []
    shape = list(source.shape)
    if shape[1] != target.shape[1]:
        shape[1] = target.shape[1]
        groups = _n_groups(source.shape[1], target.shape[1])
        steps.append((AdaptChannels(target.shape[1], groups), "adapt input channels"))
    patches = (source.shape[2:], source_geometry.stride), (target.shape[2:], target_geometry.stride)
    if source.shape[2:] != target.shape[2:] and all(is_patch_kernel(*patch) for patch in patches):
        _, _, *shape[2:] = target.shape
        steps.append((ResamplePatches((shape[2], shape[3])), "resample patches"))
    if not steps:
        return None
    transforms = tuple(transform for transform, _ in steps)
    transform = transforms[0] if len(transforms) == 1 else Chain(transforms)
    return Resampling(transform, tuple(shape), ", ".join(name for _, name in steps))


def _n_groups(a: int, b: int) -> int:
    """Pixels that stand side by side in the channels: such a number divides both, and one side is RGB."""
    return next((n for n in _PIXELS if gcd(a, b) % n == 0 and 3 * n in (a, b) and max(a, b) <= 4 * n), 1)


def _moved(region: Region, axis: int, start: int, target_start: int, size: int) -> Region:
    def put(values: tuple[int, ...], value: int) -> tuple[int, ...]:
        return (*values[:axis], value, *values[axis + 1 :])

    return replace(
        region,
        source_start=put(region.source_start, start),
        target_start=put(region.target_start, target_start),
        size=put(region.size, size),
    )
