"""Inputs to try a network or a part of it on, and what it makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from transfer.tracing.copies import meta_copy
from transfer.tracing.fitting import fitting_size

__all__ = [
    "MOST_WITH_POOLING",
    "call",
    "examples",
    "is_close",
    "network_examples",
    "network_input",
    "network_inputs",
]

_IMAGE_SIDES = (64, 224, 256, 240, 384, 192, 448, 32, 512, 28, 96, 128, 160, 288, 299, 320, 336, 378, 518, 1024)
"""Heights and widths of images to try: many networks take any, some only the one they were made for."""

_SIZE_NAMES = ("img_size", "image_size", "input_size", "input_resolution")
"""Attributes that tell which that is."""

_LARGEST_SIDE = 2048

_VIDEOS = ((16, 112, 112), (16, 224, 224), (8, 224, 224), (32, 224, 224))
"""Frames, heights and widths of videos to try, after cubes."""
_LENGTHS = (1024, 256, 512, 2048, 4096, 8192, 16000, 32000)
"""Samples of a signal that is given without a dimension for its one channel."""

_LONGEST = 1 << 18
"""Samples of a signal."""

_N_TOKENS = 16

_FIRST_LAYERS = (nn.Embedding, nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""What tells by its kind what a network takes."""

_MOST_PRODUCTS = 10_000_000_000
"""An example that would take more multiplications is not tried: a second of one core or two."""

_LARGEST_EXAMPLE = 5_000_000
"""Elements."""

_MOST_TOKENS = 250_000
"""Elements of a sequence; a block made for images may broadcast one to many times its size."""

MOST_WITH_POOLING = 10 * _MOST_PRODUCTS
"""The same for a stack of layers, most of which see a smaller image."""

_SIDES = (8, 7, 14, 64)
"""Heights and widths to try: windowed attention wants multiples of its window, much pooling a large image."""


def call(module: nn.Module, example: torch.Tensor) -> torch.Tensor | None:
    """Return what a module gives, None if it cannot be called so."""
    try:
        with torch.no_grad():
            result = module(example)
    except (Exception, SystemExit):  # a block that wants other input, or more of it
        return None
    return result if isinstance(result, torch.Tensor) else None


def is_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors of a shape differ by rounding only, and are not all zero."""
    size = float(b.abs().max())
    return size > 0 and torch.allclose(a, b, rtol=1e-4, atol=1e-4 * size)


def network_input(model: nn.Module) -> torch.Tensor | None:
    """Find what a whole network takes: an image, tokens, features, a sequence of them, a signal or a volume.

    Where none of the usual sizes will do, a size is looked for that suits the linear layer behind a flattened map.

    Parameters
    ----------
    model : nn.Module
        On the meta device.

    Returns
    -------
    Tensor or None
        A batch of one, on the meta device.
    """
    other = None
    for example in network_inputs(model):
        result = _result(model, example)
        if result is not None and not (isinstance(result, torch.Tensor) and result.dim() and result.shape[0] > 1):
            return example
        if result is not None and other is None:
            other = example  # as a rule a map too large, viewed as several rows
    return other


def network_inputs(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield what a network may take, on the meta device; the size that it tells comes early."""
    n_inputs = next((p.shape[1] for p in model.parameters() if p.dim() == 4), 3)
    sides = (*_IMAGE_SIDES[:1], *_told_sides(model), *_IMAGE_SIDES[1:])
    first = next((part for part in model.modules() if isinstance(part, _FIRST_LAYERS)), None)
    shapes: list[tuple[int, ...]] = []
    if not isinstance(first, nn.Embedding | nn.Conv1d | nn.Conv3d):
        shapes += [(1, n, side, side) for n, side in product(dict.fromkeys((3, n_inputs, 1)), dict.fromkeys(sides))]
    if isinstance(first, nn.Embedding):
        yield torch.empty(1, _N_TOKENS, dtype=torch.long, device="meta")
    elif isinstance(first, nn.Linear):
        shapes += [(1, first.in_features), (1, _N_TOKENS, first.in_features)]
    elif isinstance(first, nn.Conv1d | nn.Conv3d):
        n_dims = 1 if isinstance(first, nn.Conv1d) else 3
        shapes += [(1, first.in_channels, *(side,) * n_dims) for side in ((256, 1024) if n_dims == 1 else (32, 64))]
        shapes += [(1, first.in_channels, *size) for size in _VIDEOS if n_dims == 3]
    if isinstance(first, nn.Conv1d | nn.Conv2d) and first.in_channels == 1:
        shapes += [(1, length) for length in _LENGTHS]
    for shape in shapes:
        yield torch.empty(shape, device="meta")
    if isinstance(first, nn.Conv1d | nn.Conv2d):
        n_dims = len(first.kernel_size)
        fitting = fitting_size(
            model,
            lambda size: (1, first.in_channels, *(size,) * n_dims),
            _LONGEST if n_dims == 1 else _LARGEST_SIDE,
        )
        if fitting is not None:
            yield torch.empty(fitting, device="meta")


