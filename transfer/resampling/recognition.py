"""Which source tensors are resampled instead of cropped, and into what: decided from headers alone.

Position embeddings, tables of relative positions, patch embeddings, layers that read the image, kernels of other
dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transfer.rearrangement import without_ones
from transfer.regions import Fill, Region, Transform
from transfer.resampling.dimensions import dimension_change
from transfer.resampling.grids import Size, find_grid
from transfer.resampling.inputs import is_patch_kernel, pixels_beside, read_the_image
from transfer.resampling.transforms import AdaptChannels, Chain, ResampleGrid, ResamplePatches
from transfer.structure.records import Architecture, Layer, Tensor

__all__ = ["Geometry", "Resampling", "resampling"]

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
        What is done, in words; empty if nothing but the shape changes.
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
        return replace(fill, operator=self.operator or fill.operator, regions=regions)


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
    keeps_channels: bool = False,
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
    keeps_channels : bool
        Whether the channels of the image are none of its concern.

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
        if without_ones(source.shape) == without_ones(target.shape):
            return None
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
    if source.role == target.role == "weight" and len(source.shape) > 2 and len(target.shape) > 2:
        steps = _Steps(source.shape)
        change = dimension_change(source.shape, target.shape, source_layer, target_layer)
        if change is not None:
            steps.add(*change)
        elif source_layer.kind != target_layer.kind:
            return None
        if read_the_image(source_layer, target_layer, (source_architecture, target_architecture)):
            strides = source_geometry.stride, target_geometry.stride
            _adapt_to_image(steps, target.shape, *strides, keeps_channels=keeps_channels)
        return steps.result()
    return None


class _Steps:
    """Transforms of a kernel, one after another."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._transforms: list[Transform] = []
        self._operators: list[str] = []

    def add(self, transform: Transform, shape: tuple[int, ...], operator: str) -> None:
        self.shape = shape
        self._transforms.append(transform)
        self._operators += [operator] if operator else []

    def result(self) -> Resampling | None:
        if not self._transforms:
            return None
        transform = self._transforms[0] if len(self._transforms) == 1 else Chain(tuple(self._transforms))
        return Resampling(transform, self.shape, ", ".join(self._operators))


def _adapt_to_image(
    steps: _Steps,
    target: tuple[int, ...],
    source_stride: Size | None,
    target_stride: Size | None,
    *,
    keeps_channels: bool,
) -> None:
    """Adapt channels and resize patches of a layer that reads the image.

    Any other kernel keeps its middle. One that grows then computes at every pixel what it computed, while resized
    it would do so only on images of another resolution; for one that shrinks see docs/quality.md, "What was tried".
    """
    n_channels = steps.shape[1]
    if n_channels != target[1] and not keeps_channels:
        adapt = AdaptChannels(target[1], pixels_beside(n_channels, target[1]))
        steps.add(adapt, (steps.shape[0], target[1], *steps.shape[2:]), "adapt input channels")
    patches = (steps.shape[2:], source_stride), (target[2:], target_stride)
    if steps.shape[2:] != target[2:] and all(_is_patch(*patch) for patch in patches):
        height, width = target[-2:]
        steps.add(ResamplePatches((height, width)), (*steps.shape[:-2], height, width), "resample patches")


def _is_patch(size: tuple[int, ...], stride: Size | None) -> bool:
    """Whether height and width of a kernel are those of a patch; patches of a video have a length as well."""
    return is_patch_kernel(size[-2:], stride)


def _moved(region: Region, axis: int, start: int, target_start: int, size: int) -> Region:
    def put(values: tuple[int, ...], value: int) -> tuple[int, ...]:
        return (*values[:axis], value, *values[axis + 1 :])

    return replace(
        region,
        source_start=put(region.source_start, start),
        target_start=put(region.target_start, target_start),
        size=put(region.size, size),
    )
