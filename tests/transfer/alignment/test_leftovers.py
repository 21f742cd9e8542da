"""What is left over between networks of other widths stays where it belongs."""

from __future__ import annotations

from itertools import permutations

import pytest
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import transfer
from zoo_index.catalogues.timm_catalogue import build as catalogue

NETWORKS = {
    "basic": (BasicBlock, (1, 1, 1, 1), (16, 32, 48, 96)),
    "wide": (BasicBlock, (1, 1, 1, 1), (24, 48, 72, 144)),
    "deep": (BasicBlock, (2, 2, 2, 2), (16, 32, 48, 96)),
    "bottleneck": (Bottleneck, (1, 1, 1, 1), (12, 24, 36, 72)),
}
"""Widths of one stage that are those of another one elsewhere."""

PAIRS = list(permutations(NETWORKS, 2))


def build(name: str) -> nn.Module:
    block, depths, widths = NETWORKS[name]
    model: nn.Module = ResNet(block, depths, 10, stem_type="deep", stem_width=widths[0] // 2, channels=widths)  # type: ignore[arg-type]
    return model


def norm_behind(convolution: str) -> str:
    """Return the name of the norm's weight behind a convolution's."""
    *path, last, _ = convolution.split(".")
    norm = last.replace("conv", "bn") if last.startswith("conv") else str(int(last) + 1)
    return ".".join([*path, norm, "weight"])


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_norms_go_with_their_convolutions(source: str, target: str) -> None:
    """Though others are of their very width: the third norm of a bottleneck, the norms of a second block."""
    rows = {row.name: row for row in transfer.plan(build(source), build(target)).tensors}
    n_met = 0
    for name, row in rows.items():
        if len(row.shape) == 4 and not name.startswith("conv1."):  # the stem has no such names
            norm = rows[norm_behind(name)]
            if row.source is None or row.source.startswith("conv1."):
                assert norm.status != "copied"
            elif norm.status != "identity":
                assert norm.source == norm_behind(row.source)
                n_met += 1
    assert n_met >= 8


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_classifier_of_another_width_reads_pooled_channels(source: str, target: str) -> None:
    """Twice as many channels are not two places of a flattened map."""
    rows = {row.name: row for row in transfer.plan(build(source), build(target)).tensors}
    row = rows["fc.weight"]
    assert (row.source, row.transform) == ("fc.weight", None)
    assert "place" not in row.operator


def test_a_grouped_bottleneck_of_twice_the_width_is_not_cut_into_parts() -> None:
    """Its first layer is as large as two of the source, and the grouped convolution behind it reads all of it."""
    rows = transfer.plan(catalogue("dla102x"), catalogue("dla102x2")).tensors
    assert "by part" not in {row.operator for row in rows}
    assert all(row.source == row.name for row in rows if row.name.endswith("conv1.weight"))


@pytest.mark.parametrize("depth", [2, 3])
def test_patches_of_another_size_are_resampled_and_not_fed_by_a_map_of_as_many_numbers(depth: int) -> None:
    """8 x 8 pixels of three channels are 192 numbers, as many as a projection of attention reads."""
    common = {"img_size": 32, "embed_dim": 192, "num_heads": 3, "num_classes": 7}
    source = VisionTransformer(patch_size=16, depth=3, **common)
    target = VisionTransformer(patch_size=8, depth=depth, **common)
    rows = {row.name: row for row in transfer.plan(source, target).tensors}
    weight = rows["patch_embed.proj.weight"]
    assert (weight.status, weight.source) == ("resampled", "patch_embed.proj.weight")
    assert rows["patch_embed.proj.bias"].source == "patch_embed.proj.bias"
