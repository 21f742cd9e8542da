"""What is done to a source tensor before regions of it are copied: resampling, adapting channels.

Every transform is a frozen dataclass, so that plans can be compared and printed, and returns a new tensor of the
dtype and on the device of its argument. What is multiplied by matrices goes through the CPU in double precision,
where neither TF32 nor the order of a device's sums changes it. torch is imported only when one is called, so that
plans can be made without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer.regions import Transform
from transfer.resampling.grids import Grid, Purpose, Size

if TYPE_CHECKING:
    import torch

__all__ = ["AdaptChannels", "Chain", "ResampleGrid", "ResamplePatches"]


@dataclass(frozen=True, slots=True)
class ResampleGrid:
    """Bring a tensor from one grid to another, and into the layout of another tensor.

    Parameters
    ----------
    source, target : Grid
        Of one purpose. The result is laid out like the target, with the channels of the source. Tokens that both
        have are kept in the target's order and are not changed; others are left out.

    Notes
    -----
    ``position`` and ``offset``: bicubic with antialiasing, as usual for ViT (https://arxiv.org/abs/2010.11929) and
    LeViT. ``axis``: linear, as in MViTv2 (https://arxiv.org/abs/2112.01526). ``table``: linear between samples
    that are put at geometrically growing distances from the centre, so that near offsets keep their biases
    (BEiT, https://github.com/microsoft/unilm/tree/master/beit).
    """

    source: Grid
    target: Grid

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        shape = list(self.target.shape)
        shape[self.target.channel_axis] = self.source.n_channels
        if len(self.target.axes) == 1:
            n_kept = sum(len(self._kept(name)) for name in ("before", "after"))
            shape[self.target.axes[0]] = n_kept + self.target.n_places
        return tuple(shape)

    def spans(self) -> tuple[tuple[int, int, int], ...]:
        """Start in the result, start in the target and length of what the result holds of the target's axis."""
        if len(self.target.axes) != 1:
            return ()
        n_before, n_places = len(self.target.before), self.target.n_places
        held = [self.target.before.index(label) for label in self._kept("before")]
        held += range(n_before, n_before + n_places)
        held += [n_before + n_places + self.target.after.index(label) for label in self._kept("after")]
        spans: list[tuple[int, int, int]] = []
        for i, position in enumerate(held):
            if spans and position == spans[-1][1] + spans[-1][2]:
                spans[-1] = (*spans[-1][:2], spans[-1][2] + 1)
            else:
                spans.append((i, position, 1))
        return tuple(spans)

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return the tensor on the target's grid."""
        import torch

        source, target = self.source, self.target
        rows = value.movedim(source.channel_axis, -1).reshape(-1, source.n_channels)
        n_before = len(source.before)
        places = rows[n_before : n_before + source.n_places]
        if source.blocks:
            places = _exchange(places, source, source.shape[source.axes[0]])
        if source.size != target.size:
            plane = places.reshape(*source.size, -1).permute(2, 0, 1)
            plane = _resize(plane, target)
            places = plane.permute(1, 2, 0).reshape(target.n_places, -1)
        if target.blocks:
            places = _exchange(places, target, target.shape[target.axes[0]], inverse=True)
        before = rows[[source.before.index(label) for label in self._kept("before")]]
        after = rows[n_before + source.n_places :][[source.after.index(label) for label in self._kept("after")]]
        rows = torch.cat([before, places, after])
        shape = list(self.shape)
        n_channels = shape.pop(target.channel_axis)
        return rows.reshape(*shape, n_channels).movedim(-1, target.channel_axis).contiguous()

    def _kept(self, name: str) -> list[str]:
        """Labels of the tokens that both have, in the target's order; only a single axis has any."""
        known = getattr(self.source, name)
        return [label for label in getattr(self.target, name) if label in known]


@dataclass(frozen=True, slots=True)
class ResamplePatches:
    """Resize the kernels of a patch embedding so that resized patches are embedded alike.

    Parameters
    ----------
    size : tuple of int
        Height and width of the new kernel.

    Notes
    -----
    With B the matrix that resizes a patch, the new kernel is the least-squares solution of B' w = kernel
    (FlexiViT, https://arxiv.org/abs/2212.08013). Bicubic resizing treats rows and columns separately, so
    their two small pseudo-inverses are enough.
    """

    size: Size

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return (outputs, inputs, height, width) with kernels of the new size."""
        import torch

        rows, columns = (
            torch.linalg.pinv(_line_matrix(old, new)) for old, new in zip(value.shape[-2:], self.size, strict=True)
        )
        return _between(rows.T, value, columns)


@dataclass(frozen=True, slots=True)
class AdaptChannels:
    """Let a layer that reads the image read another number of channels.

    Parameters
    ----------
    n_inputs : int
        New size of the second dimension.
    n_groups : int
        Number of equal groups of inputs that are adapted one by one: pixels of an image that was rearranged by
        space to depth.

    Notes
    -----
    One channel: the sum over all. Otherwise the channels are repeated cyclically and scaled by old / new, which is
    how timm adapts three. A grey image then gives the response that it gave before, exactly so for one channel and
    for multiples of the old number, else as far as the channels have alike weights.
    """

    n_inputs: int
    n_groups: int = 1

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return (outputs, new inputs, ...)."""
        import torch

        wide = _wide(value)
        n_old, n_new = wide.shape[1] // self.n_groups, self.n_inputs // self.n_groups
        grouped = wide.reshape(wide.shape[0], self.n_groups, n_old, *wide.shape[2:])
        if n_new == 1:
            adapted = grouped.sum(2, keepdim=True)
        else:
            order = torch.arange(n_new, device=value.device) % n_old
            adapted = grouped[:, :, order] * (n_old / n_new)
        return adapted.reshape(wide.shape[0], self.n_inputs, *wide.shape[2:]).to(value.dtype)


@dataclass(frozen=True, slots=True)
class Chain:
    """Several transforms, one after another.

    Parameters
    ----------
    transforms : tuple of Transform
    """

    transforms: tuple[Transform, ...]

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return the result of the last one."""
        for transform in self.transforms:
            value = transform(value)
        return value


def _wide(value: torch.Tensor) -> torch.Tensor:
    """At least single precision."""
    import torch

    return value if value.dtype == torch.float64 else value.float()


def _resize(plane: torch.Tensor, target: Grid) -> torch.Tensor:
    """Resize (channels, height, width) in the manner of the purpose of the grid."""
    rows = _line_matrix(plane.shape[1], target.size[0], target.purpose)
    columns = _line_matrix(plane.shape[2], target.size[1], target.purpose)
    return _between(rows, plane, columns.T)


def _between(left: torch.Tensor, value: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Multiply from both sides, (..., height, width), in double precision; returned as `value` was given."""
    if value.is_meta:  # shapes alone
        return value.new_empty((*value.shape[:-2], left.shape[0], right.shape[1]))
    product: torch.Tensor = left @ value.to("cpu", left.dtype) @ right
    return product.to(value)


def _exchange(places: torch.Tensor, grid: Grid, n_blocks: int, *, inverse: bool = False) -> torch.Tensor:
    """Bring (places, channels) from the order of blocks to the order of rows, or back."""
    across = round(n_blocks**0.5)
    inside = grid.size[0] // across
    sides = (across, inside, across, inside) if inverse else (across, across, inside, inside)
    return places.reshape(*sides, -1).transpose(1, 2).reshape(grid.n_places, -1)


def _line_matrix(old: int, new: int, purpose: Purpose = "position") -> torch.Tensor:
    """Matrix, (new, old), in double precision, that resizes a line of `old` samples to `new`."""
    import torch
    from torch.nn import functional

    if purpose == "table":
        return _geometric_matrix(old, new)
    is_linear = purpose == "axis"
    mode = "bilinear" if is_linear else "bicubic"
    lines = torch.eye(old, dtype=torch.float32)[None, None]  # an image whose rows have one lit sample each
    resized = functional.interpolate(lines, (old, new), mode=mode, align_corners=False, antialias=not is_linear)
    return resized[0, 0].T.double()


def _geometric_matrix(old: int, new: int) -> torch.Tensor:
    """Weights, (new, old), of the old samples in the new ones; both odd, with offset 0 in the middle.

    Sample k from the centre is put at 1 + q + ... + q^(k-1), with q such that the outermost one comes to lie at
    the outermost new offset; q is bounded, and beyond the outermost sample the value stays.
    """
    import torch

    n, reach = old // 2, new // 2
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        q = (low + high) / 2
        low, high = (low, q) if _reach(q, n) > reach else (q, high)
    places = torch.tensor([_sign(k) * _reach(q, abs(k)) for k in range(-n, n + 1)], dtype=torch.float64)
    wanted = torch.arange(-reach, reach + 1, dtype=torch.float64).clamp(float(places[0]), float(places[-1]))
    right = torch.searchsorted(places, wanted).clamp(1, max(old - 1, 1))
    matrix = torch.zeros(new, old, dtype=torch.float64)
    if old == 1:
        return matrix + 1
    share = (wanted - places[right - 1]) / (places[right] - places[right - 1])
    rows = torch.arange(new)
    matrix[rows, right - 1] = 1 - share
    matrix[rows, right] = share
    return matrix


def _reach(q: float, n: int) -> float:
    return (1 - q**n) / (1 - q)


def _sign(k: int) -> int:
    return (k > 0) - (k < 0)
