"""Runs a network on tensors without values and finds where every channel is from.

Each output channel of a layer that mixes channels gets a number. Whatever moves elements (views, concatenations,
splits, permutations) is done to the shadow as to the tensor; what works element by element hands the shadow on, and
where two tensors meet in it, channel by channel, their numbers become one: residual partners, gates, norms, layer
scales. So for every layer it is known, channel by channel, what it reads, writes and scales.

The same groups are what structured pruning looks for (DepGraph, arXiv 2301.12900), there by following gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from transfer.tracing.numbers import Numbers, broadcast, can_expand, cost, is_spread_over, placed

__all__ = ["Shadows"]

# fmt: off
_MOVES = {
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "cat", "clone", "constant_pad_nd", "detach",
    "diagonal", "expand", "flip", "native_channel_shuffle", "permute", "pixel_shuffle", "pixel_unshuffle",
    "reflection_pad2d", "repeat", "replication_pad2d", "roll", "select", "slice", "split", "split_with_sizes",
    "squeeze", "stack", "t", "transpose", "unbind", "unfold", "unsqueeze", "view",
}
"""Operations that only say where elements go; to a shadow they are done as they are."""

_REDUCTIONS = {"amax", "amin", "linalg_vector_norm", "max", "mean", "min", "prod", "std", "sum", "var"}
_PRODUCTS = {"addmm", "baddbmm", "bmm", "mm"}
_NORMS = {
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm",
    "native_group_norm", "native_layer_norm",
}
# fmt: on
_POOLS = ("upsample", "max_pool", "_adaptive", "adaptive")


class Shadows(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own class has no annotations
    """Follows channels while a network runs, as a rule on the meta device.

    Parameters
    ----------
    parameters : mapping of str to Tensor
        Parameters and buffers of the network by name.
    given : sequence of Tensor
        What the network will be run on. Channels of images have numbers: some networks read them more than once.

    Attributes
    ----------
    reads, writes : dict of str to Tensor
        Number of each input channel, and of each output channel, by the name of the weight that mixes them.
    along : dict of str to Tensor
        Number of each channel that a tensor works on one by one: norms, depthwise convolutions, layer scales, and
        along their last dimension tokens and position embeddings.
    attended : list of Tensor
        Numbers of channels that a product of two activations sums over: queries and keys.
    attentions : list of (Tensor, Tensor, Tensor)
        Numbers of queries, keys and values as they were written, of shape (heads, channels).
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], given: Sequence[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads: dict[str, torch.Tensor] = {}
        self.writes: dict[str, torch.Tensor] = {}
        self.along: dict[str, torch.Tensor] = {}
        self.attended: list[torch.Tensor] = []
        self.attentions: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self._scored: tuple[torch.Tensor, torch.Tensor] | None = None
        self.numbers = Numbers()
        self._weights: Any = WeakIdKeyDictionary()  # tensors that are a layer's weight, however prepared
        self._shadow: Any = WeakIdKeyDictionary()
        for name, tensor in parameters.items():
            self._weights[tensor] = name
            if 1 < tensor.numel() == max(tensor.shape):
                self.along[name] = self.numbers.new(tensor.numel())
                self._shadow[tensor] = self.along[name].view(tensor.shape)
            elif tensor.numel() > 1:
                # a weight has its outputs first; tokens and position embeddings have channels last
                axis = 0 if name.rpartition(".")[2].endswith("weight") else tensor.dim() - 1
                numbers = self.numbers.new(tensor.shape[axis])
                self._shadow[tensor] = placed(numbers, axis, tensor)
                if axis:
                    self.along[name] = numbers
        for image in given:
            if image.dim() == 4:
                self._shadow[image] = placed(self.numbers.new(image.shape[1]), 1, image)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do an operation, and to the shadows of its operands what it does to them."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        shadow = self._follow(func.overloadpacket.__name__, func, args, kwargs, result)
        for tensor, its in _pairs(result, shadow):
            if its is not None and tuple(its.shape) == tuple(tensor.shape):
                self._shadow[tensor] = its
        return result

    def rows(self, *tensors: torch.Tensor) -> list[list[int]]:
        """Return rows of channels, counted through, with one number for all that have met; 0 is unknown."""
        if not tensors:
            return []
        roots = self.numbers.roots(torch.cat(tensors))
        _, ranks = torch.unique(torch.cat([torch.zeros(1, dtype=torch.long), roots]), return_inverse=True)
        return [row.tolist() for row in ranks[1:].split([len(tensor) for tensor in tensors])]

    def _follow(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Any, result: Any) -> Any:
        operands = _tensors(args)
        shadows = [self._shadow.get(x) for x in operands]
        weights = [self._weights.get(x) for x in operands]
        if name == "convolution":
            return self._convolve(args, result)
        if name == "embedding":
            return self._look_up(operands[0], result)
        if name in _PRODUCTS:
            return self._multiply(name, operands, shadows, weights, result)
        if name in _NORMS:
            self._normalize(operands, axis=-1 if name == "native_layer_norm" else 1)
            self._inherit(operands[:1], result)
            return [shadows[0]]
        self._inherit(operands, result)
        if all(shadow is None for shadow in shadows):
            return None
        if name == "copy_":
            return self._overwrite(operands, shadows)
        if name.removesuffix("_copy") in _MOVES:
            return self._move(name, func, args, kwargs)
        if not isinstance(result, torch.Tensor) or name.startswith(_POOLS):
            first = next(iter(_tensors(result)), None)
            return [self._spread(shadows[0], first)]
        if name == "glu":
            return self._gate(shadows[0], args[1] if len(args) > 1 else -1)
        if name in _REDUCTIONS:
            return self._reduce(shadows[0], operands[0], args, kwargs, result)
        together = [s for s in shadows if s is not None and can_expand(s, result)]
        together = [s for s in together if not any(is_spread_over(s, other) for other in together)]
        if not together:
            return self._spread(shadows[0], result)
        are_one = [self.numbers.join(*broadcast(together[0], s)) for s in together[1:]]
        return (min(together, key=cost) if all(are_one) else together[0]).expand(result.shape)

    def _inherit(self, operands: Sequence[torch.Tensor], result: Any) -> None:
        """Let what is made of a weight alone be that weight still: transposed, standardized, scaled."""
        names = {self._weights.get(x) for x in operands if x.dim() > 1} - {None}
        has_data = any(self._shadow.get(x) is not None and x not in self._weights for x in operands)
        if len(names) == 1 and not has_data:
            for tensor in _tensors(result):
                if tensor not in self._weights:
                    self._weights[tensor] = next(iter(names))

    def _move(self, name: str, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        if name == "constant_pad_nd":  # what is added is of no channel
            args, kwargs = args[:2], {}
        if name in ("view", "_unsafe_view"):  # a shadow has strides of its own
            func = torch.ops.aten.reshape
        return func(*self._substituted(args), **kwargs)

    def _substituted(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            shadow = self._shadow.get(value)
            return torch.zeros((), dtype=torch.long).expand(value.shape) if shadow is None else shadow
        if isinstance(value, tuple | list):
            return type(value)(self._substituted(x) for x in value)
        return value

    def _convolve(self, args: tuple[Any, ...], result: torch.Tensor) -> Any:
        x, weight, is_transposed, groups = args[0], args[1], args[6], args[8]
        name = self._weights.get(weight)
        read = self.numbers.along(self._shadow.get(x), 1, x.shape[1])
        if not is_transposed and groups == x.shape[1] == result.shape[1]:
            if name is not None:
                self._note(self.along, name, read)
                self._meet(self.numbers.along(self._shadow.get(weight), 0, len(read)), read)
            written = read
        else:
            written = self._mix(name, read, self._shadow.get(weight), int(is_transposed), result.shape[1])
        self._meet(self._shadow.get(args[2]) if args[2] is not None else None, written)
        return placed(written, 1, result)

    def _look_up(self, table: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
        name = self._weights.get(table)
        written = self.numbers.new(table.shape[1])
        if name is not None:
            self._note(self.along, name, written)
        return placed(written, result.dim() - 1, result)

    def _multiply(
        self,
        name: str,
        operands: Sequence[torch.Tensor],
        shadows: Sequence[torch.Tensor | None],
        weights: Sequence[str | None],
        result: torch.Tensor,
    ) -> Any:
        at = 1 if name in ("addmm", "baddbmm") else 0
        a, b = at, at + 1
        if operands[b].dim() == 2 and weights[b] is not None:
            read = self.numbers.along(shadows[a], -1, operands[a].shape[-1])
            written = self._mix(weights[b], read, shadows[b], -1, result.shape[-1])
            self._meet(shadows[0] if at else None, written)
            return placed(written, result.dim() - 1, result)
        if operands[a].dim() == 2 and weights[a] is not None:  # a weight times columns
            read = self.numbers.along(shadows[b], -2, operands[b].shape[-2])
            written = self._mix(weights[a], read, shadows[a], -2, result.shape[-2])
            return placed(written, result.dim() - 2, result)
        rows, columns = shadows[a], shadows[b]
        if rows is not None and columns is not None and rows.dim() == columns.dim() == 3:
            met = rows[:, :1, :].movedim(1, 2), columns[:, :, :1]
            summed = [numbers for numbers in met if bool((numbers != numbers[:, :1]).any())]
            self.attended += [numbers.reshape(-1) for numbers in summed]
            if len(summed) == 2:
                self._scored = met[0][:, :, 0], met[1][:, :, 0]
                self.numbers.join(*met)
        for shadow, axis in ((columns, -2), (rows, -1)):
            if shadow is not None:
                constant = self.numbers.shared(shadow, axis)
                if bool((constant != 0).any()):
                    if self._scored is not None and shadow.dim() == 3:
                        values = shadow[:, 0, :] if axis == -2 else shadow[:, :, 0]
                        self.attentions.append((*self._scored, values))
                        self._scored = None
                    return constant.expand(result.shape)
        return None

    def _mix(
        self, name: str | None, read: torch.Tensor, weight: torch.Tensor | None, axis: int, n_outputs: int
    ) -> torch.Tensor:
        """Note what a layer reads; return what it writes: its weight knows its outputs."""
        written = self.numbers.along(weight, axis, n_outputs)
        if bool((written == 0).any()):
            written = self.numbers.new(n_outputs)
        if name is not None:
            self._note(self.reads, name, read)
            self._note(self.writes, name, written)
        return written

    def _note(self, where: dict[str, torch.Tensor], name: str, numbers: torch.Tensor) -> None:
        if name in where and where[name].shape == numbers.shape:
            self.numbers.join(where[name], numbers)
        else:
            where[name] = numbers

    def _meet(self, numbers: torch.Tensor | None, others: torch.Tensor) -> None:
        if numbers is not None and numbers.shape == others.shape:
            self.numbers.join(numbers, others)

    def _normalize(self, operands: Sequence[torch.Tensor], axis: int) -> None:
        x = operands[0]
        numbers = self.numbers.along(self._shadow.get(x), axis, x.shape[axis])
        for tensor in operands[1:]:
            self._meet(self._shadow.get(tensor), numbers)

    def _overwrite(self, operands: Sequence[torch.Tensor], shadows: Sequence[torch.Tensor | None]) -> Any:
        into, given = shadows[0], shadows[1] if len(shadows) > 1 else None
        if into is None or given is None:
            return [given.expand(operands[0].shape)] if given is not None else None
        self.numbers.join(*broadcast(into, given))
        return [into]

    def _spread(self, shadow: torch.Tensor | None, result: torch.Tensor | None) -> torch.Tensor | None:
        """Numbers of a tensor whose leading dimensions are those of the operand: pooled, resized."""
        if shadow is None or result is None or result.dim() != shadow.dim() or result.dim() < 3:
            return None
        if result.shape[:2] != shadow.shape[:2]:
            return None
        for axis in range(2, shadow.dim()):
            shadow = self.numbers.shared(shadow, axis)
        return shadow.expand(result.shape)

    def _gate(self, shadow: torch.Tensor | None, axis: int) -> torch.Tensor | None:
        if shadow is None:
            return None
        value, gate = shadow.chunk(2, axis)
        self.numbers.join(value, gate)
        return value

    def _reduce(
        self,
        shadow: torch.Tensor | None,
        operand: torch.Tensor,
        args: tuple[Any, ...],
        kwargs: Any,
        result: torch.Tensor,
    ) -> torch.Tensor | None:
        if shadow is None:
            return None
        dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
        dims = [dims] if isinstance(dims, int) else dims
        if not isinstance(dims, list | tuple) or not dims:
            return None
        for dim in dims:
            shadow = self.numbers.shared(shadow, dim)
        if result.dim() < operand.dim():
            for dim in sorted((d % operand.dim() for d in dims), reverse=True):
                shadow = shadow.squeeze(dim)
        return shadow


def _tensors(value: Any) -> list[torch.Tensor]:
    """List all tensors among arguments or results."""
    if isinstance(value, tuple | list):
        return [x for item in value for x in _tensors(item)]
    return [value] if isinstance(value, torch.Tensor) else []


def _pairs(result: Any, shadow: Any) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    tensors = _tensors(result)
    shadows = _tensors(shadow) if isinstance(shadow, tuple | list) else [shadow]
    return list(zip(tensors, shadows, strict=False))