def _told_sides(model: nn.Module) -> Iterator[int]:
    """Sizes of images that a network or its parts say they take, as timm's and others do."""
    for part in model.modules():
        told = [value for name in _SIZE_NAMES if (value := getattr(part, name, None)) is not None]
        config = getattr(part, "default_cfg", None)
        told += [config["input_size"][-1]] if isinstance(config, dict) and "input_size" in config else []
        for value in told:
            side = value[-1] if isinstance(value, tuple | list) and value else value
            if isinstance(side, int) and 0 < side <= _LARGEST_SIDE:
                yield side


def _result(model: nn.Module, example: torch.Tensor) -> object:
    """Return what a network gives, None if it does not run."""
    with suppress(Exception, SystemExit), torch.no_grad():
        return model(example)
    return None


_KNOWN: WeakKeyDictionary[nn.Module, tuple[tuple[torch.Size, ...], torch.Tensor | None]] = WeakKeyDictionary()
"""Inputs found for networks of whose blocks many questions are asked, by the shapes that their parameters had."""


def network_examples(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield what a whole network takes, with values, if running it does not take long."""
    shapes = tuple(parameter.shape for parameter in module.parameters())
    if _KNOWN.get(module, (None,))[0] != shapes:
        _KNOWN[module] = shapes, _affordable_input(meta_copy(module))
    example = _KNOWN[module][1]
    if example is None:
        return
    generator = torch.Generator().manual_seed(1)
    if example.is_floating_point():
        yield torch.rand(example.shape, generator=generator) + 0.1
    else:
        yield torch.randint(0, 2, example.shape, generator=generator)


def _affordable_input(model: nn.Module) -> torch.Tensor | None:
    example = network_input(model)
    if example is None:
        return None
    with FlopCounterMode(display=False) as counter:
        _result(model, example)
    return example if counter.get_total_flops() <= 2 * _MOST_PRODUCTS else None


def examples(block: nn.Module, most: int = _MOST_PRODUCTS) -> Iterator[torch.Tensor]:
    """Positive inputs (an activation may follow the addition): images, volumes and sequences of tokens."""
    n_weights = sum(tensor.numel() for tensor in block.parameters())
    for width, example in _layouts(block):
        if n_weights * (example.numel() // width) <= most and example.numel() <= _LARGEST_EXAMPLE:
            yield example


def _layouts(block: nn.Module) -> Iterator[tuple[int, torch.Tensor]]:
    widths: list[int] = []
    for tensor in block.parameters():
        widths += [n for n in tensor.shape[:2] if n > 1]
    first = next((tensor.shape[1] for tensor in block.parameters() if tensor.dim() > 1), 1)
    generator = torch.Generator().manual_seed(1)
    are_volumes = any(tensor.dim() == 5 for tensor in block.parameters())
    for width in dict.fromkeys([*sorted(set(widths), key=lambda n: -widths.count(n))[:3], first]):
        for side in _SIDES[:2] if are_volumes else ():
            yield width, torch.rand(1, width, side, side, side, generator=generator) + 0.1
        for side in _SIDES:
            yield width, torch.rand(1, width, side, side, generator=generator) + 0.1
            yield width, torch.rand(1, side, side, width, generator=generator) + 0.1
        yield width, torch.rand(1, width, generator=generator) + 0.1
        for length in (16, *sorted(set(widths))[:3]):
            if length * width <= _MOST_TOKENS:
                yield width, torch.rand(1, length, width, generator=generator) + 0.1
