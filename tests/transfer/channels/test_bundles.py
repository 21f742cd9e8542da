"""Wider networks compute what the narrow ones did, however channels are split, grouped, gated or put together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

import transfer
from transfer.options import Options

Map = Callable[[torch.Tensor], torch.Tensor]


def conv(n_in: int, n_out: int, kernel: int = 3, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, groups=groups)


class Net(nn.Module):
    """Layers by name, and a function of them that maps images (N, 3, 64, 64) to features."""

    def __init__(self, run: Callable[..., torch.Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the function makes of the image."""
        return self.run(self, x)


def split_groups(width: int) -> Net:
    """Grouped convolution of more groups, read whole and in half."""
    return Net(
        lambda net, x: net.c(y := net.g(net.a(x))) + net.d(y[:, :width]),
        **{"a": conv(3, 2 * width), "g": conv(2 * width, 2 * width, groups=width // 2)},
        **{"c": conv(2 * width, 8), "d": conv(width, 8)},
    )


def wide_groups(width: int) -> Net:
    """Four groups, which get wider; read whole and in half."""
    return Net(
        lambda net, x: net.c(y := net.n(net.g(net.a(x)))) + net.d(y[:, width:]),
        **{"a": conv(3, 2 * width), "g": conv(2 * width, 2 * width, groups=4), "n": nn.BatchNorm2d(2 * width)},
        **{"c": conv(2 * width, 8), "d": conv(width, 8)},
    )


def grouped_concatenation(width: int) -> Net:
    """Grouped convolution of a concatenation that is also read by another layer."""
    return Net(
        lambda net, x: net.c(net.g(y := torch.cat([net.a(x), net.b(x)], 1))) + net.e(y),
        **{"a": conv(3, width), "b": conv(3, width), "g": conv(2 * width, 2 * width, groups=width // 2)},
        **{"c": conv(2 * width, 8), "e": conv(2 * width, 8)},
    )


def two_groups(width: int) -> Net:
    """Each part of a concatenation is a group."""
    return Net(
        lambda net, x: net.c(net.g(torch.cat([y := net.a(x), net.b(y)], 1))),
        **{"a": conv(3, width), "b": conv(width, width), "g": conv(2 * width, 2 * width, groups=2)},
        c=conv(2 * width, 8),
    )


def widening_groups(width: int) -> Net:
    """Grouped convolution that gives more than it reads."""
    layers = {"a": conv(3, width), "g": conv(width, 2 * width, groups=width // 4), "c": conv(2 * width, 8)}
    return Net(lambda net, x: net.c(net.g(net.a(x)).relu()), **layers)


def image_concatenation(width: int) -> Net:
    """The image itself is a part of a concatenation."""
    return Net(
        lambda net, x: net.c(torch.cat([x, net.b(torch.cat([net.a(x).relu(), x], 1))], 1)),
        **{"a": conv(3, width), "b": conv(width + 3, width), "c": conv(width + 3, 8)},
    )


def u_net(width: int) -> Net:
    """Transposed convolutions between skip connections."""

    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        y = net.m(net.d(skipped := net.a(x).relu()).relu()).relu()
        return net.c(net.b(torch.cat([net.u(y), skipped], 1)).relu())

    return Net(
        run,
        **{"a": conv(3, width), "d": nn.Conv2d(width, 2 * width, 3, 2, 1), "m": conv(2 * width, 2 * width)},
        **{"u": nn.ConvTranspose2d(2 * width, width, 2, 2), "b": conv(2 * width, width), "c": conv(width, 8)},
    )


def transposed_groups(width: int) -> Net:
    """A transposed convolution with groups."""
    layers = {"a": conv(3, width), "u": nn.ConvTranspose2d(width, width, 2, 2, groups=width // 4)}
    return Net(lambda net, x: net.c(net.u(net.a(x)).relu()), **layers, c=conv(width, 8))


def gated(width: int, gate: Map) -> Net:
    """Residual blocks of a layer that widens, something that halves, and a layer back."""
    blocks = [
        Net(
            lambda net, x: x + net.q(gate(net.p(x))), p=nn.Conv2d(width, 2 * width, 1), q=nn.Conv2d(width, width, 1)
        )
        for _ in range(2)
    ]
    layers = {"a": conv(3, width), "blocks": nn.Sequential(*blocks), "c": conv(width, 8)}
    return Net(lambda net, x: net.c(net.blocks(net.a(x))), **layers)


class Attention(nn.Module):
    """Residual attention whose fused layer has query, key and value head by head, or one after the other."""

    def __init__(self, width: int, n_heads: int, *, is_by_head: bool) -> None:
        super().__init__()
        self.num_heads, self.is_by_head = n_heads, is_by_head
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, tokens, width) to the same shape."""
        n, length, width = x.shape
        if self.is_by_head:
            q, k, v = self.qkv(x).reshape(n, length, self.num_heads, 3, -1).permute(3, 0, 2, 1, 4)
        else:
            q, k, v = self.qkv(x).reshape(n, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v)
        return x + self.proj(y.transpose(1, 2).reshape(n, length, width))


def attention(size: tuple[int, int], *, is_by_head: bool) -> Net:
    """Two blocks of attention; size is width and number of heads."""
    blocks = nn.Sequential(*(Attention(*size, is_by_head=is_by_head) for _ in range(2)))
    return Net(
        lambda net, x: net.c(net.blocks(net.a(x).flatten(2).transpose(1, 2)).mean(1)),
        **{"a": nn.Conv2d(3, size[0], 8, 8), "blocks": blocks, "c": nn.Linear(size[0], 8)},
    )


def c2f(size: tuple[int, int]) -> Net:
    """Split in two, and a concatenation of both halves and of each residual block; size is width and depth."""
    width, depth = size

    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        parts = list(net.a(x).chunk(2, 1))
        for block in net.m.children():
            parts.append(parts[-1] + block(parts[-1]))
        return net.c(net.b(torch.cat(parts, 1)).relu())

    half = width // 2
    blocks = [nn.Sequential(conv(half, half), nn.ReLU(), conv(half, half)) for _ in range(depth)]
    layers = {"a": conv(3, width), "m": nn.Sequential(*blocks), "b": conv((2 + depth) * half, width)}
    return Net(run, **layers, c=conv(width, 8))


def two_streams(depth: int) -> Net:
    """Residual blocks before a layer that reads them and another stream: by shapes, a dense chain."""
    blocks = [Net(lambda net, x: x + net.q(net.p(x).relu()), p=conv(8, 8), q=conv(8, 8)) for _ in range(depth)]
    reader = Net(lambda net, x: net.q(net.p(x).relu()), p=conv(16, 8, 1), q=conv(8, 8))
    layers = {"a": conv(3, 8), "b": conv(3, 8), "m": nn.Sequential(*blocks), "r": reader, "c": conv(8, 8)}
    return Net(lambda net, x: net.c(net.r(torch.cat([net.b(x), net.m(net.a(x))], 1))), **layers)


class Grouped(nn.Module):
    """Residual attention in which several heads of queries share a key and a value."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.num_heads = n_heads
        self.q, self.kv, self.proj = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, tokens, width) to the same shape."""
        n, length, width = x.shape
        q = self.q(x).reshape(n, length, self.num_heads, -1).transpose(1, 2)
        k, v = self.kv(x).reshape(n, length, 2, self.num_heads // 2, -1).permute(2, 0, 3, 1, 4)
        k, v = (t[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2) for t in (k, v))
        y = ((q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5).softmax(-1) @ v
        return x + self.proj(y.transpose(1, 2).reshape(n, length, width))


def grouped_queries(size: tuple[int, int]) -> Net:
    """Two blocks of grouped-query attention; size is width and number of heads."""
    return Net(
        lambda net, x: net.c(net.blocks(net.a(x).flatten(2).transpose(1, 2)).mean(1)),
        **{"a": nn.Conv2d(3, size[0], 8, 8), "blocks": nn.Sequential(*(Grouped(*size) for _ in range(2)))},
        c=nn.Linear(size[0], 8),
    )


def interleaved(x: torch.Tensor) -> torch.Tensor:
    return x[:, ::2] * x[:, 1::2].sigmoid()


def halves(x: torch.Tensor) -> torch.Tensor:
    value, gate = x.chunk(2, 1)
    return value * gate.sigmoid()


def largest_of_pairs(x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(1, (-1, 2)).amax(2)


def first_half(x: torch.Tensor) -> torch.Tensor:
    return x[:, : x.shape[1] // 2]


by_head, by_part = (partial(attention, is_by_head=value) for value in (True, False))
CASES = [
    *((make, 4, 8) for make in (split_groups, wide_groups, grouped_concatenation, two_groups, u_net)),
    *((make, 8, 12) for make in (split_groups, wide_groups, grouped_concatenation, two_groups, u_net)),
    *((make, 8, 12) for make in (widening_groups, image_concatenation, transposed_groups)),
    *((partial(gated, gate=gate), 8, 12) for gate in (interleaved, halves, largest_of_pairs, first_half)),
    (partial(gated, gate=partial(functional.glu, dim=1)), 8, 12),
    *((c2f, (8, 1), size) for size in ((8, 2), (8, 3), (12, 1))),
    (c2f, (8, 2), (12, 3)),
    (two_streams, 1, 2),
    (grouped_queries, (16, 4), (24, 6)),
    *((make, (16, 2), size) for make in (by_head, by_part) for size in ((24, 3), (24, 2), (48, 4))),
]


def build(make: Callable[..., Net], size: object, seed: int) -> Net:
    torch.manual_seed(seed)
    net = make(size).eval()
    with torch.no_grad():
        for name, tensor in net.state_dict(keep_vars=True).items():
            if tensor.dim() == 1 and tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape) * (0.5 if name.endswith("running_var") else 0.2))
    return net


@pytest.mark.parametrize(("make", "size", "larger"), CASES)
@pytest.mark.parametrize("channels", ["leading", "importance"])
def test_wider_networks_compute_the_same(
    make: Callable[..., Net], size: object, larger: object, channels: str
) -> None:
    source, target = build(make, size, 0), build(make, larger, 1)
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = source(image)
        assert not torch.allclose(target(image), expected, rtol=1e-2, atol=1e-2)
        transfer.transfer(source, target, options=Options(channels=channels), verify=False)
        torch.testing.assert_close(target(image), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [split_groups, two_groups, u_net])
def test_a_header_of_the_source_is_enough(make: Callable[..., Net]) -> None:
    source, target = build(make, 4, 0), build(make, 8, 1)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        transfer.transfer(source.state_dict(), target)
        torch.testing.assert_close(target(image), source(image), rtol=1e-5, atol=1e-5)


def transposed(width: int, *, has_bias: bool, groups: int, is_first: bool) -> Net:
    """A transposed convolution and a skip connection, in this order or the other."""
    return Net(
        lambda net, x: net.c(torch.cat([y := net.a(x), net.n(net.u(net.d(y)))][:: 1 - 2 * is_first], 1)),
        **{"a": conv(3, width), "d": nn.Conv2d(width, 2 * width, 3, 2, 1), "n": nn.BatchNorm2d(width)},
        u=nn.ConvTranspose2d(2 * width, width, 2, 2, bias=has_bias, groups=groups),
        c=conv(2 * width, 8),
    )


@pytest.mark.parametrize("channels", ["leading", "importance"])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("sizes", [(8, 12), (12, 8)])
@pytest.mark.parametrize("as_header", [True, False])
def test_transposed_convolutions_are_planned_whatever_they_stand_beside(
    channels: str, has_bias: bool, groups: int, is_first: bool, sizes: tuple[int, int], as_header: bool
) -> None:
    make = partial(transposed, has_bias=has_bias, groups=groups, is_first=is_first)
    source, target = (build(make, size, i) for i, size in enumerate(sizes))
    report = transfer.transfer(
        source.state_dict() if as_header else source, target, options=Options(channels=channels)
    )
    assert len(report.tensors) == len(target.state_dict())
    if groups == 1 and sizes[0] < sizes[1]:
        image = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(target(image), source(image), rtol=1e-5, atol=1e-5)
