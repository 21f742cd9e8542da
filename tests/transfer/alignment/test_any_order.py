"""Similarity of files that do not tell the order of their layers."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import transfer
from transfer.alignment.any_order import in_common, was_run
from transfer.structure.records import Architecture, Block, Layer, Tensor


def layer(kind: str, *shape: int) -> Layer:
    return Layer(kind, (Tensor("weight", shape),), path=f"{kind}{shape}")


LAYERS = st.builds(layer, st.sampled_from(["linear", "conv2d", "norm"]), st.integers(1, 3), st.integers(2, 3))
ARCHITECTURES = st.lists(LAYERS, min_size=1, max_size=6).map(lambda found: Architecture("dpiat", tuple(found)))


@given(ARCHITECTURES, ARCHITECTURES)
def test_it_is_that_of_the_best_pairing(source: Architecture, target: Architecture) -> None:
    def key(one: Layer) -> object:
        return one.kind == "norm", [n for n in one.tensors[0].shape if n > 1]

    own, other = list(source.layers()), list(target.layers())
    short, long = sorted((own, other), key=len)
    best = max(
        sum(key(a) == key(b) for a, b in zip(short, order, strict=True)) for order in permutations(long, len(short))
    )
    found = in_common(source, target)
    assert found.similarity == pytest.approx(best / (len(own) * len(other)) ** 0.5)
    assert 0 <= found.coverage <= 1
    assert in_common(target, source).similarity == pytest.approx(found.similarity)


@given(ARCHITECTURES, st.randoms())
def test_order_plays_no_part(architecture: Architecture, random) -> None:
    mixed = list(architecture.items)
    random.shuffle(mixed)
    found = in_common(Architecture("dpiat", tuple(mixed)), architecture)
    assert found.similarity == pytest.approx(1)
    assert found.coverage == 1


def test_queries_keys_and_values_may_be_one_layer_or_three() -> None:
    rest = [layer("linear", 8, 8), layer("linear", 32, 8), layer("linear", 8, 32)]
    fused = Architecture("dpiat", (Block((layer("linear", 24, 8), *rest)),))
    apart = Architecture("dpiat", (Block((*[layer("linear", 8, 8)] * 3, *rest)),))
    assert in_common(fused, apart).similarity == pytest.approx(1)
    assert in_common(apart, fused).coverage == 1


class Attention(nn.Module):
    """Written as timm writes it, or with names and parts of its own."""

    def __init__(self, width: int, is_fused: bool) -> None:
        super().__init__()
        self.is_fused = is_fused
        self.norm = nn.LayerNorm(width)
        if is_fused:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.a_value, self.query, self.key = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        q, k, v = self.qkv(y).chunk(3, -1) if self.is_fused else (self.query(y), self.key(y), self.a_value(y))
        return x + self.proj((q @ k.mT).softmax(-1) @ v)


def network(is_fused: bool, width: int = 16, depth: int = 4) -> nn.Module:
    blocks = [Attention(width, is_fused) for _ in range(depth)]
    return nn.Sequential(nn.Linear(12, width), *blocks, nn.LayerNorm(width), nn.Linear(width, 5))


def test_a_sorted_file_of_another_dialect_is_the_same_network(tmp_path: Path) -> None:
    """As recommend, plan and transfer tell it."""
    state = {f"model.{name}": value for name, value in network(False).state_dict().items()}
    save_file(dict(sorted(state.items())), tmp_path / "w.safetensors")
    target, other = network(True), network(True, 24, 3)
    checkpoint = transfer.open_checkpoint(tmp_path / "w.safetensors")
    assert not was_run(transfer.standardize(checkpoint))
    assert was_run(transfer.standardize(target))
    assert transfer.similarity(checkpoint, target) == pytest.approx(1)
    assert transfer.plan(checkpoint, target).similarity == pytest.approx(1)
    assert transfer.similarity(checkpoint, other) < 0.9
    # a module has an order, and that it is another one counts
    assert transfer.similarity(network(False), target) < 0.9
