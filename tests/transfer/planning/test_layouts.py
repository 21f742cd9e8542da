"""Queries, keys and values in one layer, laid out in any order, or in layers of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import transfer
from transfer.planning.planned import filled
from transfer.regions import Fill, Region
from transfer.structure.records import Tensor
from transfer.tracing.heads import trace_attentions

WIDTH, N_HEADS = 24, 3
SIZE = WIDTH // N_HEADS
Three = tuple[torch.Tensor, ...]

LAYOUTS: dict[str, Callable[[torch.Tensor], Three]] = {
    "k h d": lambda y: y.unflatten(-1, (3, N_HEADS, SIZE)).permute(2, 0, 3, 1, 4).unbind(0),
    "h k d": lambda y: y.unflatten(-1, (N_HEADS, 3, SIZE)).permute(3, 0, 2, 1, 4).unbind(0),
    "h d k": lambda y: y.unflatten(-1, (N_HEADS, SIZE, 3)).permute(4, 0, 2, 1, 3).unbind(0),
    "d k h": lambda y: y.unflatten(-1, (SIZE, 3, N_HEADS)).permute(3, 0, 4, 1, 2).unbind(0),
    "k d h": lambda y: y.unflatten(-1, (3, SIZE, N_HEADS)).permute(2, 0, 4, 1, 3).unbind(0),
    "split by head": lambda y: y.unflatten(-1, (N_HEADS, -1)).transpose(1, 2).split(SIZE, -1),
    "value first": lambda y: y.unflatten(-1, (3, N_HEADS, SIZE)).permute(2, 0, 3, 1, 4).flip(0).unbind(0),
    "query last": lambda y: [y.unflatten(-1, (3, N_HEADS, SIZE)).permute(2, 0, 3, 1, 4)[i] for i in (2, 0, 1)],
}
"""How rows are divided: k for query, key and value, h for heads, d for the channels of a head."""


class Block(nn.Module):
    """Attention and MLP, before them norms."""

    def __init__(self, layout: str, *, has_bias: bool = True) -> None:
        super().__init__()
        self.layout = layout
        if layout:
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=has_bias)
        else:
            self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=has_bias) for _ in range(3))
        self.proj, self.norm1, self.norm2 = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        if self.layout:
            q, k, v = LAYOUTS[self.layout](self.qkv(y))
        else:
            layers = self.q, self.k, self.v
            q, k, v = (layer(y).unflatten(-1, (N_HEADS, SIZE)).transpose(1, 2) for layer in layers)
        attended = (q @ k.transpose(-1, -2) * SIZE**-0.5).softmax(-1) @ v
        x = x + self.proj(attended.transpose(1, 2).flatten(2))
        result: torch.Tensor = x + self.mlp(self.norm2(x))
        return result


class Net(nn.Module):
    def __init__(self, layout: str, depth: int = 2, n_classes: int = 5, *, has_bias: bool = True) -> None:
        super().__init__()
        self.patch, self.pos = nn.Conv2d(3, WIDTH, 8, 8), nn.Parameter(torch.randn(1, 64, WIDTH))
        self.blocks = nn.Sequential(*(Block(layout, has_bias=has_bias) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.patch(x).flatten(2).transpose(1, 2) + self.pos)
        result: torch.Tensor = self.head(self.norm(x).mean(1))
        return result


def changed(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for value in model.state_dict().values():
            value += 0.2 * torch.randn_like(value)
    return model.eval()


OTHER = [layout for layout in LAYOUTS if layout != "k h d"]
PAIRS = [(a, b) for layout in OTHER for a, b in (("k h d", layout), (layout, "k h d"), ("", layout), (layout, ""))]
PAIRS += [("h k d", "d k h"), ("k d h", "h d k")]


@pytest.mark.parametrize(
    ("source", "target", "has_bias"), [*((*pair, True) for pair in PAIRS), ("k h d", "h k d", False)]
)
def test_rows_go_where_the_target_has_them(source: str, target: str, has_bias: bool) -> None:
    one, other = changed(Net(source, has_bias=has_bias)), Net(target, has_bias=has_bias).eval()
    report = transfer.transfer(one, other)
    assert report.counts()["copied"] == len(report.tensors)
    assert report.function is not None
    assert report.function.verdict == "equal"
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(one(x), other(x), atol=1e-4, rtol=1e-4)


def test_rows_go_there_with_other_classes_and_in_deeper_networks_too() -> None:
    """What the last layer reads is compared, and inserted blocks start as identity."""
    one, deeper, others = changed(Net("k h d")), Net("h d k", depth=3).eval(), Net("h d k", n_classes=7).eval()
    for target in (deeper, others):
        report = transfer.transfer(one, target)
        assert report.function is not None
        assert report.function.verdict == "equal"
    assert [row.name for row in report.tensors if row.status == "fresh"] == ["head.weight", "head.bias"]
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(one(x), deeper(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_heads_are_seen_as_they_lie(layout: str) -> None:
    model = Net(layout)
    first, second = trace_attentions(model)
    rows = torch.arange(3 * WIDTH)[None, None].expand(1, 64, -1)
    expected = [[part[0, head, 0].tolist() for head in range(N_HEADS)] for part in LAYOUTS[layout](rows)]
    for attention, name in ((first, "blocks.0.qkv.weight"), (second, "blocks.1.qkv.weight")):
        assert attention.names() == {name}
        found = (attention.queries, attention.keys, attention.values)
        assert [[[row for _, row in head] for head in part] for part in found] == expected


def test_a_batch_shares_its_heads_and_queries_may_share_keys() -> None:
    class Shared(nn.Module):
        """One key and value for all queries."""

        def __init__(self) -> None:
            super().__init__()
            self.q, self.kv, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q = self.q(x).unflatten(-1, (2, 4)).transpose(1, 2)
            k, v = self.kv(x).unflatten(-1, (2, 1, 4)).permute(2, 0, 3, 1, 4)
            attended = (q @ k.transpose(-1, -2)).softmax(-1) @ v
            result: torch.Tensor = self.out(attended.transpose(1, 2).flatten(2))
            return result

    model = Shared()
    transfer.plan(model, model, example=torch.randn(3, 5, 8))
    (attention,) = trace_attentions(model)
    assert [[row for _, row in head] for head in attention.queries] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [[row for _, row in head] for head in attention.keys] == [[0, 1, 2, 3]]
    assert [[row for _, row in head] for head in attention.values] == [[4, 5, 6, 7]]


def test_what_cannot_be_run_has_no_attentions() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError

    assert len(trace_attentions(Broken())) == 0
    assert len(trace_attentions(nn.Sequential(nn.Conv2d(3, 4, 3)))) == 0


def test_wider_layers_that_are_one_here_are_cut() -> None:
    parts = tuple(Region((0, 0), (i * 4, 0), (4, 4), tensor=name) for i, name in enumerate("qkv"))
    wide, fused = Tensor("weight", (6, 6), name="q"), Tensor("weight", (12, 4), name="qkv")
    row = filled(wide, fused, Fill("by part", parts))
    assert (row.status, row.reason) == ("cropped", "cut from 3 tensors of the source, which are one here")
    twice = tuple(replace(part, tensor="q") for part in parts)
    assert "some of them several times" in filled(wide, fused, Fill("by part", twice)).reason
