"""Attention and gated layers: fused or separate, they are the same map; heads stay whole."""

from __future__ import annotations

from typing import Any

import nets
import pytest
import torch
from torch import nn

import transfer
from transfer.options import Options

INPUT = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(5))


def transformer(seed: int, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return nets.Transformer(**options).eval()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("style", ["fused", "separate", "torch"])
@pytest.mark.parametrize("packed_target", [True, False])
@pytest.mark.parametrize("style_target", ["fused", "separate", "torch"])
def test_all_styles_compute_the_same(style: str, packed: bool, style_target: str, packed_target: bool) -> None:
    source = transformer(1, style=style, packed=packed)
    target = transformer(2, style=style_target, packed=packed_target)
    report = transfer.transfer(source, target)
    assert {row.status for row in report.tensors} == {"copied"}
    torch.testing.assert_close(target(INPUT), source(INPUT))


def test_several_sources_are_named_in_the_report() -> None:
    report = transfer.transfer(transformer(1, style="separate"), transformer(2, style="fused"))
    row = {row.name: row for row in report.tensors}["blocks.0.attn.qkv.weight"]
    assert row.sources == tuple(f"blocks.0.attn.{name}.weight" for name in "qkv")
    assert (row.operator, len(row.regions)) == ("by part", 3)


def test_separate_parts_are_cropped_one_by_one() -> None:
    source, target = transformer(1, style="separate"), transformer(2, style="fused", width=6, n_heads=1)
    transfer.transfer(source, target)
    for part, name in zip(target.blocks[0]["attn"].qkv.weight.chunk(3), "qkv", strict=True):
        assert torch.equal(part, getattr(source.blocks[0]["attn"], name).weight[:6, :6])


def test_growing_parts_start_new_inputs_at_zero() -> None:
    source, target = transformer(1, style="fused"), transformer(2, style="separate", width=18, n_heads=3)
    transfer.transfer(source, target)
    for part, name in zip(source.blocks[0]["attn"].qkv.weight.chunk(3), "qkv", strict=True):
        found = getattr(target.blocks[0]["attn"], name).weight
        assert torch.equal(found[:12, :12], part)
        assert (found[:12, 12:] == 0).all()
        assert found[12:].std() > 0


def test_parts_are_left_alone_on_demand() -> None:
    target = transformer(2, style="fused")
    report = transfer.transfer(transformer(1, style="separate"), target, options=Options(split_fused=False))
    assert "by part" not in {row.operator for row in report.tensors}


def test_a_plain_stack_is_no_set_of_parts() -> None:
    def stack() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.Sequential(*(nn.Linear(8, 8) for _ in range(5))), nn.Linear(8, 2))

    report = transfer.transfer(stack(), stack())
    assert {row.operator for row in report.tensors} == {"copy"}


def attention(seed: int, width: int, n_heads: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, width), nets.Attention(width, n_heads, "fused"), nn.Linear(width, 7))


@pytest.mark.parametrize(("width", "n_heads"), [(24, 2), (24, 4), (18, 3), (30, 3)])
def test_attention_grows_without_changing_its_function(width: int, n_heads: int) -> None:
    source, target = attention(1, 12, 2), attention(2, width, n_heads)
    transfer.transfer(source, target)
    torch.testing.assert_close(target(INPUT), source(INPUT))


def test_heads_stay_whole_when_they_are_narrower() -> None:
    source, target = attention(1, 24, 2), attention(2, 12, 2)
    transfer.transfer(source, target, options=Options(rescale=False, channels="leading"))
    given = source[1].qkv.weight.unflatten(0, (3, 2, 12))
    assert torch.equal(target[1].qkv.weight.unflatten(0, (3, 2, 6)), given[:, :, :6, :12])
    assert torch.equal(
        target[1].proj.weight.unflatten(1, (2, 6)), source[1].proj.weight.unflatten(1, (2, 12))[:12, :, :6]
    )


def test_heads_of_a_checkpoint_are_unknown_and_take_the_leading_channels() -> None:
    target = attention(2, 12, 2)
    plan = transfer.plan(attention(1, 24, 2).state_dict(), target)
    assert {row.name: row.operator for row in plan.tensors}["1.qkv.weight"] == "leading by part"
