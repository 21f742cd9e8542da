"""What a whole network may take: images, tokens, features, sequences, signals, volumes; one or several of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import islice, permutations, product

import torch
from torch import nn

from transfer.tracing.fitting import fitting_size
from transfer.tracing.given import Example

__all__ = ["guesses"]

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

_MOST_WIDTHS = 24
"""Inputs that are tried because some layer that is not the first one reads as much."""

_MOST_KINDS = 8
"""Inputs of which two different ones are tried together."""

_IMAGES = ("pixel_values", "image", "images", "img")
_TOKENS = ("input_ids", "decoder_input_ids", "text", "tokens")
_SPECTROGRAMS = ("input_features",)
_MASKS = ("attention_mask", "decoder_attention_mask")
"""Names of arguments that tell the same, as transformers and others call them."""


def guesses(model: nn.Module) -> Iterator[Example]:
    """Yield what a network may take, the likeliest first.

    Parameters
    ----------
    model : nn.Module

    Yields
    ------
    Example
        A batch of one; tensors that may have any values are on the meta device.
    """
    needed, known = _arguments(model)
    for x in _inputs(model):
        if len(needed) < 2:
            yield Example((x,), {})
        else:  # several of a kind, unless names tell otherwise
            yield Example((), {name: _named(name, x) for name in needed})
    if len(needed) == 2:
        for pair in permutations(islice(_kinds(model), _MOST_KINDS), 2):
            yield Example((), {name: _named(name, x) for name, x in zip(needed, pair, strict=True)})
    if len(known) > 1 and not needed:  # all of them have defaults, which will not do: towers for images and texts
        for side in dict.fromkeys((*_told_sides(model), *_IMAGE_SIDES)):
            image = torch.empty(1, 3, side, side, device="meta")
            yield Example((), {name: _named(name, image) for name in known})
    if not needed:
        yield from _spectrograms(model)


def _spectrograms(model: nn.Module) -> Iterator[Example]:
    """Yield what a network for sound may take: as many frames as its table of places asks for, and words."""
    first = next((part for part in model.modules() if isinstance(part, nn.Conv1d)), None)
    accepted = inspect.signature(model.forward).parameters if first is not None else {}
    if first is None or not any(name in accepted for name in _SPECTROGRAMS):
        return
    places = dict.fromkeys(part.num_embeddings for part in model.modules() if isinstance(part, nn.Embedding))
    words = {name: _tokens() for name in _TOKENS if name in accepted}
    for n_frames in dict.fromkeys(stride * n for n in places for stride in (2, 1)):
        x = torch.empty(1, first.in_channels, n_frames, device="meta")
        yield Example((), {name: x for name in _SPECTROGRAMS if name in accepted} | words)


def _arguments(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the arguments that a network needs, and of those that are known to be images or tokens."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return [], []
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p.name for p in named if p.default is p.empty]
    if len(needed) == 1 and named[0].name != needed[0]:
        needed.insert(0, named[0].name)  # by keyword only, or behind others
    return needed, [p.name for p in named if p.name in (*_IMAGES, *_TOKENS)]


def _named(name: str, x: torch.Tensor) -> torch.Tensor:
    if name in _MASKS:  # with its value: all is to be seen
        return torch.ones(1, _N_TOKENS, dtype=torch.long)
    return _tokens() if name in _TOKENS else x


def _tokens() -> torch.Tensor:
    return torch.empty(1, _N_TOKENS, dtype=torch.long, device="meta")


def _inputs(model: nn.Module) -> Iterator[torch.Tensor]:
    n_inputs = next((p.shape[1] for p in model.parameters() if p.dim() == 4), 3)
    sides = (*_IMAGE_SIDES[:1], *_told_sides(model), *_IMAGE_SIDES[1:])
    first = next((part for part in model.modules() if isinstance(part, _FIRST_LAYERS)), None)
    shapes = list(_of_bare(model)) if first is None else []
    if not isinstance(first, nn.Embedding | nn.Conv1d | nn.Conv3d):
        shapes += [(1, n, side, side) for n, side in product(dict.fromkeys((3, n_inputs, 1)), dict.fromkeys(sides))]
    if isinstance(first, nn.Embedding):
        yield _tokens()
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
    for x in _of_others(model):
        if tuple(x.shape) not in shapes or not x.is_floating_point():
            yield x
    if isinstance(first, nn.Conv1d | nn.Conv2d):
        n_dims = len(first.kernel_size)
        longest = _LONGEST if n_dims == 1 else _LARGEST_SIDE
        fitting = fitting_size(model, lambda size: (1, first.in_channels, *(size,) * n_dims), longest)
        if fitting is not None:
            yield torch.empty(fitting, device="meta")


def _of_others(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield what any layer may take: the first that is registered need not be the first that runs."""
    found: dict[tuple[int, ...], None] = {}
    parts = list(model.modules())
    if any(isinstance(part, nn.Embedding) for part in parts):
        yield _tokens()
        yield torch.empty(1, dtype=torch.long, device="meta")  # one word, one user
    if n_inputs := dict.fromkeys(part.in_channels for part in parts if isinstance(part, nn.Conv2d)):
        found.update(dict.fromkeys((1, n, side, side) for side in _IMAGE_SIDES[:2] for n in (3, *n_inputs)))
    for part in parts:
        if isinstance(part, nn.Linear):
            found.update(dict.fromkeys([(1, part.in_features), (1, _N_TOKENS, part.in_features)]))
        elif isinstance(part, nn.BatchNorm1d):
            found[1, part.num_features] = None
        elif isinstance(part, nn.RNNBase):
            found[1, _N_TOKENS, part.input_size] = None
        elif isinstance(part, nn.Conv1d):
            found[1, part.in_channels, _LENGTHS[0]] = None
        elif isinstance(part, nn.Conv3d):
            found[1, part.in_channels, *(_IMAGE_SIDES[0],) * 3] = None
    for shape in islice(found, _MOST_WIDTHS):
        yield torch.empty(shape, device="meta")


def _kinds(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield inputs to combine, each shape once: for a network with an embedding tokens first."""
    seen: set[tuple[bool, tuple[int, ...]]] = set()
    for x in _of_others(model):
        key = x.is_floating_point(), tuple(x.shape)
        if key not in seen:
            seen.add(key)
            yield x


def _of_bare(model: nn.Module) -> Iterator[tuple[int, ...]]:
    """Shapes that the first of bare parameters may be applied to; images are guessed anyway."""
    weight = next((p for p in model.parameters() if p.dim() > 1), None)
    if weight is not None and weight.dim() == 2:
        for n in dict.fromkeys(weight.shape):
            yield from ((1, n), (1, _N_TOKENS, n))
    elif weight is not None and weight.dim() == 3:
        yield 1, weight.shape[1], 1024


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
